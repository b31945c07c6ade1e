"""A valid call of each public function and constructor, and what else its arguments may be: for the fuzz of bad input.

A table, a line or two for each name; longer than most files because the public names are many.
"""

import functools
import tempfile
from collections.abc import Callable
from typing import Any

import torch

import flowkit as fk
from flowkit import exact, geometry, multiscale, nets, samplers, stats, storage, tasks, train, transforms
from flowkit.bijections import (
    AlcoveSpline,
    CircleSpline,
    EigenangleSpline,
    FramedMap,
    IntervalSpline,
    OddCircleSpline,
    RealSpline,
    Residual,
    TangentMixture,
    angle_spline,
)
from flowkit.testing import example

SITES, LINKS, SU2 = fk.sites((4, 2)), fk.links((4, 2), fk.U1()), fk.links((2, 2), fk.SUN(2))
THREE = fk.links((1, 2, 2), fk.U1())
LIFTS = fk.geometry.lifts(fk.links((2, 3, 2), fk.U1()))
FOUR = fk.links((2, 2, 2, 2), fk.SUN(2))
PHI4, WILSON = fk.Phi4(SITES, m2=1.0, lam=0.5), fk.Wilson(LINKS, beta=2.0)


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(1)


X, U = 0.1 * torch.randn(2, *SITES.shape, generator=rng()), LINKS.haar(2, rng())
V4 = FOUR.haar(1, rng())
FIVE = fk.Wilson(fk.links((4, 5), fk.U1()), beta=1.0)
LOOPS = fk.variance.loop_basis(FIVE.space, order=1)
OTHER = fk.Wilson(fk.links((4, 2, 2), fk.SUN(2)), beta=1.0)
SLICES = fk.variance.loop_basis(OTHER.space, order=1, slices=True)
THIN = fk.run(fk.Heatbath(OTHER), 12, chains=2, thermalise=4, rng=1)
FEW = fk.run(fk.Heatbath(FIVE), 12, chains=2, thermalise=4, rng=1)
BLOCK = fk.models.dressed_block(FIVE.space, beta=1.0)


@functools.cache
def one(kind: type[Any]) -> Any:
    return example(kind)


def scalar() -> fk.Flow:
    return fk.Flow(fk.Normal(SITES), transforms.Affine(SITES))


def gauge() -> fk.Flow:
    return fk.gauge_flow(LINKS, bins=4, hidden=(4,))


MODEL = fk.multiscale_flow(LINKS)
HMC = fk.HMC(PHI4, steps=2)
RUN = fk.run(HMC, 4, chains=2, rng=1, observe=[fk.phi_squared])
ON_DISK = tempfile.mkdtemp()
LASTING = fk.HMC(PHI4, steps=2)
fk.run(LASTING, 4, chains=2, rng=1, to=ON_DISK)
CUBE = fk.Wilson(fk.links((2, 2, 2), fk.U1()), beta=2.0)
PHOTONS = fk.importance_sample(fk.photon_flow(CUBE.space, 2.0), CUBE, 8, rng=1)
SU3_4D = fk.Wilson(fk.links((2, 2, 2, 2), fk.SUN(3)), beta=5.0)
HEAT = fk.run(fk.Heatbath(SU3_4D), 2, chains=1, rng=1)
CONFIGURATIONS = [str(path) for path in fk.formats.write_ensemble(HEAT, tempfile.mkdtemp())]
NUMBERS = fk.ensemble.field_numbers(RUN)
LAYERS = fk.ensemble.layer_numbers(scalar(), PHI4, n=4, fields=2)
SAVED = tempfile.mkdtemp()
WEIGHTS = f"{tempfile.mkdtemp()}/weights.safetensors"
fk.Trainer(scalar(), PHI4, batch=4).fit(1, progress=False).save(SAVED)
BY_SCALE = multiscale.by_scale(MODEL, WILSON, MODEL.sample(8, rng()).detach(), fields=2)
COMPARED = fk.compare({"a": HMC}, [fk.phi_squared], forces=40, chains=2, thermalise=1, seconds=1, rng=1)
DOUBLING = multiscale.LinkDoubling(fk.links((2, 2), fk.U1()), 0)
EVEN, ODD = (torch.where(geometry.parity((4, 2)) == p)[0] for p in (0, 1))
STRIPES, PLAQUETTE = fk.Pattern.stripes(0, (1, 2), (0, 1)), fk.Loop.rectangle()


CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    # geometry
    "sites": (fk.sites, {"lattice": (4, 2), "components": 1}),
    "links": (fk.links, {"lattice": (4, 2), "group": fk.U1()}),
    "Space": (fk.Space, {"lattice": (4, 2), "group": fk.U1(), "kind": "links", "components": 2}),
    "Loop": (fk.Loop, {"path": ((0, 1), (1, 1), (0, -1), (1, -1))}),
    "Phase": (geometry.Phase, {"steps": (0, 1), "width": 2, "starts": (1,)}),
    "Pattern": (fk.Pattern, {"directions": (0,), "phases": (geometry.Phase((0, 1), 2),)}),
    "charge_density_2d": (geometry.charge_density_2d, {"space": LINKS, "U": U}),
    "charge_density_4d": (geometry.charge_density_4d, {"space": FOUR, "U": V4}),
    "clover": (geometry.clover, {"space": FOUR, "U": V4, "mu": 0, "nu": 1}),
    "field_strength": (geometry.field_strength, {"space": FOUR, "U": V4, "mu": 0, "nu": 1}),
    "coordinates": (geometry.coordinates, {"lattice": (4, 2)}),
    "format_lattice": (geometry.format_lattice, {"lattice": (4, 2)}),
    "momentum_squared": (geometry.momentum_squared, {"lattice": (4, 2), "like": torch.zeros(1)}),
    "parity": (geometry.parity, {"lattice": (4, 2)}),
    "shift": (geometry.shift, {"x": X, "mu": 0, "n": 1}),
    "site_index": (geometry.site_index, {"coordinate": torch.tensor([3, -1]), "lattice": (4, 2)}),
    "split_sublattices": (geometry.split_sublattices, {"x": X}),
    "join_sublattices": (geometry.join_sublattices, {"parts": geometry.split_sublattices(X)}),
    "link": (geometry.link, {"U": U, "mu": 1}),
    "line": (geometry.line, {"space": LINKS, "U": U, "mu": 0, "length": 2}),
    "rectangle": (geometry.rectangle, {"space": LINKS, "U": U, "mu": 0, "nu": 1, "r": 1, "t": 1, "wrap": True}),
    "plaquettes": (geometry.plaquettes, {"space": LINKS, "U": U}),
    "staples": (geometry.staples, {"space": LINKS, "U": U, "mu": 0, "nu": 1}),
    "staple_list": (geometry.staple_list, {"space": LINKS, "U": U, "mu": 0}),
    "gauge_transform": (geometry.gauge_transform, {"space": LINKS, "U": U, "g": U[:, :1]}),
    "link_index": (
        geometry.link_index,
        {"space": LINKS, "sites": torch.tensor([0, 1]), "steps": PLAQUETTE.steps(2)},
    ),
    "active_links": (geometry.active_links, {"space": LINKS, "pattern": STRIPES, "loop": PLAQUETTE}),
    "frozen_loops": (geometry.frozen_loops, {"space": LINKS, "pattern": STRIPES, "loop": PLAQUETTE}),
    "links_through": (geometry.links_through, {"space": LINKS, "pattern": STRIPES, "loop": PLAQUETTE}),
    "loop_roles": (
        geometry.loop_roles,
        {"space": LINKS, "pattern": STRIPES, "loop": PLAQUETTE, "through": [PLAQUETTE]},
    ),
    "require_single": (geometry.require_single, {"space": LINKS, "pattern": STRIPES, "loop": PLAQUETTE}),
    "pattern_table": (geometry.pattern_table, {"space": LINKS, "pattern": STRIPES}),
    "pattern_numbers": (fk.ensemble.pattern_numbers, {"pattern": STRIPES, "lattice": (4, 2)}),
    "link_updates": (geometry.link_updates, {"space": LINKS, "patterns": STRIPES.schedule()}),
    "require_equal_updates": (geometry.require_equal_updates, {"space": LINKS, "patterns": STRIPES.schedule()}),
    "group_images": (geometry.group_images, {"symmetries": PHI4.symmetries, "x": X}),
    # groups and observables
    "SUN": (fk.SUN, {"n": 3}),
    "named": (fk.groups.named, {"name": "SU3"}),
    "Observable": (
        fk.Observable,
        {"name": "a", "label": "b", "function": fk.phi_squared.function, "unit": "c", "kind": "sites"},
    ),
    "wilson_loop": (fk.wilson_loop, {"r": 1, "t": 2, "plane": (0, 1)}),
    "wilson_loops": (fk.observables.wilson_loops, {"space": LINKS, "x": U, "r": 2, "t": 2, "time": 1}),
    "polyakov_loops": (fk.observables.polyakov_loops, {"space": LINKS, "x": U, "mu": 1}),
    "polyakov_correlator": (fk.observables.polyakov_correlator, {"space": LINKS, "x": U, "mu": 1, "along": 0}),
    "two_point": (fk.observables.two_point, {"space": SITES, "x": X, "time": 1, "momentum": (1,)}),
    "correlator": (fk.observables.correlator, {"t": 1, "time": 1, "momentum": (1,)}),
    "structure_factor": (fk.observables.structure_factor, {"momentum": (1, 0)}),
    "magnetization_power": (fk.observables.magnetization_power, {"n": 2}),
    "effective_mass": (fk.observables.effective_mass, {"correlator": [3.0, 2.0, 1.5, 2.0], "form": "log"}),
    "static_potential": (fk.observables.static_potential, {"loops": [[0.5, 0.3], [0.3, 0.1]]}),
    "fit_potential": (
        fk.observables.fit_potential,
        {"potential": [0.5, 0.7, 1.0], "errors": [0.1, 0.1, 0.2], "first": 1},
    ),
    "binder_cumulant": (fk.observables.binder_cumulant, {"m2": 1.0, "m4": 2.0}),
    "second_moment_length": (fk.observables.second_moment_length, {"g0": 2.0, "g1": 1.0, "side": 4}),
    "t0": (fk.observables.t0, {"times": range(1, 6), "energies": [0.2, 0.1, 0.1, 0.1, 0.1], "level": 0.3}),
    "w0": (fk.observables.w0, {"times": range(1, 6), "energies": [0.2, 0.1, 0.1, 0.1, 0.1], "level": 0.3}),
    "flux": (fk.observables.flux, {"mu": 0, "nu": 1}),
    "polyakov": (fk.observables.polyakov, {"mu": 0, "part": "real"}),
    "plaquette": (fk.plaquette, {"space": LINKS, "x": U}),
    "trace": (fk.observables.trace, {"space": LINKS, "x": U}),
    "topological_charge": (fk.topological_charge, {"space": LINKS, "x": U}),
    "charge_squared": (fk.charge_squared, {"space": LINKS, "x": U}),
    "magnetization": (fk.magnetization, {"space": SITES, "x": X}),
    "phi_squared": (fk.phi_squared, {"space": SITES, "x": X}),
    "susceptibility": (fk.susceptibility, {"space": SITES, "x": X}),
    "measured wilson_loop": (fk.wilson_loop(1, 1), {"space": LINKS, "x": U}),
    "measured polyakov": (fk.observables.polyakov(0), {"space": LINKS, "x": U}),
    "energy_density": (fk.observables.energy_density, {"form": "clover"}),
    "smeared": (fk.observables.smeared, {"observable": fk.plaquette, "smear": fk.smearing.ape, "name": "ape"}),
    "flowed": (fk.observables.flowed, {"observable": fk.plaquette, "t": 0.1, "step": 0.1, "tolerance": 0.1}),
    "flow_history": (
        fk.observables.flow_history,
        {"space": LINKS, "x": U, "observables": [fk.plaquette], "times": (0.0, 0.1), "step": 0.1, "tolerance": 0.1},
    ),
    "wilson_flow": (
        fk.smearing.wilson_flow,
        {"space": LINKS, "x": U, "t": 0.1, "step": 0.1, "tolerance": 0.1, "c1": -0.1},
    ),
    "flow_fields": (
        lambda **k: list(fk.smearing.flow_fields(**k)),
        {"space": LINKS, "x": U, "times": (0.0, 0.1), "step": 0.1, "tolerance": 0.1, "c1": -0.1},
    ),
    "ape": (fk.smearing.ape, {"space": LINKS, "x": U, "alpha": 0.5, "steps": 1, "directions": (0, 1)}),
    "stout": (fk.smearing.stout, {"space": LINKS, "x": U, "rho": 0.1, "steps": 1, "directions": (0, 1)}),
    "hyp": (fk.smearing.hyp, {"space": LINKS, "x": U, "alphas": (0.5,), "steps": 1, "directions": (0, 1)}),
    "name_of": (fk.observables.name_of, {"observable": fk.plaquette}),
    "listed": (fk.observables.listed, {"observe": [fk.plaquette]}),
    # actions
    "Phi4": (fk.Phi4, {"space": SITES, "m2": 1.0, "lam": 0.5}),
    "Phi4Hopping": (fk.Phi4Hopping, {"space": SITES, "beta": 0.5, "lam": 0.5}),
    "Phi4Kappa": (fk.actions.Phi4Kappa, {"space": SITES, "kappa": 0.5, "m_sq": 1.0, "lam": 0.5}),
    "Wilson": (fk.Wilson, {"space": LINKS, "beta": 2.0}),
    "RectangleAction": (fk.actions.RectangleAction, {"space": LINKS, "beta": 2.0, "c1": -0.1}),
    "symanzik": (fk.actions.symanzik, {"space": LINKS, "beta": 2.0}),
    "iwasaki": (fk.actions.iwasaki, {"space": LINKS, "beta": 2.0}),
    "dbw2": (fk.actions.dbw2, {"space": LINKS, "beta": 2.0}),
    "Villain": (fk.actions.Villain, {"space": LINKS, "b": 2.0}),
    "MatrixModel": (fk.MatrixModel, {"space": SU2, "beta": 2.0, "coefficients": (1.0, 0.5)}),
    "Sum": (fk.actions.Sum, {"first": PHI4, "second": PHI4}),
    "Multiple": (fk.actions.Multiple, {"action": PHI4, "factor": 0.5}),
    "Pullback": (fk.actions.Pullback, {"action": PHI4, "transform": transforms.Affine(SITES)}),
    "LiftedWilson": (fk.actions.LiftedWilson, {"space": LIFTS, "beta": 2.0, "b": 1.6, "lift": 1.1, "t": 0.5}),
    "closed_form": (
        lambda transform, action: fk.actions.closed_form(transform, action),
        {"transform": transforms.Affine(SITES), "action": PHI4},
    ),
    "as_double_well": (fk.actions.as_double_well, {"m_sq": -1.0, "lam": 0.5}),
    # priors
    "Normal": (fk.Normal, {"space": SITES, "sigma": 1.0}),
    "FreeField": (fk.FreeField, {"space": SITES, "m2": 1.0, "learned": True}),
    "Haar": (fk.Haar, {"space": LINKS}),
    "ExactGauge2D": (fk.priors.ExactGauge2D, {"space": LINKS, "beta": 1.0}),
    "FreePhoton": (fk.priors.FreePhoton, {"space": fk.links((2, 3, 2), fk.U1()), "b": 0.9, "monopoles": 1.0}),
    "LiftedPhoton": (fk.priors.LiftedPhoton, {"space": LIFTS, "b": 0.9, "monopoles": 1.0, "core": 0.1, "tension": 0.2}),
    "FromLifts": (fk.priors.FromLifts, {"prior": fk.priors.LiftedPhoton(LIFTS, 0.9), "b": 0.7}),
    "coupling_of": (fk.priors.coupling_of, {"beta": 2.0, "ndim": 3}),
    "Symmetrised": (fk.priors.Symmetrised, {"prior": fk.Normal(SITES), "symmetries": PHI4.symmetries}),
    "Embedded": (fk.priors.Embedded, {"coarse": fk.Haar(DOUBLING.coarse), "doubling": DOUBLING}),
    "Interleaved": (fk.priors.Interleaved, {"coarse": fk.Normal(SITES)}),
    "MarkovPrior": (
        samplers.MarkovPrior,
        {"sampler": HMC, "pool": 8, "chains": 4, "every": 1, "thermalise": 1, "seed": 1},
    ),
    # bijections
    "AlcoveSpline": (AlcoveSpline, {"n": 3, "bins": 4, "order": 2}),
    "CircleSpline": (CircleSpline, {"bins": 4}),
    "OddCircleSpline": (OddCircleSpline, {"bins": 4}),
    "FramedMap": (FramedMap, {"map": OddCircleSpline(4)}),
    "IntervalSpline": (IntervalSpline, {"bins": 4}),
    "RealSpline": (RealSpline, {"bins": 4, "reach": 2.0}),
    "Residual": (Residual, {"n": 3, "bound": 0.5, "tolerance": 1e-6}),
    "TangentMixture": (TangentMixture, {"components": 2}),
    "EigenangleSpline": (
        EigenangleSpline,
        {"group": fk.SUN(3), "loop": 0, "bins": 4, "order": 2},
    ),
    "EigenangleSpline, given": (EigenangleSpline, {"group": fk.U1(), "spline": OddCircleSpline(4)}),
    "angle_spline": (angle_spline, {"group": fk.SUN(3), "bins": 4, "order": 2}),
    # nets
    "ConvNet": (
        nets.ConvNet,
        {
            "lattice": (4, 2), "sources": [(1, EVEN)], "outputs": ODD, "out_channels": 2, "hidden": (3,), "kernel": 3,
            "activation": "tanh", "factorised": "cp", "rank": 2,
        },
    ),
    "FactorisedConv": (
        nets.FactorisedConv,
        {
            "lattice": (4, 2), "channels": (1, 2), "kernel": 3, "inputs": EVEN, "outputs": ODD, "bias": True,
            "factorised": "tucker", "rank": 2, "functions": 2,
        },
    ),
    "SiteConv": (
        nets.SiteConv,
        {
            "lattice": (4, 2), "channels": (1, 2), "kernel": 3, "inputs": EVEN, "outputs": ODD, "bias": True,
            "method": "listed",
        },
    ),
    "PointwiseNet": (nets.PointwiseNet, {"sizes": (2, 3, 1), "activation": "silu"}),
    # transforms
    "Affine": (transforms.Affine, {"space": SITES, "shift": True}),
    "CheckerboardCoupling": (
        fk.CheckerboardCoupling,
        {
            "space": SITES, "moves": 1, "map": RealSpline(4), "hidden": (4,), "kernel": 3, "activation": "tanh",
            "final": "linear", "z2": False, "start": 0.1, "factorised": "cp", "rank": 2,
        },
    ),
    "DistributionConverter": (transforms.DistributionConverter, {"space": SITES, "bins": 4, "symmetric": True}),
    "FourierModes": (transforms.FourierModes, {"space": SITES, "m2": 1.0, "order": 2}),
    "FourierScale": (transforms.FourierScale, {"space": SITES, "m2": 1.0, "order": 2}),
    "GaugeCoupling": (
        fk.GaugeCoupling,
        {
            "space": LINKS, "pattern": STRIPES, "loops": PLAQUETTE.through(0, 2),
            "updates": [EigenangleSpline(fk.U1(), loop=0, bins=4)], "hidden": (4,), "kernel": 1, "activation": "silu",
            "local": True, "frozen": [PLAQUETTE], "start": 0.1, "factorised": "cp", "rank": 2,
        },
    ),
    "Inside": (transforms.Inside, {"coarse": transforms.Affine(SITES)}),
    "LowModes": (transforms.LowModes, {"space": fk.sites((6, 6)), "most": 1, "parity": 0, "gain": 1.0}),
    "OnSublattices": (transforms.OnSublattices, {"coarse": transforms.Affine(SITES)}),
    "Prolongation": (transforms.Prolongation, {"space": fk.sites((4, 4)), "kind": "average"}),
    "SiteConditional": (transforms.SiteConditional, {"action": PHI4, "moves": 1}),
    "SitesIntegrated": (
        transforms.SitesIntegrated,
        {"action": PHI4, "transform": transforms.SiteConditional(PHI4)},
    ),
    "SpectralCoupling": (transforms.SpectralCoupling, {"space": SU2, "bins": 4, "order": 2}),
    "Spline": (transforms.Spline, {"space": SITES, "bins": 4, "domain": "real", "reach": 2.0}),
    "TrivializingFlow": (
        transforms.TrivializingFlow,
        {"space": LINKS, "order": 1, "degree": 1, "steps": 2, "beta": 1.0, "path": True},
    ),
    "PhotonDrift": (
        transforms.PhotonDrift,
        {"space": LINKS, "beta": 2.0, "harmonics": 2, "local": 1, "degree": 1, "steps": 2},
    ),
    "FreeFieldDrift": (
        transforms.FreeFieldDrift,
        {"space": SITES, "m2": 0.5, "lam": 0.5, "degree": 1, "steps": 2},
    ),
    "gap_mass": (transforms.gap_mass, {"space": SITES, "m2": 0.5, "lam": 0.5}),
    "LiftedDrift": (
        transforms.LiftedDrift,
        {"space": LIFTS, "beta": 2.0, "share": 0.5, "harmonics": 2, "steps": 2},
    ),
    "Chain": (lambda step: fk.Chain(step), {"step": transforms.Affine(SITES)}),
    "Flow": (fk.Flow, {"prior": fk.Normal(SITES), "transform": transforms.Affine(SITES)}),
    # ready-made flows
    "gauge_flow": (fk.gauge_flow, {"space": SU2, "bins": 4, "hidden": (4,), "updates": 1}),
    "plaquette_couplings": (
        fk.models.plaquette_couplings,
        {"space": fk.links((4, 4), fk.U1()), "sweeps": 1, "bins": 4, "hidden": (4,)},
    ),
    "scalar_flow": (fk.scalar_flow, {"space": SITES, "layers": 2, "bins": 4, "hidden": (4,)}),
    "photon_flow": (
        fk.photon_flow,
        {"space": LINKS, "beta": 2.0, "stages": 2, "core": 0.1, "tension": 0.2, "harmonics": 2, "steps": 1},
    ),
    "free_field_flow": (fk.models.free_field_flow, {"space": SITES, "m2": 0.5, "lam": 0.5, "degree": 1, "steps": 2}),
    "multiscale_flow": (
        fk.multiscale_flow,
        {"space": LINKS, "terms": 2, "coarsest": fk.Haar(fk.links((2, 1), fk.U1()))},
    ),
    "multiscale_flow, strength": (fk.multiscale_flow, {"space": fk.links((2, 2), fk.SUN(3)), "strength": 1.0}),
    "multiscale_flow, links": (
        fk.multiscale_flow,
        {"space": LINKS, "links": lambda loops: multiscale.ClassFunctionConditional(2)},
    ),
    "scalar_multiscale_flow": (
        fk.scalar_multiscale_flow,
        {"space": fk.sites((4, 4)), "couplings": 1, "bins": 4, "hidden": (4,), "least": 2},
    ),
    "Model": (fk.Model, {"prior": fk.Normal(SITES), "transform": transforms.Affine(SITES), "action": PHI4}),
    # variance
    "loop_basis": (
        fk.variance.loop_basis,
        {"space": FIVE.space, "order": 2, "loops": [PLAQUETTE], "slices": True, "moves": "slice"},
    ),
    "polynomial_basis": (
        fk.variance.polynomial_basis,
        {
            "space": fk.sites((4, 4)), "degree": 2, "parity": "odd", "reach": 1, "slices": True, "moves": "all",
            "times": 1,
        },
    ),
    "default_basis": (fk.variance.default_basis, {"space": FIVE.space, "slices": True}),
    "source_of": (fk.variance.source_of, {"action": FIVE, "by": "beta"}),
    "plaquette_slices": (fk.variance.plaquette_slices, {"space": THREE}),
    "field_slices": (fk.variance.field_slices, {"space": SITES}),
    "variance.correlator": (
        fk.variance.correlator,
        {
            "source": 0.1 * torch.randn(12, 2, *fk.sites((4, 3)).shape, generator=rng()),
            "observable": fk.variance.field_slices(fk.sites((4, 3))),
            "basis": fk.variance.polynomial_basis(fk.sites((4, 3)), degree=1, parity="odd", slices=True),
            "action": fk.Phi4(fk.sites((4, 3)), m2=1.0, lam=0.5), "two_sided": True, "contact": False, "folds": 2,
            "gap": 1,
        },
    ),
    "two_level": (
        fk.variance.two_level,
        {
            "source": THIN.x[2:], "observable": fk.variance.plaquette_slices(THIN.space), "inner": 1,
            "field": fk.variance.fit(THIN[:2], fk.variance.plaquette_slices(THIN.space), SLICES), "action": OTHER,
            "rng": rng(),
        },
    ),
    "variance.fit": (
        fk.variance.fit, {"source": FEW, "target": fk.plaquette, "basis": LOOPS, "action": FIVE}
    ),
    "variance.mean": (
        fk.variance.mean,
        {"source": FEW, "observable": fk.plaquette, "basis": LOOPS, "action": FIVE, "folds": 2, "gap": 1},
    ),
    "variance.derivative": (
        fk.variance.derivative,
        {
            "source": FEW, "observable": fk.plaquette, "by": "beta", "basis": LOOPS, "action": FIVE,
            "two_sided": True, "folds": 2, "gap": 1,
        },
    ),
    # multiscale
    "lifts": (geometry.lifts, {"space": LINKS}),
    "random_images": (
        geometry.random_images, {"space": THREE, "x": torch.zeros(2, *THREE.shape), "rng": rng(), "chunk": 1}
    ),
    "ClassFunctionConditional": (multiscale.ClassFunctionConditional, {"harmonics": 2, "cells": 16}),
    "SmoothClassFunctionConditional": (multiscale.SmoothClassFunctionConditional, {"harmonics": 2, "cells": 16}),
    "SU2ClassFunctionConditional": (
        multiscale.SU2ClassFunctionConditional,
        {"characters": 2, "angles": 8, "polars": 8, "rows": 4},
    ),
    "HeatAngleConditional": (
        multiscale.HeatAngleConditional,
        {"n": 3, "loops": 2, "strength": 1.0, "bins": 4, "hidden": (4,), "splines": True},
    ),
    "HeatbathConditional": (multiscale.HeatbathConditional, {"group": fk.SUN(2), "loops": 2, "strength": 1.0}),
    "HarmonicConditional": (multiscale.HarmonicConditional, {"harmonics": (1, 2), "cells": 32}),
    "LinearHeatbathConditional": (multiscale.LinearHeatbathConditional, {"group": fk.SUN(2), "loops": 2}),
    "SU3HeatbathConditional": (multiscale.SU3HeatbathConditional, {"loops": 2}),
    "with_couplings": (
        fk.models.with_couplings,
        {
            "flow": fk.multiscale_flow(fk.links((2, 2, 2), fk.U1())), "between": True, "joint": False, "bins": 4,
            "hidden": (4,),
        },
    ),
    "free_field_loss": (multiscale.free_field_loss, {"space": THREE, "order": "cells"}),
    "dressed_block": (
        fk.models.dressed_block,
        {"space": LINKS, "beta": 1.0, "side": 2, "order": "cells", "rounds": 1, "ahead": False},
    ),
    "dressed_flow": (
        fk.models.dressed_flow,
        {
            "space": THREE, "beta": 1.0, "order": "cells", "rounds": 1, "strengths": (1.0,), "loops": 4,
            "finest_loops": 4, "ahead": False, "powers": False,
        },
    ),
    "StapleConditional": (
        multiscale.StapleConditional,
        {
            "prior": multiscale.ClassFunctionConditional(2, 16),
            "updates": [EigenangleSpline(fk.U1(), spline=OddCircleSpline(4))], "loops": 2, "harmonics": 2,
            "hidden": (3,), "activation": "tanh", "windings": 1,
        },
    ),
    "LinkDoubling": (multiscale.LinkDoubling, {"coarse": fk.links((2, 2), fk.U1()), "mu": 0, "order": "together"}),
    "NewLinks": (
        multiscale.NewLinks,
        {"doubling": DOUBLING, "models": multiscale.ClassFunctionConditional(2, 16)},
    ),
    "SiteDoubling": (multiscale.SiteDoubling, {"space": fk.sites((4, 4)), "bins": 4, "hidden": (4,), "kernel": 3}),
    "by_scale": (multiscale.by_scale, {"model": MODEL, "action": WILSON, "x": U, "fields": 2, "draws": 2, "rng": 1}),
    "coarsest": (multiscale.coarsest, {"flow": MODEL}),
    "levels": (multiscale.levels, {"flow": MODEL}),
    "fields_by_scale": (multiscale.fields_by_scale, {"model": MODEL, "x": U}),
    "log_weights_by_scale": (
        multiscale.log_weights_by_scale,
        {"model": MODEL, "action": WILSON, "x": U, "draws": 2, "rng": 1},
    ),
    "decimated_action": (multiscale.decimated_action, {"space": LINKS, "beta": 1.0, "area": 2, "x": U}),
    "smoothed": (multiscale.smoothed, {"flow": MODEL, "cells": 128}),
    "strengthened": (multiscale.strengthened, {"flow": MODEL, "ratio": 1.5}),
    # samplers
    "HMC": (
        fk.HMC,
        {
            "action": PHI4, "length": 1.0, "steps": 3, "integrator": "leapfrog", "target": 0.8,
            "randomise": 0.5,
        },
    ),
    "HMC, step_size": (fk.HMC, {"action": PHI4, "step_size": 0.1}),
    "annealed_photons": (
        samplers.annealed_photons, {"flow": fk.photon_flow(LINKS, 2.0), "beta": 2.0, "trajectories": 1}
    ),
    "PhotonHMC": (
        samplers.PhotonHMC, {"action": fk.actions.LiftedWilson(LIFTS, 2.0, 1.6, 1.1), "step_size": 0.5, "steps": 2}
    ),
    "Heatbath": (fk.Heatbath, {"action": WILSON, "overrelaxation": 1}),
    "IndependenceMetropolis": (fk.IndependenceMetropolis, {"flow": scalar(), "action": PHI4, "chunk": 2}),
    "AnnealedHeatbath": (
        samplers.AnnealedHeatbath,
        {"action": WILSON, "betas": (0.0, 1.0, 2.0), "overrelaxation": 1},
    ),
    "annealing_path": (
        samplers.annealing_path,
        {
            "action": WILSON, "sweeps": 4, "first": 0.5, "pieces": 2, "chains": 4, "overrelaxation": 1, "rng": 1,
        },
    ),
    "BlockConditional": (
        multiscale.BlockConditional,
        {"block": BLOCK.block, "models": BLOCK.models, "context": BLOCK.context},
    ),
    "Cycle": (lambda one: samplers.Cycle(one), {"one": HMC}),
    "BlockUpdate": (samplers.BlockUpdate, {"action": FIVE, "model": BLOCK}),
    "MarkovKernel": (samplers.MarkovKernel, {"sampler": HMC, "steps": 1}),
    "annealed_flow": (
        samplers.annealed_flow,
        {"prior": fk.Normal(SITES), "actions": [PHI4], "sampler": fk.HMC, "steps": 1},
    ),
    "states": (
        lambda **k: next(samplers.states(**k)),
        {"sampler": HMC, "state": HMC.init(X), "rng": rng(), "thermalise": 1, "every": 1},
    ),
    "thermalised": (samplers.thermalised, {"sampler": HMC, "state": HMC.init(X), "rng": rng(), "steps": 1}),
    # runs
    "run": (
        fk.run,
        {
            "sampler": HMC, "n": 3, "chains": 2, "thermalise": 1, "every": 1, "rng": 1, "observe": [fk.phi_squared],
            "keep": True, "start": X, "progress": False, "max_bad": 0.1, "max_bytes": 10**6,
        },
    ),
    "start": (
        lambda **k: fk.start(**k).wait(),
        {"sampler": HMC, "n": 3, "callbacks": (), "chains": 2, "rng": 1, "keep": True, "max_bad": 0.1},
    ),
    "Job": (fk.ensemble.Job, {"sampler": HMC, "n": 3, "callbacks": (), "chains": 2, "rng": 1, "max_bytes": 10**6}),
    "Recording": (
        fk.ensemble.Recording,
        {"sampler": HMC, "n": 3, "observe": [fk.phi_squared], "keep": True, "max_bad": 0.1, "chains": 2, "rng": 1},
    ),
    "Chains": (
        fk.ensemble.Chains,
        {"sampler": HMC, "rng": 1, "chains": 2, "thermalise": 1, "every": 1, "start": X},
    ),
    "Columns": (
        fk.ensemble.Columns,
        {"n": 3, "chains": 2, "observe": [fk.phi_squared], "space": SITES, "block": 1},
    ),
    "Ensemble": (
        fk.Ensemble,
        {
            "space": SITES, "x": X[None], "series": {"S": PHI4(X)[None]}, "action": PHI4, "provenance": {},
            "weighted": False,
        },
    ),
    "Comparison": (fk.ensemble.Comparison, {"costs": COMPARED.costs, "ensembles": COMPARED.ensembles}),
    "compare": (
        fk.compare,
        {
            "samplers": {"a": HMC}, "observables": [fk.phi_squared], "error": 10.0, "seconds": 0.01, "forces": 12,
            "training": {"a": 1.0}, "configurations": 10, "chains": 2, "thermalise": 1, "every": 1, "rng": 1,
            "max_bad": 0.1,
        },
    ),
    "field_numbers": (
        fk.ensemble.field_numbers,
        {"fields": X, "space": SITES, "quantity": "phi", "steps": 2, "chains": 2, "max_bytes": 10**6},
    ),
    "layer_numbers": (
        fk.ensemble.layer_numbers,
        {"flow": scalar(), "action": PHI4, "fields": 2, "n": 4, "rng": 1, "quantity": "phi", "max_bytes": 10**6},
    ),
    "join": (fk.ensemble.join, {"ensembles": [RUN, RUN], "along": "steps"}),
    "replica_mean": (fk.ensemble.replica_mean, {"ensembles": [RUN, RUN], "obs": fk.phi_squared, "S": 2.0}),
    "resume": (fk.resume, {"path": ON_DISK, "sampler": LASTING, "observe": (), "max_bytes": 10**6}),
    "importance_sample": (
        fk.importance_sample,
        {
            "flow": scalar(), "action": PHI4, "n": 4, "rng": 1, "chunk": 4, "observe": [fk.phi_squared], "keep": True,
            "progress": False, "max_bad": 0.1, "max_bytes": 10**6,
        },
    ),
    "tune_length": (
        fk.ensemble.tune_length,
        {
            "hmc": HMC, "observables": [fk.phi_squared], "lengths": (0.5, 1.0), "forces": 2000, "seconds": 5.0,
            "chains": 2, "thermalise": 1, "rng": 1,
        },
    ),
    # exact results
    "free_log_z": (exact.free_log_z, {"lattice": (4, 2), "m2": 1.0}),
    "free_phi_squared": (exact.free_phi_squared, {"lattice": (4, 2), "m2": 1.0}),
    "free_propagator": (exact.free_propagator, {"lattice": (4, 2), "m2": 1.0}),
    "free_susceptibility": (exact.free_susceptibility, {"m2": 1.0}),
    "one_site_moments": (exact.one_site_moments, {"m2": 1.0, "lam": 0.5}),
    "phi4_transfer_matrix": (exact.phi4_transfer_matrix, {"lattice": (2, 2), "m2": 1.0, "lam": 0.5}),
    "plaquette_strong_coupling": (exact.plaquette_strong_coupling, {"group": "SU2", "beta": 0.5, "ndim": 4}),
    "sun_decimated": (exact.sun_decimated, {"n": 2, "beta": 1.0, "area": 2}),
    "sun_log_z": (exact.sun_log_z, {"n": 2, "beta": 1.0, "volume": 4}),
    "sun_one_plaquette": (exact.sun_one_plaquette, {"n": 2, "beta": 1.0}),
    "sun_one_plaquette_log_z": (exact.sun_one_plaquette_log_z, {"n": 2, "beta": 1.0}),
    "sun_plaquette": (exact.sun_plaquette, {"n": 2, "beta": 1.0, "volume": 4}),
    "sun_wilson_loop": (exact.sun_wilson_loop, {"n": 2, "beta": 1.0, "area": 2, "volume": 4}),
    "u1_charge_distribution": (exact.u1_charge_distribution, {"beta": 1.0, "volume": 4, "charges": (0, 1)}),
    "u1_charge_squared": (exact.u1_charge_squared, {"beta": 1.0, "volume": 4}),
    "u1_decimated": (exact.u1_decimated, {"beta": 1.0, "area": 2}),
    "u1_log_z": (exact.u1_log_z, {"beta": 1.0, "volume": 4}),
    "u1_plaquette": (exact.u1_plaquette, {"beta": 1.0, "volume": 4}),
    "u1_plaquette_in_sector": (exact.u1_plaquette_in_sector, {"beta": 1.0, "volume": 4, "charge": 0}),
    "u1_wilson_loop": (exact.u1_wilson_loop, {"beta": 1.0, "area": 2, "volume": 4}),
    # training
    "Trainer": (
        fk.Trainer,
        {
            "flow": scalar(), "action": PHI4, "batch": 8, "loss": "reverse_kl", "lr": 1e-3, "clip": 1.0,
            "amsgrad": True, "weight_decay": 0.1, "schedule": train.Constant(), "anneal": train.Anneal("m2", 2.0, 3),
            "seed": 1, "callbacks": (),
        },
    ),
    "Trainer, method": (fk.Trainer, {"flow": scalar(), "action": PHI4, "method": train.GradientStep()}),
    "GradientStep": (
        train.GradientStep,
        {"loss": "ess", "lr": 1e-3, "betas": (0.9, 0.99), "clip": 1.0, "amsgrad": True, "weight_decay": 0.1},
    ),
    "NaturalGradientStep": (fk.NaturalGradientStep, {"max_kl": 1.0, "ridge": 1e-6, "lr": 1.0}),
    "joined": (train.joined, {"patience": 5.0}),
    "ContinuityStep": (train.ContinuityStep, {"ridge": 1e-6, "lr": 1.0, "total": 1.0}),
    "fit_block": (
        train.fit_block,
        {
            "model": BLOCK, "x": FIVE.space.haar(2, rng()), "tilings": 1, "iterations": 1, "max_kl": 0.5,
            "ridge": 1e-3, "rng": 1,
        },
    ),
    "MaximumLikelihoodStep": (
        train.MaximumLikelihoodStep,
        {"x": torch.zeros(2, *THREE.shape), "iterations": 2, "max_kl": 0.5, "ridge": 1e-4},
    ),
    "LevelStep": (
        train.LevelStep,
        {
            "steps": 4, "method": train.LevelGradient(), "draws": 8, "order": 4, "shares": (0.5, 0.3, 0.2), "pool": 64,
            "fields": 8,
        },
    ),
    "LevelGradient": (train.LevelGradient, {"lr": 0.01, "kl_fraction": 0.3}),
    "LevelNaturalGradient": (train.LevelNaturalGradient, {"max_kl_per_link": 0.1, "wide": 0.1}),
    "Anneal": (train.Anneal, {"coupling": "beta", "start": 1.0, "steps": 3}),
    "Constant": (train.Constant, {"warmup": 2}),
    "Cosine": (train.Cosine, {"warmup": 2, "final": 0.1, "steps": 5}),
    "Steps": (train.Steps, {"milestones": (2, 4), "gamma": 0.5}),
    "Plateau": (train.Plateau, {"patience": 3, "gamma": 0.5, "lowest": 0.01, "smooth": 0.1}),
    **{
        f"losses.{loss.__name__}": (loss, {"flow": scalar(), "action": PHI4, "n": 4, "rng": rng()})
        for loss in (train.ess_loss, train.path_gradient, train.reverse_kl)
    },
    "losses.named": (fk.losses.named, {"name": "ess"}),
    # files and threads
    "Store": (storage.Store, {"path": tempfile.mkdtemp(), "keep": 2, "kind": "a"}),
    "load_weights": (
        storage.load_weights,
        {"flow": scalar(), "folder": SAVED},
    ),
    "save_weights": (storage.save_weights, {"flow": scalar(), "file": WEIGHTS}),
    "pretrained": (fk.pretrained, {"name": "u1-2d-beta2", "lattice": (4, 4)}),
    "card": (fk.zoo.card, {"name": "u1-2d-beta2"}),
    "names": (fk.zoo.names, {"folder": SAVED}),
    "put": (fk.zoo.put, {"flow": scalar(), "card": fk.zoo.card("u1-2d-beta2"), "folder": tempfile.mkdtemp()}),
    "sectors": (
        fk.ensemble.sectors,
        {"draws": PHOTONS, "observable": fk.observables.monopoles},
    ),
    "formats.read": (fk.formats.read, {"path": CONFIGURATIONS[0], "max_bytes": 10**7}),
    "formats.write": (
        fk.formats.write,
        {
            "path": f"{tempfile.mkdtemp()}/u.lat", "space": SU3_4D.space, "x": HEAT.x[0], "format": "nersc",
            "precision": 64, "rows": 3, "byteorder": "big", "about": {"ENSEMBLE_ID": "a"},
        },
    ),
    "read_ensemble": (
        fk.formats.read_ensemble,
        {"paths": CONFIGURATIONS, "action": SU3_4D, "chains": 1, "every": 1, "max_bytes": 10**7},
    ),
    "write_ensemble": (
        fk.formats.write_ensemble,
        {"ensemble": HEAT, "folder": tempfile.mkdtemp(), "format": "ildg", "name": "a", "about": {"lfn": "a"}},
    ),
    "parse_json": (storage.parse_json, {"text": b"{}"}),
    "Background": (tasks.Background, {"callbacks": ()}),
    "History": (tasks.History, {"columns": ["a", "b"]}),
    "set_compile": (fk.kernels.set_compile, {"level": "c"}),
    # panels
    "panels.Chain": (
        fk.panels.Chain,
        {"runs": RUN, "observe": [fk.phi_squared], "chain": 1, "autocorrelation": "S", "x": "step", "per_second": 8.0},
    ),
    "panels.Dashboard": (lambda one: fk.panels.Dashboard(one), {"one": RUN}),
    "panels.EssKl": (
        fk.panels.EssKl,
        {"runs": {"a": [{"beta": 1.0, "ess": 0.5, "kl": 0.1}]}, "against": "beta", "per_second": 8.0},
    ),
    "panels.Field": (
        fk.panels.Field,
        {"fields": RUN, "quantity": "phi", "steps": 2, "configuration": 0, "chain": 1, "plane": (0, 1), "at": (0, 0)},
    ),
    "panels.Field, tensor": (fk.panels.Field, {"fields": X, "space": SITES}),
    "panels.FlowLayers": (
        fk.panels.FlowLayers,
        {"flow": LAYERS, "layer": 1, "field": 1, "plane": (0, 1), "at": (0, 0)},
    ),
    "panels.FlowLayers, flow": (fk.panels.FlowLayers, {"flow": scalar(), "action": PHI4}),
    "panels.Density": (
        fk.panels.Density,
        {
            "fields": V4, "space": FOUR, "quantity": "action", "steps": 2, "configuration": 0, "chain": 0,
            "direction": 1, "time": 1, "least": 10, "turn": 5, "tilt": -5,
        },
    ),
    "panels.Multiscale": (fk.panels.Multiscale, {"numbers": BY_SCALE, "field": 1, "plane": (0, 1), "at": (0, 0)}),
    "panels.Patterns": (
        fk.panels.Patterns,
        {"pattern": STRIPES, "lattice": (4, 2), "step": 1, "loop": 2, "plane": (0, 1), "at": (0, 0)},
    ),
    "panels.Training": (
        fk.panels.Training,
        {"trainer": fk.Trainer(scalar(), PHI4, batch=4), "steps": 2, "per_second": 8.0, "checkpoint": "a"},
    ),
    # statistics
    "acceptance_from_logw": (stats.acceptance_from_logw, {"logw": torch.randn(40, generator=rng())}),
    "autocorrelation": (stats.autocorrelation, {"chains": torch.randn(40, 2, generator=rng()), "S": 2.0}),
    "ess": (stats.ess, {"logw": torch.randn(40, generator=rng()), "S": 0.0}),
    "agreement": (stats.agreement, {"chains": torch.randn(40, 4, generator=rng()), "level": 0.01}),
    "pareto_k": (stats.pareto_k, {"logw": torch.randn(60, generator=rng())}),
    "vanishes": (stats.vanishes, {"chains": torch.randn(40, 4, generator=rng())}),
    "estimate": (stats.estimate, {"chains": torch.randn(40, 2, generator=rng()), "S": 2.0}),
    "log_z": (stats.log_z, {"logw": torch.randn(40, generator=rng()), "S": 0.0}),
    "ratio": (
        stats.ratio,
        {"numerator": torch.randn(40, generator=rng()), "denominator": 1 + torch.rand(40, generator=rng()), "S": 2.0},
    ),
    "reweighted": (
        stats.reweighted,
        {"obs": torch.randn(40, generator=rng()), "logw": torch.randn(40, generator=rng()), "S": 2.0},
    ),
    "format_error": (stats.format_error, {"value": 1.0, "error": 0.1}),
    "table": (stats.table, {"header": ["a"], "rows": [["b"]]}),
    "Estimates": (stats.Estimates, {"estimates": {"plaquette": stats.Estimate(0.5, 0.1, 0.5, 0.0, 100)}}),
    "tail_check": (
        stats.tail_check,
        {
            "logw_flow": torch.randn(400, generator=rng()), "logw_other": torch.randn(400, generator=rng()),
            "level": 0.01, "shift": 0.06,
        },
    ),
    "too_short": (stats.too_short, {"steps": 3}),
}  # fmt: skip

