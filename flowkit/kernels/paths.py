"""Path-ordered products of the links of a gauge field."""

from collections.abc import Sequence

import torch
from torch import Tensor

from flowkit.kernels.sun import multiply

Path = tuple[Tensor, tuple[int, ...]]  # index [steps, M] and the sign of each step


def path_products(x: Tensor, index: Tensor, signs: tuple[int, ...]) -> Tensor:
    r"""Products of links along M paths.

    Parameters
    ----------
    x : Tensor
        Links, complex ``[batch, links, N, N]``.
    index : Tensor
        int64 ``[steps, M]``: the link of each step of each path.
    signs : tuple of int
        1 or -1 for each step, the same for all paths: -1 takes the adjoint.

    Returns
    -------
    Tensor
        ``[M, batch, N, N]``.

    Raises
    ------
    ValueError
        For other shapes, dtypes or signs.

    Notes
    -----
    .. math:: P = U_1^{\sigma_1} U_2^{\sigma_2} \cdots U_n^{\sigma_n}, \qquad U^{-1} = U^\dagger

    Examples
    --------
    A link times its own adjoint:

    >>> import torch
    >>> from flowkit.kernels.paths import path_products
    >>> u = torch.linalg.matrix_exp(torch.tensor([[[[0.0, 1.0], [-1.0, 0.0]]]], dtype=torch.complex64))
    >>> path_products(u, torch.tensor([[0], [0]]), (1, -1)).real.round()
    tensor([[[[1., 0.],
              [0., 1.]]]])
    """
    _check("path_products takes", x, index, 2)
    if len(signs) != len(index) or not len(signs) or any(sign not in (1, -1) for sign in signs):
        raise ValueError(f"path_products takes a sign 1 or -1 for each of {len(index)} steps; got {tuple(signs)}.")
    rows = x.transpose(0, 1).index_select(0, index.flatten())
    steps = rows.view(*index.shape, *rows.shape[1:]).unbind(0)
    product, flip = steps[0], signs[0] < 0
    for step, sign in zip(steps[1:], signs[1:], strict=True):
        product, flip = multiply(product, step, flip, sign < 0), False
    return product.mH if flip else product


def products(x: Tensor, paths: Sequence[Path]) -> tuple[Tensor, ...]:
    """`path_products` of several sets of paths (index, signs)."""
    return tuple(path_products(x, *path) for path in paths)


def put_links(x: Tensor, active: Tensor, v: Tensor) -> Tensor:
    """The links x with the active ones replaced, y[b, active[m]] = v[m, b].

    Parameters
    ----------
    x : Tensor
        Links, complex ``[batch, links, N, N]``.
    active : Tensor
        int64 ``[M]``, links that differ from one another.
    v : Tensor
        New links, ``[M, batch, N, N]``.

    Returns
    -------
    Tensor
        ``[batch, links, N, N]``.

    Raises
    ------
    ValueError
        For other shapes or dtypes.
    """
    _check("put_links takes", x, active, 1)
    if v.shape != (len(active), len(x), *x.shape[2:]) or v.dtype != x.dtype or v.device != x.device:
        shape = [len(active), len(x), *x.shape[2:]]
        raise ValueError(
            f"put_links takes new links {x.dtype} {shape} on {x.device}; got {v.dtype} {list(v.shape)} on {v.device}."
        )
    return x.index_copy(1, active, v.transpose(0, 1))


def _check(who: str, x: Tensor, index: Tensor, axes: int) -> None:
    if not x.is_complex() or x.dim() != 4 or not 2 <= x.shape[-1] == x.shape[-2]:
        raise ValueError(f"{who} complex links [batch, links, N, N]; got {x.dtype} of shape {list(x.shape)}.")
    if index.dtype != torch.int64 or index.dim() != axes or index.device != x.device:
        shape = "[steps, M]" if axes == 2 else "[M]"
        raise ValueError(
            f"{who} an index int64 {shape} on {x.device}; got {index.dtype} of shape {list(index.shape)} on "
            f"{index.device}."
        )
