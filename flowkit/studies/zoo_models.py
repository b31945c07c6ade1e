"""The flows that ship with the package, as data: theory, flow, training, and where each is measured."""

from typing import NamedTuple

from flowkit.zoo import Construction, Theory, Training


class Entry(NamedTuple):
    """A flow to train."""

    theory: Theory
    construction: Construction
    training: Training
    lattices: tuple[tuple[int, ...], ...]
    """Where it is measured, that of the training first."""
    draws: tuple[int, ...]
    """On each of them."""


def _plane(group: str, beta: float) -> Entry:
    """Links in two dimensions."""
    theory = Theory(action="Wilson", group=group, lattice=(16, 16), couplings={"beta": beta})
    lattices = ((16, 16), (32, 32), (64, 64))
    if group == "SU3":
        # Haar measure on lattices whose coarsest plaquettes have area 16, or 32: u_3^area is below 1e-5.
        construction = Construction(
            model="multiscale_flow",
            options={"strength": beta},
            coarsest=(2, 4) if beta > 6 else (4, 4),
            dtype="float32",
        )
        training = Training(method="level by level", settings={"steps": 4000, "batch": 1024, "lr": 0.01, "seed": 1})
        return Entry(theory, construction, training, lattices, (12800, 4096, 1024))
    construction = Construction(model="multiscale_flow")
    batch = 2048 if group == "U1" else 1024
    training = Training(method="natural gradient", settings={"steps": 60, "batch": batch, "seed": 1})
    return Entry(theory, construction, training, lattices, (25600, 4096, 1024))


def _dressed(group: str, beta: float, ndim: int, draws: tuple[int, int, int]) -> Entry:
    """Dressed staples in three and four dimensions."""
    lattice = (4,) * ndim
    theory = Theory(action="Wilson", group=group, lattice=lattice, couplings={"beta": beta})
    more: dict[str, bool | str] = {"order": "cells", "powers": False} if ndim > 3 else {}
    construction = Construction(model="dressed_flow", options={"beta": beta, **more}, dtype="float32")
    settings = {"fields": 2048, "images": 1, "natural": 2, "batch": 2048, "seed": 1}
    training = Training(method="maximum likelihood", settings=settings)
    lattices = (lattice, (8, *lattice[1:]), (8, 8, *lattice[2:]) if ndim == 3 else (2, *lattice[1:]))
    return Entry(theory, construction, training, lattices, draws)


def _photons(beta: float, ndim: int, draws: tuple[int, int, int]) -> Entry:
    """Photons and monopoles of U(1) at weak coupling."""
    lattice = (4,) * ndim
    theory = Theory(action="Wilson", group="U1", lattice=lattice, couplings={"beta": beta})
    construction = Construction(model="photon_flow", options={"beta": beta})
    batch = 256 if ndim == 3 else 64
    settings = {"steps": 60, "batch": batch, "lr": 0.003, "warmup": 5, "final": 0.05, "seed": 1}
    training = Training(method="reverse KL", settings=settings)
    return Entry(theory, construction, training, (lattice, (8, *lattice[1:]), (8, 8, *lattice[2:])), draws)


def _ladder(side: int, beta: float, steps: int) -> Entry:
    """phi^4 on the line of constant L / xi = 4."""
    couplings = {"beta": beta, "lam": 0.5}
    theory = Theory(action="Phi4Hopping", group="Real", lattice=(side, side), couplings=couplings)
    construction = Construction(model="scalar_multiscale_flow", dtype="float32")
    settings = {"steps": steps, "batch": 256, "lr": 0.008, "warmup": 30, "final": 0.0, "seed": 1}
    lattices = ((side, side), (2 * side, side), (2 * side, 2 * side))
    return Entry(
        theory, construction, Training(method="path gradient", settings=settings), lattices, (25600, 8192, 8192)
    )


ENTRIES = {
    entry.theory.name: entry
    for entry in (
        *(_plane("U1", beta) for beta in (1.0, 2.0, 4.0, 6.0, 12.0)),
        *(_plane("SU2", beta) for beta in (1.8, 2.2, 2.7, 8.0)),
        *(_plane("SU3", beta) for beta in (4.0, 6.0)),
        _dressed("U1", 1.0, 3, (12800, 2048, 1024)),
        *(_photons(beta, 3, (25600, 4096, 2048)) for beta in (2.0, 3.0)),
        _dressed("U1", 0.5, 4, (5120, 512, 5120)),
        _ladder(8, 0.576, 600),
        _ladder(16, 0.634, 900),
    )
}
