"""The progress bar of whatever takes many steps."""

from collections.abc import Iterable
from typing import Any


def progress_bar(total: int, show: bool, steps: Iterable[Any] | None = None) -> Any:
    """A bar of tqdm, around the steps where they are given: in a notebook and on a terminal, and nowhere else.

    Where stderr is a file or a pipe it is silent, since each of its frames would be a line there.
    """
    if show:
        from tqdm.auto import tqdm
    else:  # without a look for a notebook
        from tqdm import tqdm

    return tqdm(steps, total=total, unit="step", disable=None if show else True)
