"""Snapshots as others write, cut and damage them: right, or refused in one line before anything is written."""

import builtins
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from fieldlevel.errors import DataError, UserError
from fieldlevel.mapmaking.project_spec import ProjectSpec
from fieldlevel.mapmaking.projection import project_snapshots
from fieldlevel.snapshots.hdf5_files import open_hdf5
from fieldlevel.snapshots.headers import read_header
from fieldlevel.snapshots.opening import open_snapshot

MINE = ProjectSpec(n_pixels=16, n_neighbours=8)
CUT = replace(MINE, check_mass=False)
MAPS = "out/Maps_Mtot_Mine_LH_z=0.00.npy"
N = 40

Change = Callable[[h5py.File], object]


def header(**facts: object) -> Change:
    return lambda file: file["Header"].attrs.update(facts)


def without(*names: str) -> Change:
    return lambda file: [file["Header"].attrs.pop(name) for name in names]


def both(*changes: Change) -> Change:
    return lambda file: [change(file) for change in changes]


def scaled(group: str, factor: float) -> Change:
    def change(file: h5py.File) -> None:
        file[f"{group}/Coordinates"][:] *= factor

    return change


def replaced(name: str, values: object, **options: object) -> Change:
    def change(file: h5py.File) -> None:
        del file[name]
        file.create_dataset(name, data=values, **options)

    return change


def refuse(paths: Path | list[Path], spec: ProjectSpec, out: Path, *words: str) -> str:
    """Project, expect one line with these words and nothing left; give the line."""
    with pytest.raises(UserError) as caught:
        project_snapshots(paths if isinstance(paths, list) else [paths], spec, out / "out")
    told = str(caught.value)
    assert "\n" not in told
    assert not (out / "out").exists()
    for word in words:
        assert word in told
    return told


# Numbers of particles


@pytest.mark.parametrize("high", [None, [0] * 6, [0, 1, 0, 0, 0, 0]], ids=["no word", "zero", "redundant"])
def test_totals_of_64_bits_are_not_cut(write_hydro, tmp_path, high):
    n = 2**32 + 10
    facts = {"NumPart_Total": np.array([0, n, 0, 0, 0, 0], np.uint64), "NumPart_ThisFile": np.array([0, n], np.uint64)}
    facts |= {} if high is None else {"NumPart_Total_HighWord": np.array(high, np.uint32)}

    def change(file):
        file["Header"].attrs.update(facts)
        del file["PartType1/Coordinates"]
        file["PartType1"].create_dataset("Coordinates", (n, 3), np.float32, chunks=(2**16, 3))

    path = write_hydro(change=change)
    with open_hdf5(path) as file:
        assert read_header(file).n_total == ((0, n, 0, 0, 0, 0),)
    told = refuse(path, MINE, tmp_path, f"says to hold {n} x 3 numbers", "ever written")
    assert "NumPart_Total" not in told


@pytest.mark.parametrize(
    ("total", "kind", "high", "is_right"),
    [
        ([N, N], np.uint64, [0, 0], True),
        ([N, N], np.uint64, [7, 7], True),
        ([N, N], np.int32, None, True),
        ([N, N], np.uint32, [1, 0], False),
        ([2**32 + N, N], np.uint64, [1, 0], False),
        ([N, N + 1], np.uint64, None, False),
        ([-1, N], np.int32, None, False),
        ([N, -1], np.int64, None, False),
        ([float(N), float(N)], np.float64, None, True),
    ],
)
def test_totals_are_read_as_they_are_meant(write_hydro, total, kind, high, is_right):
    facts = {"NumPart_Total": np.array(total, kind), "NumPart_ThisFile": np.array([N, N], np.int32)}
    facts |= {} if high is None else {"NumPart_Total_HighWord": np.array(high, np.uint32)}
    path = write_hydro(n=N, change=header(**facts))
    if is_right:
        assert open_snapshot(path).n_particles["gas"] == N
    else:
        with pytest.raises(DataError, match="NumPart_Total says"):
            open_snapshot(path)


def test_particles_are_counted_where_no_header_does(write_hydro, tmp_path):
    path = write_hydro(change=without("NumPart_ThisFile", "NumPart_Total", "NumFilesPerSnapshot"))
    assert open_snapshot(path).n_particles["gas"] == N
    assert project_snapshots([path], MINE, tmp_path / "out") == []


