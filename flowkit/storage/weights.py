"""The weights of a flow: out of a trainer's checkpoint, and in a file of their own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from flowkit.storage.checkpoint import CheckpointError, load
from flowkit.storage.tensors import tensors_of

F = TypeVar("F", bound=nn.Module)


def load_weights(flow: F, folder: str | os.PathLike[str], commit: str | None = None) -> F:
    """Load the weights that a `Trainer` or `save_weights` saved into a flow, in place.

    The trainer's action, batch and method are not needed. The lattice may be another one where no weight depends on it.

    Parameters
    ----------
    flow : Module
        Built like the flow that was trained, of the same dtype.
    folder : path
        Folder of the checkpoint, or the file that `save_weights` wrote.
    commit : str, optional
        Name of a commit of the folder; by default the last one.

    Returns
    -------
    Module
        The same flow.

    Raises
    ------
    TypeError
        For an argument that is no flow.
    CheckpointError
        Where the folder is no checkpoint, or is damaged (the message names a commit that is whole), where the file is
        no safetensors file, where names, shapes or dtypes differ, or a weight is NaN or infinite. The flow is then as
        before.

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
    file = Path(folder).is_file()
    flow.load_state_dict(weights(flow, _of_file(Path(folder)) if file else load(folder, commit)[0], folder))
    return flow


def save_weights(flow: nn.Module, file: str | os.PathLike[str]) -> None:
    """Write the weights of a flow to one safetensors file, as other programs read it; `load_weights` reads it too.

    Parameters
    ----------
    flow : Module
        Its `state_dict`, of real numbers.
    file : path
        The file; an older one is replaced.

    Raises
    ------
    TypeError
        For an argument that is no flow.
    CheckpointError
        For a weight that is complex, NaN or infinite. Nothing is then written.

    Notes
    -----
    Names are those of `state_dict` after "flow.", as in a trainer's checkpoint.

    Examples
    --------
    >>> import tempfile, torch, flowkit as fk
    >>> space, file = fk.links((4, 4), fk.U1()), tempfile.mkdtemp() + "/model.safetensors"
    >>> flow = fk.multiscale_flow(space)
    >>> fk.storage.save_weights(flow, file)
    >>> copy = fk.storage.load_weights(fk.multiscale_flow(space), file)
    >>> all(torch.equal(a, b) for a, b in zip(flow.parameters(), copy.parameters(), strict=True))
    True
    """
    from safetensors.torch import save

    if not isinstance(flow, nn.Module):
        raise TypeError(f"save_weights needs a flow, then a file; got {type(flow).__name__}.")
    tensors = {name: t.detach().cpu() for name, t in flow.state_dict().items()}
    bad = not_finite(tensors) or ", ".join(name for name, t in tensors.items() if t.is_complex())
    if bad:
        raise CheckpointError(f"{file} is to hold real, finite weights; not so are {bad}.")
    # A copy of its own: safetensors refuses two names of one memory.
    Path(file).write_bytes(save({f"flow.{name}": t.clone().contiguous() for name, t in tensors.items()}))


def _of_file(file: Path) -> dict[str, Tensor]:
    try:
        return tensors_of(bytearray(file.read_bytes()))
    except ValueError as error:
        raise CheckpointError(f"{file} is no safetensors file: {error}.") from error


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
    if bad := not_finite(found):
        raise CheckpointError(f"{path} holds weights that are NaN or infinite: {bad}.")
    return found


def not_finite(tensors: Mapping[str, Tensor]) -> str:
    """The names of the first tensors that hold NaN or infinity, and how many more do; empty where all are finite."""
    bad = [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    return ", ".join(bad[:3]) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "")


def said_of(tensors: Mapping[str, Tensor]) -> str:
    """Whether the weights are finite, and what becomes of checkpoints, for a message."""
    bad = not_finite(tensors)
    weights = f"The weights {bad} are NaN or infinite" if bad else "The weights are finite"
    return f"{weights}, and every checkpoint is kept; try a smaller lr or clip."
