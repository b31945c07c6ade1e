"""The contract of a schedule of the learning rate."""

import copy
import json

from flowkit.testing.common import require
from flowkit.train.schedules import Schedule


def check_schedule(schedule: Schedule, total: int = 40) -> None:
    """Check a schedule: factors in [0, 1], not all zero, and the same ones after its state went through JSON.

    Parameters
    ----------
    schedule : Schedule
        Left as it is; copies are run.
    total : int
        Steps of the whole run.

    Raises
    ------
    AssertionError
        With a sentence that says what was expected and what came.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit import testing
    >>> testing.check_schedule(fk.schedules.Cosine(warmup=2))
    """
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
