"""ILDG configurations: XML and big-endian links in a LIME file, with the checksums of SciDAC.

The first message has the records scidac-private-file-xml and scidac-file-xml, the second one scidac-private-record-xml,
scidac-record-xml, ildg-format, ildg-data-lfn, ildg-binary-data and scidac-checksum. A reader needs ildg-format and
ildg-binary-data. Files that flowkit writes have the SHA-256 of the whole file in scidac-file-xml.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from torch import Tensor

from flowkit._version import __version__
from flowkit.formats import lime
from flowkit.formats.checksums import BLANK, SiteChecksum, says, sha256
from flowkit.formats.configuration import Configuration
from flowkit.formats.errors import FormatError
from flowkit.formats.layout import Layout, decoded, encoded, fitting, printable, whole
from flowkit.formats.lime import MAGIC as MAGIC, Record

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
_SCHEMA = 'xmlns="http://www.lqcd.org/ildg" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
_PLACE = "http://www.lqcd.org/ildg http://www.lqcd.org/ildg/filefmt.xsd"
_SIDES = ("lx", "ly", "lz", "lt")
_OURS = ("scidac-file-xml", "scidac-record-xml")
_DIGEST = re.compile(b"<flowkit><sha256>([0-9a-f]{64})</sha256></flowkit>")


def read(stream: IO[bytes], size: int) -> Configuration:
    """The configuration of a file.

    Raises
    ------
    FormatError
        Where a check fails.
    """
    found = lime.records(stream, size)
    digest = _digest(stream, found)
    data, described = _one(found, "ildg-binary-data"), _elements(stream, _one(found, "ildg-format"))
    layout = _layout(described, data.length)
    checksum = _elements(stream, _one(found, "scidac-checksum")) if _names(found, "scidac-checksum") else None
    names = _names(found, "ildg-data-lfn")
    if names:
        described["lfn"] = names[-1].text(stream).decode("utf-8", "replace")
    sums = SiteChecksum(layout.site_bytes)
    stream.seek(data.start)
    x, _ = decoded(layout, stream, sums.see)
    checks, missing = ["size", "SU(3)"], list[str]()
    if checksum is None:
        missing.append("checksum")
    else:
        _check_sums(checksum, sums)
        checks.append("checksum")
    if digest:
        checks.append("SHA-256")
    return Configuration(layout.space, x, "ildg", described, tuple(checks), tuple(missing))


def _names(found: list[Record], kind: str) -> list[Record]:
    return [record for record in found if record.type == kind]


def _one(found: list[Record], kind: str) -> Record:
    records = _names(found, kind)
    if len(records) != 1:
        raise FormatError(f"An ILDG file of one configuration has one record {kind}; got {len(records)}.")
    return records[0]


def _elements(stream: IO[bytes], record: Record) -> dict[str, str]:
    """The texts of the elements of a flat XML record, by name without namespace."""
    try:
        text = record.text(stream).decode()
        if "<!DOCTYPE" in text:  # entities are declared there, which may expand to any size
            raise FormatError(f"The XML of {record.type} has no declaration of a document type; got one.")
        root = ElementTree.fromstring(text)  # noqa: S314
    except (UnicodeDecodeError, ElementTree.ParseError) as error:
        raise FormatError(f"The record {record.type} holds no XML: {error}.") from None
    texts: dict[str, str] = {}
    for element in root:
        name = element.tag.rpartition("}")[2]
        if name in texts:
            raise FormatError(f"The XML of {record.type} gives each element once; got {name!r:.40} twice.")
        texts[name] = (element.text or "").strip()
    return texts


def _layout(described: Mapping[str, str], length: int) -> Layout:
    missing = [name for name in ("version", "field", "precision", *_SIDES) if name not in described]
    if missing:
        raise FormatError(f"ildg-format says version, field, precision, lx, ly, lz, lt; {missing[0]} is missing.")
    if described["field"] != "su3gauge":
        raise FormatError(f"ILDG files hold SU(3) in four dimensions, su3gauge; got {described['field']!r:.40}.")
    if not re.fullmatch(r"1\.[0-9]", described["version"]):
        raise FormatError(f"The version of ildg-format is 1.0; got {described['version']!r:.40}.")
    if described["precision"] not in ("32", "64"):
        raise FormatError(f"The precision of ildg-format is 32 or 64; got {described['precision']!r:.40}.")
    return fitting([whole(name, described[name]) for name in _SIDES], int(described["precision"]), 3, length)


def _check_sums(texts: Mapping[str, str], sums: SiteChecksum) -> None:
    for name, value in (("suma", sums.a), ("sumb", sums.b)):
        said = texts.get(name, "")
        if not says(said, value):
            raise FormatError(f"The SciDAC checksum {name} is {value:x}; the file says {said!r:.40}.")


def _digest(stream: IO[bytes], found: list[Record]) -> bool:
    """Whether a file has the right SHA-256 of its own; False where another code wrote it."""
    places, ours = [], False
    for record in found:
        if record.type in _OURS and record.length <= lime.LONGEST:
            text = record.text(stream)
            ours |= b"<flowkit>" in text
            places += [(record.start + match.start(1), match[1]) for match in _DIGEST.finditer(text)]
    if not ours:
        return False
    if len(places) != 1 or sha256(stream, places[0][0]) != places[0][1]:
        raise FormatError("The file was changed after flowkit wrote it: its SHA-256 is not the one of scidac-file-xml.")
    return True


def write(stream: IO[bytes], layout: Layout, x: Tensor, about: Mapping[str, str]) -> int:
    """Write a field; the place of the 64 digits of the SHA-256, which are `BLANK`.

    Raises
    ------
    FormatError
        For another layout than that of ILDG, and names that are no words.
    """
    if layout.rows != 3 or layout.byteorder != "big":
        raise FormatError(f"ILDG stores 3x3 matrices, big-endian; got rows={layout.rows}, {layout.byteorder}.")
    for key, value in about.items():
        if not re.fullmatch("[a-z][a-zA-Z0-9_]*", key) or not printable(value):
            raise FormatError(
                f"ILDG takes lfn and other words, each with one line of ASCII; got {key!r:.40} = {value!r:.80}."
            )
    lattice, now = " ".join(map(str, layout.sides)), datetime.now(UTC).strftime("%a %b %d %H:%M:%S %Y UTC")
    kind = "F" if layout.precision == 32 else "D"
    sides = "".join(f"<{name}>{side}</{name}>" for name, side in zip(_SIDES, layout.sides, strict=True))
    own = "".join(f"<{key}>{escape(value)}</{key}>" for key, value in about.items() if key != "lfn")
    head = lime.message(
        [
            (
                "scidac-private-file-xml",
                f"{_HEAD}<scidacFile><version>1.1</version><spacetime>4</spacetime><dims>{lattice} </dims>"
                f"<volfmt>0</volfmt></scidacFile>".encode(),
            ),
            ("scidac-file-xml", f"{_HEAD}<flowkit><sha256>{BLANK.decode()}</sha256></flowkit>".encode()),
        ]
    )
    described = [
        (
            "scidac-private-record-xml",
            f"{_HEAD}<scidacRecord><version>1.1</version><date>{now}</date><recordtype>0</recordtype>"
            f"<datatype>QDP_{kind}3_ColorMatrix</datatype><precision>{kind}</precision><colors>3</colors>"
            f"<typesize>{layout.site_bytes // 4}</typesize><datacount>4</datacount></scidacRecord>",
        ),
        ("scidac-record-xml", f"{_HEAD}<flowkit><version>{__version__}</version>{own}</flowkit>"),
        (
            "ildg-format",
            f'{_HEAD}<ildgFormat {_SCHEMA} xsi:schemaLocation="{_PLACE}"><version>1.0</version><field>su3gauge</field>'
            f"<precision>{layout.precision}</precision>{sides}</ildgFormat>",
        ),
        ("ildg-data-lfn", about.get("lfn", "lfn://flowkit")),
    ]
    stream.write(head)
    for k, (name, text) in enumerate(described):
        stream.write(lime.header(name, len(text), k == 0, False) + text.encode() + lime.padding(len(text)))
    stream.write(lime.header("ildg-binary-data", layout.payload, False, False))
    sums = SiteChecksum(layout.site_bytes)
    for data in encoded(layout, x):
        sums.see(data)
        stream.write(data)
    stream.write(lime.padding(layout.payload))
    text = (
        f"{_HEAD}<scidacChecksum><version>1.0</version><suma>{sums.a:x}</suma><sumb>{sums.b:x}</sumb></scidacChecksum>"
    )
    stream.write(lime.header("scidac-checksum", len(text), False, True) + text.encode() + lime.padding(len(text)))
    return head.index(BLANK)
