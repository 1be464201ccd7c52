from dataclasses import replace

import numpy as np
import pytest

from fieldlevel.figures import draw_maps
from fieldlevel.layout import Layout


def test_maps_share_one_scale_with_a_unit_and_a_ruler(examples, texts):
    figure = draw_maps(examples, replace(Layout(), box_size_mpc_h=50.0), mock=True)
    images = [axes.images[0] for axes in figure.axes if axes.images]
    assert len(images) == 6
    assert len({image.get_clim() for image in images}) == 1
    assert images[0].get_extent() == [0, 50, 0, 50]
    assert any("Mpc" in text and "odot" in text for text in texts(figure))
    ruler = figure.axes[0].lines[0].get_xdata()
    assert ruler[1] - ruler[0] == pytest.approx(5)


def test_maps_are_drawn_by_suite_from_top_to_bottom(examples):
    figure = draw_maps(examples, mock=True)
    first, last = (next(a for a in figure.axes if a.get_ylabel() == s) for s in ("MockTNG", "MockSIMBA"))
    assert first.get_position().y0 > last.get_position().y0
    assert np.array_equal(first.images[0].get_array(), np.log10(examples["MockTNG"][0]).T)


@pytest.mark.parametrize(("box", "length"), [(25.0, 5), (50.0, 5), (5.0, 1), (100.0, 20), (1000.0, 200)])
def test_the_ruler_is_a_round_length_that_fits_the_box(examples, box, length):
    layout = replace(Layout(), box_size_mpc_h=box)
    ruler = draw_maps(examples, layout, mock=True).axes[0].lines[0].get_xdata()
    assert ruler[1] - ruler[0] == pytest.approx(length)


@pytest.mark.parametrize(
    ("field", "words"), [("Mgas", "Sigma_{\\rm gas}"), ("T", " T  [K]"), ("Mine", " Mine"), ("HI", "odot")]
)
def test_the_unit_is_that_of_the_field(examples, field, words):
    figure = draw_maps(examples, field=field, mock=True)
    label = figure.axes[-1].get_ylabel()
    assert words in label
    assert ("[" in label) == (field != "Mine")


def test_panels_bear_the_cosmology_of_their_maps(examples):
    theta = {suite: np.full((3, 6), 0.3) + 0.1 * number for number, suite in enumerate(examples)}
    panels = [panel for panel in draw_maps(examples, theta=theta, mock=True).axes if panel.images]
    written = ["".join(text.get_text() for text in panel.texts) for panel in panels]
    assert all("Omega" in words and "sigma" in words for words in written)
    assert all(words.count(" = 0.30") == 2 for words in written[:3])
    assert all(words.count(" = 0.40") == 2 for words in written[3:])
