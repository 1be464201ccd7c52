"""Work given to the workers of a cluster: nothing is lost when one is killed, and all is the same to the bit."""

import gc
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import distributed
import pytest
import torch
from counting import Counting

import fieldlevel
from fieldlevel import pieces
from fieldlevel.cli import main
from fieldlevel.clusters import _tell, on_cluster
from fieldlevel.crews import N_AHEAD, current_crew
from fieldlevel.data.split import SplitSpec
from fieldlevel.data.suite import open_suite
from fieldlevel.errors import UserError
from fieldlevel.estimators.network_specs import NetworkSpec
from fieldlevel.inference.evaluate_spec import EvaluateSpec
from fieldlevel.inference.software import describe_software, record_software
from fieldlevel.locks import locked
from fieldlevel.numerics.device import select_device
from fieldlevel.pieces import Abandoned, Order, do_ordered, worker_listener
from fieldlevel.progress import Progress, ignore
from fieldlevel.search.trial_tables import read_trials
from fieldlevel.search.tune import Shared, tune
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.simulate.mock_suite import simulate_suite
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.study.jobs import train_missing, trained_network
from fieldlevel.study.keys import FIRST
from fieldlevel.study.store import Store
from fieldlevel.training.train_spec import TrainSpec
from fieldlevel.workers import choose_devices, spread

CPU = [torch.device("cpu")]
TOY = SimulateSpec(n_simulations=10, n_particles=16, n_mesh=16, n_pixels=16)
FLAGS = "--n-simulations 10 --n-particles 16 --n-mesh 16 --n-pixels 16"
TRAIN = TrainSpec(
    split=SplitSpec(train=0.6, validation=0.2),
    network=NetworkSpec(hidden=1),
    batch_size=16,
    n_steps=20,
    validate_every=5,
    statistics_batches=3,
    head_batches=3,
)
TRAIN_FLAGS = (
    "--split.train 0.6 --split.validation 0.2 --batch-size 16 --n-steps 6 --validate-every 3 --statistics-batches 3"
    " --head-batches 3"
)

# Workers can import what is installed only, so the pieces of work are made of that.
echo = partial(Progress, total=1, unit="pieces")


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(2, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=0) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with distributed.Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(2)
        yield client


@pytest.fixture(scope="module")
def cmd(tmp_path_factory):
    """Ten simulations, made in this process."""
    return simulate_suite(TOY, tmp_path_factory.mktemp("toy") / "cmd", "cpu")


class Killer:
    """A listener that kills a worker when it hears of a task for the n-th time."""

    def __init__(self, client, task: str, n: int) -> None:
        self.pids, self.task, self.n, self.heard = list(client.run(os.getpid).values()), task, n, []

    def __call__(self, event: Progress) -> None:
        self.heard.append(event)
        if len(self.of_task()) == self.n and event.task.startswith(self.task):
            os.kill(self.pids[0], signal.SIGKILL)

    def of_task(self) -> list[Progress]:
        return [event for event in self.heard if event.task.startswith(self.task)]

    def is_gone(self, client) -> bool:
        client.wait_for_workers(2)
        return len(self.of_task()) >= self.n and self.pids[0] not in client.run(os.getpid).values()


def contents(folder, pattern="*"):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob(pattern) if path.is_file()}


def test_maps_are_the_same_to_the_bit_though_a_worker_is_killed(client, cmd, tmp_path):
    killer = Killer(client, "simulate", 5)
    with on_cluster(client):
        simulate_suite(TOY, tmp_path / "cmd", listener=killer)
    assert killer.is_gone(client)
    assert [event.done for event in killer.of_task()] == list(range(11))
    made = contents(tmp_path / "cmd", "*.npy")
    assert len(made) == 2
    assert made == contents(cmd, "*.npy")
    assert contents(tmp_path / "cmd", "*.txt") == contents(cmd, "*.txt")


