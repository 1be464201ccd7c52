from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fieldlevel.layout import CRITICAL_DENSITY, Layout

SuiteWriter = Callable[..., Path]


def latin_hypercube(n_simulations: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    low, high = Layout().lows, Layout().highs
    strata = np.array([rng.permutation(n_simulations) for _ in low]).T
    return low + (strata + 0.5) / n_simulations * (high - low)


def sound_maps(theta: np.ndarray, n_pixels: int, seed: int) -> np.ndarray:
    maps = np.random.default_rng(seed).lognormal(0.0, 1.0, (len(theta), 3, 5, n_pixels, n_pixels))
    maps *= 5 * CRITICAL_DENSITY * theta[:, 0, None, None, None, None] / maps.mean((2, 3, 4), keepdims=True)
    return maps.reshape(-1, n_pixels, n_pixels).astype("<f4")


@pytest.fixture
def write_suite(tmp_path: Path) -> SuiteWriter:
    """Writer of a sound suite in which the five slabs of an axis hold all the mass of the box."""

    def write(
        suite: str = "MockTNG",
        field: str = "Mtot",
        n_simulations: int = 8,
        n_pixels: int = 16,
        seed: int = 0,
        set_name: str = "LH",
    ) -> Path:
        theta = latin_hypercube(n_simulations, seed)
        maps = sound_maps(theta, n_pixels, seed)
        np.save(tmp_path / f"Maps_{field}_{suite}_{set_name}_z=0.00.npy", maps)
        np.savetxt(tmp_path / f"params_{set_name}_{suite}.txt", theta, fmt="%.6f")
        return tmp_path

    return write
