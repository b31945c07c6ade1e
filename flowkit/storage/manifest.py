"""The manifest of a commit: what it says of the files, and whether they are what it says."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowkit.checks import checked
from flowkit.storage.disk import MOST_UNWRITTEN, open_regular, unwritten

HEADER_LIMIT = 2**20
"""Bytes of a header (manifest, pointer, JSON) that are read before it is trusted."""
MANIFEST = "manifest.json"
_FORMAT = "flowkit store 1"
_PIECE = 2**20


class StoreError(RuntimeError):
    """A commit that could not be written or read; the message names the file and a commit that is whole.

    Examples
    --------
    >>> from flowkit.storage import Store, StoreError
    >>> try:
    ...     Store("no/such/folder").open()
    ... except StoreError as error:
    ...     print(error)
    no/such/folder does not exist.
    """


class DamageError(Exception):
    """What is wrong with one file; becomes a StoreError once it is known which commit is whole."""


@dataclass(frozen=True)
class Entry:
    """What the manifest says of one file.

    Parameters
    ----------
    size : int
        Size in bytes.
    sha256 : str
        SHA-256 of its content, in hex.

    Examples
    --------
    >>> import tempfile
    >>> from flowkit.storage import Store
    >>> store = Store(tempfile.mkdtemp())
    >>> _ = store.commit({"text": b"some bytes"})
    >>> entry = store.open().files["text"]
    >>> entry.size, entry.sha256[:8]
    (10, '0d22cdcc')
    """

    size: int
    sha256: str


def is_safe(name: object) -> bool:
    """Whether a name stays inside its folder on every system, and is not the manifest's."""
    if not isinstance(name, str) or not 0 < len(name) <= 1024 or name == MANIFEST:
        return False
    return all(re.fullmatch(r"[\w.+=@-]{1,200}", part, re.ASCII) and part.strip(".") for part in name.split("/"))


def pieces(folder: Path, name: str, entry: Entry) -> Iterator[bytes]:
    """The file in pieces of 1 MiB; DamageError, at once or at the end, where it is not what the manifest says."""
    path, digest = folder / name, hashlib.sha256()
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size != entry.size:
                raise DamageError(f"{path} is damaged: {entry.size} bytes were written, {size} are there")
            if size > MOST_UNWRITTEN and unwritten(file.fileno(), size) > MOST_UNWRITTEN:
                raise DamageError(f"{path} is damaged: of its {size} bytes over 16 MiB were never written")
            while piece := file.read(min(_PIECE, size)):
                size -= len(piece)
                digest.update(piece)
                yield piece
    except OSError as error:
        raise DamageError(f"{path} cannot be read: {error.strerror or error}") from error
    if digest.hexdigest() != entry.sha256:
        raise DamageError(f"{path} is damaged: its SHA-256 differs from the manifest")


def manifest_of(folder: Path) -> dict[str, Entry]:
    """The files that the manifest of a commit lists; DamageError where it is missing or damaged."""
    path = folder / MANIFEST
    try:
        files = {name: Entry(size, sha256) for name, (size, sha256) in unseal(path)["files"].items()}
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DamageError(f"{path} does not exist") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamageError(f"{path} is damaged: it lists no files") from error
    for name, entry in files.items():
        if not is_safe(name) or type(entry.size) is not int or entry.size < 0:
            raise DamageError(f"{path} is damaged: it names a file {name[:80]!r} of size {entry.size!r}")
    return files


def is_own(folder: Path) -> bool:
    """Whether a folder is a commit and holds nothing but the files that its manifest lists."""
    try:
        listed = {MANIFEST, *manifest_of(folder)}
    except DamageError:
        return False
    there = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return all(path.relative_to(folder).as_posix() in listed for path in there)


def is_whole(folder: Path) -> bool:
    """Whether every file of a commit is what its manifest says."""
    try:
        for name, entry in manifest_of(folder).items():
            for _ in pieces(folder, name, entry):
                pass
    except DamageError:
        return False
    return True


def _canonical(data: dict[str, Any]) -> bytes:
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()


def seal(data: dict[str, Any]) -> bytes:
    """JSON with the SHA-256 of its own content, in one form only."""
    return _canonical({"format": _FORMAT, **data, "sha256": hashlib.sha256(_canonical(data)).hexdigest()})


def unseal(path: Path) -> dict[str, Any]:
    """The content of a file that `seal` made.

    Raises FileNotFoundError or NotADirectoryError where there is none, and DamageError where it is anything else.
    """
    try:
        with open_regular(path) as file:
            text = file.read(HEADER_LIMIT + 1)
        data = parse_json(text)
        if data.pop("format", None) != _FORMAT:
            raise ValueError(f"it is no {_FORMAT!r}")
        data.pop("sha256", None)
        if seal(data) != text:
            raise ValueError("its SHA-256 differs from its content")
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, ValueError) as error:
        raise DamageError(f"{path} is damaged: {getattr(error, 'strerror', None) or error}") from error
    return data


@checked
def parse_json(text: bytes) -> dict[str, Any]:
    """A JSON object of at most 1 MiB.

    Parameters
    ----------
    text : bytes
        What was read.

    Returns
    -------
    dict
        The object.

    Raises
    ------
    ValueError
        For anything else, such as a list, nesting without end, or more than 1 MiB.

    Examples
    --------
    >>> from flowkit.storage import parse_json
    >>> parse_json(b'{"beta": 6.0}')
    {'beta': 6.0}
    """
    if len(text) > HEADER_LIMIT:
        raise ValueError(f"a JSON header stays under 1 MiB; got {len(text)} bytes")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("it cannot be read as JSON") from error
    if not isinstance(data, dict):
        raise ValueError(f"a JSON object was expected; got {type(data).__name__}")
    return data
