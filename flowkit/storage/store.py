"""Commits of files in a folder: a reader sees the last commit or the one before, never a mixture of two.

    path/
      LAST             the pointer: the names of the kept commits, newest first
      commit-000007/   files, and manifest.json with the size and SHA-256 of each
      writer.lock      locked by the one process that writes

A commit is written beside the others, every file and folder is synced to the disk (fsync), the folder is renamed, its
parent synced, and only then is a new pointer renamed over the old one. Whatever moment the power fails, the pointer
names commits that are whole. Without fsync a rename may reach the disk before the data (Pillai et al., OSDI 2014).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

HEADER_LIMIT = 2**20  # bytes of a header (manifest, pointer, JSON) that is read before it is trusted
_POINTER, _MANIFEST, _LOCK = "LAST", "manifest.json", "writer.lock"
_COMMIT = re.compile(r"commit-(\d{6,12})", re.ASCII)
_FORMAT = "flowkit store 1"
_PIECE = 2**20
_KINDS = {"checkpoint.json": "a checkpoint", "zarr.json": "an ensemble"}  # the file that tells, and what it tells


class StoreError(RuntimeError):
    """A commit that could not be written or read; the message names the file and a commit that is whole."""


class Disk:
    """The file operations that change a store. A test replaces it to record them or to let them fail."""

    def mkdir(self, path: Path) -> None:
        """A new folder, or the one that another process has made meanwhile."""
        path.mkdir(exist_ok=True)

    def write(self, path: Path, data: bytes) -> None:
        """A new file; what it holds is safe from a power cut only after `sync`."""
        with path.open("xb") as file:
            file.write(data)

    def sync(self, path: Path) -> None:
        """fsync of a file or of a folder (that is, of the names in it)."""
        if path.is_dir() and sys.platform == "win32":
            return  # Windows cannot open a folder; NTFS journals names by itself
        handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def rename(self, old: Path, new: Path) -> None:
        """Rename within one folder, over what is there."""
        old.replace(new)

    def remove(self, path: Path) -> None:
        """Remove a file or a whole folder."""
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


@dataclass(frozen=True)
class Entry:
    """What the manifest says of one file: its size in bytes and its SHA-256 in hex."""

    size: int
    sha256: str


class _DamageError(Exception):
    """What is wrong with one file; becomes a StoreError once it is known which commit is whole."""


@dataclass(frozen=True)
class Commit:
    """One commit, opened for reading. Nothing is believed before its size and SHA-256 agree with the manifest."""

    store: Store
    name: str
    files: Mapping[str, Entry]

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises    StoreError, naming the file, where it is missing or differs from what was written
        """
        data = bytearray()
        with self.store._advising(self.name):
            for piece in _pieces(self._folder, name, self._entry(name)):
                data += piece
        return bytes(data)

    def path(self, name: str) -> Path:
        """The path of a file that has just been compared with the manifest, in pieces of 1 MiB.

        Raises    as `read`
        """
        with self.store._advising(self.name):
            for _ in _pieces(self._folder, name, self._entry(name)):
                pass
        return self._folder / name

    @property
    def kind(self) -> str | None:
        """What it is, "a checkpoint" or "an ensemble"; None for other files."""
        return next((kind for name, kind in _KINDS.items() if name in self.files), None)

    @property
    def _folder(self) -> Path:
        return self.store.path / self.name

    def _entry(self, name: str) -> Entry:
        if name not in self.files:
            raise StoreError(f"{self._folder} holds {_listed(self.files)}; got {name!r}.")
        return self.files[name]


