"""Maps of SU(N) matrices through their eigenvalues: splines on the alcove, and the transform that applies one."""

import torch
from torch import Tensor, nn

from flowkit.bijections.alcove import AlcoveSpline
from flowkit.geometry.space import Space
from flowkit.groups import SUN
from flowkit.kernels.sun import recompose, spectrum
from flowkit.transforms.base import Transform


class SpectralFlow(Transform):
    """V diag(e^{i a}) V^dagger -> V diag(e^{i h(a)}) V^dagger for every link on its own, h one learned AlcoveSpline.

    It keeps eigenvectors and commutes with conjugation, f(W U W^dagger) = W f(U) W^dagger; applied to Haar measure its
    density is a class function, so that it can become that of a MatrixModel.

    Field     links of SU(N), [batch, mu, *lattice, N, N]
    bins      of the splines
    order     how the later splines depend on the earlier coordinates; see AlcoveSpline
    Raises    ValueError for another space, and as AlcoveSpline
    See       2003.06413, 2008.05456
    """

    def __init__(self, space: Space, bins: int = 8, order: int = 4):
        super().__init__(space)
        if space.kind != "links" or not isinstance(space.group, SUN):
            raise ValueError(f"SpectralFlow needs links of SU(N); got {space}.")
        self.map = AlcoveSpline(space.group.n, bins, order)
        self.params = nn.Parameter(torch.zeros(self.map.count))

    def _through(self, x: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        angles, vectors = spectrum(self.space.check(x))
        run = self.map.inverse if inverse else self.map.forward
        new, logdet = run(angles.movedim(-1, 0), self.params)
        return recompose(x, angles, vectors, new.movedim(0, -1)), logdet.flatten(1).sum(1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._through(x, False)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return self._through(y, True)

    def rebuild(self, space: Space) -> "SpectralFlow":
        return SpectralFlow(space, self.map.bins, self.map.order)
