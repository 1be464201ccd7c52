"""The ways of training on several suites, as specs: which there are, which look at maps without labels, their grids."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fieldlevel.errors import UserError, shown
from fieldlevel.estimators.imported import import_class
from fieldlevel.study.robustness.robustness_spec import MethodOptions, RobustnessSpec
from fieldlevel.training.methods import METHODS
from fieldlevel.training.penalty import PENALTY_METHODS
from fieldlevel.training.train_spec import TrainSpec

POOLED = "pooled"
"""Every suite in equal parts, and nothing else: what all methods are compared with."""

EXPERTS = "experts"
"""Networks of one suite each, mixed (`experts`): no network of several suites is trained."""


def on_all_suites(method: str) -> str:
    """What answers for all suites, in words.

    Example:
        >>> on_all_suites("pooled"), on_all_suites(EXPERTS)
        ('one network on all suites', 'the networks of all suites, mixed,')
    """
    return "the networks of all suites, mixed," if method == EXPERTS else "one network on all suites"


ADAPTING = ("mmd", "adversarial", "batch-norms")
"""Methods that make use of maps without labels."""

ADAPTING_ALONE = ("batch-norms",)
"""Those of them that are nothing without."""

OF_SIBLINGS = ("randomised",)
"""Those that need suites of the same initial conditions, row by row, as mock suites have and those of CAMELS not."""

GRIDS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "group-dro": ({"weight": 1.0, "step": 0.01}, {"weight": 1.0, "step": 0.1}),
    "vrex": ({"weight": 1.0}, {"weight": 10.0}),
    "adversarial": ({"weight": 5.0}, {"weight": 20.0}),
    "mmd": ({"weight": 5.0}, {"weight": 20.0}),
    "batch-norms": ({"weight": 1.0},),
    "randomised": ({"weight": 0.5}, {"weight": 1.0}),
}
"""Hyper-parameters that are compared where nobody gave others, by method; its defaults where it is not here."""


def known_methods() -> tuple[str, ...]:
    """Those that the training knows.

    Example:
        >>> known_methods()[0]
        'pooled'
    """
    return tuple(dict.fromkeys((POOLED, *METHODS)))


def methods_of(spec: RobustnessSpec, *, have_siblings: bool = True) -> tuple[str, ...]:
    """Those that are compared without maps of the left-out suite, pooling first.

    Args:
        spec: of the study.
        have_siblings: whether simulations of one number have the same initial conditions in all suites.

    Raises:
        UserError: a method that the training does not know, or that such suites do not suffice for.
    """
    useless = ADAPTING_ALONE if have_siblings else (*ADAPTING_ALONE, *OF_SIBLINGS)
    known = (*known_methods(), EXPERTS)
    named = spec.methods or tuple(method for method in known if method not in useless)
    _refuse_unknown("methods", named, known)
    if wrong := [method for method in named if method in ADAPTING_ALONE]:
        raise UserError(f"methods: {wrong[0]} needs maps of the left-out suite; give it with --adapt-with")
    if wrong := [method for method in named if method in useless]:
        raise UserError(f"methods: {wrong[0]} needs suites that share their initial conditions; leave it out")
    return tuple(dict.fromkeys((POOLED, *named)))


def adapting_methods(spec: RobustnessSpec) -> tuple[str, ...]:
    """Those that may see maps of the left-out suite; pooling, whose batch norms see them, where there is no other.

    Raises:
        UserError: a method that the training does not know.
    """
    _refuse_unknown("adapt_with", spec.adapt_with, known_methods())
    named = spec.adapt_with or tuple(
        method for method in (*known_methods(), *spec.methods) if method in ADAPTING or ":" in method
    )
    return tuple(dict.fromkeys(named)) or (POOLED,)


def _refuse_unknown(setting: str, methods: Sequence[str], known: Sequence[str]) -> None:
    if strange := [method for method in methods if method not in known and ":" not in method]:
        raise UserError(f"{setting}: no method {shown(strange[0])}; choose from {', '.join(known)}, or give a penalty")


def candidates_of(spec: RobustnessSpec, method: str) -> tuple[MethodOptions, ...]:
    """What is compared of a method: what was given, else its grid, else its defaults.

    Raises:
        UserError: hyper-parameters of a method that has none.
    """
    given = tuple(each for each in spec.candidates if each.method == method)
    if given and method == EXPERTS:
        raise UserError(f"candidates: {EXPERTS} has no hyper-parameters; leave it out there")
    return given or tuple(MethodOptions(method, dict(each)) for each in GRIDS.get(method, ({},)))


def with_method(train: TrainSpec, chosen: MethodOptions) -> TrainSpec:
    """A training by a method, or with a penalty of one's own.

    Args:
        train: with its sources.
        chosen: method and hyper-parameters.

    Raises:
        UserError: a class that cannot be imported, or options that nothing has.

    Example:
        >>> with_method(TrainSpec(), MethodOptions()) == TrainSpec()
        True
    """
    options = dict(chosen.options)
    if _is_penalty(chosen.method):
        return replace(train, penalty=chosen.method, penalty_options=options)
    if chosen.method == POOLED and not options:
        return train
    return replace(train, method=chosen.method, method_options=options)


def _is_penalty(name: str) -> bool:
    """Whether an import path is that of a penalty, and not of a method."""
    found = import_class(name, "method", ("loss",)) if ":" in name else None
    return all(hasattr(found, each) for each in PENALTY_METHODS)


def without_effect(chosen: MethodOptions) -> MethodOptions | None:
    """The same method with a weight of zero; None of one that has no weight."""
    weights = [name for name in chosen.options if name == "weight" or name.endswith("_weight")]
    if not weights:
        return None
    return replace(chosen, options={**chosen.options, **dict.fromkeys(weights, 0.0)})
