"""The command `flowkit`: recipes, notebooks, Jupyter kernel, figures, trained flows, files of gauge configurations."""

import contextlib
import filecmp
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from flowkit._version import __version__
from flowkit.production import gauge_files, kernel, run_commands
from flowkit.production.options import Device, Settings, fail, pairs_of, sentences
from flowkit.production.reproduce import find, listing, report, write
from flowkit.tasks.lessons import bundled

app = typer.Typer(
    help="Normalizing flows for lattice field theory, with honest errors.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
kernel_app = typer.Typer(help="The Jupyter kernel of this environment.", no_args_is_help=True)
app.add_typer(kernel_app, name="kernel")
run_commands.add_to(app)
gauge_files.register(app, sentences)


@app.callback(invoke_without_command=True)
def main(version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False) -> None:
    """Options of the command itself."""
    if version:
        typer.echo(f"flowkit {__version__}")
        raise typer.Exit


@app.command(
    context_settings={"ignore_unknown_options": True},
    help="Open JupyterLab on the notebooks: those of a checkout in place, otherwise copies in FOLDER "
    "(default flowkit-notebooks). Options that follow are JupyterLab's own, such as --no-browser.",
)
def lab(
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[FOLDER] [JUPYTERLAB OPTIONS]")] = None,
) -> None:
    """Open JupyterLab on the notebooks."""
    words = list(arguments or [])
    folder = Path(words.pop(0)) if words and not words[0].startswith("-") else None
    try:
        from jupyterlab.labapp import main as jupyterlab
    except ImportError as error:
        fail(f"flowkit lab needs JupyterLab ({error}). This installs it: pip install 'lattice-flowkit[lab]'")
    with sentences():
        where = _notebooks(folder)
    typer.echo(f"Notebooks in {where}")
    # Jupyter's own token stays in force, and it listens on this machine alone.
    jupyterlab(["--ServerApp.ip=127.0.0.1", f"--ServerApp.root_dir={where}", *words])


@kernel_app.command("install")
def kernel_install(
    name: Annotated[str, typer.Option(help="Name of the kernel.")] = kernel.NAME,
    user: Annotated[bool, typer.Option("--user", help="For this user's Jupyter; the default.")] = False,
    prefix: Annotated[Path | None, typer.Option(help="For the Jupyter of the environment at PREFIX.")] = None,
    device: Annotated[Device, typer.Option(help="cpu hides any GPU from the kernel.")] = Device.auto,
    threads: Annotated[int | None, typer.Option(help="Threads of a kernel; default the cores, at most 4.")] = None,
) -> None:
    """Add this environment to Jupyter's list of kernels. May be repeated: it replaces what it wrote before."""
    if user and prefix is not None:
        fail(f"A kernel goes to the user's folder or to a prefix; got --user and --prefix {prefix}.")
    try:
        with sentences():
            folder, written = kernel.install(name, prefix=prefix, device=device.value, threads=threads)
            typer.echo(kernel.found(device.value))
    except ImportError as error:
        fail(f"A kernel needs ipykernel ({error}). This installs it: pip install 'lattice-flowkit[lab]'")
    typer.echo(f"{'Wrote' if written else 'Kept'} the kernel {name} in {folder}")


@app.command()
def reproduce(
    name: Annotated[str | None, typer.Argument(help="The figure; without one, all are listed.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="A shorter run, which proves nothing.")] = False,
    changes: Settings = None,
    out: Annotated[Path | None, typer.Option(help="Write the JSON object to this file as well.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="A missed goal is exit status 1.")] = False,
) -> None:
    """Run one of the figures this project claims: value ± error, goal, published figure, seconds, machine."""
    if name is None:
        typer.echo(listing(as_json))
        return
    with sentences():
        figure = find(name)
        settings = figure.settings(pairs_of(changes))
        if out is not None and (out.is_dir() or not out.parent.is_dir()):
            raise ValueError(f"--out needs a file in a folder that exists; got {out}.")
    from flowkit.ensemble.runs import all_or_nothing

    start = time.monotonic()
    try:
        # stdout is for the result alone
        with sentences(), contextlib.redirect_stdout(sys.stderr), all_or_nothing():
            record = figure.run(quick, **settings)
    except KeyboardInterrupt:
        fail(f"Stopped after {time.monotonic() - start:.0f} s. Nothing of {name} was saved.", status=130)
    typer.echo(record.model_dump_json() if as_json else report(figure, record))
    if out is not None:
        try:
            write(out, record.model_dump_json(indent=1) + "\n")
        except OSError as error:
            if not as_json:
                typer.echo(record.model_dump_json())
            fail(f"{out} could not be written: {error.strerror}. The record is printed above.", status=1)
    if strict and any(row.reached is False for row in record.rows):
        raise typer.Exit(1)


@app.command()
def zoo(
    name: Annotated[str | None, typer.Argument(help="The flow; without one, all are listed.")] = None,
    train: Annotated[bool, typer.Option("--train", help='Train NAME again, or every flow with NAME "all".')] = False,
    out: Annotated[Path, typer.Option(help="Folder for weights and cards of --train.")] = Path("flowkit-zoo"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the trained flows that fk.pretrained(NAME) gives, show the card of one, or train it again."""
    from flowkit.production import zoo as shelf
    from flowkit.zoo import card

    if train and name is None:
        fail("flowkit zoo --train needs the NAME of a flow, or all.")
    with sentences():
        if train and name is not None:
            shelf.train(name, out, say=typer.echo)
        elif name is None:
            typer.echo(shelf.listing(as_json))
        else:
            one = card(name)
            typer.echo(one.model_dump_json() if as_json else shelf.report(one))


def _notebooks(folder: Path | None) -> Path:
    """The folder to open: ./notebooks in a checkout; else `folder`, to which missing notebooks are copied.

    A file that is already there is never overwritten. FileNotFoundError where this installation carries no notebooks.
    """
    checkout = Path.cwd()
    if folder is None and (checkout / "notebooks").is_dir() and (checkout / "flowkit" / "__init__.py").is_file():
        return checkout / "notebooks"
    source = bundled()
    folder = (folder or Path("flowkit-notebooks")).resolve()
    for file in sorted(f for f in source.rglob("*") if f.is_file() and ".ipynb_checkpoints" not in f.parts):
        target = folder / file.relative_to(source)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        elif not filecmp.cmp(file, target, shallow=False):
            typer.echo(f"Kept your {target.relative_to(folder)}, which differs from the one in flowkit {__version__}.")
    return folder
