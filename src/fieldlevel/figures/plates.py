"""Every figure of a finished letter, with its caption."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from fieldlevel.data.transformed import largest_wavenumber
from fieldlevel.figures.calibration import draw_calibration
from fieldlevel.figures.destroyed_maps import draw_null_tests, draw_total_mass
from fieldlevel.figures.history import draw_training_history
from fieldlevel.figures.map_images import draw_maps
from fieldlevel.figures.residuals import N_SHOWN, draw_four_pairs, draw_transfer
from fieldlevel.figures.scale_curves import N_SMOOTHED_SHOWN, Curve, draw_information, draw_losses, draw_smoothing_pairs
from fieldlevel.figures.search_trials import draw_search
from fieldlevel.figures.seeds import draw_seed_spread
from fieldlevel.figures.suite_matrix import draw_robustness_matrix
from fieldlevel.statistics.metrics import Scores
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.study.jobs import SearchRun
from fieldlevel.study.plan import FIRST
from fieldlevel.study.published_accuracies import K_MAX_LOSSES
from fieldlevel.study.runner import LetterRun, first_seed

PUBLISHED_PIXELS = 256
"""On a side of the maps behind `K_MAX_LOSSES`."""

DESTROYED = {
    "mean map": "every pixel the mean",
    "shuffled pixels": "pixels in random order",
    "random phases": "Fourier modes with random phases",
    "no monopole": "every map scaled to one mean",
}
"""What is done to the maps in each null test."""


@dataclass(frozen=True)
class Plate:
    """A figure and what is said of it.

    Attributes:
        stem: name of its files.
        heading: its name in the report.
        caption: what it shows, in sentences.
        description: the same for who cannot see it.
        draw: makes it.
    """

    stem: str
    heading: str
    caption: str
    description: str
    draw: Callable[[], Figure]


def letter_plates(run: LetterRun) -> list[Plate]:
    """The figures that a letter has data for, in the order of the report."""
    mock = run.is_mock
    done = {name: first_seed(results) for name, results in run.experiments.items()}
    return [
        Plate(
            "fig1_maps",
            "Figure 1",
            "Example maps of both suites on one colour scale; Omega_m grows from left to right.",
            "Two rows of square maps of the projected matter density, one row a suite.",
            lambda: draw_maps(run.examples, field=run.data.field, mock=mock),
        ),
        Plate(
            "fig2_four_pairs",
            "Figure 2",
            "Posterior mean minus truth against truth for the four train/test pairs: Omega_m left, sigma_8 right. "
            f"Error bars are the posterior standard deviations of up to {N_SHOWN} maps; faint dots: all tested maps. "
            "Blue circles: the network's own suite, orange squares: the other.",
            "Four rows of two scatter plots of residuals around zero, one row a pair of suites.",
            lambda: draw_four_pairs(run.pairs, mock=mock),
        ),
        *_nbody_plates(done, mock),
        *_smoothing_plates(done, mock),
        *_null_plates(run, done, mock),
        Plate(
            "robustness",
            "Robustness",
            "Trained on a suite (rows), tested on a suite (columns): bias and RMSE in units of the parameter, and the "
            "ratio of this RMSE to the RMSE on the own suite, which gives the colour; the tables have relative errors. "
            "Hatched: not tested.",
            "Two coloured tables of numbers, one for Omega_m and one for sigma_8.",
            lambda: draw_robustness_matrix(list(run.matrix), run.transfer, mock=mock),
        ),
        *_information_plates(run, done, mock),
        Plate(
            "calibration",
            "Calibration",
            "Fraction of the truths within the mean plus or minus z posterior standard deviations, and what a Gaussian "
            "posterior would give; bands hold 68% of the bootstrap over simulations.",
            "Curves of coverage against z, one panel a parameter, one curve a pair of suites.",
            lambda: draw_calibration({pair.name: pair.predictions for pair in run.pairs}, mock=mock),
        ),
        *_seed_plates(run, mock),
        *_search_plates(run, mock),
        Plate(
            "training_history",
            "Training history",
            "Loss of each network against its optimiser steps; the weights of the lowest validation loss are kept.",
            "Curves of training and validation loss that fall with the number of steps.",
            lambda: draw_training_history({s: network.history for s, network in run.networks.items()}, mock=mock),
        ),
    ]


Done = Mapping[str, Sequence[PairResult]]


def _nbody_plates(done: Done, mock: bool) -> Iterator[Plate]:
    to_hydro = [result for result in done.get("N-body to hydro", ()) if result.crosses_suites]
    to_nbody = done.get("hydro to N-body", ())
    if to_hydro or to_nbody:
        sides = ["trained on gravity-only maps, tested on hydrodynamic ones"] if to_hydro else []
        sides += ["trained on hydrodynamic maps, tested on gravity-only ones"] if to_nbody else []
        networks = f"{sides[0]} (left), and {sides[1]} (right)" if len(sides) == 2 else sides[0]
        yield Plate(
            "fig3_nbody",
            "Figure 3",
            f"Posterior mean minus truth of networks {networks}. Error bars are the posterior standard deviations of "
            f"up to {N_SHOWN} maps a suite; the mean error and the reduced chi squared are over all tested maps.",
            "Scatter plots of residuals, Omega_m above and sigma_8 below, one column for each direction.",
            lambda: draw_transfer(to_hydro, to_nbody, mock=mock),
        )


def _scales(done: Done, prefix: str, uncut: float) -> dict[float, Sequence[PairResult]]:
    """Results by scale, those of the untouched maps included."""
    names = [name for name in done if name.startswith(prefix)]
    by_scale = {float(name.split()[1]): done[name] for name in names}
    return {uncut: done[FIRST], **by_scale} if by_scale else {}


def _smoothing_plates(done: Done, mock: bool) -> Iterator[Plate]:
    by_scale = _scales(done, "smoothing", 0.0)
    if by_scale:
        pairs = {
            (pair.train_suite, pair.test_suite): {scale: results[i] for scale, results in by_scale.items()}
            for i, pair in enumerate(done[FIRST])
        }
        scales = ", ".join(f"{scale:g}" for scale in sorted(by_scale))
        yield Plate(
            "fig4_smoothing",
            "Figure 4",
            f"Posterior mean minus truth of networks trained and tested on maps smoothed by a Gaussian of {scales} "
            f"pixels, for all four pairs; error bars of up to {N_SMOOTHED_SHOWN} maps, side by side at their truth. "
            "The numbers are the mean of sigma over mu, over all tested maps.",
            "Scatter plots of residuals in one colour for each smoothing.",
            lambda: draw_smoothing_pairs(pairs, mock=mock),
        )


def _null_plates(run: LetterRun, done: Done, mock: bool) -> Iterator[Plate]:
    suite = run.data.suites[0]
    kinds = {kind: words for kind, words in DESTROYED.items() if kind in done}
    results = {
        name: next(result for result in done[kind] if result.train_suite == result.test_suite == suite)
        for name, kind in {"maps": FIRST, **{kind: kind for kind in kinds}}.items()
    }
    if kinds:
        yield Plate(
            "null_tests",
            "Null tests",
            f"The network of {suite} on its own test maps, and on the same maps with information taken away: "
            f"{', '.join(kinds.values())}. Triangles: means beyond the panel.",
            "Scatter plots of the posterior mean against the truth, one column for each kind of map.",
            lambda: draw_null_tests(results, mock=mock),
        )
    mean_only = run.mean_only[suite]
    predictions = mean_only.predictions
    yield Plate(
        "total_mass",
        "Total mass",
        f"Mean surface density of each test map of {suite} against Omega_m and sigma_8, and what a network that knows "
        "nothing else could say: a cubic in the logarithm of the mean, fitted on the training maps and kept within the "
        "prior. The numbers: correlation with the mean, accuracy of the fit on the test maps.",
        "Two scatter plots of the mean density of maps against a parameter, with a curve.",
        lambda: draw_total_mass(mean_only.mean_density, predictions.theta, predictions.mean[:, :2], mock=mock),
    )


def _information_plates(run: LetterRun, done: Done, mock: bool) -> Iterator[Plate]:
    what = "Error of networks trained and tested on maps after"
    where = (
        "on their own suite and on the other; error bars are bootstrap errors over the test simulations, side by side."
    )
    description = "Curves of the error of Omega_m and sigma_8 that change with the scale."
    by_pixels, by_cut = _scales(done, "smoothing", 0.0), _scales(done, "k_max", math.inf)
    if by_pixels:
        yield Plate(
            "information_smoothing",
            "Information against smoothing",
            f"{what} smoothing by a Gaussian, {where}",
            description,
            lambda: draw_information(_errors(done, by_pixels), "smoothing", mock=mock),
        )
    if by_cut:
        n_pixels = _n_pixels(run)
        yield _loss_plate(run, n_pixels, mock)
        yield Plate(
            "information_k_max",
            "Information against k_max",
            f"{what} a sharp cut at k_max, {where} Open symbols: {_end_in_words(n_pixels)}.",
            description,
            lambda: draw_information(_errors(done, by_cut), "k_max", k_end=largest_wavenumber(n_pixels), mock=mock),
        )


def _errors(done: Done, by_scale: Mapping[float, Sequence[PairResult]]) -> dict[str, Curve]:
    """The rms relative error at every scale, by pair."""
    return {
        pair.name: [
            (at, {name: row["rms_relative_error"] for name, row in results[i].scores.items()})
            for at, results in sorted(by_scale.items())
        ]
        for i, pair in enumerate(done[FIRST])
    }


def _n_pixels(run: LetterRun) -> int:
    return run.data.opened[run.data.suites[0]].n_pixels


def _end_in_words(n_pixels: int) -> str:
    return (
        f"maps of {n_pixels} x {n_pixels} pixels without a cut, drawn where they end, at "
        f"{largest_wavenumber(n_pixels):.3g} h/Mpc (corner of the Fourier plane, sqrt(2) times the Nyquist wavenumber)"
    )


def _loss_plate(run: LetterRun, n_pixels: int, mock: bool) -> Plate:
    cuts = {name: float(name.split()[1]) for name in run.losses if name.startswith("k_max")} | {FIRST: math.inf}
    curves = {suite: {at: run.losses[name][suite] for name, at in cuts.items()} for suite in run.data.suites}
    published = "CAMELS IllustrisTNG, public re-run"
    ends = dict.fromkeys(curves, largest_wavenumber(n_pixels)) | {published: largest_wavenumber(PUBLISHED_PIXELS)}
    return Plate(
        "loss_k_max",
        "Validation loss against k_max",
        f"Validation loss, as they predict, of networks trained on maps without the Fourier modes beyond k_max. Open "
        f"symbols: {_end_in_words(n_pixels)}. Dashed: the lowest losses of a public re-run of the released recipe on "
        f"CAMELS maps of IllustrisTNG, {PUBLISHED_PIXELS} x {PUBLISHED_PIXELS} pixels, to {ends[published]:.3g} h/Mpc, "
        "900 training simulations.",
        "Curves of the loss that fall as smaller scales are let in.",
        lambda: draw_losses(curves, {published: K_MAX_LOSSES}, ends, mock=mock),
    )


def _search_plates(run: LetterRun, mock: bool) -> Iterator[Plate]:
    for (inputs, suite), search in run.searches.items():
        yield Plate(
            f"search_{inputs.replace(' ', '_')}_{suite}",
            f"Search: {inputs}, {suite}",
            f"Hyper-parameters of the networks on {inputs} of {suite}: the loss of every trial (triangles: beyond the "
            "panel), which choices put a trial among the best tenth, and where the good trials lie; the star is the "
            "trial that was chosen. Importance is that of PED-ANOVA (arXiv:2304.10255): how far the values of the best "
            "tenth stand out from those of all trials, one hyper-parameter at a time, normalised to a sum of 1; it is "
            "no share of the variance of the loss.",
            "Dots of the loss of each trial with a falling staircase, bars of importance, one panel a hyper-parameter.",
            _search(search, mock),
        )


def _search(search: SearchRun, mock: bool) -> Callable[[], Figure]:
    states = [trial["state"] for trial in search.trials]
    values = np.array([float(trial["value"] or "nan") for trial in search.trials])
    drawn = {name: np.array([float(trial[name]) for trial in search.trials]) for name in search.hyper_parameters}
    return lambda: draw_search(values, states, drawn, search.importance, mock=mock)


def _seed_plates(run: LetterRun, mock: bool) -> Iterator[Plate]:
    scores: dict[str, list[Scores]] = {}
    for result in run.experiments[FIRST]:
        scores.setdefault(result.name, []).append(result.scores)
    if min(map(len, scores.values())) > 1:
        yield Plate(
            "seeds",
            "Seeds",
            "Error of the networks of each training seed (dots), their mean and spread.",
            "Dots with a mean and an error bar for each pair of suites.",
            lambda: draw_seed_spread(scores, mock=mock),
        )
