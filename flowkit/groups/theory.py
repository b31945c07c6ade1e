"""What a group knows of its gauge theory with Wilson's action: heatbath steps and exact results."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class GaugeTheory:
    r"""The part of a `Group` that belongs to the theory :math:`S = -(\beta / N) \sum_P \mathrm{Re\,Tr}\, U_P`.

    Each method has a default: a heatbath refuses with a message, an exact result is None. Groups override what they
    know. Volumes count the plaquettes of a periodic lattice in two dimensions.

    Attributes
    ----------
    name : str
        What files and messages call the group, as "SU3".
    decimated : bool
        Whether `decimated_log_weight` is known at every area.
    solved_2d : bool
        Whether fields in two dimensions can be drawn exactly: `one_plaquette`, `first_of_two`,
        `one_plaquette_log_z`, `log_z_2d`, and `decimated_log_weight` at every area are known.

    Examples
    --------
    >>> import flowkit as fk
    >>> round(fk.SUN(2).wilson_loop_2d(beta=2.0, area=4, volume=64), 4)
    0.0352
    >>> fk.SUN(2).charge_squared_2d(beta=2.0, volume=64) is None      # SU(2) has no charge in two dimensions
    True
    """

    name: str
    decimated: bool = False
    solved_2d: bool = False

    @property
    def wilson_kernel(self) -> str | None:
        """The C source with heatbath, force and plaquettes of this group's links, or None.

        A subclass, which may override what is written there, inherits none.
        """
        kernels: dict[str, str] = vars(type(self)).get("_kernels", {})
        return kernels.get(self.name)

    @property
    def label(self) -> str:
        """The name as figures print it, such as "SU(3)"."""
        return self.name

    # ------------------------------------------------------------ heatbath

    def heatbath(self, v: Tensor, staples: Tensor, beta: float, rng: torch.Generator) -> Tensor:
        """Links drawn anew from p(V) ~ exp((beta/N) Re Tr V A^dagger), or updated by a step that leaves it invariant.

        Parameters
        ----------
        v : Tensor
            Links ``[..., *matrix_shape]``.
        staples : Tensor
            A, the sum of the staples of each link as `ambient` elements.
        """
        raise ValueError(f"{self.label} does not say how a link is drawn anew.")

    def overrelax(self, v: Tensor, staples: Tensor) -> Tensor:
        """The overrelaxation step: a reflection of V that leaves Re Tr V A^dagger unchanged and is its own inverse."""
        raise ValueError(f"{self.label} does not say how a link is reflected.")

    def annealed_heatbath(
        self, v: Tensor, staples: Tensor, slope: Tensor, step: float, rng: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        r"""Links drawn anew while their staples grow from A to A + h S, with the weights of the path.

        Parameters
        ----------
        v : Tensor
            Links ``[..., *matrix_shape]``.
        staples, slope : Tensor
            A and S, sums of staples with their couplings, as `ambient` elements.
        step : float
            h.

        Returns
        -------
        tuple of Tensor
            The links, and ln w, ``[...]``.

        Notes
        -----
        For V with weights w_0 of the density exp(Re Tr V A^dagger / N), the new links have weights w_0 w of that of
        A + h S. Where V is drawn as a whole, w is the ratio of the normalisers

        .. math:: w = z(A + h S) / z(A), \qquad z(A) = \int dV\, e^{\frac{1}{N} \mathrm{Re\,Tr}\, V A^\dagger},

        a function of the staples alone, whose variance is below that of the usual weight
        :math:`e^{\frac{h}{N} \mathrm{Re\,Tr}\, V S^\dagger}`. Where subgroups are drawn in turn, each of them takes
        an equal part of h, and w is the product of their ratios.
        """
        raise ValueError(f"{self.label} does not say how a link is drawn anew.")

    # ------------------------------------------------------------ exact draws of plaquettes in two dimensions

    def one_plaquette(
        self, shape: tuple[int, ...], beta: float, rng: torch.Generator, dtype: torch.dtype | None = None
    ) -> Tensor:
        """Independent elements of density f(P) ~ exp((beta/N) Re Tr P), exactly; `shape` without the matrix axes."""
        raise ValueError(f"{self.label} does not say how a plaquette is drawn exactly.")

    def first_of_two(self, product: Tensor, beta: float, rng: torch.Generator) -> Tensor:
        """The first, X, of two plaquettes with law f whose product is D: density ~ f(X) f(X^-1 D), exactly.

        Parameters
        ----------
        product : Tensor
            D, ``[n, *matrix_shape]``; one X is drawn for each.
        """
        raise ValueError(f"{self.label} does not say how two plaquettes of given product are drawn exactly.")

    # ------------------------------------------------------------ exact results of S = -(beta/N) sum Re Tr U_P

    def one_plaquette_mean(self, beta: float) -> float | None:
        """<Re Tr U / N> of one element of weight exp((beta/N) Re Tr U), or None where no formula is known."""
        return None

    def one_plaquette_log_z(self, beta: float) -> float | None:
        """ln of the Haar integral of exp((beta/N) Re Tr U), or None."""
        return None

    def wilson_loop_2d(self, beta: float, area: int, volume: int) -> float | None:
        """<Re Tr W / N> around `area` of the `volume` plaquettes of a periodic lattice in two dimensions, or None."""
        return None

    def log_z_2d(self, beta: float, volume: int) -> float | None:
        """ln Z of that lattice in normalised Haar measure, or None."""
        return None

    def charge_squared_2d(self, beta: float, volume: int) -> float | None:
        """<Q^2> of that lattice, or None."""
        return None

    def charge_distribution_2d(self, beta: float, volume: int, charges: Sequence[int]) -> Any:
        """P(Q) of that lattice as an array ``[len(charges)]``, or None."""
        return None

    def decimated_log_weight(self, plaquettes: Tensor, beta: float, area: int) -> Tensor:
        """ln sum_r d_r u_r^A chi_r(P): the exact log-weight of a coarse plaquette P in the place of `area` fine ones.

        Integrating the link between two plaquettes multiplies their character coefficients u_r = c_r/d_r. The sum
        alternates in sign: its relative error is about 1e-16 max(w)/w of a plaquette's weight w.
        """
        raise ValueError(f"The decimated action is known for U1, SU2 and SU3; got {self}.")
