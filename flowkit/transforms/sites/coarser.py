"""Maps from coarser lattices: a coarse map inside a fine field, and the interpolation of one coarse configuration.

With the priors Interleaved and Embedded, whose variables lie on the fine lattice, they chain like all other transforms:

    four coarse configurations     Interleaved(r_c):  Chain(OnSublattices(coarse map), couplings)
    one and normal numbers         Embedded(r_c):     Chain(Inside(coarse map), Prolongation(space), couplings)
"""

import torch
from torch import Tensor, nn

from flowkit.checks import checked
from flowkit.geometry.doubling import halved
from flowkit.geometry.lattice import join_sublattices, split_sublattices
from flowkit.geometry.space import Space
from flowkit.transforms.base import Transform, TwoWay


class OnSublattices(TwoWay):
    r"""One coarse transform f on each of the 2^ndim sublattices of spacing 2 of a fine field.

    .. math:: y_k = f(x_k), \qquad \log|\det| = \sum_k \log|\det f'(x_k)|

    Parameters
    ----------
    coarse : Transform
        f, a transform of sites; it may itself be an `OnSublattices`.

    Raises
    ------
    ValueError
        For a transform of links.

    Examples
    --------
    >>> import flowkit as fk
    >>> coarse = fk.transforms.Affine(fk.sites((4, 4)))
    >>> print(fk.transforms.OnSublattices(coarse).space)
    Sites 1 component(s) on 8x8
    """

    @checked
    def __init__(self, coarse: Transform):
        space = coarse.space
        if space.kind != "sites":
            raise ValueError(f"OnSublattices works inside fields on sites; got {space}.")
        super().__init__(space.on([2 * side for side in space.lattice]))
        self.coarse = coarse

    def _run(self, x: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        parts = split_sublattices(self.space.check(x))
        y, logdet = (self.coarse.inverse if inverse else self.coarse)(parts.flatten(0, 1))
        return join_sublattices(y.view(parts.shape)), logdet.view(parts.shape[:2]).sum(1)

    def rebuild(self, space: Space) -> "OnSublattices":
        return OnSublattices(self.coarse.rebuild(halved(space)))


class Prolongation(TwoWay):
    r"""Interpolates a coarse field to a fine one and adds learned widths for what the coarse field leaves open.

    .. math:: y_c = x_c, \qquad y_\text{other} = (P x_c) + e^{a}\, x_\text{other}

    The coarse field :math:`x_c` lives at even coordinates. One width a is learned for each of the other
    :math:`2^{d} - 1` sublattices; logdet is the number of degrees of freedom of a sublattice times the sum of the a.

    Parameters
    ----------
    space : Space
        Sites of the fine lattice, even sides, fields ``[batch, components, *lattice]``.
    kind : {"average", "copy"}
        The interpolation P: the mean of the nearest coarse sites (two on a coarse link, four in the middle of a coarse
        plaquette), or a copy of the coarse site of each cell.

    Raises
    ------
    ValueError
        For links, odd sides, or another kind.

    Examples
    --------
    >>> import torch
    >>> import flowkit as fk
    >>> prolongation = fk.transforms.Prolongation(fk.sites((4,)), kind="copy")
    >>> prolongation(torch.tensor([[[5.0, 0.1, 7.0, 0.2]]]))[0].detach()
    tensor([[[5.0000, 5.1000, 7.0000, 7.2000]]])
    """

    @checked
    def __init__(self, space: Space, kind: str = "average"):
        super().__init__(space)
        self.coarse_space = halved(space)
        if kind not in ("average", "copy"):
            raise ValueError(f"A Prolongation takes the 'average' or a 'copy' of coarse sites; got {kind!r}.")
        self.kind = kind
        self.log_scale = nn.Parameter(torch.zeros(2**space.ndim - 1, 1, *[1] * space.ndim))

    def _predict(self, coarse: Tensor) -> Tensor:
        """P of a coarse field at the other sublattices, [batch, 2^ndim - 1, components, *coarse lattice]."""
        parts = [coarse]
        for axis in range(2, coarse.dim()):  # the last axis runs fastest, as in split_sublattices
            parts = [
                one
                for part in parts
                for one in (part, part if self.kind == "copy" else (part + torch.roll(part, -1, axis)) / 2)
            ]
        return torch.stack(parts[1:], 1)

    def _run(self, x: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        parts = split_sublattices(self.space.check(x))
        coarse, others = parts[:, 0], parts[:, 1:]
        guess, logdet = self._predict(coarse), (self.log_scale.sum() * self.coarse_space.dof).expand(len(x))
        new = (others - guess) * (-self.log_scale).exp() if inverse else guess + self.log_scale.exp() * others
        return join_sublattices(torch.cat([coarse[:, None], new], 1)), -logdet if inverse else logdet
