import csv
from dataclasses import dataclass, replace

from fieldlevel.layout import Layout
from fieldlevel.statistics.pairs import ORIGIN_COLUMNS, PairResult, by_key, on_own_suite, write_predictions
from fieldlevel.statistics.predictions import Predictions, csv_columns


@dataclass(frozen=True)
class Key:
    """What may stand for an experiment."""

    kind: str
    scale: float

    def __str__(self) -> str:
        return f"{self.kind} {self.scale:g}"


def test_only_tests_on_the_own_suite_are_kept(one_column):
    predictions = one_column([1], [1], [1])
    pairs = [PairResult(*pair, predictions, {}) for pair in (("A", "A"), ("A", "B"), ("B", "A"))]
    assert on_own_suite(pairs) == {"A": pairs[0]}


def test_every_row_of_the_table_says_where_it_is_from(tmp_path, one_column):
    mock = PairResult("SIMBA", "MockTNG", one_column([1, 2], [1, 2], [1, 1]), {}, seed=3)
    real = PairResult("IllustrisTNG", "SIMBA", one_column([1], [1], [0.5]), {})
    write_predictions(tmp_path / "all.csv", {"four pairs": (mock, real), "mean map": (real,)})
    header, *rows = csv.reader((tmp_path / "all.csv").read_text().splitlines())
    assert header[:8] == [
        "data",
        "experiment",
        "train_suite",
        "test_suite",
        "seed",
        "simulation",
        "map",
        "Omega_m_true",
    ]
    assert [row[:7] for row in rows] == [
        ["MOCK DATA", "four pairs", "SIMBA", "MockTNG", "3", "0", "0"],
        ["MOCK DATA", "four pairs", "SIMBA", "MockTNG", "3", "1", "1"],
        ["CMD files", "four pairs", "IllustrisTNG", "SIMBA", "0", "0", "0"],
        ["CMD files", "mean map", "IllustrisTNG", "SIMBA", "0", "0", "0"],
    ]
    assert {len(row) for row in rows} == {len(header)}


def test_one_table_holds_the_parameters_of_all_and_leaves_cells_empty_where_a_network_has_none(tmp_path, one_column):
    six = one_column([1, 2], [1.5, 2.5], [1, 1])
    two = Layout().select(["sigma_8", "A_SN1"]).parameters
    layout = replace(Layout(), parameters=(two[0], two[1].of_suite("MockTNG")))
    arrays = (getattr(six, name)[:, :2] for name in ("theta", "mean", "std"))
    other = Predictions(*arrays, six.simulation, six.map_index, layout)
    pairs = {"first": [PairResult("A", "B", six, {})], Key("second", 2.0): [PairResult("C", "B", other, {})]}
    write_predictions(tmp_path / "all.csv", pairs)
    header, *rows = csv.reader((tmp_path / "all.csv").read_text().splitlines())
    names = ["A_SN1[MockTNG]_true", "A_SN1[MockTNG]_mean", "A_SN1[MockTNG]_std"]
    assert header == [*ORIGIN_COLUMNS[:5], *csv_columns(Layout()), *names]
    table = [dict(zip(header, row, strict=True)) for row in rows]
    assert [row["experiment"] for row in table] == ["first", "first", "second 2", "second 2"]
    assert [row["A_SN1[MockTNG]_mean"] for row in table] == ["", "", "1.5", "2.5"]
    assert [row["sigma_8_mean"] for row in table] == ["1.5", "2.5"] * 2
    assert [row["A_SN1_mean"] for row in table] == ["1.5", "2.5", "", ""]


def test_pairs_are_found_by_suites_and_seed_whatever_their_order(one_column):
    predictions = one_column([1], [1], [1])
    pairs = [PairResult(*pair, predictions, {}, seed) for pair in (("A", "A"), ("A", "B")) for seed in range(2)]
    assert by_key(pairs) == by_key(pairs[::-1]) == {pair.key: pair for pair in pairs}
    assert len(by_key(pairs)) == 4


def test_maps_that_say_so_are_mock(one_column):
    predictions = one_column([1], [1], [1])
    assert not PairResult("Mine", "Other", predictions, {}).is_mock
    mock = replace(predictions, layout=replace(Layout(), is_mock=True))
    assert PairResult("Mine", "Other", mock, {}).is_mock
