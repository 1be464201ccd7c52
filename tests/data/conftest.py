from collections.abc import Callable
from pathlib import Path

import h5py
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


@pytest.fixture
def write_hydro(tmp_path: Path) -> Callable[..., Path]:
    """Writer of small snapshots of gas and dark matter, as IllustrisTNG writes them; `change` edits the open file."""

    def write(
        name: str = "snapshot_090.hdf5", n: int = 40, seed: int = 0, change: Callable[[h5py.File], object] | None = None
    ) -> Path:
        rng = np.random.default_rng(seed)
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        mass = 0.3 * CRITICAL_DENSITY * 25**3 / 1e10 * rng.dirichlet(np.full(2 * n, 9.0)).reshape(2, n)
        with h5py.File(path, "w") as file:
            file.create_group("Header").attrs.update(
                BoxSize=25e3, Redshift=0.0, Omega0=0.3, OmegaLambda=0.7, HubbleParam=0.7, NumFilesPerSnapshot=1,
                NumPart_ThisFile=[n, n, 0, 0, 0, 0], NumPart_Total=[n, n, 0, 0, 0, 0], MassTable=np.zeros(6),
                UnitLength_in_cm=3.085678e21, UnitMass_in_g=1.989e43, UnitVelocity_in_cm_per_s=1e5,
            )  # fmt: skip
            for number in range(2):
                kind = file.create_group(f"PartType{number}")
                kind["Coordinates"] = rng.uniform(0, 25e3, (n, 3))
                kind["Masses"] = mass[number]
                kind["Velocities"] = rng.normal(0, 100, (n, 3))
            gas = file["PartType0"]
            gas["Density"] = 10 ** rng.uniform(-9, -5, n)
            gas["InternalEnergy"] = 10 ** rng.uniform(1, 5, n)
            gas["SmoothingLength"] = rng.uniform(200, 4000, n)
            gas["MagneticField"] = rng.normal(0, 1, (n, 3))
            gas["GFM_Metallicity"] = 10 ** rng.uniform(-5, -2, n)
            gas["ElectronAbundance"] = rng.uniform(0, 1.16, n)
            gas["NeutralHydrogenAbundance"] = rng.uniform(0, 1, n)
            if change is not None:
                change(file)
        return path

    return write
