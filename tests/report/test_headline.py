"""The one sentence before everything else."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from fieldlevel.report.headline import letter_headline, robustness_headline, tally
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.study.robustness.robustness_verdicts import FoldVerdict
from fieldlevel.study.verdict import Verdict

SUITES = ("MockTNG", "MockSIMBA")


def verdict(outcome, experiment="four pairs"):
    return Verdict(experiment, "A claim.", "a criterion", "a number", "nothing", outcome)


def letter(*verdicts, mock=True, suites=SUITES):
    """What the sentence is made of."""
    errors = {"Omega_m": {"rms_relative_error": Estimate(0.034 if suites[0] == "MockTNG" else 0.1, 0.01, 0.0, 1.0)}}
    pairs = [
        SimpleNamespace(name=f"{one} → {other}", crosses_suites=one != other, scores=errors)
        for one in suites
        for other in suites
    ]
    ratios = {pair.name: {"Omega_m": Estimate(1.1, 0.1, 1.0, 1.2)} for pair in pairs if pair.crosses_suites}
    ratios[f"{suites[0]} → {suites[1]}"] = {"Omega_m": Estimate(2.345, 0.12, 2.2, 2.5)}
    return SimpleNamespace(
        verdicts=verdicts,
        suites=suites,
        pairs=pairs,
        judged=("Omega_m",),
        transfer=ratios,
        is_mock=mock,
        first_label="four pairs",
    )


@pytest.mark.parametrize(("outcome", "answer"), [("holds", "Yes."), ("fails", "No."), ("undecided", "Not decided.")])
def test_the_answer_is_that_of_the_first_claim_alone(outcome, answer):
    others = [verdict(other, "smoothing") for other in ("holds", "fails", "undecided")]
    headline = letter_headline(letter(*others, verdict(outcome)))
    assert (headline.answer, headline.outcome) == (answer, outcome)
    assert headline.question.endswith("?")
    assert headline.sentence.count(". ") == 0
    assert headline.sentence.endswith(".")


def test_a_failure_tells_the_largest_ratio_and_what_was_allowed():
    sentence = letter_headline(letter(verdict("fails"))).sentence
    assert "up to 2.35 ± 0.12 times that on its own" in sentence
    assert "more than 1.25 times is a failure" in sentence


def test_a_success_tells_how_much_networks_know_at_all():
    assert "own errors (Omega_m 3.4 to 3.4%) is not seen" in letter_headline(letter(verdict("holds"))).sentence


def test_mock_data_is_in_the_sentence_itself_and_real_data_never_is():
    for outcome in ("holds", "fails", "undecided"):
        assert letter_headline(letter(verdict(outcome))).sentence.startswith(
            "On mock data (MockTNG and MockSIMBA), which say nothing about CAMELS,"
        )
        real = letter_headline(letter(verdict(outcome), mock=False, suites=("IllustrisTNG", "SIMBA")))
        assert real.sentence.startswith("On IllustrisTNG and SIMBA,")


def test_what_nobody_judged_has_no_answer():
    assert letter_headline(letter()).answer == "Not judged."
    assert robustness_headline({}, SUITES, mock=True).answer == "Not judged."


def fold(robust, flagged="fails"):
    return FoldVerdict(("1.3", robust), ("0.5", "fails"), ("p = 1", flagged))


def test_networks_hold_where_they_are_robust_on_every_suite():
    held = robustness_headline({"a": fold("holds"), "b": fold("holds")}, SUITES, mock=False)
    assert (held.answer, held.outcome) == ("Yes.", "holds")
    assert "robust on 2, not robust on 0 and undecided on 0 of the 2 suites" in held.sentence
    failed = robustness_headline({"a": fold("holds"), "b": fold("fails"), "c": fold("undecided")}, SUITES, mock=False)
    assert (failed.answer, failed.outcome) == ("No.", "fails")
    assert "robust on 1, not robust on 1 and undecided on 1 of the 3 suites" in failed.sentence
    assert "; on b they fail without a sign of it" in failed.sentence
    assert robustness_headline({"a": fold("undecided")}, SUITES, mock=False).answer == "Not decided."


def test_claims_are_counted():
    told = tally([verdict("holds"), verdict("holds"), replace(verdict("fails"), claim="Another.")])
    assert "Of the 3 claims" in told
    assert "2 hold, 1 fail, 0 are undecided" in told
