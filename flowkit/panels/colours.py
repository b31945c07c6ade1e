"""The colours of curves, and what those of a plaquette stand for."""

import math
from typing import NamedTuple

from matplotlib import colormaps
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_hex

# Okabe and Ito's palette, told apart with any colour vision: its darker half for light pages, and what stands for it on
# dark ones.
BLUE, GREEN, VERMILION, PURPLE, BLACK = "#0072B2", "#009E73", "#D55E00", "#CC79A7", "#000000"
SKY, ORANGE, WHITE = "#56B4E9", "#E69F00", "#E0E0E0"
ON_DARK = {BLUE: SKY, GREEN: GREEN, VERMILION: ORANGE, PURPLE: PURPLE, BLACK: WHITE}
RUNS = (BLUE, VERMILION, GREEN, PURPLE)
"""Of runs that are compared; a fifth begins again, and its name and marker tell it from the first."""

# Zero is nearly white, a quarter turn blue or orange, a half turn dark, from whichever side it is reached.
TURN = LinearSegmentedColormap.from_list("turn", ["#1f1b24", "#0072B2", "#f4f2ee", "#D9730D", "#1f1b24"])


class Colours(NamedTuple):
    """What the colours of a plaquette stand for, the same at every scale."""

    label: str
    low: float
    high: float
    ticks: tuple[float, ...]
    texts: tuple[str, ...]
    map: Colormap

    def table(self) -> list[str]:
        """256 colours, from `low` to `high`."""
        return [to_hex(self.map(i)) for i in range(256)]


ANGLE = Colours(
    "plaquette angle",
    -math.pi,
    math.pi,
    (-math.pi, -math.pi / 2, 0.0, math.pi / 2, math.pi),
    ("-π", "-π/2", "0", "π/2", "π"),
    TURN,
)


def trace(n: int) -> Colours:
    """Re Tr P / N: its smallest value is -1 for even N, cos(pi - pi/N) for odd N."""
    low = -1.0 if n % 2 == 0 else -math.cos(math.pi / n)
    return Colours("Re Tr P / N", low, 1.0, (low, 0.0, 1.0), (f"{low:g}", "0", "1"), colormaps["cividis"])
