"""Where trained flows and their cards lie, and how they come back."""

import hashlib
import os
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from pydantic import ValidationError

from flowkit.checks import Count, checked
from flowkit.priors import Prior
from flowkit.storage import CheckpointError, load_weights, save_weights
from flowkit.storage.tensors import said
from flowkit.zoo.card import Card

SHIPPED = Path(__file__).parent / "shipped"
"""The flows of this package."""
PathLike = str | os.PathLike[str]


@checked
def pretrained(name: str, lattice: Sequence[Count] | None = None, folder: PathLike | None = None) -> Prior:
    """A trained flow by its name; no network is needed.

    Parameters
    ----------
    name : str
        Field, dimension and couplings, as "u1-2d-beta6", "su3-2d-beta6", "phi4-2d-beta0.576-lam0.5". `names` lists all.
    lattice : sequence of int, optional
        Sides of another lattice for the same weights; by default that of the training. The card says what the effective
        sample size was on three lattices.
    folder : path, optional
        Where `put` stored flows of your own; by default the flows that ship with flowkit.

    Returns
    -------
    Prior
        The flow, with the dtype of its training. It may be trained further.

    Raises
    ------
    ValueError
        For an unknown name, with those like it, or a lattice that the flow has no form on.
    CheckpointError
        For files that are damaged.

    See Also
    --------
    card : The theory, the training and what was measured.

    Examples
    --------
    >>> import flowkit as fk
    >>> flow = fk.pretrained("su3-2d-beta6")
    >>> flow.sample(2, rng=1).shape
    torch.Size([2, 2, 16, 16, 3, 3])
    >>> action = fk.zoo.card("su3-2d-beta6").theory.on((16, 16))
    >>> fk.importance_sample(flow, action, 500, rng=1).ess().value > 0.98
    True
    """
    place, of = _folder(folder), card(name, folder)
    file = place / f"{name}.safetensors"
    try:
        found = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(f"{file} could not be read: {error.strerror}.") from error
    if found != of.sha256:
        raise CheckpointError(f"{file} is not the file of its card: its SHA-256 is {found[:12]}, not {of.sha256[:12]}.")
    flow = load_weights(of.construction.flow(of.theory.space), file)
    return flow if lattice is None else flow.on(flow.space.on(lattice))


@checked
def card(name: str, folder: PathLike | None = None) -> Card:
    """What is known of a trained flow.

    Parameters
    ----------
    name, folder
        As of `pretrained`.

    Returns
    -------
    Card

    Raises
    ------
    ValueError
        For an unknown name, with those like it, or a file that is no card.

    Examples
    --------
    >>> import flowkit as fk
    >>> card = fk.zoo.card("u1-2d-beta6")
    >>> card.theory.couplings, card.parameters
    ({'beta': 6.0}, 128)
    """
    known = names(folder)
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"There is no trained flow called {name!r:.80}.{hint} flowkit zoo lists all {len(known)}.")
    file = _folder(folder) / f"{name}.json"
    try:
        return Card.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{file} is no card: {said(error)}.") from error


@checked
def names(folder: PathLike | None = None) -> list[str]:
    """The names of all trained flows.

    Parameters
    ----------
    folder : path, optional
        As of `pretrained`.

    Returns
    -------
    list of str

    Examples
    --------
    >>> import flowkit as fk
    >>> [name for name in fk.zoo.names() if name.startswith("u1-2d")][:2]
    ['u1-2d-beta1', 'u1-2d-beta2']
    """
    return sorted((file.stem for file in _folder(folder).glob("*.json")), key=_in_order)


def put(flow: Prior, card: Card, folder: PathLike) -> None:
    """Store a trained flow with its card, for `pretrained` with that folder.

    Parameters
    ----------
    flow : Prior
        As its card constructs it, with trained weights.
    card : Card
        Its SHA-256 is replaced by that of the weights.
    folder : path
        Made where it is missing.

    Raises
    ------
    CheckpointError
        For weights that are not finite.

    Examples
    --------
    >>> import tempfile, flowkit as fk
    >>> folder, flow = tempfile.mkdtemp(), fk.pretrained("u1-2d-beta2")
    >>> fk.zoo.put(flow, fk.zoo.card("u1-2d-beta2"), folder)
    >>> fk.zoo.names(folder), fk.pretrained("u1-2d-beta2", folder=folder).space == flow.space
    (['u1-2d-beta2'], True)
    """
    place, name = Path(folder), card.theory.name
    place.mkdir(parents=True, exist_ok=True)
    file = place / f"{name}.safetensors"
    save_weights(flow, file)
    whole = card.model_copy(update={"sha256": hashlib.sha256(file.read_bytes()).hexdigest()})
    (place / f"{name}.json").write_text(whole.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _folder(folder: PathLike | None) -> Path:
    return SHIPPED if folder is None else Path(folder)


def _in_order(name: str) -> list[str | float]:
    """Text and numbers in turn, for an order in which 6 comes before 16."""
    parts = re.split(r"(\d+(?:\.\d+)?)", name)
    return [float(part) if i % 2 else part for i, part in enumerate(parts)]
