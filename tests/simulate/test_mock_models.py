"""Laws that hold for any constants of the baryon models, then the mechanism of each with constants of its own."""

from collections.abc import Callable
from dataclasses import fields, replace
from itertools import product

import pytest
import torch

from fieldlevel.layout import CRITICAL_DENSITY
from fieldlevel.numerics.mesh import paint_species, read_cic
from fieldlevel.numerics.spectra import power_spectrum_3d
from fieldlevel.simulate.feedback import Feedback, GravityRun, HydroParticles, Scaling
from fieldlevel.simulate.initial import lattice
from fieldlevel.simulate.mock_astrid import AstridConstants, mock_astrid
from fieldlevel.simulate.mock_eagle import EAGLEConstants, draw_events, mock_eagle
from fieldlevel.simulate.mock_simba import SIMBAConstants, mock_simba
from fieldlevel.simulate.mock_tng import TNGConstants, mock_tng
from fieldlevel.simulate.nbody import Particles
from fieldlevel.simulate.shells import r_200
from fieldlevel.simulate.simulation import baryon_model
from fieldlevel.suites import mock_suites

Model = Callable[..., HydroParticles]
NONE = Scaling(0.0)
EXACT = 1e-9  # double precision
MODELS = mock_suites()
PRIOR_CORNERS = [Feedback(*values) for values in product((0.25, 4.0), (0.25, 4.0), (0.5, 2.0), (0.5, 2.0))]

QUIET_TNG = TNGConstants(
    beta=NONE,
    scale=Scaling(0.4),
    gamma=Scaling(1.5),
    heat_spread=NONE,
    star_fraction=NONE,
    star_spread=Scaling(0.2),
    kappa=NONE,
)
QUIET_SIMBA = SIMBAConstants(
    jet_fraction=NONE,
    jet_mass=Scaling(1e12),
    jet_reach=Scaling(1.0),
    wind_fraction=NONE,
    wind_reach=Scaling(0.5),
    star_fraction=NONE,
    star_spread=Scaling(0.05),
    core=NONE,
    relaxation=NONE,
)
QUIET_ASTRID = AstridConstants(
    heat=NONE,
    heat_mass=Scaling(1e12),
    atmosphere=Scaling(1.0),
    mass_slope=NONE,
    tail=Scaling(0.5),
    cooling=NONE,
    star_fraction=NONE,
    star_spread=Scaling(0.05),
    answer=NONE,
)
QUIET_EAGLE = EAGLEConstants(
    events=NONE,
    seed_mass=Scaling(1e12),
    bubble=Scaling(0.5),
    lift=Scaling(1e9),
    wind=NONE,
    star_fraction=NONE,
    star_spread=Scaling(0.05),
    answer=NONE,
)
"""Nothing happens but the pressure of the diffuse gas; each test switches on what it is about."""


@pytest.mark.parametrize("constants", [QUIET_TNG, QUIET_SIMBA, QUIET_ASTRID, QUIET_EAGLE])
def test_every_bound_of_a_model_is_of_one_of_its_constants(constants):
    assert set(constants.bounds) <= {each.name for each in fields(constants)}


@pytest.fixture(params=MODELS)
def model(request) -> Model:
    return baryon_model(request.param)


def power(kinds: HydroParticles, n_mesh: int = 64) -> torch.Tensor:
    positions, masses = [kind.position for kind in kinds.values()], [kind.mass for kind in kinds.values()]
    return power_spectrum_3d(paint_species(positions, n_mesh, masses))[1]


def tng(run: GravityRun, **constants: Scaling) -> HydroParticles:
    return mock_tng(run, Feedback(), replace(QUIET_TNG, **constants))


def simba(run: GravityRun, **constants: Scaling) -> HydroParticles:
    return mock_simba(run, Feedback(), replace(QUIET_SIMBA, **constants))


def astrid(run: GravityRun, **constants: Scaling) -> HydroParticles:
    return mock_astrid(run, Feedback(), replace(QUIET_ASTRID, **constants))


