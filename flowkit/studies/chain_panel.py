"""What a run of chains pays for the panel that watches it."""

import math
import threading
import time
from typing import Any

import numpy as np

import flowkit
from flowkit.studies.rows import Row, finite

HERTZ = 10.0
MOST = 0.01
BEFORE, AFTER = 7, 5  # trajectories that are compared
WORDS = "Chain at 10 Hz beside a run of 8 chains, U(1) on 16x16"


def chain_cost(trajectories: int) -> list[Row]:
    """A run under the eyes of a panel.

    Its threads: their processor time over the time of the run. What they send is packed by the Jupyter protocol.
    The run's own thread: it finds its caches cold after a message. The trajectories from one before a message to five
    after it, in processor time, over the median of the six before them, less one: medians over the messages that have
    these trajectories for themselves, for the machine's other work makes single trajectories slow; the sum of the seven
    times the messages a trajectory.
    """
    from comm import DummyComm
    from jupyter_client.session import Session

    from flowkit.panels import Chain
    from flowkit.panels.chain_run import correlate

    session, sent, ends = Session(key=b"key"), list[float](), list[tuple[float, float]]()

    class Packed(DummyComm):
        def publish_msg(
            self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **keys: Any
        ) -> None:
            message = session.msg(msg_type, {"comm_id": self.comm_id, "data": data}, metadata=metadata)
            session.serialize(message)
            sent.append(time.perf_counter())

    correlate(np.arange(16.0) % 3)  # imports what the Gamma method needs
    action = flowkit.Wilson(flowkit.links((16, 16), flowkit.U1()), 4.0)
    settings: dict[str, Any] = {"chains": 8, "thermalise": 10, "rng": 1}
    settings["observe"] = (flowkit.plaquette, flowkit.topological_charge)
    job = flowkit.ensemble.Job(
        flowkit.HMC(action),
        trajectories,
        callbacks=[lambda _: ends.append((time.perf_counter(), time.thread_time()))],
        **settings,
    )
    panel = Chain(job, per_second=HERTZ)
    before = set(threading.enumerate())
    view = panel.widget.children[-1]
    view.comm = Packed(comm_id=view.comm.comm_id)
    threads = set(threading.enumerate()) - before
    job.start().wait()
    clock = getattr(time, "pthread_getcpuclockid", None)
    own = sum(time.clock_gettime(clock(thread.ident)) if clock else math.nan for thread in threads)
    panel.close()
    if job.error:
        raise RuntimeError(job.error)
    wall, used = np.array(ends).T
    seconds = float(wall[-1] - wall[0])
    slower, error = _slower(np.diff(used), np.searchsorted(wall, sent) - 1)
    share = own / seconds
    value = share + slower
    rows: list[Row] = [
        {"label": f"{WORDS}: messages a second", "value": len(sent) / seconds},
        {"label": f"{WORDS}: its threads, share of one core", "value": finite(share)},
        {"label": f"{WORDS}: processor time that the run's own thread loses, share", "value": slower, "error": error},
    ]
    if not math.isfinite(value):  # the system does not tell the time of a thread
        return rows
    row: Row = {"label": f"{WORDS}: both together", "value": value, "error": error, "goal": f"<= {MOST:g}"}
    return [*rows, {**row, "reached": value <= MOST and error <= MOST / 2}]


def _slower(each: np.ndarray, at: np.ndarray) -> tuple[float, float]:
    """What the messages that were sent in trajectories `at` cost of the time of all, `each` being the time of one."""
    messages = len(at) / len(each)
    at = np.unique(at)
    gaps = np.diff(at, prepend=-1, append=len(each)) > BEFORE + AFTER
    at = at[gaps[:-1] & gaps[1:]]
    if not len(at):
        return math.nan, math.nan
    normal = np.median([each[at - k] for k in range(2, BEFORE + 1)], axis=0)
    extra = np.array([each[at + k] / normal - 1 for k in range(-1, AFTER + 1)])
    medians = np.median(extra, axis=1)
    spread = 1.25 * 1.4826 * np.median(np.abs(extra - medians[:, None]), axis=1) / math.sqrt(len(at))  # of a median
    return float(medians.sum() * messages), float(np.hypot.reduce(spread) * messages)
