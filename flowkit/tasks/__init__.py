"""Work in a thread, and the history that it records."""

from flowkit.tasks.background import Background, running
from flowkit.tasks.history import History

__all__ = [
    "Background",
    "History",
    "running",
]


def __dir__() -> list[str]:
    return __all__
