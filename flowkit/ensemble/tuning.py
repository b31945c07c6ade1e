"""The length of HMC's trajectories, tuned by what an independent configuration costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flowkit.checks import Count, Natural, Positive, checked
from flowkit.ensemble.comparison import Comparison
from flowkit.ensemble.turns import compare
from flowkit.geometry.settings import settings
from flowkit.observables import Observables
from flowkit.samplers.hmc import HMC
from flowkit.tasks.randomness import Rng


@dataclass(frozen=True)
class LengthTuning:
    """The trajectory length whose independent configurations cost the fewest forces.

    Attributes
    ----------
    best : HMC
        With that length, tuned.
    comparison : Comparison
        The table of all lengths.

    Examples
    --------
    >>> import flowkit as fk
    >>> hmc = fk.HMC(fk.Phi4(fk.sites((1, 1)), m2=0.5, lam=0.0), steps=4)
    >>> tuned = fk.ensemble.tune_length(hmc, [fk.phi_squared], (1.5,), forces=1000, thermalise=10, rng=1)
    >>> tuned.comparison
    Comparison(length 1.5; phi_squared)
    """

    best: HMC
    comparison: Comparison

    def __str__(self) -> str:
        h = self.best
        chosen = f"length {h.length:g}: {h.steps} steps of {h.step_size:.4g}, {h.forces} forces for each trajectory"
        return f"{self.comparison}\nchosen: {chosen}"


@checked
def tune_length(
    hmc: HMC,
    observables: Observables,
    lengths: Sequence[Positive] = (0.5, 1.0, 2.0, 4.0),
    *,
    forces: Count = 200_000,
    seconds: Positive = 60.0,
    chains: Count = 16,
    thermalise: Natural = 100,
    rng: Rng = None,
) -> LengthTuning:
    """The length of HMC's trajectories by cost: 2 tau_int times the forces of a trajectory, in the worst observable.

    At every length the step size is tuned toward `hmc.target`, then all lengths spend the same number of forces in
    turns. The lowest of several noisy costs is a little too low: run again before it is quoted.

    Parameters
    ----------
    hmc : HMC
        Stays as it is.
    observables : sequence of Observable or str
        What is to decorrelate.
    lengths : sequence of float
        To try, in units of simulation time.
    forces, seconds, chains, thermalise, rng
        As `compare`; forces and seconds are those of each length.

    Returns
    -------
    LengthTuning
        Its `best` is a new HMC, tuned.

    Raises
    ------
    TypeError
        For a sampler without trajectories, or lengths that are no sequence.
    ValueError
        For no lengths or one <= 0, where no length moves the observables, and as `compare`.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Phi4(fk.sites((1, 1)), m2=0.5, lam=0.0)         # one mode of frequency 1
    >>> tuned = fk.ensemble.tune_length(fk.HMC(action, steps=4), [fk.phi_squared], (0.1, 1.5), forces=20_000, rng=1)
    >>> tuned.best.length
    1.5
    """
    if not lengths:
        raise ValueError("tune_length needs lengths to try; got none.")
    tried = {f"length {one.length:g}": one for one in map(hmc.of_length, lengths)}
    comparison = compare(
        tried, observables, seconds=seconds, forces=forces, chains=chains, thermalise=thermalise, rng=rng
    )
    best = comparison.best(by="forces")
    steps = comparison.ensembles[best].provenance["sampler"]["steps"]
    kept = settings(hmc, "action", "length", "steps", "step_size")
    return LengthTuning(HMC(hmc.action, tried[best].length, steps=steps, **kept), comparison)
