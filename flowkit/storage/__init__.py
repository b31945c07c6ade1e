"""Commits of files, checkpoints, and arrays in zarr."""

from flowkit.storage.checkpoint import CheckpointError, claimed
from flowkit.storage.commit import Commit
from flowkit.storage.disk import Disk
from flowkit.storage.draft import Draft
from flowkit.storage.manifest import Entry, StoreError, parse_json
from flowkit.storage.store import Store
from flowkit.storage.weights import load_weights, save_weights
from flowkit.storage.zarr_files import Files

__all__ = [
    "CheckpointError",
    "Commit",
    "Disk",
    "Draft",
    "Entry",
    "Files",
    "Store",
    "StoreError",
    "claimed",
    "load_weights",
    "parse_json",
    "save_weights",
]


def __dir__() -> list[str]:
    return __all__