def test_particles_that_no_memory_holds_are_refused_before_they_are_read(write_hydro, tmp_path):
    """With a value for all in place of positions, so that the file is small."""
    n = 10**12

    def change(file):
        file["Header"].attrs.update(NumPart_Total=[N, n, 0, 0, 0, 0], NumPart_ThisFile=[N, n, 0, 0, 0, 0])
        for name, shape in (("Coordinates", (n, 3)), ("Masses", (n,))):
            del file[f"PartType1/{name}"]
            file["PartType1"].create_dataset(
                name, shape, np.float32, chunks=(shape[1:] and (64, 3)) or (64,), fillvalue=1.0
            )
        for start in range(0, n, n // 16 - 1):
            file["PartType1/Coordinates"][start : start + 9] = np.random.default_rng(start).uniform(0, 25e3, (9, 3))

    path = write_hydro(change=change)
    refuse(path, CUT, tmp_path, f"{n} particles of dark matter", "GB of memory")


def test_without_units_too_many_particles_are_not_weighed(write_hydro, tmp_path):
    n = 10**12

    def change(file):
        without("UnitLength_in_cm", "UnitMass_in_g", "UnitVelocity_in_cm_per_s")(file)
        file["Header"].attrs.update(NumPart_Total=[N, n, 0, 0, 0, 0], NumPart_ThisFile=[N, n, 0, 0, 0, 0])
        del file["PartType1/Masses"], file["PartType1/Coordinates"]
        file["PartType1"].create_dataset("Coordinates", (n, 3), np.float32, chunks=(64, 3), fillvalue=1.0)
        file["PartType1"].create_dataset("Masses", (n,), np.float32, chunks=(64,), fillvalue=1.0)

    refuse(write_hydro(change=change), MINE, tmp_path, "to weigh", "--length-unit")


# What lies in other files


def write_virtual(write_hydro: Callable[..., Path], folder: Path, n_files: int = 4) -> tuple[Path, list[Path]]:
    """A virtual file over several, as SWIFT writes it, and these."""
    folder.mkdir(exist_ok=True)
    whole = write_hydro("whole.hdf5")
    sources = [folder / f"part.{number}.hdf5" for number in range(n_files)]
    path = folder / "virtual.hdf5"
    with h5py.File(whole) as file, h5py.File(path, "w") as virtual:
        virtual.create_group("Header").attrs.update(file["Header"].attrs)
        for group in ("PartType0", "PartType1"):
            for name, dataset in file[group].items():
                layout = h5py.VirtualLayout(dataset.shape, dataset.dtype)
                for rows, source in zip(np.array_split(np.arange(N), n_files), sources, strict=True):
                    with h5py.File(source, "a") as part:
                        part[f"{group}/{name}"] = dataset[rows[0] : rows[-1] + 1]
                        layout[rows[0] : rows[-1] + 1] = h5py.VirtualSource(
                            source.name, f"{group}/{name}", part[f"{group}/{name}"].shape
                        )
                virtual.create_virtual_dataset(f"{group}/{name}", layout)
    return path, sources


def test_a_virtual_file_is_the_whole(write_hydro, tmp_path, monkeypatch):
    path, _ = write_virtual(write_hydro, tmp_path / "virtual")
    monkeypatch.chdir(tmp_path)
    for number, each in enumerate((tmp_path / "whole.hdf5", path, Path("virtual/virtual.hdf5"))):
        project_snapshots([each], MINE, tmp_path / str(number))
    maps = [np.load(tmp_path / str(number) / Path(MAPS).name) for number in range(3)]
    np.testing.assert_array_equal(maps[1], maps[0])
    np.testing.assert_array_equal(maps[2], maps[0])


def cut_short(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        for name in ("PartType1/Coordinates", "PartType1/Masses"):
            replaced(name, file[name][:-1])(file)


def empty(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["PartType1/Masses"]
        file["PartType1"].create_dataset("Masses", (10,), np.float64)


def move_out(path: Path) -> None:
    target = path.parent.parent / "elsewhere.hdf5"
    path.rename(target)
    path.symlink_to(target)


@pytest.mark.parametrize("spec", [MINE, CUT])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (Path.unlink, "part.2.hdf5, which is missing"),
        (cut_short, "which has the shape (9, 3), less than is taken"),
        (lambda path: h5py.File(path, "w").close(), "part.2.hdf5, which is missing there"),
        (empty, "were ever written"),
        (move_out, "part.2.hdf5, outside of the folder"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "part.2.hdf5: is a pipe"),
        (lambda path: path.write_bytes(b"no HDF5"), "part.2.hdf5: cannot be read"),
    ],
    ids=["absent", "short", "empty", "unwritten", "a link to elsewhere", "a pipe", "not HDF5"],
)
def test_a_source_that_is_not_whole_is_named(write_hydro, tmp_path, damage, words, spec):
    path, sources = write_virtual(write_hydro, tmp_path / "virtual")
    damage(sources[2])
    refuse(path, spec, tmp_path, words)


def partly_mapped(file: h5py.File) -> None:
    values = file["PartType1/Coordinates"][:]
    del file["PartType1/Coordinates"]
    file["kept"] = values
    layout = h5py.VirtualLayout(values.shape, values.dtype)
    layout[: N // 2] = h5py.VirtualSource(".", "kept", values.shape)[: N // 2]
    file.create_virtual_dataset("PartType1/Coordinates", layout)


def mapped_to_itself(file: h5py.File) -> None:
    del file["PartType1/Masses"]
    layout = h5py.VirtualLayout((N,), float)
    layout[:] = h5py.VirtualSource(".", "PartType1/Masses", (N,))
    file.create_virtual_dataset("PartType1/Masses", layout)


def unwritten(name: str, **options: object) -> Change:
    def change(file: h5py.File) -> None:
        shape = file[name].shape
        del file[name]
        file.create_dataset(name, shape, np.float32, **options)

    return change


def partly_written(file: h5py.File) -> None:
    unwritten("PartType1/Coordinates", chunks=(8, 3))(file)
    file["PartType1/Coordinates"][:16] = np.random.default_rng(0).uniform(0, 25e3, (16, 3))


def linked(name: str, link: object) -> Change:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = link

    return change


def stored_in(name: str, path: str, size: int = h5py.h5f.UNLIMITED) -> Change:
    def change(file: h5py.File) -> None:
        shape = file[name].shape
        del file[name]
        file.create_dataset(name, shape, np.float64, external=[(path, 0, size)])

    return change


def by_pattern(file: h5py.File) -> None:
    """One source for every ten rows, as many as there are files."""
    for number in range(N // 10):
        with h5py.File(Path(file.filename).with_name(f"part{number}.hdf5"), "w") as part:
            part["x"] = np.ones(10)
    rows, source = h5py.h5s.create_simple((N,), (h5py.h5s.UNLIMITED,)), h5py.h5s.create_simple((10,))
    rows.select_hyperslab((0,), (h5py.h5s.UNLIMITED,), (10,), (10,))
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_virtual(rows, b"part%b.hdf5", b"x", source)
    del file["PartType1/Masses"]
    h5py.h5d.create(file["PartType1"].id, b"Masses", h5py.h5t.IEEE_F64LE, rows, dcpl=properties)


OUTSIDE = "outside of the folder"
UNREACHABLE: dict[str, tuple[Change, str]] = {
    "half mapped": (partly_mapped, "only 60 of 120 numbers have a source"),
    "mapped to itself": (mapped_to_itself, "in a circle"),
    "never written": (unwritten("PartType1/Coordinates"), "ever written"),
    "never written in chunks": (unwritten("PartType1/Coordinates", chunks=(8, 3)), "ever written"),
    "masses never written": (unwritten("PartType1/Masses"), "ever written"),
    "half written": (partly_written, "says to hold 40 x 3 numbers"),
    "elsewhere": (linked("PartType1", h5py.ExternalLink("../other.hdf5", "PartType1")), OUTSIDE),
    "anywhere": (linked("PartType1/Masses", h5py.ExternalLink("/etc/passwd", "x")), OUTSIDE),
    "a header elsewhere": (linked("Header", h5py.ExternalLink("../other.hdf5", "Header")), OUTSIDE),
    "through a link": (linked("PartType1", h5py.ExternalLink("up/other.hdf5", "PartType1")), OUTSIDE),
    "through a soft link": (
        lambda file: (
            linked("PartType1", h5py.SoftLink("/far/PartType1"))(file),
            file.__setitem__("far", h5py.ExternalLink("../other.hdf5", "/")),
        ),
        OUTSIDE,
    ),
    "a missing file": (linked("PartType1", h5py.ExternalLink("gone.hdf5", "PartType1")), "gone.hdf5, which is missing"),
    "a missing member": (
        linked("PartType1", h5py.ExternalLink("beside.hdf5", "PartType7")),
        "beside.hdf5, which is missing there",
    ),
    "a pipe": (linked("PartType1", h5py.ExternalLink("pipe", "PartType1")), "pipe: is a pipe"),
    "a circle": (
        lambda file: (
            linked("PartType1", h5py.SoftLink("/loop"))(file),
            file.__setitem__("loop", h5py.SoftLink("/PartType1")),
        ),
        "in a circle",
    ),
    "nowhere": (linked("PartType1", h5py.SoftLink("/nothing")), "no dataset Coordinates"),
    "bytes of another file": (stored_in("PartType1/Masses", "/etc/passwd"), OUTSIDE),
    "bytes above": (stored_in("PartType1/Masses", "../bytes"), OUTSIDE),
    "missing bytes": (stored_in("PartType1/Masses", "bytes"), "0 bytes of 320"),
    "a pipe of bytes": (stored_in("PartType1/Masses", "pipe"), "is a pipe"),
    "too few bytes": (stored_in("PartType1/Masses", "few"), "4 bytes of 320"),
    "sources by a pattern": (by_pattern, "named by a pattern"),
    "sources above": (
        lambda file: (file["PartType1"].pop("Masses"), file.create_virtual_dataset("PartType1/Masses", above())),
        OUTSIDE,
    ),
}


def above() -> h5py.VirtualLayout:
    layout = h5py.VirtualLayout((N,), float)
    layout[:] = h5py.VirtualSource("up/../other.hdf5", "PartType1/Masses", (N,))
    return layout


@pytest.mark.parametrize(("change", "words"), UNREACHABLE.values(), ids=UNREACHABLE.keys())
def test_what_is_not_in_the_folder_of_the_snapshot_is_refused(write_hydro, tmp_path, change, words, monkeypatch):
    """A folder with a sound snapshot beside, above, a link to the folder above, and a pipe."""
    inside = tmp_path / "inside"
    inside.mkdir()
    for name in ("other.hdf5", "inside/beside.hdf5"):
        write_hydro(name, seed=5)
    np.zeros(N).tofile(tmp_path / "bytes")
    (inside / "few").write_bytes(b"four")
    (inside / "up").symlink_to(tmp_path)
    os.mkfifo(inside / "pipe")
    monkeypatch.chdir(inside)
    refuse(write_hydro("inside/snap.hdf5", change=change), MINE, tmp_path, words)


def test_what_is_in_the_folder_is_taken(write_hydro, tmp_path):
    whole = write_hydro("whole.hdf5")
    (tmp_path / "below").mkdir()
    write_hydro("below/dark.hdf5")
    change = both(
        linked("PartType1", h5py.ExternalLink("below/dark.hdf5", "PartType1")),
        lambda file: file.__setitem__("PartType2", file["PartType0"]),
        linked("PartType0", h5py.SoftLink("/PartType2")),
    )
    for number, path in enumerate((whole, write_hydro("linked.hdf5", change=change))):
        project_snapshots([path], MINE, tmp_path / str(number))
    first, second = (np.load(tmp_path / str(number) / Path(MAPS).name) for number in range(2))
    np.testing.assert_array_equal(first, second)


# Filters


@pytest.fixture
def blosc():
    return pytest.importorskip("hdf5plugin").Blosc()


def compressed(file: h5py.File, blosc: object) -> None:
    for name in ("PartType0/Coordinates", "PartType1/Coordinates", "PartType1/Masses"):
        replaced(name, file[name][:], compression=blosc, chunks=True)(file)


def test_compressed_snapshots_are_read(write_hydro, tmp_path, blosc):
    paths = [write_hydro("plain.hdf5"), write_hydro("blosc.hdf5", change=lambda file: compressed(file, blosc))]
    for number, path in enumerate(paths):
        project_snapshots([path], MINE, tmp_path / str(number))
    first, second = (np.load(tmp_path / str(number) / Path(MAPS).name) for number in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_missing_filter_names_the_package(write_hydro, tmp_path, blosc, monkeypatch):
    path = write_hydro(change=lambda file: compressed(file, blosc))
    imported = builtins.__import__

    def without_plugin(name, *arguments, **options):
        if name == "hdf5plugin":
            raise ImportError(name)
        return imported(name, *arguments, **options)

    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: code < 32000)
    monkeypatch.delitem(sys.modules, "hdf5plugin")
    monkeypatch.setattr(builtins, "__import__", without_plugin)
    refuse(path, MINE, tmp_path, "/PartType", "blosc (HDF5 filter 32001)", "pip install hdf5plugin")


def test_a_filter_that_nobody_has_is_told(write_hydro, tmp_path, blosc, monkeypatch):
    path = write_hydro(change=lambda file: compressed(file, blosc))
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: code < 32000)
    refuse(path, MINE, tmp_path, "which hdf5plugin has not either")


# Facts

THIN = without("BoxSize", "Redshift", "Omega0", "OmegaLambda", "HubbleParam", "MassTable",
               "UnitLength_in_cm", "UnitMass_in_g", "UnitVelocity_in_cm_per_s")  # fmt: skip


def small(file: h5py.File) -> None:
    """Everything in a corner of the box, as in a cut-out."""
    for group in ("PartType0", "PartType1"):
        file[f"{group}/Coordinates"][:] = file[f"{group}/Coordinates"][:] / 10 + 9e3


def test_all_missing_facts_are_told_at_once(write_hydro, tmp_path):
    path = write_hydro(change=THIN)
    options = ["--box-size-mpc-h", "--omega-m", "--redshift", "--length-unit"]
    told = refuse(path, MINE, tmp_path, *options, "BoxSize", "Omega0", "Redshift or Time", "UnitLength_in_cm")
    assert "Hubble" not in told
    assert "Lambda" not in told
    without_mass = refuse(path, CUT, tmp_path, "--box-size-mpc-h", "--redshift and --length-unit")
    assert "--omega-m" not in without_mass


FACTS = {"box_size_mpc_h": 25.0, "redshift": 0.0, "length_unit": "kpc/h"}


@pytest.mark.parametrize("is_cut", [False, True])
def test_options_fill_what_a_header_lacks(write_hydro, tmp_path, is_cut):
    change = small if is_cut else lambda file: None
    spec = CUT if is_cut else MINE
    thin = replace(spec, **FACTS, Omega_m=None if is_cut else 0.3)
    project_snapshots([write_hydro("full.hdf5", change=change)], spec, tmp_path / "full")
    project_snapshots([write_hydro("thin.hdf5", change=both(change, THIN))], thin, tmp_path / "thin")
    first, second = (np.load(tmp_path / name / Path(MAPS).name) for name in ("full", "thin"))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("lacking", ["BoxSize", "Redshift", "Omega0"])
def test_each_fact_is_asked_for_by_its_option(write_hydro, tmp_path, lacking):
    field, option = {
        "BoxSize": ({"box_size_mpc_h": 25}, "--box-size-mpc-h"),
        "Redshift": ({"redshift": 0}, "--redshift"),
        "Omega0": ({"Omega_m": 0.3}, "--omega-m"),
    }[lacking]
    path = write_hydro(change=without(lacking))
    told = refuse(path, MINE, tmp_path, lacking, f"give {option}")
    assert told.count("--") == 1
    assert project_snapshots([path], replace(MINE, **field), tmp_path / "out") == []


@pytest.mark.parametrize("unused", ["OmegaLambda", "HubbleParam", "MassTable"])
def test_facts_that_nobody_uses_are_not_asked_for(write_hydro, tmp_path, unused):
    assert project_snapshots([write_hydro(change=without(unused))], MINE, tmp_path / "out") == []


def test_the_hubble_parameter_is_asked_for_where_a_unit_needs_it(write_hydro, tmp_path):
    change = both(without("HubbleParam"), header(UnitLength_in_cm=0.0, UnitLength_In_CGS=4.4e21))
    refuse(write_hydro("gizmo.hdf5", change=change), MINE, tmp_path, "Hubble parameter: no attribute HubbleParam or h")
    path = write_hydro("arepo.hdf5", change=without("HubbleParam"))
    refuse(path, replace(MINE, fields=("B",)), tmp_path, "Hubble parameter")
    assert project_snapshots([path], replace(MINE, fields=("Mtot", "T")), tmp_path / "other") == []


def test_the_expansion_factor_gives_the_redshift(write_hydro):
    path = write_hydro(change=both(without("Redshift"), header(Time=0.5)))
    assert open_snapshot(path).redshift == pytest.approx(1.0)
    assert open_snapshot(write_hydro("now.hdf5", change=both(without("Redshift"), header(Time=1.0)))).redshift == 0


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"box_size_mpc_h": 75.0}, ("--box-size-mpc-h says 75 Mpc/h, but the header says 25 Mpc/h",)),
        ({"Omega_m": 0.31}, ("--omega-m says 0.31, but the header says 0.3",)),
        ({"redshift": 0.5}, ("--redshift says 0.5, but the header says 0",)),
        ({"box_size_mpc_h": -1.0}, ("box_size_mpc_h = -1.0: allowed are",)),
        ({"box_size_mpc_h": float("nan")}, ("box_size_mpc_h = nan",)),
        ({"Omega_m": 0.0}, ("Omega_m = 0.0",)),
        ({"Omega_m": float("inf")}, ("Omega_m = inf",)),
        ({"redshift": -0.5}, ("redshift = -0.5",)),
        ({"box_size_mpc_h": "25"}, ("box_size_mpc_h: input should be a valid number",)),
        ({"n_pixels": "16"}, ("n_pixels",)),
        ({"fields": "Mtot"}, ("fields",)),
        ({"slab_thickness_mpc_h": float("nan")}, ("slab_thickness_mpc_h",)),
    ],
)
def test_facts_that_contradict_or_cannot_be_are_refused(write_hydro, tmp_path, facts, words):
    refuse(write_hydro(), replace(MINE, **facts), tmp_path, *words)


