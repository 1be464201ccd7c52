"""What an experiment is known by: its kind and, of experiments at several scales or on several sets, which of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fieldlevel.inference.evaluate_spec import EvaluateSpec
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.training.train_spec import TrainSpec


@dataclass(frozen=True)
class ExperimentKey:
    """An experiment of a letter; two keys are the same where kind, scale and sets are.

    Attributes:
        kind: of the experiment.
        scale: at which it was done, if the kind is done at several.
        unit: of the scale, for people.
        name: the kind in words, where they are others.
        family: of experiments that share a figure.
        detail: what is done, in words for the caption of that figure.
        sets: that networks are trained or tested on, if the kind is done on several.

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
    sets: str = ""

    @property
    def label(self) -> str:
        """In words, for tables and files; nothing is read from it."""
        words = self.name or self.kind
        at_scale = words if self.scale is None else f"{words} {self.scale:g} {self.unit}"
        return ", ".join(filter(None, (at_scale, self.sets)))


FIRST = ExperimentKey("pairs", name="four pairs")
"""What everything else is compared with: each network on its own suite and on every other."""
HYDRO_TO_NBODY = ExperimentKey("hydro to N-body")
NBODY_TO_HYDRO = ExperimentKey("N-body to hydro")

NUMERICS = "numerics"
"""Kind of the tests on maps of other numbers of particles."""
ONE_PARAMETER = "one parameter at a time"
"""Kind of the tests on simulations that differ in one parameter alone."""

PAIRS_LABELS = ("four pairs", "all pairs")
"""What `FIRST` is called, of two suites and of more."""

SetKey = tuple[str, str]
"""Names of a suite and of a set of its simulations."""
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


def remedied_pairs_key(suites: Sequence[str], set_name: str, smoothing: float = 0.0) -> ExperimentKey:
    """The pairs of networks that were trained on another set.

    Args:
        suites: that are compared.
        set_name: that the networks were trained on.
        smoothing: of all maps, in pixels.

    Example:
        >>> remedied_pairs_key(["A", "B"], "LHthinned").label
        'four pairs, LHthinned'
    """
    return _smoothed(replace(pairs_key(suites), name=pairs_key(suites).label, sets=set_name), smoothing)


def numerics_key(sets: str = "", smoothing: float = 0.0) -> ExperimentKey:
    """Tests on maps of other numbers of particles.

    Args:
        sets: that networks are trained and tested on.
        smoothing: of all maps, in pixels.

    Example:
        >>> numerics_key("LH → LHthin2").label, numerics_key("LH → LHthin2", 2.0).label
        ('numerics, LH → LHthin2', 'numerics smoothed 2 px, LH → LHthin2')
    """
    return _smoothed(ExperimentKey(NUMERICS, sets=sets), smoothing)


def _smoothed(key: ExperimentKey, smoothing: float) -> ExperimentKey:
    words = f"{key.name or key.kind} smoothed"
    return replace(key, scale=smoothing, unit="px", name=words) if smoothing else key


def trained_set(network: TrainSpec) -> SetKey:
    """The maps that a network of a letter is trained on."""
    return network.suite, network.set_name


def source_sets(network: TrainSpec) -> tuple[SetKey, ...]:
    """The maps of all sources of a network.

    Example:
        >>> source_sets(TrainSpec(suite="SIMBA"))
        (('SIMBA', 'LH'),)
    """
    return tuple((source.suite, source.set_name) for source in network.all_sources)


def tested_set(test: EvaluateSpec) -> SetKey:
    """The maps that it is tested on."""
    return test.suite, test.set_name


def first_seed(results: Sequence[PairResult]) -> tuple[PairResult, ...]:
    """Those of the networks with the lowest seed."""
    lowest = min((result.seed for result in results), default=0)
    return tuple(result for result in results if result.seed == lowest)
