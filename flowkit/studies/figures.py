"""The figures this project claims, as data: what `flowkit reproduce` lists and runs again.

To add one, write a study and one entry here. A study is a function of keyword settings with defaults, `quick`
among them, that returns its rows.
"""

import inspect
import json
import math
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import GenericAlias
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, FiniteFloat, TypeAdapter, ValidationError

from flowkit._version import __version__
from flowkit.tasks.machine import Machine, describe

Setting = bool | int | float | str


class Row(BaseModel):
    """One number of a figure: value ± error, what was aimed at, what was published, and whether the aim is reached.

    A goal may be words (">= 0.46", "within 3 errors"); `reached` is None where the number has no goal.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str
    value: FiniteFloat | str
    error: FiniteFloat | None = None
    goal: FiniteFloat | str | None = None
    published: FiniteFloat | str | None = None
    reached: bool | None = None

    @property
    def text(self) -> str:
        """The value with its error."""
        return plus_minus(self.value, self.error)


class Record(BaseModel):
    """One run of a figure, with all that is needed to judge it; `flowkit reproduce --json` prints it.

    `commit` is the one that was checked out when the run began, with "-dirty" for changes on top; None without git.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    rows: list[Row]
    seconds: FiniteFloat
    machine: Machine
    quick: bool
    flowkit: str
    torch: str
    settings: dict[str, Any]
    commit: str | None = None
    date: str | None = None
    """Of the day, UTC."""


