"""Fig. 1: columns of nearly the same universe."""

import numpy as np

from fieldlevel.data.split import SplitSpec
from fieldlevel.layout import Layout
from fieldlevel.study.example_maps import choose_examples, nearest_rows

SPLIT = SplitSpec(train=0.8, validation=0.1)


class Universes:
    """A suite of which only the parameters are known."""

    def __init__(self, seed, n=400):
        self.layout, self.n_simulations = Layout(), n
        width = self.layout.highs - self.layout.lows
        self.parameters = self.layout.lows + width * np.random.default_rng(seed).random((n, 6))


def test_columns_hold_nearly_the_same_universe_of_the_training_set_and_the_first_parameter_grows():
    suites = {name: Universes(seed) for seed, name in enumerate(("a", "b", "c"))}
    chosen = choose_examples(suites, SPLIT)
    for name, suite in suites.items():
        assert set(chosen[name]) <= set(SPLIT.divide(suite.n_simulations).train)
        assert len(set(chosen[name])) == 4
    theta = {name: suites[name].parameters[numbers, :2] for name, numbers in chosen.items()}
    assert (np.diff(theta["a"][:, 0]) > 0.05).all()
    for other in ("b", "c"):
        assert np.abs(theta[other] - theta["a"]).max() < 0.05


def test_suites_of_the_same_universes_show_the_same_ones():
    chosen = choose_examples({"a": Universes(1), "b": Universes(1)}, SPLIT)
    assert chosen["a"].tolist() == chosen["b"].tolist()


def test_fewer_rows_than_points_are_taken_again():
    assert nearest_rows(np.zeros((1, 2)), np.ones((3, 2))) == [0, 0, 0]
