"""Laws of maps from a part of the particles: mass is conserved, parts are nested, nothing but the parts changes."""

import json
from dataclasses import replace
from itertools import pairwise
from math import inf, nan

import h5py
import numpy as np
import pytest
import torch

from fieldlevel import suites
from fieldlevel.data.suite import check_directory, open_suite
from fieldlevel.errors import UserError
from fieldlevel.mapmaking.fields import BLACK_HOLES, DARK_MATTER, GAS, STARS
from fieldlevel.mapmaking.project_spec import ProjectSpec
from fieldlevel.mapmaking.projection import project_snapshot, project_snapshots
from fieldlevel.mapmaking.thinning import (
    Thinning,
    are_fractions,
    lattice_set_name,
    mass_given_back,
    on_sublattice,
    set_name_of,
)
from fieldlevel.snapshots.identities import particle_numbers
from fieldlevel.snapshots.opening import open_snapshot

CPU = torch.device("cpu")
MINE = ProjectSpec(n_pixels=16, n_neighbours=4)
ALL = ("Mtot", "Mcdm", "Mgas", "HI", "ne", "T", "P", "Z", "B", "Vgas", "Vcdm")
NUMBERS = torch.arange(20_000)
ROUND_OFF = 1e-6


def mass_of(maps):
    """Total of each axis, (3,)."""
    return maps.reshape(3, -1).sum(1, dtype=np.float64)


def shuffled(seed):
    """Change a snapshot: the same particles in another order."""

    def change(file):
        order = np.random.default_rng(seed).permutation(len(file["PartType1/Masses"]))
        for name in ("PartType0", "PartType1"):
            for dataset in file[name].values():
                dataset[:] = dataset[:][order]

    return change


def numbered(file):
    for number in range(2):
        n = len(file[f"PartType{number}/Masses"])
        file[f"PartType{number}/ParticleIDs"] = np.arange(n, dtype=np.uint64) * 2**58 + 2**63 + number


def both(*changes):
    return lambda file: [change(file) for change in changes]


# Parts


@pytest.mark.parametrize("fraction", [0.5, 0.25, 0.03])
def test_a_fraction_is_kept(fraction):
    """Within five standard deviations of the binomial distribution."""
    kept = Thinning(fraction, seed=3).kept(NUMBERS, GAS).double().mean().item()
    assert abs(kept - fraction) < 5 * (fraction * (1 - fraction) / len(NUMBERS)) ** 0.5


def test_smaller_parts_are_parts_of_larger_ones():
    parts = [Thinning(fraction, seed=3).kept(NUMBERS, GAS) for fraction in (0.1, 0.25, 0.5, 1.0)]
    assert all((small <= large).all() for small, large in pairwise(parts))
    assert parts[-1].all()


def test_the_same_part_again_and_another_for_another_seed_draw_and_kind():
    half = Thinning(0.5, seed=3)
    others = [half.kept(NUMBERS, kind) for kind in (DARK_MATTER, GAS, STARS, BLACK_HOLES)]
    others += [replace(half, seed=4).kept(NUMBERS, GAS), replace(half, draw=1).kept(NUMBERS, GAS)]
    torch.testing.assert_close(half.kept(NUMBERS, GAS), others[1], rtol=0, atol=0)
    for place, one in enumerate(others):
        for other in others[:place]:
            assert abs((one == other).double().mean().item() - 0.5) < 5 * (0.25 / len(NUMBERS)) ** 0.5


def test_a_particle_keeps_its_lot_in_any_order_and_company():
    order = torch.randperm(len(NUMBERS), generator=torch.Generator().manual_seed(1))[:500]
    part = Thinning(0.3, seed=3)
    torch.testing.assert_close(part.kept(NUMBERS[order], GAS), part.kept(NUMBERS, GAS)[order])


def test_there_is_always_one_to_carry_the_mass():
    few = torch.arange(3)
    kept = [Thinning(fraction, seed=3).kept(few, STARS) for fraction in (1e-9, 1e-6, 0.9)]
    assert kept[0].sum() == 1
    assert (kept[0] <= kept[1]).all()
    assert (kept[1] <= kept[2]).all()
    assert Thinning(0.5, seed=3).kept(few[:0], STARS).shape == (0,)
    assert on_sublattice(torch.tensor([5, 7]), n_side=4, every=4).tolist() == [True, False]


@pytest.mark.parametrize("every", [1, 2, 4])
def test_every_mth_particle_of_the_lattice_is_kept(every):
    kept = on_sublattice(torch.arange(512), n_side=8, every=every).view(8, 8, 8)
    expected = torch.zeros(8, 8, 8, dtype=torch.bool)
    expected[::every, ::every, ::every] = True
    torch.testing.assert_close(kept, expected)


def test_mass_is_given_back():
    mass = torch.linspace(1, 3, 1000)
    kept = Thinning(0.2, seed=3).kept(torch.arange(1000), GAS)
    assert (mass[kept].double().sum() * mass_given_back(mass, kept)).item() == pytest.approx(mass.double().sum().item())
    assert mass_given_back(mass, mass > 0) == 1.0
    assert mass_given_back(torch.zeros(4), torch.tensor([True, False, False, False])) == 4.0


