"""Arrays of an ensemble as a zarr v3 group among the files of a commit, every chunk with its crc32c."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from flowkit.storage.commit import Commit
from flowkit.storage.draft import Draft
from flowkit.storage.manifest import HEADER_LIMIT, StoreError

CHUNK = 2**24  # bytes of configurations in one file, and in one piece that an observable is measured on
CHAIN, STEP = "chain", "step"


@dataclass(frozen=True)
class Named:
    """An array ``[n, chains, ...]``, or its later rows, with the names of its axes; files hold ``[chain, step, ...]``.

    Parameters
    ----------
    rows : ndarray
        Its rows from a place on that is a multiple of `chunk`, or all.
    axes : tuple of str
        Names of the axes behind the first two.
    attributes : dict of str
        Such as units.
    chunk : int, optional
        Rows in one file; by default as many as have 16 MiB.

    Examples
    --------
    >>> import numpy as np
    >>> from flowkit.storage.zarr_files import Named
    >>> Named(np.zeros((10, 4, 2)), ("mu",), {"units": "rad"}, chunk=5).dimensions
    ('chain', 'step', 'mu')
    """

    rows: NDArray[Any]
    axes: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    chunk: int = 0

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Names of all axes in a file."""
        return (CHAIN, STEP, *self.axes)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of a chunk in a file: all of some rows."""
        row = max(1, self.rows.nbytes // max(1, len(self.rows)))
        rows = self.chunk or min(max(1, CHUNK // row), len(self.rows))
        return (self.rows.shape[1], rows, *self.rows.shape[2:])


def write(draft: Draft, attributes: dict[str, Any], arrays: Mapping[str, Named], first: int = 0) -> None:
    """Write a zarr group with these attributes and arrays.

    Parameters
    ----------
    draft : Draft
        The commit that is being written.
    attributes : dict
        Plain data.
    arrays : mapping
        By name.
    first : int
        The place of their first rows; those before it stay as the commit before holds them.
    """
    import zarr
    from zarr.codecs import Crc32cCodec
    from zarr.storage import MemoryStore

    files = Files(draft)
    group = zarr.create_group(MemoryStore(files), zarr_format=3, attributes=attributes)
    for name, one in arrays.items():
        target = group.create_array(
            name,
            shape=(one.rows.shape[1], first + len(one.rows), *one.rows.shape[2:]),
            dtype=one.rows.dtype,
            chunks=one.chunks,
            compressors=[Crc32cCodec()],
            filters=None,
            chunk_key_encoding={"name": "default", "separator": "."},
            dimension_names=one.dimensions,
            attributes=dict(one.attributes),
            config={"write_empty_chunks": True},
        )
        for k in range(first // one.chunks[1]):
            draft.share(chunk_name(name, k, one.rows.ndim))
        target[:, first:] = one.rows.swapaxes(0, 1)
    files.finish(list(arrays))


def chunk_name(array: str, k: int, ndim: int) -> str:
    """The file of the k-th chunk of an array, which is cut along its steps alone."""
    return ".".join([f"{array}/c", "0", str(k), *["0"] * (ndim - 2)])


class Files(MutableMapping[str, Any]):
    """The files of a commit as zarr sees them: buffers by name, written to a draft or read and compared.

    Parameters
    ----------
    files : Draft or Commit
        What is written, or read.

    Examples
    --------
    >>> import tempfile
    >>> from flowkit.storage import Files, Store
    >>> store = Store(tempfile.mkdtemp())
    >>> _ = store.commit({"zarr.json": b"{}"})
    >>> list(Files(store.open()))
    ['zarr.json']
    """

    def __init__(self, files: Draft | Commit):
        self._files = files
        self._json: dict[str, Any] = {}  # zarr writes its metadata more than once

    def __setitem__(self, name: str, buffer: Any) -> None:
        if not isinstance(self._files, Draft):
            raise TypeError("a commit is read, not written")
        if name.endswith(".json"):
            self._json[name] = buffer
        else:
            self._files.write(name, buffer.to_bytes())

    def finish(self, arrays: list[str]) -> None:
        """Write the metadata, that of the arrays once more in the group's: other programs then read one file."""
        if isinstance(self._files, Draft):
            metadata = {name: buffer.to_bytes() for name, buffer in self._json.items()}
            group = json.loads(metadata["zarr.json"])
            inline = {name: json.loads(metadata[f"{name}/zarr.json"]) for name in arrays}
            group["consolidated_metadata"] = consolidated(inline)
            for name, data in {**metadata, "zarr.json": json.dumps(group).encode()}.items():
                self._files.write(name, data)

    def __getitem__(self, name: str) -> Any:
        from zarr.core.buffer import default_buffer_prototype

        if name in self._json:
            return self._json[name]
        if name not in self._files.files:
            # zarr would take a chunk that is missing for one full of zeros.
            raise ValueError(f"the chunk {name} is missing") if "/c." in name else KeyError(name)
        if isinstance(self._files, Draft):
            raise KeyError(name)
        if name.endswith(".json") and self._files.files[name].size > HEADER_LIMIT:
            raise ValueError(f"{name} is over 1 MiB")
        return default_buffer_prototype().buffer.from_bytes(self._files.buffer(name))

    def __delitem__(self, name: str) -> None:
        del self._json[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._json, **self._files.files})

    def __len__(self) -> int:
        return len({**self._json, **self._files.files})


def consolidated(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of arrays as that of their group holds it."""
    return {"kind": "inline", "must_understand": False, "metadata": dict(arrays)}


@contextmanager
def errors() -> Iterator[None]:
    """Whatever zarr finds wrong with metadata of any kind, as ValueError."""
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}"[:500]) from error
