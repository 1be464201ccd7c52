"""Several suites in one run: each has a plan of its own, and what one lacks is made without touching the others."""

import json
from dataclasses import replace

import numpy as np
import pytest
from fake_simulation import SMALL, fake_maps

from fieldlevel.data.suite import check_directory
from fieldlevel.errors import UserError
from fieldlevel.mapmaking.ledger import Ledger
from fieldlevel.mapmaking.shards import Shard
from fieldlevel.simulate import mock_suite, simulation
from fieldlevel.simulate.mock_suite import fill_folder, plan_suites, simulate_suite
from fieldlevel.simulate.sets import Row, rows_of_set
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.suites import layout_of, nbody_twin

PAIR = replace(SMALL, suites=("MockTNG", "MockSIMBA"), set_name="CV")
ONE, OTHER = (replace(PAIR, suites=(suite,)) for suite in PAIR.suites)
TWINS = tuple(dict.fromkeys(map(nbody_twin, PAIR.suites)))
ALL = (*PAIR.suites, *TWINS)
TINY = replace(PAIR, n_simulations=2, n_particles=16, n_mesh=16, n_pixels=16, fields=("Mtot", "Mgas"))


@pytest.fixture
def wanted(monkeypatch) -> list[tuple[str, ...]]:
    """Suites that are made of each simulation; the fake takes a millisecond."""
    asked = []

    def maps(spec, rows, pairs, *others):
        asked.append(tuple(suite for suite, _ in pairs))
        return fake_maps(spec, rows, pairs, *others)

    monkeypatch.setattr(simulation, "simulate_maps", maps)
    return asked


def simulate(folder, spec=PAIR, number=1, count=1, **options):
    return simulate_suite(spec, folder, device="cpu", shard=Shard(number, count), **options)


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for kind in ("Maps_*", "params_*") for path in sorted(folder.glob(kind))}


def times(folder) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for kind in ("Maps_*", "params_*") for path in folder.glob(kind)}


def records(folder):
    return json.loads((folder / "provenance.json").read_text())


def test_two_suites_of_one_run_are_to_the_bit_those_of_two(tmp_path):
    both = simulate(tmp_path / "both", TINY)
    assert check_directory(both) == []
    for spec in (TINY, replace(TINY, suites=TINY.suites[::-1])):
        assert contents(simulate(tmp_path / "-".join(spec.suites), spec)) == contents(both)
    for suite in TINY.suites:
        simulate(tmp_path / "apart", replace(TINY, suites=(suite,)))
    assert contents(tmp_path / "apart") == contents(both)


def test_every_simulation_is_made_once_for_all_plans(wanted, tmp_path):
    simulate(tmp_path)
    assert wanted == [ALL] * 7


def test_each_suite_has_the_record_that_it_has_alone(wanted, tmp_path):
    simulate(tmp_path / "both")
    simulate(tmp_path / "one", replace(ONE, twin=False))
    both, one = records(tmp_path / "both"), records(tmp_path / "one")
    assert set(both) == {f"{suite}_CV" for suite in ALL}
    assert set(one) == {"MockTNG_CV"}
    assert both["MockTNG_CV"]["digest"] == one["MockTNG_CV"]["digest"]
    assert "fields" not in both[f"{TWINS[0]}_CV"]["spec"]


def test_a_suite_that_is_added_later_makes_its_own_maps_alone(wanted, tmp_path):
    simulate(tmp_path / "whole")
    simulate(tmp_path / "out", ONE)
    before, written = records(tmp_path / "out"), times(tmp_path / "out")
    wanted.clear()
    simulate(tmp_path / "out")
    added = tuple(suite for suite in ALL if suite not in ("MockTNG", nbody_twin("MockTNG")))
    assert wanted == [added] * 7
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert {name: time for name, time in times(tmp_path / "out").items() if name in written} == written
    after = records(tmp_path / "out")
    assert {name: after[name] for name in before} == before
    wanted.clear()
    simulate(tmp_path / "out", OTHER)
    assert wanted == []


def test_a_twin_that_was_left_out_is_added_later(wanted, tmp_path):
    simulate(tmp_path, replace(PAIR, twin=False))
    assert wanted == [PAIR.suites] * 7
    assert not list(tmp_path.glob("*Nbody*"))
    wanted.clear()
    simulate(tmp_path, ONE)
    assert wanted == [(nbody_twin("MockTNG"),)] * 7
    wanted.clear()
    simulate(tmp_path, replace(ONE, twin=False))
    assert wanted == []


def test_a_kill_between_two_plans_of_a_simulation_is_continued(wanted, tmp_path, monkeypatch):
    """What was stored of the simulation is not made again."""
    write, is_dead = Ledger.write, []

    def die(ledger, number, maps):
        if is_dead or (ledger.plan.suite, number) == ("MockSIMBA", 3):
            is_dead.append(True)
            raise KeyboardInterrupt
        write(ledger, number, maps)

    monkeypatch.setattr(Ledger, "write", die)
    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "out")
    monkeypatch.setattr(Ledger, "write", write)
    missing = [Ledger(plan, tmp_path / "out").missing() for plan in plan_suites(PAIR)]
    assert missing == [[4, 5, 6], *[[3, 4, 5, 6]] * (len(ALL) - 1)]
    wanted.clear()
    events = []
    simulate(tmp_path / "out", listener=events.append)
    assert wanted == [ALL[1:], ALL, ALL, ALL]
    assert [event.done for event in events] == [3, 4, 5, 6, 7]
    assert contents(tmp_path / "out") == contents(simulate(tmp_path / "whole"))
    runs = {name: [run["simulations"] for run in record["runs"]] for name, record in records(tmp_path / "out").items()}
    assert runs == {"MockTNG_CV": [4, 3]} | {f"{suite}_CV": [3, 4] for suite in ALL[1:]}


