"""The same figures on dark ground."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.lines import Line2D
from matplotlib.text import Text

from fieldlevel import figures
from fieldlevel.figures.dark import INK, PAGE, darken, on_dark
from fieldlevel.figures.style import COLOURS, VERMILLION, contrast
from fieldlevel.statistics.ratios import transfer_ratios


@pytest.mark.parametrize("colour", [*COLOURS, "black", "0.3", "crimson", "navy"])
def test_every_dark_or_bright_colour_can_be_read_on_dark_ground(colour):
    assert contrast(on_dark(to_rgba(colour)), to_rgb(PAGE)) >= 4.5


def test_greys_turn_round_and_transparency_stays():
    greys = [on_dark(to_rgba(str(grey), 0.3)) for grey in np.linspace(0, 1, 11)]
    assert np.allclose(greys[0][:3], to_rgb(INK))
    assert np.allclose(greys[-1][:3], to_rgb(PAGE))
    assert (np.diff(np.array(greys)[:, 0]) < 0).all()
    assert {grey[3] for grey in greys} == {0.3}


def drawn(four, examples):
    yield figures.draw_four_pairs(four, mock=True)
    yield figures.draw_training_history({"MockTNG": {n: np.arange(3.0) for n in HISTORY}}, mock=True)
    yield figures.draw_maps(examples, theta={name: np.full((3, 6), 0.3) for name in examples}, mock=True)
    yield figures.draw_robustness_matrix(four, transfer_ratios(four, 20), mock=True)
    yield figures.draw_seed_spread({"pair": [four[0].scores] * 3}, mock=True)


HISTORY = ("step", "training_loss", "validation_loss")


def test_letters_and_ticks_of_every_figure_stand_out_from_the_dark_ground(four, examples):
    for figure in drawn(four, examples):
        darken(figure).draw_without_rendering()
        assert np.allclose(to_rgb(figure.get_facecolor()), to_rgb(PAGE))
        on_images = {text for axes in figure.axes if axes.images for text in axes.texts}
        letters = [text for text in figure.findobj(Text) if text.get_text() and text not in on_images]
        assert letters
        for text in letters:
            assert contrast(to_rgb(text.get_color()), to_rgb(PAGE)) >= 4.5, text
        for axes in figure.axes:
            for line in axes.xaxis.get_ticklines() + axes.yaxis.get_ticklines():
                assert isinstance(line, Line2D)
                assert contrast(to_rgb(line.get_color()), to_rgb(PAGE)) >= 4.5


def test_maps_and_what_is_written_on_them_stay_as_they_are(examples):
    figure = figures.draw_maps(examples, theta={name: np.full((3, 6), 0.3) for name in examples}, mock=True)
    panel = figure.axes[0]
    before = panel.images[0].get_array().copy(), panel.images[0].get_cmap().name, panel.texts[0].get_color()
    darken(figure)
    assert np.array_equal(panel.images[0].get_array(), before[0])
    assert (panel.images[0].get_cmap().name, panel.texts[0].get_color()) == before[1:]


def test_the_mark_of_mock_data_keeps_its_hue(four):
    figure = darken(figures.draw_four_pairs(four, mock=True))
    mark = to_rgb(figure._suptitle.get_color())
    assert np.argsort(mark).tolist() == np.argsort(to_rgb(VERMILLION)).tolist()