def eagle(run: GravityRun, **constants: Scaling) -> HydroParticles:
    return mock_eagle(run, Feedback(), replace(QUIET_EAGLE, **constants))


def heat_push(run: GravityRun, **constants: Scaling) -> torch.Tensor:
    """Displacement of the gas of MockTNG by its enthalpy, little enough that no cap is felt."""
    kinds = tng(run, **{"beta": Scaling(1e-4), **constants})
    return kinds["Mgas"].position - run.gas - run.pressure_displacement


def halo_masses(run: GravityRun) -> torch.Tensor:
    """Masses of the haloes of a run in Msun/h."""
    return run.haloes.mass * (CRITICAL_DENSITY * run.cosmology.Omega_m * run.box_size_mpc_h**3 / len(run.gas))


def outward(kinds: HydroParticles, run: GravityRun) -> torch.Tensor:
    """Distance that the dark matter of haloes has moved away from its halo's centre, in cells."""
    members = run.haloes.members(run.dark_matter)
    shift = (kinds["Mcdm"].position - run.dark_matter)[members.index]
    return (shift * members.offset).sum(1) / members.offset.norm(dim=1)


def test_number_and_mass_are_conserved(model, run, today):
    kinds, n = model(run, Feedback()), 32**3
    dark_matter, gas, stars = (kinds[name] for name in ("Mcdm", "Mgas", "Mstar"))
    assert len(kinds) == 3
    assert (len(dark_matter.position), len(gas.position) + len(stars.position)) == (n, n)
    assert (dark_matter.mass, gas.mass, stars.mass) == (today.mass[0], today.mass[1], today.mass[1])


@pytest.mark.parametrize("corner", PRIOR_CORNERS)
def test_the_corners_of_the_prior_are_sound(model, run, corner):
    kinds = model(run, corner)
    assert len(kinds["Mgas"].position) + len(kinds["Mstar"].position) == 32**3
    assert all(kind.position.isfinite().all() for kind in kinds.values())


@pytest.mark.parametrize("name", ["A_SN1", "A_AGN1", "A_SN2", "A_AGN2"])
@pytest.mark.parametrize("value", [1e-3, 1e3])
def test_feedback_far_outside_the_prior_gives_finite_positions(model, run, name, value):
    kinds = model(run, Feedback(**{name: value}))
    assert len(kinds["Mgas"].position) + len(kinds["Mstar"].position) == 32**3
    assert all(kind.position.isfinite().all() for kind in kinds.values())


def test_the_run_is_not_changed(model, run):
    before = run.particles.position.clone(), run.pressure_displacement.clone(), run.peak_density.clone()
    model(run, Feedback())
    after = run.particles.position, run.pressure_displacement, run.peak_density
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_stars_are_few_but_there(model, run):
    assert 0.0005 < len(model(run, Feedback())["Mstar"].position) / 32**3 < 0.2


def test_stars_lie_in_haloes(model, run):
    stars = model(run, Feedback())["Mstar"].position
    assert len(run.haloes.members(stars).index) > 0.95 * len(stars)


def test_power_is_suppressed_on_small_scales_only(model, run, today):
    before = power_spectrum_3d(paint_species(today.kinds, 64, today.mass))[1]
    ratio = power(model(run, Feedback())) / before
    assert 0.9 < ratio[0] < 1.02
    assert 0.4 < ratio[12:20].mean() < 0.99
    assert ratio[12:20].mean() < ratio[0]


@pytest.mark.parametrize("suite", MODELS)
def test_stronger_agn_feedback_suppresses_more(suite, run):
    """But for Astrid's, whose black holes then grow less."""
    powers = [power(baryon_model(suite)(run, Feedback(A_AGN2=A)))[4:12].mean() for A in (0.5, 1.0, 2.0)]
    assert powers == sorted(powers, reverse=suite != "MockAstrid")


