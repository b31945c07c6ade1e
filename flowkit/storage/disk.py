"""The operations of the disk that a store uses: those that change it, and the opening of a plain file."""

import errno
import os
import shutil
import stat
import sys
import warnings
from pathlib import Path
from typing import IO

_WITHOUT_FOLDER_SYNC = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EBADF}
MOST_UNWRITTEN = 2**24
"""Bytes of a file that may never have been written; a file system that compresses leaves out a chunk of zeros."""
_SAID: set[str] = set()


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

    def link(self, path: Path, old: Path) -> None:
        """A second name of a file that is not written any more; a copy where the file system has no such links."""
        try:
            path.hardlink_to(old)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.ENOENT, errno.EEXIST, errno.EIO, errno.EROFS, errno.EDQUOT):
                raise
            shutil.copyfile(old, path)
            self.sync(path)

    def symlink(self, path: Path, target: str) -> None:
        """A symbolic link."""
        path.symlink_to(target)

    def sync(self, path: Path) -> None:
        """fsync of a file or of a folder (that is, of the names in it); a warning where a folder cannot have one."""
        folder = path.is_dir()
        if folder and sys.platform == "win32":
            return  # Windows cannot open a folder; NTFS journals names by itself
        handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
        try:
            os.fsync(handle)
        except OSError as error:
            if not folder or error.errno not in _WITHOUT_FOLDER_SYNC:
                raise
            text = f"{path} lies on a file system without fsync of folders ({error.strerror}): a power cut may lose"
            warn_once("folders", f"{text} the last commit; those before it stay whole.")
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


def warn_once(kind: str, text: str) -> None:
    """A RuntimeWarning, the first one of its kind in this process."""
    if kind not in _SAID:
        _SAID.add(kind)
        warnings.warn(text, RuntimeWarning, stacklevel=2)


def open_regular(path: Path) -> IO[bytes]:
    """Open a plain file, also by a link as data managers make them: no device, and no pipe that would block.

    What is read by a link is compared with the manifest like any other file.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # before it is opened, which some devices notice
        raise OSError(0, "it is no plain file")
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(0, "it is no plain file")
    return os.fdopen(handle, "rb")


def unwritten(handle: int, size: int) -> int:
    """Bytes of a sparse file that were never written, counted up to MOST_UNWRITTEN; 0 where the system cannot tell."""
    at = found = 0
    if not hasattr(os, "SEEK_DATA"):
        return 0
    try:
        while at < size and found <= MOST_UNWRITTEN:
            data = _seek_data(handle, at, size)
            found += data - at
            at = size if data >= size else os.lseek(handle, data, os.SEEK_HOLE)
        return found
    except OSError:
        return 0
    finally:
        os.lseek(handle, 0, os.SEEK_SET)


def _seek_data(handle: int, at: int, size: int) -> int:
    """Where the next byte that was written lies; `size` where there is none."""
    try:
        return os.lseek(handle, at, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return size
        raise