# Names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (set_name_of("LH", 0.125), "LHthin8"),
        (set_name_of("LHtest", 1), "LHtestthin1"),
        (set_name_of("CV", 0.3), "CVthin3p333"),
        (set_name_of("LH", 1e-6), "LHthin1000000"),
        (set_name_of("LH", 0.5, "Mgas"), "LHthin2gas"),
        (lattice_set_name("LHn128", 2), "LHn128lattice2"),
    ],
)
def test_sets_are_named(name, expected):
    assert name == expected


@pytest.mark.parametrize("name", ["LH", "CV", "LHtest", "LHtestn512", "Mine7"])
@pytest.mark.parametrize("fraction", [0.5, 0.3, 0.125, 1e-6])
def test_names_tell_the_set_of_all_particles(name, fraction):
    base = suites.base_set(name)
    for made in (set_name_of(name, fraction), set_name_of(name, fraction, "Mcdm"), lattice_set_name(name, 2)):
        assert suites.base_set(made) == base


@pytest.mark.parametrize("fractions", [(0.0,), (-0.5,), (1.5,), (nan,), (inf,), (0.5, 0.5), (0.5, 0.50001)])
def test_impossible_fractions_are_refused(write_hydro, tmp_path, fractions):
    assert not are_fractions(fractions)
    with pytest.raises(UserError, match=r"thin = .*: allowed are numbers above 0 and at most 1, each once"):
        project_snapshots([write_hydro()], replace(MINE, thin=fractions), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_name_says_once_what_was_thinned(write_hydro, tmp_path):
    with pytest.raises(UserError, match=r"set 'LHthin2': its name says that it is thinned already; give another"):
        project_snapshots([write_hydro()], replace(MINE, set_name="LHthin2", thin=(0.5,)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Maps of snapshots


def test_a_fraction_of_one_gives_the_plain_maps_to_the_bit(write_hydro):
    snapshot, spec = open_snapshot(write_hydro()), replace(MINE, fields=ALL)
    plain, whole = project_snapshot(snapshot, spec, CPU), project_snapshot(snapshot, spec, CPU, Thinning(1.0, 0))
    for field in ALL:
        np.testing.assert_array_equal(plain[field], whole[field])


@pytest.mark.parametrize("radius", ["neighbours", "smoothing length", "points"])
def test_maps_of_a_part_have_the_mass_of_all(write_hydro, radius):
    snapshot, spec = open_snapshot(write_hydro()), replace(MINE, fields=ALL, radius=radius)
    plain, half = project_snapshot(snapshot, spec, CPU), project_snapshot(snapshot, spec, CPU, Thinning(0.5, 0))
    for field in ("Mtot", "Mcdm", "Mgas"):
        np.testing.assert_allclose(mass_of(half[field]), mass_of(plain[field]), rtol=ROUND_OFF)
        assert np.abs(half[field] / plain[field].mean() - plain[field] / plain[field].mean()).max() > 0.1


@pytest.mark.parametrize("radius", ["neighbours", "smoothing length", "points"])
def test_a_part_is_what_a_snapshot_with_fewer_particles_is(write_hydro, radius):
    """The kept particles alone in a file, heavier and with longer smoothing lengths, give the same maps of every field.

    Averages are compared times their weight, as a pixel whose weight is round-off has any average.
    """
    weights = dict.fromkeys(("T", "P", "Z", "B", "Vgas"), "Mgas") | {"Vcdm": "Mcdm"}
    path = write_hydro("all.hdf5")
    snapshot, spec = open_snapshot(path), replace(MINE, fields=ALL, radius=radius)
    thinned = project_snapshot(snapshot, spec, CPU, Thinning(0.5, 7))

    def keep(file):
        for number, kind in ((0, GAS), (1, DARK_MATTER)):
            group = file[f"PartType{number}"]
            n = len(group["Masses"])
            kept = Thinning(0.5, 7).kept(torch.arange(n), kind).numpy()
            mass = group["Masses"][:]
            factors = {"Masses": mass.sum() / mass[kept].sum(), "SmoothingLength": (n / kept.sum()) ** (1 / 3)}
            for name, dataset in list(group.items()):
                values = dataset[:][kept] * factors.get(name, 1)
                del group[name]
                group[name] = values
            for name in ("NumPart_ThisFile", "NumPart_Total"):
                counts = file["Header"].attrs[name]
                counts[number] = kept.sum()
                file["Header"].attrs[name] = counts

    fewer = project_snapshot(open_snapshot(write_hydro("fewer.hdf5", change=keep)), spec, CPU)
    for field in ALL:
        one, other = (maps[field] * (maps[weights[field]] if field in weights else 1) for maps in (thinned, fewer))
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6 * other.max())


def test_identifiers_choose_whatever_the_order(write_hydro):
    spec, half = replace(MINE, fields=("Mcdm", "Mgas")), Thinning(0.5, 0)
    one = open_snapshot(write_hydro("one.hdf5", change=numbered))
    other = open_snapshot(write_hydro("other.hdf5", change=both(numbered, shuffled(1))))
    without = open_snapshot(write_hydro("without.hdf5", change=shuffled(1)))
    maps, same, others = (project_snapshot(snapshot, spec, CPU, half) for snapshot in (one, other, without))
    for field in spec.fields:
        np.testing.assert_allclose(same[field], maps[field], rtol=1e-5, atol=1e-6 * maps[field].max())
        assert np.abs(others[field] - maps[field]).max() > 0.1 * maps[field].mean()


@pytest.mark.parametrize("identifiers", [np.zeros(40, np.uint32), np.arange(40.0)])
def test_identifiers_that_identify_nobody_are_passed_over(write_hydro, identifiers):
    def change(file):
        file["PartType0/ParticleIDs"] = identifiers

    assert particle_numbers(open_snapshot(write_hydro(change=change)), GAS).tolist() == list(range(40))
    assert particle_numbers(open_snapshot(write_hydro(change=numbered)), GAS).tolist() != list(range(40))
    assert particle_numbers(open_snapshot(write_hydro()), STARS).tolist() == []


def test_the_mean_of_many_parts_is_the_map_of_all(write_hydro):
    """Points: each pixel of the mean of 400 halves of 400 + 400 particles, within five standard errors."""
    snapshot = open_snapshot(write_hydro(n=400))
    spec = replace(MINE, radius="points")
    plain = project_snapshot(snapshot, spec, CPU)["Mtot"].sum((1, 2))
    parts = [project_snapshot(snapshot, spec, CPU, Thinning(0.5, seed))["Mtot"].sum((1, 2)) for seed in range(100)]
    error = np.std(parts, axis=0) / 10
    assert (np.abs(np.mean(parts, axis=0) - plain) < 5 * error).all()
    assert (error > 0).all()


# Folders


def test_sets_of_fractions_lie_beside_the_plain_one(write_hydro, tmp_path):
    paths = [write_hydro(f"{seed}.hdf5", n=1000, seed=seed) for seed in range(2)]
    (tmp_path / "table.txt").write_text("0.3 0.8 1 1 1 1\n0.3 0.81 1.1 1.1 1.1 1.1\n")
    spec = replace(MINE, parameters=str(tmp_path / "table.txt"), n_neighbours=32)
    project_snapshots(paths, spec, tmp_path / "plain")
    project_snapshots(paths, replace(spec, thin=(0.5, 0.25)), tmp_path / "out")
    assert check_directory(tmp_path / "out") == []
    plain, half, quarter = (open_suite(tmp_path / "out", "Mine", set_name=f"LH{end}") for end in ("", "thin2", "thin4"))
    before = open_suite(tmp_path / "plain", "Mine")
    np.testing.assert_array_equal(plain.maps, before.maps)
    records = [json.loads((tmp_path / name / "provenance.json").read_text()) for name in ("plain", "out")]
    assert records[0]["Mine_LH"]["digest"] == records[1]["Mine_LH"]["digest"]
    assert records[1]["Mine_LHthin4"]["thinning"] == {"fraction": 0.25, "seed": 0}
    for number, path in enumerate(paths):
        expected = project_snapshot(open_snapshot(path), spec, CPU, Thinning(0.5, number))["Mtot"]
        np.testing.assert_array_equal(half.maps[15 * number : 15 * number + 15], expected)
    np.testing.assert_allclose(quarter.maps.sum(dtype=np.float64), plain.maps.sum(dtype=np.float64), rtol=ROUND_OFF)


def test_fractions_can_be_asked_for_later(write_hydro, tmp_path):
    path = write_hydro()
    project_snapshots([path], MINE, tmp_path / "out")
    file = tmp_path / "out" / "Maps_Mtot_Mine_LH_z=0.00.npy"
    written = file.stat().st_mtime_ns
    project_snapshots([path], replace(MINE, thin=(0.5,)), tmp_path / "out")
    assert file.stat().st_mtime_ns == written
    assert (tmp_path / "out" / "Maps_Mtot_Mine_LHthin2_z=0.00.npy").exists()
    with pytest.raises(UserError, match="holds Mine_LHthin2 made with another spec"):
        project_snapshots([path], replace(MINE, thin=(0.5,), thin_seed=1), tmp_path / "out")


def test_too_few_particles_for_their_neighbours_are_refused(write_hydro, tmp_path):
    path = write_hydro()
    with pytest.raises(UserError, match=r"0.1 of 40 particles of gas has no neighbour 4; keep a larger fraction"):
        project_snapshots([path], replace(MINE, thin=(0.1,)), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match=r"particles of gas are kept; neighbour 30 needs 31"):
        project_snapshot(open_snapshot(path), replace(MINE, n_neighbours=30, fields=("Mgas",)), CPU, Thinning(0.5, 0))


def test_the_same_identifiers_are_read_from_all_files_of_a_snapshot(write_hydro):
    with h5py.File(path := write_hydro(change=numbered)) as file:
        stored = file["PartType1/ParticleIDs"][:].view(np.int64)
    np.testing.assert_array_equal(particle_numbers(open_snapshot(path), DARK_MATTER), stored)
