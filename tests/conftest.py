"""Small things that tests of several packages need: a letter, maps, a training, snapshots, a full disk."""

import gc
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tests run side by side, one thread each

import h5py
import numpy as np
import pytest
import torch
from hydro_snapshot import write_hydro_snapshot
from matplotlib.figure import Figure

from fieldlevel import files
from fieldlevel.data.split import SplitSpec
from fieldlevel.estimators.network_specs import NetworkSpec, PerceptronSpec
from fieldlevel.figures.style import save_figure
from fieldlevel.layout import CRITICAL_DENSITY, Layout
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.study.letter_data import prepare_data
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.training.presets import modern_preset
from fieldlevel.training.train_spec import OptimiserSpec, TrainSpec

CMD = Layout()

LONG = (
    "study/test_runner.py",
    "search/test_tune.py",
    "training/test_linear_gaussian.py",
    "training/test_known_posteriors.py",
    "training/test_parallel.py",
    "test_clusters.py",
    "training/test_joint_heads.py",
    "training/test_trainer.py",
    "training/test_methods.py",
    "test_interrupts.py",
    "test_cli.py",
    "snapshots/test_foreign_snapshots.py",
    "snapshots/test_snapshots.py",
    "study/test_robustness.py",
    "study/test_numerics.py",
    "simulate/test_variants.py",
    "mapmaking/test_projection.py",
    "training/test_joint_fit.py",
    "figures/test_figures_parameters.py",
    "training/test_invariance.py",
    "study/test_without_weights.py",
    "publish/test_letter_folder.py",
    "inference/test_trust.py",
)
"""Files of more than some ten seconds of one core, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first: a long file that is left to the end has one core wait for the other."""
    folder = Path(__file__).parent
    ranks = {folder / name: rank for rank, name in enumerate(LONG)}
    assert all(path.exists() for path in ranks), "LONG names a file of tests that is not there"
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What the tests import stays for good; looking through it again and again for garbage took a fifth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()
        gc.set_threshold(10_000)


N_SIMULATIONS = 8


def latin_hypercube(rng: np.random.Generator) -> np.ndarray:
    strata = np.array([rng.permutation(N_SIMULATIONS) for _ in CMD.lows]).T
    return CMD.lows + (strata + 0.5) / N_SIMULATIONS * (CMD.highs - CMD.lows)


@pytest.fixture(scope="session")
def tiny_letter() -> LetterSpec:
    """16 x 16 maps of 16^3 particles and a network that learns next to nothing: seconds."""
    split = SplitSpec(train=0.6, validation=0.2)
    return LetterSpec(
        smoothing=(1.0,),
        k_max=(1.0,),
        one_parameter_seeds=1,
        one_parameter_values=3,
        map_trials=2,
        summary_trials=2,
        summary=TrainSpec(
            inputs="power spectrum",
            perceptron=PerceptronSpec(n_layers=1, n_neurons=8),
            batch_size=16,
            n_steps=6,
            validate_every=3,
            split=split,
        ),
        simulate=SimulateSpec(n_simulations=10, n_particles=16, n_mesh=16, n_pixels=16),
        train=replace(
            modern_preset(),
            split=split,
            network=NetworkSpec(hidden=1),
            batch_size=16,
            n_steps=6,
            validate_every=3,
            statistics_batches=3,
            head_batches=3,
        ),
    )


@pytest.fixture(scope="session")
def with_maps(tiny_letter, tmp_path_factory) -> Callable[[Path], Path]:
    """Gives an output folder the maps of `tiny_letter`, which letters of those sizes find there as simulated before."""
    out = tmp_path_factory.mktemp("simulated")
    prepare_data(tiny_letter, None, out, device="cpu")

    def give(folder: Path) -> Path:
        shutil.copytree(out / "data", folder / "data")
        return folder

    return give


def save_name(_: Figure, stem: Path) -> tuple[Path, Path]:
    """In place of a figure its name."""
    blank = Figure((2, 1))
    blank.text(0, 0, stem.name)
    return save_figure(blank, stem)


@pytest.fixture(scope="session")
def draft_figures() -> Callable[[], AbstractContextManager[None]]:
    """Context in which letters draw all figures once, for dark pages, and save their names alone as PDF and PNG."""

    @contextmanager
    def draft() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fieldlevel.report.drawn_plates.save_figure", save_name)
            yield

    return draft


