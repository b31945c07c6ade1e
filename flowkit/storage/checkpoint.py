"""Checkpoints: named tensors and plain JSON, committed together; what comes back equals what was saved bit for bit."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from flowkit.storage.manifest import HEADER_LIMIT, StoreError, parse_json
from flowkit.storage.store import Store

_FORMAT, _KIND = "flowkit checkpoint 1", "a checkpoint"
_TENSORS, _META = "tensors.safetensors", "checkpoint.json"

F = TypeVar("F", bound=nn.Module)


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
        For other content, a full disk, a second writer, or a folder that holds something else; earlier commits stay
        whole.

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
    with _errors():
        return Store(path, keep=keep, kind=_KIND).commit({_META: text, _TENSORS: data})


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """What a store refuses, as CheckpointError."""
    try:
        yield
    except StoreError as error:
        raise CheckpointError(str(error)) from error


def refuse_others(path: str | os.PathLike[str]) -> None:
    """Raise CheckpointError where a folder holds something else, so that `save` would refuse it.

    Parameters
    ----------
    path : path
        The folder; one that is missing or empty is not refused.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from flowkit.storage import CheckpointError, refuse_others
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> refuse_others(folder)
    >>> _ = (folder / "thesis.tex").write_text("")
    >>> try:
    ...     refuse_others(folder)
    ... except CheckpointError as error:
    ...     print(str(error).split(" holds ")[1][:24])
    other files (thesis.tex)
    """
    with _errors():
        Store(path, kind=_KIND).refuse_others()


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
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        opened = Store(path, kind=_KIND).open(commit)
        head = parse_json(opened.read(_META))
        file = opened.path(_TENSORS)
        with file.open("rb") as start:
            if (header := int.from_bytes(start.read(8), "little")) > HEADER_LIMIT:
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
    """Load the weights that a `Trainer` saved into a flow, in place.

    The trainer's action, batch and method are not needed. The lattice may be another one where no weight depends on it.

    Parameters
    ----------
    flow : Module
        Built like the flow that was trained, of the same dtype.
    folder : path
        Folder of the checkpoint.
    commit : str, optional
        Name of a commit; by default the last one.

    Returns
    -------
    Module
        The same flow.

    Raises
    ------
    TypeError
        For an argument that is no flow.
    CheckpointError
        Where the folder is no checkpoint, or is damaged (the message names a commit that is whole), or names, shapes or
        dtypes differ. The flow is then as before.

    Examples
    --------
    >>> import tempfile, flowkit as fk
    >>> def flow(space):
    ...     return fk.Flow(fk.Normal(space), fk.transforms.Affine(space))
    >>> space, folder = fk.sites((4, 4)), tempfile.mkdtemp()
    >>> trainer = fk.Trainer(flow(space), fk.Phi4(space, m2=1.0, lam=0.5)).fit(5, progress=False)
    >>> _ = trainer.save(folder)
    >>> larger = fk.storage.load_weights(flow(fk.sites((8, 8))), folder)
    >>> all(bool((a == b).all()) for a, b in zip(larger.parameters(), trainer.flow.parameters()))
    True
    """
    if not isinstance(flow, nn.Module):
        raise TypeError(f"load_weights needs a flow, then a folder; got {type(flow).__name__}.")
    flow.load_state_dict(weights(flow, load(folder, commit)[0], folder))
    return flow


def weights(flow: nn.Module, tensors: Mapping[str, Tensor], path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The flow's tensors among those of a trainer's checkpoint; CheckpointError where they do not fit the flow."""
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
