"""The colours of curves, and what those of a field stand for."""

import math
from typing import NamedTuple

from matplotlib import colormaps
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_hex

# Okabe and Ito's palette, told apart with any colour vision: its darker half for light pages, and what stands for it on
# dark ones.
BLUE, GREEN, VERMILION, PURPLE, BLACK = "#0072B2", "#009E73", "#D55E00", "#CC79A7", "#000000"
SKY, ORANGE, WHITE = "#56B4E9", "#E69F00", "#E0E0E0"
ON_DARK = {BLUE: SKY, GREEN: GREEN, VERMILION: ORANGE, PURPLE: PURPLE, BLACK: WHITE}
INK = "#767676"
"""Of text, axes and black lines in pictures that lie on the page itself: it reads on white and on black alike."""
RUNS = (BLUE, VERMILION, GREEN, PURPLE)
"""Of runs that are compared; a fifth begins again, and its name and marker tell it from the first."""

# Zero is nearly white, one sign blue, the other orange. Of a turn both ends are the same dark colour; of signed numbers
# they are two.
_MIDDLE = ["#0072B2", "#f4f2ee", "#D9730D"]
PALETTES: dict[str, Colormap] = {
    "turn": LinearSegmentedColormap.from_list("turn", ["#1f1b24", *_MIDDLE, "#1f1b24"]),
    "signed": LinearSegmentedColormap.from_list("signed", ["#06263d", *_MIDDLE, "#4a1f00"]),
    "plain": colormaps["cividis"],
}


class Colours(NamedTuple):
    """What the colours of a field stand for, the same in every picture of a panel.

    Attributes
    ----------
    label : str
        The name of the numbers with their unit.
    low, high : float
        The numbers that the first and the last colour stand for.
    ticks : tuple of float
        Numbers that are marked.
    texts : tuple of str
        What stands there.
    map : Colormap
        matplotlib's map from 0 (low) to 1 (high).
    """

    label: str
    low: float
    high: float
    ticks: tuple[float, ...]
    texts: tuple[str, ...]
    map: Colormap

    def table(self) -> list[str]:
        """256 colours, from `low` to `high`."""
        return [to_hex(self.map(i)) for i in range(256)]


def colours(label: str, low: float, high: float, texts: tuple[str, ...], palette: str, largest: float) -> Colours:
    """The colours of numbers from low to high; where they are infinite, up to `largest`.

    Parameters
    ----------
    label : str
        The name of the numbers with their unit.
    low, high : float
        The range, the same for all pictures that are compared.
    texts : tuple of str
        Text at evenly spaced places; empty for the numbers themselves, zero among them.
    palette : str
        "turn", "signed" or "plain".
    largest : float
        Largest absolute value, rounded up to two digits where it is used.
    """
    if not math.isfinite(high):
        step = 10.0 ** (math.floor(math.log10(largest)) - 1) if largest > 0 else 1.0
        high = max(1.0, math.ceil(largest / step)) * step  # two digits, rounded up
        low = low if math.isfinite(low) else -high
    n = len(texts) - 1
    own = (low, 0.0, high) if low < 0 else (low, (low + high) / 2, high)
    ticks = tuple(low + (high - low) * i / n for i in range(n + 1)) if texts else own
    return Colours(label, low, high, ticks, texts or tuple(f"{tick:.2g}" for tick in ticks), PALETTES[palette])
