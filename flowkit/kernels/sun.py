"""Matrices of SU(N): products, exp and log, projection, eigenvalues, and their gradients.

Fields are complex [..., N, N], algebra coordinates w^a real [..., N^2 - 1] in the basis `generators`. On a CPU the
kernels of N = 2 and 3 are C that works on one matrix for each lane of a vector register; elsewhere they are torch, with
the same results. Gradients are of first order (products: of any), written by hand, and finite at equal eigenvalues.
"""

import math

from torch import Tensor

from flowkit.kernels.algebra import algebra as algebra, coordinates as coordinates, generators as generators
from flowkit.kernels.native import REALS, one_of, two_of
from flowkit.kernels.sun_checks import SEPARATION as SEPARATION, check, check_spectrum
from flowkit.kernels.sun_gradients import Kernel, Recompose, product, restore as restore, trace


def multiply(a: Tensor, b: Tensor, adjoint_a: bool = False, adjoint_b: bool = False) -> Tensor:
    """The product op(a) op(b) of matrices, op the adjoint where it is asked for.

    Parameters
    ----------
    a, b : Tensor
        Complex ``[..., N, N]``; leading axes broadcast as in matmul.
    adjoint_a, adjoint_b : bool
        Whether op is the adjoint.

    Returns
    -------
    Tensor
        ``[..., N, N]``, with derivatives of every order.

    Raises
    ------
    ValueError
        For other shapes, or different dtypes or devices.

    Examples
    --------
    >>> import torch
    >>> from flowkit.kernels.sun import multiply
    >>> a = torch.tensor([[0, 1j], [1j, 0]])
    >>> multiply(a, a, adjoint_b=True).real
    tensor([[1., 0.],
            [0., 1.]])
    """
    check("multiply", a, b)
    # An adjoint that torch has not carried out yet, as a.mH is, becomes a flag.
    if a.is_conj():
        a, adjoint_a = a.mH, not adjoint_a
    if b.is_conj():
        b, adjoint_b = b.mH, not adjoint_b
    return product(a, b, adjoint_a, adjoint_b)


def trace_product(a: Tensor, b: Tensor) -> Tensor:
    """The trace Tr(a b^dagger) of complex [..., N, N], complex [...].

    Raises
    ------
    ValueError
        For anything but complex matrices of one dtype on one device.
    """
    check("trace_product", a, b)
    return trace(a, b)


def exp(w: Tensor) -> Tensor:
    r"""The group element of algebra coordinates.

    Parameters
    ----------
    w : Tensor
        Coordinates, real ``[..., N^2 - 1]``, in the basis `generators`.

    Returns
    -------
    Tensor
        :math:`e^{i w^a T_a}`, complex ``[..., N, N]``, with a gradient of first order.

    Raises
    ------
    ValueError
        For a last axis that is no N^2 - 1, or other numbers than float32 and float64.

    Examples
    --------
    A turn by 2 pi about an axis is minus the identity of SU(2):

    >>> import math
    >>> import torch
    >>> from flowkit.kernels.sun import exp
    >>> exp(torch.tensor([0.0, 0.0, 2 * math.pi])).diagonal().real
    tensor([-1., -1.])
    """
    n = math.isqrt(w.shape[-1] + 1) if w.dim() else 0
    if w.dtype not in REALS or n < 2 or n * n - 1 != w.shape[-1]:
        raise ValueError(f"exp takes real coordinates [..., N^2 - 1]; got {w.dtype} of shape {list(w.shape)}.")
    return one_of(Kernel, "exp", (), w)


def log(u: Tensor) -> Tensor:
    """Algebra coordinates w with exp(w) = u, on the branch where the eigenangles are those of `spectrum`.

    Parameters
    ----------
    u : Tensor
        Elements of SU(N), complex ``[..., N, N]``.

    Returns
    -------
    Tensor
        Real ``[..., N^2 - 1]``. The gradient grows without bound where two eigenvalues come together at the cut; at the
        cut itself it is finite.

    Examples
    --------
    >>> import torch
    >>> from flowkit.kernels.sun import exp, log
    >>> log(exp(torch.tensor([0.1, 0.2, 0.3])))
    tensor([0.1000, 0.2000, 0.3000])
    """
    check("log", u)
    return one_of(Kernel, "log", (), u)


