"""A letter of numbers that tell its networks apart: every figure must show those of its own experiment."""

import math
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from fieldlevel.figures import N_SHOWN, choose_maps
from fieldlevel.figures.scale_curves import N_SMOOTHED_SHOWN
from fieldlevel.layout import Layout
from fieldlevel.statistics.ratios import transfer_ratios
from fieldlevel.study.experiments.null_tests import NULL_TESTS
from fieldlevel.study.keys import FIRST, HYDRO_TO_NBODY, NBODY_TO_HYDRO, ExperimentKey
from fieldlevel.study.letter_plates import letter_plates
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.published_accuracies import K_MAX_LOSSES
from fieldlevel.study.results import LetterResults, suite_matrix
from fieldlevel.study.searches import SearchRun
from fieldlevel.training.train_spec import TrainSpec

SUITES = ("MockTNG", "MockSIMBA")
FOUR = tuple((a, b) for a in SUITES for b in sorted(SUITES, key=lambda name, own=a: name != own))
OWN_BACKWARDS = (("MockSIMBA", "MockSIMBA"), ("MockTNG", "MockTNG"))
TWINS = tuple((f"Nbody_{a}", a) for a in SUITES)
NULLS = {key.kind: key for test in NULL_TESTS for key in test.tests(LetterSpec(), SUITES, {})}
SMOOTH_1, SMOOTH_3 = (ExperimentKey("smoothing", scale, "px") for scale in (1.0, 3.0))
CUT_2, CUT_4 = (ExperimentKey("k_max", scale, "h/Mpc") for scale in (2.0, 4.0))
FOUR_BACKWARDS = tuple(reversed(FOUR))
PLAN = {
    FIRST: FOUR,
    **dict.fromkeys(NULLS.values(), OWN_BACKWARDS),
    HYDRO_TO_NBODY: tuple((a, twin) for twin, a in TWINS),
    NBODY_TO_HYDRO: tuple(pair for twin, a in TWINS for pair in ((twin, twin), (twin, a))),
    SMOOTH_1: FOUR,
    SMOOTH_3: FOUR_BACKWARDS,
    CUT_2: FOUR_BACKWARDS,
    CUT_4: FOUR,
}
"""No two experiments need have their pairs in one order."""
TRIALS = [
    {"number": str(i), "state": "complete", "value": str(value), "n_layers": str(1 + i % 3), "dropout": str(0.1 * i)}
    for i, value in enumerate((-2.0, -5.0, -3.0))
]


@pytest.fixture(scope="module")
def run(pair, examples) -> LetterResults:
    """No two networks have the same bias or loss; those of the second seed are far away."""
    seeds = iter(range(100))
    experiments = {
        name: tuple(
            pair(*suites, 12, seed=i, bias=0.002 * i, width=0.02 + 0.001 * i)
            for suites, i in zip(pairs, seeds, strict=False)
        )
        for name, pairs in PLAN.items()
    }
    experiments[FIRST] += tuple(replace(pair(*suites, 12, bias=9.0), seed=1) for suites in FOUR)
    history = {name: np.array([1.0, 2.0]) for name in ("step", "training_loss", "validation_loss")}
    loss = iter(np.arange(-1.0, -100.0, -1.0))
    network = lambda: SimpleNamespace(history=history, validation_loss=next(loss))  # noqa: E731
    own = experiments[FIRST][0].predictions
    mean_only = SimpleNamespace(mean_density=1e11 * own.theta[:, 0], predictions=own)
    return LetterResults(
        suites=SUITES,
        is_mock=True,
        layout=Layout(n_pixels=64),
        trained={name: {suite: network() for suite in SUITES} for name in experiments},
        searches={("power spectrum", "MockTNG"): SearchRun(TrainSpec("MockTNG"), TRIALS, {})},
        experiments=experiments,
        transfer=transfer_ratios(suite_matrix(experiments), 20),
        mean_only=dict.fromkeys(SUITES, mean_only),
        examples=examples,
    )


@pytest.fixture(scope="module")
def plates(run):
    return {plate.stem: plate for plate in letter_plates(run)}


