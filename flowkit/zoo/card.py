"""Cards of trained flows, as plain data: the theory, the flow, its training, and what was measured."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import FiniteFloat, PositiveInt

from flowkit import actions, models
from flowkit.actions import Action
from flowkit.geometry.space import Space, links, sites
from flowkit.groups import Real
from flowkit.groups.base import named
from flowkit.priors import Haar, Prior
from flowkit.zoo.measured import Coverage, Data, Measured

Value = bool | int | float | str | tuple[int | float, ...]


class Theory(Data):
    """An action on a lattice.

    Parameters
    ----------
    action : str
        "Wilson" for links, "Phi4Hopping" for sites.
    group : str
        Of the links, as "SU3"; "Real" for sites.
    lattice : tuple of int
        The sides.
    couplings : mapping
        Dimensionless, by name, in the order of the action's `couplings`.

    Examples
    --------
    >>> import flowkit as fk
    >>> theory = fk.zoo.Theory(action="Wilson", group="SU3", lattice=(16, 16), couplings={"beta": 6.0})
    >>> theory.name, theory.on((4, 4)).space
    ('su3-2d-beta6', Space(lattice=(4, 4), group=SUN(3), kind='links', components=2))
    """

    action: Literal["Wilson", "Phi4Hopping"]
    group: str
    lattice: tuple[PositiveInt, ...]
    couplings: Mapping[str, FiniteFloat]

    @property
    def name(self) -> str:
        """Field, dimension and couplings, as "su3-2d-beta6" and "phi4-2d-beta0.576-lam0.5": the name of its flow."""
        field = "phi4" if self.group == "Real" else self.group.lower()
        return "-".join([field, f"{len(self.lattice)}d", *(f"{key}{value:g}" for key, value in self.couplings.items())])

    @property
    def space(self) -> Space:
        """What a field is."""
        group = named(self.group)
        return sites(self.lattice) if group == Real() else links(self.lattice, group)

    def on(self, lattice: Sequence[int] | None = None) -> Action:
        """The action, on another lattice where one is given."""
        kind = getattr(actions, self.action)
        made: Action = kind(self.space.on(self.lattice if lattice is None else lattice), **self.couplings)
        return made


class Construction(Data):
    """A ready-made flow and its options.

    Parameters
    ----------
    model : str
        A function of `flowkit.models`.
    options : mapping
        Its arguments after the space.
    coarsest : tuple of int, optional
        Sides of the lattice on which Haar measure begins.
    dtype : str
        Of the weights.

    Examples
    --------
    >>> import flowkit as fk
    >>> fk.zoo.Construction(model="multiscale_flow", options={"terms": 4}).flow(fk.links((2, 2), fk.U1())).dtype
    torch.float64
    """

    model: Literal["dressed_flow", "multiscale_flow", "photon_flow", "scalar_multiscale_flow"]
    options: Mapping[str, Value] = {}
    coarsest: tuple[PositiveInt, ...] | None = None
    dtype: Literal["float32", "float64"] = "float64"

    def flow(self, space: Space) -> Prior:
        """The untrained flow."""
        options: dict[str, Any] = dict(self.options)
        if self.coarsest is not None:
            options["coarsest"] = Haar(space.on(self.coarsest))
        made: Prior = getattr(models, self.model)(space, **options)
        return made.to(getattr(torch, self.dtype))


class Training(Data):
    """How a flow was trained, and what that took.

    Parameters
    ----------
    method : str
        The way of training.
    settings : mapping
        Its numbers.
    seconds : float
        Of processor time, with that of the Markov chains that the training used.
    machine : str
        Where it ran.
    commit, date : str or None
        Of the code, and of the day (UTC); None outside of a checkout.

    Examples
    --------
    >>> import flowkit as fk
    >>> fk.zoo.card("u1-2d-beta2").training.method
    'natural gradient'
    """

    method: Literal["natural gradient", "level by level", "maximum likelihood", "reverse KL", "path gradient"]
    settings: Mapping[str, int | float]
    seconds: FiniteFloat = 0.0
    machine: str = ""
    commit: str | None = None
    date: str | None = None


class Card(Data):
    """All that is known of a trained flow.

    Parameters
    ----------
    theory : Theory
        What it samples, on the lattice of its training.
    construction : Construction
        The flow without its weights.
    training : Training
        How it was trained.
    parameters : int
        Trained numbers.
    sha256 : str
        Of the file of weights.
    measured : tuple of Measured
        On three lattices, the smallest first.
    coverage : tuple of Coverage
        Of error bars on the first of them.

    Examples
    --------
    >>> import flowkit as fk
    >>> card = fk.zoo.card("su3-2d-beta6")
    >>> card.theory.on((8, 8))
    Wilson(Links SU3 on 8x8; beta=6.0)
    >>> card.again
    'flowkit zoo --train su3-2d-beta6'
    """

    theory: Theory
    construction: Construction
    training: Training
    parameters: PositiveInt
    sha256: str
    measured: tuple[Measured, ...]
    coverage: tuple[Coverage, ...]

    @property
    def again(self) -> str:
        """The command that trains it again."""
        return f"flowkit zoo --train {self.theory.name}"
