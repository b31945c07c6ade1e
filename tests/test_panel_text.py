"""Text that comes from a file or a user is shown as text: no tag, no link and no formula."""

import re
from html import escape
from pathlib import Path

import pytest
import torch

pytest.importorskip("anywidget", reason='the panels need the extra "lab"')
if not (Path(__file__).parents[1] / "flowkit/panels/static/live.js").is_file():
    pytest.skip("the panels' front end is not built", allow_module_level=True)

import flowkit as fk
from flowkit import panels, testing
from flowkit.testing import example

EVIL = '<a href="https://evil.example">$\\frac{</a><b style="color:red">&lt;i>'
ACTION = fk.Phi4(fk.sites((2, 4)), m2=1.0, lam=0.5)


class Named(fk.Phi4):
    def __repr__(self):
        return EVIL


def ensemble():
    observable = fk.Observable(EVIL, EVIL, lambda space, x: x.flatten(1).sum(1))
    return fk.run(fk.HMC(Named(ACTION.space, m2=1.0, lam=0.5)), 10, chains=2, rng=1, observe=[observable])


def training():
    trainer = fk.Trainer(fk.Flow(fk.Normal(ACTION.space), fk.transforms.Affine(ACTION.space)), ACTION, batch=4)
    trainer.fit(2, progress=False)
    trainer.status = trainer.error = EVIL
    return panels.Training(trainer)


def layers():
    numbers = fk.ensemble.layer_numbers(flow := example(fk.Flow), fk.Phi4(flow.space, m2=1.0, lam=0.5), n=16)
    return panels.FlowLayers(numbers._replace(theory=EVIL, names=(EVIL,) * len(numbers.names)))


def field():
    numbers = fk.ensemble.field_numbers(ensemble())
    return panels.Field(numbers._replace(group=EVIL))


def density():
    space = fk.sites((2, 2, 3))
    numbers = fk.ensemble.field_numbers(torch.ones(2, *space.shape), space)
    return panels.Density(numbers._replace(group=EVIL))


def multiscale():
    from flowkit.multiscale import by_scale

    model = fk.multiscale_flow(fk.links((2, 4), fk.U1()), terms=2)
    numbers = by_scale(model, fk.Wilson(model.space, 1.0), model.sample(500, testing.seeded()))
    return panels.Multiscale(numbers._replace(group=EVIL))


def patterns():
    numbers = fk.ensemble.pattern_numbers(fk.Pattern.checkerboard(0, 2), (4, 4))
    evil = {"label": EVIL, "patterns": (EVIL,) * len(numbers.patterns), "loops": (EVIL,) * len(numbers.loops)}
    return panels.Patterns(numbers._replace(**evil))


MAKERS = {
    "Chain": lambda: panels.Chain({EVIL: ensemble(), "b": ensemble()}),
    "Dashboard": lambda: panels.Dashboard({EVIL: ensemble()}, {EVIL: training()}),
    "Density": density,
    "EssKl": lambda: panels.EssKl(
        {EVIL: [{EVIL: 1.0, "ess": 0.9}]}, against=EVIL, published={EVIL: [{EVIL: 2, "ess": 1}]}
    ),
    "Field": field,
    "FlowLayers": layers,
    "Multiscale": multiscale,
    "Patterns": patterns,
    "Training": training,
}


def test_every_panel_is_here():
    assert {kind.__name__ for kind in testing.concrete(panels.Panel)} == set(MAKERS)


@pytest.mark.parametrize("name", MAKERS)
def test_text_is_text(name, tmp_path):
    panel = MAKERS[name]()
    figures = [figure.to_json() for figure in panel._figures()]
    assert any("evil.example" in one for one in figures)
    for one in figures:
        assert not re.search(r"(<|\\u003c)(?!br(>|\\u003e))", one), "a tag in a figure"
    page = re.sub(r"<script.*?</script>", "", panel.save_html(tmp_path / "p.html").read_text(), flags=re.S)
    assert "<a href" not in page
    assert "<b style" not in page
    assert panel.snapshot().data[1:4] == b"PNG"
    panel.close()


def test_a_name_is_what_a_legend_shows():
    figure = panels.EssKl({"a < b & c": [{"beta": 1.0, "ess": 0.9}]}).figure()
    assert escape("a < b & c", quote=False) in {trace.name for trace in figure.data}
