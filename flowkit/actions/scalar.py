"""The common form of the phi^4 actions, with its exact results."""

import math
from abc import abstractmethod

from torch import Tensor

from flowkit.actions.base import Action
from flowkit.checks import checked
from flowkit.geometry.space import Space
from flowkit.geometry.symmetries import Symmetry, sign
from flowkit.kernels.scalar_action import scalar_action, scalar_force
from flowkit.observables import Observable, name_of


class ScalarAction(Action):
    r"""The common form of the phi^4 actions; a subclass names the couplings.

    .. math:: S = \sum_x \left[ -h \sum_\mu \phi_{x+\mu} \phi_x + a \phi_x^2 + g \phi_x^4 + c \right]

    summed over the components of the field.

    Parameters
    ----------
    space : Space
        Sites, fields ``[batch, components, *lattice]``.
    **couplings : float
        The couplings of the subclass, dimensionless; ``lam`` is among them.

    Raises
    ------
    ValueError
        For a space of links, a quartic coupling below 0, couplings that are not finite numbers, or g = 0 with a
        quadratic form that is not positive: exp(-S) has then no integral.

    Examples
    --------
    >>> import flowkit as fk
    >>> fk.Phi4(fk.sites((4, 4)), m2=-1.0, lam=0.5).coefficients        # h, a, g, c
    (2.0, 3.0, 0.5, 0.0)
    """

    @checked
    def __init__(self, space: Space, **couplings: float):
        super().__init__(space)
        if space.kind != "sites":
            raise ValueError(f"{type(self).__name__} lives on sites; got {space}.")
        for name, value in couplings.items():
            setattr(self, name, value)
        if couplings["lam"] < 0:
            raise ValueError(f"{type(self).__name__} needs lam >= 0; got {couplings['lam']}.")
        if couplings["lam"] == 0 and self.plain:
            h, a, _, _ = self.coefficients
            # Its eigenvalues are a - h sum_mu cos p_mu, the least one at p = 0, or next to pi where h < 0.
            far = [1.0 if h >= 0 else math.cos(2 * math.pi * (side // 2) / side) for side in space.lattice]
            if not a > h * sum(far):
                raise ValueError(
                    f"{type(self).__name__} with lam = 0 needs a positive quadratic form, a > h sum_mu cos p_mu at all "
                    f"momenta (S = sum -h phi_(x+mu) phi_x + a phi^2); got a = {a:.6g} and {h * sum(far):.6g}: exp(-S) "
                    "has no integral."
                )

    @property
    @abstractmethod
    def coefficients(self) -> tuple[float, float, float, float]:
        """The numbers (h, a, g, c) of the common form."""

    @classmethod
    @abstractmethod
    def from_coefficients(cls, space: Space, h: float, a: float, g: float) -> tuple["ScalarAction", float]:
        """The action of this class that equals the common form up to a constant, and the field's factor s."""

    def __call__(self, x: Tensor) -> Tensor:
        h, a, g, c = self.coefficients
        return scalar_action(self.space.check(x), h, a, g) + c * self.space.dof

    def force(self, x: Tensor) -> Tensor:
        h, a, g, _ = self.coefficients
        return scalar_force(x, h, a, g)

    @property
    def plain(self) -> bool:
        """Whether it is the common form and no more: a subclass may add terms in `__call__` and `force`."""
        own = type(self)
        return own.__call__ is ScalarAction.__call__ and own.force is ScalarAction.force

    @property
    def symmetries(self) -> tuple[Symmetry, ...]:
        """phi -> -phi; none of a subclass that adds terms, which may be odd."""
        return sign(self.space) if self.plain else ()

    def convert(self, other: type["ScalarAction"]) -> tuple["ScalarAction", float]:
        """This theory in the couplings of another class.

        Parameters
        ----------
        other : type
            A subclass of ScalarAction.

        Returns
        -------
        tuple
            The other action and the factor s of its field: S_other(s phi) = S(phi) + constant.

        Raises
        ------
        ValueError
            Where the other form cannot express this one.

        Examples
        --------
        >>> import flowkit as fk
        >>> fk.actions.Phi4Kappa(fk.sites((4, 4)), kappa=2.0, m_sq=1.0, lam=2.0).convert(fk.Phi4)
        (Phi4(Sites 1 component(s) on 4x4; m2=0.5, lam=2.0), 1.0)
        """
        h, a, g, _ = self.coefficients
        return other.from_coefficients(self.space, h, a, g)

    def exact(self, observable: Observable | str) -> float | None:
        from flowkit import exact

        name = name_of(observable)
        if (one_site := self._one_site()) is not None:
            return {"phi_squared": one_site[0], "susceptibility": one_site[0], "magnetization": 0.0}.get(name)
        if (m2 := self._free_mass()) is None:
            known = self._small_lattice()
            return None if known is None else {**known[0], "magnetization": 0.0}.get(name)
        scale = self.coefficients[0] / 2  # the square of the factor from this field to that of h = 2
        if name == "phi_squared":
            return exact.free_phi_squared(self.space.lattice, m2) / scale
        return {"susceptibility": exact.free_susceptibility(m2) / scale, "magnetization": 0.0}.get(name)

    def log_z(self) -> float | None:
        from flowkit import exact

        constant = self.coefficients[3] * self.space.dof
        if (one_site := self._one_site()) is not None:
            return self.space.dof * one_site[1] - constant
        if (m2 := self._free_mass()) is None:
            known = self._small_lattice()
            return None if known is None else known[1] - constant
        rescaled = self.space.volume * math.log(self.coefficients[0] / 2) / 2
        return self.space.components * (exact.free_log_z(self.space.lattice, m2) - rescaled) - constant

    def _small_lattice(self) -> tuple[dict[str, float], float] | None:
        """Means by name and ln Z (without the constant) where the transfer matrix gives them at once, else None."""
        from flowkit.exact.transfer_matrix import quick_phi4

        h, a, g, _ = self.coefficients
        if h <= 0 or self.space.components != 1:
            return None
        square = h / 2  # of the factor from this field to that of h = 2
        found = quick_phi4(self.space.lattice, a / square - 2 * self.space.ndim, g / square**2)
        if found is None:
            return None
        means = {"phi_squared": found.phi_squared / square, "susceptibility": found.susceptibility / square}
        return means, found.log_z - self.space.volume * math.log(square) / 2

    def _one_site(self) -> tuple[float, float] | None:
        """<phi^2> and ln Z of one site (without the constant) where the sites do not interact, else None."""
        h, a, g, _ = self.coefficients
        if h != 0 or (g == 0 and a <= 0):
            return None
        from flowkit import exact

        moments = exact.one_site_moments(a, g)
        return moments.phi_squared, moments.log_z

    def _free_mass(self) -> float | None:
        """The mass squared of `Phi4` of a free theory, else None."""
        h, a, g, _ = self.coefficients
        m2 = 2 * a / h - 2 * self.space.ndim if h > 0 and g == 0 else 0.0
        return m2 if m2 > 0 else None
