"""Folders of work in progress that are damaged, prepared by somebody else, or left by a power failure."""

import os

import pytest
from fake_simulation import SMALL, fake_maps

from fieldlevel.errors import UserError
from fieldlevel.mapmaking.shards import Shard
from fieldlevel.simulate import simulation
from fieldlevel.simulate.mock_suite import simulate_suite

PARTIAL = ".MockTNG_LH.partial"
MAPS = "Maps_Mtot_MockTNG_LH_z=0.00.npy"


@pytest.fixture(autouse=True)
def _fake(monkeypatch):
    monkeypatch.setattr(simulation, "simulate_maps", fake_maps)


def simulate(folder, number=1, count=1):
    return simulate_suite(SMALL, folder, device="cpu", shard=Shard(number, count))


@pytest.fixture
def begun(tmp_path):
    """Half of the work is done."""
    simulate(tmp_path, 1, 2)
    return tmp_path


def test_a_link_in_the_place_of_the_folder_in_progress_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / PARTIAL).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="is a link"):
        simulate(tmp_path / "out")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_links_to_files_elsewhere_are_not_written_through(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    out = tmp_path / "out"
    (out / PARTIAL).mkdir(parents=True)
    for name in (MAPS, "done-1-of-1.txt", "plan.json"):
        (out / PARTIAL / name).symlink_to(victim)
    with pytest.raises(UserError, match=r"plan.json: not JSON"):
        simulate(out)
    (out / PARTIAL / "plan.json").unlink()
    with pytest.raises(UserError, match=r"done-1-of-1.*is a link"):
        simulate(out)
    (out / PARTIAL / "done-1-of-1.txt").unlink()
    simulate(out)
    assert victim.read_text() == "mine"
    assert not (out / MAPS).is_symlink()


def test_a_map_file_in_progress_that_became_a_link_is_refused(begun, tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes((begun / PARTIAL / MAPS).read_bytes())
    (begun / PARTIAL / MAPS).unlink()
    (begun / PARTIAL / MAPS).symlink_to(victim)
    with pytest.raises(UserError, match="is a link"):
        simulate(begun, 2, 2)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("plan.json", b"\0" * 4096, "not JSON.*remove .*the same command begins again"),
        ("plan.json", b"\xff\xfe\x00", "not a file of text; remove .*the same command begins again"),
        ("plan.json", b"", "not JSON.*remove .*the same command begins again"),
        ("plan.json", b"{}", "another spec"),
        ("plan.json", None, "no plan.json.*remove it, and the same command begins again"),
        (MAPS, b"", "not the map file.*remove it, and the same command begins again"),
        (MAPS, b"\x93NUMPY\x01\x00", "not the map file.*remove it"),
        (MAPS, None, "is missing.*remove it"),
    ],
)
def test_a_damaged_folder_in_progress_names_its_way_out(begun, name, content, words):
    path = begun / PARTIAL / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=words) as refused:
        simulate(begun, 2, 2)
    assert PARTIAL in str(refused.value)


def test_a_truncated_map_file_is_not_continued(begun):
    path = begun / PARTIAL / MAPS
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(UserError, match="not the map file"):
        simulate(begun, 2, 2)


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"[1]", b"[" * 100_000, b"\xff"])
def test_a_damaged_record_of_a_run_is_named_and_can_be_taken_away(begun, content):
    record = next((begun / PARTIAL).glob("run-*.json"))
    record.write_bytes(content)
    with pytest.raises(UserError, match="take it away, and the same command continues") as refused:
        simulate(begun, 2, 2)
    assert record.name in str(refused.value)
    record.unlink()
    assert (simulate(begun, 2, 2) / MAPS).exists()


def test_damage_before_anything_is_done_costs_nothing(tmp_path):
    (tmp_path / PARTIAL).mkdir()
    for name in (MAPS, "done-1-of-1.txt"):
        (tmp_path / PARTIAL / name).write_bytes(b"")
    assert (simulate(tmp_path) / MAPS).exists()


def test_a_pipe_is_no_ledger(begun):
    os.mkfifo(begun / PARTIAL / "done-3-of-3.txt")
    with pytest.raises(UserError, match="pipe"):
        simulate(begun, 2, 2)


def test_numbers_that_no_simulation_has_do_not_count(begun):
    (begun / PARTIAL / "done-9-of-9.txt").write_bytes(b"9" * 5000 + b"\n-1\n1e3\n\xb2\n")
    assert (simulate(begun, 2, 2) / MAPS).exists()


def test_a_table_that_was_deleted_is_written_again(begun):
    simulate(begun, 2, 2)
    table = begun / "params_LH_MockTNG.txt"
    before = table.read_bytes()
    table.unlink()
    simulate(begun)
    assert table.read_bytes() == before
