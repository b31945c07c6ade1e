"""Cards of trained flows, as plain data: the theory, the flow, its training, and what was measured."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, FiniteFloat, PositiveInt

from flowkit import actions, models
from flowkit.actions import Action
from flowkit.geometry.space import Space, links, sites
from flowkit.groups import Real
from flowkit.groups.base import named
from flowkit.priors import Haar, Prior
from flowkit.stats import format_error

Value = bool | int | float | str | tuple[int | float, ...]


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Theory(_Data):
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


class Construction(_Data):
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


class Training(_Data):
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


class Mean(_Data):
    """A mean by reweighting beside what is known of it.

    Parameters
    ----------
    name : str
        Of the observable, or "log_z".
    value, error : float
        What the flow's draws give.
    known, known_error : float or None
        The exact value, whose error is 0, or that of another sampler.
    known_from : str or None
        "exact", or the sampler.

    Examples
    --------
    >>> import flowkit as fk
    >>> mean = fk.zoo.Mean(name="plaquette", value=0.52, error=0.02, known=0.5, known_from="exact")
    >>> round(mean.pull, 3), mean.known_text
    (1.0, '0.5 (exact)')
    """

    name: str
    value: FiniteFloat
    error: FiniteFloat
    known: FiniteFloat | None = None
    known_error: FiniteFloat = 0.0
    known_from: str | None = None

    @property
    def pull(self) -> float | None:
        """The deviation from what is known, in standard errors of both; None where nothing is known."""
        if self.known is None:
            return None
        return (self.value - self.known) / max(1e-300, math.hypot(self.error, self.known_error))

    @property
    def known_text(self) -> str:
        """What is known, as text; empty where nothing is."""
        if self.known is None:
            return ""
        number = format_error(self.known, self.known_error) if self.known_error else f"{self.known:.8g}"
        return f"{number} ({self.known_from})"


class Measured(_Data):
    """What draws on one lattice show.

    Parameters
    ----------
    lattice : tuple of int
        The sides.
    draws : int
        Independent draws.
    ess, ess_error : float
        Effective sample size, dimensionless, in (0, 1].
    acceptance : float
        Of independence Metropolis.
    means : tuple of Mean
        Observables and ln Z.
    milliseconds : float
        Of processor time for one draw with its weight, on the machine of the training.

    Examples
    --------
    >>> import flowkit as fk
    >>> [one.lattice for one in fk.zoo.card("u1-2d-beta2").measured]
    [(16, 16), (32, 32), (64, 64)]
    """

    lattice: tuple[PositiveInt, ...]
    draws: PositiveInt
    ess: FiniteFloat
    ess_error: FiniteFloat
    acceptance: FiniteFloat
    means: tuple[Mean, ...]
    milliseconds: FiniteFloat


class Coverage(_Data):
    """How often an error bar held what is known.

    Parameters
    ----------
    observable : str
        Of which means were taken.
    estimates, draws : int
        Independent means, each of so many draws.
    share, error : float
        Of those within one standard error, 0.683 where errors are right, and its own standard error.

    Examples
    --------
    >>> import flowkit as fk
    >>> found = fk.zoo.card("u1-2d-beta2").coverage[0]
    >>> abs(found.share - 0.683) < 4 * found.error
    True
    """

    observable: str
    estimates: PositiveInt
    draws: PositiveInt
    share: FiniteFloat
    error: FiniteFloat


class Card(_Data):
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
