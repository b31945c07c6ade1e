"""What a trainer writes down: one row of its history for each step, moved off the device many steps at a time."""

import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from flowkit.actions import Action
from flowkit.tasks.history import History
from flowkit.train.step import Report
from flowkit.train.weights import acceptance, log_ess

NAMED = 2
"""Layers that a message names."""
BEFORE = ("step", "loss", "ess", "kl", "acceptance", "grad_norm", "lr", "samples_per_s")


class TrainingError(RuntimeError):
    """Training that cannot go on; the message names the step and what went wrong.

    Examples
    --------
    >>> import flowkit as fk
    >>> from flowkit.train import TrainingError
    >>> space = fk.sites((4, 4))
    >>> trainer = fk.Trainer(fk.Flow(fk.Normal(space), fk.transforms.Affine(space)), fk.Phi4(space, m2=1.0, lam=1e40))
    >>> try:
    ...     trainer.fit(5, progress=False)
    ... except TrainingError as error:
    ...     print(str(error)[:44])
    Training stopped at step 0: the loss is nan,
    """


class Recorder:
    """The history of a training run, and the rows of it that still lie on the device.

    Parameters
    ----------
    coupling : str or None
        Name of the coupling that has a column of its own; None for none.
    names : sequence of str
        Names of the parameters, in the order of `Report.norms`.
    batch : int
        Samples in a step, for the column samples_per_s.
    log_z : float or None
        ln Z of the target, for the column kl; None where it is not known.
    device : torch.device
        On the CPU every row is moved at once. On a GPU sixteen rows are collected first, since each move waits for it.
    """

    def __init__(
        self, coupling: str | None, names: Sequence[str], batch: int, log_z: float | None, device: torch.device
    ):
        self.coupling, self.names, self.batch, self.log_z = coupling, names, batch, log_z
        self.size = 1 if device.type == "cpu" else 16
        self.begin(History((*BEFORE, *([] if coupling is None else [coupling]), "level")))

    def begin(self, history: History) -> None:
        """Go on with this history; rows that are not in it yet are dropped."""
        self.history = history
        self._pending: list[tuple[dict[str, float], bool, Tensor, Tensor]] = []
        self.start_clock()

    def start_clock(self) -> None:
        """Start the clock of samples_per_s."""
        self._clock = time.perf_counter()

    def add(self, step: int, lr: float, action: Action, at_target: bool, report: Report) -> bool:
        """Keep the row of one step towards an action; True once the buffer is full.

        `at_target` says whether the action's ln Z is that of the target.
        """
        row = {"step": step, "lr": lr, "level": report.level}
        if self.coupling is not None:
            row[self.coupling] = float(action.parameters[self.coupling])
        numbers = torch.stack([report.loss, torch.linalg.vector_norm(report.norms), *_quality(report)])
        self._pending.append((row, at_target, numbers, report.norms))
        return len(self._pending) >= self.size

    def flush(self) -> bool:
        """Move the rows into the history; whether there were any.

        Raises
        ------
        TrainingError
            At the first row with a loss or gradient that is not finite; rows before it are in the history.
        """
        if not self._pending:
            return False
        pending, self._pending = self._pending, []
        rows = torch.stack([numbers for _, _, numbers, _ in pending]).tolist()
        now = time.perf_counter()
        rate = self.batch * len(pending) / max(now - self._clock, 1e-9)
        self._clock = now
        for (row, at_target, _, norms), (loss, norm, ess, accept, excess) in zip(pending, rows, strict=True):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                bad = [name for name, n in zip(self.names, norms.tolist(), strict=True) if not math.isfinite(n)]
                layers = list(dict.fromkeys(name.rpartition(".")[0] or name for name in bad)) or ["no parameter yet"]
                more = f" and {len(layers) - NAMED} more" if len(layers) > NAMED else ""
                where = ", ".join(layers[:NAMED]) + more
                raise TrainingError(
                    f"Training stopped at step {row['step']}: the loss is {loss:.4g}, the gradient not finite in "
                    f"{where}."
                )
            kl = excess + self.log_z if self.log_z is not None and at_target else math.nan
            self.history.append(**row, loss=loss, ess=ess, kl=kl, acceptance=accept, grad_norm=norm, samples_per_s=rate)
        return True


def _quality(report: Report) -> tuple[Tensor, Tensor, Tensor]:
    """ESS, acceptance and E_q[log q + S], each ``[]``; NaN where the step drew no whole fields."""
    logw = report.logw
    if logw is None:
        unknown = torch.full_like(report.loss, math.nan)
        return unknown, unknown, unknown
    return log_ess(logw).exp(), acceptance(logw), -logw.mean()
