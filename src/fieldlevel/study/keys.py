"""What an experiment is known by: its kind and, of experiments at several scales, the scale."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fieldlevel.inference.evaluate_spec import EvaluateSpec
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.training.train_spec import TrainSpec


@dataclass(frozen=True)
class ExperimentKey:
    """An experiment of a letter; two keys are the same where kind and scale are.

    Attributes:
        kind: of the experiment.
        scale: at which it was done, if the kind is done at several.
        unit: of the scale, for people.
        name: the kind in words, where they are others.
        family: of experiments that share a figure.
        detail: what is done, in words for the caption of that figure.

    Example:
        >>> ExperimentKey("smoothing", 2.0, "px").label
        'smoothing 2 px'
    """

    kind: str
    scale: float | None = None
    unit: str = field(default="", compare=False)
    name: str = field(default="", compare=False)
    family: str = field(default="", compare=False)
    detail: str = field(default="", compare=False)

    @property
    def label(self) -> str:
        """In words, for tables and files; nothing is read from it."""
        words = self.name or self.kind
        return words if self.scale is None else f"{words} {self.scale:g} {self.unit}"


FIRST = ExperimentKey("pairs", name="four pairs")
"""What everything else is compared with: each network on its own suite and on every other."""
HYDRO_TO_NBODY = ExperimentKey("hydro to N-body")
NBODY_TO_HYDRO = ExperimentKey("N-body to hydro")

PAIRS_LABELS = ("four pairs", "all pairs")
"""What `FIRST` is called, of two suites and of more."""

Tests = tuple[EvaluateSpec, ...]
"""Networks and the maps that they are tested on."""
Plan = Mapping[ExperimentKey, Tests]
"""What is to be done, in this order."""
Tested = Mapping[ExperimentKey, Sequence[PairResult]]
"""What came out."""
Tuned = Mapping[tuple[str, str], TrainSpec]
"""Networks with the hyper-parameters that a search found, by what they read and by suite."""


def pairs_key(suites: Sequence[str]) -> ExperimentKey:
    """`FIRST` as it is called with so many suites.

    Example:
        >>> pairs_key(["A", "B", "C"]) == FIRST, pairs_key(["A", "B", "C"]).label
        (True, 'all pairs')
    """
    return FIRST if len(suites) == 2 else ExperimentKey(FIRST.kind, name=PAIRS_LABELS[1])


def first_seed(results: Sequence[PairResult]) -> tuple[PairResult, ...]:
    """Those of the networks with the lowest seed."""
    lowest = min((result.seed for result in results), default=0)
    return tuple(result for result in results if result.seed == lowest)
