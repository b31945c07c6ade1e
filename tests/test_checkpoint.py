"""Checkpoints come back bit for bit, or not at all and with a sentence."""

import json
import random
import resource
import struct
import time

import pytest
import torch

from flowkit.storage import checkpoint
from flowkit.storage.checkpoint import CheckpointError
from flowkit.storage.manifest import HEADER_LIMIT
from flowkit.storage.store import Store

DTYPES = [
    "float64",
    "float32",
    "float16",
    "bfloat16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint8",
    "bool",
    "complex64",
    "complex128",
]


def same_bits(a, b):
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    assert b.device.type == "cpu"
    view = torch.view_as_real if a.is_complex() else (lambda t: t)
    assert torch.equal(
        view(a).contiguous().flatten().view(torch.uint8), view(b).contiguous().flatten().view(torch.uint8)
    )


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype_comes_back_bit_for_bit(tmp_path, name):
    dtype = getattr(torch, name)
    rng = torch.Generator().manual_seed(1)
    size = torch.empty(0, dtype=dtype).element_size()
    raw = torch.randint(0, 2 if dtype == torch.bool else 256, (6 * size,), generator=rng, dtype=torch.uint8)
    x = raw.view(dtype).reshape(2, 3)
    checkpoint.save(tmp_path, {"x": x, "scalar": x[0, 0], "empty": x[:0]}, {})
    tensors, _ = checkpoint.load(tmp_path)
    assert set(tensors) == {"x", "scalar", "empty"}
    same_bits(x, tensors["x"])
    same_bits(x[0, 0], tensors["scalar"])
    same_bits(x[:0], tensors["empty"])


def test_nan_infinity_and_signed_zero_are_kept(tmp_path):
    x = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0, 5e-324], dtype=torch.float64)
    checkpoint.save(tmp_path, {"x": x}, {"loss": float("inf"), "best": -0.0})
    tensors, meta = checkpoint.load(tmp_path)
    same_bits(x, tensors["x"])
    assert meta["loss"] == float("inf")
    assert str(meta["best"]) == "-0.0"


def test_views_shared_memory_and_conjugates_are_kept_as_values(tmp_path):
    z = torch.arange(6.0).reshape(2, 3) * (1 + 2j)
    tensors = {
        "t": z.T,
        "same": z,
        "conj": z.conj(),
        "adjoint": z.mH,
        "strided": z.real[:, ::2],
        "grad": torch.ones(2).requires_grad_(),
    }
    checkpoint.save(tmp_path, tensors, {})
    back, _ = checkpoint.load(tmp_path)
    for name, tensor in tensors.items():
        same_bits(tensor.detach().resolve_conj(), back[name])


def test_a_generator_and_an_optimiser_go_on_as_if_never_stopped(tmp_path):
    rng = torch.Generator().manual_seed(7)
    torch.randn(13, generator=rng)
    checkpoint.save(tmp_path, {"rng": rng.get_state()}, {"step": 13})
    expected = torch.randn(5, generator=rng)
    tensors, meta = checkpoint.load(tmp_path)
    again = torch.Generator()
    again.set_state(tensors["rng"])
    assert torch.equal(torch.randn(5, generator=again), expected)
    assert meta == {"step": 13}


def test_meta_comes_back_exactly(tmp_path):
    meta = {"a": [1, 2.5, None, True, 'ä\n"</script>'], "deep": {"b": {"c": 0.1 + 0.2}}, "big": 10**30, "tuple": (1, 2)}
    checkpoint.save(tmp_path, {}, meta)
    assert checkpoint.load(tmp_path) == ({}, {**meta, "tuple": [1, 2]})


def test_the_commit_before_can_be_loaded_by_name(tmp_path):
    first = checkpoint.save(tmp_path, {"x": torch.zeros(2)}, {"step": 1})
    checkpoint.save(tmp_path, {"x": torch.ones(2)}, {"step": 2})
    assert checkpoint.load(tmp_path)[1] == {"step": 2}
    assert checkpoint.load(tmp_path, first)[1] == {"step": 1}