@pytest.mark.parametrize(
    ("suite", "name", "raises"),
    [
        ("MockAstrid", "A_SN1", True),
        ("MockAstrid", "A_SN2", True),
        ("MockAstrid", "A_AGN1", False),
        ("MockEAGLE", "A_SN1", True),
        ("MockEAGLE", "A_SN2", False),
        ("MockEAGLE", "A_AGN1", False),
    ],
)
def test_feedback_parameters_act_as_in_their_suite(suite, name, raises, run):
    low, high = (power(baryon_model(suite)(run, Feedback(**{name: A})))[4:12].mean() for A in (0.5, 2.0))
    assert (high > low) == raises


def test_a_seed_fixes_the_outcome(model, run):
    first, second = (model(run, Feedback()) for _ in range(2))
    assert all(torch.equal(first[name].position, second[name].position) for name in first)


def test_another_seed_draws_other_particles_of_the_same_kind(model, run):
    first, second = model(run, Feedback()), model(replace(run, seed=2), Feedback())
    n_first, n_second = len(first["Mstar"].position), len(second["Mstar"].position)
    assert abs(n_first - n_second) < 5 * (n_first + n_second) ** 0.5
    same = torch.isin(first["Mstar"].position[:, 0], second["Mstar"].position[:, 0])
    assert same.double().mean() < 0.9
    torch.testing.assert_close(power(first)[:8], power(second)[:8], rtol=0.05, atol=0)


def test_periodic_images_change_nothing(model, run, today):
    """Particles that left the box are the same particles one period away."""
    shift = torch.tensor([3, -1, 0]).double() * today.n_mesh
    images = model(replace(run, particles=replace(today, position=today.position + shift)), Feedback())
    for name, kind in model(run, Feedback()).items():
        torch.testing.assert_close(images[name].position, kind.position + shift, rtol=0, atol=1e-6)


