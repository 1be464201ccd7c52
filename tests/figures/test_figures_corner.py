import numpy as np
import pytest

from fieldlevel.errors import UserError
from fieldlevel.figures.corner import contour_levels, draw_corner
from fieldlevel.layout import Layout, Parameter

PARAMETERS = Layout().parameters


@pytest.fixture
def samples():
    """Of five maps, within the prior."""
    low, width = Layout().lows, Layout().highs - Layout().lows
    normal = np.random.default_rng(0).normal(size=(4000, 5, 6))
    return (low + width * (0.5 + 0.05 * normal)).clip(low, low + width)


def test_joint_posteriors_have_marginals_and_contours(samples, texts):
    figure = draw_corner(samples, PARAMETERS, joint=True, mock=True)
    panels = [panel for panel in figure.axes if panel.axison]
    assert len(panels) == 21
    assert sum(len(panel.collections) == 3 for panel in panels) == 15  # of three maps
    assert sum(len(panel.lines) == 3 for panel in panels) == 6
    assert {"map 0", "map 1", "map 2", "MOCK DATA", r"$\sigma_8$"} <= set(texts(figure))
    assert "map 3" not in texts(figure)


def test_marginals_alone_have_no_contours(samples, texts):
    figure = draw_corner(samples[:, :1], PARAMETERS, joint=False, mock=False)
    assert len(figure.axes) == 6
    assert not any(panel.collections for panel in figure.axes)
    assert "MOCK DATA" not in texts(figure)


def test_a_marginal_peaks_at_the_mean_of_its_samples(samples):
    panel = draw_corner(samples, PARAMETERS, joint=False, mock=False).axes[0]
    x, y = panel.lines[0].get_data()
    assert x[np.argmax(y)] == pytest.approx(0.3, abs=0.01)
    assert panel.get_xlim()[0] >= 0.1


def test_contours_hold_their_probabilities():
    axis = np.linspace(-5, 5, 201)
    density = np.exp(-(axis[:, None] ** 2 + axis**2) / 2)
    for level, height in zip((0.95, 0.68), contour_levels(density), strict=True):
        assert density[density >= height].sum() / density.sum() == pytest.approx(level, abs=0.01)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("joint", [False, True])
def test_a_posterior_of_no_width_and_many_parameters_are_drawn(joint, texts):
    parameters = [Parameter(f"p_{number}") for number in range(15)]
    figure = draw_corner(np.full((100, 2, 15), 0.5), parameters, joint=joint, mock=False)
    assert "12 of 15 parameters, cosmological ones first" in texts(figure)


def test_a_figure_of_no_map_is_refused(samples):
    with pytest.raises(UserError, match="no map to draw"):
        draw_corner(samples[:, :0], PARAMETERS, joint=True, mock=False)
