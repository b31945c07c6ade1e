"""Mutants of the physics code: (file of the package, its text, what takes its place, the tests that must fail).

A test is `name.py::test` of tests/test_name.py. The text stands in its file once. test_mutants.py runs the list; where
the code has changed, a mutant is moved along with it. One table, longer than other files, of one line or two an entry.
"""


def contract(base: str, *kinds: str) -> str:
    return " ".join(f"contracts.py::test_contract[{base}-{kind}]" for kind in kinds)


WILSON = "actions.py::test_wilson_in_every_dimension actions.py::test_known_values kernels_wilson.py::test_the_action_is_that_of_torch kernels_wilson.py::test_the_force_is_that_of_torch_and_the_slope_of_the_action"
SCALARS = (
    "actions.py::test_known_values actions.py::test_scalars_in_every_dimension actions.py::test_several_components"
)
CONVERT = "actions.py::test_conversions actions.py::test_a_known_conversion"
FREE = "actions.py::test_free_theories_against_their_matrix"
LOG_Z = "actions.py::test_log_z_by_haar_integration actions.py::test_exact_hooks_of_wilson"
MATRIX = "actions.py::test_known_values " + contract("Action", "MatrixModel")
STAPLES = (
    "loops.py::test_staples_close_the_plaquettes loops.py::test_the_action_is_linear_in_a_link_through_its_staples"
)
LOOPS = "loops.py::test_area_law_of_a_constant_field loops.py::test_wilson_loops_link_by_link"
CHARGE = "loops.py::test_charge_of_a_constant_field loops.py::test_charge_is_odd_under_a_reflection"
CLOVER = "loops.py::test_clover_charge_of_a_constant_abelian_field loops.py::test_clover_by_its_four_leaves"
EPSILON = "loops.py::test_clover_charge_counts_every_pair_of_planes_with_the_sign_of_epsilon"
STEPS = "loops.py::test_steps_of_a_loop_make_a_closed_loop_of_its_area"
PATTERNS = "patterns.py"
SITES = "loops.py::test_observables_of_scalars"
U1 = "groups.py::test_contract groups.py::test_haar_of_u1_is_uniform groups.py::test_wrapped_angles_lie_in_their_range"
SUN = "groups.py::test_contract groups.py::test_haar_moments groups.py::test_projection groups.py::test_trace"
RESTORE = "kernels_sun.py::test_c_and_torch_give_the_same samplers.py::test_rounding_is_taken_back_before_it_matters samplers.py::test_fields_are_brought_back_to_the_group"
TRAJECTORY = "kernels_wilson.py::test_a_trajectory_is_that_of_torch kernels_wilson.py::test_an_action_with_another_force_is_followed_by_its_own"
SWEPT = "kernels_wilson.py::test_overrelaxation_is_that_of_torch_and_keeps_the_action kernels_wilson.py::test_chains_and_threads_change_nothing"
FISHER = "samplers.py::test_heatbath_draws_are_exact"
BATH = "samplers.py::test_heatbath_keeps_its_distribution samplers.py::test_one_plaquette_draws_have_the_exact_mean"
RECTANGLES = "rectangle_action.py::test_the_force_is_the_slope_of_the_action"
SUBLATTICES = "samplers.py::test_sublattices_and_staples_in_every_dimension"
DRAWS = "samplers.py::test_links_drawn_in_one_sweep_are_independent"
HMC = "samplers.py::test_hmc_keeps_its_distribution samplers.py::test_hmc_integrates_reversibly_at_second_order"
RANDOM = "samplers.py::test_hmc_with_a_randomised_step_size_keeps_its_distribution"
TUNING = "samplers.py::test_tuning_reaches_the_target_and_then_stands_still"
METROPOLIS = "samplers.py::test_a_step_tells_the_weights_of_its_fields_and_of_its_proposals samplers.py::test_independence_metropolis_keeps_its_distribution samplers.py::test_a_perfect_flow_is_always_accepted"
CHAIN = "chain.py::test_rates_and_bad_updates_are_of_the_steps_between chain.py::test_a_chain_is_thermalised_as_long_as_asked"
JARZYNSKI = "annealed.py::test_jarzynski_gives_the_partition_function"
GAMMA = (
    "stats.py::test_autocorrelation_of_ar1_is_a_power stats.py::test_tau_int_is_one_number_and_its_bias_is_corrected"
)
WEIGHTS = (
    "stats.py::test_weights_of_a_wide_gaussian_give_the_exact_numbers stats.py::test_equal_weights_reweight_nothing"
)
COVER = "stats.py::test_errors_of_weight_statistics_cover"
ESTIMATE = "stats.py::test_one_chain_gives_what_pyerrors_gives stats.py::test_hopeless_and_uncalibrated_data_say_so"
RATIO = "stats.py::test_ratio_is_what_pyerrors_derives"
TAIL = "stats.py::test_a_missed_mode_is_found_with_few_configurations stats.py::test_a_perfect_flow_does_not_cry_wolf"
U1_EXACT = (
    "exact.py::test_u1_table exact.py::test_u1_frozen_sectors_and_log_z exact.py::test_u1_charge_distribution_moments"
)
SUN_EXACT = "exact.py::test_sun_table exact.py::test_sun_wilson_loop_table exact.py::test_sun_log_z_of_two_by_hand"
FREE_EXACT = "exact.py::test_free_field_table exact.py::test_free_propagator_inverts_the_action"
PHI4_EXACT = "exact.py::test_interacting_table"
STRONG = "exact.py::test_strong_coupling_formula"
TRAJECTORY = "gradient_flow.py::test_force_and_laplacian_against_autograd"
INTEGRATED = "gradient_flow.py::test_logdet_against_autograd gradient_flow.py::test_the_integrator_is_of_fourth_order"
DEFECT = "gradient_flow.py::test_defect_measures_the_error_of_the_logdet"
SPLITS = "multiscale.py::test_split_and_join_are_inverse multiscale.py::test_the_loops_of_a_new_link_are_its_plaquettes"
CLASSES = (
    "multiscale.py::test_class_functions_are_what_they_say multiscale.py::test_the_score_is_the_derivative_of_log_q"
)
STAGES = "multiscale_ordered.py::test_later_stages_see_earlier_links_alone multiscale_ordered.py::test_stages_cover_all_links_and_their_loops_are_plaquettes"
OWN_LAW = "exact_gauge_2d.py::test_the_first_accepted_proposal_is_of_its_own_law"
ONE_PLAQUETTE = "exact_gauge_2d.py::test_characters_of_one_plaquette exact_gauge_2d.py::test_the_bound_of_cells_holds exact_gauge_2d.py::test_the_highest_cosine_of_an_interval"
FIRST_OF_TWO = "exact_gauge_2d.py::test_plaquettes_of_a_bridge exact_gauge_2d.py::test_the_first_of_two_plaquettes_of_su3_at_a_given_product"
EXACT_2D = "exact_gauge_2d.py::test_loops_at_every_site"
DRESSED = "dressed.py::test_complete_loops_are_loops_of_the_field " + contract("LinkContext", "DressedStaples")
SCALES = "multiscale_scales.py"
NATURAL = "multiscale.py::test_the_annealing_keeps_its_limit multiscale.py::test_a_resumed_run_equals_the_unbroken_one"
LEVELS = "level_step.py::test_the_learned_effective_action_is_exact level_step.py::test_the_two_losses_of_single_links"
LOSSES = "losses.py::test_values_at_the_target losses.py::test_path_gradient_has_the_mean_of_the_reverse_kl_gradient"
IMPORTANCE = "ensemble.py::test_weighted_draws_are_reweighted"
SITE = "site_conditional.py::test_the_closed_form_is_the_pullback site_conditional.py::test_active_sites_are_integrated_out"
LINEAR = "site_conditional.py::test_a_trajectory_in_one_call_is_that_of_its_steps"
LOW = "site_conditional.py::test_low_modes_are_those_of_the_fourier_transform " + contract("Transform", "LowModes")
FOURIER = "transforms.py::test_fourier_scale_makes_its_spectrum " + contract(
    "Transform", "FourierScale", "FourierModes"
)

