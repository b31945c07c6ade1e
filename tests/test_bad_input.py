"""Fields and ingredients of the wrong kind are refused where they come in, and never computed with."""

import pytest
import torch

import flowkit as fk
from flowkit import transforms
from flowkit.kernels.convolution import site_convolution
from flowkit.observables import polyakov
from flowkit.storage.checkpoint import CheckpointError

F64 = torch.float64
SITES, LINKS, SU2 = fk.sites((4, 6)), fk.links((4, 6), fk.U1()), fk.links((4, 6), fk.SUN(2))
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
        (lambda: polyakov(2)(LINKS, torch.zeros(1, 2, 4, 6)), "has the directions 0 to 1; got a Polyakov loop in 2"),
        (lambda: fk.Trainer(WILSON, fk.Haar(LINKS)), "needs a flow .any Prior., then an action; got Wilson and Haar"),
        (
            lambda: fk.Flow(transforms.Affine(SITES), fk.Normal(SITES)),
            "needs a prior, then a transform; got Affine and Normal",
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
        (lambda: transforms.LowModes(PHI4), r"LowModes needs a space, made by sites\(\) or links\(\); got Phi4\."),
        (lambda: fk.Normal(PHI4), r"Normal needs a space, made by sites\(\) or links\(\); got Phi4\."),
        (lambda: fk.Chain([LOW, LOW]), r"takes transforms one by one, Chain\(first, second\); got list\."),
        (lambda: fk.Chain(LOW, PHI4), "takes transforms one by one, .*; got Phi4"),
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
        (lambda: transforms.LowModes(SITES, gain="a"), "needs sites and a gain > 0; got .* and 'a'"),
        (
            lambda: transforms.FourierScale(SITES, m2="a"),
            "FourierScale needs sites, m2 > 0 and order >= 0; got .*'a' and 3",
        ),
        (lambda: fk.HMC(PHI4, length="a"), "a trajectory length > 0; got 'a'"),
        (lambda: fk.HMC(PHI4, step_size="a"), "a step size > 0; got 'a'"),
        (lambda: fk.HMC(PHI4, target=None), "a target acceptance between 0 and 1; got None"),
        (lambda: fk.HMC(PHI4, randomise="a"), "randomises the step size by a share in .*; got 'a'"),
        (lambda: transforms.TrivializingFlow(LINKS, beta="a"), "steps >= 1, and beta >= 0; got 1, 8 and 'a'"),
        (
            lambda: transforms.TrivializingFlow(LINKS, steps=2.5),
            r"numbers degree >= 0 and steps >= 1.*; got 1, 2\.5 and 0\.0",
        ),
        (
            lambda: transforms.TrivializingFlow(LINKS, degree=0.5),
            r"numbers degree >= 0 and steps >= 1.*; got 0\.5, 8 and 0\.0",
        ),
        (lambda: fk.Trainer(fk.scalar_flow(SITES), PHI4).fit(1.5), r"whole numbers steps >= 1 .*; got 1\.5 and 100\."),
        (
            lambda: fk.Trainer(fk.scalar_flow(SITES), PHI4).start(2, every=0.5),
            r"steps >= 1 and every >= 1; got 2 and 0\.5",
        ),
        (
            lambda: fk.Trainer(fk.scalar_flow(SITES), PHI4, seed=-1),
            "Trainer needs a seed, a whole number >= 0 .*; got -1",
        ),
        (lambda: fk.run(fk.HMC(PHI4), 1, rng=-1), "A seed is a whole number >= 0 of at most 64 bits; got -1"),
        (lambda: fk.run(fk.HMC(PHI4), 1, rng=2**64), "A seed is a whole number >= 0 of at most 64 bits; got 18446"),
        (lambda: fk.start(fk.HMC(PHI4), 1, rng=-1), "A seed is a whole number >= 0 .*; got -1"),
        (lambda: fk.importance_sample(fk.Normal(SITES), PHI4, 1, rng=-1), "A seed is a whole number >= 0 .*; got -1"),
        (lambda: fk.compare({"a": fk.HMC(PHI4)}, [fk.phi_squared], rng=-1), "A seed is a whole number >= 0 .*; got -1"),
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


@pytest.mark.parametrize(
    ("function", "got"),
    [
        (lambda space, x: x.mean(), r"a tensor \[\] of torch\.float32"),
        (lambda space, x: x.flatten(1), r"a tensor \[2, 24\] of torch\.float32"),
        (lambda space, x: x.flatten(1).mean(1, keepdim=True), r"a tensor \[2, 1\] of torch\.float32"),
        (lambda space, x: torch.fft.fft(x.flatten(1))[:, 1], r"a tensor \[2\] of torch\.complex64"),
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
        with pytest.raises(ValueError, match=rf"^{HOW}, here \[2\]; odd gave {got}\.$"):
            call()


@pytest.mark.parametrize(
    ("make", "got"),
    [
        (lambda: fk.Observable("odd", "odd", lambda x: x), r"; the function of odd takes \(x\)"),
        (lambda: fk.Observable("odd", "odd", lambda a, b, c: a), r"; the function of odd takes \(a, b, c\)"),
        (lambda: fk.Observable("odd", "odd", lambda a, b, *, c: a), r"; the function of odd takes \(a, b, \*, c\)"),
        (lambda: fk.Observable("odd", "odd", 1.0), r", with a name: .*; got str and float as name and f"),
        (
            lambda: fk.Observable(len, "odd", len),
            r", with a name: .*; got builtin_function.* and builtin_.* as name and f",
        ),
        (lambda: fk.run(fk.HMC(PHI4), 1, observe=[lambda space, x: x]), ", with a name: .*; got function"),
        (lambda: fk.compare({"a": fk.HMC(PHI4)}, [lambda space, x: x]), ", with a name: .*; got function"),
        (lambda: fk.run(fk.HMC(PHI4), 8, chains=1, rng=1).mean(lambda space, x: x), ", with a name: .*; got function"),
        (lambda: fk.run(fk.HMC(PHI4), 8, chains=1, rng=1).history(3), ", with a name: .*; got int"),
    ],
)
def test_a_function_is_an_observable_once_it_has_a_name_and_two_arguments(make, got):
    with pytest.raises(TypeError, match=rf"^{HOW}{got}\.$"):
        make()


def test_functions_that_are_observables():
    x = torch.randn(3, 1, 4, 6, generator=torch.Generator().manual_seed(1))
    for f in (lambda space, x, power=2: (x**power).mean((1, 2, 3)), lambda *a: a[1].mean((1, 2, 3)) > 0):
        assert fk.Observable("one", "one", f)(SITES, x).shape == (3,)


def test_what_is_no_sampler_no_list_of_observables_and_no_map():
    space = fk.links((4, 4), fk.U1())
    action, flow = fk.Wilson(space, beta=1.0), fk.gauge_flow(space)
    for call in (lambda: fk.run(flow, 10), lambda: fk.start(flow, 10), lambda: fk.compare({"a": flow}, [fk.plaquette])):
        with pytest.raises(TypeError, match=r"Chains need a sampler such as HMC\(action\).*; got Flow\."):
            call()
    with pytest.raises(TypeError, match=r"such as flow.transform; got Flow\."):
        action.pullback(flow)
    x = torch.zeros(1, *space.shape)
    with pytest.raises(TypeError, match="by_scale needs a multiscale model of links"):
        fk.multiscale.by_scale(action, action, x)
