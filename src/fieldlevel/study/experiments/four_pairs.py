"""Whether a network is as good on the suites that it has never seen as on its own: every pair of suites.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360 (Fig. 2).
"""

from collections.abc import Iterator, Mapping, Sequence

from fieldlevel.figures.interval_coverage import draw_calibration
from fieldlevel.figures.plate import Plate
from fieldlevel.figures.prior_quarters import draw_error_bars
from fieldlevel.figures.residuals import N_SHOWN, draw_four_pairs
from fieldlevel.figures.seeds import draw_seed_spread
from fieldlevel.figures.suite_matrix import draw_robustness_matrix
from fieldlevel.figures.transfer_matrices import draw_suite_matrices
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.metrics import Scores
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.study.experiment import Experiment, across, on_all, trained_on
from fieldlevel.study.keys import FIRST, Plan, Tests, pairs_key, remedied_pairs_key
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.numerics_sets import trained_sets
from fieldlevel.study.results import LetterResults
from fieldlevel.study.verdict import (
    PRECONDITION,
    Finding,
    Verdict,
    at_most,
    conclude,
    finding_if_known,
    relative_error,
)

ROBUST_RATIO = 1.25
"""A network counts as robust where its error on another suite is at most so many times that on its own."""

_NUMBERS = {2: "two", 3: "three", 4: "four", 9: "nine", 16: "sixteen"}


class FourPairs(Experiment):
    """Each network on its own suite and on every other: four pairs of two suites, N x N of N."""

    kind = FIRST.kind

    def tests(self, spec: LetterSpec, suites: Sequence[str], twins: Mapping[str, str]) -> Plan:
        """With all seeds of the letter."""
        return {pairs_key(suites): on_all(spec.train, suites, spec.seeds)}

    def tests_on_sets(self, spec: LetterSpec, sets: Mapping[str, Sequence[str]]) -> Plan:
        """The same for networks whose training maps have random numbers of particles, on maps as they are.

        Where these are smoothed too, with those whose training maps are smoothed alone beside them.
        """
        trained, own = trained_sets(sets, spec.train.set_name, spec.numerics_train), spec.train.set_name
        remedies = [name for name in trained if name != own]
        plan = {remedied_pairs_key(tuple(sets), name): _both_ways(spec, sets, name, spec.seeds) for name in remedies}
        for smoothing in spec.numerics_smoothing if remedies else ():
            plan |= {
                remedied_pairs_key(tuple(sets), name, smoothing): _both_ways(
                    spec, sets, name, spec.other_seeds, smoothing
                )
                for name in trained
            }
        return plan

    def judge(self, results: LetterResults) -> Iterator[Verdict]:
        """Robustness of every network on every suite that it has never seen, from the ratios of its errors."""
        own, names = results.own, results.judged
        findings = {
            f"{pair.name} {name}": _transfer(own[pair.train_suite], pair, name, results.transfer[pair.name][name])
            for pair in results.pairs
            if pair.crosses_suites
            for name in names
        }
        are_two = len(results.suites) == 2
        unseen, other = ("the suite", "the other suite") if are_two else ("a suite", "each other suite")
        return conclude(
            results.first_label,
            f"A network infers {' and '.join(names)} as well from {unseen} that it has never seen as from its own.",
            f"RMSE on {other} at most {ROBUST_RATIO} times that on the own one, beyond the error; {PRECONDITION}",
            "3.4% and 2.4% on IllustrisTNG become 3.9% and 2.6% on SIMBA; 4.5% and 2.7% on SIMBA, 4.3% and 2.7%",
            findings,
        )

    def plates(self, results: LetterResults) -> Iterator[Plate]:
        """Residuals, matrix of robustness, calibration and, of several, the seeds."""
        pairs, mock = results.pairs, results.is_mock
        number = _NUMBERS.get(len(pairs), str(len(pairs)))
        yield Plate(
            "fig2_four_pairs",
            "Figure 2",
            f"Posterior mean minus truth against truth for the {number} train/test pairs: {_sides(results)}. "
            f"Error bars are the posterior standard deviations of up to {N_SHOWN} maps; faint dots: all tested maps. "
            f"Blue circles: the network's own suite, orange squares: {_the_other(results)}.",
            f"{number.capitalize()} rows of two scatter plots of residuals around zero, one row a pair of suites.",
            lambda: draw_four_pairs(pairs, mock=mock),
            place=20,
        )
        yield Plate(
            "robustness",
            "Robustness",
            "Trained on a suite (rows), tested on a suite (columns): bias and RMSE in units of the parameter, and the "
            "ratio of this RMSE to the RMSE on the own suite, which gives the colour; the tables have relative errors. "
            "Hatched: not tested.",
            f"Coloured tables of numbers, one for each of {results.cosmology}.",
            lambda: draw_robustness_matrix(list(results.matrix), results.transfer, mock=mock),
            place=70,
        )
        if len(results.suites) > 2:
            yield _matrices_plate(results)
        yield Plate(
            "calibration",
            "Calibration",
            "Fraction of the truths within the mean plus or minus z posterior standard deviations, and what a Gaussian "
            "posterior would give; bands hold 68% of the bootstrap over simulations.",
            "Curves of coverage against z, one panel a parameter, one curve a pair of suites.",
            lambda: draw_calibration({pair.name: pair.predictions for pair in pairs}, mock=mock),
            place=90,
        )
        own = {name: results.error_bars[name] for name in (pair.name for pair in results.own.values())}
        judged = [parameter for parameter in results.layout.parameters if parameter.name in results.judged]
        yield Plate(
            "error_bars",
            "Error bars",
            "Networks on their own suite. Above: truths inside the central 68% (filled) and 95% (open) of the "
            "posteriors of maps whose mean lies in each quarter of the prior; dashed: honest. Below: where in the "
            "posteriors the truths lie, flat (dashed) for honest ones, piled up at both ends where these are too "
            "narrow. Errors are those of the bootstrap over simulations.",
            "Points of coverage in each quarter of the prior, and histograms of the truths' place in their posteriors.",
            lambda: draw_error_bars(own, judged, mock=mock),
            place=91,
        )
        yield from _seed_plates(results)


