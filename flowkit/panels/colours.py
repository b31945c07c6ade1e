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
RUNS = (BLUE, VERMILION, GREEN, PURPLE)
"""Of runs that are compared; a fifth begins again, and its name and marker tell it from the first."""

# Zero is nearly white, a quarter turn blue or orange, a half turn dark, from whichever side it is reached.
TURN = LinearSegmentedColormap.from_list("turn", ["#1f1b24", "#0072B2", "#f4f2ee", "#D9730D", "#1f1b24"])

# Zero is nearly white, one sign blue, the other orange, darker the larger.
SIGNED = LinearSegmentedColormap.from_list("signed", ["#06263d", "#0072B2", "#f4f2ee", "#D9730D", "#4a1f00"])


class Colours(NamedTuple):
    """What the colours of a field stand for, the same in every picture of a panel."""

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


# theta_P / 2 pi: the same turn.
CHARGE = Colours("charge density θ_P / 2π", -0.5, 0.5, (-0.5, -0.25, 0.0, 0.25, 0.5), ("-½", "-¼", "0", "¼", "½"), TURN)


def trace(n: int, label: str = "Re Tr P / N") -> Colours:
    """Re Tr / N: its smallest value is -1 for even N and for U(1), cos(pi - pi/N) for odd N from 3 on."""
    low = -1.0 if n % 2 == 0 or n == 1 else -math.cos(math.pi / n)
    return Colours(label, low, 1.0, (low, 0.0, 1.0), (f"{low:g}", "0", "1"), colormaps["cividis"])


def signed(label: str, largest: float) -> Colours:
    """Numbers of both signs up to `largest`, rounded up to two digits."""
    step = 10.0 ** (math.floor(math.log10(largest)) - 1) if largest > 0 else 1.0
    high = max(1.0, math.ceil(largest / step)) * step
    return Colours(label, -high, high, (-high, 0.0, high), (f"{-high:.2g}", "0", f"{high:.2g}"), SIGNED)


def of_quantity(quantity: str, group: str, largest: float) -> Colours:
    """The colours of a quantity of `FieldNumbers`."""
    n = int(group.strip("SU()")) if group.startswith("SU") else 1
    if quantity == "angle":
        return ANGLE
    if quantity in ("plaquette", "link"):
        what = "P" if quantity == "plaquette" else "U"
        return trace(n, f"Re Tr {what} / N")
    if quantity == "charge" and n == 1:
        return CHARGE
    return signed("field φ" if quantity == "phi" else "charge density q", largest)
