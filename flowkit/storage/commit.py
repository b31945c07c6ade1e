"""One commit, opened for reading."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from flowkit.storage.manifest import Entry, StoreError, pieces

KINDS = {"checkpoint.json": "a checkpoint", "zarr.json": "an ensemble"}
"""The file that tells what a commit is, and what it is."""


@dataclass(frozen=True)
class Commit:
    """One commit, opened for reading: a file is returned after its size and SHA-256 agreed with the manifest.

    Parameters
    ----------
    folder : Path
        The folder of the commit.
    files : mapping
        Name -> size and SHA-256, from the manifest.
    advising : callable
        A context that turns damage into a StoreError which names a whole commit.

    Examples
    --------
    >>> import tempfile
    >>> from flowkit.storage import Store
    >>> store = Store(tempfile.mkdtemp())
    >>> name = store.commit({"text": b"some bytes"})
    >>> commit = store.open()
    >>> commit.files["text"].size, commit.read("text")
    (10, b'some bytes')
    >>> _ = (commit.folder / "text").write_bytes(b"some bites")
    >>> try:
    ...     commit.read("text")
    ... except RuntimeError as error:
    ...     print(str(error).split("/")[-1])
    text is damaged: its SHA-256 differs from the manifest. No other commit is whole.
    """

    folder: Path
    files: Mapping[str, Entry]
    advising: Callable[[], AbstractContextManager[None]]

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises StoreError, naming it, where it is missing or differs from what was written."""
        return bytes(self.buffer(name))

    def buffer(self, name: str) -> bytearray:
        """As `read`, in memory of its own that tensors may lie in."""
        data = bytearray()
        with self.advising():
            for piece in pieces(self.folder, name, self._entry(name)):
                data += piece
        return data

    def check_size(self, most: int, names: Sequence[str] | None = None) -> None:
        """Raise StoreError where files, all by default, take more than `most` bytes, before anything is read."""
        if (size := sum(entry.size for name, entry in self.files.items() if names is None or name in names)) > most:
            raise StoreError(f"{self.folder} has {size / 2**30:.3g} GiB; at most {most / 2**30:.3g} GiB are read.")

    @property
    def kind(self) -> str | None:
        """What it is, "a checkpoint" or "an ensemble"; None for other files."""
        return next((kind for name, kind in KINDS.items() if name in self.files), None)

    def _entry(self, name: str) -> Entry:
        if name not in self.files:
            raise StoreError(f"{self.folder} holds {_listed(self.files)}; got {name!r}.")
        return self.files[name]


def _listed(names: Mapping[str, Entry]) -> str:
    shown = sorted(names)[:5]
    return ", ".join(shown) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if shown else "no files"
