"""Where a file system has no flock, as Lustre mounted without it, commands work all the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fieldlevel

WITHOUT_FLOCK = """
import errno, fcntl, sys
def flock(*_):
    raise OSError(errno.ENOSYS, "Function not implemented")
fcntl.flock = flock
"""
TINY = ["--device", "cpu", "--n-simulations", "10", "--n-particles", "16", "--n-mesh", "16", "--n-pixels", "16"]


def run(code: str, *arguments) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(fieldlevel.__file__).parents[1])}
    command = [sys.executable, "-c", WITHOUT_FLOCK + code, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


MAIN = "from fieldlevel.cli import main\nsys.exit(main(sys.argv[1:]))"


def test_simulate_and_train_work_and_leave_no_lock(tmp_path):
    data, out = tmp_path / "data", tmp_path / "network"
    train = ["train", "--data", data, "--out", out, "--split.train", "0.6", "--split.validation", "0.2"]
    train += ["--network.hidden", "1", "--batch-size", "16", "--n-steps", "3", "--device", "cpu"]
    train += ["--statistics-batches", "2", "--head-batches", "2"]
    for arguments in (["simulate", *TINY, "--workers", "1", "--out", data], train):
        ran = run(MAIN, *arguments)
        assert ran.returncode == 0, ran.stderr
        assert "lock" not in ran.stderr.lower()
        assert "warning" not in ran.stderr.lower()
    assert [path for folder in (data, out) for path in folder.rglob(".*")] == []


HOLD = """
from pathlib import Path
from fieldlevel.locks import locked
with locked(Path(sys.argv[1]), wait=len(sys.argv) > 2) as is_ours:
    print(is_ours, flush=True)
    if len(sys.argv) > 3:
        import os
        os._exit(9)
"""


@pytest.mark.parametrize("wait", [[], ["wait"]])
def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, wait):
    assert run(HOLD, tmp_path / ".lock", "wait", "die").stdout == "True\n"
    assert (tmp_path / ".lock").exists()
    ran = run(HOLD, tmp_path / ".lock", *wait)
    assert (ran.stdout, ran.stderr) == ("True\n", "")
    assert not (tmp_path / ".lock").exists()


def test_the_lock_of_a_living_process_is_not(tmp_path):
    (tmp_path / "holder.py").write_text("")
    code = HOLD + "    import subprocess\n    subprocess.run([sys.executable, '-c', NESTED, sys.argv[1]])\n"
    nested = WITHOUT_FLOCK + HOLD
    assert run(f"NESTED = {nested!r}\n{code}", tmp_path / ".lock").stdout == "True\nFalse\n"
