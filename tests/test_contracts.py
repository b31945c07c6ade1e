"""Every concrete class of a kind that has a contract keeps it, on the example that the class gives."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import flowkit
from flowkit import testing
from flowkit.actions import Action, ScalarAction
from flowkit.bijections import Bijection
from flowkit.geometry import Loop, Pattern
from flowkit.groups import SUN, Group
from flowkit.multiscale import LinkConditional, LinkContext
from flowkit.priors import Prior
from flowkit.samplers import Sampler
from flowkit.testing import example
from flowkit.train.schedules import Schedule
from flowkit.transforms import (
    FourierModes,
    FourierScale,
    FreeFieldDrift,
    GaugeCoupling,
    LiftedDrift,
    LowModes,
    PhotonDrift,
    SpectralCoupling,
    Transform,
)
from flowkit.variance import Basis

panels = pytest.importorskip("flowkit.panels", reason='the panels need the extra "lab"')

REPEATED = 4
"""Contract checks that another file runs again; 0 is the aim."""

# What a class claims beyond the contract of all.
SYMMETRIES = {"Wilson": ["gauge", "translation"], "Villain": ["gauge", "translation"],
              "MatrixModel": ["gauge"], "Sum": ["z2", "translation"],
              "Multiple": ["z2", "translation"], "Pullback": ["z2", "translation"]}  # fmt: skip


def check_action(action: Action) -> None:
    scalar = ["z2", "translation"] if isinstance(action, ScalarAction) else []
    name = type(action).__name__
    testing.check_action(action, SYMMETRIES.get(name, scalar), moves=name != "Pullback")


def check_transform(transform: Transform) -> None:
    # A bigger lattice has momenta between those of the smaller one: the log-gain of a spectrum is no sum over sites.
    local = not isinstance(transform, (FourierScale, FreeFieldDrift, LowModes, LiftedDrift, PhotonDrift))
    testing.check_transform(
        transform, local=local, periodic=not isinstance(transform, (FourierModes, FreeFieldDrift, LowModes))
    )


def check_bijection(bijection: Bijection) -> None:
    """Numbers on their own; maps of several angles and of links in a coupling of links, gauge-equivariant."""
    if bijection.angles > 1:
        space = flowkit.links((2, 3), SUN(bijection.angles))
        coupling = SpectralCoupling(space, bijection.bins, bijection.order)
        assert type(coupling.map) is type(bijection)
        testing.check_transform(coupling)
        return
    if not hasattr(bijection, "group"):
        testing.check_bijection(bijection)
        return
    space = flowkit.links((2, 4), bijection.group)
    loops = Loop.rectangle().through(0, 2)
    coupling = GaugeCoupling(space, Pattern.checkerboard(0, 2, 1), loops, [bijection], start=1.0)
    testing.check_transform(coupling)
    testing.check_equivariance(coupling, testing.symmetry(space, "gauge", testing.seeded(5)))


CHECKS = {
    Group: testing.check_group,
    Action: check_action,
    Prior: testing.check_prior,
    Transform: check_transform,
    Bijection: check_bijection,
    LinkConditional: testing.check_conditional,
    LinkContext: testing.check_context,
    Sampler: testing.check_sampler,
    Schedule: testing.check_schedule,
    Basis: testing.check_basis,
    panels.Panel: testing.check_panel,
}


def training_panel():
    """A panel imports no physics, so that the trainer of its example is made here."""
    from flowkit.flow import Flow
    from flowkit.train import Trainer

    flow = example(Flow)
    trainer = Trainer(flow, flowkit.Phi4(flow.space, m2=1.0, lam=0.5), batch=8)
    trainer.fit(3, progress=False)
    return panels.Training(trainer)


def multiscale_panel():
    from flowkit.models import multiscale_flow
    from flowkit.multiscale import by_scale

    model = multiscale_flow(flowkit.links((2, 4), flowkit.U1()), terms=2)
    x = model.sample(500, testing.seeded())
    return panels.Multiscale(by_scale(model, flowkit.Wilson(model.space, 1.0), x))


def field_panel():
    space = flowkit.links((2, 3, 4), SUN(2))
    return panels.Field(space.haar(3, testing.seeded()), space)


def density_panel():
    space = flowkit.links((2, 3, 4), SUN(2))
    return panels.Density(space.haar(3, testing.seeded()), space)


def flow_layers_panel():
    from flowkit.flow import Flow

    flow = example(Flow)
    return panels.FlowLayers(flow, flowkit.Phi4(flow.space, m2=1.0, lam=0.5), n=16)


def chain_panel():
    from flowkit.samplers import HMC, Heatbath

    action = flowkit.Wilson(flowkit.links((4, 2), flowkit.U1()), 1.0)
    settings = {"chains": 4, "observe": (flowkit.plaquette, flowkit.topological_charge), "rng": 1}
    heatbath = flowkit.run(Heatbath(action), 40, **settings)
    return panels.Chain({"heatbath": heatbath, "HMC": flowkit.start(HMC(action, steps=3), 40, **settings).wait(60)})


def ess_kl_panel():
    return panels.EssKl({"flow": [{"beta": beta, "ess": 0.9 / beta, "kl": 0.1 * beta} for beta in (1.0, 2.0, 4.0)]})


EXAMPLES = {
    panels.Chain: chain_panel,
    panels.Dashboard: lambda: panels.Dashboard(training_panel().trainer, field_panel()),
    panels.Density: density_panel,
    panels.EssKl: ess_kl_panel,
    panels.Field: field_panel,
    panels.FlowLayers: flow_layers_panel,
    panels.Multiscale: multiscale_panel,
    panels.Patterns: lambda: panels.Patterns(Pattern.sparse(0, 3, 2), (2, 2, 4)),
    panels.Training: training_panel,
}


def example_of(kind: type):
    if kind in EXAMPLES:
        return EXAMPLES[kind]()
    return example(kind)  # a class that gives none raises TypeError with its name


CLASSES = [
    (base, kind)
    for base in CHECKS
    for kind in testing.concrete(base)
    if base is not Bijection or not issubclass(kind, LinkConditional)  # these have a contract of their own
]


@pytest.mark.parametrize(("base", "kind"), CLASSES, ids=[f"{b.__name__}-{k.__name__}" for b, k in CLASSES])
def test_contract(base, kind):
    found = example_of(kind)
    assert type(found) is kind, f"The example of {kind.__name__} is a {type(found).__name__}."
    CHECKS[base](found)


@pytest.mark.parametrize("base", CHECKS, ids=lambda base: base.__name__)
def test_every_base_class_is_abstract_and_has_subclasses(base):
    assert inspect.isabstract(base)
    assert testing.concrete(base)


def repeated(source: str) -> list[int]:
    """Lines that run a check of a contract on an example that this file checks already, with nothing added."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and len(node.args) == 1]
    pairs = [(call.lineno, ast.unparse(call.func), call.args[0]) for call in calls if not call.keywords]
    return [
        line
        for line, check, given in pairs
        if re.match(r"(testing\.)?check_", check)
        and isinstance(given, ast.Call)
        and re.fullmatch(r"(testing\.)?example", ast.unparse(given.func))
    ]


