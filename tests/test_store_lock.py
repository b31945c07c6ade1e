"""What is done to a store leaves alone what others have put there, works on every file system, and by one at a time."""

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import flowkit as fk
from flowkit.storage import CheckpointError, Store, StoreError, checkpoint, disk
from flowkit.storage.manifest import seal

SPACE = fk.sites((4,))


def trainer():
    torch.manual_seed(1)
    flow = fk.Flow(fk.Normal(SPACE), fk.transforms.Affine(SPACE))
    return fk.Trainer(flow, fk.Phi4(SPACE, m2=1.0, lam=0.5), batch=8)


def python(code, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(Path(fk.__file__).parents[1])}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, env=environment)


# -- what others have put there --------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", ["writer.lock", "run.lock"])
@pytest.mark.parametrize("kind", ["link", "hard link", "dangling link", "pipe", "folder", "text"])
def test_nothing_is_written_where_a_lock_should_be(tmp_path, lock, kind):
    store, thesis = Store(tmp_path / "run"), tmp_path / "thesis.tex"
    store.commit({"a": b"1"})
    thesis.write_text("years of work")
    path = store.path / lock
    path.unlink(missing_ok=True)
    make = {
        "link": lambda: path.symlink_to(thesis),
        "hard link": lambda: path.hardlink_to(thesis),
        "dangling link": lambda: path.symlink_to(tmp_path / "new"),
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "text": lambda: path.write_text("x" * 100),
    }
    make[kind]()

    def use():
        if lock == "writer.lock":
            store.commit({"a": b"2"})
        else:
            store.claimed().__enter__()

    with pytest.raises(StoreError, match=rf"{lock} is no lock"):
        use()
    assert thesis.read_text() == "years of work"
    assert not (tmp_path / "new").exists()
    assert store.open().read("a") == b"1"


def test_a_commit_removes_commits_and_drafts_of_its_own_alone(tmp_path):
    store = Store(tmp_path)
    store.commit({"a": b"1"})
    mine = [".x.draft/chapter", ".letter.draft", ".commit-1.draft", ".LAST.old", "commit-000000/mine", "notes"]
    mine += ["commit-000001/notes.txt"]  # beside what a commit holds
    for name in mine:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    for name in (".commit-000009.draft", "commit-999999999999"):
        (tmp_path / name).mkdir()
    for k in range(2, 6):
        assert store.commit({"a": b"%d" % k}) == f"commit-00000{k}"
    assert [(tmp_path / name).read_text() for name in mine] == ["mine"] * len(mine)
    assert not (tmp_path / ".commit-000009.draft").exists()
    assert {entry.name for entry in tmp_path.glob("commit-0*")} == {f"commit-00000{k}" for k in (0, 1, 4, 5)}
    assert store.open().read("a") == b"5"


def test_a_removal_that_was_cut_short_is_finished_by_the_next_writer(tmp_path):
    class Stops(disk.Disk):
        def remove(self, path):
            if path.name == ".commit-000001.draft":
                (path / "a").unlink()
                raise OSError(errno.EIO, "stopped")
            super().remove(path)

    store = Store(tmp_path)
    for k in range(2):
        store.commit({"a": b"%d" % k, "b": b""})
    Store(tmp_path, disk=Stops()).commit({"a": b"2"})
    assert (tmp_path / ".commit-000001.draft" / "b").exists()
    store.commit({"a": b"3"})
    assert not list(tmp_path.glob(".*"))
    assert store.names() == ("commit-000004", "commit-000003")


# -- file systems ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["ENOSYS", "ENOLCK", "EOPNOTSUPP"])
def test_without_locks_everything_is_written_after_one_warning(tmp_path, monkeypatch, code):
    def refuse(handle, operation):
        raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))

    def save():
        trainer().fit(3, checkpoint=tmp_path / "c", every=1, progress=False)
        fk.run(fk.HMC(fk.Phi4(SPACE, 1.0, 0.5)), 3, chains=2, rng=1).save(tmp_path / "e")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(disk, "_SAID", set())
    with pytest.warns(RuntimeWarning, match="file system without locks .*: let one process alone write there") as seen:
        save()
    assert sum(one.category is RuntimeWarning for one in seen) == 1
    assert checkpoint.load(tmp_path / "c")[1]["step"] == 3
    assert len(fk.Ensemble.load(tmp_path / "e")) == 3


