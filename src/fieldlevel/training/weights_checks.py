"""What must hold of a weights file before it is believed: keys, names, texts, sizes and tensors.

What cannot be (weights that are not finite, sizes that do not fit, names that a table or a page would take for
something else) is refused whether there is a checksum or not.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fieldlevel.data.transformed import check_transform
from fieldlevel.errors import UserError, reason
from fieldlevel.estimators.build import check_imports, outline_estimator
from fieldlevel.layout import Layout
from fieldlevel.training.settings import RULES, check_source_names
from fieldlevel.training.source_rules import settle_sources
from fieldlevel.training.train_spec import TrainSpec

REMEDY = "train the network again, or fetch the file again"
_OPTIONAL = {
    *("fieldlevel_version", "seen", "layout", "sources", "made_from", "checksum", "format"),
    "calibration_simulations",
}
"""Of the metadata; `format` is what other libraries add."""

_MANDATORY = {
    "format_version",
    "spec",
    "network",
    "normaliser",
    "labels",
    "training_simulations",
    "validation_simulations",
    "suite",
    "mock",
    "provenance",
}

_KINDS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def refuse_lost_imports(path: Path, spec: TrainSpec) -> None:
    """A network of somebody's own needs the module that it was trained with: the file may be sound without it."""
    try:
        check_imports(spec)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


@contextmanager
def naming_damage(path: Path) -> Iterator[None]:
    """Say of what is wrong inside a file that the file is damaged."""
    try:
        yield
    except (UserError, LookupError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise UserError(f"{path}: damaged weights file ({reason(error)}); {REMEDY}") from None


@contextmanager
def naming_misfit(path: Path, spec: TrainSpec) -> Iterator[None]:
    """Say of tensors that do not fit a class of somebody's own that it may have been changed since."""
    try:
        yield
    except (UserError, LookupError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        told = f"does not fit body = {spec.body!r} and head = {spec.head!r} as they are now ({reason(error)})"
        raise UserError(f"{path}: {told}; bring back the module that it was trained with, or {REMEDY}") from None


def check_keys(metadata: Mapping[str, str]) -> None:
    """An unknown key may be that of the checksum with a changed bit."""
    if lacking := sorted(_MANDATORY - metadata.keys()):
        raise UserError(f"no {lacking[0]} in its metadata")
    if unknown := sorted(metadata.keys() - (_MANDATORY | _OPTIONAL)):
        raise UserError(f"unknown metadata {unknown[0][:40]!r}")


def check_spec(spec: TrainSpec) -> None:
    """Refuse names that are more than names, and an impossible transform."""
    for kind in ("suite", "field", "set_name", "body", "head", "penalty", "method"):
        is_name, words = RULES[kind]
        if not is_name(name := getattr(spec, kind)):
            raise UserError(f"{kind} {name[:40]!r}: must be {words}")
    check_source_names(spec)
    if settle_sources(spec) != spec:
        raise UserError(f"suite {spec.suite!r}: not that of its first source")
    check_transform(spec.transform)


def check_state(
    spec: TrainSpec, sizes: Mapping[str, Any], state: Mapping[str, Tensor], layout: Layout
) -> tuple[int, ...]:
    """Refuse tensors that are not those of a network of these sizes, before memory is taken for one.

    Returns:
        The shape of its inputs.
    """
    if isinstance(n_layers := sizes.get("n_layers"), int) and n_layers > len(state):
        raise UserError(f"n_layers = {n_layers}, but the file holds {len(state)} tensors")
    if (n_outputs := sizes.get("n_outputs", layout.n_parameters)) != layout.n_parameters:
        raise UserError(f"n_outputs = {str(n_outputs)[:40]}, not {layout.n_parameters}")
    expected = outline_estimator(spec, sizes)
    if expected.n_outputs != layout.n_parameters:
        raise UserError(f"n_parameters = {expected.n_outputs}, not {layout.n_parameters}")
    tensors = expected.state_dict()
    for name in sorted(tensors.keys() ^ state.keys()):
        raise UserError(f"{'no' if name in tensors else 'unknown'} tensor {name[:80]}")
    for name, value in state.items():
        if value.shape != tensors[name].shape:
            raise UserError(f"{name} has shape {tuple(value.shape)}, not {tuple(tensors[name].shape)}")
        _check_tensor(name, value, tensors[name])
    return expected.shape


def _check_tensor(name: str, value: Tensor, expected: Tensor) -> None:
    if name.endswith("num_batches_tracked") or (value.dtype == expected.dtype and not value.is_floating_point()):
        return
    if value.dtype not in _KINDS:
        raise UserError(f"{name} has numbers of type {value.dtype}")
    if value.numel() and not bool(torch.stack(torch.aminmax(value)).float().isfinite().all()):
        raise UserError(f"{name} has numbers that are not finite")
    if name.endswith("running_var") and bool((value < 0).any()):
        raise UserError(f"{name} has variances below zero")
