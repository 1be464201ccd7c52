"""Snapshots of mock simulations in the HDF5 layout of CAMELS: kpc/h, 1e10 Msun/h, km/s sqrt(a).

References:
    Villaescusa-Navarro et al. 2023, arXiv:2201.01300 (CAMELS data release).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fieldlevel.extras import need
from fieldlevel.files import make_folder, written_aside
from fieldlevel.layout import CRITICAL_DENSITY, Layout
from fieldlevel.numerics.cosmology import OMEGA_B, Growth
from fieldlevel.simulate.feedback import HydroParticles, Species
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.suites import HUBBLE, MOCK_ORIGIN, layout_of

if TYPE_CHECKING:
    import h5py

SNAPSHOT_NAME = "snapshot_090.hdf5"
"""Today, as CAMELS numbers it."""

_KPC_CM, _MASS_G, _KM_CM = 3.085678e21, 1.989e43, 1e5
_N_TYPES = 6
_TYPES = {"Mgas": 0, "Mcdm": 1, "Mstar": 4}


def write_snapshot(
    path: Path, suite: str, kinds: HydroParticles, spec: SimulateSpec, parameters: Sequence[float]
) -> None:
    """Write the particles of one simulation today.

    Args:
        path: of the file; complete or absent.
        suite: that they are of, or the gravity-only twin.
        kinds: particles by the field that each kind makes.
        spec: their resolution.
        parameters: of the simulation; as many as the suite has, of which Omega_m and sigma_8 are the first, are kept in
            the header, from where `fieldlevel project` takes them.
    """
    counts = np.zeros(_N_TYPES, dtype=np.int64)
    for name, species in kinds.items():
        counts[_TYPES[name]] = len(species.position)
    layout, hdf5 = layout_of(suite, spec.set_name), need("h5py")
    make_folder(path.parent)
    with written_aside(path) as aside, hdf5.File(aside, "w") as file:
        file.create_group("Header").attrs.update(_header(counts, suite, layout, parameters))
        for name, species in kinds.items():
            _write_kind(file.create_group(f"PartType{_TYPES[name]}"), species, spec, layout, parameters[0])


def _header(counts: np.ndarray, suite: str, layout: Layout, parameters: Sequence[float]) -> dict[str, object]:
    Omega_m = parameters[0]
    return dict(zip(layout.names, parameters, strict=False)) | {
        "BoxSize": layout.box_size_mpc_h * 1e3,
        "HubbleParam": HUBBLE,
        "MassTable": np.zeros(_N_TYPES),
        "NumFilesPerSnapshot": 1,
        "NumPart_ThisFile": counts.astype(np.int32),
        "NumPart_Total": counts.astype(np.uint32),
        "NumPart_Total_HighWord": np.zeros(_N_TYPES, dtype=np.uint32),
        "Omega0": Omega_m,
        "OmegaLambda": 1 - Omega_m,
        "OmegaBaryon": OMEGA_B,
        "Redshift": 0.0,
        "Time": 1.0,
        "UnitLength_in_cm": _KPC_CM,
        "UnitMass_in_g": _MASS_G,
        "UnitVelocity_in_cm_per_s": _KM_CM,
        "Origin": np.bytes_(MOCK_ORIGIN),
        "Suite": np.bytes_(suite),
    }


def _write_kind(group: "h5py.Group", species: Species, spec: SimulateSpec, layout: Layout, Omega_m: float) -> None:
    """Peculiar velocities today are dx/dD dD/da H_0, with H_0 = 100 km/s per Mpc/h."""
    box = layout.box_size_mpc_h
    cell_kpc_h = box * 1e3 / spec.n_mesh
    km_s = cell_kpc_h / 1e3 * 100 * float(Growth(Omega_m).dD_da(1.0))
    particle_mass = CRITICAL_DENSITY * Omega_m * box**3 / spec.n_particles**3 / 1e10
    position = species.position.double().remainder(spec.n_mesh).mul(cell_kpc_h)
    group["Coordinates"] = position.cpu().numpy()
    group["Velocities"] = species.velocity.mul(km_s).cpu().numpy()
    group["Masses"] = np.full(len(position), species.mass * particle_mass, dtype=np.float32)
    group["ParticleIDs"] = species.number.cpu().numpy().astype(np.uint32)