@pytest.fixture(scope="session")
def blank_figures(draft_figures) -> Callable[[], AbstractContextManager[None]]:
    """Context in which letters make all figures but save their names alone, for tests of what else they write."""

    @contextmanager
    def blank() -> Iterator[None]:
        with draft_figures(), pytest.MonkeyPatch.context() as patch:
            patch.setattr("fieldlevel.report.drawn_plates._dark_png", lambda _: b"")
            yield

    return blank


@pytest.fixture(scope="session", autouse=True)
def unflushed() -> Iterator[None]:
    """No test cuts the power, so none waits for the disk; those of flushing watch it themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small gain nothing from threads, and lose much where other work takes the cores."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture
def write_maps() -> Callable[[Path], Path]:
    """Writer of a folder with a sound suite of 8 simulations, 16 x 16 pixels; always the same."""

    def write(directory: Path) -> Path:
        directory.mkdir(exist_ok=True)
        rng = np.random.default_rng(0)
        theta = latin_hypercube(rng)
        maps = rng.lognormal(0.0, 1.0, (N_SIMULATIONS, 3, 5, 16, 16))
        mean = CRITICAL_DENSITY * CMD.slab_thickness_mpc_h * theta[:, 0]
        maps *= mean[:, None, None, None, None] / maps.mean((2, 3, 4), keepdims=True)
        np.save(directory / "Maps_Mtot_MockTNG_LH_z=0.00.npy", maps.reshape(-1, 16, 16).astype("<f4"))
        np.savetxt(directory / "params_LH_MockTNG.txt", theta, fmt="%.6f")
        return directory

    return write


@pytest.fixture
def directory(write_maps, tmp_path) -> Path:
    return write_maps(tmp_path / "data")


@pytest.fixture
def spec() -> TrainSpec:
    """30 steps of the smallest network, with dropout and augmentation, validated out of step with the reports."""
    return TrainSpec(
        split=SplitSpec(train=0.75, validation=0.125),
        network=NetworkSpec(hidden=1, dropout=0.3),
        optimiser=OptimiserSpec(learning_rate=1e-2),
        batch_size=16,
        n_steps=30,
        validate_every=8,
        statistics_batches=3,
        head_batches=3,
    )


@pytest.fixture
def full_disk(monkeypatch) -> Callable[[str], AbstractContextManager[None]]:
    """Context in which files of one name find no room where they are written aside."""
    create = files._create_aside

    @contextmanager
    def full(name: str) -> Iterator[None]:
        def without_room(path: Path) -> Path:
            aside = create(path)
            if path.name == name:
                aside.unlink()
                aside.symlink_to("/dev/full")
            return aside

        with monkeypatch.context() as patched:
            patched.setattr(files, "_create_aside", without_room)
            yield

    return full


@pytest.fixture
def write_hydro(tmp_path: Path) -> Callable[..., Path]:
    """Writer of small snapshots of gas and dark matter, as IllustrisTNG writes them; `change` edits the open file."""

    def write(
        name: str = "snapshot_090.hdf5", n: int = 40, seed: int = 0, change: Callable[[h5py.File], object] | None = None
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        write_hydro_snapshot(path, n, seed, identified=False)
        if change is not None:
            with h5py.File(path, "r+") as file:
                change(file)
        return path

    return write


@pytest.fixture(scope="session")
def write_dark_matter() -> Callable[..., Path]:
    """Writer of snapshots of 4,096 particles of dark matter alone, all over the box."""
    n = 4096

    def write(path: Path, Omega_m: float, box_mpc_h: float, seed: int) -> Path:
        numbers = [0, n, 0, 0, 0, 0]
        with h5py.File(path, "w") as file:
            file.create_group("Header").attrs.update(
                BoxSize=1e3 * box_mpc_h, Redshift=0.0, Omega0=Omega_m, OmegaLambda=1 - Omega_m, HubbleParam=0.7,
                NumFilesPerSnapshot=1, NumPart_ThisFile=numbers, NumPart_Total=numbers, MassTable=np.zeros(6),
                UnitLength_in_cm=3.085678e21, UnitMass_in_g=1.989e43, UnitVelocity_in_cm_per_s=1e5,
            )  # fmt: skip
            kind = file.create_group("PartType1")
            kind["Coordinates"] = np.random.default_rng(seed).uniform(0, 1e3 * box_mpc_h, (n, 3))
            kind["Masses"] = np.full(n, Omega_m * CRITICAL_DENSITY * box_mpc_h**3 / 1e10 / n)
            kind["Velocities"] = np.zeros((n, 3))
        return path

    return write
