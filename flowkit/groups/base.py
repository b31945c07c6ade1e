"""What a group is to flowkit."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class Group(ABC):
    """A Lie group with the operations that lattice fields need.

    Elements  tensors [..., *matrix_shape]
    Algebra   real coordinates w^a in the basis T_a with Tr T_a T_b = delta_ab / 2, [..., *algebra_axes]
    Update    x -> exp(i w^a T_a) x, written compose(exp(w), x)
    """

    name: str
    matrix_shape: tuple[int, ...]
    algebra_dim: int
    dimension: int  # N of SU(N), and 1 otherwise: the trace of the identity
    complex: bool

    @property
    def algebra_axes(self) -> tuple[int, ...]:
        """Trailing axes of algebra coordinates: () for Real and U1, (N^2 - 1,) for SU(N)."""
        return (self.algebra_dim,) if self.matrix_shape else ()

    def algebra_shape(self, shape: torch.Size | tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the algebra coordinates that move elements of the given shape."""
        return (*shape[: len(shape) - len(self.matrix_shape)], *self.algebra_axes)

    @abstractmethod
    def compose(self, a: Tensor, b: Tensor) -> Tensor:
        """The product a b."""

    @abstractmethod
    def inverse(self, a: Tensor) -> Tensor:
        """The inverse of a."""

    @abstractmethod
    def exp(self, w: Tensor) -> Tensor:
        """exp(i w^a T_a)."""

    def move(self, x: Tensor, w: Tensor, h: float | Tensor) -> Tensor:
        """exp(h w) x; h a number, or a tensor that fits w."""
        return self.compose(self.exp(h * w), x)

    @abstractmethod
    def log(self, g: Tensor) -> Tensor:
        """The coordinates w with exp(w) = g on the principal branch."""

    @abstractmethod
    def tangent(self, g: Tensor) -> Tensor:
        """The coordinates of g, exact to first order around the identity, with gradients that are finite there."""

    def covector(self, x: Tensor, f: Tensor) -> Tensor:
        """The gradient g = dL/dx, as autograd counts it, that belongs to dL(exp(w) x) = f^a dw^a at w = 0: where
        autograd takes a vector for x, one given in algebra coordinates.
        """
        return f

    def coordinates_of_gradient(self, x: Tensor, g: Tensor) -> Tensor:
        """f^a = dL(exp(w) x)/dw^a at w = 0 from g = dL/dx as autograd gives it, [..., *algebra_axes]."""
        return g

    @abstractmethod
    def identity(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Unit elements, `shape` without the matrix axes; dtype and device of `like`."""

    @abstractmethod
    def haar(self, shape: tuple[int, ...], rng: torch.Generator, dtype: torch.dtype | None = None) -> Tensor:
        """Independent elements from the normalised invariant measure, `shape` without the matrix axes."""

    @abstractmethod
    def project(self, x: Tensor) -> Tensor:
        """The nearest group element (polar projection for SU(N))."""

    @abstractmethod
    def defect(self, x: Tensor) -> Tensor:
        """Distance from the group, dimensionless, [...]: 0 for an element, up to rounding."""

    @abstractmethod
    def trace(self, x: Tensor) -> Tensor:
        """Re Tr x / N, in [-1, 1], [...]."""

    def real_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """The real dtype that belongs to a field's dtype."""
        return torch.empty(0, dtype=dtype).real.dtype

    def field_dtype(self, dtype: torch.dtype | None) -> torch.dtype:
        """The dtype of a field whose real numbers have `dtype` (default: torch's)."""
        real = self.real_dtype(dtype or torch.get_default_dtype())
        return real.to_complex() if self.complex else real

    def __repr__(self) -> str:
        return f"{self.name}()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Group) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)
