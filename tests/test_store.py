"""The commit layer: what was committed is there after a power cut, a full disk, a damaged file or a hostile one."""

import ast
import errno
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

import flowkit
from flowkit.ensemble import Ensemble, EnsembleError
from flowkit.storage import checkpoint
from flowkit.storage.checkpoint import CheckpointError
from flowkit.storage.disk import Disk
from flowkit.storage.manifest import HEADER_LIMIT, StoreError, parse_json
from flowkit.storage.store import Store

FIRST = {"a.txt": b"first" * 100, "deep/er/b.bin": bytes(range(256))}
SECOND = {"a.txt": b"second", "c": b""}
THIRD = {"only": b"third"}


def content(store, name=None):
    commit = store.open(name)
    return {file: commit.read(file) for file in commit.files}


def test_a_commit_comes_back_and_the_last_two_are_kept(tmp_path):
    store = Store(tmp_path / "new" / "store")
    assert store.commit(FIRST) == "commit-000001"
    assert content(store) == FIRST
    store.commit(SECOND)
    assert store.names() == ("commit-000002", "commit-000001")
    assert content(store, "commit-000001") == FIRST
    store.commit(THIRD)
    assert store.names() == ("commit-000003", "commit-000002")
    assert content(Store(tmp_path / "new" / "store")) == THIRD
    assert not (store.path / "commit-000001").exists()
    assert store.open().read("only") == b"third"


def test_keep_says_how_many_commits_stay(tmp_path):
    store = Store(tmp_path, keep=3)
    for k in range(5):
        store.commit({"k": b"%d" % k})
    assert [content(store, name)["k"] for name in store.names()] == [b"4", b"3", b"2"]
    for keep in (1, 0, 2.5):
        with pytest.raises(ValueError, match="needs keep, a whole number >= 2; got"):
            Store(tmp_path, keep=keep)


