"""Fields and ingredients of the wrong kind are refused where they come in, and never computed with."""

import copy
import inspect
import math
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from calls import CALLS
from fuzz import ALL, called, outcome, pieces, require_shares
from hypothesis import given, settings, strategies as st
from test_public_names import PUBLIC

import flowkit as fk
from flowkit import testing, transforms
from flowkit.checks import arguments as checks_of_arguments
from flowkit.kernels.convolution import site_convolution
from flowkit.observables import polyakov
from flowkit.storage.checkpoint import CheckpointError
from flowkit.testing import example
from flowkit.testing.examples import concrete


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Texts that stand for paths name files of the test's own folder."""
    monkeypatch.chdir(tmp_path)


F64 = torch.float64
SITES, LINKS, SU2 = fk.sites((4, 6)), fk.links((4, 6), fk.U1()), fk.links((4, 6), fk.SUN(2))
RNG = torch.Generator().manual_seed(1)
PHI4, WILSON = fk.Phi4(SITES, m2=1.0, lam=0.5), fk.Wilson(LINKS, beta=2.0)


def entries():
    """Everything that takes a field, with the space it takes it from."""
    torch.manual_seed(1)
    scalar, gauge = fk.scalar_flow(SITES, layers=2), fk.gauge_flow(LINKS)
    return {
        "Phi4": (PHI4, SITES), "Wilson": (WILSON, LINKS), "MatrixModel": (fk.MatrixModel(SU2, 1.0), SU2),
        "Sum": (PHI4 + 2.0 * PHI4, SITES), "Pullback": (scalar.pullback(PHI4), SITES),
        "Normal": (fk.Normal(SITES).log_prob, SITES), "FreeField": (fk.FreeField(SITES).log_prob, SITES),
        "Haar": (fk.Haar(SU2).log_prob, SU2),
        "scalar flow": (scalar.log_prob, SITES), "gauge flow": (gauge.log_prob, LINKS),
        "checkerboard": (scalar.transform, SITES), "checkerboard, inverse": (scalar.transform.inverse, SITES),
        "gauge coupling": (gauge.transform, LINKS), "gauge coupling, inverse": (gauge.transform.inverse, LINKS),
        "phi_squared": (lambda x: fk.phi_squared(SITES, x), SITES),
        "plaquette": (lambda x: fk.plaquette(LINKS, x), LINKS),
        "HMC": (fk.HMC(PHI4).init, SITES),
        "independence Metropolis": (fk.IndependenceMetropolis(gauge, WILSON).init, LINKS),
    }  # fmt: skip


ENTRIES = entries()


@pytest.mark.parametrize("name", ENTRIES)
def test_fields_of_another_lattice_are_refused(name):
    call, space = ENTRIES[name]
    other = space.on((4, 8)).cold(2, like=torch.empty(0))
    with pytest.raises(ValueError, match=r"on 4x6 holds fields \[batch, .*4, 6.*\]; got \[2, .*4, 8"):
        call(other)
    with pytest.raises(ValueError, match="holds fields"):
        call(other[0])
    call(space.cold(2, like=torch.empty(0)))  # and its own are not


@pytest.mark.parametrize("name", ENTRIES)
def test_fields_of_another_kind_of_number_are_refused(name):
    call, space = ENTRIES[name]
    field = space.cold(2, like=torch.empty(0))
    with pytest.raises(ValueError, match=r"holds (real floating-point|complex) fields; got torch.int64"):
        call(field.real.long() if field.is_complex() else field.long())
    with pytest.raises(TypeError, match="expects a torch tensor; got list"):
        call(field.tolist())


@pytest.mark.parametrize("name", ["scalar flow", "gauge flow", "independence Metropolis"])
def test_a_flow_refuses_another_precision_and_another_device(name):
    call, space = ENTRIES[name]
    with pytest.raises(ValueError, match=r"computes in torch.float32 on cpu; got torch.float64 fields on cpu"):
        call(space.cold(2, like=torch.empty(0, dtype=F64)))
    if "flow" in name:
        with pytest.raises(ValueError, match=r"computes in torch.float32 on cpu; got torch.float32 fields on meta"):
            call(space.cold(2, like=torch.empty(0, device="meta")))


