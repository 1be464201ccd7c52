"""Every figure of a finished letter, with its caption: those of its experiments, its maps, searches and trainings."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from fieldlevel.figures.history import draw_training_history
from fieldlevel.figures.map_images import draw_maps
from fieldlevel.figures.plate import Plate
from fieldlevel.figures.search_trials import draw_search
from fieldlevel.study.experiment import Experiment
from fieldlevel.study.experiments import asked, known_experiments
from fieldlevel.study.results import LetterResults
from fieldlevel.study.searches import SearchRun


def letter_plates(results: LetterResults) -> list[Plate]:
    """The figures that a letter has data for, in the order of the report."""
    plates = [
        *_map_plates(results),
        *(plate for experiment in known_experiments() for plate in _plates_of(experiment, results)),
        *_search_plates(results),
        *_history_plates(results),
    ]
    return sorted(plates, key=lambda plate: plate.place)


def _plates_of(experiment: Experiment, results: LetterResults) -> list[Plate]:
    with asked(experiment):
        return [replace(plate, draw=_drawn(experiment, plate)) for plate in experiment.plates(results)]


def _drawn(experiment: Experiment, plate: Plate) -> Callable[[], Figure]:
    def draw() -> Figure:
        with asked(experiment):
            return plate.draw()

    return draw


def _map_plates(results: LetterResults) -> Iterator[Plate]:
    every, rows = ("both suites", "Two rows") if len(results.suites) == 2 else ("all suites", "Rows")
    yield Plate(
        "fig1_maps",
        "Figure 1",
        f"Example maps of {every} on one colour scale; {results.cosmological[0]} grows from left to right, and the "
        "universes of a column are as much alike as the simulations allow.",
        f"{rows} of square maps of the projected matter density, one row a suite.",
        lambda: draw_maps(
            results.examples,
            results.layout,
            results.spec.train.field,
            results.example_parameters,
            mock=results.is_mock,
        ),
        place=10,
    )


def _search_plates(results: LetterResults) -> Iterator[Plate]:
    for (inputs, suite), search in results.searches.items():
        yield Plate(
            f"search_{inputs.replace(' ', '_')}_{suite}",
            f"Search: {inputs}, {suite}",
            f"Hyper-parameters of the networks on {inputs} of {suite}: the loss of every trial (triangles: beyond the "
            "panel), which choices put a trial among the best tenth, and where the good trials lie; the star is the "
            "trial that was chosen. Importance is that of PED-ANOVA (arXiv:2304.10255): how far the values of the best "
            "tenth stand out from those of all trials, one hyper-parameter at a time, normalised to a sum of 1; it is "
            "no share of the variance of the loss.",
            "Dots of the loss of each trial with a falling staircase, bars of importance, one panel a hyper-parameter.",
            _search(search, results.is_mock),
            place=110,
        )


def _search(search: SearchRun, mock: bool) -> Callable[[], Figure]:
    states = [trial["state"] for trial in search.trials]
    values = np.array([float(trial["value"] or "nan") for trial in search.trials])
    drawn = {name: np.array([float(trial[name]) for trial in search.trials]) for name in search.hyper_parameters}
    return lambda: draw_search(values, states, drawn, search.importance, mock=mock)


def _history_plates(results: LetterResults) -> Iterator[Plate]:
    yield Plate(
        "training_history",
        "Training history",
        "Loss of each network against its optimiser steps; the weights of the lowest validation loss are kept.",
        "Curves of training and validation loss that fall with the number of steps.",
        lambda: draw_training_history(
            {suite: network.history for suite, network in results.networks.items()}, mock=results.is_mock
        ),
        place=120,
    )
