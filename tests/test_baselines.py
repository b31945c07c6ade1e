"""HMC and heatbath against exact values: the study behind `flowkit reproduce baselines`, and its parts."""

import math

import numpy as np
import pytest
import torch

from flowkit import exact, observables, stats
from flowkit.actions import Wilson
from flowkit.geometry import loops
from flowkit.geometry.space import links
from flowkit.groups import SUN, U1
from flowkit.samplers import HMC, Heatbath
from flowkit.studies import baselines as study, hops
from flowkit.studies.figure import Row

SMALL = {"chains": 32, "steps": 200, "thermalise": 60}
HEAVY = {"chains": 16, "steps": 60, "thermalise": 30}
CASES = [(U1(), beta, side, SMALL) for beta, side in ((1.0, 4), (4.0, 8), (8.0, 8))]
CASES += [(SUN(2), 2.2, 4, HEAVY), (SUN(3), 6.0, 4, HEAVY)]


def check_reached(rows):
    for row in rows:
        Row.model_validate(row)
    missed = [
        f"{row['label']}: {row['value']} ± {row['error']}, goal {row['goal']}" for row in rows if not row["reached"]
    ]
    assert not missed, "\n".join(missed)


@pytest.mark.parametrize("name", ["HMC", "heatbath"])
def test_two_dimensions_agree_with_exact_values(name):
    """Every coupling regime at once, so that one threshold accounts for the number of comparisons."""
    comparisons = []
    for seed, (group, beta, side, settings) in enumerate(CASES):
        comparisons += study.two_dimensions(name, group, beta, side, **settings, seed=seed)
    limit = study.threshold(len(comparisons))
    check_reached([c.row(limit) for c in comparisons])
    check_reached(study.verdicts(comparisons))
    assert all(c.estimate.error < 0.03 for c in comparisons if "charge" not in c.label)
    assert {"plaquette", "wilson_loop_2x2", "charge_squared", "plaquette where |Q| = 1"} <= {
        c.label.split(": ")[1] for c in comparisons
    }


def test_four_dimensions_agree_with_monte_carlo():
    comparison = study.four_dimensions("heatbath", 2.0, chains=4, steps=20, thermalise=10, seed=3)
    assert abs(comparison.pull) < 3
    assert "± 9e-05" in comparison.row(3.0)["published"]


@pytest.mark.parametrize("name", ["HMC", "independence Metropolis"])
def test_errors_cover(name):
    row = study.coverage(name, seeds=1000, steps=400, seed=4)
    check_reached([row])
    assert row["error"] == pytest.approx(0.0147, abs=1e-4)


def test_a_frozen_chain_shows_as_its_sector():
    """From a cold start at beta = 12 the charge never moves, and the plaquette is that of Q = 0, not the average."""
    action = Wilson(links((8, 8), U1()), 12.0)
    settings = {"chains": 256, "steps": 300, "thermalise": 40, "hot": False, "seed": 6}
    ensemble = study.measure(Heatbath(action), [observables.plaquette, observables.charge_squared], **settings)
    assert not ensemble.history("charge_squared").any()
    plaquette = ensemble.mean("plaquette")
    assert plaquette.within(exact.u1_plaquette_in_sector(12.0, 64, 0))
    assert not plaquette.within(sigmas=5)  # of the average over sectors, its exact value, about nine errors away
    assert "no error" in ensemble.mean("charge_squared").note


def test_an_instanton_has_charge_one_and_hops_keep_the_distribution():
    space = links((4, 6), U1())
    field = hops.instanton(space, torch.zeros(()).double())
    P = loops.plaquette(space, field, 0, 1)
    assert (P - 2 * math.pi / space.volume).abs().max() < 1e-12
    assert observables.topological_charge(space, field).tolist() == [1.0]
    action = Wilson(space, 2.0)
    for inner in (HMC(action, steps=5), Heatbath(action)):
        run = study.measure(
            hops.Hops(inner), [observables.charge_squared, observables.plaquette],
            chains=128, steps=100, thermalise=20, seed=7,
        )  # fmt: skip
        assert run.mean("charge_squared").within()
        assert run.mean("plaquette").within()
    assert hops.Hops(inner).describe()["hops"] == 2


def test_a_run_without_an_error_is_never_reached():
    constant = stats.estimate(np.ones((100, 4)))
    row = study.Comparison("constant", constant, 1.0).row(5.0)
    assert row["reached"] is False
    assert row["error"] is None
    assert "no error" in row["label"]
    rows = study.verdicts([study.Comparison("constant: plaquette", constant, 1.0)])
    assert [row["reached"] for row in rows] == [False, False, False]
    for verdict in (row, *rows):
        Row.model_validate(verdict)


def test_effort_has_to_be_positive():
    with pytest.raises(ValueError, match="effort > 0; got 0"):
        study.baselines(effort=0)


@pytest.mark.slow
def test_the_quick_figure_is_reached():
    check_reached(study.baselines(quick=True))


@pytest.mark.slow
def test_the_figure_is_reached():
    check_reached(study.baselines())
