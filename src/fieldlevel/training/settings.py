"""Settings that training cannot have, refused before anything is loaded."""

import math
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

from fieldlevel.config import TrainSpec, from_json, to_json
from fieldlevel.errors import UserError
from fieldlevel.maps.transformed import check_transform
from fieldlevel.training import parallel

Rule = tuple[Callable[[Any], bool], str]
"""Whether a value is allowed, and in words what must hold."""


def _at_least(least: int) -> Rule:
    return lambda value: value >= least, f"at least {least}"


def _below_power(exponent: int) -> Rule:
    return lambda value: 0 <= value < 2**exponent, f"from 0 to 2^{exponent} - 1"


_PROBABILITY: Rule = (lambda value: 0.0 <= value < 1.0, "in [0, 1)")
_PART: Rule = (lambda value: 0.0 < value < 1.0, "a fraction between 0 and 1")
_POSITIVE: Rule = (lambda value: 0.0 < value < math.inf, "positive and finite")

RULES: Mapping[str, Rule] = {
    "split.seed": _below_power(32),
    "split.train": _PART,
    "split.validation": _PART,
    "network.hidden": _at_least(1),
    "network.dropout": _PROBABILITY,
    "perceptron.n_layers": _at_least(1),
    "perceptron.n_neurons": _at_least(1),
    "perceptron.dropout": _PROBABILITY,
    "optimiser.learning_rate": _POSITIVE,
    "optimiser.weight_decay": (lambda value: 0.0 <= value < math.inf, "finite and not negative"),
    "optimiser.beta1": _PROBABILITY,
    "optimiser.beta2": _PROBABILITY,
    "optimiser.warm_up": (lambda value: 0.0 <= value <= 1.0, "a fraction in [0, 1]"),
    "optimiser.longest_gradient": (lambda value: value is None or 0.0 < value < math.inf, "positive and finite"),
    "batch_size": _at_least(2),
    "n_steps": _at_least(1),
    "validate_every": _at_least(1),
    "squared_error_steps": _at_least(0),
    "statistics_batches": _at_least(0),
    "head_batches": _at_least(0),
    "seed": _below_power(63),
}
"""Of the numbers of a `TrainSpec`; those of the network that it does not train hold too."""


def check_train_spec(spec: TrainSpec) -> None:
    """Refuse settings that training cannot have, before anything is loaded.

    Raises:
        UserError: with the setting, its value and what is allowed.
    """
    from_json(TrainSpec, to_json(spec))
    check_transform(spec.transform)
    for name, (is_allowed, words) in RULES.items():
        if not is_allowed(value := attrgetter(name)(spec)):
            raise UserError(f"{name} = {value}: must be {words}")
    if spec.split.train + spec.split.validation >= 1.0:
        given = f"split.train = {spec.split.train} and split.validation = {spec.split.validation}"
        raise UserError(f"{given} leave nothing to test on: of simulations each needs one at least")
    if spec.squared_error_steps >= spec.n_steps:
        given = f"squared_error_steps = {spec.squared_error_steps} of n_steps = {spec.n_steps}"
        raise UserError(f"{given}: leave no step to learn the standard deviations in")
    parallel.equal_share(spec.batch_size)
