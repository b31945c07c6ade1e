"""What a field is: its lattice, its group, sites or links. Holds no field values."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from flowkit.checks import MOST, Count, Natural, check, checked
from flowkit.geometry.lattice import format_lattice
from flowkit.groups import Group, Real, named
from flowkit.tasks.randomness import Rng


@checked
@dataclass(frozen=True)
class Space:
    """What a field is: its lattice, its group, and whether it lives on sites or links. It holds no values.

    Fields are tensors ``[batch, component, *lattice, *matrix]``, always with a component axis: the directions of links,
    1 or more components of a scalar. `sites` and `links` make spaces, and every shape is checked here.

    Attributes
    ----------
    lattice : tuple of int
        Its sides; all lattices are periodic.
    group : Group
        Where the field takes its values: Real for sites.
    kind : str
        "sites" or "links".
    components : int
        Of a scalar field, or the number of directions.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> space = fk.links((4, 6), fk.SUN(2))
    >>> space.shape, space.dof                                # 2 * 24 links of 3 coordinates each
    ((2, 4, 6, 2, 2), 144)
    >>> fk.Space.from_description(space.describe()) == space
    True
    >>> space.check(torch.zeros(3, 2, 4, 5))
    Traceback (most recent call last):
    ValueError: Links SU2 on 4x6 holds fields [batch, 2, 4, 6, 2, 2]; got [3, 2, 4, 5].
    """

    lattice: tuple[Count, ...]
    group: Group
    kind: Literal["sites", "links"]
    components: Count

    def __post_init__(self) -> None:
        if not self.lattice or math.prod(self.algebra_shape) > MOST:
            raise ValueError(f"A lattice has one side or more, and fields of at most {MOST} numbers; got {self}.")
        if self.group.compact != (self.kind == "links"):
            raise ValueError(f"Links take a compact group such as U1() or SUN(3), sites Real(); got {self.group!r}.")
        if self.kind == "links" and self.components != self.ndim:
            raise ValueError(f"Links have one component for each direction; got {self.components} on {self}.")

    @property
    def ndim(self) -> int:
        """Number of lattice directions."""
        return len(self.lattice)

    @property
    def volume(self) -> int:
        """Number of sites."""
        return math.prod(self.lattice)

    @property
    def planes(self) -> list[tuple[int, int]]:
        """The planes (mu, nu) with mu < nu."""
        return [(mu, nu) for mu in range(self.ndim) for nu in range(mu + 1, self.ndim)]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one field, without the batch axis."""
        return (self.components, *self.lattice, *self.group.matrix_shape)

    @property
    def algebra_shape(self) -> tuple[int, ...]:
        """Shape of one set of algebra coordinates (momenta, forces), without the batch axis."""
        return self.group.algebra_shape(self.shape)

    @property
    def dof(self) -> int:
        """Number of real degrees of freedom."""
        return math.prod(self.algebra_shape)

    def check(self, x: Tensor) -> Tensor:
        """Return x if it is a batch of fields of this space.

        Raises
        ------
        TypeError
            If x is no tensor.
        ValueError
            For a wrong shape or dtype.
        """
        if not isinstance(x, Tensor):
            raise TypeError(f"{self} expects a torch tensor; got {type(x).__name__}.")
        if x.shape[1:] != self.shape or x.dim() != 1 + len(self.shape):
            wanted = ", ".join(map(str, ("batch", *self.shape)))
            raise ValueError(f"{self} holds fields [{wanted}]; got {list(x.shape)}.")
        if self.group.complex != x.is_complex() or not (x.is_complex() or x.is_floating_point()):
            kind = "complex" if self.group.complex else "real floating-point"
            raise ValueError(f"{self} holds {kind} fields; got {x.dtype}.")
        return x

    def require(self, x: Tensor) -> Tensor:
        """Return x if it is a batch of fields of this space with finite values; for input at the edges.

        Raises
        ------
        ValueError
            For NaN or infinity, and as `check`.
        """
        bad = int((~torch.isfinite(self.check(x))).sum())
        if bad:
            raise ValueError(f"{self} expects finite fields; got {bad} NaN or infinite numbers.")
        return x

    def batch(self, n: Natural) -> int:
        """n, where that many fields can be held.

        Raises
        ------
        ValueError
            For what is no whole number >= 0, or more numbers than any machine holds.
        """
        count: int = n if type(n) is int and n >= 0 else check(str(self), "a number of fields", Natural, n)
        if count * self.dof > MOST:
            raise ValueError(f"{self} has {self.dof} numbers; got {n} fields, which do not fit into any memory.")
        return count

    def cold(self, n: int, *, like: Tensor) -> Tensor:
        """n ordered fields: zero on sites, unit links; [n, *shape], dtype and device of `like`."""
        return self.group.identity((self.batch(n), self.components, *self.lattice), like)

    def haar(self, n: int, rng: Rng = None, dtype: torch.dtype | None = None) -> Tensor:
        """n fields from the normalised Haar measure, [n, *shape]; rng is a generator, a seed, or None."""
        return self.group.haar((self.batch(n), self.components, *self.lattice), rng, dtype)

    @checked
    def on(self, lattice: Sequence[Count]) -> "Space":
        """The same kind of field on another lattice of as many directions.

        Raises
        ------
        ValueError
            For another number of directions.
        """
        if len(lattice) != self.ndim:
            raise ValueError(f"{self} has {self.ndim} directions; got the lattice {tuple(lattice)}.")
        return sites(lattice, self.components) if self.kind == "sites" else links(lattice, self.group)

    def describe(self) -> dict[str, Any]:
        """The space as plain data, for files."""
        return {
            "kind": self.kind,
            "lattice": list(self.lattice),
            "group": self.group.name,
            "components": self.components,
        }

    @staticmethod
    def from_description(data: dict[str, Any]) -> "Space":
        """The space that `describe` described.

        Raises
        ------
        ValueError
            Where the data does not describe a space.
        """
        try:
            kind, lattice, group = data["kind"], data["lattice"], data["group"]
            if kind == "sites":
                return sites(lattice, data["components"])
            if kind == "links":
                return links(lattice, named(group))
        except (KeyError, TypeError) as error:
            raise ValueError(f"A space is described by kind, lattice, group and components; got {data!r}.") from error
        raise ValueError(f"A space is of kind 'sites' or 'links'; got {kind!r}.")

    def __str__(self) -> str:
        what = self.group.name if self.kind == "links" else f"{self.components} component(s)"
        return f"{self.kind.capitalize()} {what} on {format_lattice(self.lattice)}"


@checked
def sites(lattice: Sequence[Count], components: Count = 1) -> Space:
    """Real scalar fields on the sites of a periodic lattice, [batch, components, *lattice].

    Parameters
    ----------
    lattice : sequence of int
        Its sides.
    components : int

    Raises
    ------
    ValueError
        For sides or components below 1.

    Examples
    --------
    >>> import flowkit as fk
    >>> print(fk.sites((8, 8)))
    Sites 1 component(s) on 8x8
    """
    return Space(tuple(lattice), Real(), "sites", components)


@checked
def links(lattice: Sequence[Count], group: Group) -> Space:
    """Gauge fields of a group on the links of a periodic lattice, [batch, mu, *lattice, *matrix].

    Parameters
    ----------
    lattice : sequence of int
        Its sides.
    group : Group
        A compact one, such as ``U1()`` or ``SUN(3)``.

    Raises
    ------
    TypeError
        If `group` is no Group.
    ValueError
        For a group that is not compact, or sides below 1.

    Examples
    --------
    >>> import flowkit as fk
    >>> print(fk.links((8, 8, 8), fk.SUN(3)))
    Links SU3 on 8x8x8
    """
    return Space(tuple(lattice), group, "links", len(lattice))
