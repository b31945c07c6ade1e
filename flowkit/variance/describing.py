"""The basis that plain data describes."""

from typing import Any

from flowkit.geometry.space import Space
from flowkit.variance.basis import Basis
from flowkit.variance.loop_basis import LoopBasis
from flowkit.variance.polynomials import PolynomialBasis

KINDS: dict[str, type[LoopBasis] | type[PolynomialBasis]] = {"loops": LoopBasis, "polynomials": PolynomialBasis}


def basis_from(space: Space, data: dict[str, Any]) -> Basis:
    """The basis that `Basis.describe` described, on a lattice.

    Raises
    ------
    ValueError
        For another kind, or other fields.
    """
    kind = KINDS.get(data["kind"])
    if kind is None or (data["kind"] == "loops") != (space.kind == "links"):
        raise ValueError(f"a basis of {data['kind']} on {space}")
    made: Basis = kind.from_description(space, data)
    return made
