"""Snapshots: attributes, datasets, links, types and bytes of HDF5 files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from artefacts import PROJECT, PROJECT_FLAGS, copy
from contract import cases, is_finite
from hostile import byte_damage, damaged_bytes
from hypothesis import strategies as st

from fieldlevel.mapmaking.projection import project_snapshots
from fieldlevel.snapshots.opening import open_snapshot

ATTRIBUTES = [
    "BoxSize",
    "Redshift",
    "Time",
    "Omega0",
    "OmegaLambda",
    "HubbleParam",
    "NumFilesPerSnapshot",
    "NumPart_ThisFile",
    "NumPart_Total",
    "NumPart_Total_HighWord",
    "MassTable",
    "UnitLength_in_cm",
    "UnitMass_in_g",
    "UnitVelocity_in_cm_per_s",
    "Origin",
    "sigma_8",
    "A_SN1",
    "Omega_m",
    "Flag_DoublePrecision",
]
VALUES = {
    "zero": 0,
    "one": 1,
    "negative": -1,
    "nan": np.nan,
    "inf": np.inf,
    "tiny": 5e-324,
    "huge": 1e308,
    "big int": 2**63 - 1,
    "unsigned": np.uint64(2**64 - 1),
    "text": "x",
    "bytes": b"\xff\xfe",
    "empty text": "",
    "long text": "A" * 60_000,
    "line": "a\nb",
    "escape": "\x1b[31m",
    "none": h5py.Empty("f8"),
    "empty list": np.zeros(0),
    "one of six": [5],
    "six zeros": [0] * 6,
    "six negative": [-1] * 6,
    "six huge": [2**62] * 6,
    "six nan": [np.nan] * 6,
    "seven": [40, 40, 0, 0, 0, 0, 0],
    "many": [1] * 7000,
    "matrix": np.ones((6, 6)),
    "true": True,
    "complex": 1 + 2j,
    "float counts": [40.5, 40, 0, 0, 0, 0],
    "half": np.float16(0.5),
    "long double": np.longdouble(0.3),
    "list of text": ["a", "b"],
    "compound": np.array((1, 2.0), dtype=[("a", "i4"), ("b", "f8")]),
    "sides": [25e3, 25e3, 25e3],
    "no cube": [25e3, 25e3, 24e3],
    "big endian": np.array(0.3, ">f8"),
    "ten thousand": 10_000,
    "trillion": 10**12,
    "reference": "REFERENCE",
    "vlen": "VLEN",
    "enum": "ENUM",
    "missing": "MISSING",
    "array of arrays": [[40] * 6] * 2,
    "string number": "0.7",
    "opaque": np.void(b"abc"),
}


def set_attribute(file: h5py.File, name: str, value: Any) -> None:
    attributes = file["Header"].attrs
    special = isinstance(value, str) and value in ("REFERENCE", "VLEN", "ENUM", "MISSING")
    if not special:
        attributes[name] = value
    elif value == "REFERENCE":
        attributes.create(name, file.ref, dtype=h5py.ref_dtype)
    elif value == "VLEN":
        content = np.empty(6, dtype=object)
        content[:] = [np.arange(3.0)] * 6
        attributes.create(name, content, dtype=h5py.vlen_dtype(np.float64))
    elif value == "ENUM":
        attributes.create(name, 1, dtype=h5py.enum_dtype({"A": 0, "B": 1}))
    elif name in attributes:
        del attributes[name]


PLACES = [
    f"PartType{number}/{name}"
    for number, names in (
        (0, ("Coordinates", "Masses", "Density", "SmoothingLength", "InternalEnergy", "Velocities")),
        (1, ("Coordinates", "Masses", "Velocities")),
    )
    for name in names
] + ["PartType0", "PartType1", "Header"]


def _fill(value: float) -> Callable[[h5py.File, str], None]:
    def change(file: h5py.File, place: str) -> None:
        if isinstance(file[place], h5py.Dataset) and (file[place].size or 0) < 1000:
            file[place][:] = value

    return change


def _one(value: float) -> Callable[[h5py.File, str], None]:
    def change(file: h5py.File, place: str) -> None:
        if isinstance(file[place], h5py.Dataset) and (file[place].size or 0) < 1000:
            file[place][3] = value

    return change


def _instead(make: Callable[[h5py.File, str, np.ndarray], Any]) -> Callable[[h5py.File, str], None]:
    def change(file: h5py.File, place: str) -> None:
        values = (
            file[place][()]
            if isinstance(file[place], h5py.Dataset) and (file[place].size or 0) < 1000
            else np.zeros((40, 3))
        )
        del file[place]
        made = make(file, place, values)
        if made is not None:
            file[place] = made

    return change


def _dataset(**keywords: Any) -> Callable[[h5py.File, str], None]:
    def make(file: h5py.File, place: str, values: np.ndarray) -> None:
        file.create_dataset(place, **{"data": values, **keywords})

    return _instead(make)


def _sparse(shape: tuple[int, ...], **keywords: Any) -> Callable[[h5py.File, str], None]:
    def make(file: h5py.File, place: str, _: np.ndarray) -> None:
        file.create_dataset(place, shape, "f8", **keywords)

    return _instead(make)


def _vlen(_file: h5py.File, place: str, values: np.ndarray) -> None:
    dataset = _file.create_dataset(place, (len(values),), h5py.vlen_dtype(np.float64))
    dataset[0] = [1.0, 2.0]


def _virtual(file: h5py.File, place: str, values: np.ndarray) -> None:
    layout = h5py.VirtualLayout(values.shape, "f8")
    layout[:20] = h5py.VirtualSource("absent.hdf5", place, (20, *values.shape[1:]))
    file.create_virtual_dataset(place, layout)


def _virtual_gap(file: h5py.File, place: str, values: np.ndarray) -> None:
    layout = h5py.VirtualLayout(values.shape, "f8")
    file["hidden"] = values
    layout[:20] = h5py.VirtualSource(".", "hidden", values.shape)[:20]
    file.create_virtual_dataset(place, layout)


def _external_storage(file: h5py.File, place: str, values: np.ndarray) -> None:
    file.create_dataset(place, values.shape, "f8", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])


CHANGES: dict[str, Callable[[h5py.File, str], None]] = {
    "taken away": lambda file, place: file.__delitem__(place),
    "nan": _fill(np.nan),
    "inf": _fill(np.inf),
    "zero": _fill(0),
    "negative": _fill(-5.0),
    "huge": _fill(1e300),
    "tiny": _fill(1e-300),
    "one nan": _one(np.nan),
    "one inf": _one(-np.inf),
    "one huge": _one(1e300),
    "one negative": _one(-1e-3),
    "one beyond": _one(25e3),
    "one far beyond": _one(1e9),
    "equal": _fill(12.5e3),
    "text": _instead(lambda *_: "x"),
    "scalar": _instead(lambda *_: 1.0),
    "empty": _instead(lambda *_: h5py.Empty("f8")),
    "a group": _instead(lambda file, place, _: file.create_group(place) and None),
    "no rows": _dataset(data=np.zeros((0, 3))),
    "short": _instead(lambda _f, _p, values: values[:-1]),
    "long": _instead(lambda _f, _p, values: np.concatenate([values, values])),
    "flat": _instead(lambda _f, _p, v: v.reshape(-1)),
    "column": _instead(lambda _f, _p, v: v.reshape(len(v), -1, 1)),
    "two columns": _instead(lambda *_: np.ones((40, 2))),
    "four axes": _instead(lambda *_: np.ones((40, 3, 1, 1))),
    "transposed": _instead(lambda _f, _p, v: v.T),
    "int": _instead(lambda _f, _p, v: v.astype("i8")),
    "unsigned": _instead(lambda _f, _p, v: v.astype("u2")),
    "half": _instead(lambda _f, _p, v: v.astype("f2")),
    "bool": _instead(lambda _f, _p, v: v > 0),
    "big endian": _instead(lambda _f, _p, v: v.astype(">f4")),
    "complex": _instead(lambda _f, _p, v: v.astype("c16")),
    "long double": _instead(lambda _f, _p, v: v.astype("longdouble")),
    "strings": _instead(lambda _f, _p, v: np.array([b"abc"] * len(v))),
    "compound": _instead(lambda *_: np.zeros(40, [("a", "f4"), ("b", "f8")])),
    "opaque": _instead(lambda *_: np.zeros(40, "V8")),
    "enum": _dataset(data=np.zeros((40, 3), "i4"), dtype=h5py.enum_dtype({"a": 0})),
    "object references": _instead(lambda file, place, _: file.create_dataset(place, (40,), h5py.ref_dtype) and None),
    "text of any length": _instead(
        lambda file, place, _: file.create_dataset(place, (40,), h5py.string_dtype()) and None
    ),
    "lists of any length": _instead(_vlen),
    "array type": _instead(lambda f, p, _: f.create_dataset(p, (40,), np.dtype(("f8", (3,)))) and None),
    "gzip": _dataset(compression="gzip", chunks=True),
    "lzf": _dataset(compression="lzf", chunks=True),
    "shuffled": _dataset(shuffle=True, fletcher32=True, chunks=True),
    "scale-offset": _dataset(scaleoffset=3, chunks=True),
    "unlimited": _instead(lambda f, p, v: f.create_dataset(p, data=v, maxshape=(None, *v.shape[1:])) and None),
    "trillion rows": _sparse((10**12, 3), chunks=(1000, 3)),
    "trillion flat": _sparse((10**12,), chunks=(1000,)),
    "billion rows": _sparse((10**9, 3), chunks=(1000, 3)),
    "never written": _sparse((40, 3)),
    "never written, filled": _sparse((40, 3), fillvalue=np.nan),
    "link to nothing": _instead(lambda *_: h5py.SoftLink("/no/such")),
    "link to itself": _instead(lambda _f, p, _: h5py.SoftLink(f"/{p}")),
    "link to the root": _instead(lambda *_: h5py.SoftLink("/")),
    "link to the header": _instead(lambda *_: h5py.SoftLink("/Header")),
    "link elsewhere": _instead(lambda *_: h5py.ExternalLink("/etc/passwd", "/")),
    "link to no file": _instead(lambda *_: h5py.ExternalLink("absent.hdf5", "/x")),
    "link to a device": _instead(lambda *_: h5py.ExternalLink("/dev/zero", "/x")),
    "hard link to the root": _instead(lambda file, *_: file["/"]),
    "a type": _instead(lambda file, place, _: np.dtype("f8")),
    "virtual": _instead(_virtual),
    "virtual with a gap": _instead(_virtual_gap),
    "storage elsewhere": _instead(_external_storage),
    "of a-scaling nan": lambda file, place: file[place].attrs.update(a_scaling=np.nan, h_scaling=0, to_cgs=1.0),
    "of to_cgs zero": lambda file, place: file[place].attrs.update(a_scaling=1, h_scaling=-1, to_cgs=0.0),
    "of to_cgs text": lambda file, place: file[place].attrs.update(a_scaling="x", h_scaling=[1, 2], to_cgs=b"1"),
    "of to_cgs huge": lambda file, place: file[place].attrs.update(a_scaling=1e10, h_scaling=-300, to_cgs=1e300),
}

attribute_changes = st.lists(
    st.tuples(st.sampled_from(ATTRIBUTES), st.sampled_from(sorted(VALUES))), min_size=1, max_size=2
)
dataset_changes = st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(sorted(CHANGES))), min_size=1, max_size=2)
fields = st.sampled_from([("Mtot",), ("Mtot",), ("Mgas", "T"), ("Vcdm", "HI"), ("ne", "P", "Z", "B"), ("Mstar",)])
targets = st.sampled_from(["open", "open", "project", "command", "no mass"])
units = st.sampled_from([None, None, None, "kpc/h", "Mpc/h"])


def use(bench, kind: str, path: Path, target: str, field: tuple[str, ...], unit: str | None, case) -> None:
    """Open a snapshot and read it, or make maps of it."""
    flags = [*PROJECT_FLAGS, "--fields", *field, *(["--length-unit", unit] if unit else [])]
    if target == "open":
        case.library(lambda: _read(path, unit), path.name, sensible=is_finite)
    elif target == "project":
        from dataclasses import replace  # noqa: PLC0415

        spec = replace(PROJECT, fields=field, length_unit=unit)
        case.library(lambda: project_snapshots([path], spec, case.out, "cpu"), path.name)
    elif target == "command":
        case.command("project", path, "--out", case.out, *flags, names=[path.name])
    else:
        case.command("project", path, "--no-check-mass", "--out", case.out, *flags, names=[path.name])


def _read(path: Path, unit: str | None) -> list[Any]:
    snapshot = open_snapshot(path, unit)
    facts = [snapshot.box_size_mpc_h, snapshot.redshift, snapshot.Omega_m, snapshot.h, snapshot.mass_ratio()]
    return [*facts, *(snapshot.read(kind, ["position", "mass"]) for kind in snapshot.n_particles)]


@cases(
    24,
    400,
    changes=attribute_changes,
    target=targets,
    field=fields,
    unit=units,
    seeds=[
        {"changes": [("BoxSize", "tiny")], "target": "open", "field": ("Mtot",), "unit": None},
        {"changes": [("NumPart_ThisFile", "huge")], "target": "no mass", "field": ("Mtot",), "unit": None},
        {"changes": [("BoxSize", "long text")], "target": "open", "field": ("Mtot",), "unit": None},
    ],
)
def test_attributes(bench, valid, changes, target, field, unit):
    with bench.case("HDF5 attributes", (changes, target, field, unit)) as case:
        path = copy(valid.snapshot, case.folder / "snapshot_090.hdf5")
        with h5py.File(path, "r+") as file:
            for name, value in changes:
                set_attribute(file, name, VALUES[value])
        use(bench, "HDF5 attributes", path, target, field, unit, case)


@cases(32, 500, changes=dataset_changes, target=targets, field=fields, unit=units)
def test_datasets(bench, valid, changes, target, field, unit):
    with bench.case("HDF5 structure", (changes, target, field, unit)) as case:
        path = copy(valid.snapshot, case.folder / "snapshot_090.hdf5")
        with h5py.File(path, "r+") as file:
            for place, change in changes:
                try:
                    with np.errstate(all="ignore"):
                        CHANGES[change](file, place)
                except (KeyError, TypeError, ValueError, OSError, RuntimeError, AttributeError):
                    continue  # the second change does not fit what the first has left
        use(bench, "HDF5 structure", path, target, field, unit, case)


@cases(16, 300, damage=byte_damage, target=targets, field=fields, again=st.booleans())
def test_bytes(bench, valid, damage, target, field, again):
    with bench.case("HDF5 bytes", (damage, target, field)) as case:
        path = copy(valid.snapshot, case.folder / "snapshot_090.hdf5")
        content = damaged_bytes(path.read_bytes(), damage)
        path.write_bytes(damaged_bytes(content, ("flip", 1 - damage[1], damage[2])) if again else content)
        use(bench, "HDF5 bytes", path, target, field, None, case)
