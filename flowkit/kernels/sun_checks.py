"""What the functions of SU(N) ask of the matrices and angles that they are given."""

import torch
from torch import Tensor

SEPARATION = {torch.complex64: 4e-6, torch.complex128: 1e-11}  # of angles that `spectrum` finds equal, radians


def check(who: str, first: Tensor, second: Tensor | None = None) -> None:
    """Raise a ValueError unless these are complex square matrices, two of them of one dtype, size and device."""
    for m in (first,) if second is None else (first, second):
        if m.dtype not in SEPARATION or m.dim() < 2 or not 2 <= m.shape[-1] == m.shape[-2]:
            raise ValueError(f"{who} takes complex matrices [..., N, N]; got {m.dtype} of shape {list(m.shape)}.")
    if second is None:
        return
    if second.dtype != first.dtype or second.shape[-1] != first.shape[-1]:
        raise ValueError(
            f"{who} takes matrices of one dtype and size; got {first.dtype} {list(first.shape)} and {second.dtype} "
            f"{list(second.shape)}."
        )
    if second.device != first.device:
        raise ValueError(f"{who} takes matrices on one device; got {first.device} and {second.device}.")


def check_spectrum(u: Tensor, angles: Tensor, vectors: Tensor, new: Tensor) -> None:
    """Raise a ValueError unless angles, eigenvectors and new angles fit the matrices u."""
    if u.shape != vectors.shape or angles.shape != u.shape[:-1] or new.shape != angles.shape:
        shapes = ", ".join(str(list(t.shape)) for t in (u, angles, vectors, new))
        raise ValueError(f"recompose takes [..., N, N], [..., N], [..., N, N], [..., N]; got {shapes}.")
    real = u.dtype.to_real()
    if not angles.dtype == new.dtype == real or not angles.device == new.device == u.device:
        raise ValueError(
            f"recompose takes angles {real} on {u.device} for matrices {u.dtype}; got {angles.dtype} on "
            f"{angles.device} and {new.dtype} on {new.device}."
        )