def without(run, *names):
    kept = {key: results for key, results in run.experiments.items() if key.kind not in names}
    return {plate.stem: plate for plate in letter_plates(replace(run, experiments=kept))}


def result_of(run, key: ExperimentKey, i: int):
    """The result of one of the four pairs, wherever it stands."""
    return next(each for each in run.experiments[key] if (each.train_suite, each.test_suite) == FOUR[i])


def residuals(result, column: int, n: int) -> np.ndarray:
    chosen = choose_maps(result.predictions, n)
    return (result.predictions.mean - result.predictions.theta)[chosen, column]


def shows(panel, results: Sequence, column: int, n: int) -> bool:
    drawn = [container.lines[0].get_ydata() for container in panel.containers]
    return np.array_equal(drawn, [residuals(result, column, n) for result in results])


def test_every_figure_of_a_whole_letter_has_its_plate_and_sentences(plates):
    assert list(plates) == [
        "fig1_maps",
        "fig2_four_pairs",
        "fig3_nbody",
        "fig4_smoothing",
        "fig4_residuals",
        "null_tests",
        "total_mass",
        "robustness",
        "loss_k_max",
        "information_k_max",
        "calibration",
        "error_bars",
        "seeds",
        "search_power_spectrum_MockTNG",
        "training_history",
    ]
    assert all(plate.caption.endswith(".") and plate.description.endswith(".") for plate in plates.values())


