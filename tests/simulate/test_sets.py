from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from fieldlevel import suites
from fieldlevel.errors import UserError
from fieldlevel.layout import CAMELS_PARAMETERS, Layout
from fieldlevel.mapmaking.shards import Shard
from fieldlevel.simulate.sets import Row, describe_labels, one_parameter, pinned, read_table, rows_of_set
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.suites import SuiteFacts, layout_of, mock_suites

FIDUCIAL = [parameter.fiducial for parameter in CAMELS_PARAMETERS]


SUITES = mock_suites()


def labels(spec: SimulateSpec, suite: str = "MockTNG") -> np.ndarray:
    return np.array([row.parameters for row in rows_of_set(spec, suite)])


def seeds(spec: SimulateSpec, suite: str = "MockTNG") -> list[int]:
    return [row.seed for row in rows_of_set(spec, suite)]


@pytest.mark.parametrize("suite", SUITES)
def test_the_latin_hypercube_covers_the_priors_with_a_seed_each(suite):
    rows, layout = labels(SimulateSpec(), suite), layout_of(suite)
    assert rows.shape == (1000, 6)
    assert ((rows >= layout.lows) & (rows <= layout.highs)).all()
    assert len(set(seeds(SimulateSpec(), suite))) == 1000


def test_cosmic_variance_is_the_fiducial_point_with_27_seeds():
    spec = SimulateSpec(set_name="CV")
    assert (labels(spec) == FIDUCIAL).all()
    assert labels(spec).shape == (27, 6)
    assert len(set(seeds(spec))) == 27


def test_extremes_are_those_of_camels_with_the_weakest_feedback_for_none():
    spec = SimulateSpec(set_name="EX")
    feedback = [[1, 1, 1, 1], [1, 100, 1, 1], [100, 1, 1, 1], [1e-3] * 4]
    assert labels(spec).tolist() == [[0.3, 0.8, *each] for each in feedback]
    assert len(set(seeds(spec))) == 1


@pytest.mark.parametrize("set_name", ["LH", "LHtest", "CV", "1P", "EX"])
def test_a_row_is_one_universe_in_all_suites(set_name):
    """Omega_m, sigma_8 and the seed are those of the gravity-only twin."""
    spec = SimulateSpec(set_name=set_name, n_simulations=3 if set_name == "EX" else 20)
    twin = rows_of_set(spec, "Nbody_Mock")
    assert {len(row.parameters) for row in twin} == {2}
    for suite in SUITES:
        rows = rows_of_set(spec, suite)
        assert [Row(row.parameters[:2], row.seed) for row in rows] == twin
    feedback = {suite: labels(spec, suite)[:, 2:].tolist() for suite in SUITES}
    assert all((feedback[one] == feedback[other]) == (set_name[:2] != "LH") for one, other in combinations(SUITES, 2))


@pytest.mark.parametrize(
    "again", ["LHtestn128", "LHtestthin2", "LHtestlattice2", "LHtestn128thin4cdm", "LHtesttracers"]
)
@pytest.mark.parametrize("suite", [*SUITES, "Nbody_Mock"])
def test_a_set_that_is_done_again_has_the_rows_of_its_base(again, suite):
    spec = SimulateSpec(set_name="LHtest", n_simulations=9, n_particles=128)
    assert rows_of_set(replace(spec, set_name=again), suite) == rows_of_set(spec, suite)
    for fixed in ("CV", "1P"):
        thinned, whole = (replace(spec, set_name=name) for name in (f"{fixed}thin2", fixed))
        assert rows_of_set(thinned, suite) == rows_of_set(whole, suite)


def test_a_name_that_states_another_number_of_particles_is_refused():
    with pytest.raises(UserError, match="its name says 64 particles a side, n_particles = 256; give another name"):
        rows_of_set(SimulateSpec(set_name="LHn64"), "MockTNG")


def test_one_parameter_follows_the_range_of_each_suite():
    tng, astrid = (labels(SimulateSpec(set_name="1P"), suite) for suite in ("MockTNG", "MockAstrid"))
    moved = tng != astrid
    assert moved.sum(axis=0).tolist() == [0] * 5 + [10]
    assert (astrid[-11:, 5].min(), astrid[-11:, 5].max()) == (0.25, 4.0)


