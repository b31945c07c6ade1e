"""Exact draws from the von Mises-Fisher distributions that heatbaths need, on the circle and on the three-sphere.

The cosine c of the angle to the mean direction has the density (1 - c^2)^((m - 3)/2) exp(kappa c), c in [-1, 1]: m = 2
is a link of U(1), m = 4 one of SU(2). Rejection from an envelope that fits at every kappa: Wood, Commun. Stat. Simul.
Comput. 23 (1994) 157; for m = 2 it is the method of Best and Fisher, J. R. Stat. Soc. C 28 (1979) 152. It accepts
65 % of the proposals or more. Everything is written in 1 - c, which stays accurate for large kappa.
"""

import math

import torch
from torch import Tensor

TRIES = 8  # at once for draws that the first proposal did not fit: most steps then need three rounds, not ten
MOST_ROUNDS = 100  # a try fits two times in three: only NaN survives this many rounds


def von_mises(kappa: Tensor, rng: torch.Generator) -> Tensor:
    """Angles with density exp(kappa cos theta) / (2 pi I_0(kappa)), in [-pi, pi], shape of kappa >= 0."""
    angle = 2 * (one_minus_cosine(kappa, 2, rng) / 2).sqrt().clamp(max=1).asin()
    return torch.where(_uniform(kappa, rng) < 0.5, angle, -angle)


def su2_element(kappa: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Elements [[a, b], [-b*, a*]] of SU(2) with density exp(kappa Re a) in the Haar measure.

    kappa     >= 0, [...]
    Returns   a and b, complex, [...]
    """
    d = one_minus_cosine(kappa, 4, rng)
    radius = (d * (2 - d).clamp(min=0)).sqrt()
    z = 2 * _uniform(kappa, rng) - 1
    phi = 2 * math.pi * _uniform(kappa, rng)
    return torch.complex(1 - d, radius * z), torch.polar(radius * (1 - z * z).sqrt(), phi)


def one_minus_cosine(kappa: Tensor, m: int, rng: torch.Generator) -> Tensor:
    """1 - c with density ~ (1 - c^2)^((m - 3)/2) exp(kappa c), m = 2 or 4, in [0, 2], shape of kappa >= 0.

    Raises    ValueError where kappa is NaN or infinite
    """
    k = kappa.flatten()
    result, fits = _propose(k, m, rng)
    waiting = (~fits).nonzero().squeeze(1)
    for _ in range(MOST_ROUNDS):
        if not len(waiting):
            return result.view_as(kappa)
        values, fits = _propose(k[waiting].expand(TRIES, -1), m, rng)
        first = fits.to(torch.uint8).argmax(0, keepdim=True)
        result[waiting] = values.gather(0, first)[0]
        waiting = waiting[~fits.any(0)]
    raise ValueError(f"A heatbath needs finite kappa >= 0; {len(waiting)} draws never fit.")


def _propose(k: Tensor, m: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    b = (m - 1) / (2 * k + (4 * k * k + (m - 1) ** 2).sqrt())
    # z ~ Beta((m - 1)/2, (m - 1)/2): (1 + a coordinate of a uniform point of the sphere) / 2
    z = (math.pi * _uniform(k, rng)).sin().square()
    if m == 4:
        z = 0.5 + (z - 0.5) * (1 - _uniform(k, rng)).sqrt()
    d = 2 * b * z / (1 - (1 - b) * z)
    gap = 2 * b / (1 + b)  # 1 - x0, x0 = (1 - b)/(1 + b)
    log_ratio = k * (gap - d) + (m - 1) * ((gap + (1 - gap) * d) * (1 + b) ** 2 / (4 * b)).log()
    return d, _uniform(k, rng).log() <= log_ratio


def _uniform(like: Tensor, rng: torch.Generator) -> Tensor:
    return torch.rand(like.shape, generator=rng, device=like.device, dtype=like.dtype)
