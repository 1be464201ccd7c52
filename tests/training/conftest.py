from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from fieldlevel import files
from fieldlevel.data.split import SplitSpec
from fieldlevel.estimators.network_specs import NetworkSpec
from fieldlevel.layout import CRITICAL_DENSITY, Layout
from fieldlevel.training.train_spec import OptimiserSpec, TrainSpec

CMD = Layout()

N_SIMULATIONS = 8


def latin_hypercube(rng: np.random.Generator) -> np.ndarray:
    strata = np.array([rng.permutation(N_SIMULATIONS) for _ in CMD.lows]).T
    return CMD.lows + (strata + 0.5) / N_SIMULATIONS * (CMD.highs - CMD.lows)


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
