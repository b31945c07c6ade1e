"""A small network that acts on every site alike and alone, with its gradients field by field."""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor, nn

from flowkit.checks import Range, checked
from flowkit.kernels.autocast import FullPrecision
from flowkit.nets.activations import activation_of


class PointwiseNet(FullPrecision, nn.Module):
    r"""A network that acts on every site alike and on each one alone; its last layer is zero at the start.

    Called with ``[sizes[0], *shape]`` it returns ``[sizes[-1], *shape]``.

    Parameters
    ----------
    sizes : sequence of int
        Channels of the input, which may have none, of the hidden layers and of the output.
    activation : str
        Between the layers: "silu", "tanh", "leaky_relu" or "gelu".

    Raises
    ------
    ValueError
        For fewer than two sizes, sizes below 1, or an unknown activation.

    Notes
    -----
    .. math:: x \mapsto W_k\, s(\ldots s(W_1 x + b_1) \ldots) + b_k

    Examples
    --------
    >>> import torch
    >>> from flowkit.nets import PointwiseNet
    >>> net = PointwiseNet((2, 8, 1))
    >>> net(torch.ones(2, 5)).detach()
    tensor([[0., 0., 0., 0., 0.]])
    """

    @checked
    def __init__(self, sizes: Sequence[Annotated[int, Range(0, 2**16)]], activation: str = "tanh"):
        super().__init__()
        if len(sizes) < 2 or min(sizes[1:]) < 1:
            raise ValueError(f"PointwiseNet needs channels in, hidden ones and channels out; got {tuple(sizes)}.")
        self.sizes, self.activation = tuple(sizes), activation_of(activation)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for k in range(len(sizes) - 1):
            bound = 1 / math.sqrt(max(1, sizes[k])) if k < len(sizes) - 2 else 0.0
            self.weights.append(torch.empty(sizes[k + 1], sizes[k]).uniform_(-bound, bound))
            self.biases.append(torch.empty(sizes[k + 1]).uniform_(-bound, bound))

    def _layers(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """What each layer reads and what it gives, [channels, sites]."""
        kept: list[tuple[Tensor, Tensor]] = []
        x = x.flatten(1)
        for weight, bias in zip(self.weights, self.biases, strict=True):
            if kept:
                x = self.activation(kept[-1][1])
            kept.append((x, torch.addmm(bias[:, None], weight, x)))
        return kept

    def forward(self, x: Tensor) -> Tensor:
        return self._layers(x)[-1][1].view(-1, *x.shape[1:])

    def rows(self, x: Tensor, gradient: Tensor) -> Tensor:
        """d/dparams of the sum over sites of <gradient, net(x)>, for each field on its own: [batch, params] in the
        order of `parameters()`, for those that require a gradient. One pass backwards serves all fields, as the weights
        of a layer see the product of what it reads and of the gradient of what it gives.

        x, gradient   [channels, batch, *shape], in and out
        """
        batch, inside = x.shape[1], torch.is_grad_enabled()
        with torch.enable_grad():
            kept = self._layers(x.detach())
            last = kept[-1][1]
            if not last.requires_grad:
                return x.new_zeros(batch, 0)
            slopes = torch.autograd.grad(last, [out for _, out in kept], gradient.reshape(last.shape))
        with torch.set_grad_enabled(inside):
            to_weights, to_biases = [], []
            for (read, _), slope, weight, bias in zip(kept, slopes, self.weights, self.biases, strict=True):
                left = slope.view(len(slope), batch, -1).transpose(0, 1)
                if weight.requires_grad:
                    right = read.detach().view(len(read), batch, left.shape[-1]).permute(1, 2, 0)
                    to_weights.append((left @ right).flatten(1))
                if bias.requires_grad:
                    to_biases.append(left.sum(2))
            return torch.cat([*to_weights, *to_biases], 1)
