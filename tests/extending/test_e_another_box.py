"""(e) A box of 50 Mpc/h with two slabs an axis and 64 pixels, from snapshots to the letter."""

import json

import numpy as np
import pytest
from toy import TOY_LETTER, latin_hypercube

import fieldlevel
from fieldlevel.cli import main
from fieldlevel.layout import Layout

BOX, N = 50.0, 10


@pytest.fixture
def snapshots(place, write_dark_matter):
    """Of two suites, each with a table of labels."""
    for number, suite in enumerate(("Wide", "Broad")):
        folder = place / ("snapshots" if suite == "Wide" else "others")
        folder.mkdir()
        theta = latin_hypercube(Layout(), N, seed=number)
        np.savetxt(place / ("table.txt" if suite == "Wide" else "other.txt"), theta, fmt="%.8g")
        for row, label in enumerate(theta):
            write_dark_matter(folder / f"{row:02}.hdf5", label[0], BOX, seed=100 * number + row)


def test_from_project_to_letter(page, command, snapshots, place, blank_figures):
    (text,) = (text for text in page.commands if " project " in text)
    assert command(text) == 0
    others = [str(path) for path in sorted(place.glob("others/*.hdf5"))]
    wide = ("--n-slabs", "2", "--n-pixels", "64", "--parameters", "other.txt", "--out", "wide")
    assert main(["project", *others, "--suite", "Broad", *wide]) == 0
    assert main(["check", "wide"]) == 0
    layout = fieldlevel.open_suite(place / "wide", "Wide").layout
    assert (layout.box_size_mpc_h, layout.slab_thickness_mpc_h, layout.n_slabs, layout.n_pixels) == (50.0, 25.0, 2, 64)
    only = ("--only", "smoothing 1", "k_max", "power spectrum", "--smoothing", "1", "--k-max", "2")
    with blank_figures():
        letter = ["letter", "--data", "wide", "--suites", "Wide", "Broad", "--out", "letter"]
        assert main([*letter, *only, *TOY_LETTER]) == 0
    document = json.loads((place / "letter" / "metrics.json").read_text())
    assert document["layout"]["box_size_mpc_h"] == 50.0
    assert document["pairs"][0]["n_maps"] == 2 * 6
    weights = next(iter(document["weights"].values()))
    known = fieldlevel.load(place / "letter" / weights, "cpu").layout
    assert (known.box_size_mpc_h, known.n_slabs, known.n_pixels) == (50.0, 2, 64)
