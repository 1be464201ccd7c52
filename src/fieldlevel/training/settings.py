"""Settings that training cannot have, refused before anything is loaded."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any

from fieldlevel import suites
from fieldlevel.data.transformed import OF_SCALE, OF_SEED, check_transform
from fieldlevel.errors import UserError, shown
from fieldlevel.estimators.build import check_imports
from fieldlevel.estimators.imported import IMPORT_PATH
from fieldlevel.estimators.network_specs import (
    HEADS,
    MOMENTS,
    NetworkSpec,
    PerceptronSpec,
    is_assembled,
    settings_in_use,
)
from fieldlevel.spec_io import in_plain_types
from fieldlevel.training import distributed
from fieldlevel.training.methods import METHODS, check_method, method_class, refuse_idle_sources
from fieldlevel.training.penalty import check_penalty
from fieldlevel.training.presets import TRAIN_PRESETS, laptop_summary, laptop_training
from fieldlevel.training.source_rules import settle_sources
from fieldlevel.training.train_spec import TrainSpec, summary_training

Rule = tuple[Callable[[Any], bool], str]
"""Whether a value is allowed, and in words what must hold."""

_OF_NETWORKS = tuple(
    f"{part}.{field.name}"
    for part, kind in (("perceptron", PerceptronSpec), ("network", NetworkSpec))
    for field in fields(kind)
)
_OF_MAPS = (
    *(f"network.{field.name}" for field in fields(NetworkSpec)),
    "augmentation",
    "statistics_batches",
    "head_batches",
)
_AS_IT_IS: Mapping[str, object] = {"statistics_batches": 0, "head_batches": 0, "precision": "float32"}
"""What happens where these have no effect: nobody is refused who says so."""


def _whole(least: int, most: int) -> Rule:
    return lambda value: least <= value <= most, f"at least {least} and at most {most:,}"


def _below_power(exponent: int) -> Rule:
    return lambda value: 0 <= value < 2**exponent, f"from 0 to 2^{exponent} - 1"


def _like(pattern: str, words: str) -> Rule:
    return lambda value: re.fullmatch(pattern, value) is not None, words


def _import_path(*others: str) -> Rule:
    names = ", ".join(name for name in others if name)
    words = f"{names} or an import path, module:Class" if names else "an import path, module:Class"
    return lambda value: value in others or IMPORT_PATH.fullmatch(value) is not None, words


_PROBABILITY: Rule = (lambda value: 0.0 <= value < 1.0, "in [0, 1)")
_PART: Rule = (lambda value: 0.0 < value < 1.0, "a fraction between 0 and 1")
_POSITIVE: Rule = (lambda value: 0.0 < value < math.inf, "positive and finite")


SUITE_NAME = _like(suites.SUITE_NAME, suites.SUITE_NAME_IN_WORDS)
"""Of suites: they stand in names of files, in tables and in reports."""
PART_OF_NAME = _like(r"[A-Za-z0-9]{1,100}", "letters and digits")
"""Of fields and sets, which nothing else may part from the rest of a file's name."""

MOST_BLUR = 64
"""Pixels."""

