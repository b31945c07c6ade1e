"""Checkpoints: named tensors and plain JSON, committed together; what comes back equals what was saved bit for bit."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from flowkit.storage.commit import Commit
from flowkit.storage.manifest import HEADER_LIMIT, StoreError, parse_json
from flowkit.storage.store import Store
from flowkit.storage.tensors import said, tensors_of

_FORMAT, _KIND = "flowkit checkpoint 1", "a checkpoint"
_TENSORS, _META = "tensors.safetensors", "checkpoint.json"

MOST_BYTES = 4 * 2**30
"""Size of a checkpoint, written or read; to read one takes this much memory, and the time of its SHA-256."""


class _Head(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    format: Literal["flowkit checkpoint 1"]
    complex: dict[str, Literal["complex64", "complex128"]]
    meta: dict[str, Any]


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written or read; the message names the file and says which commit is whole.

    Examples
    --------
    >>> import tempfile
    >>> from flowkit.storage import CheckpointError, checkpoint
    >>> try:
    ...     checkpoint.load(tempfile.mkdtemp())
    ... except CheckpointError as error:
    ...     print(str(error).split()[-3:])
    ['holds', 'no', 'commit.']
    """


def save(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], meta: Mapping[str, Any], *, keep: int = 2) -> str:
    """Commit tensors (safetensors) and plain data (JSON) to a folder.

    Parameters
    ----------
    path : path
        The folder; made where it is missing.
    tensors : mapping of str to Tensor
        Dense, of any dtype that safetensors holds, and complex. They are moved to the CPU; dtypes and bits are kept.
    meta : mapping
        None, bool, int, float, str, lists and dicts of these (tuples come back as lists); under 1 MiB of JSON.
    keep : int
        Number of commits that stay, at least 2.

    Returns
    -------
    str
        Name of the commit.

    Raises
    ------
    CheckpointError
        For other content or more than 4 GiB, a full disk, a second writer, or a folder that holds something else;
        earlier commits stay whole.

    Examples
    --------
    >>> import tempfile, torch
    >>> from flowkit.storage import checkpoint
    >>> folder = tempfile.mkdtemp()
    >>> checkpoint.save(folder, {"x": torch.tensor([1 + 2j])}, {"step": 3})
    'commit-000001'
    >>> checkpoint.load(folder)
    ({'x': tensor([1.+2.j])}, {'step': 3})
    """
    files = packed(tensors, meta)
    with _errors():
        return Store(path, keep=keep, kind=_KIND).commit(files)


def packed(tensors: Mapping[str, Tensor], meta: Mapping[str, Any], folder: str = "") -> dict[str, bytes]:
    """The files of a checkpoint, as `save` commits them, in a folder of a commit such as ".state/".

    Raises
    ------
    CheckpointError
        For other content than `save` takes.
    """
    from safetensors.torch import save as to_bytes

    stored, complex_names = {}, {}
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or name == "__metadata__":
            kind = str(tensor.layout) if isinstance(tensor, Tensor) else type(tensor).__name__
            raise CheckpointError(f"A checkpoint holds dense tensors by name; {name!r} is {kind}.")
        plain = tensor.detach().cpu().resolve_conj().resolve_neg()
        if plain.is_complex():  # safetensors knows complex64 alone, and only since 0.6
            complex_names[name] = str(plain.dtype).removeprefix("torch.")
            plain = torch.view_as_real(plain)
        # A copy of its own: safetensors refuses two names of one memory.
        stored[name] = plain.clone(memory_format=torch.contiguous_format)
    head = {"format": _FORMAT, "complex": complex_names, "meta": _plain(meta, "meta")}
    if len(text := json.dumps(head).encode()) > HEADER_LIMIT:
        advice = "Put arrays among the tensors."
        raise CheckpointError(f"The meta data of a checkpoint stays under 1 MiB; got {len(text)} bytes. {advice}")
    try:
        data = to_bytes(stored)
    except (KeyError, ValueError, RuntimeError) as error:
        dtypes = sorted({str(tensor.dtype) for tensor in stored.values()})
        raise CheckpointError(f"safetensors could not hold tensors of {', '.join(dtypes)}: {error}") from error
    if int.from_bytes(data[:8], "little") > HEADER_LIMIT:
        raise CheckpointError(f"The names of a checkpoint's tensors stay under 1 MiB; got {len(stored)} tensors.")
    if len(data) > MOST_BYTES:
        raise CheckpointError(f"A checkpoint holds at most 4 GiB; its tensors take {len(data) / 2**30:.3g} GiB.")
    return {folder + _META: text, folder + _TENSORS: data}


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """What a store refuses, as CheckpointError."""
    try:
        yield
    except StoreError as error:
        raise CheckpointError(str(error)) from error


