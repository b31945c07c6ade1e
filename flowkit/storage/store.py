"""Commits of files in a folder: a reader sees the last commit or the one before, never a mixture of two.

    path/
      LAST             the pointer: the names of the kept commits, newest first
      commit-000007/   files, and manifest.json with the size and SHA-256 of each
      writer.lock      locked while a commit is written
      run.lock         locked while a run goes on that commits here

A commit is written beside the others, every file and folder is synced to the disk (fsync), the folder is renamed, its
parent synced, and only then is a new pointer renamed over the old one. Whatever moment the power fails, the pointer
names commits that are whole. Without fsync a rename may reach the disk before the data (Pillai et al., OSDI 2014).
All of it lies in path/.flowkit where the folder itself shows the last commit to other programs (`view.publish`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

from flowkit.checks import LARGEST, Range, checked
from flowkit.storage import folders
from flowkit.storage.commit import Commit
from flowkit.storage.disk import Disk
from flowkit.storage.draft import Draft
from flowkit.storage.lock import lock
from flowkit.storage.manifest import DamageError, StoreError, is_whole, manifest_of, seal, unseal
from flowkit.storage.view import publish

_POINTER, _LOCK, RUN_LOCK, _READS = "LAST", "writer.lock", "run.lock", 20

T = TypeVar("T")


class Store:
    """A folder of commits of files; a reader sees whole commits alone.

    Parameters
    ----------
    path : path
        The folder; the first commit makes it.
    keep : int
        Number of commits that stay, at least 2: the last and the one before. Each new one pushes out the oldest.
    kind : str, optional
        "a checkpoint" or "an ensemble": commits of the other kind are neither read nor joined by new ones, and nothing
        is written beside other files. None allows all.
    shown : bool
        Whether its commits are to be hidden, so that the folder shows what the last one holds (`view.publish`).
    disk : Disk, optional
        The operations that change the folder.

    Raises
    ------
    ValueError
        For a `keep` below 2.

    Examples
    --------
    >>> import tempfile
    >>> from flowkit.storage import Store
    >>> store = Store(tempfile.mkdtemp())
    >>> for text in (b"one", b"two", b"three"):
    ...     name = store.commit({"a/text": text})
    >>> store.names()
    ('commit-000003', 'commit-000002')
    >>> store.open().read("a/text"), store.open("commit-000002").read("a/text")
    (b'three', b'two')
    """

    @checked
    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        keep: Annotated[int, Range(2, LARGEST)] = 2,
        kind: str | None = None,
        shown: bool = False,
        disk: Disk | None = None,
    ):
        self.path, self.keep, self.kind, self._disk = Path(path), keep, kind, disk or Disk()
        self._home = self.path / folders.COMMITS
        self._home = self._home if shown or self._home.is_dir() else self.path

    def commit(self, files: Mapping[str, bytes]) -> str:
        """Write all files as one commit; returns its name.

        Raises StoreError where the disk refuses, another process writes, or the folder holds something of another kind;
        earlier commits stay whole.
        """
        with self.writing() as draft:
            for name, data in files.items():
                draft.write(name, data)
        return draft.name

    @contextlib.contextmanager
    def writing(self) -> Iterator[Draft]:
        """Write a commit file by file; it exists once the block has ended without an error. Raises as `commit`."""
        try:
            self._make_folder()
            with lock(self._home / _LOCK, "is being written", "writer"):
                self.refuse_others()  # again: it may have come meanwhile
                yield from self._write()
        except OSError as error:
            raise self._unwritable(error) from error

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep the folder for one run, which commits to it now and then; StoreError where another run has it."""
        with contextlib.ExitStack() as stack:
            try:
                self._make_folder()
                stack.enter_context(lock(self._home / RUN_LOCK, "is used for a run", "run"))
            except OSError as error:
                raise self._unwritable(error) from error
            yield

    def _make_folder(self) -> None:
        self.refuse_others()
        for folder in reversed([self._home, *self._home.parents]):
            if not folder.is_dir():
                self._disk.mkdir(folder)
                self._disk.sync(folder.parent)

    def _unwritable(self, error: OSError) -> StoreError:
        where = f" at {error.filename}" if error.filename else ""
        try:
            last = f"{self.names()[0]} is its last commit."
        except StoreError as none:
            last = str(none)
        return StoreError(f"{self.path} could not be written{where}: {error.strerror or error}. {last}")

    def refuse_others(self) -> None:
        """Raise StoreError where a commit of this kind would push out, or lie beside, something of another kind."""
        own = self.has_commit()
        if self.kind is not None and (there := folders.others_in(self.path, self.kind, own, (_LOCK, RUN_LOCK))):
            what = f"{there}, and {self.kind} was to be written; give it a folder of its own."
            raise StoreError(f"{self.path} holds {what}")

    def _write(self) -> Iterator[Draft]:
        with self._advising(""):
            kept = self._pointer()
        home, before, process = self._home, None, os.getpid()
        with contextlib.suppress(StoreError):
            before = self.open(kept[0]) if kept else None
        name = folders.next_name(home, kept)
        draft_folder, pointer = folders.draft_of(home / name), home / f".{_POINTER}.new"
        for left in home.glob(".*"):  # what a writer that died has left; the lock says that none lives
            if left == pointer or folders.is_draft(left.name):
                self._disk.remove(left)
        self._disk.mkdir(draft_folder)
        try:
            draft = Draft(name, draft_folder, self._disk, before)
            yield draft
            if os.getpid() != process:
                raise StoreError(f"{name} of {self.path} is written by process {process}, not by a fork of it.")
            draft.finish()
            self._disk.rename(draft_folder, home / name)
            self._disk.sync(home)
            kept = [name, *kept][: self.keep]
            self._disk.write(pointer, seal({"commits": kept}))
            self._disk.sync(pointer)
            self._disk.rename(pointer, home / _POINTER)
            self._disk.sync(home)
        except BaseException:
            if os.getpid() == process:
                with contextlib.suppress(OSError):
                    self._disk.remove(draft_folder)
            raise
        if home != self.path:
            publish(home / name, self._disk)
        folders.remove_others(home, kept, self._disk)

    def has_commit(self) -> bool:
        """Whether a commit was made here, whole or damaged; a process that was killed early leaves none."""
        return (self._home / _POINTER).exists()

    def names(self) -> tuple[str, ...]:
        """Names of the commits that can be opened, newest first.

        Raises StoreError where there is none, or the pointer is damaged.
        """
        with self._advising(""):
            names = self._pointer()
        if not names:
            there = " and ".join(sorted(folders.kinds_in(self.path) - {self.kind})) if self.kind else ""
            what = f"holds {there}, and {self.kind} was to be read" if there else "holds no commit"
            raise StoreError(f"{self.path} {what if self.path.exists() else 'does not exist'}.")
        return tuple(names)

    def read(self, use: Callable[[Commit], T], name: str | None = None) -> T:
        """What `use` makes of a commit, the last one or the one named.

        Where a writer removes the last one meanwhile, `use` is called again for the one that took its place.
        """
        for left in reversed(range(_READS)):
            commit = self.open(name)
            try:
                return use(commit)
            except Exception:
                if name is not None or not left or self.names()[0] == commit.folder.name:
                    raise
        raise AssertionError  # the last round returns or raises

    def open(self, name: str | None = None) -> Commit:
        """A commit for reading: the last one, or the one named.

        Raises StoreError where it is missing, of another kind, or its manifest is damaged.
        """
        if not folders.named(chosen := name or self.names()[0]):
            raise StoreError(f"A commit is called commit-000001 or alike; got {chosen!r}.")
        try:
            with self._advising(chosen):
                folder = self._home / chosen
                commit = Commit(folder, manifest_of(folder), partial(self._advising, chosen))
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
        path = self._home / _POINTER
        try:
            names = unseal(path).get("commits")
        except (FileNotFoundError, NotADirectoryError):
            return []
        if not isinstance(names, list) or not names or any(not folders.named(name) for name in names):
            raise DamageError(f"{path} is damaged: it names no commits")
        return names

    @contextlib.contextmanager
    def _advising(self, damaged: str) -> Iterator[None]:
        """Turn damage into a StoreError that names a whole commit: all of it is compared before it is named."""
        try:
            yield
        except DamageError as error:
            pointed: list[str] = []
            with contextlib.suppress(DamageError):
                pointed = self._pointer()
            others = folders.candidates(self._home, pointed, damaged)
            whole = next((name for name in others if is_whole(self._home / name)), None)
            advice = f"{whole} is whole and can be opened by its name." if whole else "No other commit is whole."
            raise StoreError(f"{error}. {advice}") from error
