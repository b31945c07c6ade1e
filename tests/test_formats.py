"""NERSC and ILDG files, against readers and writers that follow the specifications byte by byte, and damaged ones."""

import hashlib
import os
import re
import struct
import warnings
import zlib
from itertools import product

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import flowkit as fk
from flowkit.formats import FormatError
from flowkit.production.cli import app
from flowkit.studies.formats import formats, without_sha256

SIDES = (2, 3, 1, 4)
SPACE = fk.links(SIDES, fk.SUN(3))


def field(seed=1, dtype=torch.float64, sides=SIDES):
    return fk.links(sides, fk.SUN(3)).haar(1, torch.Generator().manual_seed(seed), dtype)


# ------------------------------------------------------------ the specifications, number by number


def numbers(x, rows=3):
    """Real numbers of a field in the order of both formats: t, z, y, x, mu, row, column, real and imaginary part."""
    X, Y, Z, T = x.shape[2:6]
    for t, z, y, a, mu, row, column in product(range(T), range(Z), range(Y), range(X), range(4), range(rows), range(3)):
        one = complex(x[0, mu, a, y, z, t, row, column])
        yield one.real
        yield one.imag


def packed(x, precision, rows=3, order=">"):
    found = list(numbers(x, rows))
    return struct.pack(f"{order}{len(found)}{'f' if precision == 32 else 'd'}", *found)


def sums(x):
    """The means of Re Tr P / 3 and of Re Tr U / 3, link by link."""
    u, total, trace, sides = x[0].numpy(), 0.0, 0.0, x.shape[2:6]
    for site in np.ndindex(*sides):
        at = [tuple((s + (k == mu)) % sides[k] for k, s in enumerate(site)) for mu in range(4)]
        trace += sum(np.trace(u[(mu, *site)]).real for mu in range(4)) / 12
        for mu in range(4):
            for nu in range(mu + 1, 4):
                p = u[(mu, *site)] @ u[(nu, *at[mu])] @ u[(mu, *at[nu])].conj().T @ u[(nu, *site)].conj().T
                total += np.trace(p).real / 18
    return float(total / np.prod(sides)), float(trace / np.prod(sides))


def nersc_file(x, precision=64, rows=3, order=">", change=None, text="BIG"):
    data = packed(x, precision, rows, order)
    plaquette, trace = sums(x)
    lines = {"DATATYPE": "4D_SU3_GAUGE_3x3" if rows == 3 else "4D_SU3_GAUGE"}
    lines |= {f"DIMENSION_{k + 1}": side for k, side in enumerate(x.shape[2:6])}
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    lines |= {"CHECKSUM": f"{sum(words) % 2**32:x}", "LINK_TRACE": repr(trace), "PLAQUETTE": repr(plaquette)}
    lines |= {"BOUNDARY_4": "PERIODIC", "CREATOR": "hand", "FLOATING_POINT": f"IEEE{precision}{text}"}
    lines |= change or {}
    header = "".join(f"{key} = {value}\n" for key, value in lines.items() if value is not None)
    return b"BEGIN_HEADER\n" + header.encode("latin-1") + b"END_HEADER\n" + data


def record(kind, data, begin=False, end=False, length=None):
    head = struct.pack(">IHBBQ128s", 0x456789AB, 1, 128 * begin + 64 * end, 0, length or len(data), kind)
    return head + data + b"\0" * (-len(data) % 8)


XML = (
    '<ildgFormat xmlns="http://www.lqcd.org/ildg"><version>1.0</version><field>su3gauge</field>'
    "<precision>{}</precision><lx>{}</lx><ly>{}</ly><lz>{}</lz><lt>{}</lt></ildgFormat>"
)


