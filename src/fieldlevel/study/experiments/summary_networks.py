"""Whether a network finds in a map what its power spectrum or PDF do not hold."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fieldlevel.figures.plate import Plate
from fieldlevel.statistics.metrics import Scores
from fieldlevel.statistics.pairs import PairResult, on_own_suite
from fieldlevel.statistics.ratios import error_ratio
from fieldlevel.study.experiment import Experiment, on_all
from fieldlevel.study.keys import ExperimentKey, Plan
from fieldlevel.study.letter_spec import LetterSpec, summary_train
from fieldlevel.study.mean_only import MeanOnly
from fieldlevel.study.results import LetterResults
from fieldlevel.study.verdict import Finding, Verdict, above, conclude, finding, relative_error


@dataclass(frozen=True)
class SummaryNetworks(Experiment):
    """Networks that read a summary instead of the map.

    Attributes:
        kind: of the summary (`TrainSpec.inputs`) and of the experiment.
        letter: what the letter says of it.
    """

    kind: Literal["power spectrum", "one-point PDF"]
    letter: str

    def tests(self, spec: LetterSpec, suites: Sequence[str], twins: Mapping[str, str]) -> Plan:
        """Each network on its own suite and on every other."""
        return {ExperimentKey(self.kind): on_all(summary_train(spec, self.kind), suites, spec.other_seeds)}

    def judge(self, results: LetterResults) -> Iterator[Verdict]:
        """Error beside that of the network on maps."""
        return judge_beside_maps(results, on_own_suite(results.of(self.kind)), self.kind, self.letter)

    def plates(self, results: LetterResults) -> Iterator[Plate]:
        """None: the numbers of the tables say all."""
        return iter(())


SUMMARIES = (
    SummaryNetworks("power spectrum", "20% for Omega_m, nothing but the mean for sigma_8"),
    SummaryNetworks("one-point PDF", "not in the letter"),
)


def judge_beside_maps(
    results: LetterResults, predictors: Mapping[str, PairResult | MeanOnly], name: str, letter: str
) -> Iterator[Verdict]:
    """Verdict on predictors that know less than the network on maps.

    Args:
        results: with the networks on maps.
        predictors: by suite, each on the test maps of its own.
        name: what they read, in words.
        letter: what the letter says of them.
    """
    networks, names = results.own, results.judged
    findings = {
        f"{suite} {parameter}": each
        for suite, predictor in predictors.items()
        for parameter, each in _beside(networks[suite], predictor, names)
    }
    return conclude(
        name,
        f"The network finds what the {name} does not hold.",
        f"RMSE above that of the network beyond the error of their ratio, for {' and '.join(names)}",
        letter,
        findings,
    )


def _beside(
    network: PairResult, predictor: PairResult | MeanOnly, names: Sequence[str]
) -> Iterator[tuple[str, Finding]]:
    ratios = error_ratio(network.predictions, predictor.predictions)
    theirs: Scores = predictor.scores
    for name in names:
        text = f"{relative_error(theirs, name)}, network {relative_error(network.scores, name)}"
        yield name, finding(f"{text}, RMSE ratio {ratios[name].interval()}", above(ratios[name], 1))