def test_networks_are_the_same_to_the_bit_though_a_worker_is_killed(client, cmd, tmp_path):
    suites = {("MockTNG", "LH"): open_suite(cmd, "MockTNG", check=False)}
    plan = {FIRST: tuple(EvaluateSpec(network=replace(TRAIN, seed=seed)) for seed in range(2))}
    killer = Killer(client, "four pairs: train", 2)
    with on_cluster(client, "cpu"):
        train_missing(Store(tmp_path / "cluster"), plan, suites, CPU, killer)
    assert killer.is_gone(client)
    train_missing(Store(tmp_path / "local"), plan, suites, CPU)
    for test in plan[FIRST]:
        runs = [trained_network(Store(tmp_path / name), test.network, suites) for name in ("cluster", "local")]
        assert runs[0].weights_sha256 == runs[1].weights_sha256
    assert sorted(path.name for path in (tmp_path / "cluster").iterdir()) == sorted(
        path.name for path in (tmp_path / "local").iterdir()
    )


def test_a_search_is_the_same_to_the_bit_though_a_worker_is_killed_in_a_trial(client, cmd, tmp_path):
    spec = TuneSpec(train=TRAIN, n_trials=4, n_kept=4)
    killer = Killer(client, "tune", 2)
    with on_cluster(client, "cpu"):
        tune(spec, cmd, tmp_path / "cluster", listener=killer, to_use=False)
    assert killer.is_gone(client)
    tune(spec, cmd, tmp_path / "local", "cpu", to_use=False)
    rows = [[row | {"seconds": ""} for row in read_trials(tmp_path / name)] for name in ("cluster", "local")]
    assert rows[0] == rows[1]
    assert [(row["number"], row["state"]) for row in rows[0]] == [(str(n), "complete") for n in range(4)]
    made = [contents(tmp_path / name, "trial-*/weights.safetensors") for name in ("cluster", "local")]
    assert made[0] == made[1] != {}


def test_a_worker_that_joins_a_search_does_trials(cmd, tmp_path):
    shared = Shared(TuneSpec(train=TRAIN, n_trials=6, n_kept=1), cmd, tmp_path / "out", None)
    is_begun = threading.Event()
    with (
        distributed.LocalCluster(1, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=0) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
        ThreadPoolExecutor(1) as helper,
    ):

        def join():
            is_begun.wait(60)
            with locked(tmp_path / "out" / ".search.lock", wait=True):  # no trial is taken meanwhile
                cluster.scale(2)
                client.wait_for_workers(2)

        joined = helper.submit(join)
        with on_cluster(client, "cpu"):
            list(spread(shared.do_trial, range(6), CPU, lambda event: is_begun.set()))
        joined.result()
        assert list(client.run(lambda: pieces._Worker.kept is not None).values()) == [True, True]
    assert [row["state"] for row in read_trials(tmp_path / "out")] == ["complete"] * 6