EXACT_2D = "exact_gauge_2d.py::test_loops_at_every_site exact_gauge_2d.py::test_the_density_is_that_of_the_theory"
TWO = "exact_gauge_2d.py::test_the_first_of_two_plaquettes_of_su3_at_a_given_product"
MIXTURE = "symmetric_flows.py::test_draws_of_a_mixture_stand_at_every_image symmetric_flows.py::test_a_gauge_flow_is_averaged_over_centre_and_conjugation"

# fmt: off
MUTANTS = [
    # -- actions
    ("actions/wilson.py", "return -self.beta * loop_sum", "return self.beta * loop_sum", WILSON),
    ("geometry/loop_sums.py", "slopes.append(G.trace_slope(", "slopes.append(-G.trace_slope(", WILSON),
    ("geometry/loop_sums.py", "sum(found[1:], found[0])", "sum(found[2:], found[0])", WILSON),
    ("geometry/loop_sums.py", "slope - paths.shift(slope, mu, -r)", "slope - paths.shift(slope, mu, r)", WILSON),
    ("geometry/loop_sums.py", "slope - paths.shift(slope, nu, -t)", "slope - paths.shift(slope, nu, t if (mu, nu) == (2, 3) else -t)", WILSON),
    ("geometry/loop_sums.py", "slope - paths.shift(slope, nu, -t)", "slope", WILSON),
    ("geometry/loop_sums.py", "paths.shift(G.compose(G.inverse(a), one), mu, -1)", "paths.shift(G.compose(G.inverse(a), one), mu)", RECTANGLES),
    ("geometry/loop_sums.py", "G.compose(G.inverse(b), lower), ahead), nu, -1)", "G.compose(G.inverse(b), lower), ahead), nu, 1)", RECTANGLES),
    ("geometry/loop_sums.py", "paths.shift(across, nu, -step)", "paths.shift(across, nu, step)", RECTANGLES),
    ("actions/wilson.py", "sides[0] * sides[1]", "sides[0] + sides[1]", LOG_Z),
    ("actions/wilson.py", "side >= extent", "side > extent", LOG_Z),
    ("actions/wilson.py", "group.log_z_2d(self.beta, self.space.volume)", "group.log_z_2d(self.beta, self.space.volume - 1)", LOG_Z),
    ("actions/matrix.py", "total = total + k * a * G.trace_slope(power)", "total = total + a * G.trace_slope(power)", MATRIX),
    ("actions/matrix.py", "total = total + k * a * G.trace_slope(power)", "total = total + 2 * a * G.trace_slope(power)", MATRIX),
    ("actions/matrix.py", "return -self.beta * total.flatten(1)", "return -2 * self.beta * total.flatten(1)", MATRIX),
    ("actions/matrix.py", "math.prod(self.space.shape[: 1 + self.space.ndim]) * one", "self.space.volume * one", LOG_Z),
    ("actions/phi4.py", "self.m2 + 2 * self.space.ndim, self.lam", "self.m2 + self.space.ndim, self.lam", SCALARS),
    ("actions/phi4.py", "return self.beta, 1 - 2 * self.lam", "return self.beta, 1 - self.lam", SCALARS),
    ("actions/phi4.py", "self.m_sq / 2 + self.kappa", "self.m_sq + self.kappa", SCALARS),
    ("actions/phi4.py", "math.sqrt(a * a + 8 * g)) / 2", "math.sqrt(a * a + 4 * g)) / 2", CONVERT),
    ("actions/phi4.py", "lam=g / square**2", "lam=g / square", CONVERT),
    ("actions/phi4.py", "math.sqrt(square)", "square", CONVERT),
    ("actions/scalar.py", "a, g) + c * self.space.dof", "a, g) + c * self.space.volume", SCALARS),
    ("actions/scalar.py", "constant = self.coefficients[3] * self.space.dof", "constant = self.coefficients[3] * self.space.volume", SCALARS),
    ("actions/scalar.py", "exact.free_phi_squared(self.space.lattice, m2) / scale", "exact.free_phi_squared(self.space.lattice, m2) * scale", FREE),
    ("actions/scalar.py", "self.space.components * (exact.free_log_z", "(exact.free_log_z", FREE),
    ("actions/scalar.py", "math.log(self.coefficients[0] / 2) / 2", "math.log(self.coefficients[0] / 2)", FREE),
    ("actions/scalar.py", "2 * a / h - 2 * self.space.ndim", "2 * a / h - self.space.ndim", FREE),
    ("actions/base.py", "return -gradient", "return gradient", "actions.py::test_wilson_in_every_dimension"),
    ("actions/base.py", "flatten(1).sum(1) - x[0].numel()", "flatten(1).sum(1) - self.space.volume", "actions.py::test_the_schwinger_dyson_identity_of_scalars"),
    ("actions/wilson.py", "+ 4 * self.space.group.casimir", "+ 2 * self.space.group.casimir", LOG_Z),
    ("groups/base.py", "return -float((second.diagonal()", "return -2 * float((second.diagonal()", LOG_Z),
    ("actions/combined.py", "return self.first.force(x) + self.second.force(x)", "return self.first.force(x) - self.second.force(x)", "actions.py::test_sums_and_multiples"),
    ("actions/combined.py", "return self.factor * self.action.force(x)", "return self.action.force(x)", contract("Action", "Multiple")),
    ("actions/pullback.py", "return self.action(x) - logdet", "return self.action(x) + logdet", "actions.py::test_pullback_is_the_same_physics"),
    ("actions/pullback.py", "(logdet, torch.ones_like(logdet))", "(logdet, -torch.ones_like(logdet))", "actions.py::test_the_force_of_a_pullback_is_the_derivative_of_its_action"),
    ("actions/pullback.py", "return y, logdet + more", "return y, logdet - more", "ensemble.py::test_chains_in_the_coordinates_of_a_pullback_give_an_ensemble_of_the_theory actions.py::test_pullbacks_of_pullbacks"),
    ("kernels/scalar_action.py", "torch.roll(x, -1, axis) + torch.roll(x, 1, axis)", "2 * torch.roll(x, -1, axis)", SCALARS),
    ("kernels/scalar_action.py", "2 * a + 4 * g * x * x", "2 * a + 3 * g * x * x", SCALARS),
    # -- geometry and observables
    ("geometry/lattice.py", "return torch.roll(x, -n, 2 + mu)", "return torch.roll(x, n, 2 + mu)", "space.py::test_shift_goes_forward"),
    ("geometry/lattice.py", "4 * torch.sin(p / 2) ** 2", "2 * torch.sin(p / 2) ** 2", "space.py::test_momenta_are_eigenvalues_of_the_laplacian"),
    ("geometry/paths.py", "shift(one, mu, step))", "shift(one, mu, 1))", LOOPS),
    ("geometry/paths.py", "(a, shift(b, mu, r), shift(a, nu, t), b)", "(a, shift(b, mu, t), shift(a, nu, r), b)", LOOPS),
    ("geometry/paths.py", "(1, 1, -1, -1), wrap)", "(1, 1, -1, 1), wrap)", LOOPS),
    ("geometry/paths.py", "shift(a, nu)), G.inverse(shift(b, mu)))", "shift(a, nu)), G.inverse(shift(b, mu, -1 if (mu, nu) == (2, 3) else 1)))", STAPLES),
    ("geometry/paths.py", "shift(b, mu)), nu, -1)", "shift(b, mu)), nu, 1 if (mu, nu) == (3, 2) else -1)", STAPLES),
    ("geometry/paths.py", "G.compose(G.inverse(b), a)", "G.compose(a, G.inverse(b))", STAPLES),
    ("geometry/loops.py", "mu, space.lattice[mu])", "mu, space.lattice[0])", "loops.py::test_polyakov_loop"),
    ("geometry/loops.py", "G.inverse(paths.shift(g, mu))", "G.inverse(g)", "loops.py::test_gauge_transformations_move_both_ends_of_a_link"),
    ("geometry/charge.py", "plaquette(space, U, 0, 1)) / (2 * math.pi)", "plaquette(space, U, 1, 0)) / (2 * math.pi)", CHARGE),
    ("geometry/charge.py", "anti = (total - total.mH) / 8", "anti = (total - total.mH) / 4", CLOVER),
    ("geometry/charge.py", "return anti - torch.diag_embed(", "return anti + 0 * torch.diag_embed(", CLOVER),
    ("geometry/charge.py", "for offset in range(1, 4):", "for offset in range(3, 0, -1):", CLOVER),
    ("geometry/charge.py", "((0, 2), (1, 3), -1)", "((0, 2), (1, 3), 1)", EPSILON),
    ("geometry/charge.py", "total - 8 * sign * product", "total - 4 * sign * product", EPSILON),
    ("geometry/closed_paths.py", "place[mu] += min(sign, 0)", "place[mu] += 0", STEPS),
    ("geometry/closed_paths.py", "(nu, -1 if below else 1)", "(nu, 1)", STEPS),
    ("geometry/roles.py", "(active_links(space, pattern, loop) == 0)", "(active_links(space, pattern, loop) < 2)", PATTERNS),
    ("geometry/roles.py", "(held.sum(0) > 1)", "(held.sum(0) > 2)", PATTERNS),
    ("geometry/patterns.py", "(torch.tensor(phase.steps)[:, None] * x).sum(0) + start)", "(torch.tensor(phase.steps)[:, None] * x).sum(0) - start)", PATTERNS),
    ("geometry/patterns.py", "one.steps[(nu - by) % n]", "one.steps[(nu + by) % n]", PATTERNS),
    ("observables/library.py", "planes = space.planes if plane is None", "planes = space.planes[:1] if plane is None", LOOPS),
    ("observables/library.py", "loops.rectangle(space, x, mu, nu, r, t)", "loops.rectangle(space, x, mu, nu, t, r)", LOOPS),
    ("observables/library.py", "space.dof * _mean(x) ** 2", "space.volume * _mean(x) ** 2", SITES),
    ("observables/library.py", "_mean(x * x)", "_mean(x) ** 2", SITES),
    ("observables/library.py", "_charge(space, x) ** 2", "_charge(space, x).abs()", CHARGE),
    ("observables/library.py", "if axis in (mu, nu) else slice(1)", "if axis in (mu, nu) else slice(2)", "diagnosis.py::test_the_flux_is_the_charge_of_each_plane"),
    ("geometry/symmetries.py", "flipped.roll(1, 2 + mu), mu", "flipped, mu", WILSON),
    ("geometry/symmetries.py", "values[0] - sum(values[1:], values[0]) / self.order", "values[0] - sum(values[1:], values[0])", "actions.py::test_symmetries_change_the_signs_of_what_they_should"),
    # -- groups
    ("groups/u1.py", "self.wrap((2 * u - 1) * math.pi)", "self.wrap((2 * u - 1) * (0.99 * math.pi))", U1),
    ("groups/u1.py", "torch.where(y.abs() >= math.pi, -math.pi, y)", "y + 2 * math.pi * (y < 0)", U1),
    ("groups/u1.py", "return -x.sin()", "return x.sin()", WILSON),
    ("groups/u1.py", "staples.angle() + von_mises(", "von_mises(", BATH),
    ("groups/u1.py", "von_mises(beta * staples.abs(), rng)", "von_mises(beta + 0 * staples.abs(), rng)", BATH),
    ("groups/u1.py", "2 * staples.angle() - v", "staples.angle() - v", SUBLATTICES),
    ("groups/u1.py", "2 * c * (n * plaquettes).cos()", "c * (n * plaquettes).cos()", SCALES),
    ("groups/u1.py", "z = 2 * beta * (plaquettes / 2).cos().abs()", "z = 2 * beta * plaquettes.cos().abs()", SCALES),
    ("groups/sun.py", "cmath.exp(2j * math.pi / self.n)", "cmath.exp(1j * math.pi / self.n)", WILSON + " actions.py::test_symmetries_change_the_signs_of_what_they_should"),
    ("groups/sun.py", "coordinates(1j * x) / (2 * self.n)", "coordinates(1j * x) / self.n", WILSON),
    ("groups/sun.py", "real.sum(-1) / self.n", "real.sum(-1)", SUN),
    ("kernels/sun_torch.py", "y = 1.5 * x - 0.5 * x @ (x.mH @ x)", "y = 1.5 * x - 0.4 * x @ (x.mH @ x)", RESTORE),
    ("kernels/sun_torch.py", "1 - (torch.linalg.det(y) - 1) / x.shape[-1]", "1 - (torch.linalg.det(y) - 1)", RESTORE),
    ("groups/sun.py", "torch.stack([a, -b.conj(), b, a.conj()], -1)", "torch.stack([a, -b.conj(), b, a], -1)", SUN),
    ("groups/sun.py", "return 2j * kernels.multiply(algebra(f), x)", "return 1j * kernels.multiply(algebra(f), x)", "actions.py::test_the_force_of_a_pullback_is_the_derivative_of_its_action pullback_force.py::test_it_is_the_derivative_of_the_action_in_z"),
    ("groups/sun.py", "return coordinates((g - g.mH) / 2j)", "return coordinates((g - g.mH) / 1j)", SUN),
    ("groups/subgroups.py", "2 * beta / v.shape[-1] * k", "beta / v.shape[-1] * k", BATH),
    ("groups/subgroups.py", "times(inverse(u), inverse(u))", "inverse(u)", SUBLATTICES),
    ("groups/subgroups.py", "- w[..., j, i].conj()) / 2", "+ w[..., j, i].conj()) / 2", BATH),
    ("groups/subgroups.py", "torch.polar(radius * (1 - z * z).sqrt(), 2 * math.pi * phi)", "torch.polar(radius * (1 - z * z).sqrt(), math.pi * phi)", FISHER),
    ("groups/subgroups.py", "heat_angle(u, kappa, 2)", "heat_angle(u, kappa, 0)", BATH),
    ("groups/characters.py", "total = total - term if j % 2 else total + term", "total = total + term", "level_step.py::test_characters_are_orthogonal"),
    # -- priors and flows
    ("groups/rejection.py", "device=rng.device) * repeats + first)[hit]", "device=rng.device) * repeats)[hit]", OWN_LAW),
    ("groups/rejection.py", "out[waiting[hit]] = x[chosen]", "out[waiting[hit].flip(0)] = x[chosen]", OWN_LAW),
    ("groups/rejection.py", "tries = min(2 * tries, width)", "tries = 2 * tries", "exact_gauge_2d.py::test_rejection_goes_on_as_long_as_it_takes"),
    ("groups/su3_plaquettes.py", "accepted = u[3] * table.bound[cell] <", "accepted = u[3] * 0 <", ONE_PLAQUETTE),
    ("groups/su3_plaquettes.py", "z = -x[1] - y[1], -x[0] - y[0]", "z = -x[0] - y[0], -x[1] - y[1]", ONE_PLAQUETTE),
    ("groups/su3_plaquettes.py", "peak = torch.ceil(low / turn) * turn <= high", "peak = (low <= 0) & (high >= 0)", ONE_PLAQUETTE),
    ("groups/su3_plaquettes.py", "h = 2 * (theta / 2).cos()", "h = 2 * theta.cos()", FIRST_OF_TWO),
    ("groups/su3_plaquettes.py", "half = torch.polar(torch.ones_like(theta), theta / 2)", "half = torch.polar(torch.ones_like(theta), theta)", FIRST_OF_TWO),
    ("groups/u1.py", "von_mises(2 * beta * (product / 2).cos().abs(), rng)", "von_mises(beta * (product / 2).cos().abs(), rng)", FIRST_OF_TWO),
    ("groups/sun.py", "self.heatbath(one, one + product, beta, rng)", "self.heatbath(one, product, beta, rng)", FIRST_OF_TWO),
    ("groups/decimation.py", "table[a + 1, b - 1] -= c", "table[a + 1, b - 1] += c", EXACT_2D),
    ("priors/bridge.py", "return (P, left), self.chance(left, rest)", "return (P, left), self.chance(left, rest).sqrt()", EXACT_2D),
    ("priors/exact_gauge_2d.py", ".flip(1)", "", EXACT_2D),
    ("priors/exact_gauge_2d.py", "G.inverse(G.compose(B, A))", "G.inverse(G.compose(A, B))", EXACT_2D),
    ("priors/exact_gauge_2d.py", "bridge.chance(D, bridge.size)", "0 * bridge.chance(D, bridge.size) + 1", EXACT_2D),
    ("priors/exact_gauge_2d.py", "U[:, 0, -1, 0] = A", "U[:, 0, 0, 0] = A", EXACT_2D),
    ("priors/exact_gauge_2d.py", "comb_links(self.space, P, A, B), g)", "comb_links(self.space, P, A, B), g * 0 + G.identity(g.shape[:4], g))", "exact_gauge_2d.py::test_draws_are_gauge_invariant"),
    ("priors/free_field.py", "self.log_m2.exp()) * (-2 * self.log_scale).exp()", "self.log_m2.exp()) * (-self.log_scale).exp()", "priors.py::test_scale_of_a_free_field"),
    ("priors/free_field.py", "self.kernel().rsqrt()", "self.kernel().sqrt()", "priors.py::test_free_field_two_point_function"),
    ("priors/free_field.py", "(self.space.components * log_norm - quadratic) / 2", "(log_norm - quadratic) / 2", contract("Prior", "FreeField")),
    ("priors/normal.py", "self.space.dof * math.log(self.sigma", "self.space.volume * math.log(self.sigma", contract("Prior", "Normal")),
    ("priors/normal.py", "return self.sigma * z", "return z", contract("Prior", "Normal")),
    ("priors/embedded.py", "flatten(1).sum(1) / 2", "flatten(1).sum(1)", "priors.py::test_an_embedded_normal_prior_is_the_normal_prior_of_all_sites"),
    ("priors/embedded.py", "logr.view(n, parts).sum(1)", "logr.view(n, parts).mean(1)", contract("Prior", "Interleaved")),
    ("priors/exact_gauge_2d.py", "(-S - self.log_z)", "(-S + self.log_z)", EXACT_2D),
    ("priors/exact_gauge_2d.py", "G.inverse(G.compose(B, A))", "G.inverse(G.compose(A, B))", EXACT_2D),
    ("priors/exact_gauge_2d.py", "G.compose(G.inverse(ordered_product(G, P)), D)", "D", EXACT_2D),
    ("priors/exact_gauge_2d.py", "return loops.gauge_transform(self.space, comb_links(self.space, P, A, B), g)", "return comb_links(self.space, P, A, B)", "exact_gauge_2d.py::test_draws_are_gauge_invariant"),
    ("priors/bridge.py", "self._at_one[k]).exp()", "self._at_one[k]).exp().sqrt()", EXACT_2D),
    ("priors/symmetrised.py", "return torch.logsumexp(self._of_images(x)[1], 0) - math.log(self.size)", "return torch.logsumexp(self._of_images(x)[1], 0)", MIXTURE),
    ("priors/symmetrised.py", "torch.where(power == k, image, x)", "torch.where(power < 0, image, x)", MIXTURE),
    ("priors/symmetrised.py", "torch.softmax(logr, 0)[..., None]", "1 / self.size", "symmetric_flows.py::test_score_of_a_mixture"),
    ("groups/su3_plaquettes.py", "return 8 * haar *", "return 8 * haar.sqrt() *", "exact_gauge_2d.py::test_characters_of_one_plaquette"),
    ("groups/su3_plaquettes.py", "(excess * diagonal - excess.abs())", "(excess * diagonal)", TWO),
    ("transforms/sites/odd_net.py", "h - mirrored, h + mirrored", "h - mirrored, h", "symmetric_flows.py::test_default_scalar_flows_are_even"),
    ("flow.py", "return self.prior.log_prob(z) + logdet", "return self.prior.log_prob(z) - logdet", contract("Prior", "Flow")),
    ("flow.py", "columns[id(p)] + own", "own", "multiscale_ordered.py::test_scales_may_share_a_model"),
    ("transforms/base.py", "return Sample(y, logr - logdet)", "return Sample(y, logr + logdet)", contract("Prior", "Flow")),
    ("transforms/chain.py", "list(self)[::-1]", "list(self)", "transforms.py::test_chain"),
    ("transforms/by_inversion.py", "in reversed(ctx.moves)", "in list(ctx.moves)", "recomputed.py::test_gradients_are_those_of_the_whole_graph"),
    ("transforms/by_inversion.py", "sums[id(p)] + gradient if", "gradient if", "recomputed.py::test_gradients_of_fields_and_of_shared_steps"),
    ("nets/factorised.py", "between.insert(0,", "between.insert(1,", "convolutions.py::test_factorised_convolutions_equal_dense_ones_of_their_weight"),
    ("kernels/convolution.py", "roll(reach - t, 1)", "roll(t - reach, 1)", "convolutions.py::test_every_method_gives_the_direct_sum"),
    ("transforms/chain.py", "total = total + logdet\n", "total = logdet\n", "transforms.py::test_chain"),
    ("transforms/chain.py", "return Sample(x, drawn.logq - total)", "return Sample(x, drawn.logq + total)", contract("Prior", "Flow") + " flow.py::test_density_of_its_own_draws"),
    # -- transforms of sites
    ("transforms/sites/affine.py", "self.log_scale.sum() * self.space.volume", "self.log_scale.sum()", contract("Transform", "Affine")),
    ("transforms/sites/affine.py", "y - self.shift", "y + self.shift", contract("Transform", "Affine")),
    ("transforms/sites/coarser.py", "self.log_scale.sum() * self.coarse_space.dof", "self.log_scale.sum() * self.coarse_space.volume", contract("Transform", "Prolongation")),
    ("transforms/sites/coarser.py", "-logdet if inverse else logdet", "logdet", contract("Transform", "Prolongation")),
    ("transforms/sites/coarser.py", "torch.roll(part, -1, axis)", "torch.roll(part, 1, axis)", "fhmc_phi4.py::test_prolongation_interpolates"),
    ("transforms/sites/coarser.py", "logdet.view(parts.shape[:2]).sum(1)", "logdet.view(parts.shape[:2]).mean(1)", contract("Transform", "OnSublattices")),
    ("transforms/sites/coupling.py", "return self._join(y, x), logderiv.sum((0, 1))", "return self._join(y, x), logderiv.mean((0, 1))", contract("Transform", "CheckerboardCoupling")),
    ("transforms/sites/fourier.py", "self.log_m2.exp()).log() / 2", "self.log_m2.exp()).log()", FOURIER),
    ("transforms/sites/fourier.py", "return y, (self.space.components * log_gain.sum())", "return y, (log_gain.sum())", FOURIER),
    ("transforms/sites/fourier.py", "p2 / (2 * self.space.ndim) - 1", "p2 / self.space.ndim - 1", FOURIER),
    ("transforms/sites/low_modes.py", "return (self.space.components * total).expand(len(x))", "return total.expand(len(x))", LOW),
    ("transforms/sites/low_modes.py", "copies = self.log_gain.new_full([self.most + 1], 2.0)", "copies = self.log_gain.new_full([self.most + 1], 1.0)", LOW),
    ("transforms/sites/low_modes.py", "self.scaled(-1)", "self.scaled(1)", LOW),
    ("transforms/sites/low_modes.py", ".clamp(min=1).log())", ".log())", LOW),
    ("transforms/sites/site_conditional.py", "action.coefficients[3] * self.space.dof", "action.coefficients[3] * self.space.volume", SITE),
    ("transforms/sites/site_conditional.py", "own = self.space.dof / 2 * math.log(2 * math.pi) / 2", "own = self.space.volume / 2 * math.log(2 * math.pi) / 2", SITE),
    ("transforms/sites/site_conditional.py", "z * (2 * a + 4 * g * z * z)", "z * (2 * a + 2 * g * z * z)", SITE),
    ("transforms/sites/spline.py", "v_low, v_high = (1 + v_low) / 2, v_high / 2", "v_low, v_high = (1 + v_low) / 2, 1 - v_low / 2", contract("Transform", "DistributionConverter") + " transforms.py::test_other_contracts"),
    ("transforms/sites/spline.py", "logderiv + log_ends - v_low.log()", "logderiv - v_low.log()", contract("Transform", "DistributionConverter") + " transforms.py::test_other_contracts"),
    # -- transforms of links and bijections
    ("transforms/links/gauge.py", "logdets = [part.sum(0) for part in parts]", "logdets = [part.mean(0) for part in parts]", contract("Transform", "GaugeCoupling")),
    ("transforms/links/gauge.py", "for _, sign in loop.path[1:])", "for _, sign in loop.path[:-1])", contract("Transform", "GaugeCoupling") + " patterns.py"),
    ("transforms/links/spectral.py", "return y, logdet.flatten(1).sum(1)", "return y, logdet.flatten(1).mean(1)", contract("Transform", "SpectralCoupling")),
    ("transforms/links/trivializing.py", "return w, -self.potential.laplacian(loops, c)", "return w, self.potential.laplacian(loops, c)", INTEGRATED),
    ("transforms/links/integrated.py", "d1 + 2 * (d2 + d3) + d4", "d1 + 3 * (d2 + d3) + d4", INTEGRATED),
    ("transforms/links/integrated.py", "h * (k3 - k1 / 2)", "h * (k3 - k1 / 3)", INTEGRATED),
    ("transforms/links/integrated.py", "* 16 / 15", "* 8 / 15", DEFECT),
    ("transforms/links/integrated.py", "return (-fine - coarse)", "return (fine - coarse)", DEFECT),
    ("transforms/links/trivializing.py", "start[0, 0] = constant[0] + slope[0] / 2", "start[0, 0] = constant[0]", "gradient_flow.py::test_the_first_term_of_the_series gradient_flow.py::test_log_w_varies_at_the_order_that_the_series_leaves"),
    ("actions/villain.py", "slope = -self.b * (", "slope = self.b * (", contract("Action", "Villain")),
    ("actions/villain.py", "volume / (2 * self.b)", "volume / self.b", "photon.py::test_the_norm_in_two_dimensions_is_that_of_the_villain_theory"),
    ("priors/lifted_photon.py", "2 * math.pi**2 * self.b * rest", "math.pi**2 * self.b * rest", "photon.py::test_weights_have_the_mean_z"),
    ("priors/lifted_photon.py", "(d - 1) / 2 * waves", "d / 2 * waves", "photon.py::test_the_norm_in_two_dimensions_is_that_of_the_villain_theory"),
    ("geometry/forms.py", "found[mu].append(one - ", "found[mu].append(", contract("Transform", "PhotonDrift")),
    ("transforms/links/photon_drift.py", "w + forms.plaquette", "w - forms.plaquette", contract("Transform", "PhotonDrift")),
    ("transforms/links/photon_drift.py", "divergence + 4 * own", "divergence + 2 * own", contract("Transform", "PhotonDrift")),
    ("transforms/links/photon_drift.py", "- math.exp(-s / 2) * r", "+ math.exp(-s / 2) * r", "photon.py::test_the_drift_removes_the_first_order"),
    ("transforms/links/lifted_drift.py", "+ 4 * theta[..., -1] * sums", "+ 2 * theta[..., -1] * sums", "lifts.py::test_the_logdet_of_a_drift_of_lifts_is_that_of_autograd"),
    ("transforms/links/lifted_drift.py", "slope + own / 2", "slope + own", "lifts.py::test_the_logdet_of_a_drift_of_lifts_is_that_of_autograd"),
    ("priors/lifted.py", "self.villain(theta) - self.villain.b / 2", "self.villain(theta) - self.villain.b", "lifts.py::test_the_mean_of_the_weights_does_not_depend_on_the_law_of_a_lift"),
    ("actions/lifted.py", "self.beta * x.sin() - log_p", "self.beta * x.sin() + log_p", "lifts.py::test_the_slope_is_that_of_autograd"),
    ("samplers/photon_hmc.py", "cosine * v - sine * a", "cosine * v - sine * (a + v)", "lifts.py::test_photon_hmc_is_exact_for_free_photons_and_stays_in_the_sector"),
    ("transforms/links/angle_loops.py", "force[nu] = force[nu] + g - at(g, mu, -1)", "force[nu] = force[nu] + g - at(g, mu, 1)", TRAJECTORY),
    ("transforms/links/angle_loops.py", "+ at(links[nu], mu) -", "+ at(links[nu], mu, -1) -", TRAJECTORY),
    ("transforms/links/angle_loops.py", '-float(self._of[name].squared_charge)', '-0.5 * self._of[name].squared_charge', TRAJECTORY),
    ("transforms/links/matrix_loops.py", "both = 8 * fundamental - 1 / n", "both = 8 * fundamental + 1 / n", TRAJECTORY),
    ("transforms/links/matrix_loops.py", "add(nu, -before)", "add(nu, before)", TRAJECTORY),
    ("transforms/links/potential.py", "out[0, 0] = per_trace / self._laplacian[0, 0]", "out[0, 0] = -per_trace / self._laplacian[0, 0]", "gradient_flow.py::test_the_first_term_of_the_series gradient_flow.py::test_log_w_varies_at_the_order_that_the_series_leaves"),
    ("bijections/affine.py", "(y - t) * (-s).exp(), -s", "(y - t) * (-s).exp(), s", contract("Bijection", "AffineMap")),
    ("bijections/splines.py", "torch.where(u < 0, low, high) * (u - inside)", "torch.where(u < 0, high, low) * (u - inside)", contract("Bijection", "RealSpline") + " transforms.py::test_real_splines_go_on_as_straight_lines"),
    ("bijections/splines.py", "* s.exp() + t, logdet + s", "* s.exp() + t, logdet", contract("Bijection", "RealSpline")),
    ("bijections/splines.py", "_wrap(y - given[-1]) / (2 * math.pi) + 0.5", "_wrap(y) / (2 * math.pi) + 0.5", contract("Bijection", "CircleSpline")),
    ("bijections/alcove.py", "(self.n - 2 - m) * (y / stick).log()", "(self.n - 1 - m) * (y / stick).log()", contract("Bijection", "AlcoveSpline")),
    ("bijections/alcove.py", "total + 2 * sines.log().sum(0)", "total + sines.log().sum(0)", contract("Bijection", "AlcoveSpline")),
    ("bijections/eigenangles.py", "self.group.product((moved, close), (1, -1))", "self.group.product((close, moved), (-1, 1))", contract("Bijection", "EigenangleSpline")),
    ("bijections/residual.py", "torch.cat([b + d, b - d])", "torch.cat([b + d, b + d])", contract("Bijection", "Residual")),
    ("bijections/residual.py", "total = jacobian + minus_ad @ total / k", "total = jacobian - minus_ad @ total / k", contract("Bijection", "Residual")),
    ("bijections/tangent.py", "-mixture(x, s)[1].log()", "mixture(x, s)[1].log()", contract("Bijection", "TangentMixture")),
    # -- multiscale models
    ("multiscale/doubling.py", "G.compose(G.inverse(G.compose(side, first_up)), first)", "G.compose(G.inverse(G.compose(first_up, side)), first)", SPLITS),
    ("multiscale/doubling.py", "shift(side, self.mu))))", "side)))", SPLITS),
    ("multiscale/doubling.py", "compose(self.coarse.group.inverse(first), link(coarse, self.mu))", "compose(link(coarse, self.mu), self.coarse.group.inverse(first))", SPLITS + " multiscale.py::test_splitting_commutes_with_gauge_transformations"),
    ("multiscale/doubling.py", "torch.cat([shift(first, nu) for nu", "torch.cat([shift(first, nu, -1) for nu", SPLITS),
    ("multiscale/doubling.py", "torch.cat([shift(second, nu) for nu", "torch.cat([shift(second, nu, -1) for nu", SPLITS),
    ("multiscale/new_links.py", "total + log.flatten(1).sum(1)", "log.flatten(1).sum(1)", "multiscale_ordered.py::test_density_in_three_dimensions"),
    ("multiscale/new_links.py", "return Sample(x, logr + logq)", "return Sample(x, logr - logq)", "multiscale.py::test_drawn_density"),
    ("multiscale/new_links.py", "list(copy.deepcopy(self.conditionals))", "list(copy.deepcopy(self.conditionals))[::-1]", "multiscale_ordered.py::test_stages_need_a_model_each multiscale_ordered.py::test_models_of_stages_stay_in_order_on_another_lattice"),
    ("multiscale/stages.py", "steps)].all()", "steps)].any()", STAGES),
    ("multiscale/dressed_plan.py", "complete = {rho: ~lost[legs[rho]].any(1)", "complete = {rho: ~lost[legs[rho]].all(1)", DRESSED),
    ("multiscale/dressed_loops.py", "SIDES = ((1, -1, -1), (-1, -1, 1))", "SIDES = ((1, -1, -1), (-1, 1, 1))", DRESSED),
    ("multiscale/conditionals/su3_heatbath.py", "((1 - size) * (t - 0.5))", "((1 + size) * (t - 0.5))", contract("LinkConditional", "SU3HeatbathConditional")),
    ("groups/mean_link.py", "part = slope / (12 + k)", "part = slope / (6 + k)", "dressed.py::test_mean_elements_of_su3"),
    ("multiscale/free_field_loss.py", "block.square().sum(1).log().sum() / 2", "block.square().sum(1).log().sum()", "dressed.py::test_what_orders_lose_for_free_photons"),
    ("train/fisher_scoring.py", "slope - prior * old", "slope + prior * old", "dressed.py::test_the_weak_prior_holds_what_fields_leave_open"),
    ("multiscale/site_doubling.py", "logdet + logderiv.sum((0, 1))", "logderiv.sum((0, 1))", contract("Transform", "SiteDoubling")),
    ("multiscale/structure.py", "prior.log_rest(*rest) + logdet", "prior.log_rest(*rest) - logdet", SCALES),
    ("multiscale/scales.py", "minus - scale.logq", "minus + scale.logq", SCALES),
    ("multiscale/scales.py", "model.space.volume // scale.space.volume", "1", SCALES),
    ("ensemble/fields.py", "space.group.trace(P).mean(1, keepdim=True)", "space.group.trace(P).sum(1, keepdim=True)", "panel_density.py::test_the_action_density_sums_up_to_the_action"),
    ("multiscale/scales.py", "log_ratio.logsumexp(1) - math.log(draws))", "log_ratio.logsumexp(1))", SCALES),
    ("multiscale/scales.py", "square.expm1() / (2 *", "-square.expm1() / (2 *", SCALES + "::test_draws_stand_for_the_exact_action_in_two_dimensions"),
    ("multiscale/scales.py", "(-action(x) - logq).double()", "(-action(x)).double()", SCALES),
    ("multiscale/conditionals/class_functions.py", "log = (2 * self.coefficients * self.cos_w)", "log = (self.coefficients * self.cos_w)", CLASSES),
    ("multiscale/conditionals/class_functions.py", "return w / 2 - left, w", "return w / 2 - right, w", CLASSES + " multiscale.py::test_the_sampler_of_class_functions"),
    ("multiscale/conditionals/class_functions.py", "(self.cos_phi - mean[:, None])", "self.cos_phi", CLASSES),
    ("multiscale/conditionals/heat_law.py", "-2 * kappa * (angle / 2).sin().square()", "-kappa * (angle / 2).sin().square()", contract("LinkConditional", "HeatbathConditional")),
    ("multiscale/conditionals/heatbath.py", "self.loops * self.log_weights.softmax(0)", "self.log_weights.softmax(0)", "heatbath_link.py::test_one_plaquette heatbath_link.py::test_the_exact_conditional_of_the_action"),
    ("multiscale/conditionals/heatbath.py", "c * slopes - (c / c.sum()) * by_strength.unsqueeze(1)", "c * slopes", contract("LinkConditional", "HeatbathConditional")),
    ("multiscale/conditionals/staple.py", "return v, logq - logdet", "return v, logq + logdet", contract("LinkConditional", "StapleConditional")),
    ("multiscale/conditionals/class_functions_su2.py", "return heat_cdf(a, 0.0, 2), c, nn", "return heat_cdf(a, 0.0, 0), c, nn", contract("LinkConditional", "SU2ClassFunctionConditional")),
    ("multiscale/conditionals/tilts.py", "part - linear * (1 - c2).square() / 4", "part + linear * (1 - c2).square() / 4", "heat_angle.py::test_the_cdf_of_a_tilted_side_is_the_integral_of_its_density"),
    ("multiscale/conditionals/tables.py", "part * (p + part * (q - p) / 2)", "part * (p + part * (q - p))", CLASSES + " " + contract("LinkConditional", "ClassFunctionConditional")),
    # -- samplers
    ("samplers/base.py", "(u.log() < log_ratio)", "(u < log_ratio)", METROPOLIS),
    ("samplers/base.py", " & log_ratio.isfinite()", "", "samplers.py::test_proposals_without_a_finite_weight_are_never_accepted"),
    ("samplers/hmc.py", "yes = accept(-dH, rng)", "yes = accept(dH, rng)", HMC),
    ("samplers/hmc.py", "self.kinetic(p_end) - self.kinetic(p)", "self.kinetic(p) - self.kinetic(p_end)", HMC),
    ("samplers/hmc.py", "p.square().flatten(1).sum(1) / 2", "p.square().flatten(1).sum(1)", HMC),
    ("samplers/hmc.py", "x = self.space.group.restore(x)", "x = 1 * x", RESTORE),
    ("samplers/hmc.py", "select(yes, S, state.S)), info", "S), info", HMC),
    ("samplers/hmc.py", "(1 + self.randomise * (2 * u - 1))", "(1 + self.randomise * u)", RANDOM),
    ("samplers/hmc.py", "torch.rand(len(p), *[1] * (p.dim() - 1)", "torch.rand(1, *[1] * (p.dim() - 1)", RANDOM),
    ("samplers/hmc.py", "self.first - math.sqrt(t) / 0.05 * self.deficit", "self.first + math.sqrt(t) / 0.05 * self.deficit", TUNING),
    ("samplers/integrators.py", '"leapfrog": Integrator((0.5, 0.5), (1.0,)', '"leapfrog": Integrator((0.4, 0.6), (1.0,)', HMC),
    ("samplers/integrators.py", "(_L, 1 - 2 * _L, _L)", "(_L, 1 - _L, _L)", HMC),
    ("samplers/integrators.py", "return f.inverse(x)[0], f.inverse(v)[0]", "return f.inverse(x)[0], v", LINEAR),
    ("samplers/integrators.py", "lambda c: transform(transposed(c))[0])", "lambda c: transposed(transform(c)[0]))", LINEAR),
    ("samplers/heatbath.py", "((1, 1, -1), (-1, 1, 1))", "((1, 1, -1), (1, 1, -1))", SUBLATTICES),
    ("samplers/sublattices.py", "range(3 if odd else 2)", "range(2)", SUBLATTICES),
    ("samplers/sublattices.py", "torch.where(last_of_odd, 2, x[nu] % 2)", "x[nu] % 2", SUBLATTICES),
    ("samplers/heatbath.py", "for sweep in range(1 + self.overrelaxation):", "for sweep in range(self.overrelaxation):", BATH),
    ("samplers/heatbath.py", "return G.restore(x)", "return x", RESTORE),
    ("samplers/integrators.py", "G.project(x) if G.additive else x, p", "x, p", TRAJECTORY),
    ("samplers/integrators.py", "plan.mass is None\n    if plain", "plan.mass is None\n    if True", TRAJECTORY),
    ("geometry/loop_sums.py", "_times(c0, wilson.trace_sum", "_times(-c0, wilson.trace_sum", WILSON),
    ("geometry/loop_sums.py", "for mu, nu in space.planes]", "for nu, mu in space.planes[:1]]", WILSON),
    ("kernels/wilson.py", "0, *(part.shape[1] for part in rows)", "0, *(part.shape[1] - 1 for part in rows)", SWEPT),
    ("kernels/wilson.py", ".random_(generator=rng)", ".zero_()", SWEPT),
    ("kernels/wilson.py", "if unpack_dual(x).tangent is not None:", "if False:", "kernels_wilson.py::test_derivatives_of_every_kind_run_through_torch"),
    ("samplers/heatbath.py", "                V, A = links", "                now = rng.get_state() if part is self.parts[0] else now\n                rng.set_state(now)\n                V, A = links", DRAWS),
    ("samplers/heatbath.py", "sweeps: int = 20", "sweeps: int = 1", BATH + " level_step.py::test_one_plaquette"),
    ("samplers/metropolis.py", "(state.S + state.logq) - (S + logq)", "(S + logq) - (state.S + state.logq)", METROPOLIS),
    ("samplers/metropolis.py", "(state.S + state.logq) - (S + logq)", "state.S - S", METROPOLIS),
    ("samplers/metropolis.py", "select(yes, logq, state.logq)", "logq", METROPOLIS),
    ("samplers/metropolis.py", 'logw": -kept[0] - kept[1]', 'logw": -kept[0] + kept[1]', METROPOLIS),
    ("samplers/metropolis.py", '"logw_proposed": -S - logq', '"logw_proposed": -kept[0] - kept[1]', METROPOLIS),
    ("samplers/metropolis.py", "Proposals(*(t[:, 1:] for t in waiting))", "Proposals(*(t for t in waiting))", METROPOLIS + " samplers.py::test_proposals_drawn_ahead_are_part_of_the_state"),
    ("samplers/chain.py", "range(1, thermalise + 1)", "range(1, thermalise // 2 + 1)", CHAIN),
    ("samplers/chain.py", "for k in range(1, every + 1):", "for k in range(1, every + 2):", CHAIN),
    ("samplers/chain.py", '"accept": rate / every', '"accept": rate', CHAIN),
    ("samplers/chain.py", "return torch.where(good.view", "return torch.where(~good.view", CHAIN),
    ("samplers/annealed.py", "return state.x, state.S - S", "return state.x, S - state.S", JARZYNSKI),
    ("samplers/annealed.py", "for _ in range(self.steps):", "for _ in range(1):", "annealed.py::test_steps_of_a_kernel annealed.py::test_more_steps_dissipate_less"),
    ("samplers/markov_prior.py", "return -self.action(self._mine(x))", "return self.action(self._mine(x))", contract("Prior", "MarkovPrior") + " fhmc_phi4.py::test_markov_prior_samples_its_theory_and_says_what_it_is"),
    ("ensemble/importance.py", "columns.store(fields, ", "columns.store(fields.flip(0), ", IMPORTANCE),
    ("ensemble/importance.py", '"logw": -S - logq', '"logw": -S + logq', IMPORTANCE),
    ("ensemble/columns.py", "values = values | obs.measure(self.space, x)", "values = values | obs.measure(self.space, x.roll(1, 0))", IMPORTANCE),
    ("ensemble/means.py", 'name = "logw" if self.weighted else "logw_proposed"', 'name = "logw"', "ensemble.py::test_independence_metropolis_knows_the_ess_of_its_flow_and_the_tail_check_warns"),
    # -- statistics
    ("stats/autocorrelation.py", "obs.deltas[name] = chain - obs.value", "obs.deltas[name] = chain - chain.mean()", "stats.py::test_a_stuck_chain_shows_as_autocorrelation"),
    ("stats/autocorrelation.py", "window < len(x) // 2 - 1", "window < len(x)", "stats.py::test_a_window_that_does_not_fit_is_told"),
    ("stats/autocorrelation.py", "float(obs.e_tauint[_NAME])", "2 * float(obs.e_tauint[_NAME])", GAMMA),
    ("stats/estimates.py", "fluctuations.std(ddof=1) / math.sqrt(total)", "fluctuations.std(ddof=1) / math.sqrt(n)", "stats.py::test_independent_values_have_the_error_of_the_mean"),
    ("stats/estimates.py", "count = total * worth / (2 * tau)", "count = total * worth / tau", ESTIMATE),
    ("stats/estimates.py", "r + (a - r * b) / b.mean()", "r + (a - r * b)", RATIO),
    ("stats/estimates.py", "return (self.value - reference) / self.error", "return (reference - self.value) / self.error", "stats.py::test_pulls_and_distances"),
    ("stats/weights.py", "r = (w * x).sum() / w.sum()", "r = x.mean()", WEIGHTS),
    ("stats/weights.py", "r + w * (x - r) / w.mean()", "r + (x - r) / w.mean()", WEIGHTS + " coverage.py::test_reweighted_means_cover"),
    ("stats/weights.py", "value * (2 * w / w.mean() - w**2 / (w**2).mean())", "value * (w / w.mean() - w**2 / (w**2).mean())", COVER),
    ("stats/weights.py", "x.max() + np.log(w.mean())", "np.log(w.mean())", WEIGHTS),
    ("stats/weights.py", "value + w / w.mean() - 1", "value + 2 * w / w.mean() - 1", COVER),
    ("stats/weights.py", "((len(w) - 1) * w.sum())", "(len(w) * w.sum())", "stats.py::test_acceptance_is_the_mean_over_all_pairs"),
    ("stats/weights.py", "w.mean() ** 2 / (w**2).mean()", "w.mean() / (w**2).mean()", WEIGHTS),
    ("stats/tails.py", "share + 3 * noise", "share + 30 * noise + 0.5", TAIL),
    ("stats/tails.py", "round(2 * gamma(other, 2.0)[1].tau_int)", "1", "stats.py::test_correlated_configurations_are_thinned"),
    ("stats/agreement.py", "x[: n // 10], x[n // 2 :]", "x[n // 2 :], x[n // 2 :]", "diagnosis.py::test_a_start_that_shows_is_told"),
    ("stats/agreement.py", "c * (row**2).sum() / (k - 1)", "(row**2).sum() / (k - 1)", "diagnosis.py::test_p_values_are_uniform"),
    ("stats/agreement.py", "k * (column**2).sum() / (c - 1)", "(column**2).sum() / (c - 1)", "diagnosis.py::test_p_values_are_uniform"),
    ("stats/agreement.py", "half * scores.mean(0).var(ddof=1)", "scores.mean(0).var(ddof=1)", "diagnosis.py::test_chains_in_places_of_their_own_are_told"),
    ("stats/pareto.py", "np.log(-b / k) - k - 1", "np.log(-b / k) + k - 1", "diagnosis.py::test_the_shape_of_a_tail_is_found"),
    ("ensemble/diagnosis.py", 'np.expm1(-self.series["dH"])', 'np.expm1(self.series["dH"])', "diagnosis.py::test_healthy_runs_are_silent"),
    # -- exact results
    ("exact/u1.py", "ratio[:-1] ** (volume - area) * ratio[1:] ** area", "ratio[:-1] ** volume * ratio[1:] ** area", U1_EXACT),
    ("exact/u1.py", "volume * (beta + math.log(scaled_bessel(0, beta)))", "volume * math.log(scaled_bessel(0, beta))", U1_EXACT),
    ("exact/u1.py", "np.arange(cutoff(beta) + 1)) ** area", "np.arange(cutoff(beta) + 1)) ** (area - 1)", SCALES),
    ("exact/u1_topology.py", "-volume / (4 * math.pi**2)", "-1 / (4 * math.pi**2)", U1_EXACT),
    ("exact/u1_topology.py", "(bessel(beta, orders - 1) + bessel(beta, orders + 1)) / 2", "bessel(beta, orders - 1) + bessel(beta, orders + 1)", "exact.py::test_u1_sectors_average_to_plaquette exact.py::test_u1_sector_plaquette_is_slope_of_sector_weight"),
    ("exact/u1_topology.py", "(volume - 1) * f ** (volume - 2)", "volume * f ** (volume - 2)", U1_EXACT),
    ("exact/sun.py", "dimension(b) / dimension(a) * u[a]", "u[a]", SUN_EXACT),
    ("exact/sun.py", "volume * sun_one_plaquette_log_z(n, beta) + math.log(total)", "volume * sun_one_plaquette_log_z(n, beta)", SUN_EXACT),
    ("exact/sun.py", "dimension(rep) * u**area", "u**area", SCALES),
    ("exact/expansion.py", "rep[i] - rep[j] + j - i", "rep[i] - rep[j]", SUN_EXACT),
    ("exact/expansion.py", "float(fundamental / (n * trivial))", "float(fundamental / trivial)", SUN_EXACT),
    ("exact/expansion.py", "shift[:, None, None] + i[:, None] - i)", "shift[:, None, None] + i - i[:, None])", SUN_EXACT + " exact.py::test_one_plaquette_by_weyl_integration"),
    ("exact/strong_coupling.py", "(ndim - 2) / 3 * 6 * k", "(ndim - 2) / 3 * 4 * k", STRONG),
    ("exact/strong_coupling.py", "{\"SU2\": (4, 2), \"SU3\": (18, 3)}", "{\"SU2\": (4, 2), \"SU3\": (9, 3)}", STRONG),
    ("exact/scalars.py", "return 0.5 / (p2 + m2)", "return 1 / (p2 + m2)", FREE_EXACT),
    ("exact/scalars.py", "0.5 * np.sum(np.log(2 * math.pi *", "0.5 * np.sum(np.log(math.pi *", FREE_EXACT + " exact.py::test_free_phi_squared_is_slope_of_log_z"),
    ("exact/scalars.py", "-m2 / (2 * lam) + math.sqrt(drop / lam)", "-m2 / (2 * lam)", PHI4_EXACT),
    ("exact/transfer_matrix.py", "site_grid(m2 + 3, lam)", "site_grid(m2 + 2, lam)", PHI4_EXACT),
    ("exact/transfer_matrix.py", "for t in range(1, length):", "for t in range(1, length - 1):", PHI4_EXACT),
    # -- training
    ("train/losses.py", "excess = logq + action(x)\n", "excess = logq - action(x)\n", LOSSES),
    ("train/losses.py", "* gradient.conj()).sum() / len(x)", "* gradient.conj()).sum()", LOSSES),
    ("train/losses.py", "* gradient.conj()).sum() / len(x)", "* gradient).sum() / len(x)", "losses.py::test_path_gradient_moves_the_draws_alone"),
    ("train/losses.py", "logw = whole(-action(x) - logq)", "logw = whole(-action(x) + logq)", "losses.py::test_losses_agree_on_what_they_share"),
    ("train/losses.py", "return Loss(-log_ess(logw)", "return Loss(log_ess(logw)", "losses.py::test_losses_agree_on_what_they_share"),
    ("train/weights.py", "w = _weights(logw).sort().values", "w = _weights(logw)", "train.py::test_batch_and_ensemble_share_the_formulas_of_the_weights"),
    ("train/weights.py", "return (logw - logw.detach().max()).exp()", "return logw.exp()", "train.py::test_batch_and_ensemble_share_the_formulas_of_the_weights"),
    ("train/gradient_step.py", "(total / limit).clamp(min=1.0)", "(total / limit)", "train.py::test_clipping train.py::test_the_update_is_adams"),
    ("train/gradient_step.py", "return self.lr * lr_factor", "return self.lr", "train.py::test_learning_rate_and_coupling_follow_their_schedules"),
    ("train/schedules.py", "(1 - self.final) * (1 + math.cos(math.pi * part)) / 2", "(1 - self.final) * (1 - math.cos(math.pi * part)) / 2", contract("Schedule", "Cosine") + " train.py::test_learning_rate_and_coupling_follow_their_schedules"),
    ("train/schedules.py", "end + (self.start - end) * max(0.0, 1 - step / self.steps)", "end + (self.start - end) * max(0.0, step / self.steps)", "train.py::test_learning_rate_and_coupling_follow_their_schedules"),
    ("train/natural_gradient.py", "predicted = move @ self.fisher @ move / 2", "predicted = move @ self.fisher @ move", NATURAL),
    ("train/natural_gradient.py", "targets = -torch.stack", "targets = torch.stack", NATURAL),
    ("train/natural_gradient.py", "= (tensors[name].clone().to(device) for", "= (torch.zeros_like(tensors[name]).to(device) for", NATURAL),
    ("train/natural_gradient.py", "clamp(max=1), self.progress)", "clamp(max=1), 0 * self.progress)", NATURAL),
    ("train/natural_levels.py", "self.damping / 2, self.damping * 8", "self.damping * 8, self.damping / 2", "level_step.py::test_a_step_that_makes_kl_worse_is_undone_with_more_damping"),
    ("train/level_methods.py", "value = logw.var(0).mean() / 2", "value = logw.var(1).mean() / 2", LEVELS),
    ("train/level_methods.py", "self.effective(G.compose(V, A)) + self.effective(V) - logq", "self.effective(G.compose(V, A)) + self.effective(V) + logq", LEVELS),
    ("train/level_methods.py", "- math.log(fit.draws) - logw).mean()", "- logw).mean()", LEVELS),
    ("train/levels.py", "self.group.compose(self._shuffled(rng), self._shuffled(rng))", "self.group.compose(self.pool, self.pool)", "level_step.py::test_a_pool_holds_products_of_independent_plaquettes"),
    ("train/levels.py", "return self.beta * self.group.trace(x)", "return 2 * self.beta * self.group.trace(x)", LEVELS),
]
# fmt: on
