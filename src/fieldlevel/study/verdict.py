"""What each experiment of the letter claims, what came out, and whether the claim holds.

Every criterion is written down before the numbers are known and stands in the report beside them. It compares a number
x with a bound b. The number has errors from a bootstrap over simulations, down to the 16th percentile x - d and up to
the 84th x + u, and "x above b"

    holds if x - 2 d > b,    fails if x + 2 u <= b,    and is undecided else:

few test simulations leave a claim undecided, they never make it hold. The two errors differ where they must: R² of a
network that always gives the same is at most 0, however few simulations there are. Errors of the same simulations, or
of twins, are compared by their ratio with the same simulations drawn on both sides.

A network that has learnt nothing is robust, is not misled by a destroyed map and makes nothing of permuted labels. Such
claims are judged only where the network knows the parameter on the maps as they are: R² above 0.5, beyond its error.

Per cent are rms relative errors, as the letter gives them; criteria are on the RMSE, which the ratios of the robustness
matrix are of too, and in which simulations of small Omega_m do not outweigh the others.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.metrics import Scores
from fieldlevel.statistics.pairs import PairResult

SIGNIFICANCE = 2.0
"""Errors by which a number must differ to be called different."""

INFERENCE_R2 = 0.5
"""Above this R² a parameter is inferred."""

PRECONDITION = f"R² on the maps as they are above {INFERENCE_R2}"
"""Of the claims that a network which has learnt nothing would fulfil, or break, for that reason alone."""

Outcome = Literal["holds", "fails", "undecided"]

Finding = tuple[str, Outcome]
"""What was measured and what follows for the claim."""


@dataclass(frozen=True)
class Verdict:
    """One claim and what became of it.

    Attributes:
        experiment: its name.
        claim: what should be true, in one sentence.
        criterion: what is compared with what.
        measured: the numbers with their errors, and why one is undecided.
        letter: what the letter found.
        outcome: whether the claim holds: it fails where one of its numbers fails, else it is undecided where one is.
        findings: `measured` number by number, by where each was measured; empty where it is told as a whole.
    """

    experiment: str
    claim: str
    criterion: str
    measured: str
    letter: str
    outcome: Outcome
    findings: Mapping[str, Finding] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types, with the findings as a list of where, what and which outcome."""
        findings = [
            {"where": where, "measured": text, "outcome": outcome} for where, (text, outcome) in self.findings.items()
        ]
        return {**asdict(self), "findings": findings}


def conclude(
    experiment: str, claim: str, criterion: str, letter: str, findings: Mapping[str, Finding]
) -> Iterator[Verdict]:
    """What follows from all findings together, by where they were measured; no verdict where nothing was."""
    if findings:
        measured = "; ".join(f"{where}: {text}" for where, (text, _) in findings.items())
        outcome = all_hold(outcome for _, outcome in findings.values())
        yield Verdict(experiment, claim, criterion, measured, letter, outcome, findings)


def all_hold(outcomes: Iterable[Outcome]) -> Outcome:
    """One failure decides, and what is undecided leaves the rest so."""
    found = set(outcomes)
    return "fails" if "fails" in found else "undecided" if "undecided" in found else "holds"


def any_holds(outcomes: Iterable[Outcome]) -> Outcome:
    """One that holds decides, and what is undecided leaves the rest so."""
    found = set(outcomes)
    return "holds" if "holds" in found else "undecided" if "undecided" in found else "fails"


def above(estimate: Estimate, bound: float) -> Outcome:
    """Whether a number is above a bound beyond its error; undecided without an error.

    A number outside the percentiles of its bootstrap has no error on that side.
    """
    down, up = estimate.value - estimate.low, estimate.high - estimate.value
    if estimate.value - SIGNIFICANCE * np.maximum(down, 0) > bound:
        return "holds"
    return "fails" if estimate.value + SIGNIFICANCE * np.maximum(up, 0) <= bound else "undecided"


def at_most(estimate: Estimate, bound: float) -> Outcome:
    """Whether a number is at or below a bound beyond its error; undecided without an error."""
    opposite: dict[Outcome, Outcome] = {"holds": "fails", "fails": "holds", "undecided": "undecided"}
    return opposite[above(estimate, bound)]


def finding(text: str, outcome: Outcome) -> Finding:
    """What was measured, with the reason where it decides nothing."""
    return (f"{text} (too few test simulations for this bound)" if outcome == "undecided" else text), outcome


def finding_if_known(network: PairResult, names: Iterable[str], text: str, outcome: Outcome) -> Finding:
    """A finding that counts only if the network knows some parameters on the maps of its own suite as they are."""
    for name in names:
        r2 = network.scores[name]["r2"]
        if above(r2, INFERENCE_R2) != "holds":
            reason = f"R² = {r2.interval()} on the maps as they are is not above {INFERENCE_R2} beyond its error"
            return f"{text} (not judged: {reason})", "undecided"
    return finding(text, outcome)


def relative_error(scores: Scores, name: str) -> str:
    """The rms relative error of a parameter in words."""
    return scores[name]["rms_relative_error"].text(percent=True)
