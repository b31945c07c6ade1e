"""The contract of Markov kernels, the stochastic steps of flows."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from flowkit.flow import Flow
from flowkit.observables import plaquette
from flowkit.priors import Haar, Normal, Prior
from flowkit.samplers.annealed import MarkovKernel, StochasticTransform
from flowkit.testing.common import require, require_close, seeded
from flowkit.train.losses import path_gradient, reverse_kl


def check_stochastic_transform(step: StochasticTransform, n: int = 20_000) -> None:
    """The contract of a step of a flow that moves fields at random: `check_markov_kernel`, or E[w] = Z where it begins.

    Parameters
    ----------
    step : StochasticTransform
        From Haar measure, where it is no `MarkovKernel`; of a theory whose ln Z is known.
    n : int
        Draws behind each mean.

    Raises
    ------
    AssertionError
        With a sentence that says what was expected and what came.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((2, 2), fk.U1()), beta=0.5)
    >>> step = fk.samplers.AnnealedHeatbath(action, (0.0, 0.2, 0.5))
    >>> fk.testing.check_stochastic_transform(step, n=2000)
    """
    if isinstance(step, MarkovKernel):
        return check_markov_kernel(step, n)
    who, prior = type(step).__name__, Haar(step.space).double()
    with torch.no_grad():
        x, _ = prior.sample_and_log_prob(n, seeded())
        before = x.clone()
        y, heat = step.push(x, seeded(2))
        require(torch.equal(x, before), f"{who} changes the fields that it is given.")
        require(torch.equal(step.push(x, seeded(2))[0], y), f"{who}: one seed, two passages.")
        require(not torch.equal(step.push(x, seeded(3))[0], y), f"{who}: two seeds, one passage.")
        require(y.shape == x.shape and y.dtype == x.dtype, f"{who}: fields became {list(y.shape)} of {y.dtype}.")
        require(heat.shape == (n,) and heat.dtype == x.real.dtype, f"{who}: its heat is no number of each field.")
        require(bool((step.space.group.defect(y) < 1e-10).all()), f"{who} leaves the group.")
        known = step.action.log_z()
        require(known is not None, f"{who}: the example's ln Z is not known.")
        assert known is not None
        weight = (heat - step.action(y) - known).exp()
        _require_zero(weight - 1, f"{who}: E[w] / Z - 1")
        exact = step.action.exact("plaquette")
        if exact is not None:
            _require_zero(
                weight * (plaquette(step.space, y) - exact), f"{who}: its reweighted plaquette less the exact"
            )
    check_refusals(step, prior)


def check_markov_kernel(kernel: MarkovKernel, n: int = 20_000, reversible: bool = True) -> None:
    r"""What a stochastic step of a flow must do: return the heat, keep its distribution, and refuse what it has not.

    Parameters
    ----------
    kernel : MarkovKernel
        Of a theory that is not far from Haar measure, or from a normal distribution on each site.
    n : int
        Draws behind each mean.
    reversible : bool
        Whether the kernel obeys detailed balance, and not stationarity alone.

    Raises
    ------
    AssertionError
        With a sentence that says what was expected and what came.

    Notes
    -----
    For x ~ r with weights w = exp(-S_k(x)) / r(x) and y the kernel's image of x,

    .. math:: E[w (f(y) - f(x))] = 0, \qquad E[w (f(x) g(y) - f(y) g(x))] = 0

    by stationarity and by detailed balance; and E[w] = Z, exactly known for free fields and in two dimensions, by the
    weights of a flow whose last theory lies beyond the kernel's.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((2, 2), fk.U1()), beta=0.5)
    >>> fk.testing.check_markov_kernel(fk.samplers.MarkovKernel(fk.HMC(action, steps=4)), n=2000)
    """
    who, space, S = type(kernel).__name__, kernel.space, kernel.sampler.action
    prior = (Haar(space) if space.kind == "links" else Normal(space, 0.6)).double()
    with torch.no_grad():
        x, logr = prior.sample_and_log_prob(n, seeded())
        y, heat = kernel.push(x, seeded(2))
        require(torch.equal(kernel.push(x, seeded(2))[0], y), f"{who}: one seed, two passages.")
        require(not torch.equal(kernel.push(x, seeded(3))[0], y), f"{who}: two seeds, one passage.")
        require(y.shape == x.shape and y.dtype == x.dtype, f"{who}: fields became {list(y.shape)} of {y.dtype}.")
        require_close(heat, S(y) - S(x), f"{who}: its heat")
        weight = (-S(x) - logr).softmax(0) * n
        f, g = (S(z) / space.dof for z in (x, y))
        a, b = (_other(kernel, z) for z in (x, y))
        _require_zero(weight * (g - f), f"{who} does not keep the mean of its action")
        _require_zero(weight * (b - a), f"{who} does not keep the mean of a field")
        if reversible:
            _require_zero(weight * (f * b - g * a), f"{who} does not obey detailed balance")
    check_jarzynski(kernel, prior, n)
    check_refusals(kernel, prior)


@torch.no_grad()
def check_jarzynski(kernel: MarkovKernel, prior: Prior, n: int) -> None:
    """E[w] = Z of the kernel's own theory, reached through the kernel at half of the action; where ln Z is known."""
    S = kernel.sampler.action
    known = S.log_z()
    if known is None:
        return
    half = MarkovKernel(kernel.sampler.of_action(0.5 * S) if kernel.sampler.forces else kernel.sampler, kernel.steps)
    x, logq = Flow(prior, half).sample_and_log_prob(n, seeded(5))
    weight = (-S(x) - logq - known).exp()
    error = float(weight.std()) / math.sqrt(n)
    require(error < 0.1, f"E[w] / Z is known to {error:.2g} alone; give an example nearer to the prior.")
    require(abs(float(weight.mean()) - 1) < 5 * error, f"E[w] / Z is {weight.mean():.4f} +- {error:.4f}, not 1.")


