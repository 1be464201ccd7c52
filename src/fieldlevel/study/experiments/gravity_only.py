"""Whether baryons can be left out: networks between gravity-only and hydrodynamic maps."""

from collections.abc import Iterator, Mapping, Sequence

from fieldlevel.figures.plate import Plate
from fieldlevel.figures.residuals import N_SHOWN, draw_transfer
from fieldlevel.statistics.pairs import PairResult, on_own_suite
from fieldlevel.statistics.ratios import error_ratio
from fieldlevel.study.experiment import Experiment, across
from fieldlevel.study.keys import HYDRO_TO_NBODY, NBODY_TO_HYDRO, Plan
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.results import LetterResults
from fieldlevel.study.verdict import (
    PRECONDITION,
    Finding,
    Verdict,
    above,
    any_holds,
    conclude,
    finding_if_known,
)


class _Crossing(Experiment):
    """One way between a suite and its gravity-only twin."""

    def judge(self, results: LetterResults) -> Iterator[Verdict]:
        """Bias beside the error on the network's own suite."""
        own, names = results.own | on_own_suite(results.of(NBODY_TO_HYDRO.kind)), results.judged
        crossed = [result for result in results.of(self.kind) if result.crosses_suites]
        return conclude(
            self.kind,
            "Baryons cannot be left out: between gravity-only and hydrodynamic maps the network is biased.",
            f"for each network the mean bias of {' or '.join(names)} exceeds its own-suite RMSE beyond the error of "
            f"their ratio; {PRECONDITION}",
            "fails, biased",
            {result.name: _bias(own[result.train_suite], result, names) for result in crossed},
        )

    def plates(self, results: LetterResults) -> Iterator[Plate]:
        """One figure for both ways, which the first that was done brings."""
        to_hydro = [result for result in results.of(NBODY_TO_HYDRO.kind) if result.crosses_suites]
        to_nbody = results.of(HYDRO_TO_NBODY.kind)
        if self.kind == (HYDRO_TO_NBODY if to_nbody else NBODY_TO_HYDRO).kind and (to_hydro or to_nbody):
            yield _plate(to_hydro, to_nbody, results.cosmology, mock=results.is_mock)


class HydroToNbody(_Crossing):
    """Networks of the pairs on the gravity-only twin of their suite; nothing is trained."""

    kind = HYDRO_TO_NBODY.kind

    def tests(self, spec: LetterSpec, suites: Sequence[str], twins: Mapping[str, str]) -> Plan:
        """Each network on the twin of its suite."""
        return {HYDRO_TO_NBODY: across(spec.train, {suite: (twins[suite],) for suite in twins}, spec.other_seeds)}


class NbodyToHydro(_Crossing):
    """Networks trained on the gravity-only twin of a suite."""

    kind = NBODY_TO_HYDRO.kind

    def tests(self, spec: LetterSpec, suites: Sequence[str], twins: Mapping[str, str]) -> Plan:
        """Each network on the twin, then on the suites whose twin it is."""
        tested = {twin: (twin, *(suite for suite in twins if twins[suite] == twin)) for twin in twins.values()}
        return {NBODY_TO_HYDRO: across(spec.train, tested, spec.other_seeds)}


def _bias(own: PairResult, result: PairResult, names: Sequence[str]) -> Finding:
    """Bias of each cosmological parameter beside the own-suite error, and whether any is above it."""
    ratios = error_ratio(own.predictions, result.predictions, "bias", baseline_metric="rmse")
    texts = [
        f"{name} bias {result.scores[name]['bias'].text()}, own RMSE {own.scores[name]['rmse'].text()}, "
        f"ratio {ratios[name].interval()}"
        for name in names
    ]
    outcome = any_holds(above(ratios[name].size(), 1) for name in names)
    return finding_if_known(own, names, ", ".join(texts), outcome)


def _plate(to_hydro: Sequence[PairResult], to_nbody: Sequence[PairResult], cosmology: str, *, mock: bool) -> Plate:
    sides = ["trained on gravity-only maps, tested on hydrodynamic ones"] if to_hydro else []
    sides += ["trained on hydrodynamic maps, tested on gravity-only ones"] if to_nbody else []
    networks = f"{sides[0]} (left), and {sides[1]} (right)" if len(sides) == 2 else sides[0]
    return Plate(
        "fig3_nbody",
        "Figure 3",
        f"Posterior mean minus truth of networks {networks}. Error bars are the posterior standard deviations of "
        f"up to {N_SHOWN} maps a suite; the mean error and the reduced chi squared are over all tested maps.",
        f"Scatter plots of residuals of {cosmology}, one column for each direction.",
        lambda: draw_transfer(to_hydro, to_nbody, mock=mock),
        place=30,
    )
