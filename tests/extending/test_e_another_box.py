"""(e) A box of 50 Mpc/h with two slabs an axis and 64 pixels, from snapshots to the letter."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from toy import TOY_LETTER, latin_hypercube

import fieldlevel
from fieldlevel.cli import main
from fieldlevel.layout import CRITICAL_DENSITY, Layout

BOX, N, N_PARTICLES = 50.0, 10, 4096


def write_snapshot(path: Path, Omega_m: float, seed: int) -> None:
    """Dark matter alone, all over the box."""
    numbers = [0, N_PARTICLES, 0, 0, 0, 0]
    with h5py.File(path, "w") as file:
        file.create_group("Header").attrs.update(
            BoxSize=1e3 * BOX, Redshift=0.0, Omega0=Omega_m, OmegaLambda=1 - Omega_m, HubbleParam=0.7,
            NumFilesPerSnapshot=1, NumPart_ThisFile=numbers, NumPart_Total=numbers, MassTable=np.zeros(6),
            UnitLength_in_cm=3.085678e21, UnitMass_in_g=1.989e43, UnitVelocity_in_cm_per_s=1e5,
        )  # fmt: skip
        kind = file.create_group("PartType1")
        kind["Coordinates"] = np.random.default_rng(seed).uniform(0, 1e3 * BOX, (N_PARTICLES, 3))
        kind["Masses"] = np.full(N_PARTICLES, Omega_m * CRITICAL_DENSITY * BOX**3 / 1e10 / N_PARTICLES)
        kind["Velocities"] = np.zeros((N_PARTICLES, 3))


@pytest.fixture
def snapshots(place):
    """Of two suites, each with a table of labels."""
    for number, suite in enumerate(("Wide", "Broad")):
        folder = place / ("snapshots" if suite == "Wide" else "others")
        folder.mkdir()
        theta = latin_hypercube(Layout(), N, seed=number)
        np.savetxt(place / ("table.txt" if suite == "Wide" else "other.txt"), theta, fmt="%.8g")
        for row, label in enumerate(theta):
            write_snapshot(folder / f"{row:02}.hdf5", label[0], seed=100 * number + row)


def test_from_project_to_letter(page, command, snapshots, place):
    (text,) = (text for text in page.commands if " project " in text)
    assert command(text) == 0
    others = [str(path) for path in sorted(place.glob("others/*.hdf5"))]
    wide = ("--n-slabs", "2", "--n-pixels", "64", "--parameters", "other.txt", "--out", "wide")
    assert main(["project", *others, "--suite", "Broad", *wide]) == 0
    assert main(["check", "wide"]) == 0
    layout = fieldlevel.open_suite(place / "wide", "Wide").layout
    assert (layout.box_size_mpc_h, layout.slab_thickness_mpc_h, layout.n_slabs, layout.n_pixels) == (50.0, 25.0, 2, 64)
    only = ("--only", "smoothing 1", "k_max", "power spectrum", "--smoothing", "1", "--k-max", "2")
    assert main(["letter", "--data", "wide", "--suites", "Wide", "Broad", "--out", "letter", *only, *TOY_LETTER]) == 0
    document = json.loads((place / "letter" / "metrics.json").read_text())
    assert document["layout"]["box_size_mpc_h"] == 50.0
    assert document["pairs"][0]["n_maps"] == 2 * 6
    weights = next(iter(document["weights"].values()))
    known = fieldlevel.load(place / "letter" / weights, "cpu").layout
    assert (known.box_size_mpc_h, known.n_slabs, known.n_pixels) == (50.0, 2, 64)