def test_fig_2_shows_the_four_pairs_of_the_first_seed(run, plates):
    panels = plates["fig2_four_pairs"].draw().axes
    assert len(panels) == 8
    for i, panel in enumerate(panels):
        assert shows(panel, run.experiments[FIRST][i // 2 : i // 2 + 1], i % 2, N_SHOWN)


def test_fig_3_has_networks_of_gravity_only_maps_left_and_those_of_hydrodynamic_ones_right(run, plates):
    figure = plates["fig3_nbody"].draw()
    sides = (run.experiments[NBODY_TO_HYDRO][1::2], run.experiments[HYDRO_TO_NBODY])
    for i, panel in enumerate(figure.axes):
        assert shows(panel, sides[i % 2], i // 2, N_SHOWN)
    assert figure.axes[0].get_title("left") == "trained on N-body, tested on hydro"


def test_fig_3_speaks_of_the_sides_that_there_are(run, plates):
    assert "(left)" in plates["fig3_nbody"].caption
    for missing, there, gone in (
        ("N-body to hydro", "tested on gravity-only", "tested on hydrodynamic"),
        ("hydro to N-body", "tested on hydrodynamic", "tested on gravity-only"),
    ):
        caption = without(run, missing)["fig3_nbody"].caption
        assert there in caption
        assert gone not in caption
        assert "left" not in caption
    assert "fig3_nbody" not in without(run, "hydro to N-body", "N-body to hydro")


def test_fig_4_shows_the_smoothed_maps_of_each_pair(run, plates):
    figure = plates["fig4_residuals"].draw()
    for i, panel in enumerate(figure.axes):
        results = [result_of(run, key, i // 2) for key in (FIRST, SMOOTH_1, SMOOTH_3)]
        assert shows(panel, results, i % 2, N_SMOOTHED_SHOWN)
    assert "0, 1, 3 pixels" in plates["fig4_residuals"].caption


def test_fig_4_begins_with_the_error_against_the_smoothing_in_pixels_and_in_lengths(plates):
    panel = plates["fig4_smoothing"].draw().axes[0]
    assert panel.get_xlabel() == "smoothing  [pixels]"
    (top,) = panel.child_axes
    top.figure.draw_without_rendering()
    assert "Mpc" in top.get_xlabel()
    assert np.allclose(top.get_xlim(), np.array(panel.get_xlim()) * 25 / 64)


def test_null_tests_show_the_network_of_the_first_suite_on_its_own_maps(run, plates):
    panels = np.array(plates["null_tests"].draw().axes).reshape(2, 5)
    kinds = ("mean map", "shuffled pixels", "random phases", "no monopole")
    results = [run.experiments[FIRST][0], *(run.experiments[NULLS[kind]][1] for kind in kinds)]
    for row, column in zip(panels, (0, 1), strict=True):
        for panel, result in zip(row, results, strict=True):
            assert np.array_equal(panel.lines[-1].get_ydata(), result.predictions.mean[:, column])


def test_null_tests_name_what_was_done_and_nothing_else(run, plates):
    words = ("every pixel the mean", "random order", "random phases", "scaled to one mean")
    assert all(word in plates["null_tests"].caption for word in words)
    caption = without(run, "random phases", "no monopole")["null_tests"].caption
    assert [word in caption for word in words] == [True, True, False, False]
    assert "four" not in caption
    assert "null_tests" not in without(run, "mean map", "shuffled pixels", "random phases", "no monopole")


def test_losses_are_those_of_each_cut_and_end_with_the_maps(run, plates):
    panel = plates["loss_k_max"].draw().axes[0]
    joined, alone = panel.lines[::2], panel.lines[1::2]
    for suite, line, point in zip(SUITES, joined, alone, strict=False):
        losses = [run.losses[name][suite] for name in (CUT_2, CUT_4)]
        assert np.array_equal(line.get_xydata(), np.stack([[2, 4], losses], axis=1))
        assert np.allclose(point.get_xydata(), [[math.sqrt(2) * math.pi * 64 / 25, run.losses[FIRST][suite]]])
    assert dict(joined[2].get_xydata().tolist()) == {k: v for k, v in K_MAX_LOSSES.items() if math.isfinite(k)}
    assert np.allclose(alone[2].get_xydata(), [[math.sqrt(2) * math.pi * 256 / 25, K_MAX_LOSSES[math.inf]]])
    drawn = [text.get_text() for text in panel.figure.legends[0].get_texts()]
    assert drawn == ["MockTNG (MOCK DATA)", "MockSIMBA (MOCK DATA)", "CAMELS IllustrisTNG, public re-run"]
    assert panel.figure._suptitle is None
    assert "64 x 64 pixels without a cut, drawn where they end, at 11.4 h/Mpc" in plates["loss_k_max"].caption


@pytest.mark.parametrize(
    ("stem", "keys"),
    [
        ("information_k_max", (CUT_2, CUT_4, FIRST)),
        ("fig4_smoothing", (FIRST, SMOOTH_1, SMOOTH_3)),
    ],
)
def test_information_is_that_of_each_scale_and_pair(run, plates, stem, keys):
    for panel, parameter in zip(plates[stem].draw().axes, ("Omega_m", "sigma_8"), strict=True):
        drawn = np.concatenate([container.lines[0].get_ydata() for container in panel.containers])
        expected = [
            100 * result_of(run, key, i).scores[parameter]["rms_relative_error"].value for i in range(4) for key in keys
        ]
        assert np.allclose(drawn, expected)


def test_maps_without_a_cut_stand_where_64_pixels_end(plates):
    open_points = plates["information_k_max"].draw().axes[0].containers[1::2]
    places = [container.lines[0].get_xdata()[0] for container in open_points]
    assert np.exp(np.log(places).mean()) == pytest.approx(11.373, rel=1e-3)
    assert "at 11.4 h/Mpc" in plates["information_k_max"].caption


def test_the_chosen_trial_is_the_star_and_importance_is_no_variance(plates):
    plate = plates["search_power_spectrum_MockTNG"]
    star = next(line for line in plate.draw().axes[1].lines if line.get_marker() == "*")
    assert np.ravel(star.get_data()).tolist() == [2, -5]
    assert "PED-ANOVA" in plate.caption
    assert "best tenth" in plate.caption
    assert "no share of the variance" in plate.caption


def test_captions_name_the_measures_and_the_fit(plates):
    assert "ratio of this RMSE to the RMSE on the own suite" in plates["robustness"].caption
    assert "monotone curve" in plates["total_mass"].caption
    assert "best predictor" not in plates["total_mass"].caption