def check_refusals(kernel: StochasticTransform, prior: Prior) -> None:
    """Whatever needs the density of a field is refused in a sentence."""
    flow, S = Flow(prior, kernel), kernel.action
    require(flow.stochastic, f"A flow with a {type(kernel).__name__} does not say that it is stochastic.")
    x = flow.sample(2, seeded())
    learned = copy.deepcopy(prior)
    learned.sample = lambda n, rng=None: prior.sample(n, rng).requires_grad_()  # type: ignore[method-assign]
    refused = {
        "has no Jacobian and no inverse": (lambda: kernel(x), lambda: kernel.inverse(x), lambda: [*kernel.by_layer(x)]),
        "density of a path alone": (
            lambda: flow.log_prob(x),
            lambda: flow.score(x),
            lambda: flow.pullback(S),
            lambda: path_gradient(flow, S, 2, seeded()),
        ),
        "needs a deterministic map": (lambda: S.pullback(kernel),),
        "has no derivative": (lambda: reverse_kl(Flow(learned, kernel), S, 2, seeded()),),
    }
    for sentence, calls in refused.items():
        for call in calls:
            try:
                call()
            except ValueError as error:
                require(sentence in str(error), f"A refusal that says {sentence!r} was expected; got {error}")
            else:
                raise AssertionError(f"ValueError with {sentence!r} was expected; nothing was raised.")


def _other(kernel: MarkovKernel, x: Tensor) -> Tensor:
    """Another number of each field, [batch], which the kernel's action is no function of."""
    if kernel.space.kind == "sites":
        return x.flatten(1).mean(1).square()
    return kernel.space.group.trace(x).flatten(1).mean(1)


def _require_zero(values: Tensor, what: str) -> None:
    mean, error = float(values.mean()), float(values.std()) / math.sqrt(len(values))
    require(abs(mean) < 5 * error + 1e-12, f"{what}: {mean:.2g} +- {error:.2g} is not 0.")
