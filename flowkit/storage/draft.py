"""A commit that is being written."""

import hashlib
from pathlib import Path

from flowkit.storage.commit import Commit
from flowkit.storage.disk import Disk
from flowkit.storage.manifest import HEADER_LIMIT, MANIFEST, DamageError, Entry, StoreError, is_safe, pieces, seal

SHARED = 4096
"""Bytes from which on a file that the commit before holds too is stored once."""


class Draft:
    """A commit that is being written; `Store.writing` gives one.

    Parameters
    ----------
    name : str
        Name of the commit.
    folder : Path
        A folder beside the commits, renamed to `name` at the end.
    disk : Disk
        The operations that change the folder.
    before : Commit, optional
        The last commit. Large files that it holds too take no more room.

    Examples
    --------
    >>> import tempfile
    >>> from flowkit.storage import Store
    >>> store = Store(tempfile.mkdtemp())
    >>> with store.writing() as draft:
    ...     draft.write("a/b.json", b"{}")
    >>> store.open(draft.name).read("a/b.json")
    b'{}'
    """

    def __init__(self, name: str, folder: Path, disk: Disk, before: Commit | None = None):
        self.name, self.before, self._folder, self._disk = name, before, folder, disk
        self.files: dict[str, Entry] = {}
        self._folders = [folder]

    def write(self, name: str, data: bytes) -> None:
        """Write one file under a relative name, parts separated by "/", and sync it.

        Raises StoreError for a name that leaves the folder or is taken.
        """
        path, entry = self._new(name), Entry(len(data), hashlib.sha256(data).hexdigest())
        if self._has(name, entry):
            return self.share(name)
        self._disk.write(path, data)
        self._disk.sync(path)
        self.files[name] = entry

    def share(self, name: str) -> None:
        """Take a file as it is from the commit before, without another copy; it is not read.

        Raises StoreError where that commit has none of this name.
        """
        if self.before is None or name not in self.before.files:
            raise StoreError(f"The commit before has no file {name!r}.")
        self._disk.link(self._new(name), self.before.folder / name)
        self.files[name] = self.before.files[name]

    def _new(self, name: str) -> Path:
        """Where a file of a new name goes, in a folder that is there."""
        if not is_safe(name) or name in self.files:
            raise StoreError(f"A file of a commit has a new relative name such as 'a/b.json'; got {name!r}.")
        path = self._folder / name
        for parent in reversed(path.relative_to(self._folder).parents[:-1]):
            if self._folder / parent not in self._folders:
                self._disk.mkdir(self._folder / parent)
                self._folders.append(self._folder / parent)
        return path

    def _has(self, name: str, entry: Entry) -> bool:
        """Whether the commit before holds the same large file, undamaged."""
        if self.before is None or entry.size < SHARED or self.before.files.get(name) != entry:
            return False
        try:
            for _ in pieces(self.before.folder, name, entry):
                pass
        except DamageError:
            return False
        return True

    def finish(self) -> None:
        """Write the manifest and sync every folder, the innermost first."""
        manifest = seal({"files": {name: [entry.size, entry.sha256] for name, entry in self.files.items()}})
        if len(manifest) > HEADER_LIMIT:
            raise StoreError(f"A manifest stays under 1 MiB; {len(self.files)} files need {len(manifest)} bytes.")
        self._disk.write(self._folder / MANIFEST, manifest)
        self._disk.sync(self._folder / MANIFEST)
        for folder in reversed(self._folders):
            self._disk.sync(folder)
