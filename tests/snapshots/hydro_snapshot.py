"""Writing a small snapshot with gas, for tests of several packages."""

from pathlib import Path

import h5py
import numpy as np

from fieldlevel.layout import CRITICAL_DENSITY


def write_hydro_snapshot(path: Path, n: int = 40, seed: int = 0, *, identified: bool = True) -> Path:
    """Gas and dark matter as IllustrisTNG writes them, n of each; perhaps without what is not needed to make maps."""
    rng = np.random.default_rng(seed)
    mass = 0.3 * CRITICAL_DENSITY * 25**3 / 1e10 * rng.dirichlet(np.full(2 * n, 9.0)).reshape(2, n)
    with h5py.File(path, "w") as file:
        file.create_group("Header").attrs.update(
            BoxSize=25e3, Redshift=0.0, Omega0=0.3, OmegaLambda=0.7, HubbleParam=0.7, NumFilesPerSnapshot=1,
            NumPart_ThisFile=[n, n, 0, 0, 0, 0], NumPart_Total=[n, n, 0, 0, 0, 0],
            MassTable=np.zeros(6),
            UnitLength_in_cm=3.085678e21, UnitMass_in_g=1.989e43, UnitVelocity_in_cm_per_s=1e5,
        )  # fmt: skip
        if identified:
            file["Header"].attrs.update(Time=1.0, NumPart_Total_HighWord=np.zeros(6, "u4"))
        for number in range(2):
            kind = file.create_group(f"PartType{number}")
            kind["Coordinates"] = rng.uniform(0, 25e3, (n, 3))
            kind["Masses"] = mass[number]
            kind["Velocities"] = rng.normal(0, 100, (n, 3))
            if identified:
                kind["ParticleIDs"] = np.arange(n)
        gas = file["PartType0"]
        gas["Density"] = 10 ** rng.uniform(-9, -5, n)
        gas["InternalEnergy"] = 10 ** rng.uniform(1, 5, n)
        gas["SmoothingLength"] = rng.uniform(200, 4000, n)
        gas["MagneticField"] = rng.normal(0, 1, (n, 3))
        gas["GFM_Metallicity"] = 10 ** rng.uniform(-5, -2, n)
        gas["ElectronAbundance"] = rng.uniform(0, 1.16, n)
        gas["NeutralHydrogenAbundance"] = rng.uniform(0, 1, n)
    return path