def test_a_given_unit_or_box_that_does_not_suit_the_positions_is_named(write_hydro, tmp_path):
    thin = write_hydro(change=without("BoxSize", "UnitLength_in_cm", "UnitMass_in_g", "UnitVelocity_in_cm_per_s"))
    spec = replace(MINE, box_size_mpc_h=25.0, length_unit="Mpc/h", check_mass=False)
    refuse(thin, spec, tmp_path, "positions from", "BoxSize, --box-size-mpc-h", "(--length-unit)")


def test_facts_that_agree_change_nothing(write_hydro, tmp_path):
    path, given = write_hydro(), {"box_size_mpc_h": 25.001, "Omega_m": 0.3, "redshift": 0.001}
    for name, spec in (("without", MINE), ("with", replace(MINE, **given))):
        project_snapshots([path], spec, tmp_path / name)
    first, second = (np.load(tmp_path / name / Path(MAPS).name) for name in ("without", "with"))
    np.testing.assert_array_equal(first, second)
    assert project_snapshots([path], MINE, tmp_path / "with") == []


def test_the_unit_is_that_in_which_the_box_is_the_given_one(write_hydro):
    change = both(without("UnitLength_in_cm", "UnitMass_in_g", "UnitVelocity_in_cm_per_s", "Omega0"), small)
    assert open_snapshot(write_hydro(change=change), box_size_mpc_h=25, is_whole=False).box_size_mpc_h == 25