def test_one_parameter_at_a_time_as_in_the_camels_tables():
    spec = SimulateSpec(set_name="1P")
    rows = labels(spec)
    assert rows.shape == (61, 6)
    assert len(set(seeds(spec))) == 1
    moved = rows != FIDUCIAL
    assert moved.sum(axis=1).tolist() == [1] * 5 + [0] + [1] * 55
    assert moved.sum(axis=0).tolist() == [10] * 6
    assert (np.diff(moved.argmax(axis=1)[moved.any(axis=1)]) >= 0).all()
    values = [np.sort(np.append(rows[moved[:, column], column], FIDUCIAL[column])) for column in range(6)]
    np.testing.assert_array_equal([values[i][0] for i in range(6)], Layout().lows)
    np.testing.assert_array_equal([values[i][-1] for i in range(6)], Layout().highs)
    assert values[1].tolist() == [0.6, 0.64, 0.68, 0.72, 0.76, 0.8, 0.84, 0.88, 0.92, 0.96, 1.0]
    quarter_to_four = [0.25, 0.32988, 0.43528, 0.57435, 0.75786, 1.0, 1.31951, 1.7411, 2.2974, 3.03143, 4.0]
    assert values[2].tolist() == values[3].tolist() == quarter_to_four
    half_to_two = [0.5, 0.57435, 0.65975, 0.75786, 0.87055, 1.0, 1.1487, 1.31951, 1.51572, 1.7411, 2.0]
    assert values[4].tolist() == values[5].tolist() == half_to_two


def test_no_two_sets_share_initial_conditions(tmp_path):
    (tmp_path / "mine.txt").write_text("0.3 0.8 1 1 1 1\n0.2 0.8 1 1 1 1\n")
    made = [SimulateSpec(set_name=name) for name in ("LH", "LHtest", "LHtest2", "CV", "1P", "EX")]
    own = [SimulateSpec(set_name=name, parameters=str(tmp_path / "mine.txt")) for name in ("mine", "yours")]
    each = [set(seeds(spec)) for spec in (*made, *own)]
    assert all(one.isdisjoint(other) for one, other in combinations(each, 2))
    assert all(0 <= seed < 10**18 for some in each for seed in some)


def test_the_first_rows_of_a_set_are_taken():
    assert rows_of_set(SimulateSpec(set_name="1P", n_simulations=3), "MockTNG") == one_parameter()[:3]
    for wrong in (0, 28):
        with pytest.raises(UserError, match=f"n_simulations = {wrong}: allowed are 1 to 27"):
            rows_of_set(SimulateSpec(set_name="CV", n_simulations=wrong), "MockTNG")


@pytest.mark.parametrize("wrong", [0, -1])
def test_a_latin_hypercube_has_a_row_at_least(wrong):
    with pytest.raises(UserError, match=f"n_simulations = {wrong}: allowed are 1 to 40000"):
        rows_of_set(SimulateSpec(n_simulations=wrong), "MockTNG")


def test_shards_divide_the_simulations():
    for count in (1, 2, 7, 40):
        parts = [Shard(number, count).of(27) for number in range(1, count + 1)]
        assert sorted(number for part in parts for number in part) == list(range(27))


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "a/b", "-1/2", "1/2/3", "1.0/2", "01/2"])
def test_shards_that_are_none_are_refused(text):
    with pytest.raises(UserError, match=r"give its number and how many there are"):
        Shard.parse(text)


