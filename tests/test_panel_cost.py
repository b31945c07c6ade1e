"""What the study of a panel's cost counts."""

import math
import time

import numpy as np
import pytest

pytest.importorskip("flowkit.panels", reason='the panels need the extra "lab"')

from flowkit.studies import chain_panel


def test_what_a_message_costs_is_found_among_bursts_of_other_work():
    rng = np.random.default_rng(1)
    each = 0.005 * (1 + 0.02 * rng.normal(size=20_000))
    for first in rng.integers(0, 20_000, 60):  # seconds in which the machine does something else
        each[first : first + 100] *= rng.uniform(1.2, 2)
    at = np.arange(20, 19_900, 23)
    for later, share in enumerate((0.06, 0.03, 0.01)):
        each[at + later] *= 1 + share
    value, error = chain_panel._slower(each, at)
    assert error < 0.0005
    assert abs(value - 0.1 / 23) < 4 * error
    nothing, error = chain_panel._slower(each, at + 10)
    assert abs(nothing) < 4 * error


def test_messages_that_share_their_trajectories_tell_nothing():
    each = np.full(100, 0.005)
    assert all(map(math.isnan, chain_panel._slower(each, np.arange(10, 90, 5))))


@pytest.mark.skipif(not hasattr(time, "pthread_getcpuclockid"), reason="needs the processor time of other threads")
def test_the_study_runs():
    rows = chain_panel.chain_cost(300)
    together = rows[-1]
    if not np.isfinite(rows[2]["value"]):
        pytest.skip("the machine is too busy: messages share their trajectories")
    assert together["label"].endswith("both together")
    assert rows[1]["value"] + rows[2]["value"] == together["value"]
