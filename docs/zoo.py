"""Writes zoo.md: the trained flows that ship with flowkit, from their cards."""

from pathlib import Path

from figures import cell

from flowkit.geometry import format_lattice
from flowkit.stats import format_error
from flowkit.zoo import Card, card, names

PAGE = Path(__file__).parent / "zoo.md"
HEAD = """# Trained flows

These flows ship with flowkit: `fk.pretrained(NAME)` gives one, without a network. A name says field, dimension and
couplings.

```python
import flowkit as fk

flow = fk.pretrained("su3-2d-beta6")
action = fk.zoo.card("su3-2d-beta6").theory.on()
print(fk.importance_sample(flow, action, 1000, observe=[fk.plaquette]).mean(fk.plaquette))
```

The table and the cards below it are generated from what was measured after the training. The same weights serve all
three lattices. `flowkit zoo --train NAME` trains one again, and `flowkit reproduce zoo` all of them. Seconds are those
of one processor. The coverage counts how many error bars, each of 256 draws, held what is known; 0.683 is right.

"""


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def section(one: Card) -> str:
    """One card."""
    training, construction = one.training, one.construction
    options = {**construction.options}
    if construction.coarsest is not None:
        options["coarsest"] = format_lattice(construction.coarsest)
    given = ", ".join(f"{key} = {value}" for key, value in options.items())
    numbers = ", ".join(f"{key} = {value}" for key, value in training.settings.items())
    lines = [
        f"## {one.theory.name}",
        "",
        f"{cell(str(one.theory.on()))}. Flow: `fk.models.{construction.model}`{', ' + cell(given) if given else ''};"
        f" {one.parameters} parameters, {construction.dtype}.",
        f"Training: {training.method}, {cell(numbers)}; {training.seconds:g} s on {cell(training.machine)}, at commit"
        f" {(training.commit or 'unknown')[:10]}, {training.date}. Again: `{one.again}`.",
        "",
    ]
    lines += table(
        ["lattice", "draws", "ESS", "acceptance", "ms a draw"],
        [
            [
                format_lattice(m.lattice),
                str(m.draws),
                format_error(m.ess, m.ess_error),
                f"{m.acceptance:.4f}",
                f"{m.milliseconds:.3g}",
            ]
            for m in one.measured
        ],
    )
    lines += [""]
    lines += table(
        ["lattice", "mean", "value", "known", "deviation in errors"],
        [
            [
                format_lattice(m.lattice),
                cell(mean.name),
                format_error(mean.value, mean.error),
                mean.known_text,
                "" if mean.pull is None else f"{mean.pull:+.1f}",
            ]
            for m in one.measured
            for mean in m.means
        ],
    )
    if one.coverage:
        parts = [f"{c.share:.3f} ± {c.error:.3f} of {c.estimates} of {cell(c.observable)}" for c in one.coverage]
        lines += ["", f"Coverage of error bars: {'; '.join(parts)}."]
    return "\n".join([*lines, ""])


def page() -> str:
    """The whole page."""
    cards = [card(name) for name in names()]
    rows = []
    for one in cards:
        first, *others = one.measured
        more = [f"{format_error(m.ess, m.ess_error)} on {format_lattice(m.lattice)}" for m in others]
        name = one.theory.name
        rows.append(
            [
                f"[{name}](#{name.replace('.', '-')})",
                format_lattice(first.lattice),
                format_error(first.ess, first.ess_error),
                ", ".join(more),
                str(one.parameters),
                f"{one.training.seconds:.0f}",
            ]
        )
    header = ["name", "lattice", "ESS", "ESS elsewhere", "parameters", "seconds of training"]
    return "\n".join([HEAD, *table(header, rows), "", *map(section, cards)])


def write() -> None:
    """Write docs/zoo.md, if it would change."""
    text = page()
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        PAGE.write_text(text, encoding="utf-8")
