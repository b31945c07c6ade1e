"""Compiled kernels: where they are kept, what a damaged or a foreign file meets, and what their names hang on."""

import ctypes
import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
import torch

import flowkit as fk
from flowkit.kernels import build, native
from flowkit.testing import seeded

COMPILER = next((c for c in ("cc", "gcc", "clang") if shutil.which(c)), None)
NAME = "class_link"  # the quickest to compile
pytestmark = pytest.mark.skipif(COMPILER is None or os.name != "posix", reason="no C compiler")


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """An empty cache, with nothing loaded from it yet."""
    monkeypatch.setenv("FLOWKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def load():
    return build.load.__wrapped__(NAME)


def libraries(folder):
    return sorted(folder.glob("*.so"))


def test_a_library_is_compiled_once(folder):
    made = load()
    (path,) = libraries(folder)
    assert Path(made._name) == path
    written = path.stat().st_mtime_ns
    load()
    assert path.stat().st_mtime_ns == written
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("damage", ["half", "empty", "one byte"])
def test_a_damaged_library_is_built_again(folder, damage):
    """Never loaded: half a library kills the process that reads it."""
    load()
    (path,) = libraries(folder)
    whole = path.read_bytes()
    path.unlink()  # what is loaded here keeps its file
    changed = whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:]
    path.write_bytes({"half": whole[: len(whole) // 2], "empty": b"", "one byte": changed}[damage])
    made = load()
    assert build._undamaged(Path(made._name))
    assert made[f"{NAME}_float"]


def test_a_planted_library_is_not_loaded(folder, tmp_path):
    """Of the right name and the wrong content: a link, or a file of another hash."""
    load()
    (path,) = libraries(folder)
    mark, source = tmp_path / "ran", tmp_path / "evil.c"
    source.write_text(
        f'#include <stdio.h>\n__attribute__((constructor)) void f(void) {{ fclose(fopen("{mark}", "w")); }}\n'
    )
    evil = tmp_path / "evil.so"
    subprocess.run([COMPILER, "-shared", "-fPIC", source, "-o", evil], check=True)
    path.unlink()
    shutil.copy(evil, path)
    load()
    path.unlink()
    path.symlink_to(evil)
    load()
    assert not mark.exists()
    ctypes.CDLL(str(evil))
    assert mark.exists()


@pytest.mark.parametrize("why", ["others may write", "a link"])
def test_a_folder_that_is_not_private_is_refused_in_a_sentence(folder, why, caplog, tmp_path):
    if why == "a link":
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        folder.mkdir()
        folder.chmod(0o777)
    with pytest.raises(PermissionError, match=r"must be a folder of your own that no one else may write; .* with mode"):
        build.cache_folder()
    assert load() is None
    assert f"{NAME} runs through torch" in caplog.text
    assert not libraries(folder)


def test_a_folder_of_another_user_is_refused(folder, monkeypatch):
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(PermissionError, match=f"of user {folder.stat().st_uid} with mode 700"):
        build.cache_folder()


def test_without_a_home_a_temporary_folder_serves(monkeypatch):
    """As for a user without an entry in the password file."""
    for name in ("FLOWKIT_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)

    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    folder = build.cache_folder()
    assert folder.parent == Path(tempfile.gettempdir())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert build.cache_folder() == folder


def test_a_cache_that_was_asked_for_and_cannot_be_made_is_an_error(monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FLOWKIT_CACHE", str(tmp_path / "file" / "cache"))
    assert load() is None
    assert "runs through torch" in caplog.text


def test_another_version_of_the_compiler_makes_another_library(folder, monkeypatch):
    source = Path(build.__file__).parent / "c" / f"{NAME}.c"
    keys = {build._key(source, COMPILER)}
    assert keys == {build._key(source, COMPILER)}
    monkeypatch.setattr(build, "_version", lambda compiler: "cc 99.1")
    keys.add(build._key(source, COMPILER))
    monkeypatch.setattr(build.platform, "libc_ver", lambda: ("glibc", "9.9"))
    keys.add(build._key(source, COMPILER))
    assert len(keys) == 3


@pytest.mark.parametrize("name", ["../rqs", "..", "rqs.c", "no_such", ""])
def test_only_own_sources_are_kernels(name):
    with pytest.raises(ValueError, match="flowkit has no kernels"):
        build.load(name)


def test_a_slow_compiler_is_waited_for(folder, monkeypatch, tmp_path, caplog):
    slow = tmp_path / "slow"
    slow.write_text(f'#!/bin/sh\nsleep 0.3\nexec {COMPILER} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setenv("CC", str(slow))
    monkeypatch.setattr(build, "SECONDS_QUIET", 0.05)
    assert load() is not None
    assert "still compiling after" in caplog.text


def test_a_compiler_without_openmp_makes_a_library_too(folder, monkeypatch, tmp_path):
    plain = tmp_path / "plain"
    plain.write_text(f'#!/bin/sh\nfor word; do [ "$word" = -fopenmp ] && exit 1; done\nexec {COMPILER} "$@"\n')
    plain.chmod(0o755)
    monkeypatch.setenv("CC", str(plain))
    assert load() is not None


def test_a_kernel_can_be_switched_off():
    with fk.kernels.without("rqs"):
        assert native.library("rqs") is None
        assert not native.takes("rqs", torch.zeros(1))
        with fk.kernels.without("rqs", "heat"):
            assert native.library("heat") is None
        assert native.library("rqs") is None
    assert (native.library("rqs") is None) == (fk.kernels.compiling() == "0")
    with pytest.raises(ValueError, match=r"The C kernels of flowkit are affine_coupling, .*; got nothing_such\."):
        fk.kernels.without("nothing_such").__enter__()


def test_another_default_device_leaves_cpu_fields_alone():
    """Addresses of tensors made on the default device would go to C."""
    action, x = fk.Phi4(fk.sites((4, 4)), m2=1.0, lam=0.5), torch.zeros(2, 1, 4, 4)
    links = fk.links((2, 2), fk.SUN(3))
    u = links.haar(2, seeded())
    with torch.device("meta"):
        for start, theory in ((x, action), (u, fk.Wilson(links, 2.0))):
            hmc = fk.HMC(theory)
            state, _ = hmc.step(hmc.init(start), seeded())
            assert state.x.is_cpu


def test_a_cache_that_cannot_be_written_is_read_and_what_it_lacks_lies_elsewhere(folder, monkeypatch):
    load()
    (path,) = libraries(folder)
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != folder and may(path, mode))  # root may write anywhere
    monkeypatch.setattr(Path, "chmod", lambda *arguments: pytest.fail("a folder that cannot be written was changed"))
    assert Path(load()._name) == path
    path.unlink()
    made = Path(load()._name)
    assert made.is_file()
    assert folder not in made.parents
    assert libraries(folder) == []
