import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import torch

import fieldlevel
from fieldlevel.errors import UserError
from fieldlevel.pieces import worker_listener
from fieldlevel.progress import Progress
from fieldlevel.simulate.mock_suite import simulate_suite
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.workers import choose_devices, spread

CPU = torch.device("cpu")

# Workers can import what is installed only, so the pieces of work are made of that.
echo = partial(Progress, total=1, unit="pieces")


@pytest.mark.parametrize("n_workers", [1, 2])
def test_every_piece_is_done_once(n_workers):
    results = dict(spread(echo, [3, 5, 7, 9], [CPU] * n_workers))
    assert {place: result.task for place, result in results.items()} == {0: 3, 1: 5, 2: 7, 3: 9}


@pytest.mark.parametrize("n_workers", [1, 2])
def test_an_error_comes_through(n_workers):
    with pytest.raises(TypeError, match="isinstance"):
        list(spread(isinstance, [3], [CPU] * n_workers))


def test_a_single_worker_tells_the_listener_itself():
    told = []

    def make(number, device):
        worker_listener()(Progress("square", number, 10, "numbers"))

    list(spread(make, [3, 5], [CPU], told.append))
    assert [event.done for event in told] == [3, 5]


def test_nothing_to_do_is_done_at_once():
    assert list(spread(isinstance, [], [CPU])) == []


def test_an_interrupt_does_not_reach_workers_that_still_start():
    stopped = threading.Event()

    def interrupt_children() -> None:
        while not stopped.is_set():
            for child in multiprocessing.active_children():
                with suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGINT)
            time.sleep(0.01)

    threading.Thread(target=interrupt_children).start()
    try:
        assert len(list(spread(echo, [3, 5], [CPU] * 2))) == 2
    finally:
        stopped.set()


def run_script(folder, script: str, *, as_file: bool = True) -> subprocess.CompletedProcess[str]:
    path = folder / "script.py"
    path.write_text(script)
    environment = os.environ | {"PYTHONPATH": str(Path(fieldlevel.__file__).parents[1])}
    source = None if as_file else script
    command = [sys.executable, *([path] if as_file else [])]
    return subprocess.run(command, env=environment, input=source, capture_output=True, text=True, check=False)


SIMULATE = """
from fieldlevel import SimulateSpec, UserError, simulate_suite
spec = SimulateSpec(n_simulations=2, n_particles=8, n_mesh=8, n_pixels=16)
def work():
    try:
        simulate_suite(spec, {out!r}, "cpu", workers=2)
    except UserError as error:
        print(error)
"""


@pytest.mark.parametrize("package", ["", "project"])
def test_a_script_without_a_main_guard_is_told_of_it(tmp_path, package):
    script = SIMULATE.format(out=str(tmp_path / "out")) + "work()\n"
    if package:
        make = "from fieldlevel import ProjectSpec, project_snapshots\n"
        files = [str(tmp_path / "whole" / "snapshots" / "MockTNG" / f"LH_{number}") for number in range(2)]
        spec = SimulateSpec(n_simulations=2, n_particles=8, n_mesh=8, n_pixels=16)
        simulate_suite(spec, tmp_path / "whole", "cpu", keep_snapshots=True)
        project = f"project_snapshots({files!r}, ProjectSpec(suite='MockTNG', n_pixels=16), 'out', workers=2)"
        call = 'simulate_suite(spec, {out!r}, "cpu", workers=2)'.format(out=str(tmp_path / "out"))
        script = make + script.replace(call, project)
    ran = run_script(tmp_path, script)
    assert 'put the call under `if __name__ == "__main__":`' in ran.stdout
    assert (ran.stdout.count("\n"), ran.stderr, ran.returncode) == (1, "", 0)


def test_a_script_with_a_main_guard_has_workers(tmp_path):
    ran = run_script(tmp_path, SIMULATE.format(out=str(tmp_path / "out")) + "if __name__ == '__main__': work()\n")
    assert (ran.stdout, ran.stderr, ran.returncode) == ("", "", 0)
    assert (tmp_path / "out" / "params_LH_MockTNG.txt").exists()


def test_a_script_from_standard_input_is_told_to_be_a_file(tmp_path):
    ran = run_script(tmp_path, SIMULATE.format(out=str(tmp_path / "out")) + "work()\n", as_file=False)
    assert "save it as a file" in ran.stdout
    assert ran.stderr == ""


def test_a_script_that_fails_in_its_workers_is_told_of_the_guard(tmp_path):
    script = SIMULATE.format(out=str(tmp_path / "out")) + "if __name__ == '__main__': work()\nelse: raise ValueError\n"
    assert "a worker process could not start (exit code 1, see above)" in run_script(tmp_path, script).stdout


def test_an_error_tells_where_in_the_worker_it_came_from():
    with pytest.raises(TypeError) as caught:
        list(spread(isinstance, [3], [CPU] * 2))
    assert "in a worker process" in "".join(caught.value.__notes__)


def test_a_worker_that_is_killed_is_told():
    stopped = threading.Event()

    def kill_children() -> None:
        while not stopped.is_set():
            for child in multiprocessing.active_children():
                child.kill()
            time.sleep(0.01)

    killer = threading.Thread(target=kill_children)
    killer.start()
    try:
        with pytest.raises(UserError, match="a worker process was killed, perhaps for want of memory"):
            list(spread(echo, [3, 5], [CPU] * 2))
    finally:
        stopped.set()
        killer.join()


def test_workers_are_gone_when_nobody_wants_their_results(tmp_path):
    before = set(multiprocessing.active_children())  # two threads that wait for one process may leave it in the list
    results = spread(echo, [3, 5, 7, 9], [CPU] * 2)
    next(results)
    workers = set(multiprocessing.active_children()) - before
    assert workers
    results.close()
    assert not any(Path(f"/proc/{worker.pid}").exists() for worker in workers)


@pytest.mark.parametrize("workers", [0, -1, 100_000, 10**30])
def test_absurd_numbers_of_workers_are_refused(workers):
    with pytest.raises(UserError, match="workers = "):
        choose_devices("cpu", workers)
