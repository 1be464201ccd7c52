"""Killed with SIGKILL again and again, at ever later moments, the letter still ends with the same predictions."""

import subprocess
import sys
import time

import pytest

ARGUMENTS = [
    "letter", "--device", "cpu",
    "--simulate.n-simulations", "10", "--simulate.n-particles", "16", "--simulate.n-mesh", "16",
    "--simulate.n-pixels", "16",
    "--train.split.train", "0.6", "--train.split.validation", "0.2", "--train.network.hidden", "1",
    "--train.batch-size", "16", "--train.n-steps", "40", "--train.validate-every", "3",
]  # fmt: skip

CODE = "import sys\nfrom fieldlevel.cli import main\nif __name__ == '__main__':\n    sys.exit(main(sys.argv[1:]))\n"


def start(out, script) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, script, *ARGUMENTS, "--out", out], stderr=subprocess.DEVNULL)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_letter_killed_at_any_moment_continues(tmp_path):
    script = tmp_path / "letter.py"
    script.write_text(CODE)
    assert start(tmp_path / "whole", script).wait() == 0
    kills, patience = 0, 3.0
    while True:
        process = start(tmp_path / "killed", script)
        try:
            assert process.wait(timeout=patience) == 0
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            patience += 0.37
            time.sleep(0.1)
    assert kills > 0
    whole, killed = ((tmp_path / name / "predictions.csv").read_bytes() for name in ("whole", "killed"))
    assert whole == killed
    assert [path for path in (tmp_path / "killed").rglob(".*") if "part" in path.name] == []
