"""The folders of a store: which names are commits, drafts of them, and what a commit is."""

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path

from flowkit.storage.commit import KINDS
from flowkit.storage.disk import Disk
from flowkit.storage.manifest import MANIFEST, DamageError, StoreError, is_own, manifest_of

_COMMIT = re.compile(r"commit-(\d{6,12})", re.ASCII)
_DRAFT = re.compile(r"\.commit-\d{6,12}\.draft", re.ASCII)
_LARGEST, _ADVISED = 10**12 - 1, 8
COMMITS = ".flowkit"
"""The hidden folder of commits in a folder whose other names are those of the last commit."""


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


def kinds_in(path: Path) -> set[str]:
    """What the commits of a folder are, hidden ones too; damaged ones do not tell."""
    found = [*path.glob("commit-*"), *path.glob(f"{COMMITS}/commit-*")]
    return {kind for entry in found if named(entry.name) and (kind := kind_of(entry)) is not None}


def visible(path: Path) -> list[str]:
    """The names in a folder that do not begin with a dot."""
    return sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))


def remove_others(path: Path, kept: Sequence[str], disk: Disk) -> None:
    """Remove the commits of a store but for those kept; one that stays does no harm, the next writer tries again."""
    for entry in sorted(path.iterdir()):
        if named(entry.name) and entry.name not in kept and is_own(entry):
            with contextlib.suppress(OSError):
                disk.rename(entry, draft_of(entry))  # half removed it is still known as one of ours
                disk.remove(draft_of(entry))


def candidates(path: Path, pointed: Sequence[str], damaged: str) -> list[str]:
    """Commits beside a damaged one, newest first: those in the pointer or, where it is damaged too, in the folder."""
    names = list(pointed) or sorted((p.name for p in path.glob("commit-*") if named(p.name)), reverse=True)
    return [name for name in names[:_ADVISED] if name != damaged]


def others_in(path: Path, kind: str, own: bool, locks: Sequence[str]) -> str:
    """What a folder holds beside commits of that kind, in words; `own` where it is known to be a store of them."""
    if not path.is_dir():
        return ""
    kinds = kinds_in(path) - {kind}
    others = [] if own else [name for name in visible(path) if name not in locks]
    if not kinds and all(named(name) and (path / name / MANIFEST).exists() for name in others):
        return ""
    shown = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    return " and ".join(sorted(kinds)) or f"other files ({shown})"