def test_commands_work_on_a_cluster(cluster, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    where = f"--cluster {cluster.scheduler_address} --device cpu"
    assert main(f"simulate --out cmd {FLAGS} --keep-snapshots {where}".split()) == 0
    snapshots = " ".join(f"cmd/snapshots/MockTNG/LH_{number}" for number in range(3))
    project = f"project {snapshots} --suite MockTNG --n-pixels 16"
    assert main(f"{project} --out maps {where}".split()) == 0
    assert main(f"{project} --out local-maps".split()) == 0
    assert contents(tmp_path / "maps", "*.npy") == contents(tmp_path / "local-maps", "*.npy") != {}
    assert main(f"simulate --out more {FLAGS} --workers 3 {where}".split()) == 2
    assert "workers = 3: the work goes to dask" in capsys.readouterr().err
    assert not (tmp_path / "more").exists()


def test_an_error_tells_where_it_came_from(client):
    with pytest.raises(TypeError, match="isinstance") as caught, on_cluster(client, "cpu"):
        list(spread(isinstance, [3], CPU))
    assert "in a worker process" in "".join(caught.value.__notes__)


def test_any_executor_does_every_piece_once():
    with Counting(2) as threads, on_cluster(threads, "cpu"):
        assert {place: done.task for place, done in spread(echo, range(100, 150), CPU)} == {
            place: 100 + place for place in range(50)
        }
    assert len(threads.given) == 50


def test_pieces_are_handed_out_as_results_are_taken():
    with Counting(8) as threads, on_cluster(threads, "cpu"):
        results = spread(echo, range(100), CPU)
        next(results)
        assert len(threads.given) == N_AHEAD * 8
        results.close()
        assert len(threads.given) == N_AHEAD * 8


def test_work_that_nobody_wants_is_taken_back():
    begun, go_on = threading.Event(), threading.Event()

    def wait_for(number, device):
        begun.set()
        go_on.wait(10)

    with Counting(1) as threads, on_cluster(threads, "cpu"):
        executor_of_two = spread(lambda number, device: number or wait_for(number, device), [1, 0, 0, 0], CPU)
        next(executor_of_two)
        begun.wait(10)
        executor_of_two.close()
        go_on.set()
    assert [future.cancelled() for future in threads.given] == [False, False, True, True]


def test_an_executor_that_breaks_is_told():
    class Broken(ThreadPoolExecutor):
        def submit(self, *arguments, **more):
            return super().submit(lambda: (_ for _ in ()).throw(OSError("all workers died")))

    with (
        Broken(1) as threads,
        on_cluster(threads),
        pytest.raises(UserError, match="Broken: all workers died; the work"),
    ):
        list(spread(echo, [1], CPU))


def test_work_on_a_cluster_asks_for_no_workers_here():
    with ThreadPoolExecutor(1) as threads, on_cluster(threads), pytest.raises(UserError, match="leave them out"):
        choose_devices("cpu", 2)
    assert current_crew() is None
    assert len(choose_devices("cpu", 2)) == 2


def begin():
    return ignore


def test_a_worker_that_does_not_see_the_folder_says_so():
    done = do_ordered(echo, 3, Order("/nowhere", "cpu", "", begin))
    with pytest.raises(UserError, match=r"^/nowhere: a worker on .* cannot work there \(No such file"):
        done.take()


def records(folder: Path) -> list[dict[str, str]]:
    known = json.loads((folder / "provenance.json").read_text())
    return [run for name, record in known.items() for run in record["runs"]]


def test_maps_tell_on_what_workers_made_them(tmp_path):
    with ThreadPoolExecutor(2) as threads, on_cluster(threads):
        simulate_suite(TOY, tmp_path / "cluster", "cpu")
    simulate_suite(TOY, tmp_path / "local", "cpu")
    (told,) = {run["hardware"] for run in records(tmp_path / "local")}
    assert told.startswith("1 CPU process, ")
    assert {run["hardware"] for run in records(tmp_path / "cluster")} == {f"{told} (ThreadPoolExecutor)"}


def test_results_tell_of_the_workers_of_the_run_and_not_those_of_a_folder(tmp_path):
    with ThreadPoolExecutor(1) as threads, on_cluster(threads, "cpu"):
        assert "workers" not in describe_software(*CPU)
        list(spread(echo, range(3), CPU))
        assert re.fullmatch(r"1 CPU process, .* \(ThreadPoolExecutor\)", describe_software(*CPU)["workers"])
        record_software(tmp_path, *CPU)
    assert "workers" not in json.loads((tmp_path / "provenance.json").read_text())
    assert "workers" not in describe_software(*CPU)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_is_asked_of_the_workers_and_not_of_this_machine(device):
    with ThreadPoolExecutor(1) as threads, on_cluster(threads, device):
        assert choose_devices(device, 1) == CPU
        assert select_device(device) == CPU[0]
        with pytest.raises(UserError, match="unknown; allowed"):
            select_device("cudo")
        with pytest.raises(UserError, match=rf"a worker on .*: device '{device}': PyTorch sees no CUDA device here"):
            list(spread(echo, range(3), CPU))
    with pytest.raises(UserError, match="sees no CUDA device here"):
        select_device(device)


def test_a_worker_of_another_version_says_so():
    order = replace(Order.here("cpu", begin), version="0.0.9")
    with pytest.raises(UserError, match=r"a worker on .* has version .* of fieldlevel, the command 0\.0\.9; start"):
        do_ordered(echo, 3, order).take()


def test_a_worker_leaves_the_process_as_it_was(tmp_path, monkeypatch):
    monkeypatch.delenv("FIELDLEVEL_EXTENSIONS", raising=False)
    before, n_threads = Path.cwd(), torch.get_num_threads()
    seen = do_ordered(lambda number, device: (Path.cwd(), device), 3, Order(str(tmp_path), "cpu", "", begin)).take()
    assert seen == (tmp_path, torch.device("cpu"))
    assert (Path.cwd(), torch.get_num_threads()) == (before, n_threads)


def test_a_piece_that_nobody_wants_ends_when_it_tells_of_itself():
    told = []
    worker = SimpleNamespace(
        state=SimpleNamespace(tasks={"wanted": SimpleNamespace(state="executing")}),
        log_event=lambda topic, event: told.append(event),
    )
    _tell(worker, "wanted", "topic", Progress("train", 1, 2, "steps"))
    assert len(told) == 1
    worker.state.tasks["wanted"].state = "cancelled"
    for key in ("wanted", "forgotten"):
        with pytest.raises(Abandoned):
            _tell(worker, key, "topic", Progress("train", 2, 2, "steps"))

    def tell(number, device):
        worker_listener()(Progress("train", number, 2, "steps"))
        told.append("not reached")

    order = Order(str(Path.cwd()), "cpu", "", lambda: partial(_tell, worker, "wanted", "topic"))
    assert do_ordered(tell, 1, order).take() is None
    assert len(told) == 1


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("nowhere", "cluster nowhere: is no address of a scheduler; give tcp://HOST:PORT"),
        ("scheduler.json", "cluster scheduler.json: there is no such file"),
        ("tcp://127.0.0.1:1", "cluster tcp://127.0.0.1:1: no scheduler answers"),
        (7, "cluster 7: give tcp://HOST:PORT"),
    ],
)
def test_schedulers_that_are_none_are_named(where, told, monkeypatch):
    monkeypatch.setattr("fieldlevel.clusters.SECONDS_TO_CONNECT", 0.3)
    with pytest.raises(UserError) as caught, on_cluster(where):
        pass
    assert str(caught.value).startswith(told)


