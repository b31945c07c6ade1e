"""What an observable is, and how one is named."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from flowkit.checks import checked, shown
from flowkit.geometry.space import Space

_WHAT = "An observable is f(space, x) -> [batch], real numbers"
_RULE = f"{_WHAT}, with a name: Observable(name, label, f), or the name of one that flowkit knows"


@checked
@dataclass(frozen=True)
class Observable:
    """A named real number that is measured on every field of a batch.

    `action.exact(name)` knows the exact mean of an observable where a formula exists.

    Parameters
    ----------
    name : str
        Of the column in an ensemble.
    label : str
        What figures print.
    function : callable
        (space, x) -> ``[batch]``, real.
    unit : str
        What figures print behind the label; empty for a number without one.
    kind : str, optional
        "sites" or "links" where it is defined on such fields alone.

    Raises
    ------
    TypeError
        For what is no function of two arguments, or a name that is no text.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> cubed = fk.Observable("phi_cubed", "φ³", lambda space, x: (x**3).flatten(1).mean(1), kind="sites")
    >>> cubed(fk.sites((2, 2)), torch.full((1, 1, 2, 2), 2.0))
    tensor([8.])
    """

    name: str
    label: str
    function: Callable[[Space, Tensor], Tensor]
    unit: str = ""
    kind: Literal["sites", "links"] | None = None

    def __call__(self, space: Space, x: Tensor) -> Tensor:
        """The value on each field, [batch].

        Raises
        ------
        ValueError
            For fields of another shape, or of a kind it is not defined on, and where the function returns anything but
            ``[batch]``.
        """
        if not isinstance(space, Space):
            raise TypeError(f"{self.name} is measured on a space, made by sites() or links(); got {shown(space)}.")
        if self.kind not in (None, space.kind):
            raise ValueError(f"The observable {self.name} is measured on {self.kind}; got {space}.")
        values: object = self.function(space, space.check(x))
        if not isinstance(values, Tensor) or values.shape != x.shape[:1] or values.is_complex():
            got = type(values).__name__
            if isinstance(values, Tensor):
                got = f"a tensor {list(values.shape)} of {values.dtype}"
            raise ValueError(f"{_WHAT}, here [{len(x)}]; {self.name} gave {got}.")
        return values

    def __repr__(self) -> str:
        return f"Observable({self.name if self.label == self.name else f'{self.name}: {self.label}'})"


def name_of(observable: Observable | str) -> str:
    """The name of an observable, or the name itself.

    Raises
    ------
    TypeError
        For anything else, a bare function too.
    """
    if isinstance(observable, str):
        return observable
    if not isinstance(observable, Observable):
        raise TypeError(f"{_RULE}; got {type(observable).__name__}.")
    return observable.name
