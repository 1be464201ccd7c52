"""What a letter gave: one object from the runs to report, figures and `metrics.json`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from fieldlevel.arrays import FloatArray
from fieldlevel.inference.marginal_cdf import pit_of_predictions
from fieldlevel.layout import Layout
from fieldlevel.statistics.error_bars import ErrorBars, judge_error_bars
from fieldlevel.statistics.pairs import PairResult, on_own_suite
from fieldlevel.statistics.ratios import TransferRatios
from fieldlevel.statistics.responses import OneParameterTable
from fieldlevel.statistics.transfer_matrix import TransferMatrix, transfer_matrix
from fieldlevel.study.feedback_response import FeedbackResponse, respond
from fieldlevel.study.jobs import NetworkRun
from fieldlevel.study.keys import (
    FIRST,
    HYDRO_TO_NBODY,
    NBODY_TO_HYDRO,
    NUMERICS,
    ONE_PARAMETER,
    ExperimentKey,
    Tested,
    first_seed,
)
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.mean_only import MeanOnly
from fieldlevel.study.particle_weighing import WeighedSet, weigh
from fieldlevel.study.searches import Searches
from fieldlevel.study.verdict import Verdict
from fieldlevel.suites import MOCK_MARK, is_mock, is_nbody
from fieldlevel.wording import joined

TITLE = "Robust marginalization of baryonic effects at the field level"

_WITH_TABLE = (FIRST.kind, NUMERICS, ONE_PARAMETER)
_OF_CLAIMS = ("Omega_m", "sigma_8")
"""Parameters that the claims of the letter are about."""


@dataclass(frozen=True)
class LetterResults:
    """What the experiments of a letter gave.

    Attributes:
        suites: names of those that are compared.
        experiments: every tested network by experiment, in the order of the plan.
        transfer: RMSE over that on the network's own suite, for all of `matrix` that crosses suites.
        is_mock: whether any map was simulated by this package.
        layout: of the maps of the first suite.
        spec: of the letter.
        key: digest of the spec and of all the data it met.
        trained: networks with the first seed, by experiment and training suite.
        searches: for hyper-parameters, by what the networks read and by suite.
        mean_only: a predictor that knows the mean of a map alone, by suite.
        examples: maps of each suite for Fig. 1, (n_examples, N, N).
        example_parameters: of these, (n_examples, P), columns in the order of the layout's parameters.
        facts: what the data is, in words: origin, fingerprints, the split and its seed.
        provenance: version, commit, hardware, date.
        verdicts: what each experiment claims and what became of it.
        n_particles: a side, in the simulations of each suite; None where nothing tells.
        one_parameter_tables: parameters of the one-parameter set of each suite that was tested on it.
        title: heading of the report.

    Raises:
        ValueError: mock suites that are not declared as mock.
    """

    suites: tuple[str, ...]
    experiments: Tested
    transfer: TransferRatios
    is_mock: bool
    layout: Layout = field(default_factory=Layout)
    spec: LetterSpec = field(default_factory=LetterSpec)
    key: str = ""
    trained: Mapping[ExperimentKey, Mapping[str, NetworkRun]] = field(default_factory=dict)
    searches: Searches = field(default_factory=dict)
    mean_only: Mapping[str, MeanOnly] = field(default_factory=dict)
    examples: Mapping[str, FloatArray] = field(default_factory=dict)
    example_parameters: Mapping[str, FloatArray] = field(default_factory=dict)
    facts: Mapping[str, str | int | float] = field(default_factory=dict)
    provenance: Mapping[str, str | int | float] = field(default_factory=dict)
    verdicts: Sequence[Verdict] = ()
    n_particles: Mapping[str, int | None] = field(default_factory=dict)
    one_parameter_tables: Mapping[str, OneParameterTable] = field(default_factory=dict)
    title: str = TITLE

    def __repr__(self) -> str:
        mark = f", {MOCK_MARK}" if self.is_mock else ""
        held = sum(verdict.outcome == "holds" for verdict in self.verdicts)
        told = f"{len(self.experiments)} experiments, {held} of {len(self.verdicts)} verdicts hold"
        return f"<LetterResults of {', '.join(self.suites)}{mark}: {told}>"

    def __post_init__(self) -> None:
        mock = sorted({s for pair in self.pairs for s in (pair.train_suite, pair.test_suite) if is_mock(s)})
        if mock and not self.is_mock:
            raise ValueError(f"results on {', '.join(mock)} must be declared as mock")

    @cached_property
    def done(self) -> dict[ExperimentKey, tuple[PairResult, ...]]:
        """Every experiment with its first seed."""
        return {key: first_seed(results) for key, results in self.experiments.items()}

    def of(self, kind: str) -> tuple[PairResult, ...]:
        """Results of an experiment without a scale, with the first seed; none where it was not done."""
        return self.done.get(ExperimentKey(kind), ())

    def by_scale(self, kind: str) -> dict[float, tuple[PairResult, ...]]:
        """Results of the experiments of a kind by their scale, with the first seed."""
        return {key.scale: each for key, each in self.done.items() if key.kind == kind and key.scale is not None}

    def family(self, name: str) -> dict[ExperimentKey, tuple[PairResult, ...]]:
        """Results of the experiments that share a figure, with the first seed."""
        return {key: results for key, results in self.done.items() if key.family == name}

    @property
    def pairs(self) -> tuple[PairResult, ...]:
        """Each network with the first seed on its own suite, then on every other."""
        return first_seed(self.experiments[FIRST])

    @property
    def own(self) -> dict[str, PairResult]:
        """Those on the network's own suite, by suite."""
        return on_own_suite(self.pairs)

    @property
    def matrix(self) -> tuple[PairResult, ...]:
        """Networks on maps as they are, with the first seed: hydrodynamic suites, then gravity-only ones."""
        return suite_matrix(self.experiments)

    @cached_property
    def transfer_matrix(self) -> TransferMatrix:
        """Bias, RMSE over that of the tested suite's own network and chi^2 of the pairs."""
        return transfer_matrix(self.pairs)

    @cached_property
    def error_bars(self) -> dict[str, dict[str, ErrorBars]]:
        """How honest those of the pairs are, by pair and parameter that claims are about."""
        return {pair.name: _error_bars(pair, self.judged) for pair in self.pairs}

    @property
    def others(self) -> dict[ExperimentKey, tuple[PairResult, ...]]:
        """The experiments beyond the pairs, first seed; those with a table of their own are left out."""
        return {key: results for key, results in self.done.items() if key.kind not in _WITH_TABLE}

    @property
    def remedies(self) -> dict[tuple[float, str], tuple[PairResult, ...]]:
        """The pairs of networks that were trained on other or on smoothed maps, first seed.

        By the smoothing of all maps in pixels, 0 of those as they are, and by the name of the training set.
        """
        pairs = {key: each for key, each in self.done.items() if key.kind == FIRST.kind and key != FIRST}
        return {(key.scale or 0.0, key.sets): each for key, each in pairs.items()}

    @property
    def remedied_pairs(self) -> dict[str, tuple[PairResult, ...]]:
        """Those of them on maps that are not smoothed, by the name of the training set."""
        return {set_name: pairs for (smoothing, set_name), pairs in self.remedies.items() if not smoothing}

    @property
    def smoothed_pairs(self) -> dict[tuple[float, str], tuple[PairResult, ...]]:
        """Those on smoothed maps, by the smoothing in pixels and the name of the training set."""
        return {place: pairs for place, pairs in self.remedies.items() if place[0]}

    @property
    def numerics_by_smoothing(self) -> dict[float, tuple[PairResult, ...]]:
        """Networks on sets that differ in the number of particles, first seed, by the smoothing of all maps."""
        found: dict[float, tuple[PairResult, ...]] = {}
        for key, results in self.done.items():
            if key.kind == NUMERICS:
                found[key.scale or 0.0] = found.get(key.scale or 0.0, ()) + results
        return found

    @property
    def numerics(self) -> tuple[PairResult, ...]:
        """Those on maps that are not smoothed."""
        return self.numerics_by_smoothing.get(0.0, ())

    @cached_property
    def weighed(self) -> tuple[WeighedSet, ...]:
        """What all of these say of the parameters that claims are about, each set beside its base."""
        return tuple(
            row
            for smoothing, tested in self.numerics_by_smoothing.items()
            for row in weigh(tested, self.judged, self.n_particles, smoothing)
        )

    @cached_property
    def feedback_responses(self) -> tuple[FeedbackResponse, ...]:
        """How answers follow the parameters of sets in which one varies at a time, first seed."""
        return respond(self.of(ONE_PARAMETER), self.one_parameter_tables, self.judged)

    @property
    def varied_alone(self) -> tuple[str, ...]:
        """Names of the parameters that vary alone in some such set, in the order of the layouts."""
        return tuple(dict.fromkeys(each.name for row in self.feedback_responses for each in row.varied))

    @property
    def first_label(self) -> str:
        """Of the experiment that comes first, in words."""
        return next(key.label for key in self.experiments if key == FIRST)

    @property
    def networks(self) -> Mapping[str, NetworkRun]:
        """Those of the pairs, by suite."""
        return self.trained[FIRST]

    @property
    def losses(self) -> dict[ExperimentKey, dict[str, float]]:
        """Validation loss of each network as it predicts, by experiment and training suite."""
        return {
            key: {suite: network.validation_loss for suite, network in networks.items()}
            for key, networks in self.trained.items()
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Of all parameters that some pair was tested on."""
        return tuple(dict.fromkeys(name for pair in self.pairs for name in pair.scores))

    @property
    def cosmological(self) -> tuple[str, ...]:
        """Of those that mean something in gravity-only simulations too and that every pair was tested on."""
        names = [parameter.name for parameter in self.layout.cosmological]
        return tuple(name for name in names if all(name in pair.scores for pair in self.pairs))

    @property
    def cosmology(self) -> str:
        """These in words."""
        return joined(self.cosmological)

    @property
    def judged(self) -> tuple[str, ...]:
        """Omega_m and sigma_8, which claims are about; all that is cosmological where the maps have neither."""
        return tuple(name for name in _OF_CLAIMS if name in self.cosmological) or self.cosmological

    @property
    def spread(self) -> dict[str, dict[str, tuple[float, float]]]:
        """Mean and standard deviation over the seeds of the rms relative error, by experiment, pair and parameter."""
        by_pair: dict[str, list[PairResult]] = {}
        for key, results in self.experiments.items():
            for result in results:
                by_pair.setdefault(f"{key.label}: {result.name}", []).append(result)
        return {
            pair: {name: _spread(results, name) for name in self.cosmological}
            for pair, results in by_pair.items()
            if len(results) > 1
        }

    @property
    def n_seeds(self) -> int:
        """Networks for each of the pairs."""
        return max((len({result.seed for result in results}) for results in self.experiments.values()), default=1)


def _error_bars(pair: PairResult, names: Sequence[str]) -> dict[str, ErrorBars]:
    pit, mean = pit_of_predictions(pair.predictions)
    columns = [pair.layout.column(name) for name in names]
    return judge_error_bars(pit[:, columns], mean[:, columns], pair.predictions.simulation, names)


def _spread(results: Sequence[PairResult], name: str) -> tuple[float, float]:
    values = np.array([result.scores[name]["rms_relative_error"].value for result in results])
    return float(values.mean()), float(values.std(ddof=1))


def suite_matrix(experiments: Tested) -> tuple[PairResult, ...]:
    """Tests on maps as they are with the first seed: hydrodynamic suites, then gravity-only ones."""
    keys = (FIRST, HYDRO_TO_NBODY, NBODY_TO_HYDRO)
    tests = [result for key in keys for result in first_seed(experiments.get(key, ()))]
    return tuple(sorted(tests, key=lambda result: (is_nbody(result.train_suite), is_nbody(result.test_suite))))
