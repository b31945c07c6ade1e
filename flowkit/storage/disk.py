"""The operations of the disk that a store uses: those that change it, and the opening of a plain file."""

import os
import shutil
import stat
import sys
from pathlib import Path
from typing import IO


class Disk:
    """The file operations that change a store.

    A test gives `Store` a subclass of it, which records them or lets them fail.

    Examples
    --------
    >>> import tempfile
    >>> from flowkit.storage import Disk, Store
    >>> class Loud(Disk):
    ...     def rename(self, old, new):
    ...         print(old.name, "->", new.name)
    ...         super().rename(old, new)
    >>> _ = Store(tempfile.mkdtemp(), disk=Loud()).commit({"a": b"1"})
    .commit-000001.draft -> commit-000001
    .LAST.new -> LAST
    """

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


def open_regular(path: Path, within: Path) -> IO[bytes]:
    """Open a plain file that really lies in a folder: no link out of it, no device, no pipe that would block."""
    if within.resolve() not in path.resolve().parents:
        raise OSError(0, "it lies outside its folder")
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(0, "it is no plain file")
    return os.fdopen(handle, "rb")
