"""Commits of files, checkpoints, and arrays in zarr."""

from flowkit.storage.checkpoint import (
    CheckpointError,
    load_weights,
    refuse_others,
)
from flowkit.storage.store import (
    Commit,
    Disk,
    Draft,
    Entry,
    Store,
    StoreError,
    parse_json,
)
from flowkit.storage.zarr_files import (
    Files,
)

__all__ = [
    "CheckpointError",
    "Commit",
    "Disk",
    "Draft",
    "Entry",
    "Files",
    "Store",
    "StoreError",
    "load_weights",
    "parse_json",
    "refuse_others",
]
