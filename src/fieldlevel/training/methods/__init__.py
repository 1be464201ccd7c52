"""The methods by which several suites are trained together, one a file; others are known by their import paths."""

import inspect
from collections.abc import Mapping
from typing import Any

from fieldlevel.data.batches import MapSet
from fieldlevel.errors import UserError, shown
from fieldlevel.estimators.estimator import Estimator
from fieldlevel.estimators.imported import import_class, make_own
from fieldlevel.training import distributed
from fieldlevel.training.method import Method
from fieldlevel.training.methods.adversarial import Adversarial
from fieldlevel.training.methods.group_dro import GroupDro
from fieldlevel.training.methods.mmd import Mmd
from fieldlevel.training.methods.pooled import Pooled
from fieldlevel.training.methods.randomised import Randomised
from fieldlevel.training.methods.target_norms import TargetNorms
from fieldlevel.training.methods.vrex import VRex
from fieldlevel.training.penalty import penalty_state
from fieldlevel.training.precision import seeded
from fieldlevel.training.train_spec import POOLED, TrainSpec

METHODS: Mapping[str, type[Method]] = {
    POOLED: Pooled,
    "group-dro": GroupDro,
    "vrex": VRex,
    "adversarial": Adversarial,
    "mmd": Mmd,
    "batch-norms": TargetNorms,
    "randomised": Randomised,
}
"""Those of the package, by what `TrainSpec.method` calls them."""


def method_class(name: str) -> type[Method]:
    """The class of a method of the package, or of somebody's own.

    Args:
        name: in `METHODS`, or an import path, `module:Class`.

    Raises:
        UserError: no such method.

    Example:
        >>> method_class("vrex").needs_losses
        True
    """
    if name in METHODS:
        return METHODS[name]
    found = import_class(name, "method", ("choose", "gather", "loss", "settle"))
    if not issubclass(found, Method):
        raise UserError(f"method = {name}: no subclass of fieldlevel.training.method.Method; make it one")
    return found


def check_method(spec: TrainSpec) -> None:
    """Refuse a method that the sources of a spec do not suffice for, and options that it does not have.

    Raises:
        UserError: in one line, with what to give.
    """
    kind = method_class(spec.method)
    _check_options(kind, spec)
    sources = spec.all_sources
    n_labelled = sum(source.labelled for source in sources)
    told, there = f"method = {spec.method}", f"there {'is' if n_labelled == 1 else 'are'} {n_labelled}"
    if n_labelled < kind.least_labelled:
        raise UserError(f"{told}: needs {kind.least_labelled} suites with labels, {there}; give more by --suites")
    if kind.needs_unlabelled and n_labelled == len(sources):
        raise UserError(f"{told}: needs a suite without labels; give one by --align-with")
    if len(sources) < kind.least_sources:
        raise UserError(f"{told}: needs {kind.least_sources} suites; give more by --suites or --align-with")
    if kind.draws_unlabelled and (idle := [source.suite for source in sources if source.share == 0.0]):
        raise UserError(f"{told}: {idle[0]} has share = 0, but its maps must be in the batches; give a larger one")
    if kind.reads_maps and spec.inputs != "maps":
        raise UserError(f"{told}: works on maps, not on inputs = {spec.inputs}; give another method")


def refuse_idle_sources(spec: TrainSpec) -> None:
    """Refuse to align with maps that the method makes no use of.

    Raises:
        UserError: with methods that do.
    """
    kind, apart = method_class(spec.method), [source.suite for source in spec.sources if source.apart]
    if apart and not (kind.uses_unlabelled or spec.penalty):
        able = ", ".join(name for name, each in METHODS.items() if each.uses_unlabelled)
        raise UserError(f"method = {spec.method}: makes no use of {apart[0]} without labels; give one of {able}")


def _check_options(kind: type[Method], spec: TrainSpec) -> None:
    names = list(inspect.signature(kind).parameters)[3:]
    for name, value in spec.method_options.items():
        if name not in names:
            allowed = f"allowed are {', '.join(names)}" if names else "it has none"
            raise UserError(f"method_options: {shown(name)} is none of method = {spec.method}; {allowed}")
        is_allowed, words = kind.rules.get(name, (lambda _: True, ""))
        if not is_allowed(value):
            raise UserError(f"method_options {name} = {shown(value)}: must be {words}")


def make_method(spec: TrainSpec, network: Estimator, training: MapSet) -> Method:
    """The method of a spec, the same in all processes; random numbers of the training are left as they were.

    Args:
        spec: which class, with its options.
        network: that learns, on the device of the maps.
        training: its maps.

    Raises:
        UserError: a class that cannot be used, or that has nothing to work on.
    """
    arguments: tuple[Any, ...] = (spec, network, training)
    kind: Any = METHODS.get(spec.method)
    device = training.maps.device
    with seeded(spec.seed, device):
        if kind is not None:
            made: Any = kind(*arguments, **spec.method_options)
        else:
            made = make_own(spec.method, "method", arguments, spec.method_options)
        method: Method = made.to(device)
    distributed.broadcast_state(method)
    penalty_state(method, "method")
    return method
