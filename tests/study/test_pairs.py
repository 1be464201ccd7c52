import csv

from fieldlevel.statistics.pairs import PairResult, on_own_suite, write_predictions


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
