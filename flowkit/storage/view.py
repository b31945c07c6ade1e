"""The last commit as other programs see it: links beside the hidden folder of commits, swapped all at once."""

from __future__ import annotations

import contextlib
from pathlib import Path

from flowkit.storage.disk import Disk, warn_once
from flowkit.storage.folders import COMMITS, visible
from flowkit.storage.manifest import MANIFEST

_SHOWN = "shown"


def publish(commit: Path, disk: Disk) -> None:
    r"""Let the folder of a store show what a commit holds.

    ::

        path/
          zarr.json -> .flowkit/shown/zarr.json       and so each name in the commit that does not begin with a dot
          .flowkit/
            shown -> commit-000007                    replaced by one rename: a reader never sees a mixture
            commit-000007/

    Parameters
    ----------
    commit : Path
        Its folder, in the folder `COMMITS` of the one that shows it.
    disk : Disk
        The operations that change the folder.
    """
    home, root = commit.parent, commit.parent.parent
    new = home / f".{_SHOWN}.new"
    try:
        shown = set(visible(commit)) - {MANIFEST}
        for name in sorted(shown):  # first, so that all names are there when the link is replaced
            if not (root / name).is_symlink() and not (root / name).exists():
                disk.symlink(root / name, f"{COMMITS}/{_SHOWN}/{name}")
        disk.sync(root)
        if new.is_symlink():  # of a writer that died
            disk.remove(new)
        disk.symlink(new, commit.name)
        if (home / _SHOWN).is_dir() and not (home / _SHOWN).is_symlink():  # a copy that followed the links
            disk.remove(home / _SHOWN)
        disk.rename(new, home / _SHOWN)
        disk.sync(home)
        for entry in root.iterdir():
            if entry.name not in shown and _is_own(entry):
                disk.remove(entry)
        disk.sync(root)
    except (OSError, NotImplementedError) as error:
        text = f"{root} lies where no symbolic links can be made ({getattr(error, 'strerror', None) or error}): other"
        warn_once("links", f"{text} programs find the arrays in {home}, in the commit that was written last.")


def _is_own(entry: Path) -> bool:
    """Whether an entry is a link that `publish` made."""
    with contextlib.suppress(OSError):
        return entry.is_symlink() and entry.readlink().as_posix() == f"{COMMITS}/{_SHOWN}/{entry.name}"
    return False
