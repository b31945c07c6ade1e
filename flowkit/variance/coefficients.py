"""Coefficients of a field that were fitted to an observable: saved, loaded, and moved to other lattices."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flowkit.geometry.space import Space
from flowkit.stats import Floats
from flowkit.variance.basis import Basis
from flowkit.variance.describing import basis_from
from flowkit.variance.splits import require_others

FORMAT = 2


@dataclass(frozen=True, eq=False)
class SteinField:
    r"""A field u = sum_k c_k grad W_k whose sum T u imitates the fluctuations of an observable.

    `fit` makes them. The coefficients of local potentials depend little on the volume and on the couplings: fit them on
    a small lattice and use them on a larger one. Any coefficients give right means; good ones give small errors.
    Potentials are means over sites, so that the coefficients of an observable that is one are the same on all lattices.

    Parameters
    ----------
    basis : Basis
        The potentials W_k.
    coefficients : Tensor
        c_k, ``[K]``, float64.
    target : str
        What they were fitted to.
    rho : float
        The variance of the residual over that of the observable in training.
    trained_on : tuple of str
        Digests of the configurations that they were fitted on.
    action : str
        Of the theory of these.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4), fk.SUN(2)), beta=2.0)
    >>> few = fk.run(fk.Heatbath(action), 25, chains=4, thermalise=20, rng=1)
    >>> field = fk.variance.fit(few, fk.plaquette)
    >>> larger = action.on(fk.links((6, 6), fk.SUN(2)))
    >>> ensemble = fk.run(fk.Heatbath(larger), 100, chains=8, thermalise=20, rng=2)
    >>> fk.variance.mean(ensemble, fk.plaquette, field.on(larger.space)).gain > 10
    True
    """

    basis: Basis
    coefficients: Tensor
    target: str
    rho: float
    trained_on: tuple[str, ...] = ()
    action: str = ""

    def on(self, space: Space) -> SteinField:
        """The same coefficients on another lattice."""
        return replace(self, basis=self.basis.on(space))

    def require_others(self, x: Tensor) -> None:
        """Raise where configurations are among those that the coefficients were fitted on.

        Raises
        ------
        EnsembleError
            That says how many.
        """
        require_others(self.target, self.trained_on, x)

    def save(self, path: str | Path) -> None:
        """Write the field to a file of JSON."""
        about = {"format": FORMAT, "target": self.target, "rho": self.rho, "action": self.action}
        lists = {"coefficients": self.coefficients.tolist(), "trained_on": list(self.trained_on)}
        data = {**about, **lists, "space": self.basis.space.describe(), "basis": self.basis.describe()}
        Path(path).write_text(json.dumps(data), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> SteinField:
        """The field of a file that `save` wrote.

        Raises
        ------
        ValueError
            For another file; the message names it.
        """
        try:
            data: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
            if data["format"] != FORMAT:
                raise ValueError(f"format {data['format']}")
            basis = basis_from(Space.from_description(data["space"]), data["basis"])
            c = torch.tensor(data["coefficients"], dtype=torch.float64)
            if c.shape != (len(basis),) or not bool(c.isfinite().all()):
                raise ValueError(f"{list(c.shape)} coefficients for {len(basis)} potentials")
            return cls(basis, c, data["target"], data["rho"], tuple(data["trained_on"]), data["action"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} holds no field that SteinField.save wrote: {error}.") from error

    def of(self, columns: Floats) -> Floats:
        """T u from the columns T grad W_k, ``[..., K]``."""
        found: Floats = np.asarray(columns @ self.coefficients.numpy())
        return found

    def __repr__(self) -> str:
        return f"SteinField({self.target}: {self.basis}, rho {self.rho:.3g} in training)"
