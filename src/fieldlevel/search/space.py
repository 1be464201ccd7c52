"""What a hyper-parameter search varies, where it begins, how it proposes a trial and when it stops one early.

`released` is the search of the CAMELS Multifield Dataset: tree-structured Parzen estimator (TPE), 20 random trials
first, no pruning. `default` is narrower, where good trials lie; it begins with the spec's own values and with the best
of the published recipe, models the parameters jointly, and prunes. A one-cycle rate pays off only as it falls to zero,
and high rates, often the best in the end, look poor before: a trial is judged at the first validations after one half
and three quarters of the steps (59% and 18% of the highest rate), only once five others have run to the end, and
stopped if its lowest validation loss so far is above the median of theirs at that moment.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10915 (released search); Watanabe 2023, arXiv:2304.11127 (TPE).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import TPESampler

from fieldlevel.estimators.network_specs import settings_in_use
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.training.train_spec import TrainSpec

Space = dict[str, FloatDistribution | IntDistribution]

RANDOM_TRIALS = {"released": 20, "default": 10}
"""Trials before the sampler believes in its model."""

BEFORE_PRUNING = 5
"""Trials that run to the end before one is stopped early."""

PUBLISHED = {"learning_rate": 4.88e-3, "weight_decay": 2.44e-4, "dropout": 0.209, "hidden": 7}
"""Best of some 380 public trials of the released recipe on total mass."""

FROM_DATABASE = 5
"""Trials of a published database that a search begins with."""

_SHARED: dict[str, Space] = {
    "released": {
        "learning_rate": FloatDistribution(1e-5, 5e-3, log=True),
        "weight_decay": FloatDistribution(1e-8, 1e-1, log=True),
        "dropout": FloatDistribution(0.0, 0.9),
    },
    "default": {
        "learning_rate": FloatDistribution(5e-4, 2e-2, log=True),
        "weight_decay": FloatDistribution(1e-6, 1e-2, log=True),
        "dropout": FloatDistribution(0.0, 0.5),
    },
}

_OF_MUON: Space = {
    "learning_rate": FloatDistribution(4e-3, 2e-1, log=True),
    "weight_decay": FloatDistribution(1e-5, 1.0, log=True),
}
"""In place of those of AdamW, in the default search."""

_OF_OPTIMISER = ("learning_rate", "weight_decay")


def search_space(spec: TuneSpec) -> Space:
    """What is searched, by name: the optimiser's two, dropout, and the sizes of the network, if it has such.

    Example:
        >>> search_space(TuneSpec(search="released"))["hidden"]
        IntDistribution(high=12, log=False, low=6, step=1)
    """
    shared = _SHARED[spec.search] | (_OF_MUON if _is_of_muon(spec) else {})
    _, used = settings_in_use(spec.train)
    space = shared | _sizes(spec)
    return {name: bounds for name, bounds in space.items() if name in (*_OF_OPTIMISER, *used)}


def _sizes(spec: TuneSpec) -> Space:
    """Sizes of the networks of this package, around those of the spec."""
    widest, own = 4 * max(16, spec.train.perceptron.n_neurons), spec.train.network.hidden
    around = (6, 12) if spec.search == "released" else (max(1, own // 2), max(own + 1, 3 * own // 2))
    return {
        "n_layers": IntDistribution(1, 5),
        "n_neurons": IntDistribution(16, widest, log=True),
        "hidden": IntDistribution(*around),
    }


def _is_of_muon(spec: TuneSpec) -> bool:
    return spec.search == "default" and spec.train.optimiser.method == "Muon"


def trial_spec(train: TrainSpec, params: Mapping[str, Any]) -> TrainSpec:
    """The spec of one trial: that of the search with the searched values.

    Example:
        >>> params = {"learning_rate": 1e-3, "weight_decay": 0.0, "dropout": 0.4, "hidden": 6}
        >>> trial_spec(TrainSpec(), params).network
        NetworkSpec(hidden=6, dropout=0.4, std_from='square')
    """
    optimiser = replace(train.optimiser, **{name: params[name] for name in _OF_OPTIMISER})
    sizes = {name: value for name, value in params.items() if name not in _OF_OPTIMISER}
    part, _ = settings_in_use(train)
    changed: dict[str, Any] = {part: replace(getattr(train, part), **sizes)} if part else {}
    return replace(train, optimiser=optimiser, **changed)


def starting_points(spec: TuneSpec, trials: Sequence[Mapping[str, float | int]] = ()) -> list[dict[str, float | int]]:
    """Trials to begin with, moved to the edge of the space where they lie outside.

    Args:
        spec: of the search.
        trials: of a published database, the best first: the search begins with the best `FROM_DATABASE` that differ.

    Returns:
        Those; then, but in the released search, the spec's own values and, where there is no database, `PUBLISHED`.
    """
    begun = _distinct([_inside(spec, trial) for trial in trials])[:FROM_DATABASE]
    if spec.search == "released":
        return begun
    train, space = spec.train, search_space(spec)
    network = getattr(train, settings_in_use(train)[0], None)
    own = {name: getattr(train.optimiser if name in _OF_OPTIMISER else network, name) for name in space}
    published = [PUBLISHED] if space.keys() == PUBLISHED.keys() and not trials else []
    return [*begun, *(_inside(spec, point) for point in (own, *published))]


def _inside(spec: TuneSpec, point: Mapping[str, float | int]) -> dict[str, float | int]:
    """A point of the space; rate and decay of a search with Muon are the spec's own, as published ones are of AdamW."""
    space, optimiser = search_space(spec), spec.train.optimiser
    values = dict(point) | ({name: getattr(optimiser, name) for name in _OF_OPTIMISER} if _is_of_muon(spec) else {})
    return {name: min(max(values[name], bounds.low), bounds.high) for name, bounds in space.items()}


def _distinct(points: Sequence[dict[str, float | int]]) -> list[dict[str, float | int]]:
    return [point for number, point in enumerate(points) if point not in points[:number]]


def sampler(spec: TuneSpec, number: int) -> TPESampler:
    """Sampler of one trial: its random numbers depend on the seed and on the number of the trial only."""
    seed = int(np.random.SeedSequence([spec.seed, number]).generate_state(1)[0])
    joint = spec.search == "default"
    return TPESampler(n_startup_trials=RANDOM_TRIALS[spec.search], seed=seed, multivariate=joint, constant_liar=joint)


def pruner(spec: TuneSpec) -> BasePruner:
    """When to stop a trial early: at two moments, or never."""
    if spec.search == "released":
        return NopPruner()
    half, quarter = spec.train.n_steps // 2, max(1, spec.train.n_steps // 4)
    return MedianPruner(BEFORE_PRUNING, half, quarter, n_min_trials=BEFORE_PRUNING)