@pytest.mark.parametrize(
    ("tensors", "meta", "message"),
    [
        ({"x": [1.0]}, {}, "'x' is list"),
        ({"x": torch.eye(2).to_sparse()}, {}, "'x' is torch.sparse_coo"),
        ({"__metadata__": torch.zeros(1)}, {}, "__metadata__"),
        ({}, {"a": {1: 2}}, r"meta\['a'\] has the key 1"),
        ({}, {"a": [torch.zeros(1)]}, r"meta\['a'\]\[0\] is Tensor"),
        ({}, {"a": {1, 2}}, "is set"),
        ({}, {"a": "x" * HEADER_LIMIT}, "under 1 MiB"),
        ({"x" * 1000 + str(k): torch.zeros(0) for k in range(1200)}, {}, "under 1 MiB; got 1200 tensors"),
    ],
)
def test_content_that_would_not_come_back_is_refused_and_nothing_is_changed(tmp_path, tensors, meta, message):
    checkpoint.save(tmp_path, {"x": torch.ones(1)}, {"step": 1})
    with pytest.raises(CheckpointError, match=message):
        checkpoint.save(tmp_path, tensors, meta)
    assert checkpoint.load(tmp_path)[1] == {"step": 1}


# -- damage and hostile input ----------------------------------------------------------------------------------


def refuses(path, needle, commit=None):
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=needle) as caught:
        checkpoint.load(path, commit)
    assert time.monotonic() - start < 5
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < 256 * 1024
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("file", ["tensors.safetensors", "checkpoint.json", "manifest.json"])
def test_flipped_bits_and_truncation_name_the_file_and_the_whole_commit(tmp_path, file):
    for step in (1, 2):
        checkpoint.save(tmp_path, {"x": torch.randn(50)}, {"step": step})
    path = tmp_path / "commit-000002" / file
    whole = path.read_bytes()
    for at in random.Random(0).sample(range(8 * len(whole)), 30):
        broken = bytearray(whole)
        broken[at // 8] ^= 1 << at % 8
        path.write_bytes(broken)
        refuses(tmp_path, f"{file} is damaged.*commit-000001 is whole and can be opened by its name")
    for length in (0, 7, 8, len(whole) - 1):
        path.write_bytes(whole[:length])
        refuses(tmp_path, f"{file} is damaged.*commit-000001 is whole")
    assert checkpoint.load(tmp_path, "commit-000001")[1] == {"step": 1}


def test_no_checkpoint_and_no_folder_are_said(tmp_path):
    refuses(tmp_path, "holds no commit")
    refuses(tmp_path / "nothing", "nothing does not exist")
    (tmp_path / "file").write_text("x")
    refuses(tmp_path / "file", "holds no commit")
    Store(tmp_path / "other").commit({"a": b""})
    refuses(tmp_path / "other", "holds a; got 'checkpoint.json'")


HEAD = {"format": "flowkit checkpoint 1", "complex": {}, "meta": {}}


def header(data, payload=b""):
    text = json.dumps(data).encode()
    return struct.pack("<Q", len(text)) + text + payload


@pytest.mark.parametrize(
    ("tensors", "head"),
    [
        (struct.pack("<Q", 2**63) + b"{}", HEAD),
        (struct.pack("<Q", 2**40), HEAD),
        (b"", HEAD),
        (b"\x08\0\0", HEAD),
        (header({"x": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}, b"\0" * 4), HEAD),
        (header({"x": {"dtype": "F32", "shape": [2**38], "data_offsets": [0, 2**40]}}, b"\0" * 4), HEAD),
        (header({"x": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, b"\0" * 4), HEAD),
        (header({"x": {"dtype": "EVIL", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4), HEAD),
        (header({"x": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"\0" * 4), HEAD),
        (header([]), HEAD),
        (header({}), []),
        (header({}), {}),
        (header({}), {**HEAD, "format": "other"}),
        (header({}), {**HEAD, "meta": 3}),
        (header({}), {**HEAD, "complex": {"x": "complex64"}}),
        (
            header({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4),
            {**HEAD, "complex": {"x": "complex64"}},
        ),
        (
            header({"x": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}}, b"\0" * 8),
            {**HEAD, "complex": {"x": "complex128"}},
        ),
    ],
)
def test_hostile_content_with_right_hashes_is_refused(tmp_path, tensors, head):
    Store(tmp_path).commit({"tensors.safetensors": tensors, "checkpoint.json": json.dumps(head).encode()})
    refuses(tmp_path, "holds no readable checkpoint")
