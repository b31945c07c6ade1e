"""A trainer that trains nothing: known curves at a steady pace, for tests of the panel alone."""

import math
import threading
import time

from flowkit.tasks.history import History


class FakeTrainer:
    """The attributes that the panel reads, and a thread that appends one row every `pause` seconds.

    Row i (from 1) has loss -100 + 100 exp(-i / 200) + sin(i), so a test can compute what a page must show.
    """

    columns = ("step", "loss", "ess", "kl", "acceptance", "grad_norm", "lr", "samples_per_s", "beta")

    def __init__(self, period=0.002, fail_at=None):
        self.history = History(self.columns)
        self.status, self.error, self.step, self.total = "idle", None, 0, 0
        self.period, self.fail_at = period, fail_at
        self.saved_step = self.saved_to = None
        self._go, self._stop = threading.Event(), threading.Event()
        self._thread = None

    def start(self, steps):
        if self._thread is not None and self._thread.is_alive():
            raise RuntimeError("This trainer is training already.")
        self.total = self.step + steps
        self.status, self.error = "running", None
        self._go.set()
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def pause(self):
        self._go.clear()

    def resume(self):
        self._go.set()

    def stop(self):
        self._stop.set()
        self._go.set()

    def save_soon(self, path):
        self.saved_step, self.saved_to = self.step, str(path)

    def wait(self, timeout=None):
        self._thread.join(timeout)

    def append(self, i):
        far = 1 - math.exp(-i / 300)
        wobble = 0.5 + 0.5 * math.sin(1.7 * i)
        self.history.append(
            step=i,
            loss=-100 + 100 * math.exp(-i / 200) + math.sin(i),
            ess=0.9 * far * (0.8 + 0.2 * wobble),
            kl=math.exp(-i / 250) * (1 + wobble),
            acceptance=0.75 * far,
            grad_norm=30 * math.exp(-i / 400) * (1 + wobble),
            lr=1e-3 * 0.5 * (1 + math.cos(math.pi * i / max(1, self.total))),
            samples_per_s=12_000 + 800 * wobble,
            beta=2.0,
        )

    def _run(self):
        while self.step < self.total and not self._stop.is_set():
            if not self._go.is_set():
                self.status = "paused"
                self._go.wait()
                self.status = "running"
                continue
            self.append(self.step + 1)
            self.step += 1
            if self.step == self.fail_at:
                self.error = f"Step {self.step}: the loss is NaN in <b>'transform.0'</b> & later."
                self.status = "failed"
                return
            time.sleep(self.period)
        self.status = "stopped" if self._stop.is_set() else "finished"
