"""Samplers: Markov chains with the stationary distribution exp(-S(x)) / Z."""

from flowkit.samplers.annealed import MarkovKernel, StochasticTransform, annealed_flow
from flowkit.samplers.annealed_heatbath import AnnealedHeatbath, annealing_path
from flowkit.samplers.base import Sampler
from flowkit.samplers.block_update import BlockUpdate
from flowkit.samplers.chain import Point, Steps, states, thermalised
from flowkit.samplers.cycle import Cycle
from flowkit.samplers.heatbath import Heatbath
from flowkit.samplers.hmc import HMC
from flowkit.samplers.markov_prior import MarkovPrior
from flowkit.samplers.metropolis import IndependenceMetropolis
from flowkit.samplers.photon_hmc import PhotonHMC, annealed_photons
from flowkit.samplers.state import Proposals, State

__all__ = [
    "HMC",
    "AnnealedHeatbath",
    "BlockUpdate",
    "Cycle",
    "Heatbath",
    "IndependenceMetropolis",
    "MarkovKernel",
    "MarkovPrior",
    "PhotonHMC",
    "Point",
    "Proposals",
    "Sampler",
    "State",
    "Steps",
    "StochasticTransform",
    "annealed_flow",
    "annealed_photons",
    "annealing_path",
    "states",
    "thermalised",
]


def __dir__() -> list[str]:
    return __all__