RULES: Mapping[str, Rule] = {
    "suite": SUITE_NAME,
    "field": PART_OF_NAME,
    "set_name": PART_OF_NAME,
    "blur": (lambda value: 0.0 <= value <= MOST_BLUR, f"a number of pixels from 0 to {MOST_BLUR}"),
    "split.seed": _below_power(32),
    "split.train": _PART,
    "split.validation": _PART,
    "split.calibration": (lambda value: 0.0 <= value < 1.0, "a fraction in [0, 1)"),
    "network.hidden": _whole(1, 1024),
    "network.dropout": _PROBABILITY,
    "perceptron.n_layers": _whole(1, 100),
    "perceptron.n_neurons": _whole(1, 2**16),
    "perceptron.dropout": _PROBABILITY,
    "optimiser.learning_rate": _POSITIVE,
    "optimiser.weight_decay": (lambda value: 0.0 <= value < math.inf, "finite and not negative"),
    "optimiser.beta1": _PROBABILITY,
    "optimiser.beta2": _PROBABILITY,
    "optimiser.warm_up": (lambda value: 0.0 <= value <= 1.0, "a fraction in [0, 1]"),
    "optimiser.longest_gradient": (lambda value: value is None or 0.0 < value < math.inf, "positive and finite"),
    "batch_size": _whole(2, 2**20),
    "n_steps": _whole(1, 10**9),
    "validate_every": _whole(1, 10**9),
    "squared_error_steps": _whole(0, 10**9),
    "statistics_batches": _whole(0, 10**6),
    "head_batches": _whole(0, 10**6),
    "joint_steps": _whole(1, 10**6),
    "seed": _below_power(63),
    "body": _import_path(""),
    "head": _import_path(*HEADS),
    "penalty": _import_path(""),
    "method": _import_path(*METHODS),
}
"""Of the values of a `TrainSpec`; those of the network that it does not train hold too."""


def check_train_spec(spec: TrainSpec, *, refuse_idle: bool = False) -> TrainSpec:
    """Refuse settings that training cannot have, before anything is loaded.

    Args:
        spec: of the training.
        refuse_idle: whether to refuse settings without effect too (`refuse_unused`).

    Returns:
        The spec in plain types.

    Raises:
        UserError: with the setting, its value and what is allowed.
    """
    spec = in_plain_types(TrainSpec, spec)
    check_transform(spec.transform)
    for name, (is_allowed, words) in RULES.items():
        if not is_allowed(value := attrgetter(name)(spec)):
            raise UserError(f"{name} = {shown(value)}: must be {words}")
    split = spec.split
    if split.train + split.validation + split.calibration >= 1.0:
        given = f"split.train = {split.train} and split.validation = {split.validation}"
        given += f" and split.calibration = {split.calibration}" if split.calibration else ""
        raise UserError(f"{given} leave nothing to test on; lower split.train")
    if spec.squared_error_steps >= spec.n_steps:
        given = f"squared_error_steps = {spec.squared_error_steps} of n_steps = {spec.n_steps}"
        raise UserError(f"{given}: leave no step to learn the standard deviations in")
    distributed.equal_share(spec.batch_size)
    check_imports(spec)
    check_penalty(spec)
    check_source_names(spec)
    spec = settle_sources(_without_idle_draws(spec), distributed.n_ranks())
    check_method(spec)
    if refuse_idle:
        refuse_unused(spec)
        refuse_idle_sources(spec)
    return spec


def _without_idle_draws(spec: TrainSpec) -> TrainSpec:
    """The spec with no maps without labels in its batches, where its method has no use for them there."""
    if not spec.sources or method_class(spec.method).draws_unlabelled:
        return spec
    shares = [source.share if source.labelled else 0.0 for source in spec.sources]
    sources = tuple(replace(source, share=share) for source, share in zip(spec.sources, shares, strict=True))
    return replace(spec, sources=sources)


def check_source_names(spec: TrainSpec) -> None:
    """Refuse sources whose suite or set is more than a name.

    Raises:
        UserError: with the setting, its value and what is allowed.
    """
    for number, source in enumerate(spec.sources):
        for name in ("suite", "set_name"):
            is_name, words = RULES[name]
            if not is_name(value := getattr(source, name)):
                raise UserError(f"sources.{number}.{name} = {shown(value)}: must be {words}")