def n_clients():
    """Clients that wait to be collected, whenever that may be, or are in use."""
    return sum(type(each).__module__.startswith("distributed.client") for each in gc.get_objects())


@pytest.mark.parametrize("content", ["", "{}", '{"address": "nowhere"}', '{"address": "tcp://127.0.0.1:99999"}'])
def test_files_that_name_no_scheduler_are_told(content, tmp_path, monkeypatch):
    monkeypatch.setattr("fieldlevel.clusters.SECONDS_TO_CONNECT", 0.3)
    place = tmp_path / "scheduler.json"
    place.write_text(content)
    before = n_clients()
    with pytest.raises(UserError, match=r"no scheduler answers"), on_cluster(place):
        pass
    assert n_clients() == before


@pytest.mark.parametrize("seconds", [0, 3])
def test_a_scheduler_that_goes_away_is_told(seconds, tmp_path, monkeypatch):
    """While it is tried again, and when that was given up."""
    monkeypatch.setattr("fieldlevel.clusters.SECONDS_TO_CONNECT", 1)
    place = tmp_path / "scheduler.json"
    flags = ["--port", "0", "--no-dashboard", "--scheduler-file", str(place)]
    with subprocess.Popen([sys.executable, "-m", "dask", "scheduler", *flags], stderr=subprocess.DEVNULL) as scheduler:

        def kill(event):  # which is told that there are no workers
            scheduler.kill()
            time.sleep(seconds)

        try:
            while not place.exists():
                assert scheduler.poll() is None
                time.sleep(0.1)
            with pytest.raises(UserError, match=r"^dask tcp.*: the connection is lost; the same"), on_cluster(place):
                list(spread(echo, range(3), CPU, kill))
        finally:
            scheduler.kill()