def test_a_block_that_fails_commits_nothing(tmp_path):
    store = Store(tmp_path)
    store.commit(FIRST)

    def write_half():
        with store.writing() as draft:
            draft.write("x", b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert content(store) == FIRST
    assert [entry.name for entry in tmp_path.glob(".*")] == []


def found_in(store):
    """The content of the last commit; None where there is none; the message where something is wrong."""
    try:
        return content(store)
    except StoreError as error:
        return None if str(error).endswith(("holds no commit.", "does not exist.")) else str(error)


# -- power cuts --------------------------------------------------------------------------------------------------


class Recorder(Disk):
    """Does every operation, and remembers it."""

    def __init__(self):
        self.log = []

    def mkdir(self, path):
        super().mkdir(path)
        self.log.append(("mkdir", path))

    def write(self, path, data):
        super().write(path, data)
        self.log.append(("write", path, data))

    def sync(self, path):
        super().sync(path)
        self.log.append(("sync", path))

    def rename(self, old, new):
        super().rename(old, new)
        self.log.append(("rename", old, new))

    def remove(self, path):
        super().remove(path)
        self.log.append(("remove", path))


class Careless(Disk):
    """Without fsync, for tests in which no power fails."""

    def sync(self, path):
        pass


class Node:
    """A file or a folder with what memory holds of it and what the disk holds since its last fsync."""

    def __init__(self, data=None):
        self.now = {} if data is None else data
        self.synced = {} if data is None else b""


def replay(log, root):
    """The nodes after the operations of `log`, as a file system that writes nothing by itself would have them."""
    top = Node()

    def find(path):
        node = top
        for part in path.relative_to(root).parts:
            node = node.now[part]
        return node

    for operation, path, *more in log:
        if operation == "sync":
            node = find(path)
            node.synced = dict(node.now) if isinstance(node.now, dict) else node.now
            continue
        names = find(path.parent).now
        if operation == "rename":
            assert more[0].parent == path.parent, "a rename from folder to folder is not covered by one fsync"
            names[more[0].name] = names.pop(path.name)
        elif operation == "remove":
            del names[path.name]
        else:
            names[path.name] = Node(*more)
    return top


def after_power_cut(node, target, mode, rng):
    """Write to `target` what a disk may hold: `mode` says which unsynced changes of names and of data arrived."""
    if isinstance(node.now, bytes):
        data = {"drop": node.synced, "torn": node.synced or node.now[: len(node.now) // 2], "all": node.now}
        target.write_bytes(data[mode if mode in data else rng.choice(["drop", "torn", "all"])])
        return
    target.mkdir()
    if mode == "mixed":
        both = [*node.synced, *(name for name in node.now if name not in node.synced)]
        names = {name: rng.choice([node.synced, node.now]).get(name) for name in both}
    else:
        names = node.synced if mode == "drop" else node.now
    for name, child in names.items():
        if child is not None:
            after_power_cut(child, target / name, mode, rng)


def record(tmp_path):
    disk = Recorder()
    store = Store(tmp_path / "store", disk=disk)
    done = []
    for files in (FIRST, SECOND, THIRD):
        store.commit(files)
        done.append(len(disk.log))
    return disk.log, done


def crash_states(log, done, folder, root, modes):
    """Every prefix of the log, crashed in every mode: (commits that were finished, the store a reader then finds)."""
    rng = random.Random(1)
    for length in range(len(log) + 1):
        for mode in modes:
            after_power_cut(replay(log[:length], root), folder, mode, rng)
            yield (
                sum(length >= n for n in done),
                Store(folder / "store", disk=Careless()),
                f"{mode} after {length}: {log[:length][-1:]}",
            )
            Disk().remove(folder)


def test_after_a_power_cut_at_any_moment_the_last_or_the_next_commit_is_whole(tmp_path):
    log, done = record(tmp_path)
    assert len(log) > 30
    history = [None, FIRST, SECOND, THIRD]
    modes = ["drop", "torn", "all", "mixed", "mixed"]
    for finished, store, moment in crash_states(log, done, tmp_path / "crashed", tmp_path, modes):
        assert found_in(store) in history[finished : finished + 2], moment
        if finished:
            assert all(content(store, name) in history for name in store.names()), moment
        store.commit({"after": b"the cut"})  # and the next writer is not in the way of anything left behind
        assert content(store) == {"after": b"the cut"}, moment


@pytest.mark.parametrize("what", ["file", "folder", "store", "pointer"])
def test_the_power_cut_test_sees_every_fsync_that_is_left_out(tmp_path, what):
    log, _ = record(tmp_path)
    root = tmp_path / "store"
    folders = {entry[1] for entry in log if entry[0] == "mkdir"} - {root}
    kinds = {root: "store", root / ".LAST.new": "pointer", **dict.fromkeys(folders, "folder")}
    kept = [entry for entry in log if not (entry[0] == "sync" and kinds.get(entry[1], "file") == what)]
    assert len(kept) < len(log)
    history = [FIRST, SECOND, THIRD]
    bad = 0
    for _, store, _ in crash_states(kept, [], tmp_path / "crashed", tmp_path, ["drop", "torn", "all", "mixed"]):
        bad += found_in(store) not in [None, *history]
    # Without a sync of the store's own folder names come late, not torn; only what `done` promised is then missing.
    if what == "store":
        after_power_cut(replay(kept, tmp_path), tmp_path / "crashed", "drop", random.Random(1))
        with pytest.raises(StoreError, match="holds no commit"):
            Store(tmp_path / "crashed" / "store").names()
    else:
        assert bad > 0


# -- full disks and writers ------------------------------------------------------------------------------------


class FullDisk(Disk):
    """Fails from the k-th operation on, having written half of what it was given."""

    def __init__(self, k):
        self.left = k

    def _spend(self, path):
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def mkdir(self, path):
        self._spend(path)
        super().mkdir(path)

    def write(self, path, data):
        if self.left <= 0:
            super().write(path, data[: len(data) // 2])
        self._spend(path)
        super().write(path, data)

    def sync(self, path):
        self._spend(path)
        super().sync(path)

    def rename(self, old, new):
        self._spend(new)
        super().rename(old, new)


def test_a_full_disk_at_any_operation_leaves_the_last_commit_whole(tmp_path):
    messages = []
    for k in range(100):
        store = Store(tmp_path / str(k))
        store.commit(FIRST)
        try:
            Store(store.path, disk=FullDisk(k)).commit(SECOND)
            break
        except StoreError as error:
            messages.append(str(error))
        assert content(store) in (FIRST, SECOND)
        assert content(store, "commit-000001") == FIRST
        store.commit(THIRD)
        assert content(store) == THIRD
    assert 10 < len(messages) < 40
    assert all("No space left on device" in m and "is its last commit." in m for m in messages)


class Crash(BaseException):
    pass


class Crashing(Careless):
    """Ends the process, as it were, at the operation of a number."""

    def __init__(self, at):
        self.left = at

    def _count(self):
        self.left -= 1
        if self.left < 0:
            raise Crash

    def mkdir(self, path):
        self._count()
        super().mkdir(path)

    def write(self, path, data):
        self._count()
        super().write(path, data)

    def link(self, path, old):
        self._count()
        super().link(path, old)

    def symlink(self, path, target):
        self._count()
        super().symlink(path, target)

    def rename(self, old, new):
        self._count()
        super().rename(old, new)

    def remove(self, path):
        self._count()
        super().remove(path)


def test_other_programs_see_one_commit_wherever_the_writer_dies(tmp_path):
    """Names at the top are those of the last commit or of the one before; the next commit puts all in order."""
    large = bytes(5000)
    contents = [{"zarr.json": b"%d" % k, "both/c": b"%d" % k, "large": large, f"own{k}/c": b"%d" % k} for k in range(3)]
    at, crashed = 0, True
    while crashed:
        top = tmp_path / str(at)
        Store(top, shown=True, disk=Careless()).commit(contents[0])
        try:
            Store(top, shown=True, disk=Crashing(at)).commit(contents[1])
            crashed = False
        except Crash:
            pass
        seen = int((top / "zarr.json").read_bytes())
        assert {name: (top / name).read_bytes() for name in contents[seen]} == contents[seen]
        last = Store(top, shown=True).open()
        assert seen in (0, 1)
        assert int(last.read("zarr.json")) >= seen
        Store(top, shown=True, disk=Careless()).commit(contents[2])
        assert {name: (top / name).read_bytes() for name in contents[2]} == contents[2]
        assert {entry.name for entry in top.iterdir()} == {".flowkit", "zarr.json", "both", "large", "own2"}
        at += 1
    assert at > 10


def test_a_full_disk_before_the_first_commit_says_that_there_is_none(tmp_path):
    with pytest.raises(StoreError, match=r"No space left on device\. .*holds no commit"):
        Store(tmp_path / "s", disk=FullDisk(5)).commit(FIRST)


def test_a_path_that_is_a_file_is_named(tmp_path):
    (tmp_path / "s").write_text("hello")
    with pytest.raises(StoreError, match="could not be written"):
        Store(tmp_path / "s").commit(FIRST)
    with pytest.raises(StoreError, match="holds no commit"):
        Store(tmp_path / "s").open()


HOLD = """
import sys, time
from flowkit.storage.store import Store
with Store(sys.argv[1]).writing() as draft:
    draft.write("half", b"x" * 1000)
    print("writing", flush=True)
    time.sleep(60)
"""


def test_one_writer_at_a_time_and_a_killed_one_leaves_no_lock(tmp_path):
    store = Store(tmp_path)
    store.commit(FIRST)
    root = str(Path(flowkit.__file__).parents[1])
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root}
    )
    try:
        assert other.stdout.readline() == b"writing\n"
        with pytest.raises(StoreError, match=f"being written by process {other.pid}; one writer at a time"):
            store.commit(SECOND)
        assert content(store) == FIRST
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()
        other.stdout.close()
    store.commit(SECOND)
    assert content(store) == SECOND
    assert list(tmp_path.glob(".*.draft")) == []


def test_a_reader_beside_a_writer_never_sees_a_mixture(tmp_path):
    store = Store(tmp_path)
    store.commit({"a": b"0", "b": b"0"})
    stop = threading.Event()

    def write():
        for k in range(1, 60):
            store.commit({"a": b"%d" % k, "b": b"%d" % k})
        stop.set()

    thread = threading.Thread(target=write)
    thread.start()
    reader, seen = Store(tmp_path), set()
    while not stop.is_set():
        a, b = reader.read(lambda commit: (commit.read("a"), commit.read("b")))
        assert a == b
        seen.add(a)
    thread.join()
    assert len(seen) > 3


# -- damage and hostile input ----------------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path):
    store = Store(tmp_path / "s")
    store.commit(FIRST)
    store.commit(SECOND | FIRST)
    return store


def refuses(act, *needles, seconds=5.0):
    start = time.monotonic()
    with pytest.raises(StoreError) as caught:
        act()
    assert time.monotonic() - start < seconds
    message = str(caught.value)
    assert message.endswith(".")
    for needle in needles:
        assert needle in message, message
    return message


@pytest.mark.parametrize("file", ["a.txt", "deep/er/b.bin", "manifest.json"])
def test_any_flipped_bit_is_found_the_file_is_named_and_the_whole_commit_too(two, file):
    path = two.path / "commit-000002" / file
    whole = path.read_bytes()
    for at in random.Random(3).sample(range(8 * len(whole)), 60):
        broken = bytearray(whole)
        broken[at // 8] ^= 1 << at % 8
        path.write_bytes(broken)
        refuses(lambda: content(two), str(path), "commit-000001 is whole and can be opened by its name")
    path.write_bytes(whole)
    assert content(two) == SECOND | FIRST


@pytest.mark.parametrize("file", ["a.txt", "deep/er/b.bin", "manifest.json"])
def test_truncated_longer_and_missing_files_are_found(two, file):
    path = two.path / "commit-000002" / file
    whole = path.read_bytes()
    for broken in (b"", whole[:-1], whole[: len(whole) // 2], whole + b"x"):
        path.write_bytes(broken)
        refuses(lambda: content(two), str(path), "commit-000001 is whole")
    path.unlink()
    refuses(lambda: content(two), str(path), "commit-000001 is whole")
    assert content(two, "commit-000001") == FIRST


def test_a_damaged_pointer_names_the_commits_that_are_whole(two):
    pointer = two.path / "LAST"
    for broken in (
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"format": "flowkit store 1"}',
        pointer.read_bytes().replace(b"02", b"07"),
    ):
        pointer.write_bytes(broken)
        refuses(two.open, str(pointer), "commit-000002 is whole")
        refuses(lambda: two.commit(THIRD), str(pointer), "commit-000002 is whole")
    assert content(two, "commit-000002") == SECOND | FIRST


def test_advice_names_only_what_was_checked(two):
    (two.path / "commit-000002" / "a.txt").write_bytes(b"?")
    (two.path / "commit-000001" / "a.txt").write_bytes(b"?")
    refuses(lambda: content(two), "No other commit is whole")


def sealed(data):
    """What a writer with bad intentions would write: the right form and the right hash."""

    def text(what):
        return json.dumps(what, sort_keys=True, separators=(",", ":")).encode()

    return text({"format": "flowkit store 1", **data, "sha256": hashlib.sha256(text(data)).hexdigest()})


@pytest.mark.parametrize(
    "name",
    [
        "../../secret",
        "/etc/passwd",
        "a/../../b",
        "..",
        ".",
        "",
        "a//b",
        "a\\b",
        "c:x",
        "nul\0",
        "x" * 5000,
        "é",
        "manifest.json",
    ],
)
def test_names_that_leave_the_folder_are_refused_on_both_ways(two, name):
    refuses(lambda: two.commit({name: b"x"}), "relative name")
    (two.path / "commit-000002" / "manifest.json").write_bytes(sealed({"files": {name: [1, "00"]}}))
    refuses(two.open, "manifest.json is damaged", "commit-000001 is whole")


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"files": None},
        {"files": []},
        {"files": {"a": 3}},
        {"files": {"a": [1]}},
        {"files": {"a": ["1", "00"]}},
        {"files": {"a": [-1, "00"]}},
        {"files": {"a": [True, "00"]}},
        {"files": {"a": [1e300, {}]}},
    ],
)
def test_manifests_of_another_shape_are_refused(two, manifest):
    (two.path / "commit-000002" / "manifest.json").write_bytes(sealed(manifest))
    refuses(two.open, "manifest.json is damaged", "commit-000001 is whole")


def test_giant_deep_and_endless_headers_are_refused_quickly(two, tmp_path):
    manifest = two.path / "commit-000002" / "manifest.json"
    with manifest.open("wb") as file:
        file.truncate(2**40)  # a sparse terabyte
    refuses(two.open, "under 1 MiB")
    manifest.write_bytes(b"[" * (HEADER_LIMIT - 10))
    refuses(two.open, "cannot be read as JSON")
    manifest.write_bytes(b"{" + b'"a":' * 100_000)
    refuses(two.open, "cannot be read as JSON")
    manifest.unlink()
    os.mkfifo(manifest)
    refuses(two.open, "no plain file")
    manifest.unlink()
    manifest.symlink_to("/dev/zero")
    refuses(two.open, "no plain file")


def test_files_that_are_links_into_another_store_are_read_and_compared(two, tmp_path):
    """As git-annex, DVC and DataLad keep them."""
    annex = tmp_path / "annex"
    annex.mkdir()
    for i, path in enumerate(sorted(path for path in two.path.rglob("*") if path.is_file())):
        path.rename(annex / str(i))
        path.symlink_to(annex / str(i))
    assert content(two) == SECOND | FIRST
    (tmp_path / "other").write_bytes(b"other" * 100)
    path = two.path / "commit-000002" / "a.txt"
    path.unlink()
    path.symlink_to(tmp_path / "other")
    refuses(lambda: content(two), "its SHA-256 differs", "commit-000001 is whole")


def test_names_that_are_not_there_are_refused(two):
    refuses(lambda: two.open("commit-000009"), "commit-000009", "commit-000002 is whole")
    refuses(lambda: two.open("../s"), "called commit-000001")
    refuses(lambda: two.open().read("zzz"), "a.txt", "'zzz'")


def test_more_files_than_a_manifest_holds_are_refused(tmp_path):
    store = Store(tmp_path)
    store.commit(FIRST)
    refuses(
        lambda: Store(tmp_path, disk=Careless()).commit({"f" * 180 + str(k): b"" for k in range(5000)}),
        "under 1 MiB",
        seconds=20,
    )
    assert content(store) == FIRST


def test_json_headers_are_objects_of_bounded_size():
    assert parse_json(b'{"a": [1, null]}') == {"a": [1, None]}
    for text in (b"", b"3", b"[]", b"{", b"\xff", b'{"a": ' + b"9" * 5000 + b"}", b" " * (HEADER_LIMIT + 1)):
        with pytest.raises(ValueError, match=r"JSON"):
            parse_json(text)


# -- what is banned --------------------------------------------------------------------------------------------

BANNED_MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "zipfile",
    "tarfile",
}
BANNED_CALLS = {"eval", "exec", "compile", "__import__"}
BANNED_ATTRIBUTES = {("torch", "load"), ("torch", "save"), ("shutil", "unpack_archive"), ("os", "system")}


def banned(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] in BANNED_MODULES)
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".")[0]
            names = [a.name for a in node.names]
            yield from ([module] if module in BANNED_MODULES else [])
            yield from (f"{module}.{n}" for n in names if (module, n) in BANNED_ATTRIBUTES)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BANNED_CALLS:
            yield node.func.id
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if (node.value.id, node.attr) in BANNED_ATTRIBUTES:
                yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            yield "allow_pickle"


