import errno
import json
import multiprocessing
import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
from fake_simulation import SMALL, fake_maps, fake_stack, run_held, run_slowly

from fieldlevel.errors import UserError
from fieldlevel.mapmaking import ledger as ledger_module
from fieldlevel.mapmaking.ledger import Ledger
from fieldlevel.mapmaking.production import missing_simulations
from fieldlevel.mapmaking.shards import Shard
from fieldlevel.simulate import simulation
from fieldlevel.simulate.mock_suite import plan_suites, simulate_suite
from fieldlevel.simulate.sets import rows_of_set

SMALL_ROWS = rows_of_set(SMALL, "MockTNG")
PARTIAL = ".MockTNG_LH.partial"
NAMES = (
    "Maps_Mtot_MockTNG_LH_z=0.00.npy", "Maps_Mtot_Nbody_Mock_LH_z=0.00.npy",
    "params_LH_MockTNG.txt", "params_LH_Nbody_Mock.txt",
)  # fmt: skip


@pytest.fixture(autouse=True)
def computed(monkeypatch):
    """Seeds of the simulations that this process computes."""
    seeds = []

    def maps(spec, rows, *others):
        seeds.append(rows[spec.suites[0]].seed)
        return fake_maps(spec, rows, *others)

    monkeypatch.setattr(simulation, "simulate_maps", maps)
    return seeds


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Files of a set that one process made in one go."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulation, "simulate_maps", fake_maps)
        return contents(simulate_suite(SMALL, tmp_path_factory.mktemp("whole"), device="cpu"))


def contents(folder) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in NAMES}


def simulate(folder, number=1, count=1, spec=SMALL):
    return simulate_suite(spec, folder, device="cpu", shard=Shard(number, count))


def start(folder, number=1, count=1):
    process = multiprocessing.get_context("spawn").Process(
        target=run_slowly, args=(SMALL, folder, Shard(number, count))
    )
    process.start()
    return process


def wait_for_lines(path, n_lines, process):
    while process.is_alive() and (not path.exists() or path.read_bytes().count(b"\n") < n_lines):
        time.sleep(0.005)


def ledgers(folder):
    """Of the suite and of its twin."""
    return [Ledger(plan, folder) for plan in plan_suites(SMALL)]


def store(ledger, shard, *numbers):
    for number in numbers:
        ledger.write(number, {key: fake_stack(*key, SMALL_ROWS[number]) for key in ledger.plan.keys})
        ledger.note(shard, number)


def test_the_file_is_what_numpy_would_save(whole, tmp_path):
    np.save(tmp_path / "maps.npy", np.concatenate([fake_stack("MockTNG", "Mtot", row) for row in SMALL_ROWS]))
    assert (tmp_path / "maps.npy").read_bytes() == whole[NAMES[0]]


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_shards_make_the_same_files_and_the_last_one_names_them(whole, tmp_path, order):
    for number in order[:-1]:
        simulate(tmp_path, number, 3)
        assert not (tmp_path / NAMES[0]).exists()
    simulate(tmp_path, order[-1], 3)
    assert contents(tmp_path) == whole
    assert not (tmp_path / PARTIAL).exists()


def test_more_shards_than_simulations(whole, tmp_path):
    for number in range(1, 10):
        simulate(tmp_path, number, 9)
    assert contents(tmp_path) == whole


