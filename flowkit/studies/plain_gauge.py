"""SU(3) gauge fields by plain numpy, as the formulas stand: Wilson flow, energy density and Wilson loops.

A reference that shares no code with the library. Fields are [mu, x, y, z, t, 3, 3].
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrices = NDArray[Any]


def ahead(m: Matrices, mu: int, by: int = 1) -> Matrices:
    """Matrices [x, y, z, t, 3, 3] of the sites `by` steps ahead in direction mu."""
    found: Matrices = np.roll(m, -by, mu)
    return found


def adjoint(m: Matrices) -> Matrices:
    """M^dagger."""
    found: Matrices = m.swapaxes(-1, -2).conj()
    return found


def staples(u: Matrices, mu: int) -> Matrices:
    """A = the sum of the six staples parallel to each link of direction mu."""
    total: Matrices = np.zeros_like(u[mu])
    for nu in range(4):
        if nu != mu:
            total += u[nu] @ ahead(u[mu], nu) @ adjoint(ahead(u[nu], mu))
            total += ahead(adjoint(u[nu]) @ u[mu] @ ahead(u[nu], mu), nu, -1)
    return total


def slope(u: Matrices) -> Matrices:
    """dV/dt = Z V, Z the antihermitian traceless part of -V A^dagger."""
    found = []
    for mu in range(4):
        loops = u[mu] @ adjoint(staples(u, mu))
        z = (adjoint(loops) - loops) / 2
        z -= np.trace(z, axis1=-2, axis2=-1)[..., None, None] / 3 * np.eye(3)
        found.append(z @ u[mu])
    return np.stack(found)


def wilson_flow(u: Matrices, t: float, step: float) -> Matrices:
    """The flow by the classical Runge-Kutta method of fourth order for the entries of the matrices."""
    n = round(t / step)
    h = t / n
    for _ in range(n):
        k1 = slope(u)
        k2 = slope(u + h / 2 * k1)
        k3 = slope(u + h / 2 * k2)
        u = u + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(u + h * k3))
    return u


def energy(u: Matrices) -> float:
    """E = sum over mu < nu of Tr F^2, F from the four leaves of the clover; the mean over the sites."""
    total = 0.0
    for mu in range(4):
        for nu in range(mu + 1, 4):
            a, b = u[mu], u[nu]
            back_a, back_b = adjoint(ahead(a, mu, -1)), adjoint(ahead(b, nu, -1))
            leaves = a @ ahead(b, mu) @ adjoint(ahead(a, nu)) @ adjoint(b)
            leaves = leaves + b @ adjoint(ahead(ahead(a, mu, -1), nu)) @ adjoint(ahead(b, mu, -1)) @ ahead(a, mu, -1)
            corner = ahead(ahead(b, mu, -1), nu, -1)
            leaves = leaves + back_a @ adjoint(corner) @ ahead(ahead(a, mu, -1), nu, -1) @ ahead(b, nu, -1)
            leaves = leaves + back_b @ ahead(a, nu, -1) @ ahead(ahead(b, nu, -1), mu) @ adjoint(a)
            f = (leaves - adjoint(leaves)) / 8j
            f = f - np.trace(f, axis1=-2, axis2=-1)[..., None, None] / 3 * np.eye(3)
            total += float(np.trace(f @ f, axis1=-2, axis2=-1).real.mean())
    return total


def wilson_loop(u: Matrices, r: int, t: int, time: int) -> float:
    """Re Tr W(r, t) / 3, the mean over the sites and the three planes that hold `time`."""
    values = []
    for mu in range(4):
        if mu != time:
            steps = [(mu, 1)] * r + [(time, 1)] * t + [(mu, -1)] * r + [(time, -1)] * t
            product, at = np.broadcast_to(np.eye(3, dtype=u.dtype), u[0].shape), [0, 0, 0, 0]
            for nu, sign in steps:
                at[nu] -= sign < 0
                link = u[nu]
                for axis, by in enumerate(at):
                    link = ahead(link, axis, by)
                product = product @ (link if sign > 0 else adjoint(link))
                at[nu] += sign > 0
            values.append(float(np.trace(product, axis1=-2, axis2=-1).real.mean()) / 3)
    return float(np.mean(values))