def test_numpy_numbers_are_taken(write_hydro, tmp_path):
    spec = replace(MINE, n_pixels=np.int64(16), n_slabs=np.int32(2), box_size_mpc_h=np.float32(25), fields=["Mtot"])
    assert project_snapshots([write_hydro()], spec, tmp_path / "out") == []


# What is no snapshot of a box

CATALOGUE = both(
    lambda file: [file.pop(name) for name in ("PartType0", "PartType1")],
    lambda file: file.create_group("Group"),
    lambda file: file.create_group("Subhalo"),
)
OTHERS: dict[str, tuple[Change, str]] = {
    "groups": (CATALOGUE, "a group catalogue, not a snapshot"),
    "many files of groups": (
        both(CATALOGUE, header(NumFilesPerSnapshot=30, Ngroups_Total=5)),
        "a group catalogue, not a snapshot",
    ),
    "no groups": (
        both(lambda file: [file.pop(name) for name in ("PartType0", "PartType1")], header(Ngroups_Total=0)),
        "a group catalogue, not a snapshot",
    ),
    "trees": (both(CATALOGUE, lambda file: file.create_group("TreeHalos")), "a merger tree, not a snapshot"),
    "galaxies": (
        lambda file: (file.clear(), file.create_group("galaxy_data")),
        "a catalogue of galaxies of CAESAR, not a snapshot",
    ),
    "a light cone": (lambda file: file.create_group("HealPixHashTable"), "a light cone, not a snapshot"),
    "nothing": (lambda file: file.clear(), "no group /Header; is this a snapshot?"),
}


