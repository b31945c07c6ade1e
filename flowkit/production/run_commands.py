"""The commands around recipes: run, resume, report and compare."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowkit.production.options import Device, Settings, fail, pairs_of, sentences

if TYPE_CHECKING:
    from flowkit.production.recipe import Recipe

Folder = Annotated[Path, typer.Argument(help="The folder of a run.")]
Where = Annotated[Device, typer.Option(help="Where to compute.")]


def add_to(app: typer.Typer) -> None:
    """Give the command these commands."""
    for command in (run, resume, report, compare):
        app.command()(command)


def run(
    recipe: Annotated[str | None, typer.Argument(help="The name of a recipe, or a TOML file.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the recipes of this installation.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="A small, short run that proves nothing.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Check the recipe, print it in full, and run nothing.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; default flowkit-NAME or flowkit-NAME-quick.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all random numbers.")] = None,
    device: Where = Device.auto,
    changes: Settings = None,
) -> None:
    """Train a flow, sample with it exactly, print every mean with its error. Continues a run that was stopped."""
    texts = pairs_of(changes)
    if listed or recipe is None:
        typer.echo(listing())
        return
    if seed is not None:
        texts["seed"] = str(seed)
    from flowkit.production import recipe as recipes, rehearsal
    from flowkit.tasks.machine import pick_device

    with sentences():
        chosen = recipes.read(recipe, quick, texts)
        if show:
            rehearsal.prepare(chosen, pick_device(device.value))
            typer.echo(chosen.toml(), nl=False)
            return
    _execute(chosen, out or Path(f"flowkit-{Path(recipe).stem}{'-quick' if quick else ''}"), device)
    if quick:
        typer.echo("A quick run, with the changes of the table quick. It proves nothing.")


def resume(
    folder: Folder,
    n: Annotated[int | None, typer.Option(help="Stored steps in all, at least those on disk.")] = None,
    device: Where = Device.auto,
) -> None:
    """Continue a run that was stopped or killed, with the recipe in its folder."""
    from flowkit.production import folder as files

    with sentences():
        recipe = files.recipe_of(folder, n)
    _execute(recipe, folder, device, extend=n is not None)


def _execute(recipe: "Recipe", folder: Path, device: Device, extend: bool = False) -> None:
    from flowkit.production import execute

    try:
        with sentences():
            finished = execute.execute(recipe, folder, device.value, say=typer.echo, extend=extend)
    except KeyboardInterrupt:
        fail(f"Stopped. {folder} keeps what was committed; the same command continues.", status=130)
    if not finished:
        raise typer.Exit(130)


def report(folder: Folder) -> None:
    """Print the table of a run again, and write its page report.html anew."""
    from flowkit.production import execute, folder as files, parts
    from flowkit.storage.store import Store

    with sentences():
        recipe = files.recipe_of(folder)
        if not Store(folder / files.ENSEMBLE).has_commit():
            fail(f"{folder} holds no ensemble yet; flowkit resume {folder} continues the run.")
        ensemble = files.load(folder, parts.action_of(recipe))
        execute.finish(
            recipe.model_copy(update={"outputs": recipe.outputs.model_copy(update={"report": True})}),
            folder,
            ensemble,
            typer.echo,
        )


def compare(
    one: Annotated[Path, typer.Argument(help="The folder of a run.")],
    other: Annotated[Path, typer.Argument(help="The folder of another run.")],
) -> None:
    """In which keys two runs differ, and by how many standard errors their means."""
    from flowkit.production.compared import compared

    with sentences():
        typer.echo(compared(one, other))


def listing() -> str:
    """The recipes of this installation with their titles, and how to run one."""
    from flowkit.production import recipe as recipes
    from flowkit.stats import table

    rows = []
    for name in recipes.shipped():
        one = recipes.read(name)
        rows.append((name, one.title + (f" (notebook {one.notebook})" if one.notebook else "")))
    return "\n".join(
        [
            table(("recipe", "what it does"), rows),
            "",
            "flowkit run NAME runs one, or a TOML file of your own; --show prints it; --quick shrinks it;",
            "--set KEY=VALUE changes a setting, as in --set theory.beta=3.",
        ]
    )
