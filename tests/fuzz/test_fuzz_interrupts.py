"""Interrupts at any moment of a command: it ends with one line, and the same command ends as if there had been none."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from artefacts import FLAGS, PROJECT_FLAGS, one_core
from contract import cases
from hypothesis import strategies as st

from fieldlevel import cli

LONGER = [*FLAGS, "--n-steps", 40, "--validate-every", 4]
SIMULATE = ("--n-simulations", 2, "--n-particles", 8, "--n-mesh", 8, "--n-pixels", 16, "--n-neighbours", 4, "--step-error", 1, "--workers", 1, "--device", "cpu")  # fmt: skip
ENDED_BY_INTERRUPT = 130


def _raise_inside_of_main(_signal: int, frame: FrameType | None) -> None:
    """What Python does, but for interrupts that come when the command has ended."""
    while frame is not None:
        if frame.f_code.co_name == "main" and frame.f_code.co_filename == cli.__file__:
            raise KeyboardInterrupt
        frame = frame.f_back


@contextmanager
def interrupted(*seconds: float) -> Iterator[None]:
    """Have this process interrupted after so many seconds, each counted from the one before."""
    ended = threading.Event()

    def interrupt() -> None:
        for pause in seconds:
            if ended.wait(pause):
                return
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, _raise_inside_of_main)
    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        signal.signal(signal.SIGINT, before)


def command_of(name: str, valid, out: Path) -> list[object]:
    return {
        "train": ["train", "--data", valid.data, *LONGER, "--out", out],
        "tune": ["tune", "--data", valid.data, *FLAGS, "--n-trials", 2, "--n-kept", 1, "--out", out],
        "project": ["project", *valid.snapshots, *PROJECT_FLAGS, "--out", out],
        "simulate": ["simulate", *SIMULATE, "--out", out],
    }[name]


KEPT = {"train": ["weights.safetensors"], "tune": ["trial-*/weights.safetensors"], "project": ["Maps_*.npy"], "simulate": ["Maps_*.npy"]}  # fmt: skip


def contents(name: str, out: Path) -> dict[str, bytes]:
    """What must come out the same."""
    found = (path for pattern in KEPT[name] for path in sorted(out.glob(pattern)))
    return {path.name: path.read_bytes() for path in found}


@cases(8, 80, name=st.sampled_from(sorted(KEPT)), moments=st.lists(st.floats(0.0, 1.2), min_size=1, max_size=3))
def test_interrupts(bench, valid, name, moments):
    with bench.case("interrupts", (name, moments)) as case, one_core():
        with interrupted(*moments):
            code = case.command(*command_of(name, valid, case.out), may_interrupt=True)
        case.must(code in (0, ENDED_BY_INTERRUPT), "exit code of an interrupt", f"{code} of {name}")
        code = case.command(*command_of(name, valid, case.out))
        whole = case.folder / "whole"
        case.also = ("whole",)
        case.command(*command_of(name, valid, whole))
        same = contents(name, case.out) == contents(name, whole) != {}
        case.must(code == 0 and same, "other result after an interrupt", name)
