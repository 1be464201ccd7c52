"""Simulations that a network has seen are known again by their maps and by their rows."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fieldlevel.data.seen import SeenMaps, SeenSource, map_digests, record_seen, source_in_file
from fieldlevel.data.suite import open_suite
from fieldlevel.layout import CAMELS_PARAMETERS, Layout, Parameter
from fieldlevel.spec_io import from_json

MINIMA, MAXIMA = Layout().lows, Layout().highs


@pytest.fixture
def maps():
    return np.random.default_rng(0).lognormal(25.0, 1.0, (6, 16, 16)).astype(np.float32)


@pytest.fixture
def rows():
    return MINIMA + np.random.default_rng(1).random((6, 6)) * (MAXIMA - MINIMA)


def seen_of(maps, rows):
    return SeenMaps(tuple(map(tuple, rows.tolist())), tuple(map_digests(maps)))


@pytest.mark.parametrize(
    "change",
    [
        lambda maps: maps,
        lambda maps: maps.astype(float),
        lambda maps: maps.astype(">f4"),
        np.asfortranarray,
        lambda maps: maps.swapaxes(1, 2),
        lambda maps: maps[:, ::-1],
        lambda maps: np.rot90(maps, axes=(1, 2)),
        lambda maps: np.roll(maps, (3, 5), axis=(1, 2)),
        lambda maps: np.random.default_rng(2).permuted(maps.reshape(6, -1), axis=1).reshape(6, 16, 16),
    ],
)
def test_a_map_is_known_whatever_the_order_of_its_pixels(maps, rows, change):
    seen = seen_of(maps[:4], rows[:4])
    assert seen.has_maps(change(maps)).tolist() == 4 * [True] + 2 * [False]


def test_another_pixel_is_another_map(maps):
    changed = maps.copy()
    changed[0, 3, 4] = np.nextafter(changed[0, 3, 4], np.float32(np.inf))
    before, after = map_digests(maps), map_digests(changed)
    assert before[0] != after[0]
    assert before[1:] == after[1:]
    assert len(set(before)) == 6


def test_flat_maps_are_never_known(maps, rows):
    flat = np.zeros_like(maps)
    assert not seen_of(flat, rows).has_maps(flat).any()


def test_digests_of_many_maps_of_a_simulation_stand_one_after_the_other(maps, rows):
    seen = SeenMaps((tuple(rows[0]), tuple(rows[1])), ("".join(map_digests(maps[:3])), "".join(map_digests(maps[3:4]))))
    assert len(seen.digests) == 4
    assert seen.has_maps(maps).tolist() == 4 * [True] + 2 * [False]


def test_rows_are_known_in_any_order_and_as_printed(maps, rows):
    seen = seen_of(maps[:4], rows[:4])
    assert seen.has_rows(rows[::-1], Layout(), cosmology_only=False).tolist() == 2 * [False] + 4 * [True]
    printed = np.array([[float(f"{value:.5f}") for value in row] for row in rows])
    assert seen.has_rows(printed, Layout(), cosmology_only=False).tolist() == 4 * [True] + 2 * [False]


def test_siblings_share_their_cosmology_but_twins_are_nothing_else(maps, rows):
    sibling = rows.copy()
    sibling[:, 2:] = sibling[::-1, 2:]
    seen = seen_of(maps[:4], rows[:4])
    assert not seen.has_rows(sibling, Layout(), cosmology_only=False).any()
    assert seen.has_rows(sibling, Layout(), cosmology_only=True).tolist() == 4 * [True] + 2 * [False]


@pytest.mark.parametrize("row", [[0.3, 0.8, 1.0, 1.0, 1.0, 1.0], [0.14, 0.8123, 1.2, 1.3, 1.1, 0.9]])
def test_rows_of_grids_and_fiducial_points_prove_nothing(maps, rows, row):
    rows[0] = row
    assert not seen_of(maps, rows).has_rows(rows[:1], Layout(), cosmology_only=False)[0]


def test_rows_that_occur_twice_prove_nothing(maps, rows):
    """Simulations of several seeds at one point may stand on both sides of a split."""
    rows[5] = rows[0]
    found = seen_of(maps[:4], rows[:4]).has_rows(rows, Layout(), cosmology_only=False)
    assert found.tolist() == [False, True, True, True, False, False]


def test_what_is_recorded_is_of_the_maps_in_the_file_with_their_own_labels(tmp_path):
    rng = np.random.default_rng(3)
    theta = MINIMA + rng.random((3, 6)) * (MAXIMA - MINIMA)
    maps = rng.lognormal(25.0, 1.0, (45, 16, 16)).astype(np.float32)
    np.save(tmp_path / "Maps_Mtot_Mine_LH_z=0.00.npy", maps)
    np.savetxt(tmp_path / "params_LH_Mine.txt", theta)
    seen = record_seen(open_suite(tmp_path, "Mine", check=False), np.array([2, 0]))
    np.testing.assert_allclose(seen.parameters, theta[[2, 0]])
    assert seen.maps[0] == "".join(map_digests(maps[30:]))
    assert seen.has_maps(maps).sum() == 30


@pytest.mark.parametrize(
    ("parameters", "maps"), [((), ("",)), (((1.0, 2.0),), ("",)), ((6 * (1.0,),), ("x" * 12,)), ((6 * (1.0,),), ("0",))]
)
def test_a_record_that_is_none_is_refused(parameters, maps):
    with pytest.raises(ValueError, match=r"parameters|digests"):
        SeenMaps(parameters, maps)


@pytest.mark.parametrize("digests", ["=ASNFZ4m", "=ASNFZ4k=", "=ASNFZ4mrAA==", "==", "=ASNFZ4mr\n", "=ASN FZ4mr", "=é"])
def test_packed_digests_that_are_none_are_refused(digests):
    with pytest.raises(ValueError, match="digests of maps that are none"):
        SeenMaps((6 * (1.0,),), (digests,))


def test_packed_and_plain_digests_are_one_record():
    """ASNFZ4mr is base64 of the bytes 01 23 45 67 89 ab (RFC 4648); a text of fitting length alone tells nothing."""
    plain = SeenMaps(3 * (6 * (1.0,),), ("0123456789ab", "", 2 * "ba9876543210"))
    given = {"parameters": 3 * [6 * [1.0]], "maps": ["=ASNFZ4mr", "=", "=uph2VDIQuph2VDIQ"]}
    source = SeenSource("MockTNG", "LH", True, "", (1, 2, 3), (), plain)
    assert from_json(SeenMaps, json.dumps(given)) == SeenMaps(plain.parameters, tuple(given["maps"])) == plain
    assert source_in_file(source)["seen"]["maps"] == given["maps"]
    assert from_json(SeenSource, json.dumps(source_in_file(source))) == source
    assert SeenMaps((6 * (1.0,),), (24 * "a",)).digests == {12 * "a"}


def test_maps_are_read_once_for_many_networks_on_a_suite(write_suite, monkeypatch):
    folder, read = write_suite(), []
    first = record_seen(open_suite(folder, "MockTNG"), np.arange(4))
    monkeypatch.setattr("fieldlevel.data.suite.Suite.read_simulation", lambda suite, number: read.append(number))
    assert record_seen(open_suite(folder, "MockTNG"), np.arange(4)) == first
    assert not read


def test_rows_are_compared_by_the_parameters_that_both_have(maps, rows):
    """In any order of columns; a cosmology alone proves nothing where both have other parameters."""
    seen = seen_of(maps[:4], rows[:4])
    turned = Layout().select(Layout().names[::-1])
    assert seen.has_rows(rows[:, ::-1], turned, cosmology_only=False).tolist() == 4 * [True] + 2 * [False]
    fewer = Layout().select(["A_SN1", "Omega_m"])
    assert seen.has_rows(rows[:, [2, 0]], fewer, cosmology_only=False).tolist() == 4 * [True] + 2 * [False]
    renamed = replace(Layout(), parameters=(*CAMELS_PARAMETERS[:2], Parameter("M_WDM")))
    assert not seen.has_rows(rows[:, :3], renamed, cosmology_only=False).any()
    assert seen.has_rows(rows[:, :3], renamed, cosmology_only=True).tolist() == 4 * [True] + 2 * [False]
    others = Layout((Parameter("M_WDM"),))
    assert not seen.has_rows(rows[:, :1], others, cosmology_only=False).any()


def test_what_is_recorded_has_the_names_of_its_columns(write_suite):
    suite = open_suite(write_suite(), "MockTNG")
    assert record_seen(suite, np.arange(2)).names == suite.layout.names == Layout().names