def test_without_fsync_of_folders_everything_is_written_after_one_warning(tmp_path, monkeypatch):
    fsync = os.fsync

    def refuse(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr(disk, "_SAID", set())
    with pytest.warns(RuntimeWarning, match="file system without fsync of folders") as seen:
        names = [Store(tmp_path / "s").commit({"a": text}) for text in (b"1", b"2")]
    assert len(seen) == 1
    assert Store(tmp_path / "s").names() == tuple(reversed(names))


def test_other_errors_of_locks_and_fsync_are_errors(tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    for module, name in ((fcntl, "flock"), (os, "fsync")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, fail)
            with pytest.raises(StoreError, match="Input/output error"):
                Store(tmp_path).commit({"a": b"1"})


@pytest.mark.parametrize("size", [2**26, 2**40])
def test_a_sparse_file_is_refused_before_it_is_read(tmp_path, size):
    store = Store(tmp_path)
    store.commit({"a": b"1"})
    manifest = store.path / "commit-000001" / "manifest.json"
    manifest.write_bytes(seal({"files": {"a": [size, "0" * 64]}}))
    with (store.path / "commit-000001" / "a").open("r+b") as file:
        file.truncate(size)
        file.seek(size // 2)
        file.write(b"x")
    begun = time.monotonic()
    with pytest.raises(StoreError, match="over 16 MiB were never written"):
        store.open().read("a")
    assert time.monotonic() - begun < 2


# -- one at a time ---------------------------------------------------------------------------------------------


def test_a_process_that_was_forked_during_a_commit_does_not_hold_the_lock(tmp_path):
    store = Store(tmp_path)
    with store.writing() as draft:
        draft.write("a", b"1")
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
    try:
        assert store.commit({"a": b"2"}) == "commit-000002"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_lock_ends_with_its_owner_and_not_with_a_child_of_it(tmp_path):
    code = """
import os, sys, time
from flowkit.storage import Store
with Store(sys.argv[1]).writing() as draft:
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        time.sleep(60)
    time.sleep(60)
"""
    owner = python(code, str(tmp_path))
    child = int(owner.stdout.readline())
    try:
        owner.kill()
        owner.wait()
        assert Store(tmp_path).commit({"a": b"1"}) == "commit-000001"
    finally:
        os.kill(child, signal.SIGKILL)
        owner.stdout.close()


def test_a_fork_neither_ends_nor_removes_the_commit_of_its_parent(tmp_path):
    store, child = Store(tmp_path), 0
    try:
        with store.writing() as draft:
            draft.write("a", b"1")
            child = os.fork()
            if child == 0:
                raise ZeroDivisionError
            os.waitpid(child, 0)
    except ZeroDivisionError:
        os._exit(0)
    assert store.open().read("a") == b"1"


TRAIN = """
import sys
import flowkit as fk
space = fk.sites((4,))
flow = fk.Flow(fk.Normal(space), fk.transforms.Affine(space))
trainer = fk.Trainer(flow, fk.Phi4(space, m2=1.0, lam=0.5), batch=8)
trainer.callbacks.append(lambda t: print("step", flush=True) if t.step == 1 else None)
trainer.fit(10**9, checkpoint=sys.argv[1], progress=False)
"""


def test_the_second_run_in_a_folder_is_refused_before_it_trains(tmp_path):
    first = python(TRAIN, str(tmp_path))
    try:
        assert first.stdout.readline() == b"step\n"
        second = trainer()
        with pytest.raises(CheckpointError, match=f"is used for a run by process {first.pid}; one run at a time"):
            second.start(5, checkpoint=tmp_path)
        assert (second.step, second.status) == (0, "idle")
    finally:
        first.kill()
        first.wait()
        first.stdout.close()
    assert second.fit(5, checkpoint=tmp_path, progress=False).step == 5


def test_two_trainers_of_one_process_do_not_share_a_folder(tmp_path):
    first, second = trainer(), trainer()
    first.start(10**9, checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match="is used for a run by this process"):
        second.start(5, checkpoint=tmp_path)
    first.stop()
    first.wait()
    assert second.fit(2, checkpoint=tmp_path, progress=False).status == "finished"


def test_a_reader_whose_commit_is_removed_reads_the_next_one(tmp_path):
    store = Store(tmp_path)
    store.commit({"a": b"0"})
    calls = []

    def use(commit):
        calls.append(commit.folder.name)
        if len(calls) < 4:  # a writer that is faster
            store.commit({"a": b"%d" % len(calls)})
            store.commit({"a": b"%d" % len(calls)})
        return commit.read("a")

    assert store.read(use) == b"3"
    assert len(calls) == 4
    (tmp_path / store.names()[0] / "a").write_bytes(b"?")  # and what is damaged stays so
    with pytest.raises(StoreError, match="its SHA-256 differs"):
        store.read(lambda commit: commit.read("a"))
