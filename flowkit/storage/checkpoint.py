"""Checkpoints: named tensors and plain JSON, committed together; what comes back equals what was saved bit for bit."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from flowkit.storage.store import HEADER_LIMIT, Store, StoreError, parse_json

_FORMAT, _KIND = "flowkit checkpoint 1", "a checkpoint"
_TENSORS, _META = "tensors.safetensors", "checkpoint.json"

F = TypeVar("F", bound=nn.Module)


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


def refuse_others(path: str | os.PathLike[str]) -> None:
    """Raises    CheckpointError where the folder `path` holds something else, so that `save` would refuse it"""
    try:
        Store(path, kind=_KIND).refuse_others()
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


def load_weights(flow: F, folder: str | os.PathLike[str], commit: str | None = None) -> F:
    """The weights that a Trainer saved in `folder`, in place; returns the flow. The trainer's action, batch and step
    are not needed, and the lattice may be another one where no weight depends on it.

    flow      of the same make and dtype as the one that was trained
    commit    name of a commit; by default the last one
    Raises    TypeError for what is no flow; CheckpointError where the folder is no checkpoint, or is damaged (the
              message names a commit that is whole), or names, shapes or dtypes differ; the flow is then as before
    """
    if not isinstance(flow, nn.Module):
        raise TypeError(f"load_weights needs a flow, then a folder; got {type(flow).__name__}.")
    flow.load_state_dict(weights(flow, load(folder, commit)[0], folder))
    return flow


def weights(flow: nn.Module, tensors: Mapping[str, Tensor], path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Those of the tensors of a trainer's checkpoint that are the flow's own.

    Raises    CheckpointError where they do not fit the flow
    """
    found = {name.removeprefix("flow."): t for name, t in tensors.items() if name.startswith("flow.")}
    there, here = ({name: f"{list(t.shape)} of {t.dtype}" for name, t in w.items()} for w in (found, flow.state_dict()))
    for name in sorted({*there, *here}):
        if there.get(name) != here.get(name):
            raise CheckpointError(
                f"{path} holds the weights of another flow: names, shapes or dtypes differ from this one's; {name} is "
                f"{there.get(name, 'missing')} there and {here.get(name, 'missing')} here."
            )
    return found


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
