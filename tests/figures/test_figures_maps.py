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
