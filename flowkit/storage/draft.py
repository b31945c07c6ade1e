"""A commit that is being written."""

import hashlib
from pathlib import Path

from flowkit.storage.disk import Disk
from flowkit.storage.manifest import HEADER_LIMIT, MANIFEST, Entry, StoreError, is_safe, seal


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

    def __init__(self, name: str, folder: Path, disk: Disk):
        self.name, self._folder, self._disk = name, folder, disk
        self.files: dict[str, Entry] = {}
        self._folders = [folder]

    def write(self, name: str, data: bytes) -> None:
        """Write one file under a relative name, parts separated by "/", and sync it.

        Raises StoreError for a name that leaves the folder or is taken.
        """
        if not is_safe(name) or name in self.files:
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
        manifest = seal({"files": {name: [entry.size, entry.sha256] for name, entry in self.files.items()}})
        if len(manifest) > HEADER_LIMIT:
            raise StoreError(f"A manifest stays under 1 MiB; {len(self.files)} files need {len(manifest)} bytes.")
        self._disk.write(self._folder / MANIFEST, manifest)
        self._disk.sync(self._folder / MANIFEST)
        for folder in reversed(self._folders):
            self._disk.sync(folder)
