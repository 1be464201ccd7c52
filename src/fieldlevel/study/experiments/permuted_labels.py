"""Whether a network that is trained with labels in random order falls back to the prior."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from fieldlevel.figures.plate import Plate
from fieldlevel.statistics.pairs import on_own_suite
from fieldlevel.study.experiment import Experiment, on_own
from fieldlevel.study.experiments.inference_claims import judge_inference
from fieldlevel.study.keys import ExperimentKey, Plan
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.results import LetterResults
from fieldlevel.study.verdict import Verdict


class PermutedLabels(Experiment):
    """Networks trained with the labels of their training and validation simulations in random order."""

    kind = "permuted labels"

    def tests(self, spec: LetterSpec, suites: Sequence[str], twins: Mapping[str, str]) -> Plan:
        """Each network on its own suite."""
        return {ExperimentKey(self.kind): on_own(replace(spec.train, labels="permuted"), suites, spec.other_seeds)}

    def judge(self, results: LetterResults) -> Iterator[Verdict]:
        """R² of what nothing could be learnt of."""
        claim = "Trained with labels in random order, the network falls back to the prior."
        tested = on_own_suite(results.of(self.kind))
        return judge_inference(self.kind, claim, results.own, tested, results.judged)

    def plates(self, results: LetterResults) -> Iterator[Plate]:
        """None: the numbers of the tables say all."""
        return iter(())