class Draft:
    """A commit being written, called `name`; `write` adds a file, and no file can be written twice."""

    def __init__(self, name: str, folder: Path, disk: Disk):
        self.name, self._folder, self._disk = name, folder, disk
        self.files: dict[str, Entry] = {}
        self._folders = [folder]

    def write(self, name: str, data: bytes) -> None:
        """Write one file and sync it.

        name      relative, parts separated by "/"
        Raises    StoreError for a name that leaves the folder or is taken
        """
        if not _safe(name) or name in self.files:
            raise StoreError(f"A file of a commit has a new relative name such as 'a/b.json'; got {name!r}.")
        path = self._folder / name
        for parent in reversed(path.relative_to(self._folder).parents[:-1]):
            if self._folder / parent not in self._folders:
                self._disk.mkdir(self._folder / parent)
                self._folders.append(self._folder / parent)
        self._disk.write(path, data)
        self._disk.sync(path)
        self.files[name] = Entry(len(data), hashlib.sha256(data).hexdigest())

    def finish(self) -> None:
        """Write the manifest and sync every folder, the innermost first."""
        manifest = _seal({"files": {name: [entry.size, entry.sha256] for name, entry in self.files.items()}})
        if len(manifest) > HEADER_LIMIT:
            raise StoreError(f"A manifest stays under 1 MiB; {len(self.files)} files need {len(manifest)} bytes.")
        self._disk.write(self._folder / _MANIFEST, manifest)
        self._disk.sync(self._folder / _MANIFEST)
        for folder in reversed(self._folders):
            self._disk.sync(folder)