@pytest.mark.parametrize(("change", "words"), OTHERS.values(), ids=OTHERS.keys())
@pytest.mark.parametrize("name", ["fof_subhalo_tab_033.hdf5", "fof_subhalo_tab_033.0.hdf5", "snap_033.hdf5"])
def test_other_files_are_told_what_they_are(write_hydro, tmp_path, change, words, name):
    for spec in (MINE, CUT):
        refuse(write_hydro(name, change=change), spec, tmp_path, words)


def parameters(**facts: object) -> Change:
    return lambda file: file.require_group("Parameters").attrs.update(facts)


ISOLATED: dict[str, tuple[Change, str]] = {
    "GADGET-4": (parameters(ComovingIntegrationOn=0), "ComovingIntegrationOn of /Parameters is 0"),
    "GIZMO": (header(ComovingIntegrationOn=0), "ComovingIntegrationOn of /Header is 0"),
    "SWIFT": (
        lambda file: file.create_group("Cosmology").attrs.__setitem__("Cosmological run", [0]),
        "Cosmological run of /Cosmology is 0",
    ),
    "SWIFT without periods": (
        lambda file: file.create_group("Parameters").attrs.__setitem__("InitialConditions:periodic", np.bytes_("0")),
        "InitialConditions:periodic of /Parameters is 0",
    ),
    "no periods": (parameters(PeriodicBoundariesOn=0), "PeriodicBoundariesOn"),
    "open gravity": (
        lambda file: file.create_group("Config").attrs.__setitem__("GRAVITY_NOT_PERIODIC", b""),
        "GRAVITY_NOT_PERIODIC",
    ),
    "no box": (header(BoxSize=0.0), "the size of the box is 0"),
    "no matter": (header(Omega0=0.0), "Omega_m is 0"),
    "a time in Gyr": (header(Time=3.2), "Time is 3.2, and not the expansion factor at redshift 0"),
    "an early time": (header(Time=0.0), "Time is 0, and not the expansion factor"),
    "a time alone": (both(without("Redshift"), header(Time=3.2)), "Time is 3.2, which is no expansion factor"),
}


@pytest.mark.parametrize(("change", "words"), ISOLATED.values(), ids=ISOLATED.keys())
def test_isolated_runs_are_refused_whatever_the_flags(write_hydro, tmp_path, change, words):
    for spec in (MINE, CUT):
        refuse(write_hydro(change=change), spec, tmp_path, words, "cosmological")


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"])
def test_pipes_and_devices_are_not_read(write_hydro, tmp_path, make):
    make(tmp_path / "special.hdf5")
    refuse(tmp_path / "special.hdf5", MINE, tmp_path, "special.hdf5")
    refuse(write_hydro(), replace(MINE, parameters=str(tmp_path / "special.hdf5")), tmp_path, "is a pipe or a device")


