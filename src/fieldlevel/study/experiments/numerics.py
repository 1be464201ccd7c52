"""Whether networks weigh particles: the same simulations with fewer and more of them.

Which sets there are is told by their names (`fieldlevel.study.numerics_sets`). A network that was trained on maps of
random numbers of particles is asked the same, and so are those on maps that are smoothed besides, which hold less of
what only more particles resolve.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from fieldlevel.figures.kept_fractions import Answer, draw_kept_fractions
from fieldlevel.figures.plate import Plate
from fieldlevel.statistics.pairs import PairResult, on_own_suite
from fieldlevel.study.experiment import Experiment, across, trained_on
from fieldlevel.study.keys import NUMERICS, Plan, Tests, numerics_key
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.numerics_sets import numerics_sets, trained_sets, training_words
from fieldlevel.study.particle_weighing import WeighedSet
from fieldlevel.study.results import LetterResults
from fieldlevel.study.verdict import PRECONDITION, Finding, Verdict, at_most, conclude, finding_if_known

MOST_SHIFT = 1.0
"""Of the answer on the same simulations, in mean standard deviations of the network."""


class Numerics(Experiment):
    """Networks on sets of their own suite that differ from another in the number of particles."""

    kind = NUMERICS

    def tests(self, spec: LetterSpec, suites: Sequence[str], twins: Mapping[str, str]) -> Plan:
        """None but those on other sets."""
        return {}

    def tests_on_sets(self, spec: LetterSpec, sets: Mapping[str, Sequence[str]]) -> Plan:
        """The networks of the pairs, and those of the remedy, on every such set and its base."""
        trained = trained_sets(sets, spec.train.set_name, spec.numerics_train)
        tested = dict.fromkeys(each for names in sets.values() for each in numerics_sets(names))
        plan = {
            numerics_key(f"{one} → {other}", smoothing): _tests(spec, sets, one, other, smoothing)
            for smoothing in (0.0, *spec.numerics_smoothing)
            for one in trained
            for other in tested
        }
        return {key: tests for key, tests in plan.items() if tests}

    def judge(self, results: LetterResults) -> Iterator[Verdict]:
        """Shift of Omega_m, or of the first parameter of the claims, when particles go or come."""
        name, rows = results.judged[0], results.weighed
        for smoothing, train_set in dict.fromkeys((row.smoothing, row.train_set) for row in rows):
            own = _on_own(results, train_set, smoothing)
            found = {
                f"{row.suite} {row.test_set}": _shift(own[row.suite], row, name)
                for row in rows
                if (row.smoothing, row.train_set) == (smoothing, train_set) and (row.is_halved or row.is_doubled)
            }
            yield from conclude(
                _words(results, train_set, smoothing),
                f"{_network(smoothing)} does not weigh particles: from the same simulations with half of the "
                f"particles, or with twice as many a side, it gives the same {name}.",
                f"mean shift of {name} on the same simulations, when half of the particles go and when their number a "
                f"side doubles, at most {MOST_SHIFT:g} mean standard deviation of the network beyond the error; "
                f"{PRECONDITION}",
                "not in the letter",
                found,
            )

    def plates(self, results: LetterResults) -> Iterator[Plate]:
        """Answers against the particles that are left, one row of panels a suite."""
        for smoothing in dict.fromkeys(row.smoothing for row in results.weighed):
            drawn = _drawn(results, smoothing)
            if drawn:
                yield _plate(results, drawn, smoothing)


def _plate(results: LetterResults, drawn: Mapping[str, Mapping[str, Sequence[Answer]]], smoothing: float) -> Plate:
    smoothed, layout = f"smoothed by {smoothing:g} px" if smoothing else "", results.layout.select(results.judged)
    all_maps = f"All maps, those of the training too, are {smoothed}. " if smoothing else ""
    return Plate(
        "numerics" if not smoothing else f"numerics_smoothing_{smoothing:g}".replace(".", "p"),
        ", ".join(filter(None, ("Number of particles", smoothed))),
        f"{all_maps}Posterior mean minus truth of simulations with all their particles, and shifted from there as the "
        "answers on the same simulations are with fewer or more of them, of the same mass in all. Bars: "
        "scatter over simulations; bands: the mean standard deviation that the network claims. Joined: a "
        "random part of all particles. Open: simulated with another number of particles a side, one kind "
        "of particles alone thinned, or every so many of the lattice a side, as written below them; those of one "
        "number of particles stand side by side.",
        f"Markers of the mean error of {results.cosmology} against the fraction of the particles that is left, "
        "with bands; one row a suite, one column a parameter.",
        partial(draw_kept_fractions, drawn, layout, mock=results.is_mock),
        place=35,
    )


def _tests(
    spec: LetterSpec, sets: Mapping[str, Sequence[str]], train_set: str, test_set: str, smoothing: float
) -> Tests:
    """Networks of the suites that have both sets, on simulations that they have not seen."""
    there = [suite for suite, names in sets.items() if train_set in names and test_set in numerics_sets(names)]
    network, own = trained_on(spec.train, train_set, smoothing), spec.train.set_name
    tests = across(network, {suite: (suite,) for suite in there}, spec.other_seeds, test_set)
    return tests if test_set == own else tuple(replace(test, simulations="unseen") for test in tests)


def _on_own(results: LetterResults, train_set: str, smoothing: float) -> dict[str, PairResult]:
    """The networks of a training set on the test simulations of the letter; on what there is where that was not done.

    Whether they know a parameter is told by these: other sets may have a single cosmology.
    """
    tested = results.numerics_by_smoothing[smoothing]
    there = {each.train_suite: each for each in tested if each.train_set == train_set}
    done = results.own if train_set == results.spec.train.set_name and not smoothing else {}
    return there | done | on_own_suite(results.remedies.get((smoothing, train_set), ()))


def _shift(own: PairResult, row: WeighedSet, name: str) -> Finding:
    """The shift of a parameter; a network that knows nothing does not move, one that moves fails."""
    weighing = row.parameters[name]
    text = (
        f"{name} {weighing.bias.text()} off, shifted by {weighing.shift.text()}, "
        f"{weighing.shift_in_std.interval()} mean standard deviations"
    )
    outcome = at_most(weighing.shift_in_std.size(), MOST_SHIFT)
    return (text, outcome) if outcome == "fails" else finding_if_known(own, [name], text, outcome)


def _words(results: LetterResults, train_set: str, smoothing: float) -> str:
    return numerics_key("" if train_set == results.spec.train.set_name else train_set, smoothing).label


def _network(smoothing: float) -> str:
    """What a claim is about."""
    return f"The network on maps smoothed by {smoothing:g} px" if smoothing else "The network"


def _drawn(results: LetterResults, smoothing: float = 0.0) -> dict[str, dict[str, list[Answer]]]:
    """Answers by suite and training set, on the sets of the base that has most of them."""
    rows = [row for row in results.weighed if row.smoothing == smoothing]
    bases = {(row.suite, row.train_set, row.test_set): row for row in rows if row.is_base}
    drawn: dict[str, dict[str, list[Answer]]] = {}
    for row in rows:
        if row.density is not None and row.told.base == _base(rows, row.suite):
            each = _answer(bases[row.suite, row.train_set, row.told.base], row, row.density)
            drawn.setdefault(row.suite, {}).setdefault(_training(results, row.train_set), []).append(each)
    return drawn


def _training(results: LetterResults, train_set: str) -> str:
    """What networks were trained on, as the legend has it."""
    is_own = train_set == results.spec.train.set_name
    return f"trained on {train_set}: {'maps of all particles' if is_own else training_words(train_set)}"


def _answer(base: WeighedSet, row: WeighedSet, density: float) -> Answer:
    """The error on the base and the shift from there: those of fewer simulations have another error by chance."""
    moments = {
        name: (base.parameters[name].bias.value + told.shift.value, told.scatter, told.mean_std)
        for name, told in row.parameters.items()
    }
    return Answer(density, row.told.is_random, moments, row.told.mark)


def _base(rows: Sequence[WeighedSet], suite: str) -> str:
    bases = [row.told.base for row in rows if row.suite == suite]
    return max(bases, key=bases.count)
