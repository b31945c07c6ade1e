"""The commands `flowkit inspect`, `import` and `export`: gauge configurations in files of the community's formats."""

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Sentences = Callable[[], AbstractContextManager[None]]
"""Turns errors of input into one sentence and an exit status."""


class GaugeAction(StrEnum):
    """The actions that imported configurations may have been sampled from."""

    wilson = "wilson"
    symanzik = "symanzik"
    iwasaki = "iwasaki"
    dbw2 = "dbw2"


class FileFormat(StrEnum):
    """The formats of `flowkit export`."""

    nersc = "nersc"
    ildg = "ildg"


class Precision(StrEnum):
    """Bits of a real number."""

    single = "32"
    double = "64"


class Rows(StrEnum):
    """Rows of a matrix in a NERSC file."""

    two = "2"
    three = "3"


Files = Annotated[list[Path], typer.Argument(help="NERSC or ILDG files in Monte Carlo time, chain after chain.")]
To = Annotated[Path, typer.Option("--to", help="Folder of the ensemble.")]
Beta = Annotated[float, typer.Option(help="Coupling that the configurations were sampled at.")]
Action = Annotated[GaugeAction, typer.Option(help="Action that they were sampled from.")]
Chains = Annotated[int, typer.Option(help="Independent chains, of equally many files each.")]
Every = Annotated[int, typer.Option(help="Updates between two files.")]


def register(app: typer.Typer, sentences: Sentences) -> None:
    """Add the commands to an application."""

    @app.command()
    def inspect(path: Annotated[Path, typer.Argument(metavar="FILE", help="A NERSC or ILDG file.")]) -> None:
        """Verify a gauge configuration: format, lattice, plaquette, what was checked, and what its header says."""
        import flowkit as fk

        with sentences(), warnings.catch_warnings(action="ignore"):  # what is missing is printed
            found = fk.formats.read(path)
        precision = "single" if found.x.element_size() == 8 else "double"
        typer.echo(f"{path}: {found.format}, {found.space}, {precision} precision")
        typer.echo(f"plaquette {float(fk.plaquette(found.space, found.x)):.10g}")
        typer.echo(f"verified: {', '.join(found.checks)}")
        if found.missing:
            typer.echo(f"without: {', '.join(found.missing)}")
        for name, text in found.header.items():
            typer.echo(f"  {name} = {text!r}")  # a file's text cannot steer the terminal

    @app.command("import")
    def import_files(
        paths: Files,
        to: To,
        beta: Beta,
        action: Action = GaugeAction.wilson,
        chains: Chains = 1,
        every: Every = 1,
    ) -> None:
        """Read configurations from NERSC or ILDG files, each with all its checks, and save them as an ensemble."""
        import flowkit as fk

        with sentences():
            space = fk.formats.read(paths[0]).space
            makers = {"wilson": fk.Wilson, "symanzik": fk.actions.symanzik, "iwasaki": fk.actions.iwasaki}
            theory = (makers | {"dbw2": fk.actions.dbw2})[action.value](space, beta=beta)
            ensemble = fk.formats.read_ensemble(paths, theory, chains=chains, every=every)
            ensemble.save(to)
        typer.echo(f"{to}: {ensemble}")
        typer.echo(str(ensemble.mean(fk.plaquette)))

    @app.command("export")
    def export_files(
        ensemble: Annotated[Path, typer.Argument(help="Folder of an ensemble of SU(3) in four dimensions.")],
        folder: Annotated[Path, typer.Argument(help="Folder for the files, one a configuration.")],
        form: Annotated[FileFormat, typer.Option("--format", help="Of the files.")] = FileFormat.nersc,
        precision: Annotated[Precision | None, typer.Option(help="Bits of a real; as stored by default.")] = None,
        rows: Annotated[Rows, typer.Option(help="Rows of each matrix; NERSC alone takes 2.")] = Rows.three,
    ) -> None:
        """Write every configuration of an ensemble as a NERSC or ILDG file."""
        import flowkit as fk

        with sentences():
            loaded, bits = fk.Ensemble.load(ensemble), None if precision is None else int(precision)
            written = fk.formats.write_ensemble(loaded, folder, format=form.value, precision=bits, rows=int(rows.value))
        typer.echo(f"{len(written)} files in {folder}, from {written[0].name} to {written[-1].name}")