def test_a_contract_is_checked_once():
    files = [path for path in Path(__file__).parent.glob("test_*.py") if "planted_bugs" not in path.name]
    found = [f"{path.name}:{line}" for path in files for line in repeated(path.read_text(encoding="utf-8"))]
    assert len(found) <= REPEATED, f"The same checks run in test_contract: {', '.join(found)}"
    assert repeated("testing.check_prior(example(Haar))") == [1]
    assert not repeated("testing.check_prior(example(Haar), n=9)")


def test_unequal_sides():
    """Swapped axes must show."""
    for base, kind in CLASSES:
        space = getattr(example_of(kind), "space", None) if base in (Action, Prior, Transform) else None
        if space is not None and space.volume > 1:
            assert len(set(space.lattice)) > 1, f"The example of {kind.__name__} lives on {space}."


def test_several_components():
    """What counts sites in the place of numbers must show."""
    for base, kind in CLASSES:
        space = getattr(example_of(kind), "space", None) if base in (Action, Prior, Transform) else None
        if space is not None and space.kind == "sites" and kind.__name__ != "MarkovPrior":  # whose theory is one of all
            assert space.components > 1, f"The example of {kind.__name__} lives on {space}."


def test_a_class_without_example_fails_by_name():
    class Forgetful(Schedule):
        def factor(self, step, total, loss):
            return 1.0

    with pytest.raises(TypeError, match="Forgetful has no example"):
        example_of(Forgetful)
