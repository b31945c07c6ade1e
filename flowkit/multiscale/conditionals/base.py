"""What a model of a new link is: the conditional density of a link given the loops through it."""

from abc import abstractmethod

from torch import Tensor, nn

from flowkit.bijections.base import Bijection
from flowkit.groups import Group
from flowkit.multiscale.doubling import Loops
from flowkit.tasks.randomness import Rng


class LinkConditional(nn.Module, Bijection[Loops]):
    r"""A density ``q(V | R_1, ..., R_k)`` of one link, written as an invertible map of a Haar-distributed link.

    The R_i close loops through V: the W_i = V R_i are plaquettes, and the S_i = R_i^-1 are the staples. In two
    dimensions there are two loops, left and right of the link. Links are independent of each other given their loops.

    A subclass defines `group`, `forward` and `inverse`; where they are cheaper than the inverse map it also defines
    `log_prob`, `score` and `sample_and_log_prob`.

    Notes
    -----
    All densities are with respect to normalised Haar measure. For the map u -> V of a Haar-distributed u

    .. math:: \log q(V | R) = -\log|\det \partial V/\partial u|

    Links and loops have the shape ``[batch, ..., *matrix]``, log q has ``[batch, ...]``.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> group, rng = fk.U1(), torch.Generator().manual_seed(1)
    >>> model = fk.multiscale.HeatbathConditional(group, strength=2.0)
    >>> loops = (group.haar((3, 5), rng), group.haar((3, 5), rng))       # two loops through each of 3 x 5 links
    >>> v, logq = model.sample_and_log_prob(loops, rng)
    >>> u, logdet = model.inverse(v, loops)
    >>> bool(torch.allclose(logdet, logq, atol=1e-4)), v.shape
    (True, torch.Size([3, 5]))
    """

    group: Group

    @abstractmethod
    def forward(self, u: Tensor, loops: Loops) -> tuple[Tensor, Tensor]:
        """(V, -log q(V | loops)) for u from Haar measure; differentiable in u, in the loops and in the parameters."""

    @abstractmethod
    def inverse(self, v: Tensor, loops: Loops) -> tuple[Tensor, Tensor]:
        """(u, log q(V | loops)): the inverse of `forward`."""

    def log_prob(self, v: Tensor, loops: Loops) -> Tensor:
        """The log-density of each link given the loops through it, log q(V | loops), in the shape of the links."""
        return self.inverse(v, loops)[1]

    def score(self, v: Tensor, loops: Loops) -> Tensor:
        """The derivatives of log q, summed over the links of each field, without autograd.

        Returns
        -------
        Tensor
            ``[batch, params]``, for the parameters that require a gradient in the order of `parameters()`, each
            flattened.

        Raises
        ------
        ValueError
            Where a model has no closed form for it.
        """
        raise ValueError(f"{type(self).__name__} has no score in closed form; train it by a gradient.")

    @property
    def scored(self) -> bool:
        """Whether `score` is known in closed form."""
        return type(self).score is not LinkConditional.score

    def strengthen(self, ratio: float) -> None:
        """Multiply the strength of the model by `ratio` in place, as a start for training at another coupling.

        A model without a parameter for the strength stays as it is.
        """

    def sample_and_log_prob(self, loops: Loops, rng: Rng = None) -> tuple[Tensor, Tensor]:
        """Independent links and their log q, one for each link whose loops are given."""
        like = loops[0]
        shape = tuple(like.shape[: like.dim() - len(self.group.matrix_shape)])
        v, logdet = self(self.group.haar(shape, rng, like.real.dtype).to(like.device), loops)
        return v, -logdet
