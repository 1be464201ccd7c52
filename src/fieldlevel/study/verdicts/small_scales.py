"""Whether small scales hold information: networks trained on maps without them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from fieldlevel.statistics.pairs import Experiments, PairResult, on_own_suite
from fieldlevel.statistics.ratios import error_ratio
from fieldlevel.study.published_accuracies import K_MAX_LOSSES
from fieldlevel.study.verdicts.outcomes import (
    PRECONDITION,
    Finding,
    Outcome,
    Verdict,
    above,
    conclude,
    finding_if_known,
    relative_error,
)


@dataclass(frozen=True)
class Ladder:
    """Experiments that take small scales out of the maps, each with a network trained anew.

    Attributes:
        experiment: its name, with which those of its steps begin; the scale follows.
        claim: in one sentence.
        unit: of the scale.
        coarse_is_large: whether a large scale takes out more, or less.
        letter: what was found before.
    """

    experiment: str
    claim: str
    unit: str
    coarse_is_large: bool
    letter: str

    def steps(self, experiments: Experiments) -> dict[str, Sequence[PairResult]]:
        """Results by scale in words, from the maps as they are to the coarsest ones."""
        names = [name for name in experiments if name.startswith(f"{self.experiment} ")]
        scales = {float(name.split()[1]): name for name in names}
        ordered = sorted(scales, reverse=not self.coarse_is_large)
        return {"all scales": experiments["four pairs"]} | {
            f"{scale:g} {self.unit}": experiments[scales[scale]] for scale in ordered
        }


LADDERS = (
    Ladder(
        "smoothing",
        "Small scales hold information: the more a map is smoothed, the worse Omega_m is known.",
        "px",
        coarse_is_large=True,
        letter="IllustrisTNG: all scales 3.4%, 1 px 5.1%, 2 px 6.8%, 3 px 8.8%",
    ),
    Ladder(
        "k_max",
        "Small scales hold information: the lower the cut, the worse Omega_m is known.",
        "h/Mpc",
        coarse_is_large=False,
        letter="not in the letter; a public re-run on IllustrisTNG: the validation loss "
        f"−{-K_MAX_LOSSES[math.inf]} becomes −{-K_MAX_LOSSES[20.0]} at 20 h/Mpc, −{-K_MAX_LOSSES[5.0]} at 5 h/Mpc",
    ),
)


def judge_small_scales(experiments: Experiments) -> Iterator[Verdict]:
    """Verdicts on `LADDERS`."""
    for ladder in LADDERS:
        yield from _information(experiments, ladder)


def _information(experiments: Experiments, ladder: Ladder) -> Iterator[Verdict]:
    steps = ladder.steps(experiments)
    suites = on_own_suite(experiments["four pairs"]) if len(steps) > 1 else ()
    findings = {
        suite: _loss_of_information({words: on_own_suite(step)[suite] for words, step in steps.items()})
        for suite in suites
    }
    return conclude(
        ladder.experiment,
        ladder.claim,
        "RMSE of Omega_m: taking out more scales lowers it at no step and raises it from first to last, both "
        f"beyond the error; {PRECONDITION}",
        ladder.letter,
        findings,
    )


def _loss_of_information(results: Mapping[str, PairResult]) -> Finding:
    """Error of Omega_m by scale, and whether it grows from the first scale to the last and falls at no step."""
    predictions = [result.predictions for result in results.values()]
    growth = error_ratio(predictions[0], predictions[-1])["Omega_m"]
    falls = [above(error_ratio(after, before)["Omega_m"], 1) == "holds" for before, after in pairwise(predictions)]
    errors = ", ".join(f"{words} {relative_error(result.scores, 'Omega_m')}" for words, result in results.items())
    lower = [words for words, falls_here in zip(list(results)[1:], falls, strict=True) if falls_here]
    text = f"{errors}; RMSE ratio of last to first {growth.interval()}"
    outcome: Outcome = above(growth, 1)
    if lower:
        text, outcome = f"{text}; RMSE falls at {', '.join(lower)}", "fails"
    return finding_if_known(next(iter(results.values())), ["Omega_m"], text, outcome)