@dataclass(frozen=True)
class Figure:
    """A claim that can be run again.

    study          "module:function"; imported when it is used
    published      what the cited work reached, in words
    about_seconds  of a full run on two CPU cores
    quick          what `--quick` leaves out
    """

    name: str
    title: str
    study: str
    citation: str
    published: str
    about_seconds: int
    quick: str

    def function(self) -> Callable[..., list[dict[str, Any]]]:
        """The study itself."""
        module, _, name = self.study.partition(":")
        function: Callable[..., list[dict[str, Any]]] = getattr(import_module(module), name)
        return function

    def defaults(self) -> dict[str, Any]:
        """The settings that `--set` may change, with their defaults."""
        parameters = inspect.signature(self.function()).parameters
        return {name: p.default for name, p in parameters.items() if name != "quick"}

    def settings(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Settings from text, each converted to the type of its default.

        Raises
        ------
        ValueError
            For a setting that the study does not have, or a text that does not fit.
        """
        defaults = self.defaults()
        return {key: _convert(self.name, key, text, defaults) for key, text in texts.items()}

    def run(self, quick: bool = False, **settings: Any) -> Record:
        """Run the study.

        Raises
        ------
        ValueError
            For a setting that the study does not have, or rows that are not those of a figure.
        """
        defaults = self.defaults()
        for key in settings:
            _known(self.name, key, defaults)
        commit, date = _commit(), datetime.now(UTC).date().isoformat()
        start = time.perf_counter()
        rows = self.function()(quick=quick, **settings)
        seconds = time.perf_counter() - start
        machine = describe()
        try:
            return Record(
                name=self.name,
                rows=[Row.model_validate(row) for row in rows],
                seconds=round(seconds, 2),
                machine=machine,
                quick=quick,
                flowkit=__version__,
                torch=machine.torch,
                settings={**defaults, **settings},
                commit=commit,
                date=date,
            )
        except ValidationError as error:
            first = error.errors()[0]
            where, what = ".".join(map(str, first["loc"])), first["msg"]
            raise ValueError(f"{self.study} must return rows of a figure; in {where}: {what}.") from error


def _commit() -> str | None:
    """The commit of the checkout that holds this package, or None where git knows none."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL).strip()  # noqa: S603

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # an environment may stand inside another checkout
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return None


def plus_minus(value: float | str, error: float | None) -> str:
    """The value to the second digit of its error: 0.6978 ± 0.0012."""
    if isinstance(value, str) or error is None or not error > 0:
        return value if isinstance(value, str) else f"{value:.6g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def find(name: str) -> Figure:
    """The figure of that name.

    Raises
    ------
    ValueError
        Where there is none, with the nearest name.
    """
    if name not in FIGURES:
        near = get_close_matches(name, FIGURES, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ValueError(f"The figures are {', '.join(FIGURES)}; got {name!r}.{hint}")
    return FIGURES[name]


def _known(figure: str, key: str, defaults: Mapping[str, Any]) -> None:
    if key not in defaults:
        near = get_close_matches(key, defaults, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ValueError(f"{figure} has the settings {', '.join(defaults) or 'none'}; got {key!r}.{hint}")


def _convert(figure: str, key: str, text: str, defaults: Mapping[str, Any]) -> Any:
    _known(figure, key, defaults)
    default = defaults[key]
    if isinstance(default, str):
        return text
    scalar = isinstance(default, get_args(Setting))
    if not scalar and not (isinstance(default, tuple) and default):
        raise ValueError(f"{figure} takes {key} from Python alone; its default is {default!r}.")
    kind: Any = type(default) if scalar else GenericAlias(tuple, (type(default[0]), ...))
    try:
        return TypeAdapter(kind).validate_python(text if scalar else json.loads(f"[{text.strip('()[] ')}]"))
    except ValueError as error:
        such = '"a","b"' if isinstance(default, tuple) and isinstance(default[0], str) else "1,2"
        name = type(default).__name__ if scalar else f"list of {type(default[0]).__name__}, such as {such}"
        raise ValueError(f"{figure} takes {key} as {name}; got {text!r}.") from error


_TUTORIAL = "Albergo et al., 2101.08176"
_SUN_FLOWS = "Boyda et al., 2008.05456"

FIGURES = {
    figure.name: figure
    for figure in (
        Figure(
            "phi4-tutorial",
            "phi^4 on 8x8, m2 = -4, lambda = 8: the tutorial's network",
            "flowkit.studies.phi4:phi4_tutorial",
            _TUTORIAL,
            "acceptance 0.463",
            620,
            "one seed and fewer steps",
        ),
        Figure(
            "phi4-8x8",
            "phi^4 on 8x8, m2 = -4, lambda = 8: the default scalar flow",
            "flowkit.studies.phi4:phi4_8x8",
            _TUTORIAL,
            "acceptance 0.463",
            130,
            "fewer training steps and fewer draws",
        ),
        Figure(
            "path-gradient",
            "phi^4 on 8x8: cost and gain of path gradients against plain reverse KL",
            "flowkit.studies.phi4:path_gradient",
            "Vaitl, Nicoli, Nakajima and Kessel, 2207.08219",
            "better at equal time",
            110,
            "three seconds of training each",
        ),
        Figure(
            "u1-8x8",
            "U(1) on 8x8, beta = 2: the default gauge flow",
            "flowkit.studies.u1:u1_8x8",
            _TUTORIAL,
            "acceptance 0.2285",
            180,
            "fewer training steps and fewer draws",
        ),
        Figure(
            "baselines",
            "HMC and heatbath against exact values: U(1), SU(2), SU(3)",
            "flowkit.studies.baselines:baselines",
            "Migdal, Sov. Phys. JETP 42 (1975) 413",
            "exact values",
            950,
            "fewer sweeps and the smaller lattices alone",
        ),
        Figure(
            "sun-kernels",
            "Speed of the SU(2) and SU(3) kernels over torch, complex64, forward and with gradients",
            "flowkit.studies.sun_kernels:sun_kernels",
            "torch.linalg; Higham, Functions of Matrices (2008)",
            "batched @, eigh, svd, matrix_exp of torch",
            90,
            "a tenth of the batch, three repetitions",
        ),
        Figure(
            "kernel-gains",
            "What each C kernel gains where users meet it: training steps, trajectories, draws",
            "flowkit.studies.kernel_gains:kernel_gains",
            "torch on the same machine",
            "1.3 times, or the kernel is not worth its source",
            240,
            "smaller lattices and batches, two repetitions",
        ),
        Figure(
            "matrix-models",
            "One matrix of SU(2), SU(3), SU(4): the spectral flow against the exact integral",
            "flowkit.studies.matrix:matrix_models",
            "Boyda et al., 2008.05456; the normflow package",
            "ESS 0.978 (SU(2), beta 4), 0.9999 (SU(3), beta 6)",
            50,
            "fewer and smaller training steps, fewer draws",
        ),
        Figure(
            "su2-2d",
            "SU(2) in two dimensions, 8x8 and 16x16, beta 1.8, 2.2, 2.7: the default gauge flow",
            "flowkit.studies.sun:su2_2d",
            _SUN_FLOWS,
            "ESS 0.91, 0.80, 0.56 on 16x16",
            510,
            "4x4 alone, fewer steps and draws",
        ),
        Figure(
            "su3-2d",
            "SU(3) in two dimensions, 8x8 and 16x16, beta 4, 5, 6: the default gauge flow",
            "flowkit.studies.sun:su3_2d",
            _SUN_FLOWS,
            "ESS 0.88, 0.75, 0.48 on 16x16",
            2200,
            "4x4 alone, fewer steps and draws",
        ),
        Figure(
            "active-loops",
            "Learned active loops against plaquettes: SU(3) in 2D, 4x4, and SU(2) in 4D, 4^4",
            "flowkit.studies.sun:active_loops",
            "2502.00263",
            "ESS 0.79 with learned loops, 0.22 without",
            350,
            "fewer steps and draws",
        ),
        Figure(
            "multiscale-u1-2d",
            "U(1) in two dimensions from 16x16 to 256x256, beta 1 to 16: multiscale, staple flows",
            "flowkit.studies.multiscale:multiscale_u1_2d",
            "2404.10819",
            "ESS 0.341, 0.297, 0.277 on 16x16 at beta 8, 12, 16",
            480,
            "beta 2 on 16x16 alone, smaller batches, fewer draws",
        ),
        Figure(
            "multiscale-phi4",
            "phi^4, m2 = -4, on 16x16 (lambda = 4.98) and 32x32 (lambda = 4.572): multiscale, weights carried over",
            "flowkit.studies.multiscale_phi4:multiscale_phi4",
            "Gerdes et al., 2207.00283",
            "ESS 0.90 on 32x32 after long training on a GPU",
            510,
            "few training steps, few draws and a short Monte Carlo",
        ),
        Figure(
            "multiscale-su2-2d",
            "SU(2) in two dimensions, 16x16 and 32x32, beta 1.8, 2.2, 2.7, 8: multiscale, staple flows",
            "flowkit.studies.multiscale_sun:multiscale_su2_2d",
            "2404.10819; " + _SUN_FLOWS,
            "ESS 0.91, 0.80, 0.56 on 16x16 at beta 1.8, 2.2, 2.7 (2008.05456)",
            650,
            "beta 2.2 on 8x8 alone, smaller batches, fewer draws",
        ),
        Figure(
            "multiscale-su3-2d",
            "SU(3) in two dimensions, 16x16 and 32x32, beta 4, 5, 6, 12: multiscale, staple flows",
            "flowkit.studies.multiscale_sun:multiscale_su3_2d",
            "2404.10819; " + _SUN_FLOWS,
            "ESS 0.88, 0.75, 0.48 on 16x16 at beta 4, 5, 6 (2008.05456)",
            940,
            "beta 6 on 8x8 alone, fewer steps and draws",
        ),
        Figure(
            "multiscale-cost",
            "U(1) on 16x16, beta 2, 6, 12: seconds per independent configuration, multiscale against heatbath and HMC",
            "flowkit.studies.multiscale_cost:multiscale_cost",
            "2404.10819",
            "heatbath with overrelaxation and HMC on the same machine",
            720,
            "beta 6 alone, 2 seconds for each sampler",
        ),
        Figure(
            "gradient-flow-su3",
            "SU(3) on 8x8, beta 6, and SU(2), U(1): trivializing gradient flows of few Wilson loops",
            "flowkit.studies.gradient_flow:gradient_flow_su3",
            "Luescher, 0907.5491; Bacchio, Kessel, Schaefer and Vaitl, 2212.08469",
            "14 parameters rival a million",
            360,
            "fewer and smaller training steps, fewer draws, no 16x16",
        ),
        Figure(
            "trivializing-phi4",
            "phi^4, lambda = 1/2: HMC and HMC in the variables of one affine coupling, 8x8 and the ladder L/xi = 4",
            "flowkit.studies.trivializing:trivializing_phi4",
            "Albandea et al., 2302.08408",
            "tau HMC 21.7, 27.9, 71, 720, FHMC 3.7, 3.7, 12, 148 on 8x8 at beta .586, .6, .65, .7",
            900,
            "one beta, one side, two footprints, short chains",
        ),
        Figure(
            "coarser-phi4",
            "phi^4, lambda = 1/2, on 20x20 and 40x40: HMC in the variables of coarser theories",
            "flowkit.studies.coarser:coarser_phi4",
            "Albandea et al., 2302.08408, and its sequel on coarser lattices",
            "tau_M 570 (HMC), 420, 269 and 164.5 (four configurations twice) on 40x40",
            1900,
            "12x12 alone, short training and short chains",
        ),
        Figure(
            "best-map-phi4",
            "phi^4, lambda = 1/2, on 20x20 and 40x40: HMC of half of the sites, with low modes scaled",
            "flowkit.studies.coarser:best_map_phi4",
            "Albandea et al., 2302.08408, and its sequel on coarser lattices",
            "tau_M 570 (HMC) over 164.5 (four configurations twice) on 40x40",
            240,
            "12x12, short chains",
        ),
        Figure(
            "cost-phi4",
            "phi^4, lambda = 1/2, on 40x40: seconds per independent configuration, at length 1 and at the best",
            "flowkit.studies.cost_phi4:cost_phi4",
            "Albandea et al., 2302.08408",
            "plain HMC on the same machine",
            720,
            "12x12, two maps, short chains",
        ),
        Figure(
            "panel-cost",
            "Cost of a live panel: kernel, wire, browser and import",
            "flowkit.studies.panels:panel_cost",
            "A FigureWidget and anywidget with uPlot, measured in JupyterLab",
            "FigureWidget: 85 ms and 165 kB an update at 1e4 points, 184 ms and 1.6 MB at 1e5",
            120,
            "1e4 points alone, fewer updates, one import",
        ),
        Figure(
            "notebooks-cost",
            "All notebooks under nbval at quick size, one after the other",
            "flowkit.studies.notebooks:notebooks_cost",
            "An own limit, for a course and for CI",
            "ten minutes on two cores",
            400,
            "the first notebook alone",
        ),
        Figure(
            "fthmc-u1",
            "U(1) in two dimensions, beta = 6, 8x8 to 32x32: HMC in the coordinates of flows trained on 8x8",
            "flowkit.studies.fthmc:fthmc_u1",
            "Foreman et al., 2112.01586",
            "HMC frozen, HMC through the flow tunnels; about 4 h of training on one A100",
            900,
            "8x8 alone, few steps of training and few trajectories",
        ),
        Figure(
            "u1-step-ratio",
            "Time of a training step on active sites alone, over that on all sites, U(1) 8x8 and 16x16",
            "flowkit.studies.u1:u1_step_ratio",
            _TUTORIAL,
            "the same network evaluated on all sites",
            30,
            "fewer repetitions",
        ),
    )
}
