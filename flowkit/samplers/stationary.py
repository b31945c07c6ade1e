"""When a thermalisation may end: once the action no longer drifts."""

import numpy as np
import torch
from torch import Tensor

from flowkit.stats.agreement import ENOUGH, agreement, same_mean

SHORTEST, LONGEST = 64, 4096
"""Steps of a thermalisation whose length is not given."""
PIECES = 4
"""Parts of a quarter where there are too few chains to compare."""
LEVEL = 0.05
"""p-value of equal means below which it goes on."""


class Stationary:
    """Tells the end of a thermalisation from the action of its chains.

    It looks after 64, 128, 256, ... steps: the third and the last quarter of them have to agree, and the second half
    has to pass the test of `stats.agreement` for a start that shows. After 4096 steps it ends in any case. It reads
    the device at these steps alone.

    Examples
    --------
    A chain that forgets its start with e^(-t / 100):

    >>> import torch
    >>> from flowkit.samplers.stationary import Stationary
    >>> rng, stationary = torch.Generator().manual_seed(1), Stationary()
    >>> steps = 1
    >>> while not stationary.reached(10 * 0.99**steps + 0.5 * torch.randn(16, generator=rng)):
    ...     steps += 1
    >>> steps
    1024
    """

    def __init__(self) -> None:
        self._history: list[Tensor] = []

    def reached(self, S: Tensor) -> bool:
        """Take in the action after one more step, ``[chains]``; whether the thermalisation may end."""
        self._history.append(S)
        steps = len(self._history)
        if steps < SHORTEST or steps & (steps - 1):
            return False
        late = torch.stack(self._history[steps // 2 :]).double().cpu().numpy()
        if steps >= LONGEST or np.ptp(late) == 0:
            return True
        quarter = len(late) // 2
        third, last = late[:quarter], late[quarter:]
        if late.shape[1] < ENOUGH:  # cut into pieces, whose scatter gives the error
            pieces = [part.reshape(PIECES, -1, part.shape[1]).mean(1).reshape(1, -1) for part in (third, last)]
            return not same_mean(*pieces) < LEVEL
        return not (agreement(late).start_p < LEVEL or same_mean(third, last) < LEVEL)