def ildg_file(x, precision=64, xml=None, checksum=True):
    data = packed(x, precision)
    size, a, b = 4 * 18 * precision // 8, 0, 0
    for site in range(len(data) // size):
        c = zlib.crc32(data[site * size : site * size + size])
        a ^= (c << site % 29 | c >> 32 - site % 29) % 2**32
        b ^= (c << site % 31 | c >> 32 - site % 31) % 2**32
    said = b"<scidacChecksum><suma>%x</suma><sumb>%x</sumb></scidacChecksum>" % (a, b)
    text = xml or XML.format(precision, *x.shape[2:6]).encode()
    parts = [record(b"ildg-format", text, begin=True), record(b"ildg-binary-data", data, end=not checksum)]
    return b"".join(parts) + (record(b"scidac-checksum", said, end=True) if checksum else b"")


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("rows", [2, 3])
@pytest.mark.parametrize("precision", [32, 64])
def test_nersc_follows_its_specification(tmp_path, precision, rows, order):
    x, path, bound = field(), tmp_path / "u", 3e-7 if precision == 32 else 1e-14
    text = "BIG" if order == ">" else "LITTLE"
    path.write_bytes(nersc_file(x, precision, rows, order, text=text))
    found = fk.formats.read(path)
    assert found.space == SPACE
    assert found.x.dtype == (torch.complex64 if precision == 32 else torch.complex128)
    assert (found.x - x).abs().max() < bound
    assert found.checks == ("size", "SU(3)", "checksum", "plaquette", "link trace")
    fk.formats.write(path, SPACE, x, precision=precision, rows=rows, byteorder="big" if order == ">" else "little")
    header, data = path.read_bytes().split(b"\nEND_HEADER\n", 1)
    assert data == packed(x, precision, rows, order)
    said = dict(line.split(" = ") for line in header.decode().split("\n")[1:])
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    assert int(said["CHECKSUM"], 16) == sum(words) % 2**32
    assert [float(said[key]) for key in ("PLAQUETTE", "LINK_TRACE")] == pytest.approx(sums(x), abs=1e-7)
    assert [int(said[f"DIMENSION_{k}"]) for k in (1, 2, 3, 4)] == list(SIDES)


@pytest.mark.parametrize("precision", [32, 64])
def test_ildg_follows_its_specification(tmp_path, precision):
    x, path = field(), tmp_path / "u"
    path.write_bytes(ildg_file(x, precision))
    found = fk.formats.read(path)
    assert found.space == SPACE
    assert (found.x - x).abs().max() < (1e-7 if precision == 32 else 1e-300)
    assert found.checks == ("size", "SU(3)", "checksum")
    fk.formats.write(path, SPACE, x, format="ildg", precision=precision, about={"lfn": "lfn://a/b", "beta": "<5.7>"})
    data, at, kinds, flags = path.read_bytes(), 0, [], []
    while at < len(data):  # every record lies at a multiple of 8 bytes
        magic, version, flag, zero, length, kind = struct.unpack(">IHBBQ128s", data[at : at + 144])
        assert (magic, version, zero) == (0x456789AB, 1, 0)
        kinds.append((kind.rstrip(b"\0").decode(), data[at + 144 : at + 144 + length]))
        flags.append(flag)
        at += 144 + -(-length // 8) * 8
    assert [name for name, _ in kinds] == [
        *("scidac-private-file-xml", "scidac-file-xml", "scidac-private-record-xml", "scidac-record-xml"),
        *("ildg-format", "ildg-data-lfn", "ildg-binary-data", "scidac-checksum"),
    ]
    assert flags == [128, 64, 128, 0, 0, 0, 0, 64]
    texts = dict(kinds)
    assert texts["ildg-binary-data"] == packed(x, precision)
    assert texts["ildg-data-lfn"] == b"lfn://a/b"
    assert b"<beta>&lt;5.7&gt;</beta>" in texts["scidac-record-xml"]
    expected = re.findall(rb"<sum.>(\w+)<", ildg_file(x, precision))
    assert re.findall(rb"<sum.>(\w+)<", texts["scidac-checksum"]) == expected


def test_the_time_of_a_file_is_direction_three(tmp_path):
    x = SPACE.cold(1, like=torch.zeros(1, dtype=torch.float64))
    x[0, 3, ..., 2, :, :] = torch.diag(torch.tensor([1j, 1j, -1.0], dtype=x.dtype))
    (tmp_path / "u").write_bytes(ildg_file(x))
    found = fk.formats.read(tmp_path / "u")
    loops = [fk.observables.polyakov_loops(found.space, found.x, mu).flatten() for mu in range(4)]
    assert torch.allclose(loops[3], torch.tensor((2j - 1) / 3, dtype=x.dtype))
    assert all(torch.equal(one, torch.ones_like(one)) for one in loops[:3])


def test_what_a_file_leaves_out(tmp_path):
    x, path = field(), tmp_path / "u"
    for order, plain in product("<>", ("IEEE32", None)):  # no order of bytes: the one that gives SU(3); no key: big
        if plain or order == ">":
            path.write_bytes(nersc_file(x, 32, order=order, change={"FLOATING_POINT": plain}))
            assert (fk.formats.read(path).x - x).abs().max() < 1e-7
    path.write_bytes(nersc_file(x, change={"CHECKSUM": None, "PLAQUETTE": None}))
    with pytest.warns(UserWarning, match=r"u has no checksum, plaquette to compare with\.$"):
        assert fk.formats.read(path).missing == ("checksum", "plaquette")
    path.write_bytes(ildg_file(x, checksum=False))
    with pytest.warns(UserWarning, match=r"u has no checksum to compare with\.$"):
        assert torch.equal(fk.formats.read(path).x, x)


# ------------------------------------------------------------ what is refused, and how

_CHANGES = [
    ({"DATATYPE": "4D_SU2_GAUGE"}, r"NERSC files hold SU\(3\) in four dimensions, DATATYPE .*; got '4D_SU2_GAUGE'"),
    ({"DIMENSION_2": None}, ".*DIMENSION_2 is missing"),
    ({"DIMENSION_2": "three"}, "DIMENSION_2 is a whole number >= 0; got 'three'"),
    ({"DIMENSION_2": "999999999"}, r"A lattice 2x999999999x1x4 has \d+ bytes of links .* the file has 13824"),
    ({"DIMENSION_2": "0"}, "A lattice 2x0x1x4 has 0 bytes"),
    ({"BOUNDARY_4": "ANTIPERIODIC"}, "Lattices are periodic; BOUNDARY_4 is 'ANTIPERIODIC'"),
    ({"FLOATING_POINT": "VAX"}, "FLOATING_POINT is IEEE32BIG, .*; got 'VAX'"),
    ({"FLOATING_POINT": "IEEE64LITTLE"}, r"Links are matrices of SU\(3\) up to 1e-05; one is inf off"),
    ({"CHECKSUM": "12"}, "The checksum is .*; the header says '12'"),
    ({"CHECKSUM": "-1"}, "The checksum is .*; the header says '-1'"),
    ({"PLAQUETTE": "0.9"}, "PLAQUETTE is .* by the links; the header says 0.9"),
    ({"LINK_TRACE": "nan"}, "LINK_TRACE is .* by the links; the header says nan"),
    ({"LINK_TRACE": "x"}, "LINK_TRACE is a number; got 'x'"),
    ({"A": "\x1b[31m"}, r"A NERSC header has lines KEY = value; got 'A = \\x1b\[31m'"),
    ({"A": "1\nA = 2"}, "A NERSC header gives each key once; got A twice"),
    ({"CREATOR": "flowkit 0.1"}, "The file was changed after flowkit wrote it"),
]


@pytest.mark.parametrize(("change", "message"), _CHANGES)
def test_nersc_headers_that_are_refused(tmp_path, change, message):
    path = tmp_path / "u"
    path.write_bytes(nersc_file(field(), change=change))
    with pytest.raises(FormatError, match=f"^{re.escape(str(path))}: {message}"):
        fk.formats.read(path)


_GOOD = XML.format(64, *SIDES)
_XMLS = [
    (_GOOD.replace("su3gauge", "su2gauge"), r"ILDG files hold SU\(3\) in four dimensions, su3gauge; got 'su2gauge'"),
    (_GOOD.replace("1.0", "2.0"), "The version of ildg-format is 1.0; got '2.0'"),
    (_GOOD.replace("64", "16"), "The precision of ildg-format is 32 or 64; got '16'"),
    (_GOOD.replace("<lt>4</lt>", ""), "lt is missing"),
    (_GOOD.replace("<lt>4</lt>", "<lt>4</lt>" * 2), "gives each element once; got 'lt' twice"),
    (_GOOD.replace("<lt>4<", "<lt>5<"), "A lattice 2x3x1x5 has 17280 bytes of links"),
    (_GOOD[:-3], "The record ildg-format holds no XML"),
    ("\xff", "The record ildg-format holds no XML"),
    ('<!DOCTYPE a [<!ENTITY b "bbbb">]><a>&b;</a>', "has no declaration of a document type"),
    ("<a>" * 300_000, "The record ildg-format holds no XML"),
    (" " * 2**20 + _GOOD, "A record ildg-format has at most 1048576 bytes"),
]


@pytest.mark.parametrize(("xml", "message"), _XMLS, ids=range(len(_XMLS)))
def test_ildg_records_that_are_refused(tmp_path, xml, message):
    (tmp_path / "u").write_bytes(ildg_file(field(), xml=xml.encode("latin-1")))
    with pytest.raises(FormatError, match=message):
        fk.formats.read(tmp_path / "u")


_WHOLE = ildg_file(field())
_LIMES = [
    (_WHOLE[:-1000], "claims|cut off|has no valid header"),
    (_WHOLE + b"\x45\x67\x89\xab", "is cut off"),
    (record(b"b", b"", begin=True) + record(b"a", b"", length=2**63), "LIME record a claims 9223372036854775808 bytes"),
    (record(b"a", b"", begin=True, length=2**64 - 1), "LIME record a claims 18446744073709551615 bytes"),
    (record(b"a\x1b[31m", b"", begin=True, end=True), "has no valid header"),
    (record(b"a", b"", begin=True), "ends with the end of a message"),
    (record(b"a", b"", begin=True, end=True) * 10_001, "at most 10000 whole records"),
    (record(b"a", b"", begin=True, end=True), "one record ildg-binary-data; got 0"),
    (_WHOLE + _WHOLE, "one record ildg-binary-data; got 2"),
    (re.sub(b"<suma>.", b"<suma>g", _WHOLE), "The SciDAC checksum suma is"),
    (b"#!/bin/sh\n", "begins with BEGIN_HEADER, an ILDG file with a LIME record; this with none"),
    (b"", "begins with BEGIN_HEADER"),
    (b"BEGIN_HEADER\n" + b"A" * 2**21, "a header of at most 1048576 bytes"),
]


@pytest.mark.parametrize(("data", "message"), _LIMES, ids=range(len(_LIMES)))
def test_files_that_are_refused(tmp_path, data, message):
    (tmp_path / "u").write_bytes(data)
    with pytest.raises(FormatError, match=message):
        fk.formats.read(tmp_path / "u")


def test_paths_that_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, message in (("none", "No such file"), (".", "no plain file"), ("pipe", "no plain file")):
        with pytest.raises(FormatError, match=message):
            fk.formats.read(tmp_path / name)
    (tmp_path / "u").write_bytes(_WHOLE)
    with pytest.raises(FormatError, match=r"max_bytes allows 100\.$"):
        fk.formats.read(tmp_path / "u", max_bytes=100)


def test_numbers_that_are_not_finite_or_no_group(tmp_path):
    for value in (float("nan"), float("inf"), 1e300, 0.5):
        x = field()
        x[0, 0, 0, 0, 0, 0, 0, 0] = value
        (tmp_path / "u").write_bytes(ildg_file(x))
        with pytest.raises(FormatError, match=r"Links are matrices of SU\(3\)"):
            fk.formats.read(tmp_path / "u")
        with pytest.raises(FormatError, match=r"Links are matrices of SU\(3\)"):
            fk.formats.write(tmp_path / "v", SPACE, x)
        assert not (tmp_path / "v").exists()


_SETTINGS = [
    ({"rows": 2, "format": "ildg"}, FormatError, "ILDG stores 3x3 matrices, big-endian; got rows=2"),
    ({"format": "milc"}, TypeError, "write needs format, one of 'nersc', 'ildg'; got 'milc'"),
    ({"precision": 16}, TypeError, "write needs precision, one of 32, 64 or None; got 16"),
    ({"about": {"CHECKSUM": "1"}}, FormatError, "got 'CHECKSUM' = '1'"),
    ({"about": {"A": "1\n2"}}, FormatError, r"got 'A' = '1\\n2'"),
    ({"about": {"a b": "1"}, "format": "ildg"}, FormatError, "ILDG takes lfn and other words"),
]


@pytest.mark.parametrize(("settings", "error", "message"), _SETTINGS)
def test_settings_that_are_refused(tmp_path, settings, error, message):
    with pytest.raises(error, match=message):
        fk.formats.write(tmp_path / "u", SPACE, field(), **settings)
    assert not list(tmp_path.iterdir())


def test_fields_that_are_refused(tmp_path):
    for space in (
        fk.links((2, 2, 2), fk.SUN(3)),
        fk.links(SIDES, fk.SUN(2)),
        fk.links(SIDES, fk.U1()),
        fk.sites(SIDES),
    ):
        with pytest.raises(FormatError, match=re.escape(f"NERSC and ILDG hold SU(3) in four dimensions; got {space}.")):
            fk.formats.write(tmp_path / "u", space, space.cold(1, like=torch.zeros(1)))
    with pytest.raises(FormatError, match=r"A file holds one field; got 2\."):
        fk.formats.write(tmp_path / "u", SPACE, SPACE.cold(2, like=torch.zeros(1)))
    with pytest.raises(FormatError, match=r"could not be written: No such file"):
        fk.formats.write(tmp_path / "none" / "u", SPACE, field())


@pytest.mark.parametrize("name", ["nersc", "ildg"])
def test_the_sha256_is_that_of_the_file_with_zeros_in_its_place(tmp_path, name):
    fk.formats.write(tmp_path / "u", SPACE, field(), format=name)
    data = (tmp_path / "u").read_bytes()
    (digits,) = re.findall(rb"(?i:sha256)(?: = |>)([0-9a-f]{64})", data)
    assert hashlib.sha256(data.replace(digits, b"0" * 64)).hexdigest().encode() == digits
    assert fk.formats.read(tmp_path / "u").checks[-1] == "SHA-256"
    (tmp_path / "u").write_bytes(without_sha256(data))
    assert "SHA-256" not in fk.formats.read(tmp_path / "u").checks


def test_damages_are_found():
    """What the figure claims, on few damages; with the checks of ILDG alone all of them are found as well."""
    rows = {row["label"]: row for row in formats(quick=True, seed=3)}
    assert all(row["reached"] for row in rows.values() if "reached" in row)
    assert len([row for row in rows.values() if "reached" in row]) == 14
    alone = [row["value"] for label, row in rows.items() if label.startswith("ildg without")]
    assert alone == [40, 40, 40]


# ------------------------------------------------------------ ensembles, and the commands


@pytest.fixture(scope="module")
def ensemble():
    action = fk.Wilson(fk.links((2, 2, 2, 4), fk.SUN(3)), beta=5.5)
    return fk.run(fk.Heatbath(action), 30, chains=2, thermalise=20, rng=1)


@pytest.mark.parametrize("name", ["nersc", "ildg"])
def test_an_ensemble_goes_to_files_and_back(ensemble, tmp_path, name):
    paths = fk.formats.write_ensemble(ensemble, tmp_path / "files", format=name)
    assert sorted(paths) == paths
    again = fk.formats.read_ensemble(paths, ensemble.action, chains=2, every=5)
    assert torch.equal(again.x, ensemble.x)
    assert torch.allclose(again.series["S"], ensemble.series["S"], rtol=1e-5)
    here, there = (one.derived(lambda p: p, [fk.plaquette]) for one in (ensemble, again))
    assert (here.value, here.error) == pytest.approx((there.value, there.error))
    again.save(tmp_path / "ensemble")
    assert fk.Ensemble.load(tmp_path / "ensemble", action=ensemble.action).provenance["every"] == 5


def test_ensembles_that_are_refused(ensemble, tmp_path):
    paths = fk.formats.write_ensemble(ensemble[:1], tmp_path)
    fk.formats.write(tmp_path / "double", ensemble.space, field(sides=(2, 2, 2, 4)))
    fk.formats.write(tmp_path / "other", SPACE, field())
    action = ensemble.action
    with pytest.raises(FormatError, match=r"2 chains take equally many files each, one or more; got 1 files\."):
        fk.formats.read_ensemble(paths[:1], action, chains=2)
    with pytest.raises(
        FormatError, match=r"double has .* in torch.complex128; the ensemble is of .*, in torch.complex64"
    ):
        fk.formats.read_ensemble([*paths, tmp_path / "double"], action)
    with pytest.raises(
        FormatError, match=r"other has Links SU3 on 2x3x1x4 .*; the ensemble is of Links SU3 on 2x2x2x4"
    ):
        fk.formats.read_ensemble([tmp_path / "other"], action)
    with pytest.raises(FormatError, match="max_bytes allows"):
        fk.formats.read_ensemble(paths, action, max_bytes=15_000)
    weighted = ensemble.reweight(action.at(beta=5.6))
    with pytest.raises(FormatError, match="NERSC and ILDG hold no weights"):
        fk.formats.write_ensemble(weighted, tmp_path)
    none = fk.Ensemble(ensemble.space, None, ensemble.series, provenance={})
    with pytest.raises(FormatError, match="kept no configurations"):
        fk.formats.write_ensemble(none, tmp_path)


def test_commands(ensemble, tmp_path):
    def call(*words):
        return CliRunner().invoke(app, [str(word) for word in words])

    ensemble.save(tmp_path / "ensemble")
    done = call("export", tmp_path / "ensemble", tmp_path / "files", "--precision", "64", "--rows", "2")
    assert done.output.startswith("60 files in ")
    files = sorted((tmp_path / "files").iterdir())
    shown = call("inspect", files[0]).output
    assert "nersc, Links SU3 on 2x2x2x4, double precision" in shown
    assert "verified: size, SU(3), checksum, plaquette, link trace, SHA-256" in shown
    assert "DATATYPE = '4D_SU3_GAUGE'" in shown
    read = call("import", *files, "--to", tmp_path / "again", "--beta", "5.5", "--chains", "2")
    assert "Ensemble(30 stored steps x 2 chains of Links SU3 on 2x2x2x4; S)" in read.output
    again = fk.Ensemble.load(tmp_path / "again", action=ensemble.action)
    assert (again.x - ensemble.x).abs().max() < 2e-6
    files[0].write_bytes(files[0].read_bytes()[:-1])
    with warnings.catch_warnings(action="error"):
        bad = call("inspect", files[0])
    assert bad.exit_code == 2
    assert "bytes of links" in bad.output
