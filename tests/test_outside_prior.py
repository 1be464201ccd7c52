"""Which answers tell that a network has seen nothing like a map, for any parameters."""

from dataclasses import replace

import numpy as np
import pytest

from fieldlevel.inference.outside_prior import outside_maps, telling_names, telling_posteriors
from fieldlevel.layout import CAMELS_PARAMETERS, Layout, Parameter

H = Parameter("h", low=0.6, high=0.8, cosmological=True)
LAYOUTS = {
    ("Omega_m", "sigma_8"): CAMELS_PARAMETERS,
    ("A_SN1[SIMBA]", "A_AGN1[SIMBA]"): tuple(each.of_suite("SIMBA") for each in CAMELS_PARAMETERS[2:4]),
    ("sigma_8", "h"): (CAMELS_PARAMETERS[5], CAMELS_PARAMETERS[1], CAMELS_PARAMETERS[4], H),
}


@pytest.fixture(params=LAYOUTS, ids=" ".join)
def names(request):
    return request.param


@pytest.fixture
def layout(names):
    return replace(Layout(), parameters=LAYOUTS[names])


def test_the_cosmological_parameters_tell_or_all_where_there_is_none(layout, names):
    assert telling_names(layout) == names


def test_only_answers_of_parameters_that_tell_are_looked_at(layout, names):
    """Map n + 1 has an answer far outside the prior of parameter n."""
    middle, width = (layout.lows + layout.highs) / 2, layout.highs - layout.lows
    mean = middle + np.vstack([np.zeros(layout.n_parameters), np.diag(width)])
    std = np.broadcast_to(0.1 * width, mean.shape)
    expected = [column + 1 for column, name in enumerate(layout.names) if name in names]
    assert outside_maps(mean, std, layout).tolist() == expected
    assert len(outside_maps(mean, std, layout)) == len(names)
    flags = telling_posteriors(mean, std, layout)
    assert flags.shape == (len(mean), len(names))
    assert [names[np.argmax(flags[number])] for number in expected] == [layout.names[number - 1] for number in expected]


def test_the_priors_are_those_of_the_layout():
    wide = replace(Layout(), parameters=(replace(CAMELS_PARAMETERS[0], high=0.9),))
    mean, std = np.array([[0.7]]), np.array([[0.01]])
    assert len(outside_maps(mean, std, wide)) == 0
    assert len(outside_maps(mean, std, Layout().select(["Omega_m"]))) == 1
