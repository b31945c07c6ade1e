"""What flowkit asks of a group: its elements, its algebra, and loops of its links.

The file is long because it defines one interface, which a new group implements as a whole.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from flowkit.checks import checked
from flowkit.groups.theory import GaugeTheory
from flowkit.tasks.randomness import Rng

if TYPE_CHECKING:
    from flowkit.groups.characters import Characters

Path = tuple[int, tuple[int, ...]]
"""How many paths of one shape there are, and the sign of each of their steps."""


class Group(GaugeTheory, ABC):
    r"""A compact Lie group, or the real line, with all that lattice fields and gauge theories need of it.

    Elements are tensors ``[..., *matrix_shape]``, algebra coordinates real tensors ``[..., *algebra_axes]``; an element
    is moved by :math:`x \to e^{i w^a T_a} x`, written ``compose(exp(w), x)``. Groups of matrices are unitary, so that
    the inverse is the adjoint, and have :math:`\mathrm{Tr}\, T_a T_b = \delta_{ab} / 2`.

    Everything that depends on the group is a method here, and no code outside this room asks which group it has. A new
    group is one class that writes the abstract methods. The others have a default or say that the group does not have
    what was asked for. Splines of eigenangles need `spectrum`, the Heatbath sampler needs `heatbath`, and comparisons
    with exact results need the methods that return them.

    Attributes
    ----------
    name : str
        What files and messages call the group, as "SU3"; `named` finds it again.
    matrix_shape : tuple of int
        Axes of one element: () for a number, (N, N) for a matrix.
    algebra_dim : int
        Dimension of the algebra.
    dimension : int
        Trace of the identity: N, and 1 for numbers.
    complex : bool
        Whether elements are complex tensors.
    compact : bool
        Whether there is a normalised Haar measure, and so gauge fields.
    abelian : bool
        Whether elements commute: loops are then gauge-invariant themselves.
    additive : bool
        Whether elements are real numbers that are composed by addition: exp(w) x is then ``project(x + w)``.
    angles : int
        Eigenangles of `spectrum`: 1, any angle; or N >= 2, of sum 0 in the Weyl alcove; 0 where there is none.
    centre_order : int
        Order of the element of the centre in `times_centre`; 1 where none but the identity is known.
    lowest_trace : float
        Least value of Re Tr g / N, dimensionless.
    winding : bool
        Whether `angle` is known, so that fields in two dimensions have a topological charge.
    decimated : bool
        Whether `decimated_log_weight` is known at every area.
    solved_2d : bool
        Whether fields in two dimensions can be drawn exactly.

    Examples
    --------
    >>> import torch, flowkit as fk
    >>> G = fk.SUN(2)
    >>> w = torch.tensor([0.0, 0.0, 1.0])
    >>> G.exp(w).diagonal().angle()           # e^{i w^a T_a} with T_3 = diag(1, -1) / 2
    tensor([ 0.5000, -0.5000])
    """

    matrix_shape: tuple[int, ...]
    algebra_dim: int
    dimension: int
    complex: bool
    compact: bool = True
    abelian: bool = False
    additive: bool = False
    angles: int = 0
    centre_order: int = 1
    lowest_trace: float = -1.0
    winding: bool = False

    @classmethod
    def from_name(cls, name: str) -> "Group | None":
        """The group of this class that has the given name, or None; families such as SU(N) read N from it."""
        return cls() if getattr(cls, "name", None) == name else None

    @property
    def algebra_axes(self) -> tuple[int, ...]:
        """Trailing axes of algebra coordinates: () where elements are numbers, else (algebra_dim,)."""
        return (self.algebra_dim,) if self.matrix_shape else ()

    def algebra_shape(self, shape: torch.Size | tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the algebra coordinates that move elements of the given shape."""
        return (*shape[: len(shape) - len(self.matrix_shape)], *self.algebra_axes)

    # ------------------------------------------------------------ the group

    @abstractmethod
    def compose(self, a: Tensor, b: Tensor) -> Tensor:
        """The product a b."""

    @abstractmethod
    def inverse(self, a: Tensor) -> Tensor:
        """The inverse of a."""

    @abstractmethod
    def exp(self, w: Tensor, /) -> Tensor:
        """exp(i w^a T_a)."""

    @abstractmethod
    def log(self, g: Tensor, /) -> Tensor:
        """The coordinates w with exp(w) = g on the principal branch."""

    @abstractmethod
    def tangent(self, g: Tensor, /) -> Tensor:
        """Algebra coordinates of g near the identity: `log` to first order, with finite gradients everywhere."""

    @abstractmethod
    def identity(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Unit elements, `shape` without the matrix axes; dtype and device of `like`."""

    @abstractmethod
    def haar(self, shape: tuple[int, ...], rng: Rng = None, dtype: torch.dtype | None = None) -> Tensor:
        """Independent elements from the normalised invariant measure, `shape` without the matrix axes.

        rng is a generator, a seed, or None for a fresh seed.
        """

    @abstractmethod
    def project(self, x: Tensor, /) -> Tensor:
        """The nearest group element."""

    def conjugate(self, x: Tensor, /) -> Tensor:
        """The complex conjugate representation, x*: charge conjugation of a link."""
        return x.conj().resolve_conj()

    def times_centre(self, x: Tensor) -> Tensor:
        """x times an element of the centre of order `centre_order`."""
        return x

    def restore(self, x: Tensor) -> Tensor:
        """Bring matrices that rounding has moved a distance d off the group back to within d^2.

        The values of x are not inspected, so that a GPU need not wait.
        """
        return self.project(x) if self.matrix_shape else x

    @abstractmethod
    def defect(self, x: Tensor) -> Tensor:
        """Distance from the group, dimensionless, [...]: 0 for an element, up to rounding."""

    @abstractmethod
    def trace(self, x: Tensor) -> Tensor:
        """Re Tr x / N, in [-1, 1], [...]."""

    def complex_trace(self, x: Tensor) -> Tensor:
        """Tr x / N, complex, [...]."""
        numbers = self.ambient(x)
        if self.matrix_shape:
            numbers = numbers.diagonal(dim1=-2, dim2=-1).sum(-1) / self.dimension
        return numbers if numbers.is_complex() else torch.complex(numbers, torch.zeros_like(numbers))

    @abstractmethod
    def trace_slope(self, x: Tensor) -> Tensor:
        """d/dw^a of Re Tr(exp(w) x) / N at w = 0, [..., *algebra_axes]; x may be a sum of matrices of the group."""

    def move(self, x: Tensor, w: Tensor, h: float | Tensor) -> Tensor:
        """exp(h w) x; h a number, or a tensor that fits w."""
        return self.compose(self.exp(h * w), x)

    def covector(self, x: Tensor, f: Tensor) -> Tensor:
        """The gradient g = dL/dx, as autograd counts it, that belongs to dL(exp(w) x) = f^a dw^a at w = 0."""
        return f

    def coordinates_of_gradient(self, x: Tensor, g: Tensor) -> Tensor:
        """f^a = dL(exp(w) x)/dw^a at w = 0 from g = dL/dx as autograd gives it, [..., *algebra_axes]."""
        return g

    # ------------------------------------------------------------ loops

    def product(self, factors: Sequence[Tensor], signs: Sequence[int], wrap: bool = True) -> Tensor:
        """x_1^{s_1} x_2^{s_2} ..., each sign s_i being 1 or -1.

        With ``wrap=False`` angles are not reduced to [-pi, pi); `trace`, `trace_slope`, `invariants`, `ambient` and
        further products accept such angles.
        """
        ordered = [x if sign > 0 else self.inverse(x) for x, sign in zip(factors, signs, strict=True)]
        result = ordered[0]
        for x in ordered[1:]:
            result = self.compose(result, x)
        return result

    def path_products(self, x: Tensor, index: Tensor, paths: Sequence[Path]) -> tuple[Tensor, ...]:
        """Products of links along several sets of paths, as `product` with ``wrap=False``.

        Parameters
        ----------
        x : Tensor
            ``[batch, links, *matrix_shape]``.
        index : Tensor
            The link of each step, int64: for each set of paths ``[steps, count]``, flattened, one set after the other.
        paths : sequence of Path
            ``(count, signs)`` of each set.

        Returns
        -------
        tuple of Tensor
            ``[count, batch, *matrix_shape]`` for each set.
        """
        rows = x.transpose(0, 1).contiguous().index_select(0, index)
        parts = torch.split(rows, [count * len(signs) for count, signs in paths])
        return tuple(
            self.product(part.view(len(signs), count, *part.shape[1:]).unbind(0), signs, wrap=False)
            for part, (count, signs) in zip(parts, paths, strict=True)
        )

    @functools.cached_property
    def casimir(self) -> float:
        """C_F, the number sum_a T_a T_a of the fundamental representation, from the second derivatives of the trace."""
        with torch.inference_mode(False), torch.enable_grad():
            w = torch.zeros(self.algebra_dim, *self.algebra_axes, dtype=torch.float64, device="cpu", requires_grad=True)
            slopes = self.trace_slope(self.exp(w))  # one displacement for each generator
            chosen = slopes.diagonal() if self.algebra_axes else slopes
            (second,) = torch.autograd.grad(chosen.sum(), w)
        return -float((second.diagonal() if self.algebra_axes else second).sum())

    def invariants(
        self, loops: Sequence[Tensor | tuple[Tensor, Tensor]], harmonics: int = 1, odd: bool = True
    ) -> Tensor:
        """Numbers that do not change when loops are conjugated, as inputs of a network.

        They are Re Tr W^k / N of each loop for k = 1 ... harmonics, and Im Tr W^k / N where the group has it and `odd`
        asks for what changes sign under W -> W^-1.

        Parameters
        ----------
        loops : sequence
            Each a loop W, or a pair (A, B) for W = A B^-1, all of one shape.

        Returns
        -------
        Tensor
            ``[channels, ...]`` with ``channels = len(loops) * invariant_count(harmonics, odd)``.
        """
        found = []
        for loop in loops:
            power = one = self.product(loop, (1, -1)) if isinstance(loop, tuple) else loop
            for k in range(harmonics):
                power = self.compose(power, one) if k else one
                found.append(self.trace(power))
        return torch.stack(found)

    def invariant_count(self, harmonics: int = 1, odd: bool = True) -> int:
        """How many numbers `invariants` gives for one loop."""
        return harmonics

    def mean(self, weights: Tensor, elements: Sequence[Tensor]) -> Tensor:
        """The group element nearest to sum_i weights_i x_i; weights ``[len(elements), ...]``."""
        inner = (..., *[None] * len(self.matrix_shape))
        total = weights[0][inner] * elements[0]
        for weight, x in zip(weights[1:], elements[1:], strict=True):
            total = total + weight[inner] * x
        return self.project(total)

    def ambient(self, x: Tensor) -> Tensor:
        """Elements as numbers or matrices that can be added: of U(1) e^{i theta}, of matrices themselves.

        Sums of such numbers or matrices come back as they are.
        """
        return x

    def ambient_slope(self, x: Tensor, w: Tensor) -> Tensor:
        """The derivative of `ambient` of exp(h w) x by h at h = 0: of matrices i w^a T_a x."""
        return self.covector(x, w) / 2 if self.matrix_shape else w

    def ambient_product(self, factors: Sequence[Tensor], signs: Sequence[int]) -> Tensor:
        """x_1^{s_1} x_2^{s_2} ... of sums of elements, as `ambient` gives them; the sign -1 is the adjoint."""
        return self.product(factors, signs)

    def sphere(self, x: Tensor) -> Tensor:
        """Sums of elements, as `ambient` gives them, as real vectors with a b = Re Tr(A B^dagger) / N.

        For U(1) and SU(2) such sums are multiples of elements: vectors ``[..., n + 2]``, elements on the circle or the
        sphere S^3, on which Haar measure in the angle a about an axis is sin^n a da. For others ``[..., 2 N^2]``.
        """
        raise ValueError(f"{self.label} does not say what vectors sums of its elements are.")

    def from_sphere(self, x: Tensor) -> Tensor:
        """The element of a unit vector, ``[..., n + 2]`` -> ``[..., *matrix_shape]``: the inverse of `sphere`."""
        raise ValueError(f"Sums of elements are multiples of elements for U1 and SU2; got {self}.")

    def mean_element(self, loops: Tensor) -> Tensor:
        """The mean of V with density exp(Re Tr(V R) / N), R a sum of elements, in the form of `ambient`.

        For SU(N), N >= 3, it is approximate where R is no multiple of an element.
        """
        raise ValueError(f"{self.label} does not say what the mean of a link given its staples is.")

    def log_mean_weight(self, square: Tensor) -> Tensor:
        """ln <exp(Re Tr(V R) / N)> over Haar-distributed V, given the square of the length of R in `sphere`.

        For SU(N), N >= 3, it is approximate where R is no multiple of an element.
        """
        raise ValueError(f"{self.label} does not say what the mean weight of a link given its staples is.")

    def angle(self, x: Tensor) -> Tensor:
        """The angle in [-pi, pi) whose sum over the plaquettes in two dimensions is 2 pi Q; where `winding`."""
        raise ValueError(f"{self.label} has no angle, and its fields in two dimensions no topological charge.")

    def spectrum(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Eigenangles ``[..., angles]``, radians, and what `recompose` needs beside them."""
        raise ValueError(f"{self.label} does not say what its eigenangles are.")

    def recompose(self, x: Tensor, angles: Tensor, frame: Tensor, new: Tensor) -> Tensor:
        """The element with the eigenangles `new` in the place of those of x; (angles, frame) = spectrum(x)."""
        raise ValueError(f"{self.label} does not say what its eigenangles are.")

    def characters(self, order: int) -> "Characters":
        """Irreducible characters up to an order, a basis of the class functions."""
        raise ValueError(f"Characters are known for U1 and SUN; got {self}.")

    # ------------------------------------------------------------ dtypes and identity

    def field_dtype(self, dtype: torch.dtype | None) -> torch.dtype:
        """The dtype of a field whose real numbers have `dtype` (default: torch's)."""
        real = (dtype or torch.get_default_dtype()).to_real()
        return real.to_complex() if self.complex else real

    def __repr__(self) -> str:
        return f"{self.name}()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Group) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


@checked
def named(name: str) -> Group:
    """The group that has the given name, among all subclasses of `Group` that have been imported.

    Parameters
    ----------
    name : str
        Such as "Real", "U1", "SU2", "SU3"; what `Group.name` says.

    Raises
    ------
    ValueError
        For any other name.

    Examples
    --------
    >>> from flowkit.groups import named
    >>> named("SU3")
    SUN(3)
    """
    kinds, waiting = [], [Group]
    while waiting:
        kinds += (found := waiting.pop().__subclasses__())
        waiting += found
    for kind in kinds:
        group = kind.from_name(name)
        if group is not None:
            return group
    known = ", ".join(sorted(kind.name for kind in kinds if hasattr(kind, "name")))
    raise ValueError(f"A group is one of {known}, SU2, SU3, ...; got {name!r}.")
