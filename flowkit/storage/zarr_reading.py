"""Arrays of a zarr group of `zarr_files.write`, read where every file is what it writes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowkit.storage.commit import Commit
from flowkit.storage.manifest import parse_json
from flowkit.storage.zarr_files import CHAIN, STEP, Files, chunk_name, consolidated


def read(
    commit: Commit, max_bytes: int, first: int = 0, only: tuple[str, ...] | None = None
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Attributes and arrays ``[n, chains, ...]`` of a commit, each array of at most `max_bytes`.

    No array is made before its own metadata is found to be what `write` writes and files of its size are there. Reading
    takes the memory of the arrays and of two chunks, and the time of a SHA-256 of the files.

    Parameters
    ----------
    commit : Commit
    max_bytes : int
    first : int
        Rows before it are not read.
    only : tuple of str, optional
        Names of arrays that are read; all by default.
    """
    import zarr
    from zarr.storage import MemoryStore

    files = Files(commit)
    group = parse_json(bytes(files["zarr.json"].to_bytes()))
    attributes, inline = group.pop("attributes", None), group.pop("consolidated_metadata", None)
    if group != _GROUP or not isinstance(attributes, dict):
        raise ValueError(f"zarr.json is that of no group of plain arrays: {list(group)!r:.200}")
    names = [file.removesuffix("/zarr.json") for file in commit.files if file.endswith("/zarr.json")]
    metadata = {name: parse_json(bytes(files[f"{name}/zarr.json"].to_bytes())) for name in names}
    # Metadata of arrays in that of the group is believed by others in place of their own.
    if inline != consolidated(metadata):
        raise ValueError("the metadata of its arrays in zarr.json is not their own")
    for file in commit.files:
        if file != "zarr.json" and not file.startswith(".") and file.split("/")[0] not in names:
            raise ValueError(f"it holds a file {file:.200}")
    arrays = {}
    for name in names:
        shape, dtype, chunks = _described(name, metadata[name])
        if (need := math.prod(shape) * dtype.itemsize) > max_bytes and (only is None or name in only):
            allowed = f"max_bytes allows {max_bytes / 2**30:.3g} GiB"
            raise ValueError(f"{name} {list(shape)} takes {need / 2**30:.3g} GiB, and {allowed}")
        count, size = -(-shape[1] // chunks[1]), math.prod(chunks) * dtype.itemsize + 4
        sizes = [entry.size for file, entry in commit.files.items() if file.startswith(f"{name}/c.")]
        if count != len(sizes) or set(sizes) != {size}:
            raise ValueError(f"{name} {list(shape)} needs {count} chunks of {size} bytes; got {len(sizes)}")
        if missing := [k for k in range(count) if chunk_name(name, k, len(shape)) not in commit.files]:
            raise ValueError(f"the chunk {missing[0]} of {name} is missing")
        if only is not None and name not in only:
            continue
        array = zarr.open_array(MemoryStore(files, read_only=True), path=name, mode="r", zarr_format=3)
        if (array.shape, array.dtype, array.chunks) != (shape, dtype, chunks):
            raise ValueError(f"{name} was opened as {array.dtype} {list(array.shape)}")
        arrays[name] = np.empty((max(0, shape[1] - first), shape[0], *shape[2:]), dtype)
        for at in range(first, shape[1], chunks[1]):
            rows = np.asarray(array[:, at : at + chunks[1]])
            arrays[name][at - first : at - first + chunks[1]] = rows.swapaxes(0, 1)
    return attributes, arrays


_GROUP = {"zarr_format": 3, "node_type": "group"}
_ARRAY = {
    "zarr_format": 3,
    "node_type": "array",
    "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
    "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
}
_FREE = {"fill_value": (0.0, [0.0, 0.0]), "storage_transformers": ([],)}
"""What may be missing, and what it may be; every chunk has to be there, so that nothing is filled."""
_DTYPES = ("float32", "float64", "complex64", "complex128")
_ATTRIBUTES = {"units", "long_name"}


def _described(name: str, meta: dict[str, Any]) -> tuple[tuple[int, ...], np.dtype[Any], tuple[int, ...]]:
    """Shape, dtype and chunks that the metadata of an array gives; ValueError where anything in it is not as `write`
    writes it.
    """
    meta = dict(meta)
    shape, kind, grid = meta.pop("shape", None), meta.pop("data_type", None), meta.pop("chunk_grid", None)
    axes, about = meta.pop("dimension_names", None), meta.pop("attributes", None)
    odd = [key for key, allowed in _FREE.items() if meta.pop(key, allowed[0]) not in allowed]
    odd += [key for key in {**meta, **_ARRAY} if meta.get(key) != _ARRAY.get(key)]
    if odd or kind not in _DTYPES:
        raise ValueError(f"{name} is no array of plain numbers with crc32c: {odd[0] if odd else kind!r:.80}")
    chunks = grid["configuration"]["chunk_shape"] if isinstance(grid, dict) else None
    both = _sides(shape), _sides(chunks)
    regular = grid == {"name": "regular", "configuration": {"chunk_shape": chunks}}
    whole = [a == b for i, (a, b) in enumerate(zip(*both, strict=False)) if i != 1]
    if not regular or len(both[0]) < 2 or len(both[0]) != len(both[1]) or not all(whole):
        raise ValueError(f"{name} is {kind} {shape!r:.80} in chunks {chunks!r:.80}")
    named = isinstance(axes, list) and axes[:2] == [CHAIN, STEP] and len(set(map(str, axes))) == len(both[0])
    if not named or not all(isinstance(axis, str) for axis in axes):
        raise ValueError(f"{name} has the dimensions {axes!r:.80}")
    if (
        not isinstance(about, dict)
        or not set(about) <= _ATTRIBUTES
        or not all(isinstance(v, str) for v in about.values())
    ):
        raise ValueError(f"{name} has the attributes {about!r:.80}")
    return both[0], np.dtype(kind), both[1]


def _sides(found: object) -> tuple[int, ...]:
    """The sides of an array or a chunk; none where they are not positive whole numbers, at most 16 of them."""
    if not isinstance(found, list) or len(found) > 16 or not all(type(side) is int and side > 0 for side in found):
        return ()
    return tuple(found)
