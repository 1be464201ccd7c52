"""Laws of the sets of maps that the particles of one simulation make."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fieldlevel import suites
from fieldlevel.errors import UserError
from fieldlevel.layout import CRITICAL_DENSITY, Layout
from fieldlevel.mapmaking.one_slab import project_one_slab
from fieldlevel.mapmaking.project_spec import ProjectSpec
from fieldlevel.mapmaking.projection import project_snapshot
from fieldlevel.mapmaking.slabs import Discs, Slabs, project_slabs
from fieldlevel.mapmaking.thinning import Thinning, on_sublattice
from fieldlevel.numerics.cosmology import Cosmology
from fieldlevel.numerics.neighbour_counts import mesh_neighbour_distance
from fieldlevel.simulate.feedback import Feedback, HydroParticles, Species
from fieldlevel.simulate.mock_suite import plan_suites, simulate_suite
from fieldlevel.simulate.projecting import fraction_of_draw, make_maps, neighbours_of_draw
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.simulate.simulation import baryon_model, gravity_run
from fieldlevel.simulate.snapshot_writer import write_snapshot
from fieldlevel.simulate.tracers import tracers
from fieldlevel.simulate.variants import Variant, check_variants, variants_of
from fieldlevel.snapshots.identities import particle_numbers
from fieldlevel.snapshots.opening import open_snapshot
from fieldlevel.suites import mock_suites

CPU = torch.device("cpu")
SEED, OMEGA_M, N = 5, 0.3, 32
SPEC = SimulateSpec(fields=("Mtot", "Mcdm", "Mgas", "Mstar"), n_particles=N, n_mesh=48, n_pixels=32, step_error=0.2)
SPEC = replace(SPEC, thin=(0.5, 0.25), thin_kinds=True, thin_lattice=(2,), thin_training=(0.1, 4.0))
EVERY = (*variants_of(replace(SPEC, smooth_training=(32, 128))), *variants_of(replace(SPEC, thin_training=(0.1, 1))))
EVERY = tuple({variant.set_name: variant for variant in EVERY}.values())
PLAIN = Variant("LH")
LAYOUT = Layout()
ROUND_OFF = 2e-5  # of the float32 disc painting
FIELDS = ("Mcdm", "Mgas", "Mstar")


@pytest.fixture(scope="module", params=sorted(mock_suites()))
def kinds(request) -> HydroParticles:
    cosmology = Cosmology(OMEGA_M, 0.9)
    return baryon_model(request.param)(gravity_run(SPEC, cosmology, SEED, CPU), Feedback())


@pytest.fixture(scope="module")
def some(kinds) -> HydroParticles:
    """The same kinds without what only their models say of them."""
    return {name: Species(each.position, each.mass, each.velocity) for name, each in kinds.items()}


def maps_of(kinds: HydroParticles, field: str, variant: Variant, seed: int = SEED, spec: SimulateSpec = SPEC):
    return make_maps(spec, LAYOUT, OMEGA_M, kinds, field, variant, seed).double().numpy()


def mass_of(maps):
    return maps.reshape(3, -1).sum(1)


def named(ending: str) -> Variant:
    return next(variant for variant in EVERY if variant.set_name == f"LH{ending}")


# Names


def test_sets_have_their_names():
    ends = ["", "thin2", "thin4", "thin2cdm", "thin2gas", "lattice2", "tracers", "smoothed", "thinned"]
    assert [variant.set_name for variant in EVERY] == [f"LH{end}" for end in ends]
    assert [variant.is_plain for variant in EVERY] == [True] + [False] * 8
    twins = [variant.set_name for variant in variants_of(SPEC, is_twin=True)]
    assert twins == ["LH", "LHthin2", "LHthin4", "LHlattice2", "LHtracers"]


def test_names_tell_the_set_of_all_particles():
    assert {suites.base_set(variant.set_name) for variant in EVERY} == {"LH"}


def test_records_of_different_sets_differ_and_that_of_the_plain_one_is_as_ever():
    records = [str(variant.record) for variant in EVERY]
    assert len(set(records)) == len(records)
    usual = SimulateSpec(n_simulations=1)
    more = plan_suites(replace(usual, thin=(0.5,), thin_training=(0.1, 1.0)))
    assert {plan.digest for plan in plan_suites(usual)} < {plan.digest for plan in more}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"thin": (0.0,)}, "thin = .*above 0 and at most 1"),
        ({"thin": (1.5,)}, "thin = .*above 0 and at most 1"),
        ({"thin": (0.5, 0.5)}, "each once"),
        ({"thin": (0.005,)}, r"0.00781 and more of 32\^3 particles with 32 neighbours"),
        ({"thin_kinds": True}, "thin_kinds = True: allowed are True with a fraction below 1 in thin"),
        ({"set_name": "LHthin2"}, "'LHthin2': its name says what is made of the particles of LH; name that"),
        ({"set_name": "LHtestthinned", "thin": (0.5,)}, "what is made of the particles of LHtest"),
        ({"thin": (1.0,), "thin_kinds": True}, "thin_kinds = True: allowed are True with a fraction below 1 in thin"),
        ({"thin_lattice": (3,)}, "divide n_particles, 32"),
        ({"thin_lattice": (1,)}, "numbers from 2"),
        ({"thin_lattice": (0,)}, "numbers from 2"),
        ({"thin_lattice": (8,)}, "0.00781 and more"),
        ({"thin_training": (0.0, 1.0)}, "above 0 and at most 8"),
        ({"thin_training": (0.5, 0.1)}, "the smaller one first"),
        ({"thin_training": (0.5, 9.0)}, "at most 8"),
        ({"smooth_training": (512, 32)}, "smooth_training = .*from 1 to 4096"),
        ({"smooth_training": (1, 5000)}, "an eighth of the particles"),
    ],
)
def test_impossible_parts_are_refused_before_anything_is_made(change, words, tmp_path):
    spec = replace(SimulateSpec(n_simulations=1, n_particles=N, n_mesh=48, n_pixels=32), **change)
    for asked in (lambda: simulate_suite(spec, tmp_path / "out", device="cpu"), lambda: plan_suites(spec)):
        with pytest.raises(UserError, match=words):
            asked()
    assert not (tmp_path / "out").exists()
    check_variants(SPEC)


# Mass


@pytest.mark.parametrize("ending", ["thin2", "thin4", "thin2cdm", "thin2gas", "lattice2"])
def test_each_kind_has_the_mass_of_all_its_particles(kinds, ending):
    variant = named(ending)
    for field in FIELDS:
        plain, maps = maps_of(kinds, field, PLAIN), maps_of(kinds, field, variant)
        np.testing.assert_allclose(mass_of(maps), mass_of(plain), rtol=ROUND_OFF)


@pytest.mark.parametrize("ending", ["tracers", "thinned", "smoothed"])
def test_the_maps_of_a_kind_add_up_to_all_matter(kinds, ending):
    variant = named(ending)
    total = sum(maps_of(kinds, field, variant) for field in FIELDS)
    np.testing.assert_allclose(maps_of(kinds, "Mtot", variant), total, rtol=ROUND_OFF)


@pytest.mark.parametrize("ending", ["tracers", "thinned", "smoothed"])
def test_each_map_drawn_has_the_mass_of_all_particles_of_its_slab(kinds, ending):
    for field in FIELDS:
        plain, maps = maps_of(kinds, field, PLAIN), maps_of(kinds, field, named(ending))
        np.testing.assert_allclose(maps.mean((1, 2)), plain.mean((1, 2)), rtol=ROUND_OFF)


def test_each_map_drawn_is_one_of_a_set_from_that_fraction(kinds):
    """Map 7 is map 7 of all fifteen from one part, neighbours are those in the whole box; its mass is given back."""
    variant, place = named("thinned"), 7
    drawn = maps_of(kinds, "Mgas", variant)[place]
    gas = kinds["Mgas"]
    number_of_slab = place % 5
    fraction = fraction_of_draw((0.1, 1.0), SEED, number_of_slab, "Mgas")
    kept = Thinning(fraction, SEED, draw=number_of_slab + 1).kept(gas.index, "gas")
    part = Species(gas.position[kept], gas.mass * len(kept) / int(kept.sum()), gas.velocity[kept])
    expected = maps_of({"Mgas": part}, "Mgas", PLAIN)[place]
    given_back = maps_of(kinds, "Mgas", PLAIN)[place].mean() / expected.mean()
    np.testing.assert_allclose(drawn, expected * given_back, rtol=1e-4)
    assert 0 < kept.sum() < len(kept)


def test_smoothing_reaches_to_the_neighbour_of_the_map(kinds):
    drawn = maps_of(kinds, "Mcdm", named("smoothed"))
    for place in (0, 11):
        n_neighbours = neighbours_of_draw((32, 128), SEED, place % 5)
        expected = maps_of(kinds, "Mcdm", PLAIN, spec=replace(SPEC, n_neighbours=n_neighbours))[place]
        np.testing.assert_allclose(drawn[place], expected, rtol=1e-4)


def test_everything_kept_gives_the_plain_maps(kinds):
    for field in ("Mtot", *FIELDS):
        plain = maps_of(kinds, field, PLAIN)
        np.testing.assert_array_equal(maps_of(kinds, field, Variant("LHthin1", 1.0)), plain)
        np.testing.assert_allclose(maps_of(kinds, field, Variant("", fractions=(1.0, 1.0))), plain, rtol=1e-4)
        np.testing.assert_allclose(maps_of(kinds, field, Variant("", neighbours=(32, 32))), plain, rtol=1e-4)


def test_the_plain_maps_are_the_discs_of_all_particles(kinds):
    """To the bit what the simulator made before it had variants."""
    particle_mass = CRITICAL_DENSITY * OMEGA_M * LAYOUT.box_size_mpc_h**3 / N**3
    discs = []
    for name, species in kinds.items():
        position = species.position / SPEC.n_mesh
        radius = mesh_neighbour_distance(position * SPEC.n_pixels, SPEC.n_pixels, 32) / SPEC.n_pixels
        mass = torch.full_like(position[:, 0], species.mass * particle_mass)
        discs.append(Discs(position, None if name == "Mstar" else radius, mass))
    expected = project_slabs(discs, SPEC.n_pixels, LAYOUT.box_size_mpc_h).double().numpy()
    np.testing.assert_array_equal(maps_of(kinds, "Mtot", PLAIN), expected)


# Parts


def test_one_kind_alone_is_thinned(kinds):
    only = named("thin2cdm")
    np.testing.assert_array_equal(maps_of(kinds, "Mgas", only), maps_of(kinds, "Mgas", PLAIN))
    np.testing.assert_array_equal(maps_of(kinds, "Mcdm", only), maps_of(kinds, "Mcdm", named("thin2")))
    assert (maps_of(kinds, "Mcdm", only) != maps_of(kinds, "Mcdm", PLAIN)).any()


def test_parts_are_the_same_again_and_others_for_another_seed(kinds):
    for variant in (named("thin2"), named("thinned"), named("tracers")):
        first = maps_of(kinds, "Mtot", variant)
        np.testing.assert_array_equal(first, maps_of(kinds, "Mtot", variant))
        assert np.abs(maps_of(kinds, "Mtot", variant, seed=6) / first - 1).max() > 0.01


def test_the_lattice_of_both_baryons_is_one(kinds):
    """Gas and stars on every second plane are together every second gas particle of the run, an eighth."""
    found = torch.cat([kinds[name].index[on_sublattice(kinds[name].index, N, 2)] for name in ("Mgas", "Mstar")])
    assert (found < N**3).all()
    places = torch.zeros(N**3, dtype=torch.bool)
    places[found] = True
    assert places.view(N, N, N)[::2, ::2, ::2].sum() >= (N // 2) ** 3 - 1
    dark = maps_of({"Mcdm": replace(kinds["Mcdm"])}, "Mcdm", named("lattice2"))
    position = kinds["Mcdm"].position.view(N, N, N, 3)[::2, ::2, ::2].reshape(-1, 3)
    eighth = Species(position, kinds["Mcdm"].mass * 8, position)
    np.testing.assert_array_equal(dark, maps_of({"Mcdm": eighth}, "Mcdm", PLAIN))


def test_fractions_are_log_uniform_in_their_range_and_apart_for_each_kind():
    drawn = np.array([[fraction_of_draw((0.05, 2.0), 1, place, name) for place in range(2000)] for name in FIELDS])
    uniform = np.log(drawn / 0.05) / np.log(40)
    assert ((uniform > 0) & (uniform < 1)).all()
    np.testing.assert_allclose(uniform.mean(1), 0.5, atol=5 / (12 * 2000) ** 0.5)
    np.testing.assert_allclose(uniform.var(1), 1 / 12, atol=0.01)
    assert np.abs(np.corrcoef(uniform)[np.triu_indices(3, 1)]).max() < 5 / 2000**0.5
    numbers = [neighbours_of_draw((32, 512), 1, place) for place in range(2000)]
    assert (min(numbers) < 33, max(numbers) > 500) == (True, True)


def test_the_mean_of_many_parts_is_the_plain_map(kinds):
    """Of stars, which are points, so that thinning moves no mass but that of the particles."""
    stars = kinds["Mstar"]
    n, half = len(stars.position), Variant("LHthin2", 0.5)
    plain = maps_of(kinds, "Mstar", PLAIN).sum((1, 2))
    parts = np.stack([maps_of(kinds, "Mstar", half, seed).sum((1, 2)) for seed in range(64)])
    error = parts.std(0) / 8 + 1e-6 * plain.max()
    assert n > 20
    assert (np.abs(parts.mean(0) - plain) < 5 * error).all()


def test_kinds_whose_places_nobody_told_are_thinned_too(some):
    half = maps_of(some, "Mgas", named("thin2"))
    np.testing.assert_allclose(mass_of(half), mass_of(maps_of(some, "Mgas", PLAIN)), rtol=ROUND_OFF)
    for ending in ("lattice2", "tracers"):
        with pytest.raises(UserError, match=r"return GravityRun.species"):
            maps_of(some, "Mgas", named(ending))


def test_snapshots_that_are_kept_know_the_places_of_their_particles(kinds, tmp_path):
    """So `project --thin` with the seed of the simulation keeps the particles that `simulate --thin` keeps."""
    write_snapshot(tmp_path / "snapshot.hdf5", "MockTNG", kinds, SPEC, (OMEGA_M, 0.9, 1.0, 1.0, 1.0, 1.0))
    snapshot = open_snapshot(tmp_path / "snapshot.hdf5")
    for kind, name in (("gas", "Mgas"), ("stars", "Mstar")):
        np.testing.assert_array_equal(particle_numbers(snapshot, kind), kinds[name].index)
    spec = ProjectSpec(fields=("Mstar",), n_pixels=32)
    found = project_snapshot(snapshot, spec, CPU, Thinning(0.5, SEED))["Mstar"]
    np.testing.assert_allclose(found, maps_of(kinds, "Mstar", named("thin2")), rtol=1e-3)


# One slab


@pytest.mark.parametrize("slabs", [Slabs(), Slabs(2, 0.1)], ids=["filled", "thin"])
@pytest.mark.parametrize("are_points", [True, False])
def test_one_slab_is_that_of_all(slabs, are_points):
    generator = torch.Generator().manual_seed(1)
    position = torch.rand(500, 3, generator=generator) * 3 - 1
    position[:5] = torch.arange(5)[:, None] / 5
    mass = torch.rand(500, generator=generator) + 0.5
    radius = None if are_points else torch.rand(500, generator=generator) * 0.1
    discs = Discs(position, radius, mass)
    for number, expected in enumerate(project_slabs([discs], 16, 25.0, slabs)):
        found = project_one_slab(discs, *divmod(number, slabs.count), 16, 25.0, slabs)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.max()))


# Tracers


def lattice_of(n: int, n_mesh: int, fine: int = 1) -> torch.Tensor:
    axis = torch.arange(n * fine, dtype=torch.float64) * (n_mesh / n / fine)
    return torch.cartesian_prod(axis, axis, axis)


def sorted_rows(positions: torch.Tensor) -> torch.Tensor:
    return torch.unique((positions * 1024).round(), dim=0) / 1024


def test_tracers_of_the_undisturbed_lattice_are_the_finer_one():
    lattice = lattice_of(4, 8)
    position, number = tracers(Species(lattice + 0.25, 1.0, lattice), 4, 8)
    torch.testing.assert_close(sorted_rows(position), sorted_rows(lattice_of(4, 8, fine=2) + 0.25))
    assert number.tolist() == list(range(8 * 64))
    torch.testing.assert_close(position[:64], lattice + 0.25, rtol=0, atol=0)


def test_tracers_of_a_linear_deformation_are_exact():
    """Inside: a linear displacement is not periodic."""
    lattice = lattice_of(6, 6)
    deformation = torch.tensor([[1.1, 0.2, 0.0], [-0.3, 0.8, 0.1], [0.0, 0.05, 1.3]], dtype=torch.float64)
    found, undisturbed = (tracers(Species(each, 1.0, each), 6, 6)[0] for each in (lattice @ deformation, lattice))
    inside = (undisturbed < 5).all(1)
    assert inside.sum() > 500
    torch.testing.assert_close(found[inside], (undisturbed @ deformation)[inside])


def test_tracers_of_a_translation_and_across_the_box_are_exact():
    lattice = lattice_of(4, 8)
    wave = torch.stack([torch.sin(2 * torch.pi * lattice[:, axis] / 8) for axis in (1, 2, 0)], 1)
    position, _ = tracers(Species(lattice + wave + 100.0, 1.0, lattice), 4, 8)
    offsets = (position.view(8, 64, 3) - position[:64]).abs()
    assert offsets.max() < 1 + 1.01
    torch.testing.assert_close(position.view(8, 64, 3).mean(0).mean(0), position[:64].mean(0) + 0.5)


def test_tracers_of_gas_lie_around_it_as_the_undisturbed_sheet_does(kinds):
    gas = kinds["Mgas"]
    position, number = tracers(gas, N, SPEC.n_mesh)
    sheet, _ = tracers(Species(gas.lattice_position, 1.0, gas.velocity), N, SPEC.n_mesh)
    n = len(gas.position)
    torch.testing.assert_close(position[:n], gas.position, rtol=0, atol=0)
    for child in (1, 7):
        moved = position[child * n : (child + 1) * n] - gas.position
        undisturbed = sheet.view(8, N**3, 3)[child, gas.index] - gas.lattice_position[gas.index]
        torch.testing.assert_close(moved, undisturbed, rtol=0, atol=1e-4)
    assert len(torch.unique(number)) == 8 * n


def test_all_tracers_look_like_the_particles_but_smoother(kinds):
    """The whole range at eight: the same matter in scales of several particles."""
    plain, fine = (maps_of(kinds, "Mcdm", each) for each in (PLAIN, Variant("", fractions=(8.0, 8.0))))
    coarse = [each.reshape(15, 4, 8, 4, 8).mean((2, 4)) for each in (plain, fine)]
    assert np.corrcoef(np.log(coarse[0]).ravel(), np.log(coarse[1]).ravel())[0, 1] > 0.98
    np.testing.assert_allclose(mass_of(fine), mass_of(plain), rtol=1e-4)
