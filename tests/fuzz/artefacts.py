"""Valid files of every kind, as small as they can be: 16 x 16 maps, 8 simulations, networks of width 1."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from hydro_snapshot import write_hydro_snapshot

from fieldlevel.cli import main
from fieldlevel.data.split import SplitSpec
from fieldlevel.estimators.network_specs import NetworkSpec, PerceptronSpec
from fieldlevel.layout import CRITICAL_DENSITY, Layout
from fieldlevel.mapmaking.project_spec import ProjectSpec
from fieldlevel.mapmaking.projection import project_snapshots
from fieldlevel.progress import Progress
from fieldlevel.search.tune import tune
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.training.train_spec import OptimiserSpec, TrainSpec
from fieldlevel.training.trainer import train

CMD = Layout()
BlankFigures = Callable[[], AbstractContextManager[None]]

N_SIMULATIONS, N_PIXELS = 8, 16
SPLIT = SplitSpec(train=0.75, validation=0.125)
TRAIN = TrainSpec(
    split=SPLIT,
    network=NetworkSpec(hidden=1, dropout=0.0, std_from="softplus"),
    optimiser=OptimiserSpec(learning_rate=1e-2),
    batch_size=16,
    n_steps=4,
    validate_every=2,
    statistics_batches=2,
    head_batches=1,
)
SUMMARY = TrainSpec(
    inputs="power spectrum",
    split=SPLIT,
    perceptron=PerceptronSpec(n_layers=1, n_neurons=4, std_from="softplus"),
    batch_size=16,
    n_steps=4,
    validate_every=2,
)
TUNE = TuneSpec(TRAIN, n_trials=2, n_kept=1)
FLAGS = (
    "--split.train", "0.75", "--split.validation", "0.125", "--network.hidden", "1", "--network.dropout", "0",
    "--batch-size", "16", "--n-steps", "4",
    "--validate-every", "2", "--statistics-batches", "2", "--head-batches", "1", "--device", "cpu",
)  # fmt: skip
"""Of `train` and `tune` on the command line."""
LETTER_FLAGS = (
    "--device", "cpu", "--only", "mean map", "--summary-trials", "0", "--suites", "MockTNG", "MockSIMBA",
    "--smoothing", "1", "--k-max", "1",
    *(flag.replace("--", "--train.") if flag.startswith("--") else flag for flag in FLAGS[:-2]),
)  # fmt: skip
PROJECT = ProjectSpec(n_pixels=16, n_neighbours=4)
SIMULATE_FLAGS = (
    "--n-particles", "8", "--n-mesh", "8", "--n-pixels", "16", "--n-neighbours", "4", "--step-error", "1",
    "--workers", "1", "--device", "cpu",
)  # fmt: skip
"""Of `simulate`, beside the number of simulations."""
EVALUATE_FLAGS = ("--suite", "MockSIMBA", "--device", "cpu")
PROJECT_FLAGS = ("--n-pixels", "16", "--n-neighbours", "4", "--device", "cpu")


def write_suite(folder: Path, suite: str, seed: int, field: str = "Mtot", set_name: str = "LH") -> None:
    """A sound suite in which the five slabs of an axis hold all the mass of the box; all share their cosmologies."""
    shared, rng = np.random.default_rng(0), np.random.default_rng(seed)
    columns = [(shared if parameter.cosmological else rng).permutation(N_SIMULATIONS) for parameter in CMD.parameters]
    strata = np.array(columns).T
    theta = CMD.lows + (strata + 0.5) / N_SIMULATIONS * (CMD.highs - CMD.lows)
    maps = rng.lognormal(0.0, 1.0, (N_SIMULATIONS, 3, 5, N_PIXELS, N_PIXELS))
    maps *= 5 * CRITICAL_DENSITY * theta[:, 0, None, None, None, None] / maps.mean((2, 3, 4), keepdims=True)
    folder.mkdir(exist_ok=True)
    np.save(folder / f"Maps_{field}_{suite}_{set_name}_z=0.00.npy", maps.reshape(-1, N_PIXELS, N_PIXELS).astype("<f4"))
    np.savetxt(folder / f"params_{set_name}_{suite}.txt", theta, fmt="%.6f")


def stop_after(n_events: int) -> Callable[[Progress], None]:
    """A listener that interrupts the work."""
    heard = iter(range(n_events))

    def listener(_event: Progress) -> None:
        if next(heard, None) is None:
            raise KeyboardInterrupt

    return listener


def _stop_at_step_20(event: Progress) -> None:
    if event.unit == "steps" and event.done >= 20:
        raise KeyboardInterrupt


class Valid:
    """Files by kind, each made when it is first asked for."""

    def __init__(self, root: Path, blank_figures: BlankFigures) -> None:
        self.root, self.blank_figures = root, blank_figures

    @cached_property
    def data(self) -> Path:
        """Two suites in a folder."""
        for seed, suite in enumerate(("MockTNG", "MockSIMBA")):
            write_suite(self.root / "data", suite, seed)
        return self.root / "data"

    @cached_property
    def snapshot(self) -> Path:
        """One snapshot; what projects it has been compiled then."""
        write_hydro_snapshot(self.root / "snapshot_090.hdf5")
        project_snapshots([self.root / "snapshot_090.hdf5"], PROJECT, self.root / "compiled", "cpu")
        return self.root / "snapshot_090.hdf5"

    @cached_property
    def network(self) -> Path:
        """The finished folder of `train`."""
        train(TRAIN, self.data, self.root / "network", "cpu")
        return self.root / "network"

    @cached_property
    def weights(self) -> Path:
        return self.network / "weights.safetensors"

    @cached_property
    def perceptron(self) -> Path:
        """Weights of a network that reads power spectra."""
        return train(SUMMARY, self.data, self.root / "summary", "cpu")

    @cached_property
    def unfinished(self) -> Path:
        """The folder of a `train` that was interrupted, with its resume.pt."""
        folder = self.root / "unfinished"
        try:
            train(replace(TRAIN, n_steps=40), self.data, folder, "cpu", _stop_at_step_20)
        except KeyboardInterrupt:
            assert (folder / "resume.pt").exists()
        return folder

    @cached_property
    def search(self) -> Path:
        """The finished folder of `tune`."""
        tune(TUNE, self.data, self.root / "search", "cpu")
        return self.root / "search"

    @cached_property
    def projected(self) -> Path:
        """The finished folder of `project`, with two snapshots beside it."""
        project_snapshots(self.snapshots, PROJECT, self.root / "projected", "cpu")
        return self.root / "projected"

    @cached_property
    def snapshots(self) -> list[Path]:
        paths = [self.root / f"snapshot_{number}.hdf5" for number in range(3)]
        for seed, path in enumerate(paths):
            write_hydro_snapshot(path, seed=seed)
        return paths

    @cached_property
    def half_projected(self) -> Path:
        """The folder of a `project` that was interrupted: plan.json, run-*.json, done-*.txt, map files."""
        folder = self.root / "half"
        try:
            project_snapshots(self.snapshots, PROJECT, folder, "cpu", listener=stop_after(1))
        except KeyboardInterrupt:
            assert list(folder.glob(".*.partial/plan.json"))
        return folder

    @cached_property
    def letter(self) -> Path:
        """The finished folder of a `letter` of four pairs and one null test on `data`."""
        with one_core(), self.blank_figures():
            assert main(["letter", "--data", str(self.data), "--out", str(self.root / "letter"), *LETTER_FLAGS]) == 0
        return self.root / "letter"


@contextmanager
def one_core() -> Iterator[None]:
    """Commands that spread their work over the cores do it in this process."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def copy(source: Path, target: Path) -> Path:
    """A copy to damage."""
    if source.is_dir():
        return Path(shutil.copytree(source, target, symlinks=True))
    return Path(shutil.copy(source, target))
