"""Whether baryons can be left out: networks between gravity-only and hydrodynamic maps."""

from collections.abc import Iterator

from fieldlevel.parameters import COSMOLOGICAL_NAMES
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.pairs import Experiments, PairResult, on_own_suite
from fieldlevel.statistics.ratios import error_ratio
from fieldlevel.study.verdicts.outcomes import (
    PRECONDITION,
    Finding,
    Verdict,
    above,
    any_holds,
    conclude,
    finding_if_known,
)


def judge_gravity_only(experiments: Experiments) -> Iterator[Verdict]:
    """Verdicts on both ways between a suite and its gravity-only twin."""
    own = on_own_suite(experiments["four pairs"]) | on_own_suite(experiments.get("N-body to hydro", ()))
    for name in ("hydro to N-body", "N-body to hydro"):
        crossed = [result for result in experiments.get(name, ()) if result.crosses_suites]
        yield from conclude(
            name,
            "Baryons cannot be left out: between gravity-only and hydrodynamic maps the network is biased.",
            "for each network the mean bias of Omega_m or sigma_8 exceeds its own-suite RMSE beyond the error of their "
            f"ratio; {PRECONDITION}",
            "fails, biased",
            {result.name: _bias(own[result.train_suite], result) for result in crossed},
        )


def _bias(own: PairResult, result: PairResult) -> Finding:
    """Bias of each cosmological parameter beside the own-suite error, and whether any is above it."""
    ratios = error_ratio(own.predictions, result.predictions, "bias", baseline_metric="rmse")
    texts = [
        f"{name} bias {result.scores[name]['bias'].text()}, own RMSE {own.scores[name]['rmse'].text()}, "
        f"ratio {ratios[name].interval()}"
        for name in COSMOLOGICAL_NAMES
    ]
    outcome = any_holds(above(_size(ratios[name]), 1) for name in COSMOLOGICAL_NAMES)
    return finding_if_known(own, COSMOLOGICAL_NAMES, ", ".join(texts), outcome)


def _size(ratio: Estimate) -> Estimate:
    """A number without its sign; its errors change sides with it."""
    if ratio.value >= 0:
        return ratio
    return Estimate(-ratio.value, ratio.error, -ratio.high, -ratio.low)
