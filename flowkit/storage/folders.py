"""The folders of a store: which names are commits, drafts of them, and what a commit is."""

import re
from collections.abc import Sequence
from pathlib import Path

from flowkit.storage.commit import KINDS
from flowkit.storage.manifest import DamageError, StoreError, is_own, manifest_of

_COMMIT = re.compile(r"commit-(\d{6,12})", re.ASCII)
_DRAFT = re.compile(r"\.commit-\d{6,12}\.draft", re.ASCII)
_LARGEST = 10**12 - 1


def named(name: object) -> bool:
    """Whether this is the name of a commit."""
    return isinstance(name, str) and _COMMIT.fullmatch(name) is not None


def is_draft(name: str) -> bool:
    """Whether this is the name of a commit that is being written or removed."""
    return _DRAFT.fullmatch(name) is not None


def draft_of(commit: Path) -> Path:
    """The folder beside a commit in which it is written, and removed."""
    return commit.with_name(f".{commit.name}.draft")


def next_name(path: Path, kept: Sequence[str]) -> str:
    """The name after those of all commits of a store; one that something else bears is passed over."""
    there = {entry.name for entry in path.iterdir()}
    own = [name for name in there if named(name) and is_own(path / name)]
    number = max([0, *(int(name.removeprefix("commit-")) for name in (*kept, *own))])
    while number < _LARGEST:
        number += 1
        if (name := f"commit-{number:06d}") not in there:
            return name
    raise StoreError(f"{path} has no names left after commit-{_LARGEST}.")


def kind_of(folder: Path) -> str | None:
    """What a commit is; None for a damaged one that does not tell."""
    try:
        names, other = set(manifest_of(folder)), "commits of another kind"
    except DamageError:
        names, other = {entry.name for entry in folder.glob("*")}, None
    return next((kind for name, kind in KINDS.items() if name in names), other)
