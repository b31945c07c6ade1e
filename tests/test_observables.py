"""One rule for what is observed: an Observable, or the name of one that flowkit knows or of a stored series."""

import pytest
import torch

import flowkit as fk
from flowkit.ensemble import EnsembleError
from flowkit.observables import as_observable

ACTION = fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0)
SAMPLER = fk.Heatbath(ACTION)
NAMES = ("plaquette", "charge_squared", "wilson_loop_1x2", "polyakov_0", "flux_01")
KEPT = fk.run(SAMPLER, 20, chains=4, thermalise=5, rng=1)
BARE = fk.run(SAMPLER, 20, chains=4, thermalise=5, rng=1, observe=[*NAMES], keep=False)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_means_the_observable_wherever_one_is_taken(name):
    observable = as_observable(name)
    assert observable.name == name
    values = KEPT.history(observable)
    assert torch.equal(KEPT.history(name), values)
    assert torch.equal(BARE.history(name), values)
    assert torch.equal(BARE.history(observable), values)
    assert KEPT.mean(name).value == KEPT.mean(observable).value == BARE.mean(name).value
    assert ACTION.exact(name) == ACTION.exact(observable)
    drawn = fk.importance_sample(fk.Haar(ACTION.space), ACTION, 20, rng=1, observe=[name])
    assert name in drawn.series
    compared = fk.compare({"heatbath": SAMPLER}, [name], seconds=0.01, chains=4, thermalise=0, rng=1)
    assert compared.cost("heatbath", name) is compared.cost("heatbath", observable)


def bare(space, x):
    return x.flatten(1).mean(1)


READ = (KEPT.history, KEPT.mean, ACTION.exact, lambda one: fk.run(SAMPLER, 1, observe=[one]))
READ += (lambda one: fk.compare({"a": SAMPLER}, [one]), lambda one: fk.start(SAMPLER, 1, observe=[one]))
READ += (lambda one: fk.importance_sample(fk.Haar(ACTION.space), ACTION, 2, observe=[one]),)


@pytest.mark.parametrize("take", READ)
def test_a_function_without_a_name_is_refused_by_the_same_sentence(take):
    sentence = (
        r"^An observable is f\(space, x\) -> \[batch\], real numbers, with a name: Observable\(name, label, f\), "
        r"or the name of one that flowkit knows; got function\.$"
    )
    with pytest.raises(TypeError, match=sentence):
        take(bare)


@pytest.mark.parametrize("take", [READ[0], READ[1], *READ[3:]])
def test_an_unknown_name_is_answered_by_those_that_are_known(take):
    known = r"flowkit knows the observables .*plaquette, .*wilson_loop_RxT.*; got 'plaquet'"
    with pytest.raises((ValueError, EnsembleError), match=known):
        take("plaquet")


def test_what_was_not_kept_is_said():
    run = fk.run(SAMPLER, 3, chains=2, rng=1, keep=False)
    for one in ("plaquette", fk.plaquette):
        with pytest.raises(
            fk.ensemble.EnsembleError, match=r"kept no configurations; run with keep=True or observe it"
        ):
            run.mean(one)


@pytest.mark.parametrize("observe", ["plaquette", fk.plaquette, 3])
def test_observables_come_as_a_list(observe):
    with pytest.raises(TypeError, match=r"^Observables come as a list, such as \[fk\.plaquette\]; got"):
        fk.run(SAMPLER, 1, observe=observe)


def test_what_is_not_defined_there_is_refused_before_the_first_step():
    steps = []

    class Counted(fk.Heatbath):
        def step(self, state, rng):
            steps.append(1)
            return super().step(state, rng)

    space = fk.links((2, 2, 2), fk.U1())
    sampler = Counted(fk.Wilson(space, beta=1.0))
    for run in (
        lambda: fk.run(sampler, 1, thermalise=5, observe=[fk.charge_squared]),
        lambda: fk.compare({"a": sampler}, [fk.charge_squared], thermalise=5),
    ):
        with pytest.raises(ValueError, match=r"^charge_squared cannot be measured on Links U1 on 2x2x2: "):
            run()
    assert not steps
