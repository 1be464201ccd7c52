"""Figures of the letter and of this package: a table in, a matplotlib Figure out.

All of it is public, as `fieldlevel.figures`. Each figure of mock maps says so where `mock=True`; `save_figure` writes
one as PDF and PNG.

Example:
    >>> import fieldlevel, numpy as np
    >>> layout = fieldlevel.Layout().select(["Omega_m", "sigma_8"])
    >>> centre = (layout.lows + layout.highs) / 2
    >>> samples = centre + 0.02 * np.random.default_rng(1).standard_normal((500, 2))
    >>> figure = fieldlevel.figures.draw_corner(samples, layout.parameters, joint=True, mock=True)
    >>> type(figure).__name__
    'Figure'

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360.
"""

from fieldlevel.figures.corner import draw_corner
from fieldlevel.figures.destroyed_maps import draw_null_tests, draw_total_mass
from fieldlevel.figures.history import draw_training_history
from fieldlevel.figures.interval_coverage import coverage, draw_calibration
from fieldlevel.figures.map_images import draw_maps
from fieldlevel.figures.residuals import N_SHOWN, choose_maps, draw_four_pairs, draw_transfer
from fieldlevel.figures.scale_curves import draw_information, draw_losses, draw_smoothing, draw_smoothing_pairs
from fieldlevel.figures.search_trials import draw_search
from fieldlevel.figures.seeds import draw_seed_spread
from fieldlevel.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY_BLUE,
    STYLE,
    VERMILLION,
    WIDTH_INCHES,
    save_figure,
)
from fieldlevel.figures.suite_matrix import draw_robustness_matrix
from fieldlevel.figures.transfer_matrices import draw_suite_matrices

__all__ = [
    "BLACK",
    "BLUE",
    "GREEN",
    "N_SHOWN",
    "ORANGE",
    "PURPLE",
    "SKY_BLUE",
    "STYLE",
    "VERMILLION",
    "WIDTH_INCHES",
    "choose_maps",
    "coverage",
    "draw_calibration",
    "draw_corner",
    "draw_four_pairs",
    "draw_information",
    "draw_losses",
    "draw_maps",
    "draw_null_tests",
    "draw_robustness_matrix",
    "draw_search",
    "draw_seed_spread",
    "draw_smoothing",
    "draw_smoothing_pairs",
    "draw_suite_matrices",
    "draw_total_mass",
    "draw_training_history",
    "draw_transfer",
    "save_figure",
]
