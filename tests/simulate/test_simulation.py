import weakref
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from fieldlevel.data.npy_files import Float32Array
from fieldlevel.errors import UserError
from fieldlevel.layout import CRITICAL_DENSITY, Layout
from fieldlevel.mapmaking.contents import SuiteField
from fieldlevel.mapmaking.slabs import Discs, project_slabs
from fieldlevel.numerics.cosmology import OMEGA_B, Cosmology
from fieldlevel.numerics.neighbours import neighbour_distance
from fieldlevel.simulate import simulation
from fieldlevel.simulate.feedback import Feedback, GravityRun, HydroParticles
from fieldlevel.simulate.mock_tng import mock_tng
from fieldlevel.simulate.nbody import evolve, initial_particles, steps_needed
from fieldlevel.simulate.sets import Row
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.simulate.simulation import (
    gravity_run,
    map_keys,
    nbody_run,
    simulate_maps,
    simulate_particles,
    simulated_suites,
)
from fieldlevel.simulate.variants import variants_of
from fieldlevel.suites import facts_of, mock_suites, nbody_twin

CPU = torch.device("cpu")
FIELDS = ("Mtot", "Mcdm", "Mgas", "Mstar")
SUITES = sorted(suite for suite in mock_suites() if find_spec(facts_of(suite).model.partition(":")[0]))
"""Those whose models are there."""
SPEC = SimulateSpec(fields=FIELDS, n_particles=32, n_mesh=48, n_pixels=32, step_error=0.2)
OMEGA_M = 0.27
ROW = Row((OMEGA_M, 0.9, 1.2, 0.8, 0.9, 1.1), seed=5)
BOX = Layout().box_size_mpc_h
MEAN = CRITICAL_DENSITY * OMEGA_M * Layout().slab_thickness_mpc_h
"""Surface density of a slab of mean density, (Msun/h)/(Mpc/h)^2."""
ROUND_OFF = 1e-5  # of the float32 disc painting

Maps = dict[SuiteField, Float32Array]
SUITES = sorted(suite for suite in mock_suites() if find_spec(facts_of(suite).model.partition(":")[0]))
"""Those whose models are there."""


def simulated(spec: SimulateSpec = SPEC, row: Row = ROW, device: torch.device = CPU) -> Maps:
    """Maps of all suites and of their twin, which have the same label."""
    rows, (plain, *_) = dict.fromkeys(spec.suites, row), variants_of(spec)
    made = simulate_maps(spec, rows, [(suite, plain) for suite in simulated_suites(spec)], device)
    return {key: stack for maps in made.values() for key, stack in maps.items()}


def mean_of_each_axis(maps: Float32Array) -> np.ndarray:
    return maps.astype(np.float64).reshape(3, -1).mean(1)


@pytest.fixture(scope="module", params=SUITES)
def spec(request) -> SimulateSpec:
    return replace(SPEC, suites=(request.param,))


@pytest.fixture(scope="module")
def suite(spec) -> str:
    return spec.suites[0]


@pytest.fixture(scope="module")
def twin(suite) -> str:
    return nbody_twin(suite)


@pytest.fixture(scope="module")
def maps(spec) -> Maps:
    return simulated(spec)


def test_maps_are_sound(spec, suite, twin, maps):
    assert tuple(maps) == (*map_keys(spec, suite), *map_keys(spec, twin))
    for stack in maps.values():
        assert (stack.shape, stack.dtype) == ((15, 32, 32), np.float32)
        assert np.isfinite(stack).all()
        assert (stack >= 0).all()


def test_the_slabs_of_each_axis_hold_the_mean_density(suite, twin, maps):
    """Of the suite and of its twin."""
    for field in ((suite, "Mtot"), (twin, "Mtot")):
        assert (maps[field] > 0).all()
        np.testing.assert_allclose(mean_of_each_axis(maps[field]), MEAN, rtol=ROUND_OFF)