# Positions


@pytest.mark.parametrize("factor", [1e-3, 0.0, 1e-6])
@pytest.mark.parametrize("group", ["PartType0", "PartType1"])
def test_one_kind_in_another_unit_is_noticed(write_hydro, tmp_path, group, factor):
    refuse(write_hydro(change=scaled(group, factor)), MINE, tmp_path)
    refuse(write_hydro(change=both(small, scaled(group, factor))), CUT, tmp_path)


def stars(place: float, n: int = 10) -> Change:
    def change(file: h5py.File) -> None:
        file["PartType4/Coordinates"] = np.random.default_rng(0).uniform(0.9, 1.1, (n, 3)) * place
        file["PartType4/Masses"] = np.full(n, 1e-6)
        file["Header"].attrs.update(NumPart_ThisFile=[N, N, 0, 0, n, 0], NumPart_Total=[N, N, 0, 0, n, 0])

    return change


def test_stars_may_be_anywhere_but_at_the_origin(write_hydro, tmp_path):
    refuse(write_hydro("near.hdf5", change=stars(12.0)), MINE, tmp_path, "positions of /PartType4 are from")
    assert project_snapshots([write_hydro("far.hdf5", change=stars(12e3))], MINE, tmp_path / "out") == []


def set_column(column: int, value: float) -> Change:
    def change(file: h5py.File) -> None:
        file["PartType1/Coordinates"][:, column] = value

    return change


@pytest.mark.parametrize("spec", [MINE, CUT])
def test_positions_in_a_plane_are_noticed(write_hydro, tmp_path, spec):
    refuse(write_hydro(change=set_column(1, 3.0)), spec, tmp_path, "are all equal along axis 1")


def test_zeros_in_place_of_positions_are_noticed(write_hydro, tmp_path):
    def change(file):
        file["PartType1/Coordinates"][:300] = 0
        file["PartType1/Masses"][:300] = 0

    path = write_hydro(n=20_000, change=change)
    refuse(path, replace(CUT, fields=("Mcdm",)), tmp_path, "300 of 20000 particles of dark matter stand exactly")


# Names and tables

SIX = {"Omega_m": 0.3, "sigma_8": 0.979, "A_SN1": 1.1, "A_AGN1": 1.2, "A_SN2": 1.3, "A_AGN2": 1.4}


@pytest.mark.parametrize("name", SIX)
def test_every_parameter_of_a_table_is_that_of_the_header(write_hydro, tmp_path, name):
    path, table = write_hydro(change=header(**SIX)), tmp_path / "table.txt"
    table.write_text(" ".join(f"{value * (1.4 if other == name else 1):.5f}" for other, value in SIX.items()))
    refuse(path, replace(MINE, parameters=str(table)), tmp_path, f"row 0 has {name} = ", "order of the snapshots")
    table.write_text(" ".join(f"{value:.5f}" for value in SIX.values()))
    assert project_snapshots([path], replace(MINE, parameters=str(table)), tmp_path / "out") == []


def gravity_only(file: h5py.File) -> None:
    del file["PartType0"]
    mass = file["PartType1/Masses"][:]
    file["PartType1/Masses"][:] = mass * (0.3 * 2.775e11 * 25**3 / 1e10 / mass.sum())
    file["Header"].attrs.update(NumPart_ThisFile=[0, N, 0, 0, 0, 0], NumPart_Total=[0, N, 0, 0, 0, 0])


MOCK = header(Origin=np.bytes_("MOCK DATA simulated by fieldlevel, not CAMELS"), Suite=np.bytes_("MockTNG"))
OLD_MOCK = header(Origin="MOCK DATA simulated by fieldlevel, not CAMELS")


@pytest.mark.parametrize(
    ("change", "suite", "words"),
    [
        (gravity_only, "IllustrisTNG", "name its suite Nbody_IllustrisTNG"),
        (gravity_only, "SIMBA", "name its suite Nbody_SIMBA"),
        (gravity_only, "Nbody_SIMBA", None),
        (gravity_only, "Mine", None),
        (both(gravity_only, OLD_MOCK), "MockTNG", "name its suite Nbody_Mock;"),
        (None, "Nbody_SIMBA", "so it is not gravity-only"),
        (None, "Nbody_Mine", "so it is not gravity-only"),
        (MOCK, "MockSIMBA", "is of MockTNG, not of MockSIMBA"),
        (MOCK, "Nbody_Mock", "is of MockTNG, not of Nbody_Mock"),
        (MOCK, "IllustrisTNG", "is MOCK DATA"),
        (MOCK, "MockTNG", None),
        (OLD_MOCK, "MockSIMBA", None),
        (OLD_MOCK, "SIMBA", "is MOCK DATA"),
        (header(SimulationName=np.bytes_("TNG100-1")), "SIMBA", "is of TNG100-1, not of SIMBA"),
        (header(SimulationName=np.bytes_("TNG100-1")), "IllustrisTNG", None),
        (header(SimulationName=np.bytes_("my run")), "SIMBA", None),
        (header(Suite=np.bytes_("SIMBA")), "IllustrisTNG", "is of SIMBA"),
    ],
)
def test_the_suite_is_that_of_the_snapshot(write_hydro, tmp_path, change, suite, words):
    path, spec = write_hydro(change=change), replace(MINE, suite=suite)
    if words is None:
        assert project_snapshots([path], spec, tmp_path / "out") == []
    else:
        refuse(path, spec, tmp_path, words)


def test_a_simulation_and_its_twin_are_not_two_of_a_suite(write_hydro, tmp_path):
    pair = [write_hydro("hydro.hdf5"), write_hydro("twin.hdf5", change=gravity_only)]
    refuse(pair, MINE, tmp_path, "hydro.hdf5 (40 particles of gas)", "twin.hdf5 (0 particles of gas) differ")


