"""Samplers: Markov chains with the stationary distribution exp(-S(x)) / Z."""

from flowkit.samplers.base import Proposals, Sampler, State
from flowkit.samplers.heatbath import Heatbath
from flowkit.samplers.hmc import HMC
from flowkit.samplers.markov_prior import MarkovPrior
from flowkit.samplers.metropolis import IndependenceMetropolis

__all__ = ["HMC", "Heatbath", "IndependenceMetropolis", "MarkovPrior", "Proposals", "Sampler", "State"]
