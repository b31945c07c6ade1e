"""What a run says of itself while it goes on and where it was stopped."""

import io
import sys

import pytest
import torch

import flowkit as fk

ACTION = fk.Phi4(fk.sites((2, 2)), m2=1.0, lam=0.5)


def flow() -> fk.Flow:
    return fk.Flow(fk.Normal(ACTION.space), fk.Chain(*(fk.CheckerboardCoupling(ACTION.space, k % 2) for k in range(4))))


RUNS = {
    "fit": lambda: fk.Trainer(flow(), ACTION, batch=4).fit(3),
    "run": lambda: fk.run(fk.HMC(ACTION), 3, chains=2, thermalise=1, rng=1, progress=True),
    "importance_sample": lambda: fk.importance_sample(fk.Normal(ACTION.space), ACTION, 8, rng=1, progress=True),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_progress_bar_writes_to_a_terminal_and_not_into_a_file(name, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, silent in ((io.StringIO(), True), (Terminal(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        RUNS[name]()
        assert (stream.getvalue() == "") is silent


def test_a_message_about_nan_names_two_layers_and_counts_the_others():
    trainer = fk.Trainer(flow(), ACTION, batch=4)
    with torch.no_grad():
        for p in trainer.flow.parameters():
            p.fill_(torch.nan)
    with pytest.raises(fk.train.TrainingError, match=r"not finite in [\w.]+, [\w.]+ and \d+ more\. ") as caught:
        trainer.fit(1, progress=False)
    assert len(str(caught.value)) < 400


def test_a_run_says_how_far_annealing_is():
    space = fk.links((4, 4), fk.U1())
    action = fk.Wilson(space, beta=2.0)
    plain = fk.Trainer(fk.gauge_flow(space), action, batch=4)
    assert plain.annealed == 1
    line = fk.Trainer(fk.gauge_flow(space), action, batch=4, anneal=fk.schedules.Anneal("beta", 0.5, 8))
    assert line.fit(2, progress=False).annealed == 0.25
    assert line.fit(8, progress=False).annealed == 1
    natural = fk.Trainer(fk.multiscale_flow(space), action, batch=64, method=fk.NaturalGradientStep(max_kl=0.05))
    assert 0 < natural.fit(2, progress=False).annealed < 1
    levels = fk.Trainer(fk.multiscale_flow(space), action, batch=64, method=fk.train.LevelStep(8))
    assert levels.fit(2, progress=False).annealed == 0.25
    panels = pytest.importorskip("flowkit.panels", reason='the panels need the extra "lab"')
    said = "annealing is at 25 %: the flow is on its way to the theory, and its ESS and KL with it"
    assert panels.Training(levels)._notes() == [said]
    assert panels.Training(levels)._status()["text"] == said
    assert panels.Training(plain)._notes() == []


def test_a_flow_says_on_which_lattices_it_has_a_form():
    flow = fk.gauge_flow(fk.links((8, 8), fk.U1()))
    message = (
        r"on Links U1 on 8x8 has no form on Links U1 on 6x6: .* repeats every 8x8 sites and needs a lattice whose sides"
    )
    with pytest.raises(ValueError, match=message):
        flow.on(fk.links((6, 6), fk.U1()))
