"""The exact Gaussian of the lattice Laplacian."""

import math

import torch
from torch import Tensor, nn

from flowkit.checks import Positive, checked
from flowkit.geometry.lattice import momentum_squared
from flowkit.geometry.space import Space
from flowkit.priors.base import Prior
from flowkit.tasks.randomness import Rng


class FreeField(Prior):
    r"""The free scalar field, drawn exactly by a Fourier transform and with its exact density.

    .. math::

        r(\phi) \propto \exp\Big(-\tfrac12 \sum_p K(p)\, |\tilde\phi(p)|^2 / V\Big), \qquad
        K(p) = 2\,(\hat p^2 + m^2) / s^2, \qquad \hat p^2 = \sum_\mu 4 \sin^2(p_\mu / 2).

    This is the theory of the action ``Phi4(space, m2, lam=0)``, with the field rescaled by s. As the prior of a flow it
    has long-distance correlations from the start.

    Parameters
    ----------
    space : Space
        Sites, fields ``[batch, components, *lattice]``.
    m2 : float
        Mass squared, positive, in units of the inverse lattice spacing squared.
    learned : bool
        Whether m2 and the scale s (1 at the start) are parameters that training changes.

    Raises
    ------
    ValueError
        For links, or m2 that is not positive.

    See Also
    --------
    flowkit.exact.free_phi_squared, flowkit.exact.free_log_z

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> prior = fk.FreeField(fk.sites((8, 8)), m2=0.5)
    >>> phi = prior.sample(20_000, torch.Generator().manual_seed(1))
    >>> exact = fk.exact.free_phi_squared((8, 8), m2=0.5)
    >>> print(f"{float(phi.square().mean()):.3f}, exact {exact:.3f}")
    0.159, exact 0.159
    """

    @checked
    def __init__(self, space: Space, m2: Positive = 1.0, learned: bool = False):
        super().__init__(space)
        if space.kind != "sites":
            raise ValueError(f"FreeField lives on sites; got {space}.")
        self.log_m2 = nn.Parameter(torch.tensor(math.log(m2)), requires_grad=learned)
        self.log_scale = nn.Parameter(torch.tensor(0.0), requires_grad=learned)
        self.learned = learned

    @property
    def m2(self) -> float:
        """Mass squared, dimensionless."""
        return float(self.log_m2.detach().exp())

    def kernel(self) -> Tensor:
        """K(p) = 2 (p^2 + m2) / s^2, [*lattice]: the inverse of the two-point function."""
        p2 = momentum_squared(self.space.lattice, self.log_m2)
        return 2 * (p2 + self.log_m2.exp()) * (-2 * self.log_scale).exp()

    def _multiply(self, x: Tensor, spectrum: Tensor) -> Tensor:
        axes = tuple(range(2, 2 + self.space.ndim))
        product: Tensor = torch.fft.ifftn(torch.fft.fftn(x, dim=axes) * spectrum, dim=axes).real
        return product

    def sample(self, n: int, rng: Rng = None) -> Tensor:
        z = torch.randn(n, *self.space.shape, generator=self._draws(n, rng), dtype=self.dtype, device=self.device)
        return self._multiply(z, self.kernel().rsqrt())

    def log_prob(self, x: Tensor) -> Tensor:
        kernel = self.kernel()
        quadratic = (self.space.check(x) * self._multiply(x, kernel)).flatten(1).sum(1)
        log_norm = kernel.log().sum() - self.space.volume * math.log(2 * math.pi)
        return (self.space.components * log_norm - quadratic) / 2