class Store:
    """A folder of commits, all of one kind: each pushes out an older one.

    path      the folder; made by the first commit
    keep      number of commits that stay, at least 2: the last and the one before
    kind      "a checkpoint" or "an ensemble": commits of the other kind are neither read nor joined by new ones, and
              nothing is written beside files of another make; None leaves that open
    """

    def __init__(
        self, path: str | os.PathLike[str], *, keep: int = 2, kind: str | None = None, disk: Disk | None = None
    ):
        if not isinstance(keep, int) or keep < 2:
            raise ValueError(f"A Store keeps at least 2 commits, the last and the one before; got {keep!r}.")
        self.path, self.keep, self.kind, self._disk = Path(path), keep, kind, disk or Disk()

    def commit(self, files: Mapping[str, bytes]) -> str:
        """Write all files as one commit; returns its name.

        Raises    StoreError where the disk refuses, another process writes, or the folder holds something of another
                  kind; the commits before stay whole
        """
        with self.writing() as draft:
            for name, data in files.items():
                draft.write(name, data)
        return draft.name

    @contextlib.contextmanager
    def writing(self) -> Iterator[Draft]:
        """Write a commit file by file; it exists once the block has ended without an error.

        Raises    as `commit`
        """
        try:
            self.refuse_others()
            for folder in reversed([self.path, *self.path.parents]):
                if not folder.is_dir():
                    self._disk.mkdir(folder)
                    self._disk.sync(folder.parent)
            with self._lock():
                self.refuse_others()  # again: it may have come meanwhile
                yield from self._write()
        except OSError as error:
            where = f" at {error.filename}" if error.filename else ""
            try:
                last = f"{self.names()[0]} is its last commit."
            except StoreError as none:
                last = str(none)
            raise StoreError(f"{self.path} could not be written{where}: {error.strerror or error}. {last}") from error

    def refuse_others(self) -> None:
        """Raises    StoreError where a commit of this kind would push out, or lie among, what is of another"""
        if self.kind is None or not self.path.is_dir():
            return
        entries = sorted(entry for entry in self.path.iterdir() if not entry.name.startswith("."))
        kinds = {_kind_of(entry) for entry in entries if _named(entry.name)} - {None, self.kind}
        others = [] if (self.path / _POINTER).exists() else [entry.name for entry in entries if entry.name != _LOCK]
        if not kinds and all(_named(name) and (self.path / name / _MANIFEST).exists() for name in others):
            return
        shown = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        there = " and ".join(sorted(map(str, kinds))) or f"other files ({shown})"
        raise StoreError(f"{self.path} holds {there}, and {self.kind} was to be written; give it a folder of its own.")

    def _write(self) -> Iterator[Draft]:
        with self._advising(""):
            kept = self._pointer()
        found = [int(match[1]) for entry in self.path.iterdir() if (match := _COMMIT.fullmatch(entry.name))]
        name = f"commit-{max(found, default=0) + 1:06d}"
        draft_folder, pointer = self.path / f".{name}.draft", self.path / f".{_POINTER}.new"
        for left in self.path.glob(".*"):  # what a writer that died has left; the lock says that none lives
            if left == pointer or left.name.endswith(".draft"):
                self._disk.remove(left)
        self._disk.mkdir(draft_folder)
        try:
            draft = Draft(name, draft_folder, self._disk)
            yield draft
            draft.finish()
            self._disk.rename(draft_folder, self.path / name)
            self._disk.sync(self.path)
            kept = [name, *kept][: self.keep]
            self._disk.write(pointer, _seal({"commits": kept}))
            self._disk.sync(pointer)
            self._disk.rename(pointer, self.path / _POINTER)
            self._disk.sync(self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                self._disk.remove(draft_folder)
            raise
        for entry in sorted(self.path.iterdir()):
            if _named(entry.name) and entry.name not in kept:
                with contextlib.suppress(OSError):  # one that stays does no harm; the next writer tries again
                    self._disk.remove(entry)

    def names(self) -> tuple[str, ...]:
        """Names of the commits that can be opened, newest first.

        Raises    StoreError where there is none, the folder too, or the pointer is damaged
        """
        with self._advising(""):
            names = self._pointer()
        if not names:
            raise StoreError(f"{self.path} {'holds no commit' if self.path.exists() else 'does not exist'}.")
        return tuple(names)

    def open(self, name: str | None = None) -> Commit:
        """A commit for reading: the last one, or the one named.

        Raises    StoreError where it is not there, of another kind, or its manifest is damaged
        """
        chosen = name or self.names()[0]
        if not _named(chosen):
            raise StoreError(f"A commit is called commit-000001 or alike; got {chosen!r}.")
        try:
            with self._advising(chosen):
                commit = Commit(self, chosen, _manifest(self.path / chosen))
        except StoreError:
            # Between the two reads a writer may have removed what the pointer named; then the pointer has moved on.
            if name is None and self.names()[0] != chosen:
                return self.open()
            raise
        if None not in (self.kind, commit.kind) and commit.kind != self.kind:
            raise StoreError(f"{self.path} holds {commit.kind}, and {self.kind} was to be read.")
        return commit

    def _pointer(self) -> list[str]:
        """The names in the pointer, newest first; none where there is no pointer yet."""
        path = self.path / _POINTER
        try:
            names = _unseal(path, within=self.path)["commits"]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except KeyError:
            names = None
        if not isinstance(names, list) or not names or any(not _named(name) for name in names):
            raise _DamageError(f"{path} is damaged: it names no commits")
        return names

    @contextlib.contextmanager
    def _advising(self, damaged: str) -> Iterator[None]:
        """Turn damage into a StoreError that names a whole commit: all of it is compared before it is named."""
        try:
            yield
        except _DamageError as error:
            try:
                names = self._pointer()
            except _DamageError:  # the folder itself still tells
                names = sorted((p.name for p in self.path.glob("commit-*") if _named(p.name)), reverse=True)
            whole = next((name for name in names if name != damaged and _whole(self.path / name)), None)
            advice = f"{whole} is whole and can be opened by its name." if whole else "No other commit is whole."
            raise StoreError(f"{error}. {advice}") from error

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """One writer. The kernel drops the lock when its process ends, so a dead writer leaves none behind."""
        with (self.path / _LOCK).open("a+b") as file:
            try:
                if sys.platform == "win32":
                    import msvcrt

                    file.seek(0)
                    msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
                else:
                    import fcntl

                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError) as error:
                file.seek(0)
                who = file.read(64).decode("ascii", "replace").strip() or "another process"
                raise StoreError(f"{self.path} is being written by {who}; one writer at a time.") from error
            file.truncate(0)
            file.write(f"process {os.getpid()}".encode())
            file.flush()
            yield


def _named(name: object) -> bool:
    """Whether this is the name of a commit."""
    return isinstance(name, str) and _COMMIT.fullmatch(name) is not None


def _kind_of(folder: Path) -> str | None:
    """What a commit is; None for a damaged one that does not tell."""
    try:
        names, other = set(_manifest(folder)), "commits of another kind"
    except _DamageError:
        names, other = {entry.name for entry in folder.glob("*")}, None
    return next((kind for name, kind in _KINDS.items() if name in names), other)


