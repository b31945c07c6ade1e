"""Damaged files of gauge configurations: what is found, and how a reader ends."""

import random
import re
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import torch

import flowkit as fk
from flowkit.formats import FormatError
from flowkit.studies.rows import Row, seconds_row

FORMATS: tuple[Literal["nersc", "ildg"], ...] = ("nersc", "ildg")
LINK = 144
"""Bytes of a link in double precision."""


def formats(
    *,
    quick: bool = False,
    damages: int = 10_000,
    mutants: int = 100_000,
    lattice: tuple[int, ...] = (4, 4, 4, 4),
    seed: int = 1,
) -> list[Row]:
    """Damage files of SU(3) at beta = 5.7, with and without the SHA-256 of flowkit, and read them."""
    if quick:
        damages, mutants, lattice = 40, 800, (2, 2, 2, 4)
    theory = fk.Wilson(fk.links(lattice, fk.SUN(3)), beta=5.7)
    x = fk.run(fk.Heatbath(theory), 1, chains=1, thermalise=50, rng=seed).x
    assert x is not None  # the run kept it
    small = fk.links((2, 2, 2, 4), fk.SUN(3))
    other = small.haar(1, torch.Generator().manual_seed(seed), torch.float64)
    rows = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        path = Path(folder) / "u"
        for name in FORMATS:
            fk.formats.write(path, theory.space, theory.space.group.project(x[0].to(torch.complex128)), format=name)
            whole = path.read_bytes()
            rows += [_found(name, kind, path, whole, damages, seed) for kind in DAMAGES]
            plain = without_sha256(whole)
            rows += [_found(f"{name} without SHA-256", kind, path, plain, damages, seed, False) for kind in DAMAGES]
        for name in FORMATS:
            fk.formats.write(path, small, other, format=name)
            rows += _mutants(name, path, path.read_bytes(), mutants, seed)
    return rows


def without_sha256(data: bytes) -> bytes:
    """A file as another code writes it."""
    data = re.sub(rb"\nFLOWKIT_SHA256 = [0-9a-f]{64}\n", b"\n", data)
    return (
        data.replace(b"CREATOR = flowkit", b"CREATOR = another")
        .replace(b"<flowkit>", b"<another>")
        .replace(b"</flowkit>", b"</another>")
    )


def payload(data: bytes) -> tuple[int, int]:
    """Where the links begin and end."""
    end = data.find(b"\nEND_HEADER\n")
    if end > 0:
        return end + len(b"\nEND_HEADER\n"), len(data)
    record = data.index(b"ildg-binary-data") - 16
    length = int.from_bytes(data[record + 8 : record + 16])
    return record + 144, record + 144 + length