def test_an_even_universe_stays_even(model, run):
    """No haloes, no stars, no push."""
    kinds = [lattice(32, torch.device("cpu"), offset).double() * 2 for offset in (0.0, 0.5)]
    even = Particles(torch.cat(kinds), torch.zeros(2 * 32**3, 3).double(), run.particles.mass, 64)
    after = model(replace(run, particles=even), Feedback())
    assert len(after["Mstar"].position) == 0
    torch.testing.assert_close(after["Mgas"].position, kinds[1], rtol=0, atol=1e-5)
    torch.testing.assert_close(after["Mcdm"].position, kinds[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("quiet", [tng, simba, astrid, eagle])
def test_stars_lie_nearer_to_their_peak_than_the_gas_they_formed_from(quiet, run):
    """By the star spread: the seed draws the same particles."""
    unmoved, near = (
        quiet(run, star_fraction=Scaling(0.05), star_spread=Scaling(spread))["Mstar"] for spread in (1.0, 0.25)
    )
    born = run.haloes.members(unmoved.position)
    assert len(born.index) == len(unmoved.position) > 100
    assert torch.isin(unmoved.position[:, 0], run.gas[:, 0]).all()
    towards = unmoved.position - 0.75 * born.offset
    torch.testing.assert_close(near.position, towards, rtol=0, atol=EXACT)


def test_quiet_models_move_nothing_but_the_diffuse_gas(run):
    """MockTNG gives pressure to all its gas; in the others the gas of haloes is no diffuse one."""
    for kinds in (tng(run), simba(run), astrid(run), eagle(run)):
        assert torch.equal(kinds["Mcdm"].position, run.dark_matter)
        assert len(kinds["Mstar"].position) == 0
    pushed, members = run.gas + run.pressure_displacement, run.haloes.members(run.gas)
    torch.testing.assert_close(tng(run)["Mgas"].position, pushed, rtol=0, atol=EXACT)
    pushed[members.index] = run.gas[members.index]
    for kinds in (simba(run), astrid(run), eagle(run)):
        torch.testing.assert_close(kinds["Mgas"].position, pushed, rtol=0, atol=EXACT)


class TestMockTNG:
    def test_heat_moves_gas_away_from_haloes(self, run):
        members = run.haloes.members(run.gas)
        push = heat_push(run, scale=Scaling(0.2))[members.index]
        assert ((push * members.offset).sum(1) > 0).double().mean() > 0.7

    def test_the_push_is_proportional_to_beta(self, run):
        once, thrice = heat_push(run), heat_push(run, beta=Scaling(3e-4))
        torch.testing.assert_close(thrice, 3 * once, rtol=0, atol=1e-4 * thrice.abs().max().item())

    def test_no_gas_is_pushed_farther_than_the_cap(self, run):
        push = heat_push(run, beta=Scaling(1e3), heat_spread=Scaling(2.0)) * run.cell_mpc_h
        assert 2.9 < push.norm(dim=1).max() <= 3 + EXACT

    @pytest.mark.parametrize(("spread", "variance"), [(0.5, 4 / torch.pi - 1), (1.0, 1.0), (2.0, 5.0)])
    def test_heat_follows_a_weibull_distribution_of_mean_one(self, run, spread, variance):
        """Variance Gamma(1 + 2 s) / Gamma(1 + s)^2 - 1; the direction of the push is that of even heat."""
        even, spread_out = heat_push(run), heat_push(run, heat_spread=Scaling(spread))
        heat = (spread_out * even).sum(1) / even.square().sum(1)
        torch.testing.assert_close(spread_out, heat[:, None] * even, rtol=0, atol=1e-4 * spread_out.abs().max().item())
        assert heat.min() > 0
        assert heat.mean().item() == pytest.approx(1, abs=0.05)
        assert heat.var().item() == pytest.approx(variance, rel=0.1)

    @pytest.mark.parametrize("fraction", [0.002, 0.01])
    def test_the_star_fraction_is_that_of_the_baryons(self, run, fraction):
        n_stars = len(tng(run, star_fraction=Scaling(fraction))["Mstar"].position)
        assert n_stars == pytest.approx(fraction * 32**3, abs=5 * (fraction * 32**3) ** 0.5)

    def test_stars_are_drawn_as_the_square_of_the_density_above_a_threshold(self, run):
        """Their mean density is that of the gas weighted with its square."""
        stars = tng(run, star_fraction=Scaling(0.01), star_spread=Scaling(1.0))["Mstar"].position
        of_stars, of_gas = (read_cic(run.peak_density[None], position)[0] for position in (stars, run.gas))
        weight = of_gas.square() * (of_gas > 300)
        expected = (weight * of_gas).sum() / weight.sum()
        assert of_stars.min() > 300
        error = 4 * of_stars.std() / len(of_stars) ** 0.5
        assert of_stars.mean().item() == pytest.approx(expected.item(), abs=error.item())
        assert of_gas[of_gas > 300].mean() < expected - error

    def test_dark_matter_expands_where_the_gas_has_left(self, run):
        expanded = outward(tng(run, beta=Scaling(0.03), kappa=Scaling(1e-3)), run)
        assert expanded.mean() > 0
        assert (expanded > 0).double().mean() > 0.8

    def test_dark_matter_contracts_onto_stars(self, run):
        onto_stars = outward(tng(run, star_fraction=Scaling(0.03), kappa=Scaling(1e-3)), run)
        without = outward(tng(run, kappa=Scaling(1e-3)), run)
        assert (onto_stars < without).double().mean() > 0.6
        assert onto_stars.mean() < 0

    def test_dark_matter_responds_in_proportion_to_kappa_up_to_its_cap(self, run):
        def shift(kappa: float) -> torch.Tensor:
            return tng(run, beta=Scaling(0.03), kappa=Scaling(kappa))["Mcdm"].position - run.dark_matter

        torch.testing.assert_close(shift(2e-4), 2 * shift(1e-4), rtol=0, atol=1e-3 * shift(2e-4).abs().max().item())
        assert shift(1e3).norm(dim=1).max() * run.cell_mpc_h <= 0.08 + EXACT

    def test_suppression_grows_with_beta(self, run):
        powers = [power(tng(run, beta=Scaling(beta)))[4:20].mean() for beta in (0.0, 0.01, 0.03, 0.1)]
        assert powers == sorted(powers, reverse=True)


class TestMockSIMBA:
    def test_stars_form_in_haloes_as_their_mass_tells(self, run):
        """f_star = 2 f_s / ((M / 1e12)^-1 + (M / 1e12)^0.6) of the gas of each halo."""
        M, halo = halo_masses(run) / 1e12, run.haloes.members(run.gas).halo
        fraction = (2 * 0.1 / (M**-1 + M**0.6))[halo]
        n_stars = len(simba(run, star_fraction=Scaling(0.1))["Mstar"].position)
        assert n_stars == pytest.approx(fraction.sum().item(), abs=5 * (fraction * (1 - fraction)).sum().sqrt().item())

    def test_winds_leave_light_haloes_most(self, run):
        """f_wind = f_w / (1 + M / 3e11), in all directions, as far as two median reaches."""
        members, M = run.haloes.members(run.gas), halo_masses(run)
        shift = (simba(run, wind_fraction=Scaling(0.9))["Mgas"].position - run.gas)[members.index] * run.cell_mpc_h
        length = shift.norm(dim=1)
        blown = length > 1e-6
        fraction = (0.9 / (1 + M / 3e11))[members.halo]
        n_blown = fraction.sum().item()
        assert blown.sum().item() == pytest.approx(n_blown, abs=5 * (fraction * (1 - fraction)).sum().sqrt().item())
        assert (shift / length[:, None])[blown].mean(0).norm() < 5 / n_blown**0.5
        assert length.max() <= 2 * 0.5 + 1e-6
        assert length[blown].median().item() == pytest.approx(0.5, abs=5 / n_blown**0.5)

    def test_jets_leave_along_the_spin_axis_on_both_sides(self, run):
        """Reach r_jet (M / 1e13)^(1/3) u with u uniform in (0, 2); every tenth particle or so stays."""
        constants = {"jet_fraction": Scaling(0.9), "jet_mass": Scaling(1.0)}
        members, M = run.haloes.members(run.gas), halo_masses(run)
        shift = (simba(run, **constants)["Mgas"].position - run.gas)[members.index] * run.cell_mpc_h
        length = shift.norm(dim=1)
        shot = length > 1e-6
        along = (shift * run.haloes.spin_axis[members.halo]).sum(1)[shot] / length[shot]
        share = length[shot] / (2 * (M / 1e13) ** (1 / 3))[members.halo][shot]
        assert shot.double().mean().item() == pytest.approx(0.9, abs=0.02)
        assert along.abs().mean() > 0.7
        assert (along > 0).double().mean().item() == pytest.approx(0.5, abs=0.04)
        assert share.max() <= 1 + 1e-6
        assert share.mean().item() == pytest.approx(0.5, abs=0.02)

    def test_jets_need_massive_haloes(self, run):
        """Half of f_max at M_jet."""
        members, M = run.haloes.members(run.gas), halo_masses(run)
        kinds = simba(run, jet_fraction=Scaling(0.9), jet_mass=Scaling(1e13))
        shot = (kinds["Mgas"].position - run.gas)[members.index].norm(dim=1) > 1e-6
        fraction = (0.9 / (1 + 1e13 / M))[members.halo]
        spread = (fraction * (1 - fraction)).sum().sqrt().item()
        assert shot.sum().item() == pytest.approx(fraction.sum().item(), abs=5 * spread)

    def test_bound_gas_is_cored(self, run):
        """r -> (r^2 + (2 core r_200)^2)^(1/2) along the same direction."""
        members, M = run.haloes.members(run.gas), halo_masses(run)
        after = simba(run, core=Scaling(0.2))["Mgas"].position[members.index]
        offset = after - run.gas[members.index] + members.offset
        r_200 = (3 * M / (4 * torch.pi * 200 * CRITICAL_DENSITY)) ** (1 / 3) / run.cell_mpc_h
        before = members.offset.norm(dim=1)
        far = before > 1e-2
        expected = (before**2 + (2 * 0.2 * r_200[members.halo]) ** 2).sqrt()
        torch.testing.assert_close(offset.norm(dim=1)[far], expected[far], rtol=1e-6, atol=0)
        cosine = (offset * members.offset).sum(1) / (offset.norm(dim=1) * before)
        torch.testing.assert_close(cosine[far], torch.ones_like(cosine[far]))

    def test_dark_matter_relaxes_where_jets_have_left(self, run):
        """By the factor 1 + zeta ((1 - f_b f_jet)^-2 - 1) in haloes, nowhere else."""
        kinds = simba(run, jet_fraction=Scaling(0.8), jet_mass=Scaling(1e13), relaxation=Scaling(0.5))
        members = run.haloes.members(run.dark_matter)
        f_jet = 0.8 / (1 + 1e13 / halo_masses(run))
        growth = 0.5 * ((1 - run.cosmology.baryon_fraction * f_jet) ** -2 - 1)
        expected = run.dark_matter.clone()
        expected[members.index] += growth[members.halo, None] * members.offset
        torch.testing.assert_close(kinds["Mcdm"].position, expected, rtol=0, atol=EXACT)
        assert (outward(kinds, run) > 0).all()

    def test_some_gas_stays_however_strong_the_feedback(self, run):
        kinds = simba(run, star_fraction=Scaling(50.0), wind_fraction=Scaling(3.0), jet_fraction=Scaling(3.0))
        members = run.haloes.members(run.gas)
        unmoved = torch.isin(run.gas[members.index, 0], kinds["Mgas"].position[:, 0])
        assert unmoved.double().mean().item() == pytest.approx(0.03, abs=0.012)

    def test_suppression_grows_with_the_reach_of_jets(self, run):
        powers = [
            power(simba(run, jet_fraction=Scaling(0.8), jet_reach=Scaling(reach)))[2:8].mean()
            for reach in (0.1, 0.5, 1.0, 2.0)
        ]
        assert powers == sorted(powers, reverse=True)


class TestMockAstrid:
    def shells(self, run: GravityRun, kinds: HydroParticles) -> tuple[torch.Tensor, ...]:
        """Halo, radius before and after in cells, and enclosed fraction before of each gas particle of haloes."""
        members = run.haloes.members(run.gas)
        before = members.offset.norm(dim=1)
        after = (kinds["Mgas"].position - run.gas)[members.index].add(members.offset).norm(dim=1)
        same = members.halo[:, None] == members.halo
        inside = (same & (before <= before[:, None])).sum(1)
        return members.halo, before, after, (inside - 0.5) / same.sum(1)

    def test_hot_gas_takes_the_profile_of_its_atmosphere(self, run):
        """The mass within r is that of a Plummer sphere, (1 + (R / r)^2)^(-3/2)."""
        kinds = astrid(run, heat=Scaling(1e12), heat_mass=Scaling(1.0), atmosphere=Scaling(0.5))
        halo, _, after, m = self.shells(run, kinds)
        R = (0.5 * r_200(halo_masses(run)) / run.cell_mpc_h)[halo]
        near = (m < 0.9) & (after > 1e-2)
        torch.testing.assert_close((1 + (R / after) ** 2)[near] ** -1.5, m[near].double(), rtol=0, atol=0.01)

    def test_heavier_haloes_hold_their_gas(self, run):
        """R / r_200 falls as M^-a; equal at 1e13 Msun/h."""
        hot = {"heat": Scaling(1e12), "heat_mass": Scaling(1.0), "atmosphere": Scaling(0.1)}
        halo, before, even, m = self.shells(run, astrid(run, **hot))
        _, _, sloped, _ = self.shells(run, astrid(run, mass_slope=Scaling(0.5), **hot))
        expected = (halo_masses(run)[halo] / 1e13) ** -0.5
        inner = (m < 0.5) & (before < 0.4)  # the cap shortens long ways
        torch.testing.assert_close((sloped / even)[inner], expected[inner], rtol=3e-2, atol=0)

    def test_black_holes_heat_heavy_haloes_most(self, run):
        """Half of h at M_heat: the logarithm of the radius goes half of the way."""
        cold, hot = (self.shells(run, astrid(run, heat=Scaling(heat), heat_mass=Scaling(1.0)))[2] for heat in (0, 1e12))
        halo, _, half, m = self.shells(run, astrid(run, heat=Scaling(1e12), heat_mass=Scaling(1e12)))
        share = (1 / (1 + 1e12 / halo_masses(run)))[halo]
        inner = (m < 0.5) & (cold > 0.1)
        expected = cold ** (1 - share) * hot**share
        torch.testing.assert_close(half[inner], expected[inner], rtol=2e-2, atol=0)

    def test_light_haloes_cool_and_contract_from_the_inside(self, run):
        """r (1 - c (1 - m)) with c = s(c_0) / (1 + M / M_heat)."""
        halo, before, after, m = self.shells(run, astrid(run, cooling=Scaling(1.0), heat_mass=Scaling(1e13)))
        c = (0.5 / (1 + halo_masses(run) / 1e13))[halo]
        far = before > 1e-2
        torch.testing.assert_close((after / before)[far], (1 - c * (1 - m))[far], rtol=1e-3, atol=0)

    def test_no_gas_is_lifted_farther_than_the_cap(self, run):
        hot = {"heat": Scaling(1e12), "heat_mass": Scaling(1.0), "atmosphere": Scaling(1e9)}
        shift = (astrid(run, **hot)["Mgas"].position - run.gas) * run.cell_mpc_h
        assert 2 < shift.norm(dim=1).max() <= 3 + EXACT

    def test_stars_form_in_the_innermost_shells(self, run):
        """As many as the mass of each halo tells, 2 f / ((M / 1e12)^-1 + (M / 1e12)^0.6) of its gas."""
        M, halo = halo_masses(run) / 1e12, run.haloes.members(run.gas).halo
        fraction = (2 * 0.02 / (M**-1 + M**0.6))[halo].sum().item()
        stars = astrid(run, star_fraction=Scaling(0.02), star_spread=Scaling(1.0))["Mstar"].position
        assert len(stars) == pytest.approx(fraction, abs=5 * fraction**0.5)
        radius, of_gas = (run.haloes.members(position).offset.norm(dim=1) for position in (stars, run.gas))
        assert radius.median() < 0.7 * of_gas.median()

    def test_dark_matter_contracts_onto_stars(self, run):
        assert outward(astrid(run, star_fraction=Scaling(0.1), answer=Scaling(1.0)), run).mean() < 0

    def test_dark_matter_expands_where_the_gas_has_left(self, run):
        hot = {"heat": Scaling(1e12), "heat_mass": Scaling(1.0), "atmosphere": Scaling(3.0)}
        expanded = outward(astrid(run, answer=Scaling(1.0), **hot), run)
        assert (expanded >= 0).double().mean() > 0.95
        assert expanded.mean() > 0

    def test_suppression_grows_with_the_atmosphere(self, run):
        powers = [power(astrid(run, heat=Scaling(4.0), atmosphere=Scaling(R)))[4:20].mean() for R in (0.5, 1.0, 2.0)]
        assert powers == sorted(powers, reverse=True)


class TestMockEAGLE:
    @pytest.mark.parametrize("delta_T", [0.25, 1.0, 4.0])
    def test_events_are_rarer_the_hotter(self, run, delta_T):
        """n = n_e (M / 1e13) / (1 + (M_seed / M)^2) / Delta T a halo; most of a hundred seeds within their scatter."""
        members, M = run.haloes.members(run.gas), halo_masses(run)
        expected = (5 / delta_T * (M / 1e13) / (1 + (1e12 / M) ** 2)).sum().item()
        numbers = [len(draw_events(replace(run, seed=seed), members, M, 5 / delta_T, 1e12)) for seed in range(100)]
        assert sum(numbers) / 100 == pytest.approx(expected, abs=0.5 * expected**0.5)

    def test_events_are_never_more_than_a_mesh_can_hold(self, run):
        members, M = run.haloes.members(run.gas), halo_masses(run)
        assert len(draw_events(run, members, M, 1e9, 1.0)) < 8192 + 5 * 8192**0.5

    def test_events_need_massive_haloes(self, run):
        members, M = run.haloes.members(run.gas), halo_masses(run)
        event = draw_events(run, members, M, 100.0, 1e13)
        assert M[members.halo[event]].log().mean() > M[members.halo].log().mean() + 0.3

    def test_no_gas_is_blown_farther_than_the_largest_bubble(self, run):
        shift = eagle(run, events=Scaling(10.0), bubble=Scaling(1e6))["Mgas"].position - run.gas
        assert 2 < shift.norm(dim=1).max() * run.cell_mpc_h <= 3.1

    def test_bubbles_blow_gas_that_is_in_no_halo_too(self, run):
        outside = ~torch.isin(torch.arange(32**3), run.haloes.members(run.gas).index)
        shift = eagle(run, events=Scaling(10.0), bubble=Scaling(2.0))["Mgas"].position - eagle(run)["Mgas"].position
        assert shift[outside].norm(dim=1).gt(0.1).any()

    def test_bubbles_lift_the_share_of_the_gas_in_them(self, run):
        """l / (1 + l) of all that full bubbles lift."""
        whole, half = (
            (eagle(run, events=Scaling(10.0), bubble=Scaling(2.0), lift=Scaling(lift))["Mgas"].position - run.gas)
            for lift in (1e9, 1.0)
        )
        unmoved = eagle(run)["Mgas"].position - run.gas
        n_whole, n_half = (int((shift - unmoved).norm(dim=1).gt(1e-9).sum()) for shift in (whole, half))
        assert n_half == pytest.approx(n_whole / 2, abs=3 * n_whole**0.5)

    def test_stellar_winds_blow_small_bubbles_at_the_centres_of_haloes(self, run):
        """Radius R_w r_200 / (1 + M / 1e12)^(1/3); outwards, and never beyond it."""
        members, M = run.haloes.members(run.gas), halo_masses(run)
        after = (eagle(run, wind=Scaling(0.5))["Mgas"].position - run.gas)[members.index] + members.offset
        before, rim = members.offset.norm(dim=1), (0.5 * r_200(M) / (1 + M / 1e12) ** (1 / 3) / run.cell_mpc_h)
        inside = (before < rim[members.halo]) & (before > 1e-2)
        assert inside.any()
        assert (after.norm(dim=1) >= before - EXACT).all()
        assert (after.norm(dim=1) <= rim[members.halo] + EXACT)[inside].all()
        torch.testing.assert_close(after[~inside & (before > 1e-2)], members.offset[~inside & (before > 1e-2)])

    def test_dark_matter_expands_where_the_gas_has_left(self, run):
        expanded = outward(eagle(run, events=Scaling(10.0), bubble=Scaling(1.5), answer=Scaling(1.0)), run)
        assert expanded.mean() > 0

    def test_suppression_grows_with_the_size_of_bubbles(self, run):
        powers = [power(eagle(run, events=Scaling(10.0), bubble=Scaling(R)))[4:12].mean() for R in (0.1, 0.5, 1.0)]
        assert powers == sorted(powers, reverse=True)


@pytest.mark.gpu
def test_gpu_agrees_with_cpu(model, run, today):
    """The same positions on both devices; a particle on the edge of a halo may fall to either side."""
    single = replace(today, position=today.position.float(), velocity=today.velocity.float())
    moved = replace(single, position=single.position.cuda(), velocity=single.velocity.cuda())
    on_cpu, on_gpu = (model(replace(run, particles=particles), Feedback()) for particles in (single, moved))
    n_cpu, n_gpu = (len(kinds["Mstar"].position) for kinds in (on_cpu, on_gpu))
    assert abs(n_cpu - n_gpu) < 0.02 * n_cpu + 5
    shift = (on_gpu["Mcdm"].position.cpu() - on_cpu["Mcdm"].position).norm(dim=1)
    assert shift.quantile(0.99) < 0.01
    torch.testing.assert_close(power(on_gpu).cpu()[:16], power(on_cpu)[:16], rtol=5e-3, atol=0)
