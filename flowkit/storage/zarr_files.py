"""Arrays of an ensemble as a zarr v3 group among the files of a commit, every chunk with its crc32c."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowkit.storage.commit import Commit
from flowkit.storage.draft import Draft
from flowkit.storage.manifest import HEADER_LIMIT, StoreError

CHUNK = 2**24  # bytes of configurations in one file, and in one piece that an observable is measured on


def write(draft: Draft, attributes: dict[str, Any], arrays: Mapping[str, NDArray[Any]], cut: Mapping[str, int]) -> None:
    """Write a zarr group with these attributes and arrays.

    Parameters
    ----------
    draft : Draft
        The commit that is being written.
    attributes : dict
        Plain data.
    arrays : mapping
        Name -> array of any shape.
    cut : mapping
        Name -> axis along which an array is cut into chunks; 0 for names that are missing.
    """
    import zarr
    from zarr.codecs import Crc32cCodec
    from zarr.storage import MemoryStore

    files = Files(draft)
    group = zarr.create_group(MemoryStore(files), zarr_format=3, attributes=attributes)
    for name, data in arrays.items():
        target = group.create_array(
            name,
            shape=data.shape,
            dtype=data.dtype,
            chunks=_chunks(data, axis=cut.get(name, 0)),
            compressors=[Crc32cCodec()],
            filters=None,
            config={"write_empty_chunks": True},
        )
        target[...] = data
    files.finish()


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

    def finish(self) -> None:
        """Write the metadata."""
        if isinstance(self._files, Draft):
            for name, buffer in self._json.items():
                self._files.write(name, buffer.to_bytes())

    def __getitem__(self, name: str) -> Any:
        from zarr.core.buffer import default_buffer_prototype

        if name in self._json:
            return self._json[name]
        if name not in self._files.files:
            # zarr would take a chunk that is missing for one full of zeros.
            raise ValueError(f"the chunk {name} is missing") if "/c/" in name else KeyError(name)
        if isinstance(self._files, Draft):
            raise KeyError(name)
        if name.endswith(".json") and self._files.files[name].size > HEADER_LIMIT:
            raise ValueError(f"{name} is over 1 MiB")
        return default_buffer_prototype().buffer.from_bytes(self._files.read(name))

    def __delitem__(self, name: str) -> None:
        del self._json[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._json, **self._files.files})

    def __len__(self) -> int:
        return len({**self._json, **self._files.files})


def read(commit: Commit) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    """Attributes and arrays of a commit. No array is made before files of its size are seen to be there."""
    import zarr
    from zarr.storage import MemoryStore

    group = zarr.open_group(MemoryStore(Files(commit), read_only=True), mode="r", zarr_format=3)
    arrays = {}
    for name in ("series", "x"):
        if name == "x" and "x/zarr.json" not in commit.files:
            continue
        array = group[name]
        codecs = json.loads(Files(commit)[f"{name}/zarr.json"].to_bytes())["codecs"]
        if not isinstance(array, zarr.Array) or [codec["name"] for codec in codecs] != ["bytes", "crc32c"]:
            raise ValueError(f"{name} is no array of plain bytes with crc32c")
        if array.ndim < 3 or array.dtype.kind not in "fc":
            raise ValueError(f"{name} is {array.dtype} {list(array.shape)}")
        grid = [-(-side // chunk) for side, chunk in zip(array.shape, array.chunks, strict=True)]
        size = math.prod(array.chunks) * array.dtype.itemsize + 4
        sizes = [entry.size for file, entry in commit.files.items() if file.startswith(f"{name}/c/")]
        if math.prod(grid) != len(sizes) or set(sizes) != {size}:
            raise ValueError(
                f"{name} {list(array.shape)} needs {math.prod(grid)} chunks of {size} bytes; got {len(sizes)}"
            )
        arrays[name] = np.asarray(array[...])
    return dict(group.attrs), arrays


@contextmanager
def errors() -> Iterator[None]:
    """Whatever zarr finds wrong with metadata of any kind, as ValueError."""
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}"[:500]) from error


def _chunks(data: np.ndarray[Any, Any], axis: int) -> tuple[int, ...]:
    """Chunks that cut one axis alone, of at most CHUNK bytes where a row allows it."""
    row = max(1, data.nbytes // data.shape[axis])
    return tuple(min(side, max(1, CHUNK // row)) if i == axis else side for i, side in enumerate(data.shape))
