"""Two and three interrupts at any moment: one line, an end within seconds, and the same result afterwards."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

import fieldlevel
from fieldlevel.cli import main
from fieldlevel.simulate.mock_suite import simulate_suite
from fieldlevel.simulate.simulate_spec import SimulateSpec

SECONDS_TO_END = 5.0
SECONDS_TO_START = 0.3
"""Before that the interpreter itself may be starting, which tells of an interrupt in its own way."""

SPLIT = ["--split.train", "0.6", "--split.validation", "0.2", "--network.hidden", "1", "--batch-size", "16"]
SPLIT += ["--statistics-batches", "3"]
TINY = ["--n-simulations", "10", "--n-particles", "16", "--n-mesh", "16", "--n-pixels", "16", "--device", "cpu"]
PROGRESS = re.compile(r"[\w :./=-]+: \d+/\d+ ")


@pytest.fixture(autouse=True)
def _interrupts_are_heard():
    """A shell starts what runs in its background with interrupts ignored, and children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def start(*arguments) -> subprocess.Popen[str]:
    """The command in a process group of its own, as a terminal starts it."""
    environment = os.environ | {"PYTHONPATH": str(Path(fieldlevel.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "fieldlevel", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True,
    )  # fmt: skip


def stop(process: subprocess.Popen[str], number: int, gaps: list[float]) -> tuple[int, list[str]]:
    """Exit code and lines of a command whose process group gets signals; it may have ended before."""
    began = time.monotonic()
    for gap in [0.0, *gaps]:
        time.sleep(gap)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
    try:
        _, told = process.communicate(timeout=SECONDS_TO_END - sum(gaps) + 1)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    assert time.monotonic() - began < SECONDS_TO_END
    return process.returncode, [line for line in told.splitlines() if not PROGRESS.match(line)]


def finish(process: subprocess.Popen[str]) -> None:
    _, told = process.communicate()
    assert process.returncode == 0, told


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    spec = SimulateSpec(n_simulations=10, n_particles=16, n_mesh=16, n_pixels=16)
    return simulate_suite(spec, tmp_path_factory.mktemp("data"), device="cpu", keep_snapshots=True)


def command(name: str, data: Path) -> list[str]:
    snapshots = [data / "snapshots" / "MockTNG" / f"LH_{number}" for number in range(10)]
    return {
        "simulate": ["simulate", *TINY, "--workers", "2"],
        "project": ["project", *snapshots, "--suite", "MockTNG", "--workers", "2", "--n-pixels", "16"],
        "train": ["train", "--data", data, *SPLIT, "--device", "cpu", "--n-steps", "200", "--validate-every", "20"],
        "tune": ["tune", "--data", data, *SPLIT, "--device", "cpu", "--n-steps", "40", "--n-trials", "3"],
        "letter": [
            "letter", "--device", "cpu", *(word.replace("--n-", "--simulate.n-") for word in TINY[:-2]),
            *(word.replace("--", "--train.") for word in SPLIT), "--train.n-steps", "6", "--train.head-batches", "3",
            "--train.validate-every", "3", "--only", "mean map",
        ],
    }[name]  # fmt: skip


RESULT = {
    "simulate": "Maps_Mtot_MockTNG_LH_z=0.00.npy",
    "project": "Maps_Mtot_MockTNG_LH_z=0.00.npy",
    "train": "weights.safetensors",
    "tune": "trials.csv",
    "letter": "predictions.csv",
}


def check_end(code: int, told: list[str], number: int = signal.SIGINT) -> None:
    word = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}[number]
    if code != 0:
        assert (code, told) == (128 + number, [f"fieldlevel: {word}; the same command continues"])


@pytest.mark.parametrize("moment", [0.5, 2.5, 4.5])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_interrupted_twice_ends_in_one_line(tmp_path, moment, number):
    process = start("simulate", *TINY, "--workers", "2", "--n-simulations", "900", "--out", tmp_path)
    time.sleep(moment)
    code, told = stop(process, number, [0.4])
    assert code != 0
    check_end(code, told, number)
    with pytest.raises(ProcessLookupError):
        wait_for_the_end_of_group(process.pid)


def wait_for_the_end_of_group(group: int) -> None:
    """Until no process of it is left, or for a while."""
    for _ in range(50):
        os.killpg(group, 0)
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", RESULT)
def test_interrupts_at_random_moments_change_nothing(tmp_path, data, name):
    began = time.monotonic()
    finish(start(*command(name, data), "--out", tmp_path / "whole"))
    seconds, random_moments = time.monotonic() - began, random.Random(name)
    for _ in range(8):
        process = start(*command(name, data), "--out", tmp_path / "cut")
        time.sleep(random_moments.uniform(SECONDS_TO_START, seconds / 2))
        gaps = [random_moments.uniform(0.15, 1) for _ in range(random_moments.choice([1, 2]))]
        check_end(*stop(process, signal.SIGINT, gaps))
    finish(start(*command(name, data), "--out", tmp_path / "cut"))
    results = [tmp_path / folder / RESULT[name] for folder in ("whole", "cut")]
    if name == "tune":  # an interrupted trial counts as one that was begun
        assert len(results[1].read_text().splitlines()) >= len(results[0].read_text().splitlines())
    else:
        assert results[0].read_bytes() == results[1].read_bytes()
    assert [path for path in (tmp_path / "cut").rglob(".*") if "part" in path.name] == []


def test_an_interrupt_that_is_ignored_stays_so(tmp_path):
    code = "import signal\nfrom fieldlevel import interrupts\ninterrupts.install()\nsignal.raise_signal(signal.SIGINT)"
    ignoring = f"import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n{code}"
    environment = os.environ | {"PYTHONPATH": str(Path(fieldlevel.__file__).parents[1])}
    assert subprocess.run([sys.executable, "-c", ignoring], env=environment, check=False).returncode == 0
    answering = f"import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n{code}"
    ran = subprocess.run(
        [sys.executable, "-c", answering], env=environment, check=False, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stderr) == (130, "fieldlevel: interrupted; the same command continues\n")


def test_whoever_swallows_an_interrupt_is_ended():
    code = (
        "import os, signal, threading, time\nfrom contextlib import suppress\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from fieldlevel import interrupts\ninterrupts.SECONDS_TO_TIDY_UP = 0.5\n"
        "threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "with interrupts.raised():\n"
        "    with suppress(KeyboardInterrupt): time.sleep(60)\n"
        "    time.sleep(60)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(fieldlevel.__file__).parents[1])}
    began = time.monotonic()
    ran = subprocess.run([sys.executable, "-c", code], env=environment, check=False, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (130, "fieldlevel: interrupted; the same command continues\n")
    assert time.monotonic() - began < 20


def test_main_leaves_the_handlers_of_its_caller(tmp_path):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert main(["check", str(tmp_path)]) == 2
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