def test_a_suite_is_added_while_another_is_half_done(wanted, tmp_path):
    simulate(tmp_path / "out", ONE, 1, 2)
    for number in (1, 2):
        simulate(tmp_path / "out", PAIR, number, 2)
    assert contents(tmp_path / "out") == contents(simulate(tmp_path / "whole"))


def test_nothing_is_left_of_plans_that_were_begun_beside_one_that_is_refused(wanted, tmp_path):
    simulate(tmp_path, replace(OTHER, twin=False, step_error=0.2))
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(UserError, match="MockSIMBA_CV made with another spec"):
        simulate(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_nothing_is_left_of_any_plan_when_the_first_simulation_fails(monkeypatch, tmp_path):
    def fail(*_):
        raise RuntimeError("no memory")

    monkeypatch.setattr(simulation, "simulate_maps", fail)
    with pytest.raises(RuntimeError):
        simulate(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_snapshots_of_all_suites_and_the_twin_are_kept(tmp_path):
    spec = replace(TINY, n_simulations=1)
    simulate(tmp_path, replace(spec, suites=("MockTNG",)), keep_snapshots=True)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "snapshots").rglob("*.hdf5")}
    simulate(tmp_path, spec, keep_snapshots=True)
    found = {path.relative_to(tmp_path / "snapshots").parts[0] for path in tmp_path.rglob("*.hdf5")}
    assert found == set(ALL)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_one_suite_without_its_particles_is_refused(tmp_path):
    spec = replace(TINY, n_simulations=1)
    simulate(tmp_path, replace(spec, suites=("MockTNG",), twin=False))
    with pytest.raises(UserError, match="holds maps of 1 simulations whose particles were not kept"):
        simulate(tmp_path, spec, keep_snapshots=True)


@pytest.mark.parametrize(
    ("suites", "words"),
    [
        (("MockTNG", "MockTNG"), "suites: MockTNG MockTNG: name each once"),
        (("MockTNG", "Nonsense"), "suite = Nonsense: allowed are MockTNG, MockSIMBA"),
        ((), "suites: none is named; allowed are MockTNG, MockSIMBA"),
    ],
)
def test_suites_that_cannot_be_are_refused(tmp_path, suites, words):
    with pytest.raises(UserError, match=words):
        simulate(tmp_path / "out", replace(PAIR, suites=suites))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("change", [{"seed": 1}, {"parameters": (0.31, 0.8, 1.0, 1.0, 1.0, 1.0)}])
def test_suites_of_different_universes_are_refused(monkeypatch, tmp_path, change):
    def rows(spec: SimulateSpec, suite: str) -> list[Row]:
        own = rows_of_set(spec, suite)
        return own if suite == "MockTNG" else [own[0], replace(own[1], **change), *own[2:]]

    monkeypatch.setattr(mock_suite, "rows_of_set", rows)
    with pytest.raises(UserError, match=r"set CV: row 1 is Omega_m = 0.3, .* in MockTNG, but .* in MockSIMBA"):
        simulate(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_suites_of_different_numbers_of_rows_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(
        mock_suite, "rows_of_set", lambda spec, suite: rows_of_set(spec, suite)[: 7 if suite == "MockTNG" else 6]
    )
    with pytest.raises(UserError, match="set CV: has 7 of MockTNG, 6 of MockSIMBA"):
        simulate(tmp_path / "out")


def test_the_twin_has_the_labels_of_its_layout(wanted, tmp_path):
    simulate(tmp_path)
    for suite in ALL:
        labels = np.loadtxt(tmp_path / f"params_CV_{suite}.txt")
        assert labels.shape == (7, layout_of(suite, "CV").n_parameters)
        assert (labels[:, :2] == [0.3, 0.8]).all()


def test_a_folder_tells_what_was_there_and_what_is_missing(tmp_path, wanted):
    def names(plans):
        return [plan.name for plan in plans]

    half = fill_folder(ONE, tmp_path, device="cpu", shard=Shard(1, 2))
    assert (names(half.made), half.there) == (["MockTNG_CV", "Nbody_Mock_CV"], ())
    assert half.missing == tuple(Shard(2, 2).of(PAIR.n_simulations))
    simulate(tmp_path, ONE)
    both = fill_folder(PAIR, tmp_path, device="cpu")
    assert (names(both.made), names(both.there)) == (["MockSIMBA_CV"], ["MockTNG_CV", "Nbody_Mock_CV"])
    assert both.missing == ()


def test_rows_are_looked_up_as_often_however_many_sets_are_made_of_them(monkeypatch):
    calls = []

    def rows(*given):
        calls.append(given)
        return rows_of_set(*given)

    monkeypatch.setattr(mock_suite, "rows_of_set", rows)
    monkeypatch.setattr("fieldlevel.simulate.sets.rows_of_set", rows)
    n_calls = []
    for spec in (TINY, replace(TINY, thin=(0.5, 0.25), thin_kinds=True, thin_lattice=(2,))):
        calls.clear()
        plan_suites(spec)
        n_calls.append(len(calls))
    assert n_calls[0] == n_calls[1]


def test_the_progress_names_what_is_made(tmp_path, wanted):
    def tasks(spec):
        events = []
        simulate(tmp_path, spec, listener=events.append)
        return {event.task for event in events}

    assert tasks(replace(ONE, twin=False)) == {"simulate MockTNG"}
    assert tasks(replace(PAIR, twin=False)) == {"simulate MockSIMBA"}
    assert tasks(PAIR) == {"simulate Nbody_Mock"}
    assert tasks(PAIR) == {"simulate MockTNG, MockSIMBA"}