def _both_ways(
    spec: LetterSpec, sets: Mapping[str, Sequence[str]], set_name: str, n_seeds: int, smoothing: float = 0.0
) -> Tests:
    """Networks of the suites that have a set, trained on it and tested on the letter's own of every suite."""
    trained = [suite for suite, names in sets.items() if set_name in names]
    tested = {suite: sorted(sets, key=lambda name: name != suite) for suite in trained}
    return across(trained_on(spec.train, set_name, smoothing), tested, n_seeds, spec.train.set_name)


def _transfer(own: PairResult, other: PairResult, name: str, ratio: Estimate) -> Finding:
    """Robustness of a network; that of one which knows nothing says nothing, its failure does."""
    before, after = relative_error(own.scores, name), relative_error(other.scores, name)
    text = f"{before} becomes {after}, RMSE ratio {ratio.interval()}"
    outcome = at_most(ratio, ROBUST_RATIO)
    return (text, outcome) if outcome == "fails" else finding_if_known(own, [name], text, outcome)


def _the_other(results: LetterResults) -> str:
    return "the other" if len(results.suites) == 2 else "the others"


def _sides(results: LetterResults) -> str:
    """Where the panels of a parameter stand."""
    names = results.cosmological
    return f"{names[0]} left, {names[1]} right" if len(names) == 2 else results.cosmology


def _matrices_plate(results: LetterResults) -> Plate:
    return Plate(
        "suite_matrices",
        "Every suite against every suite",
        "Trained on a suite (rows), tested on one (columns): bias, RMSE over that of the tested suite's own network, "
        "and reduced chi^2 of the cosmological parameters. The colour tells how far a number is from its ideal.",
        "Matrices of coloured cells with numbers, a row of matrices for each measure.",
        lambda: draw_suite_matrices(results.pairs, results.transfer_matrix, mock=results.is_mock),
        place=71,
    )


def _seed_plates(results: LetterResults) -> Iterator[Plate]:
    scores: dict[str, list[Scores]] = {}
    for result in results.experiments[FIRST]:
        scores.setdefault(result.name, []).append(result.scores)
    if min(map(len, scores.values())) > 1:
        yield Plate(
            "seeds",
            "Seeds",
            "Error of the networks of each training seed (dots), their mean and spread.",
            "Dots with a mean and an error bar for each pair of suites.",
            lambda: draw_seed_spread(scores, layout=results.layout, mock=results.is_mock),
            place=100,
        )
