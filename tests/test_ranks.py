"""Training on two ranks is training on one; a rank's death ends the run in a sentence, and a restart goes on."""

import json
import math
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import in_ranks
import pytest
import torch

import flowkit as fk
from flowkit.studies.figures import FIGURES
from flowkit.tasks.ranks import Ranks, RanksError, any_of, by_first, exchanged, joined, mean, ranks, summed, whole
from flowkit.train.losses import Loss, over_ranks
from flowkit.train.parts import Part, part_of

SCRIPT = Path(in_ranks.__file__)


@pytest.fixture(autouse=True)
def as_it_was():
    dtype = torch.get_default_dtype()
    yield
    torch.set_default_dtype(dtype)


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join([str(Path(fk.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **more}


def on_two_ranks(name: str, folder: Path) -> tuple[list[int], list[str]]:
    """What torchrun does, without the seconds that it takes to start itself: exit codes, and what was printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    command = [sys.executable, str(SCRIPT), name, str(folder)]
    both = [
        subprocess.Popen(command, env=environment(RANK=rank, LOCAL_RANK=rank, **shared), stderr=subprocess.PIPE)
        for rank in "01"
    ]
    said = [one.communicate(timeout=120)[1].decode() for one in both]
    return [one.returncode for one in both], said


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    codes, said = on_two_ranks("compare", folder)
    assert codes == [0, 0], "\n".join(said)
    return folder, json.loads((folder / "found.json").read_text())


def close(here: list[float], there: list[float]) -> bool:
    """Equal to what some hundred operations round in double precision."""
    pairs = zip(here, there, strict=True)
    return all((math.isnan(a) and math.isnan(b)) or abs(a - b) <= 1e-12 * max(1, abs(a)) for a, b in pairs)


def test_histories_on_two_ranks_are_those_of_one(two):
    alone = in_ranks.curves()
    for kind, columns in two[1]["curves"].items():
        for name, numbers in columns.items():
            assert close(alone[kind][name], numbers), f"{kind}: {name}"
            assert len(numbers) == (len(alone[kind]["loss"]))


def test_chains_on_two_ranks_are_those_of_one_bit_for_bit(two):
    there, here = fk.Ensemble.load(two[0] / "chains.zarr"), in_ranks.chains()
    assert torch.equal(there.x, here.x)
    assert set(there.series) == set(here.series)
    assert all(torch.equal(values, here.series[name]) for name, values in there.series.items())
    assert (there.provenance["groups"], there.provenance["processes"]) == (4, 2)


def test_a_method_that_does_not_divide_its_batch_is_refused(two):
    assert two[1]["refused"] == "2 ranks train on equal parts of a batch; LevelStep does not divide its batch."


def test_a_checkpoint_of_two_ranks_goes_on_and_pause_and_stop_of_one_hold_for_both(two):
    steps = two[1]["stopped"]
    assert steps[0] == steps[1]
    assert steps[0][0] in (in_ranks.STEPS, in_ranks.STEPS + 1)
    assert steps[0][1] == "stopped"
    alone = in_ranks.trainer("path_gradient").fit(len(two[1]["loss"]), progress=False).history["loss"].tolist()
    assert close(alone, two[1]["loss"])
    # and one process takes up what two ranks wrote
    again = in_ranks.trainer("path_gradient").load(two[0] / "checkpoint").fit(2, progress=False)
    assert close(alone[:6], again.history["loss"].tolist())


def unbroken() -> list[float]:
    return in_ranks.trainer("path_gradient").fit(in_ranks.STEPS, progress=False).history["loss"].tolist()


TOLD = "Rank 0 of 2 lost another rank, or waited 30 s for it in vain. The run ends here; its last checkpoint is whole"


def test_the_death_of_a_rank_is_told_and_one_process_goes_on(tmp_path):
    codes, said = on_two_ranks("dies", tmp_path)
    assert codes == [1, -signal.SIGKILL]
    assert TOLD in said[0]
    again = in_ranks.trainer("path_gradient").load(tmp_path / "checkpoint")
    assert again.step == 4
    assert close(unbroken(), again.fit(in_ranks.STEPS - 4, progress=False).history["loss"].tolist())


@pytest.mark.slow
def test_torchrun_starts_a_run_again_that_lost_a_rank(tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    command = [*torchrun, "--monitor-interval=0.5", str(SCRIPT), "dies", str(tmp_path)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.glob("began-*")} == {"began-0-0", "began-1-0", "began-0-4", "began-1-4"}
    assert TOLD in done.stderr
    assert close(unbroken(), json.loads((tmp_path / "found.json").read_text()))


def test_one_process_is_its_own_company():
    """Without torchrun every exchange gives back what it was given, by the same code."""
    t = torch.arange(3.0)
    with joined() as alone:
        assert alone == ranks() == Ranks(0, 1)
        assert summed([t])[0] is mean([t])[0] is whole(t) is t
        assert any_of(True, False) == [True, False]
        assert exchanged("a") == ["a"]
        assert by_first(lambda: "done", RanksError) == "done"
        flow = fk.scalar_flow(fk.sites((2, 2)))
        assert part_of(flow) is flow
        loss = Loss(t.sum(), t)
        assert over_ranks(loss, 3) is loss


@pytest.mark.parametrize("world", [2, 4])
def test_parts_of_all_ranks_are_the_draws_of_one(world, monkeypatch):
    """For a flow that maps, for one that draws new links, and for levels of sites."""
    links, sites = fk.links((4, 4), fk.U1()), fk.sites((4, 4))
    for flow in (fk.gauge_flow(links), fk.multiscale_flow(links), fk.scalar_multiscale_flow(sites), fk.Haar(links)):
        flow.double()
        with torch.no_grad():
            x, logq = flow.sample_and_log_prob(8, 1)
            rows = []
            for rank in range(world):
                monkeypatch.setattr("flowkit.tasks.ranks._joined", Ranks(rank, world))
                rows.append(part_of(flow).sample_and_log_prob(8, 1))
            monkeypatch.undo()
        assert torch.allclose(torch.cat([one.x for one in rows]), x, atol=1e-13)
        assert torch.allclose(torch.cat([one.logq for one in rows]), logq, atol=1e-11)


def test_a_flow_that_maps_maps_the_part_of_a_rank_alone(monkeypatch):
    flow = fk.gauge_flow(fk.links((4, 4), fk.U1()))
    monkeypatch.setattr("flowkit.tasks.ranks._joined", Ranks(0, 2))
    part = part_of(flow)
    assert isinstance(part, fk.Flow)
    assert isinstance(part.prior, Part)
    assert part.transform is flow.transform
    assert isinstance(part_of(fk.multiscale_flow(fk.links((4, 4), fk.U1()))), Part)


def test_a_batch_that_does_not_divide_is_refused(monkeypatch):
    one = in_ranks.trainer("path_gradient")
    monkeypatch.setattr("flowkit.tasks.ranks._joined", Ranks(0, 3))
    message = "3 ranks train on equal parts of a batch; a batch of 16 is no multiple of 3."
    with pytest.raises(ValueError, match=message):
        one.start(1)


@pytest.mark.slow
def test_the_quick_figure():
    """All rows but the rate, which another program on the machine changes."""
    rows = FIGURES["processes"].run(quick=True).rows
    assert all(row.reached for row in rows if row.reached is not None and "a second" not in row.label)
    assert sum(row.reached is not None for row in rows) >= 4
