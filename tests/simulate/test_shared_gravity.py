"""Simulations that differ in their feedback alone start from one gravity run."""

from dataclasses import replace

import numpy as np
import pytest

from fieldlevel.data.suite import check_directory
from fieldlevel.simulate import simulation
from fieldlevel.simulate.mock_suite import simulate_suite
from fieldlevel.simulate.simulate_spec import SimulateSpec

ONE_P = SimulateSpec(
    ("MockTNG", "MockSIMBA"), "1P", n_seeds=2, n_values=3, n_particles=16, n_mesh=16, n_pixels=16, twin=False
)
N_ROWS, N_UNIVERSES = 2 * 13, 2 * 5


@pytest.fixture
def runs(monkeypatch) -> list[tuple[float, float, int]]:
    """Cosmology and seed of every gravity run that is made."""
    made = []
    gravity = simulation._gravity

    def counted(spec, cosmology, seed, device, *, with_gas: bool):
        made.append((cosmology.Omega_m, cosmology.sigma_8, seed))
        return gravity(spec, cosmology, seed, device, with_gas=with_gas)

    monkeypatch.setattr(simulation, "_gravity", counted)
    return made


def maps_in(folder) -> dict[str, np.ndarray]:
    return {path.name: np.load(path) for path in sorted(folder.glob("Maps_*.npy"))}


def test_feedback_alone_costs_no_gravity_and_changes_no_pixel(runs, monkeypatch, tmp_path):
    shared = simulate_suite(ONE_P, tmp_path / "shared", device="cpu")
    assert len(set(runs)) == N_UNIVERSES
    assert len(runs) <= N_UNIVERSES + 2
    assert simulation._remembered == {}
    runs.clear()
    monkeypatch.setattr(simulation, "_remembered_run", simulation._new_run)
    apart = simulate_suite(ONE_P, tmp_path / "apart", device="cpu")
    assert len(runs) == N_ROWS
    for (name, one), (_, other) in zip(maps_in(shared).items(), maps_in(apart).items(), strict=True):
        assert one.shape == (15 * N_ROWS, 16, 16)
        np.testing.assert_array_equal(one, other, err_msg=name)
    assert check_directory(shared) == []


def test_simulations_of_their_own_seed_keep_no_run(runs, monkeypatch, tmp_path):
    kept = []
    monkeypatch.setattr(simulation, "_remembered_run", lambda *given: kept.append(given))
    simulate_suite(replace(ONE_P, set_name="CV", n_seeds=None, n_values=None, n_simulations=2), tmp_path, device="cpu")
    assert kept == []
    assert len(runs) == 2


def test_each_simulation_starts_from_the_run_of_its_own_universe(runs, monkeypatch, tmp_path):
    """In a table whose rows take turns nothing is shared, and the seed alone makes another universe."""
    table = tmp_path / "turns.txt"
    rows = ["0.3 0.8 {} 1 1 1 7", "0.2 0.8 {} 1 1 1 7", "0.3 0.7 {} 1 1 1 7", "0.3 0.8 {} 1 1 1 8"]
    table.write_text("\n".join(row.format(A_SN1) for A_SN1 in (1, 2) for row in rows) + "\n")
    turns = replace(ONE_P, set_name="turns", parameters=str(table), n_seeds=None, n_values=None)
    shared = maps_in(simulate_suite(turns, tmp_path / "shared", device="cpu"))
    assert len(runs) == 8
    monkeypatch.setattr(simulation, "_remembered_run", simulation._new_run)
    apart = maps_in(simulate_suite(turns, tmp_path / "apart", device="cpu"))
    assert all(np.array_equal(shared[name], apart[name]) for name in apart)