def test_a_convolution_refuses_two_precisions():
    """Its C kernel would read the numbers of one as those of the other."""
    index = torch.zeros(1, 3, dtype=torch.long)
    with pytest.raises(ValueError, match=r"one dtype; got a field of torch.float64 and weights of torch.float32"):
        site_convolution(torch.zeros(2, 3, 4, dtype=F64), torch.zeros(1, 2, 1), None, index)


def test_log_weights_of_an_ensemble_in_another_precision():
    """logw_under moves the fields of an ensemble to the precision of the flow."""
    ensemble = fk.run(fk.HMC(PHI4), 3, chains=2, rng=1)
    flow = fk.scalar_flow(SITES, layers=2)
    single, double = ensemble.logw_under(flow), ensemble.logw_under(flow.double())
    assert (single - double).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fk.plaquette(SITES, torch.zeros(1, 1, 4, 6)), "plaquette is measured on links; got Sites"),
        (lambda: fk.phi_squared(LINKS, torch.zeros(1, 2, 4, 6)), "phi_squared is measured on sites; got Links U1"),
        (lambda: polyakov(2)(LINKS, torch.zeros(1, 2, 4, 6)), "needs one of the directions 0 to 1, .*; got 2"),
        (lambda: fk.Trainer(WILSON, fk.Haar(LINKS)), "Trainer needs flow, a prior or flow; got Wilson"),
        (
            lambda: fk.Flow(transforms.Affine(SITES), fk.Normal(SITES)),
            "Flow needs prior, a prior or flow; got Affine",
        ),
    ],
)
def test_ingredients_of_the_wrong_kind(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


LOW = transforms.LowModes(SITES, most=1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: transforms.LowModes(PHI4),
            r"LowModes needs space, a space made by sites\(\) or links\(\); got Phi4\.",
        ),
        (lambda: fk.Normal(PHI4), r"Normal needs space, a space made by sites\(\) or links\(\); got Phi4\."),
        (
            lambda: fk.Chain([LOW, LOW]),
            r"Chain needs steps, a transform such as flow.transform; got \[LowModes, LowModes\]\.",
        ),
        (lambda: fk.Chain(LOW, PHI4), "Chain needs steps, a transform .*; got Phi4"),
        (lambda: PHI4.pullback(PHI4), r"needs a map z -> \(field, logdet\).*; got Phi4"),
        (
            lambda: PHI4.pullback(transforms.LowModes(fk.sites((8, 8)))),
            "one space; got Sites .* on 4x6 and Sites .* on 8x8",
        ),
        (lambda: LOW.fit(torch.full((2, 1, 4, 6), torch.nan)), "expects finite fields; got 48 NaN or infinite"),
        (
            lambda: transforms.FourierScale(SITES).fit(torch.full((2, 1, 4, 6), torch.inf)),
            "expects finite fields; got 48 NaN",
        ),
        (
            lambda: LOW.fit(torch.zeros(5, 1, 4, 6)),
            "LowModes.fit needs at least two fields, which vary .*; got 5 that are",
        ),
        (
            lambda: LOW.fit(torch.ones(1, 1, 4, 6)),
            "LowModes.fit needs at least two fields, which vary .*; got 1 of them",
        ),
        (
            lambda: LOW.fit(torch.ones(0, 1, 4, 6)),
            "LowModes.fit needs at least two fields, which vary .*; got 0 of them",
        ),
        (lambda: LOW.fit(torch.eye(6)[None, None, :4], "a"), "LowModes needs a frequency > 0; got 'a'"),
        (
            lambda: transforms.FourierModes(SITES).fit(torch.ones(3, 1, 4, 6)),
            "FourierModes.fit needs .*; got 3 that are all equal",
        ),
        (lambda: transforms.LowModes(SITES, gain="a"), "LowModes needs gain, a finite number > 0; got 'a'"),
        (
            lambda: transforms.FourierScale(SITES, m2="a"),
            "FourierScale needs m2, a finite number > 0; got 'a'",
        ),
        (lambda: fk.HMC(PHI4, length="a"), "HMC needs length, a number in .0, 10000.; got 'a'"),
        (lambda: fk.HMC(PHI4, step_size="a"), "HMC needs step_size, a finite number > 0 or None; got 'a'"),
        (lambda: fk.HMC(PHI4, target=None), r"HMC needs target, a number in \(0, 1\); got None"),
        (lambda: fk.HMC(PHI4, randomise="a"), r"HMC needs randomise, a number in \[0, 1\); got 'a'"),
        (
            lambda: transforms.TrivializingFlow(LINKS, beta="a"),
            "TrivializingFlow needs beta, a finite number >= 0; got 'a'",
        ),
        (
            lambda: transforms.TrivializingFlow(LINKS, steps=2.5),
            r"TrivializingFlow needs steps, a whole number >= 1; got 2\.5",
        ),
        (
            lambda: transforms.TrivializingFlow(LINKS, degree=0.5),
            r"TrivializingFlow needs degree, a whole number in \[0, 64\]; got 0\.5",
        ),
        (
            lambda: fk.Trainer(fk.scalar_flow(SITES), PHI4).fit(1.5),
            r"Trainer.fit needs steps, a whole number >= 1; got 1\.5\.",
        ),
        (
            lambda: fk.Trainer(fk.scalar_flow(SITES), PHI4).start(2, every=0.5),
            r"Trainer.start needs every, a whole number >= 1; got 0\.5",
        ),
        (
            lambda: fk.Trainer(fk.scalar_flow(SITES), PHI4, seed=-1),
            "Trainer needs seed, a whole number >= 0 .*; got -1",
        ),
        (
            lambda: fk.run(fk.HMC(PHI4), 1, rng=-1),
            "A seed is a whole number >= 0 of at most 64 bits; got -1",
        ),
        (
            lambda: fk.run(fk.HMC(PHI4), 1, rng=2**64),
            "A seed is a whole number >= 0 of at most 64 bits; got 18446",
        ),
        (lambda: fk.start(fk.HMC(PHI4), 1, rng=-1), "A seed is a whole number >= 0 .*; got -1"),
        (
            lambda: fk.importance_sample(fk.Normal(SITES), PHI4, 1, rng=-1),
            "A seed is a whole number >= 0 .*; got -1",
        ),
        (
            lambda: fk.compare({"a": fk.HMC(PHI4)}, [fk.phi_squared], rng=-1),
            "A seed is a whole number >= 0 .*; got -1",
        ),
    ],
)
def test_what_would_fail_later_or_compute_nonsense(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_as_many_chains_as_fields_to_start_from():
    ensemble = fk.run(fk.HMC(PHI4), 1, chains=4, start=torch.zeros(2, 1, 4, 6), rng=1)
    assert ensemble.chains == ensemble.provenance["chains"] == 2


def test_a_checkpoint_of_another_precision_is_refused(tmp_path):
    """Taken up, it would be rounded in silence, and the rest of the run would not equal the unbroken one."""

    def trainer(dtype):
        return fk.Trainer(fk.Flow(fk.Normal(SITES), transforms.Affine(SITES)).to(dtype), PHI4, batch=4)

    trainer(F64).fit(1, progress=False).save(tmp_path / "run")
    with pytest.raises(CheckpointError, match="names, shapes or dtypes differ"):
        trainer(torch.float32).load(tmp_path / "run")


HOW = r"An observable is f\(space, x\) -> \[batch\], real numbers"
HINT = r"; a vector says so by components=, complex numbers by complex=True"


@pytest.mark.parametrize(
    ("function", "got"),
    [
        (lambda space, x: x.mean(), r"a tensor \[\] of torch\.float\d+"),
        (lambda space, x: x.flatten(1), r"a tensor \[\d, 24\] of torch\.float\d+"),
        (lambda space, x: x.flatten(1).mean(1, keepdim=True), r"a tensor \[\d, 1\] of torch\.float\d+"),
        (lambda space, x: torch.fft.fft(x.flatten(1))[:, 1], r"a tensor \[\d\] of torch\.complex\d+"),
        (lambda space, x: float(x.mean()), "float"),
        (lambda space, x: None, "NoneType"),
    ],
)
def test_an_observable_that_gives_no_number_of_each_field(function, got):
    odd, hmc = fk.Observable("odd", "odd", function), fk.HMC(PHI4, steps=2)
    ensemble = fk.run(hmc, 2, chains=1, rng=1)
    for call in (
        lambda: odd(SITES, torch.ones(2, 1, 4, 6)),
        lambda: fk.run(hmc, 3, chains=2, observe=[odd], rng=1),
        lambda: fk.compare({"a": hmc}, [odd], chains=2, seconds=1, rng=1),
        lambda: ensemble.mean(odd),
    ):
        with pytest.raises(ValueError, match=rf"^{HOW}, here \[\d\]; odd gave {got}{HINT}\.$"):
            call()


@pytest.mark.parametrize(
    ("make", "got"),
    [
        (lambda: fk.run(fk.HMC(PHI4), 1, observe=[lambda space, x: x]), ", with a name: .*; got function"),
        (lambda: fk.compare({"a": fk.HMC(PHI4)}, [lambda space, x: x]), ", with a name: .*; got function"),
        (lambda: fk.run(fk.HMC(PHI4), 8, chains=1, rng=1).mean(lambda space, x: x), ", with a name: .*; got function"),
        (lambda: fk.run(fk.HMC(PHI4), 8, chains=1, rng=1).history(3), ", with a name: .*; got int"),
    ],
)
def test_a_function_is_an_observable_once_it_has_a_name_and_two_arguments(make, got):
    with pytest.raises(TypeError, match=rf"^{HOW}{got}\.$"):
        make()


@pytest.mark.parametrize(
    ("name", "function", "message"),
    [
        ("odd", lambda x: x, r"function, a function of 2 arguments; got function of \(x\)"),
        ("odd", lambda a, b, c: a, r"function, a function of 2 arguments; got function of \(a, b, c\)"),
        ("odd", lambda a, b, *, c: a, r"function, a function of 2 arguments; got function of \(a, b, \*, c\)"),
        ("odd", 1.0, r"function, a function of 2 arguments; got 1\.0"),
        (len, len, "name, a text; got builtin_function_or_method"),
    ],
)
def test_an_observable_needs_a_name_and_a_function_of_space_and_fields(name, function, message):
    with pytest.raises(TypeError, match=f"^Observable needs {message}"):
        fk.Observable(name, "odd", function)


def test_functions_that_are_observables():
    x = torch.randn(3, 1, 4, 6, generator=torch.Generator().manual_seed(1))
    for f in (lambda space, x, power=2: (x**power).mean((1, 2, 3)), lambda *a: a[1].mean((1, 2, 3)) > 0):
        assert fk.Observable("one", "one", f)(SITES, x).shape == (3,)


def test_what_is_no_sampler_no_list_of_observables_and_no_map():
    space = fk.links((4, 4), fk.U1())
    action, flow = fk.Wilson(space, beta=1.0), fk.gauge_flow(space)
    for call in (lambda: fk.run(flow, 10), lambda: fk.start(flow, 10), lambda: fk.compare({"a": flow}, [fk.plaquette])):
        with pytest.raises(TypeError, match=r"needs samplers?, .*a sampler such as HMC\(action\).*; got .*Flow"):
            call()
    with pytest.raises(TypeError, match=r"such as flow.transform; got Flow\."):
        action.pullback(flow)
    x = torch.zeros(1, *space.shape)
    with pytest.raises(TypeError, match="by_scale needs model, a prior or flow; got Wilson"):
        fk.multiscale.by_scale(action, action, x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fk.sites({4, 2}), "sites needs lattice, a sequence, each a whole number >= 1; got {2, 4}"),
        (lambda: fk.sites((10**6, 10**6)), "fields of at most [0-9]+ numbers; got Sites"),
        (lambda: fk.Trainer(fk.Normal(SITES), PHI4, loss=0.5), "Trainer needs loss, .*; got 0.5"),
        (
            lambda: fk.Trainer(fk.Normal(SITES), PHI4, batch=10**12),
            "Trainer needs batch, a whole number .*; got 10{12}",
        ),
        (lambda: fk.Normal(fk.sites((64, 64))).sample(2**30, RNG), "4096 numbers; got [0-9]+ fields, which do not fit"),
        (lambda: fk.train.LevelStep(steps=float("nan")), "LevelStep needs steps, a whole number >= 1; got nan"),
        (
            lambda: fk.bijections.IntervalSpline(1500),
            r"IntervalSpline needs bins, a whole number in \[2, 500\]; got 1500",
        ),
        (
            lambda: fk.wilson_loop(9, 9)(fk.links((8, 8), fk.U1()), torch.zeros(1, 2, 8, 8)),
            "got 9x9 on Links U1 on 8x8",
        ),
        (lambda: fk.geometry.plaquettes(LINKS, torch.zeros(1, 2, 4, 5)), r"holds fields \[.*\]; got \[1, 2, 4, 5\]"),
        (lambda: fk.geometry.staples(LINKS, torch.zeros(1, 2, 4, 6), 1, 1), "A plane has two directions; got"),
        (lambda: fk.scalar_flow(SITES)(torch.zeros(1, 1, 4, 6)), "Flow is a distribution: use sample"),
        (
            lambda: copy.deepcopy(fk.Trainer(fk.scalar_flow(SITES), PHI4)),
            "A trainer works in a thread and is not copied",
        ),
    ],
)
def test_absurd_numbers_and_uses(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_what_is_not_wrong():
    """Angles of any period, rounding at the end of the circle, a map of another precision, observables elsewhere."""
    start = LINKS.haar(2, RNG) % (2 * math.pi)
    first = fk.run(fk.HMC(WILSON), 1, start=start, rng=1).x
    assert torch.equal(first, fk.run(fk.HMC(WILSON), 1, start=fk.U1().wrap(start), rng=1).x)
    for number in (3 * math.pi, -math.pi, 1e6):
        assert fk.U1().wrap(torch.tensor([number])) >= -torch.tensor(math.pi)
    for flow, action in ((fk.gauge_flow(LINKS), WILSON), (fk.scalar_flow(SITES), PHI4)):
        ensemble = fk.run(fk.HMC(action.pullback(flow.double().transform), steps=1), 1, chains=2, thermalise=0, rng=1)
        assert ensemble.x.dtype == F64
    for one in (fk.plaquette, fk.charge_squared, fk.wilson_loop(1, 2), fk.observables.polyakov(1)):
        assert torch.equal(pickle.loads(pickle.dumps(one))(LINKS, start), one(LINKS, start))


class Stretched(fk.Action):
    """An action with a number that `couplings` does not list."""

    def __init__(self, space, k):
        super().__init__(space)
        self.k = k

    def __call__(self, x):
        return self.k * x.square().flatten(1).sum(1)


def test_an_action_that_hides_its_numbers_is_not_taken_for_another(tmp_path):
    ensemble = fk.run(fk.HMC(Stretched(SITES, 1.0)), 4, chains=2, thermalise=0, rng=1)
    ensemble.save(tmp_path / "run")
    with pytest.raises(
        fk.ensemble.EnsembleError, match="Stretched does not list all that it is made with in `couplings`"
    ):
        fk.Ensemble.load(tmp_path / "run", action=Stretched(SITES, 2.0))
    assert fk.Ensemble.load(tmp_path / "run").action is None
    flow = fk.Flow(fk.Normal(SITES), transforms.Affine(SITES))
    with pytest.raises(CheckpointError, match="names its action; Stretched does not list"):
        fk.Trainer(flow, Stretched(SITES, 1.0), batch=4).start(1, checkpoint=tmp_path / "checkpoint")
    assert (PHI4 + 2.0 * PHI4).identified
    assert not (PHI4 + Stretched(SITES, 1.0)).identified


def test_series_the_other_way_round_warn():
    with pytest.warns(UserWarning, match="Series are .n, chains.; these have 3 steps of 100 chains"):
        fk.Ensemble(SITES, None, {"S": torch.zeros(3, 100)})


def test_wrong_arguments_are_refused_in_a_sentence():
    """Each argument of each public name, replaced by some thirty things that it may not be."""
    found = []
    for name, argument in ALL:
        for label, piece in pieces(name, argument):
            kind, text = called(name, argument, piece)
            found.append((kind, f"{name}({argument}={label}) {text}"))
    assert len(found) > 15_000
    require_shares(found)


NUMBERS = st.one_of(st.floats(), st.integers(), st.booleans())
STRANGE = st.one_of(
    NUMBERS,
    st.none(),
    st.text(),
    st.binary(),
    st.lists(NUMBERS, max_size=3),
    st.dictionaries(st.text(max_size=3), NUMBERS, max_size=2),
    st.sets(st.integers(), max_size=3),
)
INGREDIENTS = (fk.Space, fk.Action, fk.Prior, fk.Transform, fk.Group, fk.Sampler, torch.Generator)
"""Kinds of arguments in whose place no number, text or collection may stand."""
PLACES = [
    (name, argument)
    for name, argument in ALL
    if isinstance(CALLS[name][1][argument], INGREDIENTS) and name not in ("panels.Dashboard",)
]


def strangers(examples: int) -> list[tuple[str, str]]:
    found = []

    @settings(max_examples=examples)
    @given(place=st.sampled_from(PLACES), value=STRANGE)
    def one(place, value):
        if value is not None and not (place[1] == "rng" and isinstance(value, int)):
            kind, text = called(*place, value)
            found.append((kind, f"{place[0]}({place[1]}={value!r}) {text}"))

    one()
    return found


def test_strange_values_in_place_of_ingredients():
    found = strangers(1000)
    assert len(found) > 500
    require_shares(found)


@pytest.mark.slow
def test_more_strange_values_in_place_of_ingredients():
    require_shares(strangers(20_000))


def test_numbers_of_numpy_are_taken_as_numbers():
    refused = []
    for name, argument in ALL:
        value = CALLS[name][1][argument]
        if isinstance(value, int | float) and not isinstance(value, bool):
            for kind in (np.int64, np.int32) if isinstance(value, int) else (np.float64, np.float32):
                refused += [text for how, text in [called(name, argument, kind(value))] if how != "taken"]
    assert not refused, "\n".join(refused)


def test_tensors_with_gradients_are_taken():
    refused = []
    for name, argument in ALL:
        value = CALLS[name][1][argument]
        if isinstance(value, torch.Tensor) and (value.is_floating_point() or value.is_complex()):
            how, text = called(name, argument, value.clone().requires_grad_())
            refused += [f"{name}({argument}): {text}"] * (how != "taken")
    assert not refused, "\n".join(refused)


@pytest.mark.parametrize("kind", [fk.Action, fk.Transform, fk.samplers.Sampler])
def test_nothing_inside_a_step_reads_annotations(kind, monkeypatch):
    """A force, a layer and a step of a chain cost what their arithmetic costs: arguments are checked before them."""
    works = []
    for one in map(example, concrete(kind)):
        x, rng = testing.fields(one.space, 2, 3, torch.float32), testing.seeded(1)
        if kind is fk.Action:
            works += [partial(one, x), partial(one.force, x)]
        elif kind is fk.Transform:
            works += [] if one.stochastic else [partial(one.forward, x)]
        else:
            works.append(partial(one.step, one.begin(2, rng), rng))
    require_no_annotations(works, monkeypatch)


@pytest.mark.parametrize("make", [fk.gauge_flow, fk.scalar_flow, fk.multiscale_flow])
def test_no_training_step_reads_annotations(make, monkeypatch):
    action = (
        fk.Phi4(fk.sites((4, 2)), 1.0, 0.5) if make is fk.scalar_flow else fk.Wilson(fk.links((4, 2), fk.U1()), 1.0)
    )
    method, flow, rng = fk.train.GradientStep(), make(action.space), testing.seeded(1)
    method.prepare(flow)
    require_no_annotations([partial(method.step, flow, action, 4, 1.0, rng)], monkeypatch)


def require_no_annotations(works, monkeypatch):
    """Fail where one of these functions, which have run before, checks arguments by annotations again."""

    def refuse(function, *_):
        raise AssertionError(f"{function.__qualname__} is checked by its annotations")

    for work in works:
        work()
    monkeypatch.setattr(checks_of_arguments, "settings_of", refuse)
    monkeypatch.setattr(checks_of_arguments, "check", refuse)
    for work in works:
        work()


def test_the_calls_are_valid_and_complete():
    failed = [(name, text) for name, (f, a) in CALLS.items() for how, text in [outcome(f, a)] if how != "taken"]
    assert not failed
    known = {id(function) for function, _ in CALLS.values()}
    names = {name.split(",")[0].split()[-1].split(".")[-1] for name in CALLS}
    lacking = []
    for name, value in PUBLIC.items():
        record = isinstance(value, type) and (
            issubclass(value, (tuple, Exception))
            or inspect.isabstract(value)
            or getattr(value, "_is_protocol", False)
            or hasattr(value, "__dataclass_fields__")
            or hasattr(value, "model_fields")
            or not inspect.signature(value).parameters
        )
        if (
            not record
            and id(value) not in known
            and name.split(".")[-1] not in names
            and not name.startswith("testing")
        ):
            lacking.append(name)
    assert sorted(lacking) == sorted(WITHOUT.split()), lacking


WITHOUT = """
kernels.compiled
kernels.compiling
kernels.without
storage.Draft
storage.Files
storage.claimed
tasks.running
variance.ReducedCorrelator
"""
"""Public names that the fuzz leaves out: switches of kernels, parts of a store, and results that estimators make."""
