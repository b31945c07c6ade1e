"""The dashboard: which panels it lays out, and what it leaves without a page."""

import struct
from pathlib import Path

import pytest
import torch

import flowkit as fk

pytest.importorskip("flowkit.panels", reason='the panels need the extra "lab"')
if not (Path(__file__).parents[1] / "flowkit/panels/static/heatmap.js").is_file():
    pytest.skip("the front end of the panels is not built", allow_module_level=True)

from flowkit.panels import Chain, Dashboard, EssKl, Field, FlowLayers, Multiscale, Training

SPACE = fk.links((2, 4), fk.U1())
ACTION = fk.Wilson(SPACE, 2.0)


@pytest.fixture
def trainer():
    return fk.Trainer(fk.gauge_flow(SPACE), ACTION, batch=16).fit(2, progress=False)


@pytest.fixture
def ensemble():
    return fk.run(fk.HMC(ACTION), 6, chains=2, rng=1)


def test_it_lays_out_what_fits(trainer, ensemble):
    dashboard = Dashboard(trainer, ensemble, Field(ensemble, quantity="charge"))
    kinds = [type(panel) for panel in dashboard.panels.values()]
    assert kinds == [Training, FlowLayers, Field, Field, Chain]
    assert repr(dashboard) == "Dashboard(Training, Layers, Fields, Field, Chains)"
    assert list(dashboard.widget.titles) == ["Training", "Layers", "Fields", "Field", "Chains"]
    dashboard.close()


def test_names_several_runs_and_several_trainers(trainer, ensemble):
    charge = Field(ensemble, quantity="charge")
    job = fk.start(fk.HMC(ACTION), 6, chains=2, rng=2).wait(60)
    dashboard = Dashboard({"HMC": ensemble, "charge density": charge}, job, trainer, trainer)
    titles = [
        "HMC: Fields",
        "charge density",
        "Training 1",
        "Layers 1",
        "Training 2",
        "Layers 2",
        "Chains",
        "ESS and KL",
    ]
    assert list(dashboard.panels) == titles
    assert dashboard.panels["charge density"] is charge
    assert dashboard.panels["Chains"].names == ["HMC", "run 2"]
    assert isinstance(dashboard.panels["ESS and KL"], EssKl)


def test_a_multiscale_model_shows_its_scales():
    trainer = fk.Trainer(fk.multiscale_flow(SPACE, terms=2), ACTION, batch=64, method=fk.NaturalGradientStep())
    dashboard = Dashboard(trainer.fit(1, progress=False))
    assert [type(panel) for panel in dashboard.panels.values()] == [Training, FlowLayers, Multiscale]
    before = dashboard.panels["Scales"].numbers.scales[-1].kl.value
    again = dashboard.widget.children[2].children[0].children[0]
    trainer.fit(5, progress=False)
    again.click()
    after = dashboard.panels["Scales"].numbers.scales[-1].kl.value
    assert abs(after) < abs(before)
    assert dashboard.widget.children[2].children[1] is dashboard.panels["Scales"].widget
    dashboard.close()


def test_drawing_again_keeps_the_panel_and_shows_the_weights_of_now(trainer):
    dashboard = Dashboard(trainer)
    layers = dashboard.panels["Layers"]
    layers.widget.main = 1
    before = layers.numbers.kl[-1].value
    button, said = dashboard.widget.children[1].children[0].children
    trainer.fit(20, progress=False)
    button.click()
    assert dashboard.panels["Layers"] is layers
    assert layers.shown.main == 1
    assert layers.numbers.kl[-1].value < before
    with torch.no_grad():
        next(trainer.flow.parameters()).fill_(float("nan"))
    button.click()
    assert "gives NaN" in said.value
    assert not button.disabled
    dashboard.close()


def test_what_it_leaves_without_a_page(trainer, ensemble, tmp_path):
    dashboard = Dashboard(trainer, ensemble)
    heights = [struct.unpack(">II", panel.snapshot().data[16:24])[1] for panel in dashboard.panels.values()]
    assert struct.unpack(">II", dashboard.snapshot().data[16:24])[1] == sum(heights)
    text = dashboard.save_html(tmp_path / "all.html").read_text(encoding="utf-8")
    assert "<script src" not in text
    assert all(words in text for words in ("Training finished", "log det so far", "plaquette angles"))
    assert "widget" not in dashboard.__dict__


def test_refusals(ensemble):
    with pytest.raises(TypeError, match="shows trainers, ensembles, jobs and panels; got int"):
        Dashboard(ensemble, 3)
    with pytest.raises(TypeError, match="ensembles with configurations, and panels; got none"):
        Dashboard(fk.Ensemble(SPACE, None, {**ensemble.series, "logw": -ensemble.series["S"]}, weighted=True))
