"""History: columns of floats that only grow, written by one thread and read by others."""

import threading

import numpy as np
import pytest

from flowkit.tasks.history import History


def test_rows_come_back_in_order_and_what_is_not_given_is_nan():
    h = History(("step", "loss"))
    h.append(step=1, loss=2.5)
    h.append(step=2)
    assert len(h) == 2
    np.testing.assert_array_equal(h["step"], [1.0, 2.0])
    np.testing.assert_array_equal(h["loss"], [2.5, np.nan])
    assert h["loss"].dtype == np.float64
    assert h.columns == ("step", "loss")


def test_a_column_is_a_copy_and_since_is_a_read_only_view():
    h = History(["a"])
    h.append(a=1.0)
    h["a"][0] = 9.0
    assert h["a"][0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        h.since(0)["a"][0] = 9.0


def test_a_view_stays_true_while_the_history_grows_past_its_buffer():
    h = History(["a"])
    for i in range(60):
        h.append(a=i)
    view = h.since(10)["a"]
    for i in range(60, 1000):
        h.append(a=i)
    np.testing.assert_array_equal(view, np.arange(10, 60))
    np.testing.assert_array_equal(h["a"], np.arange(1000))


def test_since_at_and_beyond_the_end_is_empty_and_below_zero_is_refused():
    h = History(["a"])
    h.append(a=1.0)
    assert len(h.since(1)["a"]) == 0
    assert len(h.since(50)["a"]) == 0
    with pytest.raises(ValueError, match=r"counts rows from 0; got -1"):
        h.since(-1)


def test_last_skips_what_is_not_finite():
    h = History(["a", "b"])
    for i in range(1000):
        h.append(a=i if i < 3 else np.nan)
    assert h.last("a") == 2.0
    assert np.isnan(h.last("b"))


def test_arrays_bring_back_the_same_history_which_goes_on_growing():
    h = History(("step", "ess"))
    for i in range(130):
        h.append(step=i, ess=1 / (i + 1))
    again = History.from_arrays(h.columns, h.as_arrays())
    again.append(step=130, ess=0.5)
    np.testing.assert_array_equal(again["step"], np.arange(131))
    np.testing.assert_array_equal(again["ess"][:130], h["ess"])
    assert len(History.from_arrays(["a"], {"a": np.empty(0)})) == 0


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros(2)}, "was expected; got a"),
        ({"a": np.zeros(2), "b": np.zeros(3)}, "equally long"),
        ({"a": np.zeros((2, 2)), "b": np.zeros(2)}, "one-dimensional"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays, message):
    with pytest.raises(ValueError, match=message):
        History.from_arrays(("a", "b"), arrays)


def test_unknown_and_doubled_names_are_refused_in_a_sentence():
    h = History(("step", "loss"))
    with pytest.raises(TypeError, match=r"columns step, loss; got losss"):
        h.append(losss=1.0)
    with pytest.raises(KeyError, match="got 'beta'"):
        h["beta"]
    with pytest.raises(ValueError, match="no name twice"):
        History(("a", "a"))
    with pytest.raises(ValueError, match="at least one column"):
        History(())
    assert len(h) == 0


def test_a_reader_never_sees_a_torn_row_while_a_thread_writes():
    h = History(("a", "b"))
    done = threading.Event()

    def write() -> None:
        for i in range(20_000):
            h.append(a=i, b=-i)
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    seen = 0
    while not done.is_set() or seen < len(h):
        part = h.since(seen)
        np.testing.assert_array_equal(part["a"], -part["b"])
        np.testing.assert_array_equal(part["a"], np.arange(seen, seen + len(part["a"])))
        seen += len(part["a"])
    thread.join()
    assert seen == 20_000