def test_baryons_are_their_cosmic_share(suite, maps):
    f_b = OMEGA_B / OMEGA_M
    gas, stars, dark_matter = (mean_of_each_axis(maps[suite, field]) for field in ("Mgas", "Mstar", "Mcdm"))
    np.testing.assert_allclose((gas + stars) / MEAN, f_b, rtol=ROUND_OFF)
    np.testing.assert_allclose(dark_matter / MEAN, 1 - f_b, rtol=ROUND_OFF)


def test_the_kinds_add_up_to_the_total(suite, maps):
    total = sum(maps[suite, field].astype(np.float64) for field in ("Mgas", "Mstar", "Mcdm"))
    np.testing.assert_allclose(maps[suite, "Mtot"], total, rtol=0, atol=ROUND_OFF * total.max())


def test_stars_are_points(suite, maps):
    """Every pixel holds a whole number of them."""
    star = CRITICAL_DENSITY * OMEGA_B * BOX**3 / 32**3 / (BOX / 32) ** 2
    number = maps[suite, "Mstar"] / star
    np.testing.assert_allclose(number, number.round(), rtol=1e-5, atol=1e-5)
    assert 0 < number.sum() / 3 < 0.2 * 32**3


def test_hydrodynamic_maps_differ_from_their_twin_but_follow_it(suite, twin, maps):
    hydro, nbody = np.log10(maps[suite, "Mtot"]), np.log10(maps[twin, "Mtot"])
    assert 0.005 < (hydro - nbody).std() < 0.2
    assert np.corrcoef(hydro.ravel(), nbody.ravel())[0, 1] > 0.95


def test_a_simulation_repeats(spec, maps):
    again = simulated(spec)
    for key, stack in maps.items():
        np.testing.assert_array_equal(again[key], stack)


def test_the_twin_knows_neither_feedback_nor_suite():
    small = replace(SPEC, n_particles=16, n_mesh=16, n_pixels=16, fields=("Mtot",))
    one = simulated(replace(small, suites=("MockTNG",)), Row((0.3, 0.8, 0.3, 3.0, 0.6, 1.7), 2))
    two = simulated(replace(small, suites=("MockSIMBA",)), Row((0.3, 0.8, 1.0, 1.0, 1.0, 1.0), 2))
    np.testing.assert_array_equal(one[nbody_twin("MockTNG"), "Mtot"], two[nbody_twin("MockSIMBA"), "Mtot"])


def test_fields_that_are_not_asked_for_change_nothing(spec, suite, twin, maps):
    some = simulated(replace(spec, fields=("Mgas", "Mtot")))
    assert list(some) == [(suite, "Mgas"), (suite, "Mtot"), (twin, "Mtot")]
    for key, stack in some.items():
        np.testing.assert_array_equal(stack, maps[key])


@pytest.mark.parametrize(("column", "value"), [(0, 0.35), (1, 0.7), (2, 3.0), (3, 3.0), (4, 1.8), (5, 1.8)], ids=str)
def test_every_parameter_reaches_the_maps(column, value):
    """SN1, AGN1, SN2, AGN2 in the columns of CMD; those of feedback leave the twin alone."""
    small = replace(SPEC, suites=("MockSIMBA",), fields=("Mtot",))
    label = [0.3, 0.8, 1.0, 1.0, 1.0, 1.0]
    base = simulated(small, Row(tuple(label), 2))
    label[column] = value
    other = simulated(small, Row(tuple(label), 2))
    changed = {suite: not np.array_equal(base[suite, field], other[suite, field]) for suite, field in base}
    assert changed == {"MockSIMBA": True, nbody_twin("MockSIMBA"): column < 2}


