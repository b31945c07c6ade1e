"""What a run of chains pays for the panel that watches it."""

import math
import statistics
import threading
import time
from typing import Any

import numpy as np

import flowkit
from flowkit.production.studies.rows import Row

HERTZ = 10.0
MOST = 0.01
WORDS = "Chain at 10 Hz beside a run of 8 chains, U(1) on 16x16"


def chain_cost(seconds: float, pairs: int) -> list[Row]:
    """A run alone and under the eyes of a panel, in turns, each of about `seconds` seconds.

    In turns: processor time of the whole process for the same trajectories, with the panel over without it, less one;
    the median of the pairs, whose error says what the machine's other work leaves to see. Threads: processor time of
    the panel's own threads over the time of the run. What they send is packed by the Jupyter protocol.
    """
    from flowkit.panels.chain_numbers import Correlation

    action = flowkit.Wilson(flowkit.links((16, 16), flowkit.U1()), 4.0)
    settings: dict[str, Any] = {"chains": 8, "thermalise": 10, "rng": 1}
    settings["observe"] = (flowkit.plaquette, flowkit.topological_charge)

    def job(n: int) -> flowkit.Job:
        return flowkit.Job(flowkit.HMC(action), n, **settings)

    Correlation().update(np.arange(16.0) % 3, going=False)  # imports what the Gamma method needs
    used, _ = _watched(job(100))
    n = max(100, round(100 * seconds / used))
    extra, share = [], []
    for i in range(pairs):
        both: dict[bool, float] = {}
        for watched in (False, True) if i % 2 else (True, False):
            if watched:
                both[watched], threads = _watched(job(n))
                share.append(threads)
            else:
                both[watched], _ = _timed(job(n))
        extra.append(both[True] / both[False] - 1)
    value, error = _median(extra)
    row = {"label": f"{WORDS}: processor time with it over that without, less 1", "value": value, "error": error}
    fine = error <= 3 * MOST  # with a larger one nothing is shown
    rows: list[Row] = [{**row, "goal": f"<= {MOST:g} within the error", "reached": fine and value <= MOST + error}]
    if not all(map(math.isfinite, share)):
        return rows
    value, error = _median(share)
    row = {"label": f"{WORDS}: its threads, share of one core", "value": value, "error": error}
    return [*rows, {**row, "goal": f"<= {MOST:g}", "reached": value <= MOST}]


def _median(values: list[float]) -> tuple[float, float]:
    return statistics.median(values), 1.25 * statistics.stdev(values) / math.sqrt(len(values))


def _timed(job: flowkit.Job) -> tuple[float, float]:
    """Seconds of the processor and of the clock that a run takes."""
    used, begun = time.process_time(), time.perf_counter()
    job.start().wait()
    return time.process_time() - used, time.perf_counter() - begun


def _watched(job: flowkit.Job) -> tuple[float, float]:
    """Processor time of a run that a panel watches to its end, and of the panel's threads over the time of the run;
    NaN where the system does not tell that of a thread.
    """
    from comm import DummyComm
    from jupyter_client.session import Session

    from flowkit.panels import Chain

    session = Session(key=b"key")

    class Packed(DummyComm):
        def publish_msg(
            self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **keys: Any
        ) -> None:
            message = session.msg(msg_type, {"comm_id": self.comm_id, "data": data}, metadata=metadata)
            session.serialize(message)

    panel = Chain(job, per_second=HERTZ)
    before = set(threading.enumerate())
    view = panel.widget.children[-1]
    view.comm = Packed(comm_id=view.comm.comm_id)
    threads = set(threading.enumerate()) - before
    used, seconds = _timed(job)
    clock = getattr(time, "pthread_getcpuclockid", None)
    own = sum(time.clock_gettime(clock(thread.ident)) if clock else math.nan for thread in threads)
    panel.close()
    return used, own / seconds