def test_a_table_of_ones_own(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("# Omega_m ...\n0.3 0.8 1 1 1 1 17\n\n0.1, 1.7, 9, .1, 1, 1  # far out\n0.1 1.7 9 .1 1 1\n")
    spec = SimulateSpec(set_name="mine", parameters=str(path))
    first, second, third = rows_of_set(spec, "MockTNG")
    assert first == Row((0.3, 0.8, 1.0, 1.0, 1.0, 1.0), 17)
    assert second.parameters == third.parameters == (0.1, 1.7, 9.0, 0.1, 1.0, 1.0)
    assert second.seed != third.seed
    assert rows_of_set(replace(spec, n_simulations=1), "MockTNG") == [first]
    assert rows_of_set(spec, "MockSIMBA") == [first, second, third]
    assert rows_of_set(spec, "Nbody_Mock") == [Row(row.parameters[:2], row.seed) for row in (first, second, third)]
    assert describe_labels(spec, "MockTNG") == "rows 0 to 2 of mine.txt"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("", "no rows"),
        ("# nothing\n", "no rows"),
        ("0.3 0.8 1 1 1", r"row 0 \(line 1\): 5 columns; give Omega_m sigma_8"),
        ("0.3 0.8 1 1 1 1 1 1", "8 columns"),
        ("0.3 0.8 1 1 1 1\n# x\n0.3 0.8 one 1 1 1", r"row 1 \(line 3\): 'one' is not a number"),
        ("0.05 0.8 1 1 1 1", r"Omega_m = 0.05: allowed are 0.1 to 0.5"),
        ("0.51 0.8 1 1 1 1", r"Omega_m = 0.51"),
        ("nan 0.8 1 1 1 1", r"Omega_m = nan"),
        ("0.3 0 1 1 1 1", r"sigma_8 = 0: allowed"),
        ("0.3 8 1 1 1 1", r"sigma_8 = 8"),
        ("0.3 0.8 1 0 1 1", r"A_AGN1 = 0: allowed are positive"),
        ("0.3 0.8 1 1 1 inf", r"A_AGN2 = inf"),
        ("0.3 0.8 1 1 1 1 1.5", r"seed '1.5'"),
        ("0.3 0.8 1 1 1 1 -1", r"seed '-1'"),
        ("0.3 0.8 1 1 1 1 5\n0.3 0.8 1 1 1 1 5", r"rows 0 and 1 are the same simulation"),
    ],
)
def test_tables_that_cannot_be_simulated_are_refused(tmp_path, rows, words):
    path = tmp_path / "mine.txt"
    path.write_text(rows)
    with pytest.raises(UserError, match=words) as refused:
        read_table(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_set_names_and_tables_belong_together(tmp_path):
    for name in ("mine", "LH_x", "SB28", "BE", ""):
        with pytest.raises(UserError, match="unknown; allowed: LH, LH<word>, CV, 1P, EX, others with"):
            rows_of_set(SimulateSpec(set_name=name), "MockTNG")
    for name in ("LH", "LHmine", "CVthin2", "EX", "a_b", "../x", ""):
        with pytest.raises(UserError, match="a set name of their own"):
            rows_of_set(SimulateSpec(set_name=name, parameters="mine.txt"), "MockTNG")
    with pytest.raises(UserError, match=r"none.txt: cannot be read"):
        rows_of_set(SimulateSpec(set_name="mine", parameters=str(tmp_path / "none.txt")), "MockTNG")


def test_pinned_specs_are_equal_if_the_maps_are(tmp_path):
    assert pinned(SimulateSpec()) == pinned(SimulateSpec(n_simulations=1000)) != pinned(SimulateSpec(n_simulations=9))
    nine = pinned(SimulateSpec(n_simulations=9))
    assert nine == pinned(SimulateSpec(n_hypercube=9)) == pinned(SimulateSpec(n_simulations=9, n_hypercube=9))
    assert nine != pinned(SimulateSpec(n_simulations=9, n_hypercube=10)) != pinned(SimulateSpec(n_simulations=10))
    table, copy = tmp_path / "mine.txt", tmp_path / "copy.txt"
    for path in (table, copy):
        path.write_text("0.3 0.8 1 1 1 1\n")
    of_table, of_copy = (pinned(SimulateSpec(set_name="mine", parameters=str(path))) for path in (table, copy))
    assert of_table == of_copy
    table.write_text("0.3 0.8 1 1 1 1.5\n")
    assert pinned(SimulateSpec(set_name="mine", parameters=str(table))) != of_copy


def test_the_rows_do_not_depend_on_which_suites_are_simulated():
    one, other = (pinned(SimulateSpec((suite,))) for suite in ("MockTNG", "MockEAGLE"))
    assert one.n_simulations == other.n_simulations
    assert rows_of_set(SimulateSpec(("MockSIMBA",)), "MockTNG") == rows_of_set(SimulateSpec(), "MockTNG")


def test_the_first_rows_of_a_hypercube_are_its_first_rows():
    whole = SimulateSpec(set_name="LHtest", n_simulations=9)
    first = replace(whole, n_simulations=3, n_hypercube=9)
    assert rows_of_set(first, "MockSIMBA") == rows_of_set(whole, "MockSIMBA")[:3]
    assert rows_of_set(first, "MockSIMBA") != rows_of_set(replace(whole, n_simulations=3), "MockSIMBA")
    assert describe_labels(first, "Nbody_Mock") == "rows 0 to 2 of the latin hypercube LHtest of 9 simulations"
    assert len(rows_of_set(SimulateSpec(n_hypercube=7), "MockTNG")) == 7


def test_more_rows_than_a_hypercube_has_and_other_sets_with_one_are_refused():
    with pytest.raises(UserError, match="n_simulations = 10: allowed are 1 to 9, the rows of the set"):
        rows_of_set(SimulateSpec(n_simulations=10, n_hypercube=9), "MockTNG")
    with pytest.raises(UserError, match="n_hypercube = 9: set CV is no latin hypercube; leave it out"):
        rows_of_set(SimulateSpec(set_name="CV", n_hypercube=9), "MockTNG")


def test_labels_are_described():
    spec = SimulateSpec(set_name="LHtest", n_simulations=7)
    assert describe_labels(spec, "Nbody_Mock") == "rows 0 to 6 of the latin hypercube LHtest of 7 simulations"
    assert describe_labels(spec, "MockTNG") != describe_labels(spec, "MockSIMBA")
    assert describe_labels(SimulateSpec(set_name="CV"), "MockTNG") == (
        "rows 0 to 26 of the fiducial point with different seeds"
    )


@pytest.mark.parametrize("suite", ["SIMBA", "Nbody_SIMBA", "Nbody_MockTNG", "MockMine", "Nbody_", ""])
def test_suites_that_are_not_simulated_have_no_rows(suite):
    with pytest.raises(UserError, match="allowed are MockTNG, MockSIMBA, MockAstrid, MockEAGLE"):
        rows_of_set(SimulateSpec(), suite)


def test_a_suite_of_other_cosmologies_is_refused(monkeypatch):
    wide = (replace(CAMELS_PARAMETERS[0], low=0.05), *CAMELS_PARAMETERS[1:])
    facts = SuiteFacts("MockWide", wide, is_mock=True, model="a:b")
    monkeypatch.setattr(suites, "_SUITES", suites._SUITES | {"MockWide": facts})
    with pytest.raises(UserError, match=r"suite MockWide: Omega_m from 0.05 to 0.5, .* register it with 0.1 to 0.5"):
        rows_of_set(SimulateSpec(), "MockWide")


def test_blocks_of_one_parameter_differ_in_their_seed_alone():
    spec = SimulateSpec(set_name="1P", n_seeds=3, n_values=5)
    rows, block = labels(spec), 6 * 4 + 1
    assert len(rows) == 3 * block
    assert (rows[:block] == rows[block : 2 * block]).all()
    assert (rows[:block] == rows[2 * block :]).all()
    of_block = [set(seeds(spec)[start : start + block]) for start in range(0, 3 * block, block)]
    assert [len(each) for each in of_block] == [1, 1, 1]
    assert len(set.union(*of_block)) == 3
    assert rows_of_set(replace(spec, n_seeds=None), "MockTNG") == rows_of_set(spec, "MockTNG")[:block]
    assert rows_of_set(SimulateSpec(set_name="1P"), "MockTNG")[0].seed == rows_of_set(spec, "MockTNG")[0].seed
    moved = rows[:block] != FIDUCIAL
    assert moved.sum(axis=0).tolist() == [4] * 6
    assert sorted({*rows[:block][:, 2]}) == [0.25, 0.5, 1.0, 2.0, 4.0]


def test_blocks_of_one_parameter_are_of_no_other_set():
    blocks = seeds(SimulateSpec(set_name="1P", n_seeds=1000, n_values=3))
    others = [seeds(SimulateSpec(set_name=name)) for name in ("LH", "LHtest", "CV", "EX")]
    assert len(set(blocks)) == 1000
    assert set(blocks).isdisjoint(seed for each in others for seed in each)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"set_name": "CV", "n_seeds": 2}, "n_seeds = 2: set CV is not 1P; leave it out"),
        ({"set_name": "LH", "n_values": 5}, "n_values = 5: set LH is not 1P; leave it out"),
        ({"n_seeds": 0}, "n_seeds = 0: allowed are 1 to 1000"),
        ({"n_seeds": 1001}, "n_seeds = 1001: allowed are 1 to 1000"),
        ({"n_values": 4}, "n_values = 4: allowed are 3, 5, 7, ... to 101"),
        ({"n_values": 1}, "n_values = 1: allowed are 3, 5, 7"),
    ],
)
def test_blocks_that_cannot_be_are_refused(change, words):
    with pytest.raises(UserError, match=words):
        rows_of_set(replace(SimulateSpec(set_name="1P"), **change), "MockTNG")


def test_the_usual_blocks_of_one_parameter_are_pinned_as_such():
    plain = SimulateSpec(set_name="1P")
    assert pinned(plain) == pinned(replace(plain, n_seeds=1, n_values=11)) != pinned(replace(plain, n_seeds=2))
    several = replace(plain, n_seeds=2, n_values=3)
    assert describe_labels(plain, "Nbody_Mock") == "rows 0 to 60 of the CAMELS values of one parameter at a time"
    told = "rows 0 to 25 of 3 values, from 2 initial conditions each, of one parameter at a time"
    assert describe_labels(several, "Nbody_Mock") == told
