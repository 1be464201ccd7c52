import numpy as np
import pytest

from fieldlevel.errors import UserError
from fieldlevel.figures.first_look import draw_first_look
from fieldlevel.layout import Layout


def test_answers_stand_beside_the_truth_and_maps_say_whose_they_are(texts):
    maps = {suite: np.random.default_rng(0).lognormal(size=(3, 16, 16)) for suite in ("MockTNG", "MockSIMBA")}
    moments = {suite: (np.array([[0.3, 0.8], [0.31, 0.7], [0.2, 0.9]]), np.full((3, 2), 0.01)) for suite in maps}
    figure = draw_first_look(maps, moments, Layout().cosmological, Layout(), mock=True)
    *images, panel = figure.axes
    for image, suite in zip(images, maps, strict=True):
        assert np.array_equal(image.images[0].get_array(), np.log10(maps[suite][0]).T)
    drawn = [line.get_xydata().tolist() for line in panel.lines]
    assert [[0.3, 0.8]] in drawn
    assert drawn.count(moments["MockTNG"][0].tolist()) == 2
    assert {"MockTNG, 25 Mpc/h", "truth", "MOCK DATA", r"$\sigma_8$"} <= set(texts(figure))


def test_a_figure_of_no_suite_is_refused():
    with pytest.raises(UserError, match="no suite"):
        draw_first_look({}, {}, Layout().cosmological, Layout(), mock=False)