def test_the_columns_of_a_label_are_those_of_cmd(monkeypatch):
    """Supernova and AGN columns are interleaved."""
    seen = []

    def model(run: GravityRun, feedback: Feedback) -> HydroParticles:
        seen.append((run.cosmology, run.seed, feedback))
        return mock_tng(run, feedback)

    monkeypatch.setattr("fieldlevel.simulate.mock_tng.mock_tng", model)
    simulated(replace(SPEC, suites=("MockTNG",)), Row((0.3, 0.8, 0.3, 3.0, 0.6, 1.7), 2))
    assert seen == [(Cosmology(0.3, 0.8), 2, Feedback(A_SN1=0.3, A_AGN1=3.0, A_SN2=0.6, A_AGN2=1.7))]


def test_maps_are_those_of_the_exact_neighbour_search(spec, twin, maps):
    """The radii estimated on the mesh of the pixels change the logarithm of a pixel by a few hundredths."""
    position = nbody_run(spec, Cosmology(*ROW.parameters[:2]), ROW.seed, CPU).position
    radius = neighbour_distance(position, spec.n_mesh, spec.n_neighbours) / spec.n_mesh
    mass = torch.full_like(radius, 5 * MEAN * BOX**2 / len(radius))
    exact = project_slabs([Discs(position / spec.n_mesh, radius, mass)], spec.n_pixels, BOX)
    ratio = np.log10(maps[twin, "Mtot"] / exact.numpy())
    assert abs(np.median(ratio)) < 0.01
    assert ratio.std() < 0.04


def test_another_seed_is_another_universe(maps, spec, suite):
    other = simulated(spec, replace(ROW, seed=6))[suite, "Mtot"]
    assert abs(np.corrcoef(np.log(other).ravel(), np.log(maps[suite, "Mtot"]).ravel())[0, 1]) < 0.2


def test_a_run_takes_the_steps_that_its_cosmology_needs():
    cosmology = Cosmology(0.4, 0.7)
    start = initial_particles(
        cosmology,
        3,
        n_particles=32,
        n_mesh=48,
        a_start=SPEC.a_start,
        box_size_mpc_h=BOX,
        device=CPU,
    )
    n_steps = steps_needed(cosmology, BOX / 32, SPEC.step_error)
    expected = evolve(start, 0.4, SPEC.a_start, n_steps)
    assert torch.equal(nbody_run(SPEC, cosmology, 3, CPU).position, expected.position)


def test_the_gravity_run_and_the_twin_start_from_the_same_modes():
    """The centre of mass of dark matter and gas from one place of the lattices stays near the twin's particle."""
    cosmology = Cosmology(0.3, 0.8)
    run, twin = gravity_run(SPEC, cosmology, 3, CPU), nbody_run(SPEC, cosmology, 3, CPU)
    assert (run.seed, run.box_size_mpc_h, len(run.particles.mass)) == (3, BOX, 2)
    middle = sum(mass * kind for mass, kind in zip(run.particles.mass, run.particles.kinds, strict=True))
    assert (middle - twin.position).norm(dim=1).median() < 0.5


ALL = replace(SPEC, suites=tuple(SUITES), fields=("Mtot", "Mgas"))
ALL_ROWS = {suite: Row((OMEGA_M, 0.9, 1.2, 0.8, 0.9, 1.0 + 0.1 * i), seed=5) for i, suite in enumerate(ALL.suites)}


def simulated_together(suites: tuple[str, ...]) -> Maps:
    (plain, *_) = variants_of(ALL)
    made = simulate_maps(ALL, ALL_ROWS, [(suite, plain) for suite in suites], CPU)
    return {key: stack for maps in made.values() for key, stack in maps.items()}


def test_suites_of_one_run_are_to_the_bit_those_of_runs_of_their_own():
    """In either order: no model changes what the next one starts from."""
    suites = simulated_suites(ALL)
    apart = {key: stack for suite in suites for key, stack in simulated_together((suite,)).items()}
    for together in (simulated_together(suites), simulated_together(suites[::-1])):
        assert together.keys() == apart.keys()
        for key, stack in together.items():
            np.testing.assert_array_equal(stack, apart[key], err_msg=str(key))