def unused_settings(spec: TrainSpec) -> dict[str, str]:
    """Settings that have no effect beside the others, each with the reason.

    Example:
        >>> list(unused_settings(TrainSpec(inputs="power spectrum")))[-3:]
        ['statistics_batches', 'head_batches', 'precision']
    """
    kind, inputs, optimiser = spec.transform.kind, spec.inputs, spec.optimiser
    is_summary, is_usual = inputs != "maps", not is_assembled(spec)
    reasons = {
        "transform.scale": (kind not in OF_SCALE, f"transform.kind = {kind} has no scale"),
        "transform.seed": (kind not in OF_SEED, f"transform.kind = {kind} draws no random numbers"),
        "optimiser.warm_up": (optimiser.schedule == "triangular", "the triangular schedule has a rise of its own"),
        **{name: (reason is not None, reason or "") for name, reason in _idle_sizes(spec).items()},
        "squared_error_steps": (not _has_warm_up(spec), f"head = {spec.head} has a loss of its own"),
        "body_options": (not spec.body, "there is no body to have them"),
        "head_options": (is_usual, "the head of `network` or `perceptron` has its settings there"),
        "joint_steps": (spec.head == MOMENTS, "head = moments has nothing to join"),
        "penalty_options": (not spec.penalty, "there is no penalty to have them"),
        "labels": (spec.labels == "permuted suites" and len(spec.all_sources) < 2, "there is one suite alone"),
        "calibration": (spec.split.calibration == 0, "split.calibration = 0 leaves no simulations for it"),
        "augmentation": (is_summary, f"the {inputs} of a map is that of all its images"),
        **dict.fromkeys(
            ("statistics_batches", "head_batches"),
            (is_summary and is_usual, f"the {inputs} of a map is read by `perceptron`"),
        ),
        "precision": (
            is_summary and is_usual and optimiser.method == "AdamW",
            f"a network on the {inputs} computes in float32",
        ),
    }
    return {name: reason for name, (is_unused, reason) in reasons.items() if is_unused}


def _has_warm_up(spec: TrainSpec) -> bool:
    return spec.head in HEADS


def _idle_sizes(spec: TrainSpec) -> dict[str, str | None]:
    """Why a setting of the networks of this package has no effect; None where it has one."""
    part, used = settings_in_use(spec)

    def reason(name: str) -> str | None:
        if spec.body:
            return f"maps are read by body = {spec.body}"
        if not name.startswith(f"{part}."):
            is_summary = spec.inputs != "maps"
            return f"the {spec.inputs} of a map is read by `perceptron`" if is_summary else "maps are read by `network`"
        return None if name.partition(".")[2] in used else f"the answer is that of head = {spec.head}"

    return {name: reason(name) for name in _OF_NETWORKS}


def refuse_unused(spec: TrainSpec, usual: Iterable[TrainSpec] | None = None, part: str = "") -> None:
    """Refuse settings that somebody gave in vain.

    Args:
        spec: that may be used.
        usual: where it comes from: what these have, nobody gave. When None all presets, whatever has to do with maps
            alone left out: in Python a spec of maps becomes one of summaries by its `inputs`.
        part: what the spec is called in another one, with a dot.

    Raises:
        UserError: with the setting and the reason.
    """
    known = [*_presets()] if usual is None else [*usual]
    for name, reason in unused_settings(spec).items():
        value = attrgetter(name)(spec)
        of_preset = any(attrgetter(name)(each) == value for each in known)
        of_maps = usual is None and spec.inputs != "maps" and name in _OF_MAPS
        if of_preset or value == _AS_IT_IS.get(name) or of_maps:
            continue
        raise UserError(f"{part}{name} = {value}: would have no effect, as {reason}; leave it out")


def refuse_large_batch(batch_size: int, n_maps: int, part: str = "") -> None:
    """Refuse batches that would hold maps twice, but for the usual size, which nobody chose.

    Args:
        batch_size: of a spec.
        n_maps: to train on.
        part: what the spec is called in another one, with a dot.

    Raises:
        UserError: with both numbers.
    """
    if batch_size > n_maps and batch_size != TrainSpec().batch_size:
        raise UserError(f"{part}batch_size = {batch_size}: there are {n_maps} training maps; take at most as many")


def _presets() -> list[TrainSpec]:
    return [
        TrainSpec(),
        summary_training(),
        laptop_training(),
        laptop_summary(),
        *(p() for p in TRAIN_PRESETS.values()),
    ]