def test_shards_of_several_processes_at_once(whole, tmp_path):
    processes = [start(tmp_path, number, 2) for number in (1, 2)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert contents(tmp_path) == whole
    assert not (tmp_path / PARTIAL).exists()
    runs = json.loads((tmp_path / "provenance.json").read_text())["MockTNG_LH"]["runs"]
    assert sorted((run["shard"], run["simulations"]) for run in runs) == [("1/2", 4), ("2/2", 3)]


def test_a_killed_shard_is_continued_with_another_division(whole, tmp_path, computed):
    process = start(tmp_path, 1, 2)
    wait_for_lines(ledgers(tmp_path)[-1].partial / "done-1-of-2.txt", 2, process)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    n_done = len(SMALL_ROWS) - len(missing_simulations(plan_suites(SMALL), tmp_path))
    assert n_done >= 2
    for number in (1, 2, 3):
        simulate(tmp_path, number, 3)
    assert contents(tmp_path) == whole
    assert len(computed) == len(SMALL_ROWS) - n_done


def test_a_shard_belongs_to_one_process_at_a_time(tmp_path):
    context = multiprocessing.get_context("spawn")
    started, released = context.Event(), context.Event()
    process = context.Process(target=run_held, args=(SMALL, tmp_path, Shard(1, 2), started, released))
    process.start()
    assert started.wait(60)
    with pytest.raises(UserError, match="another process works on shard 1/2"):
        simulate(tmp_path, 1, 2)
    with pytest.raises(UserError, match="shards of another count are at work"):
        simulate(tmp_path)
    simulate(tmp_path, 2, 2)
    released.set()
    process.join()
    assert (tmp_path / NAMES[0]).exists()


def test_a_line_torn_by_a_kill_does_not_count(whole, tmp_path, computed):
    for ledger in ledgers(tmp_path):
        with ledger.claim(Shard()):
            store(ledger, Shard(), 0, 1)
    with (tmp_path / PARTIAL / "done-1-of-1.txt").open("a") as file:
        file.write("2")
    assert [ledger.missing() for ledger in ledgers(tmp_path)] == [[2, 3, 4, 5, 6]] * 2
    simulate(tmp_path)
    assert computed == [row.seed for row in SMALL_ROWS[2:]]
    assert contents(tmp_path) == whole


def test_a_folder_whose_creation_was_interrupted_is_created_again(whole, tmp_path):
    (tmp_path / PARTIAL).mkdir()
    (tmp_path / PARTIAL / NAMES[0]).write_bytes(b"half a header")
    simulate(tmp_path)
    assert contents(tmp_path) == whole


@pytest.mark.parametrize("n_renamed", [0, 1, 2])
def test_a_closing_that_was_interrupted_is_finished(whole, tmp_path, n_renamed, computed):
    for ledger in ledgers(tmp_path):
        with ledger.claim(Shard()) as todo:
            store(ledger, Shard(), *todo)
    for name, ledger in list(zip(NAMES, ledgers(tmp_path), strict=False))[:n_renamed]:
        (ledger.partial / name).rename(tmp_path / name)
    simulate(tmp_path)
    assert contents(tmp_path) == whole
    assert computed == []


def test_leftovers_of_a_removal_that_was_interrupted_are_removed(whole, tmp_path, computed):
    simulate(tmp_path)
    computed.clear()
    (tmp_path / PARTIAL).mkdir()
    (tmp_path / PARTIAL / "done-1-of-1.txt").write_text("0\n")
    simulate(tmp_path)
    assert not (tmp_path / PARTIAL).exists()
    assert computed == []


def test_two_that_see_the_end_both_close(whole, tmp_path):
    both = [ledgers(tmp_path) for _ in range(2)]
    for number, ours in enumerate(both, start=1):
        for ledger in ours:
            with ledger.claim(Shard(number, 2)) as todo:
                store(ledger, Shard(number, 2), *todo)
    for ours in both:
        for ledger in ours:
            ledger.close()
    assert contents(tmp_path) == whole


def test_one_who_sees_the_end_first_finds_every_simulation_recorded(whole, tmp_path, monkeypatch):
    note = Ledger.note

    def note_and_close(ledger, shard, number):
        note(ledger, shard, number)
        Ledger(ledger.plan, ledger.directory).close()  # as another process may do at this moment

    monkeypatch.setattr(Ledger, "note", note_and_close)
    simulate(tmp_path)
    assert contents(tmp_path) == whole
    (run,) = json.loads((tmp_path / "provenance.json").read_text())["MockTNG_LH"]["runs"]
    assert run["simulations"] == len(SMALL_ROWS)


def test_nothing_is_named_while_simulations_are_missing(tmp_path):
    ledger, _ = ledgers(tmp_path)
    with ledger.claim(Shard()) as todo:
        store(ledger, Shard(), *todo[:-1])
    ledger.close()
    assert not (tmp_path / NAMES[0]).exists()
    assert ledger.missing() == [6]


def test_the_number_is_written_after_the_maps(tmp_path, monkeypatch):
    def disk_full(*_):
        raise OSError(errno.ENOSPC, "disk full")

    ledger, _ = ledgers(tmp_path)
    monkeypatch.setattr(ledger_module, "write_block", disk_full)
    with ledger.claim(Shard()), pytest.raises(OSError, match="disk full"):
        store(ledger, Shard(), 3)
    assert 3 in ledger.missing()


def test_unfinished_and_finished_work_of_another_spec_is_refused(tmp_path):
    simulate(tmp_path, 1, 2)
    for change in ({"step_error": 0.2}, {"n_simulations": 8}, {"fields": ("Mtot", "Mgas")}):
        with pytest.raises(UserError, match="unfinished simulations of another spec"):
            simulate(tmp_path, 2, 2, replace(SMALL, **change))
    simulate(tmp_path, 2, 2)
    with pytest.raises(UserError, match="MockTNG_LH made with another spec"):
        simulate(tmp_path, spec=replace(SMALL, step_error=0.2))


def test_a_changed_table_is_another_spec(tmp_path):
    table = tmp_path / "mine.txt"
    table.write_text("0.3 0.8 1 1 1 1\n0.2 0.8 1 1 1 1\n")
    spec = replace(SMALL, set_name="mine", parameters=str(table), n_simulations=None)
    simulate(tmp_path / "out", 1, 2, spec)
    table.write_text("0.3 0.8 1 1 1 1\n0.2 0.8 1 1 1 1.5\n")
    with pytest.raises(UserError, match="unfinished simulations of another spec"):
        simulate(tmp_path / "out", 2, 2, spec)


def test_labels_keep_all_their_digits(tmp_path):
    table = tmp_path / "mine.txt"
    table.write_text("0.31234567 0.8 1 1 1 1\n")
    simulate(tmp_path, spec=replace(SMALL, set_name="mine", parameters=str(table), n_simulations=None))
    written = (tmp_path / "params_mine_MockTNG.txt").read_text()
    assert written == "0.31234567 0.80000 1.00000 1.00000 1.00000 1.00000\n"


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file"):
        simulate(tmp_path / "file")


def test_a_record_that_is_none_is_refused(tmp_path):
    (tmp_path / "provenance.json").write_text("{")
    with pytest.raises(UserError, match=r"provenance.json: not JSON"):
        simulate(tmp_path)