def test_nothing_in_flowkit_can_run_what_a_file_says():
    root = Path(flowkit.__file__).parent
    files = sorted(root.rglob("*.py"))
    assert len(files) > 10
    found = {str(file.relative_to(root)): list(banned(ast.parse(file.read_text()))) for file in files}
    assert {file: names for file, names in found.items() if names} == {}


def test_the_ban_finds_what_it_bans():
    bad = [
        "import pickle",
        "from zipfile import ZipFile",
        "eval('1')",
        "exec(x)",
        "torch.load(f)",
        "from torch import load",
        "np.load(f, allow_pickle=True)",
        "import dill as json",
    ]
    assert all(list(banned(ast.parse(line))) for line in bad)
    assert list(banned(ast.parse("torch.compile(f); model.eval(); np.load(f, allow_pickle=False)"))) == []


def tree(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ensemble():
    return Ensemble(flowkit.sites((2,)), torch.ones(3, 2, 1, 2), {"S": torch.ones(3, 2).double()})


def test_a_checkpoint_and_an_ensemble_do_not_push_each_other_out(tmp_path):
    """Two commits are kept: the second save of the other kind would delete the last of the first."""
    weights, run = tmp_path / "weights", tmp_path / "run"
    checkpoint.save(weights, {"w": torch.ones(2)}, {"step": 7})
    ensemble().save(run)
    before = tree(tmp_path)
    for _ in range(2):
        with pytest.raises(EnsembleError, match=r"weights holds a checkpoint, and an ensemble was to be written; give"):
            ensemble().save(weights)
        with pytest.raises(CheckpointError, match=r"run holds an ensemble, and a checkpoint was to be written; give"):
            checkpoint.save(run, {"w": torch.zeros(2)}, {})
    with pytest.raises(EnsembleError, match=r"weights holds a checkpoint, and an ensemble was to be read\."):
        Ensemble.load(weights)
    with pytest.raises(CheckpointError, match=r"run holds an ensemble, and a checkpoint was to be read\."):
        checkpoint.load(run)
    assert tree(tmp_path) == before
    assert checkpoint.load(weights)[1] == {"step": 7}
    assert len(Ensemble.load(run)) == 3


def test_nothing_is_written_among_files_of_another_make(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("x")
    Store(tmp_path / "settings").commit(FIRST)
    before = tree(tmp_path)
    for folder, there in (("thesis", r"other files \(chapter\.tex\)"), ("settings", "commits of another kind")):
        with pytest.raises(EnsembleError, match=f"{folder} holds {there}, and an ensemble was to be written"):
            ensemble().save(tmp_path / folder)
        with pytest.raises(CheckpointError, match=f"{folder} holds {there}, and a checkpoint was to be written"):
            checkpoint.save(tmp_path / folder, {}, {})
    assert tree(tmp_path) == before
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".DS_Store").write_text("x")
    assert ensemble().save(tmp_path / "empty") == ensemble().save(tmp_path / "new") == "commit-000001"