def _safe(name: object) -> bool:
    """Whether a name stays inside its folder on every system, and is not the manifest's."""
    if not isinstance(name, str) or not 0 < len(name) <= 1024 or name == _MANIFEST:
        return False
    return all(re.fullmatch(r"[\w.+=@-]{1,200}", part, re.ASCII) and part.strip(".") for part in name.split("/"))


def _open_regular(path: Path, within: Path) -> IO[bytes]:
    """Open a plain file that really lies in a folder: no link out of it, no device, no pipe that would block."""
    if within.resolve() not in path.resolve().parents:
        raise OSError(0, "it lies outside its folder")
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(0, "it is no plain file")
    return os.fdopen(handle, "rb")


def _pieces(folder: Path, name: str, entry: Entry) -> Iterator[bytes]:
    """The file in pieces of 1 MiB; _DamageError, at once or at the end, where it is not what the manifest says."""
    path, digest = folder / name, hashlib.sha256()
    try:
        with _open_regular(path, within=folder) as file:
            size = os.fstat(file.fileno()).st_size
            if size != entry.size:
                raise _DamageError(f"{path} is damaged: {entry.size} bytes were written, {size} are there")
            while piece := file.read(min(_PIECE, size)):
                size -= len(piece)
                digest.update(piece)
                yield piece
    except OSError as error:
        raise _DamageError(f"{path} cannot be read: {error.strerror or error}") from error
    if digest.hexdigest() != entry.sha256:
        raise _DamageError(f"{path} is damaged: its SHA-256 differs from the manifest")


def _manifest(folder: Path) -> dict[str, Entry]:
    path = folder / _MANIFEST
    try:
        files = {name: Entry(size, sha256) for name, (size, sha256) in _unseal(path, within=folder)["files"].items()}
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _DamageError(f"{path} does not exist") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _DamageError(f"{path} is damaged: it lists no files") from error
    for name, entry in files.items():
        if not _safe(name) or type(entry.size) is not int or entry.size < 0:
            raise _DamageError(f"{path} is damaged: it names a file {name[:80]!r} of size {entry.size!r}")
    return files


def _whole(folder: Path) -> bool:
    """Whether every file of a commit is what its manifest says."""
    try:
        for name, entry in _manifest(folder).items():
            for _ in _pieces(folder, name, entry):
                pass
    except _DamageError:
        return False
    return True


def _canonical(data: dict[str, Any]) -> bytes:
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()


def _seal(data: dict[str, Any]) -> bytes:
    """JSON with the SHA-256 of its own content, in one form only."""
    return _canonical({"format": _FORMAT, **data, "sha256": hashlib.sha256(_canonical(data)).hexdigest()})


def _unseal(path: Path, within: Path) -> dict[str, Any]:
    """The content of a file that `_seal` made.

    Raises    FileNotFoundError or NotADirectoryError where there is none; _DamageError where it is anything else
    """
    try:
        with _open_regular(path, within) as file:
            text = file.read(HEADER_LIMIT + 1)
        data = parse_json(text)
        if data.pop("format", None) != _FORMAT:
            raise ValueError(f"it is no {_FORMAT!r}")
        data.pop("sha256", None)
        if _seal(data) != text:
            raise ValueError("its SHA-256 differs from its content")
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, ValueError) as error:
        raise _DamageError(f"{path} is damaged: {getattr(error, 'strerror', None) or error}") from error
    return data


def parse_json(text: bytes) -> dict[str, Any]:
    """A JSON object of at most 1 MiB.

    Raises    ValueError for anything else, however deep or odd
    """
    if len(text) > HEADER_LIMIT:
        raise ValueError(f"a JSON header stays under 1 MiB; got {len(text)} bytes")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("it cannot be read as JSON") from error
    if not isinstance(data, dict):
        raise ValueError(f"a JSON object was expected; got {type(data).__name__}")
    return data


def _listed(names: Mapping[str, Entry]) -> str:
    shown = sorted(names)[:5]
    return ", ".join(shown) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if shown else "no files"
