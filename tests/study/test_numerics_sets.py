"""Names of sets that differ in the number of particles, and what a letter simulates of them."""

from dataclasses import replace
from fractions import Fraction
from itertools import chain

import pytest
import torch

from fieldlevel.data.cmd_format import SuiteFiles
from fieldlevel.json_files import write_json
from fieldlevel.simulate.mock_suite import plan_suites
from fieldlevel.study import numerics_data
from fieldlevel.study.letter_data import describe_data, prepare_data
from fieldlevel.study.numerics_data import apart, lack_of_memory, memory_needed, numerics_simulations
from fieldlevel.study.numerics_sets import (
    NumericsSet,
    numerics_sets,
    parse_numerics_set,
    particles_a_side,
    training_sets,
)
from fieldlevel.study.scales import laptop_scale, letter_scale

NAMES = {
    "LH": NumericsSet("LH"),
    "LHtest": NumericsSet("LHtest"),
    "CV": NumericsSet("CV"),
    "SB28": NumericsSet("SB28"),
    "LHthin2": NumericsSet("LH", 1 / 2),
    "LHtestthin8": NumericsSet("LHtest", 1 / 8),
    "LHthin2cdm": NumericsSet("LH", 1 / 2, "cdm"),
    "CVthin4gas": NumericsSet("CV", 1 / 4, "gas"),
    "LHlattice2": NumericsSet("LH", 1 / 8, lattice=2),
    "LHtestn512": NumericsSet("LHtest", n_particles=512),
    "LHn512thin8": NumericsSet("LH", 1 / 8, n_particles=512),
    "LHthinned": NumericsSet("LHthinned"),
    "LHtracers": NumericsSet("LHtracers"),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_tells_base_and_particles(name):
    assert parse_numerics_set(name) == NAMES[name]


def test_other_fractions_stand_there_with_a_p():
    assert parse_numerics_set("LHthin3p333").fraction == pytest.approx(0.3, rel=1e-3)


def test_densities_are_those_of_all_the_particles_of_the_base():
    densities = {name: parse_numerics_set(name).density(256) for name in ("LHthin4", "LHn128", "LHn512", "LHn512thin8")}
    assert {name: Fraction(density) for name, density in densities.items()} == {
        "LHthin4": Fraction(1, 4),
        "LHn128": Fraction(1, 8),
        "LHn512": Fraction(8),
        "LHn512thin8": Fraction(1),
    }
    assert parse_numerics_set("LHn512").density(None) is None


def test_sets_count_where_their_base_is_there():
    there = ["1P", "CV", "EXthin2", "LH", "LHthin2", "LHthin8", "LHn128", "LHthinned", "LHtestthin2", "minen5"]
    assert numerics_sets(there) == ("LH", "LHthin2", "LHthin8", "LHn128")
    assert numerics_sets(["CV", "LH", "1P"]) == ()
    assert training_sets(there, "LH") == ("LHthinned",)
    assert training_sets(there, "CV") == ()


def test_particles_are_those_of_the_record_or_of_camels(tmp_path):
    write_json(tmp_path / "provenance.json", {"MockTNG_LH": {"spec": {"n_particles": 64}}, "MockSIMBA_LH": {"spec": 3}})
    suites = ("MockTNG", "MockSIMBA", "Other", "SIMBA")
    assert [particles_a_side(SuiteFiles(tmp_path, suite)) for suite in suites] == [64, None, None, 256]


def test_a_letter_simulates_sets_to_train_on_and_to_test_on():
    own, small, coarse, fine = numerics_simulations(laptop_scale())
    assert (own.set_name, own.n_simulations, own.thin_training) == ("LH", 120, (0.05, 1.0))
    assert own.suites == small.suites == ("MockTNG", "MockSIMBA")
    assert (own.twin, small.twin) == (True, False)
    assert (small.set_name, small.thin, small.thin_kinds, small.thin_lattice) == (
        "LHtest", (1 / 2, 1 / 4, 1 / 8), True, (2,),
    )  # fmt: skip
    assert [(each.set_name, each.n_particles, each.thin) for each in (coarse, fine)] == [
        ("LHtestn32", 32, ()),
        ("LHtestn128", 128, (1 / 8,)),
    ]
    assert coarse.n_mesh == small.n_mesh == 96
    assert fine.n_mesh == 128
    assert fine.n_simulations < coarse.n_simulations == small.n_simulations < own.n_simulations / 5


def test_the_experiment_costs_a_letter_little():
    own, *others = numerics_simulations(laptop_scale())
    cost = [each.n_simulations * each.n_particles**3 for each in (own, *others)]
    assert sum(cost[1:]) < 0.5 * cost[0]


def test_no_part_is_too_small_for_a_disc(tiny_letter):
    own, small, *_ = numerics_simulations(tiny_letter)
    assert own.thin_training == (0.0625, 1.0)
    assert small.thin == (1 / 2, 1 / 4, 1 / 8)
    sparse = replace(tiny_letter, simulate=replace(tiny_letter.simulate, n_particles=8))
    _, small, *_ = numerics_simulations(sparse)
    assert (small.thin, small.thin_lattice, small.thin_kinds) == ((1 / 2,), (), True)


def test_what_was_asked_of_the_own_simulations_stays_with_them(tiny_letter):
    """Among it the range of the maps to train on; the test set has a name of its own, and no disc is too wide."""
    asked = replace(tiny_letter.simulate, thin=(0.5,), thin_training=(0.5, 2.0), smooth_training=(8, 16))
    own, small, coarser, finer = numerics_simulations(replace(tiny_letter, simulate=asked))
    assert own == replace(asked, suites=own.suites)
    assert (small.thin_training, small.smooth_training, coarser.thin, finer.thin) == (None, None, (), (1 / 8,))
    sparse = {"n_particles": 12, "n_neighbours": 8}
    for change in ({"set_name": "LHtest"}, {"n_particles": 10}, {"n_neighbours": 100}, sparse):
        own, *others = numerics_simulations(replace(tiny_letter, simulate=replace(tiny_letter.simulate, **change)))
        assert own.set_name not in {each.set_name for each in others}
        names = [plan.name for each in (own, *others) for plan in plan_suites(each)]
        assert len(set(names)) == len(names)


def test_no_maps_to_train_on_are_made_of_the_twin_of_a_letter(tiny_letter):
    own, *_ = numerics_simulations(tiny_letter)
    whole, parts = plan_suites(own), [plan_suites(each) for each in apart(own)]
    names, twins = ({plan.name for plan in plans} for plans in (whole, chain(*parts)))
    assert names - twins == {"Nbody_Mock_LHthinned"}
    assert twins < names
    assert {plan.digest for plan in chain(*parts)} < {plan.digest for plan in whole}
    for spec in (replace(own, thin_training=None), replace(own, twin=False)):
        assert apart(spec) == [spec]


def test_a_letter_without_numerics_simulates_its_own_suites_alone(tiny_letter):
    (own,) = numerics_simulations(replace(tiny_letter, numerics=False))
    assert (own.set_name, own.thin_training) == ("LH", None)


GIB = 2**30


@pytest.mark.parametrize(("gib", "sets"), [(139, []), (39, []), (31, ["LHtestn512"]), (15, ["LHtestn512"])])
def test_rows_that_a_gpu_has_no_memory_for_are_left_out_of_a_letter(monkeypatch, tmp_path, gib, sets):
    monkeypatch.setattr(numerics_data, "memory_of", lambda device: gib * GIB)
    _, *others = numerics_simulations(letter_scale())
    told = [lack_of_memory(each, tmp_path, [torch.device("cuda", 0)]) for each in others]
    left_out = {each.set_name: words for each, words in zip(others, told, strict=True) if words}
    assert list(left_out) == sets
    assert all("some 34 GB of memory with 2 x 512^3 particles, a GPU" in words for words in left_out.values())


def test_processes_on_the_cpu_share_its_memory(monkeypatch, tmp_path):
    _, small, *_ = numerics_simulations(laptop_scale())
    needed = memory_needed(small, "cpu")
    monkeypatch.setattr(numerics_data, "memory_of", lambda device: 2 * needed)
    assert lack_of_memory(small, tmp_path, [torch.device("cpu")] * 2) == ""
    assert "3 simulations at once take" in lack_of_memory(small, tmp_path, [torch.device("cpu")] * 3)
    few = replace(small, n_simulations=2, n_hypercube=2)
    assert lack_of_memory(few, tmp_path, [torch.device("cpu")] * 3) == ""


def test_a_letter_says_what_it_leaves_out_until_it_is_there(monkeypatch, tmp_path, tiny_letter):
    *_, coarser, finer = numerics_simulations(tiny_letter)
    memory, events = [memory_needed(finer, "cpu") - 1], []
    monkeypatch.setattr(numerics_data, "memory_of", lambda device: memory[0])

    def prepared():
        events.clear()
        data = prepare_data(tiny_letter, None, tmp_path, "cpu", listener=events.append)
        return data, {name for _, name in data.opened}, describe_data(tiny_letter, data).get("left out")

    lean, sets, told = prepared()
    assert coarser.set_name in sets
    assert finer.set_name not in sets
    assert told.startswith(f"{finer.set_name}: a simulation takes some 0.012 GB of memory with 2 x 32^3 particles, ")
    assert (events[0].task, events[0].done, events[0].total) == (f"simulate {finer.set_name}", 0, 0)
    assert events[0].detail.startswith("left out: a simulation takes")
    memory[0] *= 2
    whole, sets, told = prepared()
    assert {finer.set_name, f"{finer.set_name}thin8"} < sets
    assert told is None
    assert whole.key != lean.key
    memory[0] = 0
    again, sets, told = prepared()
    assert (again.key, told) == (whole.key, None)
