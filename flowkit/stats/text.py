"""Numbers with errors, and tables, as text."""

import math
from collections.abc import Sequence

from flowkit.checks import Number, checked


@checked
def format_error(value: Number, error: Number) -> str:
    """A number with its error in brackets: two digits of the error, as many decimals of the value.

    Parameters
    ----------
    value, error : float
        The number and its error; NaN is no error.

    Returns
    -------
    str
        The text.

    Examples
    --------
    >>> from flowkit import stats
    >>> stats.format_error(0.69781, 0.00021), stats.format_error(123.4, 5.67), stats.format_error(1.0, float("nan"))
    ('0.69781(21)', '123.4(5.7)', '1 (no error)')
    """
    if not math.isfinite(error):
        return f"{value:.6g} (no error)"
    if error == 0:
        return f"{value:.8g}(0)"
    decimals = 1 - math.floor(math.log10(error))
    if round(error * 10.0**decimals) >= 100:  # 0.0996 is 0.10
        decimals -= 1
    if decimals > 12:
        return f"{value:.12g}({error:.1e})"
    if decimals <= 0:
        return f"{round(value, decimals):.0f}({round(error, decimals):.0f})"
    digits = f"{error:.{decimals}f}" if round(error, decimals) >= 1 else f"{round(error * 10**decimals)}"
    return f"{value:.{decimals}f}({digits})"


@checked
def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text, each as wide as its longest entry.

    Parameters
    ----------
    header : sequence of str
        The first line.
    rows : sequence of sequence of str
        The other lines, each as long as the header.

    Returns
    -------
    str
        The lines, without blanks at their ends.

    Examples
    --------
    >>> from flowkit import stats
    >>> print(stats.table(["beta", "ESS"], [["1", "0.99"], ["12", "0.9"]]))
    beta  ESS
    1     0.99
    12    0.9
    """
    lines = [header, *rows]
    for line in rows:
        if len(line) != len(header):
            raise ValueError(f"table takes lines as long as the header, {len(header)}; got {len(line)}.")
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
