"""(b) A null test from outside, with its verdict and its panel in the report."""

import json


def test_it_is_done_judged_and_drawn(page, command, write_suite, place):
    write_suite("MockTNG")
    write_suite("MockSIMBA", seed=1)
    (text,) = (text for text in page.commands if "my_experiments" in text)
    assert command(text) == 0
    document = json.loads((place / "quarters" / "metrics.json").read_text())
    assert len(document["experiments"]["one quarter"]) == 2
    (verdict,) = (each for each in document["verdicts"] if each["experiment"] == "one quarter")
    assert verdict["claim"] == "A quarter of a map tells Omega_m."
    assert verdict["outcome"] in ("holds", "fails", "undecided")
    assert "figures/null_tests.png" in document["figures"]
    report = (place / "quarters" / "report.html").read_text()
    assert "A quarter of a map tells" in report
    assert "one quarter four times" in report
