"""Arrays of an ensemble as a zarr v3 group among the files of a commit, every chunk with its crc32c."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowkit.storage.commit import Commit
from flowkit.storage.draft import Draft
from flowkit.storage.manifest import HEADER_LIMIT, StoreError, parse_json

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
        return default_buffer_prototype().buffer.from_bytes(self._files.buffer(name))

    def __delitem__(self, name: str) -> None:
        del self._json[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._json, **self._files.files})

    def __len__(self) -> int:
        return len({**self._json, **self._files.files})


def read(commit: Commit, max_bytes: int) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    """Attributes and arrays of a commit, each array of at most `max_bytes`.

    No array is made before its own metadata is found to be what `write` writes and files of its size are there. Reading
    takes the memory of the arrays and of two chunks, and the time of a SHA-256 of the files.
    """
    import zarr
    from zarr.storage import MemoryStore

    files = Files(commit)
    group = parse_json(bytes(files["zarr.json"].to_bytes()))
    attributes = group.pop("attributes", None)
    # Metadata of arrays in that of the group would be believed in place of their own.
    if group.pop("consolidated_metadata", None) is not None or group != _GROUP or not isinstance(attributes, dict):
        raise ValueError(f"zarr.json is that of no group of plain arrays: {list(group)!r:.200}")
    names = [name for name in ("series", "x") if name == "series" or "x/zarr.json" in commit.files]
    if odd := [file for file in commit.files if file != "zarr.json" and file.split("/")[0] not in names]:
        raise ValueError(f"it holds a file {odd[0]:.200}")
    arrays = {}
    for name in names:
        shape, dtype, chunks = _described(name, parse_json(bytes(files[f"{name}/zarr.json"].to_bytes())))
        if (need := math.prod(shape) * dtype.itemsize) > max_bytes:
            allowed = f"max_bytes allows {max_bytes / 2**30:.3g} GiB"
            raise ValueError(f"{name} {list(shape)} takes {need / 2**30:.3g} GiB, and {allowed}")
        grid = [-(-side // chunk) for side, chunk in zip(shape, chunks, strict=True)]
        size = math.prod(chunks) * dtype.itemsize + 4
        sizes = [entry.size for file, entry in commit.files.items() if file.startswith(f"{name}/c/")]
        if math.prod(grid) != len(sizes) or set(sizes) != {size}:
            raise ValueError(f"{name} {list(shape)} needs {math.prod(grid)} chunks of {size} bytes; got {len(sizes)}")
        array = zarr.open_array(MemoryStore(files, read_only=True), path=name, mode="r", zarr_format=3)
        if (array.shape, array.dtype, array.chunks) != (shape, dtype, chunks):
            raise ValueError(f"{name} was opened as {array.dtype} {list(array.shape)}")
        arrays[name] = np.asarray(array[...])
    return attributes, arrays


_GROUP = {"zarr_format": 3, "node_type": "group"}
_ARRAY = {
    "zarr_format": 3,
    "node_type": "array",
    "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
    "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
    "attributes": {},
}
_FREE = {"fill_value": (0.0, [0.0, 0.0]), "storage_transformers": ([],), "dimension_names": (None,)}
"""What may be missing, and what it may be; every chunk has to be there, so that nothing is filled."""
_DTYPES = ("float32", "float64", "complex64", "complex128")


def _described(name: str, meta: dict[str, Any]) -> tuple[tuple[int, ...], np.dtype[Any], tuple[int, ...]]:
    """Shape, dtype and chunks that the metadata of an array gives; ValueError where anything in it is not as `write`
    writes it.
    """
    shape, kind, grid = meta.pop("shape", None), meta.pop("data_type", None), meta.pop("chunk_grid", None)
    odd = [key for key, allowed in _FREE.items() if meta.pop(key, allowed[0]) not in allowed]
    odd += [key for key in {**meta, **_ARRAY} if meta.get(key) != _ARRAY.get(key)]
    if odd or kind not in _DTYPES:
        raise ValueError(f"{name} is no array of plain numbers with crc32c: {odd[0] if odd else kind!r:.80}")
    chunks = grid["configuration"]["chunk_shape"] if isinstance(grid, dict) else None
    both = _sides(shape), _sides(chunks)
    regular = grid == {"name": "regular", "configuration": {"chunk_shape": chunks}}
    if not regular or len(both[0]) < 3 or len(both[0]) != len(both[1]):
        raise ValueError(f"{name} is {kind} {shape!r:.80} in chunks {chunks!r:.80}")
    return both[0], np.dtype(kind), both[1]


def _sides(found: object) -> tuple[int, ...]:
    """The sides of an array or a chunk; none where they are not positive whole numbers, at most 16 of them."""
    if not isinstance(found, list) or len(found) > 16 or not all(type(side) is int and side > 0 for side in found):
        return ()
    return tuple(found)


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
