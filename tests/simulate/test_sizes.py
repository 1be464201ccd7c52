"""Sizes that no machine holds, discs without neighbours, feedback beyond all models: refused before the work."""

import os
from dataclasses import replace

import pytest

from fieldlevel.errors import UserError
from fieldlevel.numerics.device import select_device
from fieldlevel.numerics.memory import physical_memory
from fieldlevel.simulate.mock_suite import simulate_suite
from fieldlevel.simulate.simulate_spec import SimulateSpec

TOY = SimulateSpec(n_simulations=1, n_particles=16, n_mesh=16, n_pixels=16)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_neighbours": 4096}, "n_neighbours = 4096: allowed are numbers from 1 to 512, an eighth"),
        ({"n_neighbours": 513}, "n_neighbours = 513"),
        ({"n_neighbours": 0}, "n_neighbours = 0"),
        ({"n_particles": 10_000_000}, "n_particles = 10000000: allowed are even numbers from 8 to 4096"),
        ({"n_particles": 10**40, "n_mesh": 10**40}, "n_particles = 1"),
        ({"n_particles": -16}, "n_particles = -16"),
        ({"n_mesh": 1_048_576}, "n_mesh = 1048576"),
        ({"n_pixels": 1_048_576}, "n_pixels = 1048576"),
        ({"n_pixels": 0}, "n_pixels = 0"),
        ({"n_particles": 4096, "n_mesh": 4096}, "need at least 5.77e+03 GB of memory, this machine has"),
        ({"n_pixels": 16384}, "GB of memory"),
        ({"n_mesh": 16384}, "GB of memory"),
        ({"step_error": float("nan")}, "step_error = nan"),
        ({"a_start": float("inf")}, "a_start = inf"),
        ({"a_start": 0.0}, "a_start = 0"),
    ],
)
def test_sizes_that_cannot_be_are_refused(changes, words, tmp_path):
    with pytest.raises(UserError, match=words.replace("+", r"\+")):
        simulate_suite(replace(TOY, **changes), tmp_path / "out", "cpu")
    assert not (tmp_path / "out").exists()


def test_the_presets_are_within_the_bounds_of_a_machine_of_sixteen_gigabytes(monkeypatch, tmp_path):
    monkeypatch.setattr("fieldlevel.numerics.memory.physical_memory", lambda: 16_000_000_000)
    monkeypatch.setattr("fieldlevel.simulate.mock_suite.produce_maps", lambda *_: [])
    from fieldlevel.study.scales import SIMULATION_SCALES  # noqa: PLC0415

    for scale in SIMULATION_SCALES.values():
        simulate_suite(scale(), tmp_path, "cpu")


@pytest.mark.parametrize("value", ["1e300", "1e-300", "inf", "nan", "-1", "0", "1e4", "1e-4"])
@pytest.mark.parametrize("column", range(2, 6))
def test_feedback_beyond_all_models_is_refused_with_its_row(value, column, tmp_path):
    table = tmp_path / "table.txt"
    rows = [["0.3", "0.8", "1", "1", "1", "1"], ["0.2", "0.9", "1", "1", "1", "1"]]
    rows[1][column] = value
    table.write_text("\n".join(" ".join(row) for row in rows))
    with pytest.raises(UserError, match=r"row 1 .*allowed are positive numbers from 0.001 to 1000"):
        simulate_suite(
            replace(TOY, set_name="mine", parameters=str(table), n_simulations=None), tmp_path / "out", "cpu"
        )


@pytest.mark.parametrize("value", ["0.001", "1000"])
@pytest.mark.parametrize("suite", ["MockTNG", "MockSIMBA"])
def test_feedback_at_its_bounds_can_be_simulated(value, suite, tmp_path):
    table = tmp_path / "table.txt"
    table.write_text("\n".join(f"0.3 0.8 {' '.join(row)}" for row in feedback_rows(value)))
    spec = replace(
        TOY, suites=(suite,), set_name="mine", parameters=str(table), n_simulations=None, n_particles=8, n_mesh=8
    )
    simulate_suite(spec, tmp_path / "out", "cpu")


def feedback_rows(value):
    return [[value if column == changed else "1" for column in range(4)] for changed in range(4)] + [[value] * 4]


@pytest.mark.parametrize("name", ["cuda:99999999999999999999", "cpu:0", "cuda:-1", "cuda:", "cuda:\u0663", "mps", ""])
def test_devices_that_are_none_are_refused(name):
    with pytest.raises(UserError, match="device "):
        select_device(name)


def test_the_memory_of_the_cpu_is_at_most_that_of_the_machine():
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < physical_memory() <= machine
