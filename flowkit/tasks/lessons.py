"""Where the notebooks are."""

from pathlib import Path


def bundled() -> Path:
    """The folder of notebooks that this installation carries; FileNotFoundError where it has none.

    Examples
    --------
    >>> from flowkit.tasks import lessons
    >>> (lessons.bundled() / "01_phi4.ipynb").is_file()
    True
    """
    package = Path(__file__).parents[1]
    source = next((s for s in (package / "_notebooks", package.parent / "notebooks") if s.is_dir()), None)
    if source is None:
        raise FileNotFoundError(
            f"The notebooks are missing from this installation in {package}; install flowkit again."
        )
    return source
