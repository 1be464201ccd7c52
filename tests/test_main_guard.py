"""A script that starts several workers without a main guard is told so before any of them is started."""

import os
import subprocess
import sys
from pathlib import Path

import fieldlevel

SCRIPT = """
from pathlib import Path
from fieldlevel import SimulateSpec, simulate_suite
Path("made").mkdir()
simulate_suite(SimulateSpec(n_simulations=2, n_particles=8, n_mesh=8, n_pixels=16), "out", "cpu", workers=2)
"""


def test_the_error_of_a_plain_script_is_the_guard_and_no_worker_reads_it(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(Path(fieldlevel.__file__).parents[1])}
    command = [sys.executable, str(path)]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    *traceback, last = ran.stderr.splitlines()
    told = 'put the call under `if __name__ == "__main__":`, as every worker process reads the script'
    assert last == f"fieldlevel.errors.UserError: {path}: several workers need a main guard in the script: {told}"
    assert sum(line.startswith("Traceback") for line in traceback) == 1
    assert "FileExistsError" not in ran.stderr
    assert ran.returncode == 1