def test_the_gravity_run_is_made_once_for_all_suites_and_only_if_one_is_wanted(monkeypatch):
    runs = []

    def counted(*given, with_gas: bool):
        runs.append("suites" if with_gas else "twin")
        return gravity(*given, with_gas=with_gas)

    gravity = simulation._gravity
    monkeypatch.setattr(simulation, "_gravity", counted)
    simulated_together(simulated_suites(ALL))
    assert runs == ["suites", "twin"]
    runs.clear()
    simulated_together(ALL.suites[1:])
    assert runs == ["suites"]
    runs.clear()
    simulated_together((nbody_twin("MockTNG"),))
    assert runs == ["twin"]


def test_particles_of_one_suite_are_let_go_of_before_those_of_the_next_are_made(monkeypatch):
    """Beside the gravity run, a GPU holds one suite at a time."""
    alive = weakref.WeakSet()

    def model(run: GravityRun, feedback: Feedback) -> HydroParticles:
        assert len(alive) == 0
        kinds = mock_tng(run, feedback)
        alive.add(kinds["Mgas"].position)
        return kinds

    monkeypatch.setattr(simulation, "baryon_model", lambda suite: model)
    simulated_together(ALL.suites)


@pytest.mark.parametrize("what", ["position", "velocity", "haloes", "density"])
def test_a_model_that_changes_the_gravity_run_is_refused(monkeypatch, what):
    def model(run: GravityRun, feedback: Feedback) -> HydroParticles:
        kinds = mock_tng(run, feedback)
        {
            "position": run.gas,
            "velocity": run.velocities[1],
            "haloes": run.haloes.centre,
            "density": run.peak_density,
        }[what].mul_(1.0)
        return kinds

    monkeypatch.setattr(simulation, "baryon_model", lambda suite: model if suite == "MockSIMBA" else mock_tng)
    with pytest.raises(UserError, match=r"suite MockSIMBA: .* changes the gravity run in place; have it work"):
        for _ in simulate_particles(ALL, ALL_ROWS, ("MockTNG", "MockSIMBA"), CPU):
            pass


def test_few_particles_are_points():
    """A kind with fewer particles than neighbours has no disc."""
    handful = replace(SPEC, n_particles=4, n_mesh=8, n_pixels=8, n_neighbours=64, fields=("Mtot",))
    maps = simulated(handful)
    for stack in maps.values():
        np.testing.assert_allclose(mean_of_each_axis(stack), MEAN, rtol=ROUND_OFF)
        assert (stack == 0).any()


@pytest.mark.gpu
@pytest.mark.parametrize("suite", SUITES)
def test_gpu_agrees_with_cpu(suite):
    """Orbits of particles in haloes amplify round-off; the rest of the map agrees."""
    spec = replace(SPEC, suites=(suite,), n_particles=64, n_mesh=128, n_pixels=64, fields=("Mtot",))
    on_cpu, on_gpu = simulated(spec), simulated(spec, device=torch.device("cuda"))
    for key, stack in on_cpu.items():
        ratio = np.log10(on_gpu[key] / stack)
        assert np.sqrt(np.mean(ratio**2)) < 0.03, key
        assert abs(np.median(ratio)) < 1e-3
        np.testing.assert_allclose(mean_of_each_axis(on_gpu[key]), MEAN, rtol=ROUND_OFF)


@pytest.mark.gpu
@pytest.mark.parametrize("suite", sorted(mock_suites()))
def test_gpu_maps_repeat_to_the_bit(suite):
    spec = replace(SPEC, suites=(suite,), n_particles=64, n_mesh=128, n_pixels=64, fields=("Mtot", "Mstar"))
    first, second = (simulated(spec, device=torch.device("cuda")) for _ in range(2))
    for key, stack in first.items():
        np.testing.assert_array_equal(second[key], stack)


@pytest.mark.gpu
def test_gpu_particles_repeat_to_the_bit():
    first, second = (gravity_run(SPEC, Cosmology(0.3, 0.8), 3, torch.device("cuda")).particles for _ in range(2))
    assert torch.equal(first.position, second.position)
