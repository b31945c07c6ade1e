"""The contract of a schedule of the learning rate."""

import copy
import json

from flowkit.testing.common import require
from flowkit.train.schedules import Schedule


def check_schedule(schedule: Schedule, total: int = 40) -> None:
    """Factors in [0, 1], not all equal to zero, and the same ones after a state went through JSON."""
    who, losses = type(schedule).__name__, [1 / (1 + k) if k < 8 else 0.125 for k in range(total)]
    one, other = copy.deepcopy(schedule), copy.deepcopy(schedule)
    factors = [one.factor(k, total, losses[k]) for k in range(total)]
    require(all(0 <= f <= 1 for f in factors) and max(factors) > 0, f"{who}: factors leave [0, 1] or are all 0.")
    for k in range(total // 2):
        other.factor(k, total, losses[k])
    fresh = copy.deepcopy(schedule)
    fresh.load_state(json.loads(json.dumps(other.state())))
    rest = [fresh.factor(k, total, losses[k]) for k in range(total // 2, total)]
    require(rest == factors[total // 2 :], f"{who}: a schedule taken up in the middle goes another way.")
