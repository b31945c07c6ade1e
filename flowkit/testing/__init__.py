"""Contract checks: what groups, actions, priors, transforms, maps, samplers, schedules, methods and panels must do.

Each check raises AssertionError with a sentence that says what was expected and what came. The tests use them, and so
may anyone who writes a new piece: `check_transform(MyCoupling(space))`.
"""

from flowkit.testing.actions import check_action
from flowkit.testing.bases import check_basis
from flowkit.testing.bijections import check_bijection
from flowkit.testing.common import (
    difference,
    fields,
    randomised,
    require,
    require_close,
    require_same_field,
    seeded,
)
from flowkit.testing.conditionals import check_conditional
from flowkit.testing.contexts import check_context
from flowkit.testing.counts import Launches, launches
from flowkit.testing.dependence import require_gradients, require_independent_batch
from flowkit.testing.examples import concrete, example, gives
from flowkit.testing.groups import check_group
from flowkit.testing.markov import check_markov_kernel, check_stochastic_transform
from flowkit.testing.methods import check_method
from flowkit.testing.panels import check_panel
from flowkit.testing.plaquettes import check_plaquettes
from flowkit.testing.priors import check_normalised, check_prior
from flowkit.testing.samplers import check_sampler
from flowkit.testing.schedules import check_schedule
from flowkit.testing.symmetries import symmetry, tile, translate
from flowkit.testing.transforms import check_equivariance, check_transform, jacobian

__all__ = [
    "Launches",
    "check_action",
    "check_basis",
    "check_bijection",
    "check_conditional",
    "check_context",
    "check_equivariance",
    "check_group",
    "check_markov_kernel",
    "check_method",
    "check_normalised",
    "check_panel",
    "check_plaquettes",
    "check_prior",
    "check_sampler",
    "check_schedule",
    "check_stochastic_transform",
    "check_transform",
    "concrete",
    "difference",
    "example",
    "fields",
    "gives",
    "jacobian",
    "launches",
    "randomised",
    "require",
    "require_close",
    "require_gradients",
    "require_independent_batch",
    "require_same_field",
    "seeded",
    "symmetry",
    "tile",
    "translate",
]


def __dir__() -> list[str]:
    return __all__