LEGAL = """
group_images.symmetries empty; group_images.x tensor scalar no-batch cut one-more-axis of-another-type;
*.logw numbers array tensor cut one-more-axis of-another-type a-list; estimate.chains numbers array tensor no-batch
cut of-another-type a-list; autocorrelation.chains cut of-another-type a-list; *.S 0 1e12; ratio.numerator
of-another-type a-list; ratio.denominator of-another-type a-list; *.obs of-another-type a-list; tail_check.logw_flow
cut one-more-axis of-another-type a-list; tail_check.logw_other numbers array tensor cut one-more-axis
of-another-type a-list; table.header list; table.rows list empty; format_error.value -1 0 1e12 NaN inf -inf
NaN-of-numpy; format_error.error 0 1e12 NaN inf NaN-of-numpy; *.chain 0; *.configuration 0; *.field 0; *.layer 0;
*.nu 0; *.callbacks empty; panels.Training.checkpoint text; Anneal.coupling text; Anneal.start -1 0 1e12; *.rng 0
1e12 generator None; *.thermalise 0; *.hidden empty; *.moves 0; *.observe empty;
Comparison.costs empty; ContinuityStep.ridge 1e12; ContinuityStep.total 0 1e12;
*.warmup 0; *.start 0; ConvNet.outputs cut; Cosine.final 0; EigenangleSpline.loop 0;
Ensemble.provenance dict; *.m2 1e12; *.order 0; GradientStep.clip None 1e12; *.weight_decay 0 1e12; HMC.randomise 0;
HMC,step_size.step_size 1e12; *.strength 1e12; Heatbath.overrelaxation 0; History.columns list;
LevelGradient.kl_fraction 0; LevelNaturalGradient.max_kl_per_link 1e12; LevelNaturalGradient.wide 0; LinkDoubling.mu
0; LowModes.gain 1e12; LowModes.most 0; LowModes.parity 0; *.seed 0 1e12; MatrixModel.beta -1 0 1e12;
MatrixModel.coefficients numbers array; Multiple.factor -1 0 1e12; NaturalGradientStep.max_kl 1e12;
NaturalGradientStep.ridge 1e12; Normal.sigma 1e12; Observable.name text; Observable.label text; Observable.unit
text; Observable.function estimate; Phi4.lam 0 1e12; Phi4.m2 -1 0 1e12; Phi4Hopping.beta -1 0 1e12; *.lam 0 1e12;
Phi4Kappa.kappa -1 0 1e12; *.m_sq -1 0 1e12; *.reach 1e12; Residual.tolerance 0; SiteConv.inputs cut;
SiteConv.outputs cut; FactorisedConv.inputs cut; FactorisedConv.outputs cut;
StapleConditional.windings 0; Steps.milestones empty; Store.kind text; Store.path text;
Trainer.clip None 1e12; *.beta 0 1e12; *.degree 0; closed_form.transform class function action
other-action prior estimate; clover.mu 0; compare.error 1e12; compare.forces 1e12; *.max_bad 0; *.seconds 1e12;
*.max_bytes 0 1e12; format_lattice.lattice empty; free_susceptibility.m2 1e12; line.mu 0; link.mu 0; link.U no-batch
cut one-more-axis of-another-type; shift.x no-batch cut one-more-axis of-another-type; momentum_squared.lattice
empty; name_of.observable text; one_site_moments.m2 -1 0 1e12; phi4_transfer_matrix.m2 -1 0 1e12; *.mu 0;
*.overrelaxation 0; AnnealedHeatbath.betas array; annealing_path.first 0 1e12;
fit_block.max_kl 1e12; fit_block.x cut; joined.patience 1e12; dressed_block.rounds 0;
scalar_flow.layers 0; refuse_others.path text; shift.n -1 0 1e12; scalar_multiscale_flow.couplings 0;
strengthened.ratio 1e12; thermalised.steps 0; u1_charge_distribution.charges empty; u1_plaquette_in_sector.charge -1
0; u1_wilson_loop.area 0; sun_wilson_loop.area 0; *.like tensor scalar no-batch cut one-more-axis of-another-type;
gauge_transform.g of-another-type; *.parts cut of-another-type; split_sublattices.x no-batch of-another-type;
link_index.sites cut; *.time 0; *.along 0; correlator.t 0; *.momentum empty; effective_mass.correlator tensor one-NaN
one-True nested; static_potential.loops numbers array tensor; fit_potential.potential one-NaN one-True;
binder_cumulant.m2 NaN inf -inf -1 0 empty numbers array tensor scalar NaN-of-numpy; *.m4 NaN inf -inf -1 0 1e12 empty
numbers array tensor scalar NaN-of-numpy; *.g0 NaN inf -inf -1 0 1e12 empty numbers array tensor scalar NaN-of-numpy;
*.g1 NaN inf -inf -1 0 1e12 empty numbers array tensor scalar NaN-of-numpy; *.energies one-True; smeared.name text;
*.t 0 1e12; *.times array; flow_fields.times empty array; flow_fields.tolerance None; *.step 1e12; *.tolerance 1e12;
*.c1 -1 0 1e12; ape.alpha 0; *.rho 0 1e12; ape.steps 0; stout.steps 0; hyp.steps 0; loop_basis.loops
empty; polynomial_basis.reach 0; polynomial_basis.times 0; source_of.by estimate; *.gap 0
"""
"""What else an argument may be: "call.argument" or "*.argument", then the labels; None where it is the default."""