def test_the_hubble_parameter_is_shared_but_in_sets_that_vary_it(write_hydro, tmp_path):
    pair = [write_hydro("one.hdf5"), write_hydro("other.hdf5", seed=1, change=header(HubbleParam=0.5))]
    refuse(pair, MINE, tmp_path, "(h = 0.7)", "(h = 0.5) differ")
    assert project_snapshots(pair, replace(MINE, set_name="SB28"), tmp_path / "out") == []


# Headers that no code writes


def committed(name: str) -> Change:
    return lambda file: (file.pop(name), file.__setitem__(name, np.dtype("f8")))


COMPOUND = np.zeros(2, [("a", int), ("b", float)])
ODD: dict[str, Change] = {
    "vlen counts": header(NumPart_ThisFile=np.array(["1", "2"], dtype=h5py.string_dtype())),
    "text": header(NumPart_Total="many"),
    "compound box": header(BoxSize=COMPOUND),
    "compound files": header(NumFilesPerSnapshot=COMPOUND),
    "empty table": header(MassTable=h5py.Empty("f8")),
    "complex box": header(BoxSize=25e3 + 1j),
    "boolean box": header(BoxSize=True),
    "huge box": header(BoxSize=1e300),
    "tiny box": header(BoxSize=1e-300),
    "smallest box": header(BoxSize=5e-324),
    "negative box": header(BoxSize=-25e3),
    "infinite unit": header(UnitLength_in_cm=np.inf),
    "huge unit": header(UnitLength_in_cm=1e300),
    "negative unit": header(UnitLength_in_cm=-1.0),
    "huge mass unit": header(UnitMass_in_g=1e300),
    "no velocity": header(UnitVelocity_in_cm_per_s=np.nan),
    "huge redshift": header(Redshift=1e300),
    "huge Omega_m": header(Omega0=1e300),
    "negative Omega_m": header(Omega0=-0.3),
    "zero h": header(HubbleParam=0.0),
    "huge h": header(HubbleParam=1e300),
    "huge table": both(header(MassTable=np.full(6, 1e300)), lambda file: file["PartType1"].pop("Masses")),
    "many files": header(NumFilesPerSnapshot=2**31 - 1),
    "half a file": header(NumFilesPerSnapshot=1.5),
    "half a particle": header(NumPart_ThisFile=[40.5, 40]),
    "huge counts": header(NumPart_ThisFile=np.array([2**63, 40], np.uint64)),
    "huge float counts": header(NumPart_ThisFile=[1e300, 40.0]),
    "matrix of counts": header(NumPart_ThisFile=np.full((2, 3), 40)),
    "many counts": header(NumPart_ThisFile=np.zeros(7000, int)),
    "reference": lambda file: file["Header"].attrs.__setitem__("BoxSize", file["PartType0"].ref),
    "no shape": lambda file: (
        file["PartType0"].pop("Coordinates"),
        file.create_dataset("PartType0/Coordinates", data=h5py.Empty("f8")),
    ),
    "vlen box": lambda file: file["Header"].attrs.create(
        "BoxSize", np.array([np.ones(3), np.ones(2)], dtype=object), dtype=h5py.vlen_dtype(float)
    ),
    "a type for a header": committed("Header"),
    "a type for a kind": committed("PartType1"),
    "a type for positions": committed("PartType1/Coordinates"),
    "compound positions": replaced("PartType1/Coordinates", np.zeros((N, 3), COMPOUND.dtype)),
    "complex positions": replaced("PartType1/Coordinates", np.ones((N, 3), complex)),
    "scalar positions": replaced("PartType1/Coordinates", 1.0),
    "no rows": replaced("PartType1/Coordinates", np.zeros((0, 3))),
    "four columns": replaced("PartType1/Coordinates", np.zeros((N, 4))),
    "huge exponents": lambda file: file["PartType1/Coordinates"].attrs.update(a_scaling=1e9, h_scaling=-1.0),
    "text masses": replaced("PartType1/Masses", np.full(N, b"heavy")),
    "negative masses": replaced("PartType1/Masses", np.full(N, -1.0)),
    "masses without end": replaced("PartType1/Masses", np.full(N, 1e308)),
}


@pytest.mark.parametrize("change", ODD.values(), ids=ODD.keys())
def test_headers_that_no_code_writes_get_one_line(write_hydro, tmp_path, change):
    path = write_hydro(change=change)
    for spec in (MINE, CUT, replace(CUT, **FACTS, Omega_m=0.3)):
        told = refuse(path, spec, tmp_path, path.name)
        assert len(told) < 500


HARMLESS: dict[str, Change] = {
    "a circle of groups": lambda file: file.__setitem__("PartType0/again", file["/"]),
    "a link to nowhere": lambda file: file.__setitem__("PartType0/nothing", h5py.SoftLink("/no/such")),
    "a link far away": lambda file: file.__setitem__("PartType0/far", h5py.ExternalLink("/etc/passwd", "/")),
    "texts of any length": lambda file: file["PartType1/Masses"].attrs.__setitem__("unit", "1e10 Msun/h"),
    "a long attribute": lambda file: file["PartType1"].attrs.__setitem__("x", np.zeros(8000)),
    "wide rows": lambda file: file["PartType1"].create_dataset("x", (N, 2**19), "f4", chunks=(1, 2**19)),
    "a reference": lambda file: file["PartType1"].attrs.__setitem__("x", file["Header"].ref),
    "compounds": lambda file: file["PartType1"].__setitem__("x", COMPOUND),
    "large integers": header(NumPart_Total=np.array([N, N], np.uint64)),
}


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS.keys())
def test_what_nobody_reads_does_no_harm(write_hydro, tmp_path, change):
    assert project_snapshots([write_hydro(change=change)], MINE, tmp_path / "out") == []


