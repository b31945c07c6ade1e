"""Checkpoints: named tensors and plain JSON, committed together; what comes back equals what was saved bit for bit."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from flowkit.store import HEADER_LIMIT, Store, StoreError, parse_json

_FORMAT, _KIND = "flowkit checkpoint 1", "a checkpoint"
_TENSORS, _META = "tensors.safetensors", "checkpoint.json"


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written or read; the message names the file and says which commit is whole."""


def save(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], meta: Mapping[str, Any], *, keep: int = 2) -> str:
    """Commit tensors (safetensors) and meta (JSON) to the folder `path`; returns the name of the commit.

    tensors   any dtype that safetensors holds, and complex; dense; moved to the CPU, dtypes and bits kept
    meta      None, bool, int, float, str, lists and dicts of these (tuples come back as lists); under 1 MiB of JSON
    keep      number of commits that stay, at least 2
    Raises    CheckpointError for other content, a full disk, a second writer or a folder that holds something else;
              earlier commits stay whole
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
    text = json.dumps(head).encode()
    if len(text) > HEADER_LIMIT:
        raise CheckpointError(
            f"The meta data of a checkpoint stays under 1 MiB; got {len(text)} bytes. Put arrays among the tensors."
        )
    try:
        data = to_bytes(stored)
    except (KeyError, ValueError, RuntimeError) as error:
        dtypes = sorted({str(tensor.dtype) for tensor in stored.values()})
        raise CheckpointError(f"safetensors could not hold tensors of {', '.join(dtypes)}: {error}") from error
    if int.from_bytes(data[:8], "little") > HEADER_LIMIT:
        raise CheckpointError(f"The names of a checkpoint's tensors stay under 1 MiB; got {len(stored)} tensors.")
    try:
        return Store(path, keep=keep, kind=_KIND).commit({_META: text, _TENSORS: data})
    except StoreError as error:
        raise CheckpointError(str(error)) from error


def load(path: str | os.PathLike[str], commit: str | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors (on the CPU) and the meta data of the last commit, or of the one named.

    Raises    CheckpointError where anything differs from what was saved; the message names a commit that is whole
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        opened = Store(path, kind=_KIND).open(commit)
        head = parse_json(opened.read(_META))
        file = opened.path(_TENSORS)
        with file.open("rb") as start:
            header = int.from_bytes(start.read(8), "little")
        if header > HEADER_LIMIT:
            raise ValueError(f"the header of {_TENSORS} says {header} bytes, over 1 MiB")
        tensors = load_file(file, device="cpu")
        meta, complex_names = head["meta"], head["complex"]
        if head["format"] != _FORMAT or not isinstance(meta, dict) or not isinstance(complex_names, dict):
            raise ValueError(f"it is no {_FORMAT!r}")
        for name, dtype in complex_names.items():
            tensors[name] = torch.view_as_complex(tensors[name])
            if str(tensors[name].dtype) != f"torch.{dtype}":
                raise ValueError(f"{name!r} was {dtype} and is {tensors[name].dtype}")
    except StoreError as error:
        raise CheckpointError(str(error)) from error
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, OSError, OverflowError) as error:
        raise CheckpointError(f"{path} holds no readable checkpoint: {error}.") from error
    return tensors, meta


def _plain(value: Any, where: str) -> Any:
    """The value as JSON will give it back.

    Raises    CheckpointError for what JSON would refuse or silently change
    """
    if isinstance(value, Mapping):
        odd = [key for key in value if not isinstance(key, str)]
        if odd:
            raise CheckpointError(f"Meta data has text as keys; {where} has the key {odd[0]!r}.")
        return {key: _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise CheckpointError(f"Meta data is plain numbers, text, lists and dicts; {where} is {type(value).__name__}.")
