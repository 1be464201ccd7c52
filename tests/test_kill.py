"""Killed with SIGKILL again and again, at ever later moments, the letter and the maps still end the same."""

import subprocess
import sys
import time

import pytest

from fieldlevel.simulate.mock_suite import simulate_suite
from fieldlevel.simulate.simulate_spec import SimulateSpec

ARGUMENTS = [
    "letter", "--device", "cpu",
    "--simulate.n-simulations", "10", "--simulate.n-particles", "16", "--simulate.n-mesh", "16",
    "--simulate.n-pixels", "16",
    "--train.split.train", "0.6", "--train.split.validation", "0.2", "--train.network.hidden", "1",
    "--train.batch-size", "16", "--train.n-steps", "40", "--train.validate-every", "3",
    "--train.statistics-batches", "3",
    "--summary.n-steps", "6", "--summary.validate-every", "3", "--summary-trials", "3",
    "--smoothing", "1", "--k-max", "1",
]  # fmt: skip

SNAPSHOTS = SimulateSpec(n_simulations=8, n_particles=32, n_mesh=32, n_pixels=16)

CODE = "import sys\nfrom fieldlevel.cli import main\nif __name__ == '__main__':\n    sys.exit(main(sys.argv[1:]))\n"


def start(script, *arguments) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, script, *map(str, arguments)], stderr=subprocess.DEVNULL)


def count_kills(script, *arguments, patience: float, growth: float) -> int:
    """Run a command until it ends by itself; each run is given more time than the one before."""
    kills = 0
    while True:
        process = start(script, *arguments)
        try:
            assert process.wait(timeout=patience + growth * kills) == 0
            return kills
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            time.sleep(0.1)


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "fieldlevel_main.py"
    path.write_text(CODE)
    return path


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_letter_killed_at_any_moment_continues(tmp_path, script):
    assert start(script, *ARGUMENTS, "--out", tmp_path / "whole").wait() == 0
    assert count_kills(script, *ARGUMENTS, "--out", tmp_path / "killed", patience=3.0, growth=0.37) > 0
    whole, killed = ((tmp_path / name / "predictions.csv").read_bytes() for name in ("whole", "killed"))
    assert whole == killed
    assert [path for path in (tmp_path / "killed").rglob(".*") if "part" in path.name] == []


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("workers", [1, 2])
def test_maps_of_snapshots_killed_at_any_moment_continue(tmp_path, script, workers):
    simulated = simulate_suite(SNAPSHOTS, tmp_path / "simulated", device="cpu", keep_snapshots=True)
    snapshots = [simulated / "snapshots" / "MockTNG" / f"LH_{number}" for number in range(SNAPSHOTS.n_simulations)]
    project = ["project", *snapshots, "--suite", "MockTNG", "--n-pixels", 64, "--workers", workers]
    assert start(script, *project, "--out", tmp_path / "whole").wait() == 0
    assert count_kills(script, *project, "--out", tmp_path / "killed", patience=1.0, growth=0.5) > 0
    name = "Maps_Mtot_MockTNG_LH_z=0.00.npy"
    assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
    assert list((tmp_path / "killed").glob(".*")) == []