def test_lengths_of_texts_in_damaged_files_are_not_believed(write_hydro, tmp_path):
    """HDF5 would allocate four gigabytes for this one."""
    path = write_hydro(change=OLD_MOCK)
    content, text = path.read_bytes(), b"MOCK DATA simulated by fieldlevel, not CAMELS"
    heap = content.index(b"GCOL")
    at = content.index(len(text).to_bytes(4, "little") + heap.to_bytes(8, "little"))
    path.write_bytes(content[:at] + b"\xff" * 4 + content[at + 4 :])
    refuse(path, MINE, tmp_path, "is MOCK DATA")


@pytest.mark.parametrize("seed", range(60))
def test_flipped_bits_are_refused_or_harmless(write_hydro, tmp_path, seed):
    path, random = write_hydro(), np.random.default_rng(seed)
    content = bytearray(path.read_bytes())
    for place in random.integers(0, min(len(content), 12_000), 1 + seed % 5):
        content[place] ^= 1 << int(random.integers(8))
    path.write_bytes(content)
    try:
        project_snapshots([path], MINE, tmp_path / "out")
    except UserError as error:
        assert "\n" not in str(error)
        assert not (tmp_path / "out").exists()


def in_two_files(write_hydro, change: Change | None = None, seed: int = 1) -> Path:
    total = header(NumFilesPerSnapshot=2, NumPart_Total=[2 * N, 2 * N, 0, 0, 0, 0], Omega0=0.6)
    write_hydro("snap.0.hdf5", change=total)
    return write_hydro("snap.1.hdf5", seed=seed, change=both(total, change or (lambda file: None)))


@pytest.mark.parametrize(
    ("change", "seed", "words"),
    [
        (header(BoxSize=50e3), 1, "snap.1.hdf5: box_size is 50000.0, but 25000.0 in the first file"),
        (header(Redshift=1.0), 1, "snap.1.hdf5: redshift is 1.0, but 0.0"),
        (header(HubbleParam=0.5), 1, "snap.1.hdf5: h is 0.5"),
        (header(Omega0=0.3), 1, "snap.1.hdf5: Omega_m is 0.3"),
        (lambda file: file.pop("Header"), 1, "snap.1.hdf5: no group /Header"),
        (None, 0, "snap.1.hdf5: /PartType0 holds the same particles as in snap.0.hdf5"),
    ],
)
def test_files_of_a_snapshot_belong_together(write_hydro, tmp_path, change, seed, words):
    refuse(in_two_files(write_hydro, change, seed), MINE, tmp_path, words)


@pytest.mark.parametrize(
    ("name", "values", "fields", "words"),
    [
        ("GFM_Metallicity", np.ones((N, 0)), ("Z",), "has the shape (40, 0)"),
        ("GFM_Metallicity", np.ones((N, 2, 2)), ("Z",), "has the shape (40, 2, 2)"),
        ("InternalEnergy", np.full(N, -1.0), ("T",), "numbers of temperature in /PartType0"),
        ("InternalEnergy", np.full(N, -1.0), ("P",), "numbers of pressure in /PartType0"),
        ("NeutralHydrogenAbundance", np.full(N, -1.0), ("HI",), "numbers of neutral hydrogen mass"),
        ("ElectronAbundance", np.full(N, -1.0), ("ne",), "numbers of electron density"),
        ("InternalEnergy", np.full(N, np.nan), ("T",), "numbers of temperature"),
    ],
)
def test_quantities_that_cannot_be_are_refused(write_hydro, tmp_path, name, values, fields, words):
    refuse(write_hydro(change=replaced(f"PartType0/{name}", values)), replace(MINE, fields=fields), tmp_path, words)


@pytest.mark.parametrize("paths", [[5], [None], [b"x"], 5])
def test_names_are_words_or_paths(tmp_path, paths):
    with pytest.raises(UserError, match="give names of files or folders"):
        project_snapshots(paths, MINE, tmp_path / "out")


def test_one_snapshot_need_not_stand_in_a_list(write_hydro, tmp_path):
    assert project_snapshots(str(write_hydro()), MINE, tmp_path / "out") == []


@pytest.mark.parametrize(
    "change", [{"suite": "x" * 300}, {"set_name": "9" * 300}, {"slab_thickness_mpc_h": 1e-300}, {"suite": "=cmd"}]
)
def test_names_and_slabs_have_bounds(write_hydro, tmp_path, change):
    refuse(write_hydro(), replace(MINE, **change), tmp_path, "allowed are")


def test_texts_of_headers_are_told_in_one_line(write_hydro, tmp_path):
    path = write_hydro(change=header(Suite=np.bytes_(b"SIMBA\n\x1b[31m")))
    assert "\x1b" not in refuse(path, replace(MINE, suite="IllustrisTNG"), tmp_path, "is of SIMBA[31m, not of")


def test_a_folder_above_that_was_made_goes_too(write_hydro, tmp_path):
    path = write_hydro(change=lambda file: file["PartType1/Masses"].__setitem__(slice(None), 1.0))
    with pytest.raises(DataError, match="of the mass of Omega_m"):
        project_snapshots([path], MINE, tmp_path / "a/b/out")
    assert not (tmp_path / "a").exists()
    (tmp_path / "kept").mkdir()
    with pytest.raises(DataError, match="of the mass of Omega_m"):
        project_snapshots([path], MINE, tmp_path / "kept")
    assert not list((tmp_path / "kept").iterdir())


def test_any_name_gets_one_line(tmp_path):
    for name in ("a\0b", "x" * 300, "é/ü.hdf5", "", "."):
        with pytest.raises(UserError):
            open_snapshot(name if name else tmp_path)
    with pytest.raises(UserError), open_hdf5(tmp_path):
        pass
