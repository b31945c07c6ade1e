"""What `flowkit zoo` prints and writes: the list of trained flows, the card of one, and a new training."""

import json
from collections.abc import Callable
from pathlib import Path

from flowkit.geometry import format_lattice
from flowkit.stats import format_error, table
from flowkit.zoo import Card, card, names, put

HOW_TO = """
flowkit zoo NAME shows the card of one, flowkit zoo --train NAME trains it again.
In Python: flow = fk.pretrained(NAME)"""


def listing(as_json: bool) -> str:
    """All trained flows: lattice of the training, ESS there and on two others, parameters, seconds of training."""
    cards = [card(name) for name in names()]
    if as_json:
        return json.dumps({"flows": [one.model_dump(mode="json") for one in cards]})
    rows = []
    for one in cards:
        first, *others = one.measured
        rows.append(
            (
                one.theory.name,
                format_lattice(first.lattice),
                _ess(first.ess),
                ", ".join(f"{_ess(m.ess)} on {format_lattice(m.lattice)}" for m in others),
                str(one.parameters),
                f"{one.training.seconds:.0f}",
            )
        )
    header = ("name", "lattice", "ESS", "and", "parameters", "processor seconds of training")
    return table(header, rows) + "\n" + HOW_TO


def report(one: Card) -> str:
    """A card as text."""
    options = {**one.construction.options}
    if one.construction.coarsest is not None:
        options["coarsest"] = format_lattice(one.construction.coarsest)
    given = ", ".join(f"{key} = {value}" for key, value in options.items())
    numbers = ", ".join(f"{key} = {value}" for key, value in one.training.settings.items())
    lines = [
        f"{one.theory.name}: {one.theory.on()}",
        f"flow: {one.construction.model}, {given or 'defaults'}; {one.parameters} parameters, {one.construction.dtype}",
        f"training: {one.training.method}, {numbers}",
        f"{one.training.seconds:g} processor seconds on {one.training.machine}",
        f"at commit {(one.training.commit or 'unknown')[:10]}, {one.training.date}; again: {one.again}",
        "",
        table(
            ("lattice", "draws", "ESS", "acceptance", "ms a draw"),
            [
                (
                    format_lattice(m.lattice),
                    str(m.draws),
                    format_error(m.ess, m.ess_error),
                    f"{m.acceptance:.4f}",
                    f"{m.milliseconds:.3g}",
                )
                for m in one.measured
            ],
        ),
        "",
        table(
            ("lattice", "mean", "value", "known", "sigma"),
            [
                (
                    format_lattice(m.lattice),
                    mean.name,
                    format_error(mean.value, mean.error),
                    mean.known_text,
                    "" if mean.pull is None else f"{mean.pull:+.1f}",
                )
                for m in one.measured
                for mean in m.means
            ],
        ),
    ]
    lines += [
        f"coverage of {c.estimates} error bars of {c.observable}, of {c.draws} draws each: {c.share:.3f}, "
        f"where 0.683 +- {c.error:.3f} is right"
        for c in one.coverage
    ]
    return "\n".join(lines)


def train(name: str, folder: Path, say: Callable[[str], None]) -> None:
    """Train the flow of that name, or "all", again, and store each with its card in the folder."""
    from flowkit.studies.zoo import entry_of, trained
    from flowkit.studies.zoo_models import ENTRIES

    entries = [*ENTRIES.values()] if name == "all" else [entry_of(name)]
    for entry in entries:
        flow, made = trained(entry, say)
        put(flow, made, folder)
        say(f"{made.theory.name} is in {folder}; fk.pretrained({made.theory.name!r}, folder={str(folder)!r})")


def _ess(value: float) -> str:
    """To four digits below 1."""
    return f"{value:.4f}" if value < 0.99995 else f"1 - {1 - value:.0e}"
