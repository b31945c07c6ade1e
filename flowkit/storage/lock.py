"""One process at a time in a folder: a lock that the system drops when its process ends."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from flowkit.storage.disk import warn_once
from flowkit.storage.manifest import StoreError

_WITHOUT_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}
_OWNER = re.compile(rb"(process \d{1,20})?", re.ASCII)
_HELD: set[int] = set()


def _forget() -> None:
    """Close the handles that a forked process has of its parent's locks: each would keep its lock."""
    while _HELD:
        with contextlib.suppress(OSError):
            os.close(_HELD.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@contextlib.contextmanager
def lock(path: Path, what: str, one: str) -> Iterator[None]:
    """Hold the lock `path`, a file that names its owner; on a file system without locks, warn and go on.

    Parameters
    ----------
    path : Path
        The file; made where it is missing. Nothing is written to a link, nor over anything but the name of an owner.
    what : str
        What happens to the folder, for the message: "is being written".
    one : str
        Of what there is one at a time: "writer".

    Raises
    ------
    StoreError
        Where another process, or another holder in this one, has the lock, or the file is no lock.
    OSError
        Where the file cannot be opened.
    """
    handle = _open(path)
    _HELD.add(handle)
    try:
        locked = _take(handle, path)
        owner = os.read(handle, 64)
        if locked is False:
            who = owner.decode("ascii", "replace").strip() or "another process"
            who = "this process" if who == f"process {os.getpid()}" else who
            raise StoreError(f"{path.parent} {what} by {who}; one {one} at a time.")
        if os.fstat(handle).st_size > 64 or not _OWNER.fullmatch(owner):
            raise StoreError(f"{path} is no lock: it holds something else. Move it away.")
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, f"process {os.getpid()}".encode())
        yield
    finally:
        if handle in _HELD:  # a forked process has closed it
            _HELD.discard(handle)
            _release(handle)
            os.close(handle)


def _open(path: Path) -> int:
    """A handle of a plain file that is no link."""
    refused = StoreError(f"{path} is no lock but a link, a folder or a device. Move it away.")
    if path.is_symlink():
        raise refused
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        handle = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise refused from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise refused
    return handle


def _take(handle: int, path: Path) -> bool | None:
    """Whether the lock was free; None where the file system has no locks."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
        text = (
            f"{path.parent} lies on a file system without locks ({error.strerror}): let one process alone write there."
        )
        warn_once("locks", text)
        return None
    return True


def _release(handle: int) -> None:
    """Drop the lock also where a process that was forked without Python still has the handle."""
    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            import msvcrt

            os.lseek(handle, 0, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_UN)
