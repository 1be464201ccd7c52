"""Claims that networks infer some parameters from what they are given, or that their predictions are of no use.

R² judges the prediction as the network gives it. One with R² below 0 may still go up and down with the truth: the
squared correlation, which stands beside it, says how much of that is left for who would calibrate it anew.
"""

from collections.abc import Iterator, Mapping, Sequence

from fieldlevel.statistics.pairs import OUTSIDE_PRIOR, PairResult
from fieldlevel.study.verdict import (
    INFERENCE_R2,
    PRECONDITION,
    Finding,
    Verdict,
    above,
    at_most,
    conclude,
    finding_if_known,
)

NO_INFERENCE_R2 = 0.1
"""Below this R² a prediction is of no use."""


def judge_inference(
    experiment: str,
    claim: str,
    networks: Mapping[str, PairResult],
    tested: Mapping[str, PairResult],
    names: Sequence[str],
    *,
    infers: bool = False,
    letter: str = "not in the letter",
) -> Iterator[Verdict]:
    """Verdict on R² of some parameters.

    Args:
        experiment: its name.
        claim: in one sentence.
        networks: on the maps as they are, by suite.
        tested: what is judged, by suite.
        names: of the parameters.
        infers: whether R² should be high, or low.
        letter: what the letter found.
    """
    bound = f"above {INFERENCE_R2}" if infers else f"below {NO_INFERENCE_R2}"
    findings = {
        f"{suite} {name}": _r2(networks[suite], result, name, infers)
        for suite, result in tested.items()
        for name in names
    }
    criterion = f"R² of {' and '.join(names)} {bound} beyond the error; {PRECONDITION}"
    return conclude(experiment, claim, criterion, letter, findings)


def _r2(network: PairResult, result: PairResult, name: str, infers: bool) -> Finding:
    r2, correlation = result.scores[name]["r2"], result.scores[name]["squared_correlation"]
    outcome = above(r2, INFERENCE_R2) if infers else at_most(r2, NO_INFERENCE_R2)
    told = OUTSIDE_PRIOR if result.is_outside_prior(name) else f"R² = {r2.interval()}"
    text = f"{told}, squared correlation {correlation.text()}"
    return finding_if_known(network, [name], text, outcome)
