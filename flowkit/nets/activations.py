"""The functions between the layers of a network."""

from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
}


def activation_of(name: str) -> nn.Module:
    """The module that computes an activation.

    Raises
    ------
    ValueError
        For a name that is none of `ACTIVATIONS`.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"An activation is one of {', '.join(ACTIVATIONS)}; got {name!r}.")
    return ACTIVATIONS[name]()
