"""Snapshots: the same particles written as every code writes them are read as the same particles."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from fieldlevel.errors import DataError, UserError
from fieldlevel.layout import CRITICAL_DENSITY
from fieldlevel.snapshots.members import fingerprint
from fieldlevel.snapshots.opening import open_snapshot
from fieldlevel.snapshots.parts import KINDS
from fieldlevel.snapshots.snapshot import Snapshot

BOX, A, H, OMEGA_M = 25.0, 0.5, 0.7, 0.3
KIND_OF = {0: "gas", 1: "dark matter", 4: "stars", 5: "black holes"}
FRACTION = {0: 0.14, 1: 0.84, 4: 0.015, 5: 0.005}
MASS = OMEGA_M * CRITICAL_DENSITY * BOX**3
TOLERANCE = {"rtol": 3e-6, "atol": 1e-30}  # single precision, with the rounding of a few products

Particles = dict[str, np.ndarray]


def make_particles(numbers: Mapping[int, int], seed: int = 0) -> dict[int, Particles]:
    """Particles in the units of `Snapshot`, by type."""
    rng = np.random.default_rng(seed)
    return {
        number: {
            "position": rng.uniform(0, BOX, (n, 3)),
            "mass": np.full(n, FRACTION[number] * MASS / n),
            "velocity": rng.normal(0, 300, (n, 3)),
            "smoothing length": rng.uniform(0.1, 1, n),
            "density": 10 ** rng.uniform(9, 15, n),
            "energy": 10 ** rng.uniform(1, 5, n),
            "electrons": rng.uniform(0, 1.16, n),
            "neutral": rng.uniform(0, 1, n),
            "star formation": np.where(rng.uniform(size=n) < 0.3, 1.0, 0.0),
            "metals": 10 ** rng.uniform(-6, -2, n),
        }
        for number, n in numbers.items()
    }


HYDRO = make_particles({0: 60, 1: 64, 4: 7, 5: 3})
TWO_TYPES = make_particles({0: 64, 1: 64})
TWO_TYPES[1]["mass"][:] = (1 - FRACTION[0]) * MASS / 64
NO_UNITS: dict[str, dict[str, object]] = {}
UNIT_OF = {"UnitLength_in_cm": 3.085678e21, "UnitMass_in_g": 1.989e43, "UnitVelocity_in_cm_per_s": 1e5}
GIZMO = {"UnitLength_In_CGS": 3.085678e21 / H, "UnitMass_In_CGS": 1.989e43 / H, "UnitVelocity_In_CGS": 1e5}
SWIFT = {"Unit length in cgs (U_L)": [3.08567758e24], "Unit mass in cgs (U_M)": [1.98841e43]}
GADGET_NAMES = {
    "velocity": "Velocities",
    "smoothing length": "SmoothingLength",
    "density": "Density",
    "energy": "InternalEnergy",
    "electrons": "ElectronAbundance",
    "neutral": "NeutralHydrogenAbundance",
    "star formation": "StarFormationRate",
    "metals": "GFM_Metallicity",
}
SWIFT_NAMES = GADGET_NAMES | {
    "smoothing length": "SmoothingLengths",
    "density": "Densities",
    "energy": "InternalEnergies",
    "metals": "MetalMassFractions",
}
DIMENSIONS = {  # length, mass, velocity, and the power of a in GADGET and in SWIFT
    "position": (1, 0, 0, 1, 1),
    "mass": (0, 1, 0, 0, 0),
    "velocity": (0, 0, 1, 0.5, 0),
    "smoothing length": (1, 0, 0, 1, 1),
    "density": (-3, 1, 0, -3, -3),
    "energy": (0, 0, 2, 0, -2),
}
PHYSICAL = {"velocity", "energy"}


@dataclass(frozen=True)
class Dialect:
    """How a code writes; `length` is its unit in Mpc/h, `mass` in Msun/h."""

    units: Mapping[str, Mapping[str, object]] = field(default_factory=lambda: NO_UNITS)
    length: float = 1e-3
    mass: float = 1e10
    swift: bool = False
    attributes: bool = False
    cosmology: str = "Header"
    omega_names: tuple[str, str, str] = ("Omega0", "OmegaLambda", "HubbleParam")
    mass_name: str | None = "Masses"
    n_types: int = 6
    dtype: str = "<f4"

    def encode(self, name: str, values: np.ndarray) -> np.ndarray:
        """In the units of the code."""
        length, mass, _, a, a_swift = DIMENSIONS.get(name, (0,) * 5)
        power = (a_swift if self.swift else a) if name in PHYSICAL else 0
        return (values / (self.length**length * self.mass**mass * A**power)).astype(self.dtype)

    def exponents(self, name: str) -> dict[str, object]:
        length, mass, velocity, a, a_swift = DIMENSIONS[name]
        cgs = 3.085678e21**length * 1.989e43**mass * 1e5**velocity
        if self.swift:
            return {"a-scale exponent": np.array([a_swift]), "h-scale exponent": np.array([0.0])}
        return {"a_scaling": a, "h_scaling": -length - mass, "to_cgs": cgs}


MPC_H = {"UnitLength_in_cm": 3.08568e24, "UnitMass_in_g": 1.989e43, "UnitVelocity_in_cm_per_s": 1e5}
SWIFT_UNITS = {"Units": SWIFT | {"Unit time in cgs (U_t)": [3.08567758e19]}}
DIALECTS: dict[str, Dialect] = {
    "GADGET-2 in kpc/h": Dialect(mass_name=None),
    "GADGET-2 in Mpc/h": Dialect(mass_name=None, length=1.0),
    "old GADGET": Dialect(mass_name="Mass", dtype=">f4"),
    "GADGET-4": Dialect(
        units={"Parameters": UNIT_OF}, cosmology="Parameters", attributes=True, mass_name=None, n_types=2
    ),
    "AREPO": Dialect(units={"Header": UNIT_OF}, attributes=True, dtype="<f8"),
    "AREPO without attributes": Dialect(units={"Header": UNIT_OF}),
    "AREPO by attributes alone": Dialect(attributes=True),
    "AREPO in Mpc/h": Dialect(units={"Header": MPC_H}, length=1.0),
    "EAGLE": Dialect(units={"Units": MPC_H}, length=1.0),
    "SIMBA": Dialect(),
    "GIZMO": Dialect(units={"Header": GIZMO}, omega_names=("Omega_Matter", "Omega_Lambda", "HubbleParam")),
    "SWIFT": Dialect(
        units=SWIFT_UNITS,
        length=H,
        mass=1e10 * H,
        swift=True,
        attributes=True,
        cosmology="Cosmology",
        omega_names=("Omega_m", "Omega_lambda", "h"),
        dtype="<f8",
    ),
}
DIALECTS["SWIFT without attributes"] = replace(DIALECTS["SWIFT"], attributes=False)
every_dialect = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS.keys())


def particles_of(dialect: Dialect) -> dict[int, Particles]:
    return TWO_TYPES if dialect.n_types == 2 else HYDRO


def count_types(particles: Mapping[int, Particles], dialect: Dialect) -> np.ndarray:
    return np.array([len(particles[n]["mass"]) if n in particles else 0 for n in range(dialect.n_types)])


def write_snapshot(
    path: Path,
    dialect: Dialect,
    particles: Mapping[int, Particles] | None = None,
    total: Mapping[int, Particles] | None = None,
    n_files: int = 1,
) -> Path:
    """Write a file of a snapshot as a code does."""
    particles = particles_of(dialect) if particles is None else particles
    table = [particles[n]["mass"][0] / dialect.mass if n in particles else 0.0 for n in range(dialect.n_types)]
    with h5py.File(path, "w") as file:
        header = file.create_group("Header").attrs
        side = BOX / dialect.length
        header["BoxSize"] = [side] * 3 if dialect.swift else side
        header["Redshift"] = [1 / A - 1] if dialect.swift else 1 / A - 1
        header["NumFilesPerSnapshot"] = n_files
        header["NumPart_ThisFile"] = count_types(particles, dialect)
        header["NumPart_Total"] = count_types(total or particles, dialect).astype(np.uint32)
        header["NumPart_Total_HighWord"] = np.zeros(dialect.n_types, np.uint32)
        header["MassTable"] = table if dialect.mass_name is None else np.zeros(dialect.n_types)
        cosmology = file.require_group(dialect.cosmology).attrs
        for name, value in zip(dialect.omega_names, (OMEGA_M, 1 - OMEGA_M, H), strict=True):
            cosmology[name] = value
        for group, attributes in dialect.units.items():
            file.require_group(group).attrs.update(attributes)
        names = {"position": "Coordinates"} | (SWIFT_NAMES if dialect.swift else GADGET_NAMES)
        names |= {"mass": dialect.mass_name} if dialect.mass_name else {}
        for number, values in particles.items():
            for name, stored in names.items():
                dataset = file.create_dataset(f"PartType{number}/{stored}", data=dialect.encode(name, values[name]))
                if dialect.attributes and name in DIMENSIONS:
                    dataset.attrs.update(dialect.exponents(name))
    return path


def write_files(folder: Path, dialect: Dialect, n_files: int) -> list[Path]:
    """Write one snapshot as several files."""
    whole = particles_of(dialect)
    parts = [
        {number: {name: np.array_split(array, n_files)[i] for name, array in values.items()}
         for number, values in whole.items() if len(np.array_split(values["mass"], n_files)[i])}
        for i in range(n_files)
    ]  # fmt: skip
    return [write_snapshot(folder / f"snap_033.{i}.hdf5", dialect, parts[i], whole, n_files) for i in range(n_files)]


def edit(path: Path, change: Callable[[h5py.File], object]) -> Path:
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def same(a: Snapshot, b: Snapshot, quantities: tuple[str, ...] = ("position", "mass", "velocity")) -> None:
    assert a.n_particles == b.n_particles
    for kind in KINDS:
        first, second = a.read(kind, quantities), b.read(kind, quantities)
        for name in quantities:
            np.testing.assert_array_equal(first[name], second[name])


@every_dialect
def test_every_dialect_gives_the_same_particles(dialect, tmp_path):
    snapshot = open_snapshot(write_snapshot(tmp_path / "snap_033.hdf5", dialect))
    facts = (snapshot.box_size_mpc_h, snapshot.redshift, snapshot.Omega_m, snapshot.Omega_lambda, snapshot.h)
    assert facts == pytest.approx((BOX, 1 / A - 1, OMEGA_M, 1 - OMEGA_M, H))
    for number, truth in particles_of(dialect).items():
        read = snapshot.read(KIND_OF[number], ["position", "mass", "velocity", "smoothing length"])
        for name, values in read.items():
            np.testing.assert_allclose(values, truth[name], **TOLERANCE, err_msg=name)


@every_dialect
def test_every_dialect_gives_the_same_gas(dialect, tmp_path):
    snapshot = open_snapshot(write_snapshot(tmp_path / "snap_033.hdf5", dialect))
    reference = open_snapshot(write_snapshot(tmp_path / "reference.hdf5", DIALECTS["AREPO"], particles_of(dialect)))
    names = ["density", "temperature", "pressure", "metallicity", "neutral hydrogen mass", "electron density"]
    gas, expected = snapshot.read("gas", names), reference.read("gas", names)
    for name in names:
        np.testing.assert_allclose(gas[name], expected[name], **TOLERANCE, err_msg=name)
    np.testing.assert_allclose(gas["density"], particles_of(dialect)[0]["density"], **TOLERANCE)


@every_dialect
def test_masses_give_omega_m(dialect, tmp_path):
    snapshot = open_snapshot(write_snapshot(tmp_path / "snap_033.hdf5", dialect))
    mass = sum(snapshot.read(kind, ["mass"], dtype=np.float64)["mass"].sum() for kind in KINDS)
    assert mass / CRITICAL_DENSITY / BOX**3 == pytest.approx(OMEGA_M, rel=1e-6)


@every_dialect
def test_several_files_are_one_snapshot(dialect, tmp_path):
    whole = open_snapshot(write_snapshot(tmp_path / "whole.hdf5", dialect))
    folder = tmp_path / "snapdir_033"
    folder.mkdir()
    files = write_files(folder, dialect, 4)
    for name in (folder, files[0], files[2], folder / "snap_033", folder / "snap_033.hdf5"):
        split = open_snapshot(name)
        assert split.files == tuple(files)
        assert split.path == name
        same(split, whole)


@pytest.mark.parametrize("max_particles", [1, 7, 60, 1000])
def test_chunks_are_the_whole(max_particles, tmp_path):
    write_files(tmp_path, DIALECTS["AREPO"], 3)
    snapshot = open_snapshot(tmp_path)
    names = ("position", "mass", "temperature")
    chunks = list(snapshot.chunks("gas", names, max_particles))
    assert max(len(chunk["mass"]) for chunk in chunks) <= max_particles
    whole = snapshot.read("gas", names)
    for name in names:
        np.testing.assert_array_equal(np.concatenate([chunk[name] for chunk in chunks]), whole[name])


def test_no_more_than_a_chunk_is_read_from_disk(tmp_path, monkeypatch):
    snapshot = open_snapshot(write_snapshot(tmp_path / "snap.hdf5", DIALECTS["AREPO"]))
    rows, get = [], h5py.Dataset.__getitem__

    def watch(dataset, which, **options):
        values = get(dataset, which, **options)
        rows.append(len(values))
        return values

    monkeypatch.setattr(h5py.Dataset, "__getitem__", watch)
    list(snapshot.chunks("gas", ["position", "pressure"], 8))
    assert max(rows) == 8


@pytest.mark.parametrize(("stored", "asked", "expected"), [
    ("<f4", None, np.float32), ("<f8", None, np.float64), (">f8", None, np.float64),
    ("<f4", np.float64, np.float64), ("<f8", np.float32, np.float32),
])  # fmt: skip
@pytest.mark.parametrize("mass_name", ["Masses", None])
def test_precision(stored, asked, expected, mass_name, tmp_path):
    dialect = replace(DIALECTS["AREPO"], dtype=stored, mass_name=mass_name)
    snapshot = open_snapshot(write_snapshot(tmp_path / "snap.hdf5", dialect))
    arrays = snapshot.read("gas", ["position", "mass", "velocity", "temperature"], asked)
    assert {array.dtype for array in arrays.values()} == {np.dtype(expected)}
    assert all(array.dtype.isnative and array.flags.c_contiguous for array in arrays.values())


@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
@pytest.mark.parametrize("side", [25.0, 67.77, 100.1])
def test_positions_are_wrapped_into_the_box(dtype, side, tmp_path):
    path = write_snapshot(tmp_path / "snap.hdf5", replace(DIALECTS["AREPO in Mpc/h"], dtype=dtype))
    odd = np.array([-1e-9, 0.0, side, side + 1, -1, np.nextafter(np.float32(side), 0)], dtype)

    def change(file):
        file["Header"].attrs["BoxSize"] = side
        file["PartType1/Coordinates"][:] *= side / BOX
        file["PartType1/Coordinates"][:6, 0] = odd

    x = open_snapshot(edit(path, change)).read("dark matter", ["position"])["position"][:, 0]
    assert ((x >= 0) & (x.astype(np.float64) < side)).all()
    assert x[2] < 1e-5
    np.testing.assert_allclose(x[3:5], [1, side - 1], rtol=1e-5)
    np.testing.assert_array_equal(x[5], odd[5])
    assert min(x[0], side - x[0]) < 1e-5


def test_every_type_but_gas_stars_and_black_holes_is_dark_matter(tmp_path):
    dark = make_particles({1: 40})[1]
    types = {1: dark, 2: {name: array[:5] for name, array in dark.items()}, 3: dark}
    snapshot = open_snapshot(write_snapshot(tmp_path / "snap.hdf5", DIALECTS["AREPO"], types))
    assert dict(snapshot.n_particles) == {"gas": 0, "dark matter": 85, "stars": 0, "black holes": 0}
    position = snapshot.read("dark matter", ["position"])["position"]
    np.testing.assert_array_equal(position[40:45], position[:5])


def test_tracers_are_no_matter(tmp_path):
    path = write_snapshot(tmp_path / "snap.hdf5", DIALECTS["AREPO"])

    def change(file):
        header = file["Header"].attrs
        header["NumPart_ThisFile"] = header["NumPart_ThisFile"] + 9 * np.eye(6, dtype=int)[3]
        header["NumPart_Total"] = header["NumPart_Total"] + 9 * np.eye(6, dtype=int)[3]
        header["MassTable"] = 1e-4 * np.eye(6)[3]
        file["PartType3/TracerID"] = np.arange(9)

    assert open_snapshot(edit(path, change)).n_particles["dark matter"] == 64


def test_kinds_without_particles_are_empty(tmp_path):
    snapshot = open_snapshot(write_snapshot(tmp_path / "snap.hdf5", DIALECTS["GADGET-4"]))
    stars = snapshot.read("stars", ["position", "mass"], np.float64)
    assert stars["position"].shape == (0, 3)
    assert stars["mass"].shape == (0,)
    assert not list(snapshot.chunks("stars", ["mass"]))
    assert not snapshot.has("stars", "mass")


def test_has_tells_what_can_be_read(tmp_path):
    path = write_snapshot(tmp_path / "snap.hdf5", DIALECTS["AREPO"])
    snapshot = open_snapshot(edit(path, lambda file: file["PartType0"].pop("ElectronAbundance")))
    assert snapshot.has("gas", "pressure")
    assert not snapshot.has("gas", "temperature")
    assert not snapshot.has("gas", "magnetic field")
    with pytest.raises(DataError, match=r"no temperature in /PartType0; it needs InternalEnergy.* ElectronAbundance"):
        snapshot.read("gas", ["temperature"])


def test_temperatures_are_taken_as_stored_where_they_cannot_be_computed(tmp_path):
    path = write_snapshot(tmp_path / "snap.hdf5", DIALECTS["SWIFT"])

    def change(file):
        del file["PartType0/ElectronAbundance"]
        file["PartType0/Temperatures"] = np.full(60, 1e5)

    temperature = open_snapshot(edit(path, change)).read("gas", ["temperature"])["temperature"]
    np.testing.assert_array_equal(temperature, 1e5)


@pytest.mark.parametrize("attributes", [{}, {"a_scaling": -2.0, "h_scaling": 1.0, "to_cgs": 2.60191e-6}])
def test_magnetic_fields_of_arepo(attributes, tmp_path):
    path = write_snapshot(tmp_path / "snap.hdf5", DIALECTS["AREPO"])

    def change(file):
        file["PartType0/MagneticField"] = np.tile([0.0, 3.0, -4.0], (60, 1))
        file["PartType0/MagneticField"].attrs.update(attributes)

    strength = open_snapshot(edit(path, change)).read("gas", ["magnetic field"])["magnetic field"]
    np.testing.assert_allclose(strength, 5 * 2.602e-6 * H / A**2, rtol=1e-4)


def test_attributes_of_zeros_state_nothing(tmp_path):
    path = write_snapshot(tmp_path / "snap.hdf5", DIALECTS["AREPO"])
    expected = open_snapshot(path).read("gas", ["velocity"])["velocity"]
    zeros = {"a_scaling": 0.0, "h_scaling": 0.0, "to_cgs": 0.0}
    edit(path, lambda file: file["PartType0/Velocities"].attrs.update(zeros))
    np.testing.assert_array_equal(open_snapshot(path).read("gas", ["velocity"])["velocity"], expected)


def test_numbers_of_particles_beyond_32_bits(tmp_path):
    path = write_snapshot(tmp_path / "snap.hdf5", DIALECTS["AREPO"])
    edit(path, lambda file: file["Header"].attrs.__setitem__("NumPart_Total_HighWord", [0, 2, 0, 0, 0, 0]))
    with pytest.raises(DataError, match=f"NumPart_Total says .*{2 * 2**32 + 64}"):
        open_snapshot(path)


@pytest.mark.parametrize("name", ["GADGET-2 in kpc/h", "GADGET-2 in Mpc/h"])
def test_a_wrong_mass_leaves_the_unit_unknown_until_it_is_given(name, tmp_path):
    path = write_snapshot(tmp_path / "snap.hdf5", DIALECTS[name])
    edit(path, lambda file: file["Header"].attrs.__setitem__("Omega0", 0.4))
    with pytest.raises(UserError, match=r"unknown unit of length: no UnitLength_in_cm.*/Parameters.*--length-unit"):
        open_snapshot(path)
    given = name.removeprefix("GADGET-2 in ")
    assert open_snapshot(path, given).box_size_mpc_h == pytest.approx(BOX)


def set_header(name: str, value: object) -> Callable[[h5py.File], object]:
    return lambda file: file["Header"].attrs.__setitem__(name, value)


def put(value: float) -> Callable[[h5py.File], object]:
    return lambda file: file["PartType1/Coordinates"].__setitem__((5, 1), value)


def put_dataset(name: str, values: np.ndarray) -> Callable[[h5py.File], object]:
    return lambda file: (file.pop(name), file.__setitem__(name, values))


def put_group(name: str) -> Callable[[h5py.File], object]:
    return lambda file: (file.pop(name), file.create_group(name))


BROKEN: dict[str, tuple[Callable[[h5py.File], object], str]] = {
    "no header": (lambda file: file.pop("Header"), "no group /Header"),
    "no box": (lambda file: file["Header"].attrs.pop("BoxSize"), "no attribute BoxSize in /Header, /Parameters"),
    "no Omega_m": (lambda file: file["Header"].attrs.pop("Omega0"), "no attribute Omega0 or OmegaMatter"),
    "no redshift": (lambda file: file["Header"].attrs.pop("Redshift"), "no attribute Redshift"),
    "no counts": (lambda file: file["Header"].attrs.pop("NumPart_ThisFile"), "no attribute NumPart_ThisFile"),
    "empty cosmology": (set_header("Omega0", 0.0), "Omega_m is 0"),
    "a brick": (set_header("BoxSize", [25e3, 25e3, 50e3]), "only cubes"),
    "no box at all": (set_header("BoxSize", 0.0), "size of the box is 0"),
    "no particles": (set_header("NumPart_ThisFile", np.zeros(6, int)), "no particles"),
    "other total": (set_header("NumPart_Total", [60, 65, 0, 0, 7, 3]), "NumPart_Total says"),
    "other length": (set_header("NumPart_ThisFile", [60, 63, 0, 0, 7, 3]), "NumPart_ThisFile counts 63"),
    "a missing group": (lambda file: file.pop("PartType4"), "no dataset Coordinates for the 7 particles of /PartType4"),
    "no masses": (lambda file: file["PartType1"].pop("Masses"), "no dataset Masses or Mass .*MassTable"),
    "not a number": (put(np.nan), "1 numbers of position in /PartType1 are not finite"),
    "infinite": (put(np.inf), "1 numbers of position in /PartType1 are not finite"),
    "far outside": (put(1e6), "in a box of 25 Mpc/h"),
    "box too large": (set_header("BoxSize", 25e6), "particles fill 24.* of a box of 2.5e.04"),
    "box too small": (set_header("BoxSize", 25.0), "in a box of 0.025 Mpc/h"),
    "a lost file": (set_header("NumFilesPerSnapshot", 3), "one of 3 files, but without a number"),
    "fewer files than none": (set_header("NumFilesPerSnapshot", -2), r"NumFilesPerSnapshot of /Header is \[-2\]"),
    "high words without low ones": (set_header("NumPart_Total_HighWord", [0] * 6 + [1]), "NumPart_Total says"),
    "a table of one mass": (
        lambda file: (file["PartType1"].pop("Masses"), set_header("MassTable", 1.0)(file)),
        "no mass in MassTable for the 64",
    ),
    "a mass that is none": (set_header("MassTable", [0, np.nan, 0, 0, 0, 0]), "MassTable of /Header is .*nan.*from 0"),
    "a negative mass": (set_header("MassTable", [0, -1.0, 0, 0, 0, 0]), "MassTable of /Header is .*-1.*from 0"),
    "a box in words": (set_header("BoxSize", "large"), r"BoxSize of /Header is \['large'\]"),
    "an empty box": (set_header("BoxSize", h5py.Empty("f8")), "BoxSize of /Header is"),
    "no numbers of a box": (set_header("BoxSize", np.zeros(0)), r"BoxSize of /Header is \[\]"),
    "an infinite box": (set_header("BoxSize", np.inf), r"BoxSize of /Header is \[inf\]"),
    "an empty redshift": (set_header("Redshift", np.zeros(0)), "Redshift of /Header is"),
    "the end of time": (set_header("Redshift", -1.0), r"Redshift of /Header is \[-1.0\]; mend it"),
    "no such redshift": (set_header("Redshift", np.nan), r"Redshift of /Header is \[nan\]"),
    "a unit in words": (set_header("UnitLength_in_cm", "kpc"), "UnitLength_in_cm of /Header"),
    "an empty unit": (set_header("UnitLength_in_cm", np.zeros(0)), "UnitLength_in_cm of /Header"),
    "counts in words": (set_header("NumPart_ThisFile", "many"), "NumPart_ThisFile of /Header is"),
    "negative counts": (set_header("NumPart_ThisFile", [60, -64, 0, 0, 7, 3]), "NumPart_ThisFile of /Header is"),
    "exponents in words": (
        lambda file: file["PartType1/Coordinates"].attrs.__setitem__("a_scaling", "one"),
        "a_scaling of /PartType1/Coordinates is",
    ),
    "a plane": (put_dataset("PartType1/Coordinates", np.ones((64, 2))), r"has the shape \(64, 2\).*\(64, 3\)"),
    "a line": (put_dataset("PartType1/Coordinates", np.ones(64)), r"has the shape \(64,\)"),
    "positions in words": (
        put_dataset("PartType1/Coordinates", np.full((64, 3), b"x")),
        r"numbers of the shape \(64, 3\), and holds \|S1",
    ),
    "a group of positions": (put_group("PartType1/Coordinates"), "no dataset Coordinates for the 64"),
    "a dataset of gas": (put_dataset("PartType0", np.ones(3)), "no dataset Coordinates for the 60"),
    "a header of numbers": (put_dataset("Header", np.ones(3)), "no group /Header"),
}


@pytest.mark.parametrize(("change", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_snapshots_get_one_clear_line(change, message, tmp_path):
    path = edit(write_snapshot(tmp_path / "snap.hdf5", DIALECTS["AREPO"]), change)
    with pytest.raises(DataError, match=message) as caught:
        open_snapshot(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "1 numbers of position in /PartType1 are not finite"), (1e6, "in a box of 25 Mpc/h")],
)
def test_a_bad_position_that_opening_did_not_see_is_found_when_read(value, message, tmp_path):
    path = write_snapshot(tmp_path / "snap.hdf5", DIALECTS["AREPO"], make_particles({1: 20_000}))
    edit(path, lambda file: file["PartType1/Coordinates"].__setitem__((700, 2), value))
    snapshot = open_snapshot(path)
    with pytest.raises(DataError, match=message):
        snapshot.read("dark matter", ["position"])


def test_a_dataset_of_another_length_is_refused(tmp_path):
    path = write_snapshot(tmp_path / "snap.hdf5", DIALECTS["AREPO"])

    def change(file):
        del file["PartType0/Density"]
        file["PartType0/Density"] = np.ones(59)

    with pytest.raises(DataError, match=r"/PartType0/Density has the shape \(59,\), but NumPart_ThisFile counts 60"):
        open_snapshot(edit(path, change)).read("gas", ["density"])


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e35])
def test_numbers_that_are_not_finite_are_refused(value, tmp_path):
    path = write_snapshot(tmp_path / "snap.hdf5", DIALECTS["SIMBA"])
    snapshot = open_snapshot(path)
    edit(path, lambda file: file["PartType0/Masses"].__setitem__(3, value))
    with pytest.raises(DataError, match="1 numbers of mass in /PartType0 are not finite"):
        snapshot.read("gas", ["mass"])


@pytest.mark.parametrize("size", [0, 700, 20_000])
def test_truncated_files(size, tmp_path):
    path = write_snapshot(tmp_path / "snap.hdf5", DIALECTS["AREPO"])
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match="cannot be read as HDF5"):
        open_snapshot(path)


@pytest.mark.parametrize("structure", [b"TREE", b"SNOD", b"HEAP"])
def test_damaged_files(structure, tmp_path):
    path = write_snapshot(tmp_path / "snap.hdf5", DIALECTS["AREPO"])
    path.write_bytes(path.read_bytes().replace(structure, b"\0\0\0\0"))
    with pytest.raises(DataError, match="cannot be read as HDF5"):
        open_snapshot(path)


def test_missing_files_are_named(tmp_path):
    files = write_files(tmp_path, DIALECTS["AREPO"], 4)
    files[1].unlink()
    files[3].unlink()
    with pytest.raises(DataError, match=r"2 of 4 files are missing: snap_033\.1\.hdf5, snap_033\.3\.hdf5"):
        open_snapshot(files[2])


def test_no_such_snapshot(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        open_snapshot(tmp_path / "snap_000.hdf5")
    with pytest.raises(DataError, match=r"no \.hdf5 files"):
        open_snapshot(tmp_path)


def test_a_folder_holds_one_snapshot(tmp_path):
    write_snapshot(tmp_path / "fof_subhalo_tab_033.hdf5", DIALECTS["SIMBA"])
    write_snapshot(tmp_path / "snap_033.hdf5", DIALECTS["SIMBA"])
    assert open_snapshot(tmp_path).files == (tmp_path / "snap_033.hdf5",)
    write_snapshot(tmp_path / "snap_032.hdf5", DIALECTS["SIMBA"])
    with pytest.raises(DataError, match=r"2 snapshots in this folder \(snap_032, snap_033\)"):
        open_snapshot(tmp_path)


def test_unknown_names(tmp_path):
    snapshot = open_snapshot(write_snapshot(tmp_path / "snap.hdf5", DIALECTS["SIMBA"]))
    with pytest.raises(UserError, match="'stras' is no kind of particles; choose from gas, dark matter"):
        snapshot.read("stras", ["mass"])
    with pytest.raises(UserError, match="'charge' is no quantity of particles; choose from position"):
        snapshot.has("gas", "charge")
    with pytest.raises(UserError, match="at least one"):
        next(snapshot.chunks("gas", ["mass"], 0))


@pytest.mark.parametrize(
    ("name", "quantity", "values"),
    [
        ("Masses", "mass", np.ones((64, 1))),
        ("Masses", "mass", np.ones((64, 3))),
        ("Velocities", "velocity", np.ones(64)),
        ("Velocities", "velocity", np.full((64, 3), b"fast")),
    ],
)
def test_datasets_of_another_shape_are_refused(name, quantity, values, tmp_path):
    path = write_snapshot(tmp_path / "snap.hdf5", DIALECTS["AREPO"])
    snapshot = open_snapshot(edit(path, put_dataset(f"PartType1/{name}", values)))
    with pytest.raises(DataError, match=rf"/PartType1/{name} has the shape .* must hold numbers of the shape \(64"):
        snapshot.read("dark matter", [quantity])


def test_short_and_scalar_high_words_are_zero_where_they_say_nothing(tmp_path):
    path = write_snapshot(tmp_path / "snap.hdf5", DIALECTS["AREPO"])
    for value in (0, [0, 0]):
        assert open_snapshot(edit(path, set_header("NumPart_Total_HighWord", value))).n_particles["gas"] == 60


def test_types_of_two_precisions_are_read_in_the_wider(tmp_path):
    dark = make_particles({1: 40})[1]
    path = write_snapshot(tmp_path / "snap.hdf5", DIALECTS["AREPO"], {1: dark, 2: dark})
    exact = open_snapshot(path).read("dark matter", ["position"])["position"]
    edit(path, lambda file: put_dataset("PartType1/Coordinates", file["PartType1/Coordinates"][:].astype("<f4"))(file))
    mixed = open_snapshot(path).read("dark matter", ["position"])["position"]
    assert mixed.dtype == np.float64
    np.testing.assert_array_equal(mixed[40:], exact[40:])


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    path = write_snapshot(tmp_path / "snap.hdf5", DIALECTS["AREPO"])

    def refuse(*arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(h5py, "File", refuse)
    with pytest.raises(DataError, match=r"snap\.hdf5: permission denied; make the file readable"):
        open_snapshot(path)


def test_the_fingerprint_is_that_of_the_content(tmp_path):
    path = write_snapshot(tmp_path / "snap.hdf5", DIALECTS["AREPO"])
    known = fingerprint([path])
    copy = tmp_path / "copy.h5"
    copy.write_bytes(path.read_bytes())
    assert fingerprint([copy]) == known
    for change in (set_header("Time", 0.5), put(1.0), lambda file: file["PartType4/Masses"].__setitem__(2, 1.0)):
        assert fingerprint([edit(copy, change)]) != known
        copy.write_bytes(path.read_bytes())
