"""What an observable is, and how one is named."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from flowkit.checks import Natural, checked, shown
from flowkit.geometry.space import Space

_WHAT = "An observable is f(space, x) -> [batch]"
_RULE = f"{_WHAT}, real numbers, with a name: Observable(name, label, f), or the name of one that flowkit knows"


@checked
@dataclass(frozen=True)
class Observable:
    """A named number, or a vector of numbers such as a correlator, that is measured on every field of a batch.

    `action.exact(name)` knows the exact mean of an observable where a formula exists. An ensemble keeps a series of
    real numbers for each of the `columns`.

    Parameters
    ----------
    name : str
        Of the column in an ensemble.
    label : str
        What figures print.
    function : callable
        (space, x) -> ``[batch]``, or ``[batch, components]``.
    unit : str
        What figures print behind the label; empty for a number without one.
    kind : str, optional
        "sites" or "links" where it is defined on such fields alone.
    components : int
        Numbers of a vector; 0 for a single number.
    complex : bool
        Whether the numbers are complex.

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

    The correlator of the field averaged over a time slice:

    >>> def function(space, x):
    ...     s = x.mean((1, 3))
    ...     return torch.stack([(s * s.roll(-t, 1)).mean(1) for t in range(4)], 1)
    >>> correlator = fk.Observable("C", "C(t)", function, kind="sites", components=4)
    >>> correlator.columns
    ('C[0]', 'C[1]', 'C[2]', 'C[3]')
    """

    name: str
    label: str
    function: Callable[[Space, Tensor], Tensor]
    unit: str = ""
    kind: Literal["sites", "links"] | None = None
    components: Natural = 0
    complex: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its series: name[0], name[1], ... of a vector, Re and Im before them where it is complex."""
        names = [f"{self.name}[{i}]" for i in range(self.components)] or [self.name]
        return tuple(f"{part}{name}" for part in (("Re ", "Im ") if self.complex else ("",)) for name in names)

    def measure(self, space: Space, x: Tensor) -> dict[str, Tensor]:
        """The real numbers ``[batch]`` of each of the `columns`.

        Raises
        ------
        ValueError
            As for a call.
        """
        values = self(space, x)
        parts = [values.real, values.imag] if self.complex else [values]
        numbers = [one for part in parts for one in part.reshape(len(x), -1).unbind(1)]
        return dict(zip(self.columns, numbers, strict=True))

    def __call__(self, space: Space, x: Tensor) -> Tensor:
        """The value on each field, ``[batch]`` or ``[batch, components]``.

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
        shape = [len(x), self.components] if self.components else [len(x)]
        if not isinstance(values, Tensor) or list(values.shape) != shape or values.is_complex() != self.complex:
            got = type(values).__name__
            if isinstance(values, Tensor):
                got = f"a tensor {list(values.shape)} of {values.dtype}"
            numbers = "complex numbers" if self.complex else "real numbers"
            more = "" if self.components else "; a vector says so by components=, complex numbers by complex=True"
            raise ValueError(f"{_WHAT}, {numbers}, here {shape}; {self.name} gave {got}{more}.")
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