@pytest.mark.parametrize("package", ["distributed", "dask_jobqueue"])
def test_what_is_not_installed_is_named(package, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    assert main(f"simulate --out cmd {FLAGS} --cluster slurm".split()) == 2
    extra = {"distributed": "dask", "dask_jobqueue": "slurm"}[package]
    line = f"{package} is not installed; pip install 'fieldlevel[{extra}]', or pip install {package}"
    assert line in " ".join(capsys.readouterr().err.split())


@pytest.fixture
def jobqueue(monkeypatch):
    """A stand-in for dask-jobqueue, without jobs."""
    module = ModuleType("dask_jobqueue")
    module.__spec__ = ModuleSpec("dask_jobqueue", None)
    monkeypatch.setitem(sys.modules, "distributed", distributed)
    monkeypatch.setitem(sys.modules, "dask_jobqueue", module)
    monkeypatch.setattr("fieldlevel.clusters.which", lambda name: name)
    return module


def test_jobs_that_are_not_configured_are_told(jobqueue):
    def refuse():
        raise ValueError("You must specify how many cores to use per job like ``cores=8``")

    jobqueue.SLURMCluster = refuse
    with pytest.raises(UserError, match=r"cluster slurm: You must specify how many cores .*jobqueue\.yaml"):
        on_cluster("slurm").__enter__()


def test_a_machine_that_submits_no_jobs_is_told(jobqueue, monkeypatch):
    monkeypatch.setattr("fieldlevel.clusters.which", lambda name: None)
    with pytest.raises(UserError, match="cluster slurm: there is no sbatch here"):
        on_cluster("slurm").__enter__()


def test_jobs_join_as_there_is_work_and_are_waited_for(jobqueue):
    class Jobs(distributed.LocalCluster):
        def adapt(self):
            return super().adapt(minimum=0, maximum=1, interval="50ms")

    jobqueue.SLURMCluster = partial(Jobs, n_workers=0, processes=False, dashboard_address="127.0.0.1:0")
    told = []
    with on_cluster("slurm", "cpu"):
        assert len(list(spread(echo, range(20), CPU, told.append))) == 20
    assert {event.task.split(" dask")[0] for event in told} == {"wait for workers of"}
    assert [told[0].done, *(event.done for event in told[-2:])] == [0, 0, 1]


@pytest.mark.slow
def test_a_search_is_shared_by_the_workers(cluster, cmd, tmp_path):
    flags = f"--data {cmd} --suite MockTNG --out {tmp_path / 'search'} {TRAIN_FLAGS} --n-trials"
    where = ["--device", "cpu", "--cluster", cluster.scheduler_address]
    assert main(["tune", *flags.split(), "3", *where]) == 0
    assert main(["tune", *flags.split(), "4", *where]) == 0
    rows = (tmp_path / "search" / "trials.csv").read_text().splitlines()[1:]
    assert sorted(int(row.split(",")[0]) for row in rows) == [0, 1, 2, 3]
    assert all((tmp_path / "search" / f"trial-{number}" / "weights.safetensors").exists() for number in range(4))


@pytest.mark.slow
def test_a_letter_is_the_same_on_a_cluster(cluster, tmp_path):
    flags = (
        f"--simulate.{FLAGS.replace(' --', ' --simulate.')[2:]} --train.{TRAIN_FLAGS.replace(' --', ' --train.')[2:]}"
    )
    more = "--train.network.hidden 1 --summary.n-steps 6 --summary.validate-every 3 --summary-trials 3"
    asked = f"letter --device cpu {flags} {more} --only power-spectrum one-point-PDF"
    assert main([*asked.split(), "--out", str(tmp_path / "local")]) == 0
    there = ["--out", str(tmp_path / "cluster"), "--cluster", cluster.scheduler_address]
    assert main([*asked.split(), *there]) == 0
    local, there = ((tmp_path / name / "predictions.csv").read_bytes() for name in ("local", "cluster"))
    assert local == there


def test_on_cluster_is_public():
    assert fieldlevel.on_cluster is on_cluster
