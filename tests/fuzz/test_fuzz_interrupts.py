"""Interrupts at any moment of a command: it ends with one line, and the same command ends as if there had been none."""

import os
import signal
import time
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from artefacts import FLAGS, PROJECT_FLAGS, SIMULATE_FLAGS, one_core
from contract import MOST_LINES, PROGRESS, cases
from hypothesis import strategies as st

from fieldlevel.cli import main

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="commands run in forks, which CUDA does not allow")

LONGER = [*FLAGS, "--n-steps", 40, "--validate-every", 4]
ENDED_BY_INTERRUPT = 130
SECONDS_TO_END = 5.0
SECONDS_OF_WORK = 60.0


def run(arguments: Sequence[object], told: Path, moments: Sequence[float] = ()) -> int:
    """Run a command in a process of its own, a copy of this one, and interrupt it.

    Args:
        arguments: of the command.
        told: file for what it says on standard error.
        moments: seconds before each interrupt, counted from the one before.

    Returns:
        Its exit code; -9 where it did not end within seconds after the last interrupt.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12, of forks beside threads
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        process = os.fork()
    if process == 0:
        _work([str(argument) for argument in arguments], told)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    for pause in moments:
        if _ended(process, pause) is not None:
            break
        os.kill(process, signal.SIGINT)
    code = _ended(process, SECONDS_TO_END if moments else SECONDS_OF_WORK)
    if code is None:
        os.kill(process, signal.SIGKILL)
        return _ended(process, SECONDS_OF_WORK) or -9
    return code


_codes: dict[int, int] = {}


def _ended(process: int, seconds: float) -> int | None:
    """Exit code of a process, as soon as it has one."""
    until = time.monotonic() + seconds
    while process not in _codes:
        number, status = os.waitpid(process, os.WNOHANG)
        if number:
            _codes[process] = os.waitstatus_to_exitcode(status)
        elif time.monotonic() > until:
            return None
        else:
            time.sleep(0.005)
    return _codes[process]


def _work(arguments: list[str], told: Path) -> NoReturn:
    code = 99
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for stream, path in ((1, os.devnull), (2, told)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        code = _unblocked(arguments)
    except BaseException:  # noqa: BLE001 (what leaves the command is what is looked for)
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def _unblocked(arguments: list[str]) -> int:
    """Run a command; an interrupt before it begins, or after its end, ends the process as a shell would tell."""
    code = ENDED_BY_INTERRUPT
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        code = main(arguments)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    except KeyboardInterrupt as interrupt:
        places = [frame.f_code for frame, _ in traceback.walk_tb(interrupt.__traceback__)]
        if main.__code__ in places:
            raise
    return code


def command_of(name: str, valid, out: Path) -> list[object]:
    return {
        "train": ["train", "--data", valid.data, *LONGER, "--out", out],
        "tune": ["tune", "--data", valid.data, *FLAGS, "--n-trials", 2, "--n-kept", 1, "--out", out],
        "project": ["project", *valid.snapshots, *PROJECT_FLAGS, "--out", out],
        "simulate": ["simulate", "--n-simulations", 2, *SIMULATE_FLAGS, "--out", out],
    }[name]


KEPT = {
    "train": "weights.safetensors",
    "tune": "trial-*/weights.safetensors",
    "project": "Maps_*.npy",
    "simulate": "Maps_*.npy",
}


def contents(name: str, out: Path) -> dict[str, bytes]:
    """What must come out the same."""
    return {path.name: path.read_bytes() for path in out.glob(KEPT[name])}


@cases(4, 80, name=st.sampled_from(sorted(KEPT)), moments=st.lists(st.floats(0.0, 1.2), min_size=1, max_size=3))
def test_interrupts(bench, valid, name, moments):
    told = bench.scratch / "told"
    with one_core(), bench.case("interrupts", (name, moments)) as case:
        told.unlink(missing_ok=True)
        code = run(command_of(name, valid, case.out), told, moments)
        said = told.read_text()
        lines = [line for line in said.splitlines() if not PROGRESS.fullmatch(line)]
        case.must("Traceback" not in said, "traceback", f"{name}: {said[-500:]}")
        case.must(code in (0, ENDED_BY_INTERRUPT), "exit code of an interrupt", f"{code} of {name}")
        case.must(len(lines) <= MOST_LINES, "many lines", said)
        again = run(command_of(name, valid, case.out), told)
        case.must(again == 0, "does not go on after an interrupt", f"{again} of {name}: {told.read_text()[-300:]}")
        whole = run(command_of(name, valid, case.folder / "whole"), told)
        same = contents(name, case.out) == contents(name, case.folder / "whole") != {}
        case.must(whole == 0 and same, "other result after an interrupt", name)
        case.count("refused" if code else "worked")
