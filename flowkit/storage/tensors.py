"""Tensors of a safetensors file that has been read into memory, without a second copy of them."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError
from torch import Tensor

from flowkit.storage.manifest import HEADER_LIMIT, parse_json

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
Count = Annotated[int, Field(ge=0, strict=True)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")
    dtype: Literal["F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"]
    shape: Annotated[list[Count], Field(max_length=32)]
    data_offsets: Annotated[list[Count], Field(min_length=2, max_length=2)]


class _Header(RootModel[dict[str, _Entry]]):
    pass


def said(error: ValidationError) -> str:
    """The first thing that does not fit a schema, in words: "step: Input should be a valid integer"."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where:.200}: {first['msg']}"


def tensors_of(data: bytearray) -> dict[str, Tensor]:
    """The tensors of a safetensors file, by name; they lie in the memory of `data`.

    The library of that name maps a file, which may change after it was compared with its SHA-256, or copies it.

    Raises
    ------
    ValueError
        Where the header is no header, or its tensors do not fill the file one after another.
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(HEADER_LIMIT, len(data) - 8):
        raise ValueError(f"its header says {length} bytes, of at most 1 MiB and the file's {len(data)}")
    try:
        entries = _Header.model_validate(parse_json(bytes(data[8 : 8 + length]))).root
    except ValidationError as error:
        raise ValueError(f"its header does not fit: {said(error)}") from error
    found, at = {}, 8 + length
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        dtype, (begin, end), count = _DTYPES[entry.dtype], entry.data_offsets, math.prod(entry.shape)
        if (8 + length + begin, end - begin) != (at, count * dtype.itemsize) or at % dtype.itemsize * count:
            raise ValueError(f"{name:.200} {entry.dtype} {entry.shape} cannot lie in the bytes {begin} to {end}")
        flat = torch.frombuffer(data, dtype=dtype, count=count, offset=at) if count else torch.empty(0, dtype=dtype)
        found[name], at = flat.view(entry.shape), at + end - begin
    if at != len(data):
        raise ValueError(f"its tensors take {at} bytes of {len(data)}")
    return found