def flipped(data: bytes, rng: random.Random) -> bytes:
    """One bit changed, in the links, or in any place of a file with a SHA-256."""
    own = b"FLOWKIT_SHA256" in data or b"<flowkit>" in data
    at = rng.randrange(0, len(data)) if own else rng.randrange(*payload(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def _swapped(data: bytes, rng: random.Random, size: int) -> bytes:
    start, end = payload(data)
    a, b = sorted(rng.sample(range((end - start) // size), 2))
    a, b = start + a * size, start + b * size
    return data[:a] + data[b : b + size] + data[a + size : b] + data[a : a + size] + data[b + size :]


def swapped_links(data: bytes, rng: random.Random) -> bytes:
    """Two links exchanged."""
    return _swapped(data, rng, LINK)


def swapped_sites(data: bytes, rng: random.Random) -> bytes:
    """The links of two sites exchanged."""
    return _swapped(data, rng, 4 * LINK)


DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "bit flips": flipped,
    "swaps of links": swapped_links,
    "swaps of sites": swapped_sites,
}


def _refused(path: Path, data: bytes) -> bool:
    path.write_bytes(data)
    try:
        fk.formats.read(path)
    except FormatError:
        return True
    return False


def _found(name: str, kind: str, path: Path, data: bytes, damages: int, seed: int, all_of_them: bool = True) -> Row:
    rng = random.Random(f"{seed} {name} {kind}")  # noqa: S311
    found = sum(_refused(path, DAMAGES[kind](data, rng)) for _ in range(damages))
    row: Row = {"label": f"{name}: {kind} found, of {damages}", "value": found}
    return {**row, "goal": damages, "reached": found == damages} if all_of_them else row


TEXTS = (b"0", b"-1", b"1", b"4", b"999999999", b"9" * 40, b"1e999", b"nan", b"", b"\xff", b"&a;", b"<!DOCTYPE a>")
LENGTHS = (0, 1, 7, 2**31, 2**63 - 1, 2**64 - 1)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A file with one to three random changes of its bytes, its numbers and its parts."""
    for _ in range(rng.randint(1, 3)):
        kind, at = rng.randrange(7), rng.randrange(len(data) or 1)
        until = at + rng.choice((1, 8, 64, 600))
        header = rng.randrange(min(len(data), 1500) or 1)
        if kind == 0:
            at = rng.choice((at, header))
            data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :] if data else data
        elif kind == 1:
            data = data[:at]
        elif kind == 2:
            data = data[:at] + data[until:]
        elif kind == 3:
            data = data[:at] + rng.randbytes(until - at) + data[at:]
        elif kind == 4:
            data = data[:header] + data[at:until] + data[header:]
        elif kind == 5:
            numbers = list(re.finditer(rb"(?<=[>= ])[-+.\w]+(?=[<\n])", data[:4000]))
            if numbers:
                one = rng.choice(numbers)
                data = data[: one.start()] + rng.choice(TEXTS) + data[one.end() :]
        else:
            records = [match.start() for match in re.finditer(rb"\x45\x67\x89\xab", data)]
            if records:
                at = rng.choice(records) + 8
                data = data[:at] + rng.choice(LENGTHS).to_bytes(8) + data[at + 8 :]
    return data


def _outcomes(path: Path, data: bytes, mutants: int, rng: random.Random) -> Iterator[tuple[str, float]]:
    """How each reading of a mutant ended, and its seconds."""
    original = fk.formats.read(path)
    for _ in range(mutants):
        path.write_bytes(mutated(data, rng))
        start, outcome = time.perf_counter(), "same"
        try:
            found = fk.formats.read(path)
            if found.space != original.space or not torch.equal(found.x, original.x):
                outcome = "other"
        except FormatError:
            outcome = "refused"
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        yield outcome, time.perf_counter() - start


def _memory() -> float:
    """The most memory that this process has had, in MiB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _mutants(name: str, path: Path, data: bytes, mutants: int, seed: int) -> list[Row]:
    """Half of them of a file with a SHA-256, half without."""
    before, seconds, rows = _memory(), [0.0], list[dict[str, Any]]()
    counts = {"same": 0, "other": 0, "refused": 0}
    for own, one in ((True, data), (False, without_sha256(data))):
        path.write_bytes(one)
        rng = random.Random(f"{seed} {name} {own}")  # noqa: S311
        for outcome, spent in _outcomes(path, one, mutants // 2, rng):
            counts[outcome] = counts.get(outcome, 0) + 1
            seconds.append(spent)
        if own:
            others = counts["other"]
            rows.append(
                {"label": f"{name}: mutants taken for another field", "value": others, "goal": 0, "reached": not others}
            )
    untyped = sum(n for outcome, n in counts.items() if outcome not in ("same", "other", "refused"))
    label = f"{name}: of {2 * (mutants // 2)} mutants, those that end in neither a field nor a FormatError"
    grown = max(0.0, _memory() - before)
    rows.append({"label": label, "value": untyped, "goal": 0, "reached": untyped == 0})
    rows.append({"label": f"{name}: mutants refused", "value": counts["refused"]})
    rows.append(seconds_row(f"{name}: slowest mutant, seconds", max(seconds), 5.0))
    goal = {"goal": "<= 256", "reached": grown <= 256}
    rows.append({"label": f"{name}: memory that mutants took, MiB", "value": grown, **goal})
    return rows
