"""(c) A third suite through the letter: every suite against every suite; a mock suite with baryons of one's own."""

import json
from itertools import product

import fieldlevel
from fieldlevel.cli import main

SUITES = ("MockTNG", "MockSIMBA", "MockQuiet")


def test_three_suites_make_a_matrix_of_nine(page, command, write_suite, place):
    for seed, suite in enumerate(SUITES):
        write_suite(suite, seed=seed)
    (text,) = (text for text in page.commands if "fieldlevel letter" in text and "--suites" in text)
    assert command(text) == 0
    document = json.loads((place / "three" / "metrics.json").read_text())
    cells = {(cell["train_suite"], cell["test_suite"]): cell["parameters"] for cell in document["transfer_matrix"]}
    assert list(cells) == [(one, two) for one in SUITES for two in sorted(SUITES, key=lambda name: name != one)]
    assert set(cells) == set(product(SUITES, repeat=2))
    for one, two in cells:
        cell = cells[one, two]["sigma_8"]
        assert set(cell) == {"bias", "rmse_ratio", "reduced_chi2"}
        assert one != two or cell["rmse_ratio"]["value"] == 1.0
    assert "figures/suite_matrices.png" in document["figures"]
    assert all(f'<th scope="col">{suite}</th>' in (place / "three" / "report.html").read_text() for suite in SUITES)


def test_a_mock_suite_of_ones_own_is_simulated(page, command, place):
    (text,) = (text for text in page.commands if "my_suites" in text)
    assert command(text) == 0
    assert main(["check", "quiet"]) == 0
    suite = fieldlevel.open_suite(place / "quiet", "MockQuiet")
    assert suite.layout.is_mock
    assert suite.maps.shape == (30, 16, 16)
