"""Estimates by name, shown as a table."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping

from flowkit.checks import checked
from flowkit.stats.estimates import Estimate
from flowkit.stats.text import format_error, table


class Estimates(Mapping[str, Estimate]):
    """Estimates by the names of what they are of.

    Printed, or at the end of a cell of a notebook, it is a table: values with errors, autocorrelation times, the exact
    values that are known with their distance in standard errors, and notes.

    Parameters
    ----------
    estimates : mapping
        Estimate by name.

    Examples
    --------
    >>> import flowkit as fk
    >>> plaquette = fk.stats.Estimate(0.69781, 0.00021, 0.52, 0.02, 10_000, exact=0.697775)
    >>> fk.stats.Estimates({"plaquette": plaquette})
               value        tau_int    exact     sigma
    plaquette  0.69781(21)  0.520(20)  0.697775  +0.2
    """

    @checked
    def __init__(self, estimates: Mapping[str, Estimate]):
        self._estimates = dict(estimates)

    def __getitem__(self, name: str) -> Estimate:
        return self._estimates[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._estimates)

    def __len__(self) -> int:
        return len(self._estimates)

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """The header and the lines of the table; columns that hold nothing are left out."""
        header = ["", "value", "tau_int", "exact", "sigma", "note"]
        lines = []
        for name, one in self.items():
            pull = one.pull() if one.exact is not None else math.nan
            tau = format_error(one.tau_int, one.tau_int_error) if one.tau_int_error > 0 else ""
            lines.append(
                [
                    name,
                    format_error(one.value, one.error),
                    tau,
                    "" if one.exact is None else f"{one.exact:.8g}",
                    f"{pull:+.1f}" if math.isfinite(pull) else "",
                    one.note,
                ]
            )
        kept = [i for i in range(len(header)) if i < 2 or any(line[i] for line in lines)]
        return [header[i] for i in kept], [[line[i] for i in kept] for line in lines]

    def __repr__(self) -> str:
        return table(*self.rows())

    def _repr_html_(self) -> str:
        def line(cells: list[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        header, lines = self.rows()
        body = "".join(line(cells, "td") for cells in lines)
        return f"<table><thead>{line(header, 'th')}</thead><tbody>{body}</tbody></table>"