def project(m: Tensor) -> Tensor:
    r"""The projection of complex matrices to SU(N): the polar factor, divided by the N-th root of its determinant.

    Parameters
    ----------
    m : Tensor
        Complex ``[..., N, N]``. Where m is singular its polar factor is not unique, and one of the nearest group
        elements is given; m = 0 gives the identity.

    Returns
    -------
    Tensor
        Elements of SU(N), ``[..., N, N]``, with a gradient of first order.

    Notes
    -----
    .. math:: P[m] = e^{-i \varphi / N}\, m\, (m^\dagger m)^{-1/2}, \qquad \varphi = \arg\det m \in (-\pi/2,\, 3\pi/2]

    P jumps at the cut of :math:`\varphi`. A sum of two group elements is far from it: its :math:`\varphi` is 0 or
    :math:`\pi`.

    Examples
    --------
    >>> import torch
    >>> from flowkit.kernels.sun import project
    >>> project(torch.tensor([[3.0, 0.0], [0.0, 0.5]], dtype=torch.complex64)).diagonal().real
    tensor([1., 1.])
    """
    check("project", m)
    return one_of(Kernel, "project", (), m)


def eigh(h: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors of Hermitian matrices.

    Parameters
    ----------
    h : Tensor
        Complex ``[..., N, N]``.

    Returns
    -------
    values : Tensor
        Ascending, ``[..., N]``.
    vectors : Tensor
        In the columns of ``[..., N, N]``. In their gradient 1 / (l_k - l_j) of equal eigenvalues counts as 0.
    """
    check("eigh", h)
    return two_of(Kernel, "eigh", (), h)


def spectrum(u: Tensor) -> tuple[Tensor, Tensor]:
    r"""Eigenangles in the Weyl alcove, and eigenvectors.

    Parameters
    ----------
    u : Tensor
        Elements of SU(N), complex ``[..., N, N]``.

    Returns
    -------
    angles : Tensor
        Radians, ``[..., N]``; their gradient reaches u. Angles closer than SEPARATION (modulo 2 pi) are set that far
        apart, so that differences of maps of them stay meaningful where eigenvalues are equal.
    vectors : Tensor
        In the columns of ``[..., N, N]``, detached.

    Notes
    -----
    .. math:: u = V \mathrm{diag}(e^{i\theta}) V^\dagger, \quad
        \theta_1 \le \ldots \le \theta_N \le \theta_1 + 2\pi, \quad \sum_k \theta_k = 0

    Examples
    --------
    >>> import torch
    >>> from flowkit.kernels.sun import exp, spectrum
    >>> spectrum(exp(torch.tensor([0.0, 1.0, 0.0])))[0]
    tensor([-0.5000,  0.5000])
    """
    check("spectrum", u)
    return two_of(Kernel, "spectrum", (SEPARATION[u.dtype],), u)


def recompose(u: Tensor, angles: Tensor, vectors: Tensor, new: Tensor) -> Tensor:
    r"""The matrix with the eigenvectors of u and new eigenangles, V diag(e^{i new}) V^dagger.

    Parameters
    ----------
    u : Tensor
        Elements of SU(N), complex ``[..., N, N]``.
    angles, vectors : Tensor
        Of `spectrum(u)`.
    new : Tensor
        Radians, ``[..., N]``.

    Returns
    -------
    Tensor
        ``[..., N, N]``. The gradient reaches `new`, and u through the rotation of its eigenvectors; not `angles`.

    Raises
    ------
    ValueError
        For shapes, dtypes or devices that do not belong together.

    Notes
    -----
    A change of u turns the eigenvectors j and k by the ratio

    .. math:: \frac{e^{i\theta'_j} - e^{i\theta'_k}}{e^{i\theta_j} - e^{i\theta_k}},

    which has a limit at equal angles where the new ones are a Weyl-equivariant function of the old ones. For angles
    that are equal nonetheless it counts as 1.
    """
    check("recompose", u, vectors)
    check_spectrum(u, angles, vectors, new)
    return one_of(Recompose, u, angles, vectors, new)