@contextlib.contextmanager
def claimed(path: str | os.PathLike[str]) -> Iterator[None]:
    """Keep a folder for the checkpoints of one run, from its first step to its last.

    Parameters
    ----------
    path : path
        The folder; made where it is missing.

    Raises
    ------
    CheckpointError
        Where another run keeps it, it holds something else, so that `save` would refuse it, or cannot be written.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from flowkit.storage import CheckpointError, claimed
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> try:
    ...     with claimed(folder), claimed(folder):
    ...         pass
    ... except CheckpointError as error:
    ...     print(str(error).split(folder.name)[1])
     is used for a run by this process; one run at a time.
    """
    with contextlib.ExitStack() as stack:
        with _errors():
            stack.enter_context(Store(path, kind=_KIND).claimed())
        yield


def load(path: str | os.PathLike[str], commit: str | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the plain data of a checkpoint that `save` wrote.

    Parameters
    ----------
    path : path
        The folder.
    commit : str, optional
        Name of a commit; by default the last one.

    Returns
    -------
    tensors : dict
        The tensors, on the CPU.
    meta : dict
        The plain data.

    Raises
    ------
    CheckpointError
        Where anything differs from what was saved; the message names a commit that is whole.
    """
    with _errors():
        try:
            return Store(path, kind=_KIND).read(unpacked, commit)
        except (ValueError, TypeError, RuntimeError, OverflowError) as error:
            if isinstance(error, StoreError):
                raise
            raise CheckpointError(f"{path} holds no readable checkpoint: {error}.") from error


def unpacked(opened: Commit, folder: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `packed` packed into a commit; what is parsed is what was compared with its SHA-256.

    Raises
    ------
    ValueError, StoreError
        Where anything differs from that.
    """
    opened.check_size(MOST_BYTES + 2 * HEADER_LIMIT, (folder + _META, folder + _TENSORS) if folder else None)
    try:
        head = _Head.model_validate(parse_json(opened.read(folder + _META)))
    except ValidationError as error:
        raise ValueError(f"{_META} does not fit: {said(error)}") from error
    tensors = tensors_of(opened.buffer(folder + _TENSORS))
    for name, dtype in head.complex.items():
        if name not in tensors:
            raise ValueError(f"the complex tensor {name!r:.200} is missing")
        tensors[name] = torch.view_as_complex(tensors[name])
        if str(tensors[name].dtype) != f"torch.{dtype}":
            raise ValueError(f"{name!r:.200} was {dtype} and is {tensors[name].dtype}")
    return tensors, head.meta


def _plain(value: Any, where: str) -> Any:
    """The value as JSON will give it back; CheckpointError for a value that JSON would refuse or silently change."""
    if isinstance(value, Mapping):
        if odd := [key for key in value if not isinstance(key, str)]:
            raise CheckpointError(f"Meta data has text as keys; {where} has the key {odd[0]!r}.")
        return {key: _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise CheckpointError(f"Meta data is plain numbers, text, lists and dicts; {where} is {type(value).__name__}.")
