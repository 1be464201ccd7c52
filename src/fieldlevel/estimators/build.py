"""The estimator of a spec: the one place that knows which bodies and heads there are."""

import inspect
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from fieldlevel.errors import UserError
from fieldlevel.estimators.bodies.cnn import MomentNetwork, convolutional_body
from fieldlevel.estimators.bodies.perceptron import MomentPerceptron, perceptron_body
from fieldlevel.estimators.estimator import HEAD_METHODS, Estimator, Head, count_features
from fieldlevel.estimators.flow_head import FlowHead
from fieldlevel.estimators.gaussian_head import GaussianHead
from fieldlevel.estimators.imported import import_class, make_own
from fieldlevel.estimators.moment_head import MomentHead
from fieldlevel.estimators.network_specs import FLOW, GAUSSIAN, MOMENTS, EstimatorChoice, is_assembled, is_own
from fieldlevel.estimators.score_flow import import_zuko
from fieldlevel.own_code import told

_HEADS: Mapping[str, type[Head]] = {MOMENTS: MomentHead, GAUSSIAN: GaussianHead, FLOW: FlowHead}
_MOST_NUMBERS = 2**28
"""In one input of a network of somebody's own."""


def check_imports(spec: EstimatorChoice) -> None:
    """Refuse a body or a head that cannot be imported, before anything is loaded.

    Raises:
        UserError: in one line, with the import path, or with the package that a head of this one lacks.
    """
    if spec.body:
        import_class(spec.body, "body")
    if spec.head == FLOW:
        import_zuko()
    elif spec.head not in _HEADS:
        import_class(spec.head, "head", HEAD_METHODS)


def build_estimator(spec: EstimatorChoice, shape: Sequence[int], n_outputs: int) -> Estimator:
    """A new estimator with random weights.

    Args:
        spec: its body, head and widths.
        shape: of one input, (c, N, N) for maps and (1, F) for summaries.
        n_outputs: parameters to infer.

    Raises:
        UserError: sizes that it cannot have, or a class of somebody's own that cannot be used.
    """
    shape = tuple(shape)
    if is_assembled(spec):
        return _assemble(spec, shape, n_outputs)
    if spec.inputs == "maps":
        wide = spec.network
        return MomentNetwork(shape[-1], wide.hidden, wide.dropout, shape[0], n_outputs, wide.std_from)
    deep = spec.perceptron
    return MomentPerceptron(shape[-1], deep.n_layers, deep.n_neurons, deep.dropout, n_outputs, deep.std_from)


def restore_estimator(spec: EstimatorChoice, sizes: Mapping[str, Any]) -> Estimator:
    """An estimator of the sizes that another one had (`Estimator.sizes`), to load its weights into."""
    if is_assembled(spec):
        return build_estimator(spec, *_own_sizes(**sizes))
    return MomentNetwork(**sizes) if spec.inputs == "maps" else MomentPerceptron(**sizes)


def outline_estimator(spec: EstimatorChoice, sizes: Mapping[str, Any]) -> Estimator:
    """The same to learn the shapes of its tensors: it takes no memory, but for a class of somebody's own."""
    with nullcontext() if is_own(spec) else torch.device("meta"):
        return restore_estimator(spec, sizes)


def _assemble(spec: EstimatorChoice, shape: tuple[int, ...], n_outputs: int) -> Estimator:
    body = _body(spec, shape)
    with told(f"body = {spec.body}: fails on an input of shape (1, {str(shape)[1:]}", "mend it"):
        n_features = count_features(body, shape)
    head = _head(spec, n_features, n_outputs)
    for name, value in [*body.state_dict().items(), *head.state_dict().items()]:
        if not isinstance(value, Tensor):
            raise UserError(f"{name} of {spec.body or spec.head}: weights files hold tensors alone; make it a buffer")
    return Estimator(body, head, shape, n_outputs, n_features)


@torch.no_grad()
def refuse_bad_posterior(estimator: Estimator) -> None:
    """Refuse a head without a posterior before it is trained in vain; random numbers are left as they were.

    Args:
        estimator: a new one, on the CPU, in training mode.

    Raises:
        UserError: a head that fails on features, or makes anything else of them.
    """
    with torch.random.fork_rng(devices=[]):
        estimator.eval()
        estimator.posterior_of(estimator.answer_of(torch.zeros(2, estimator.n_features)), 2)
        estimator.train()


def _body(spec: EstimatorChoice, shape: tuple[int, ...]) -> nn.Module:
    if spec.body:
        return make_own(spec.body, "body", [shape], spec.body_options)
    if spec.inputs == "maps":
        return convolutional_body(shape[-1], spec.network.hidden, shape[0])
    deep = spec.perceptron
    return perceptron_body(shape[-1], deep.n_layers, deep.n_neurons, deep.dropout)


def _head(spec: EstimatorChoice, n_features: int, n_outputs: int) -> nn.Module:
    if spec.head not in _HEADS:
        return make_own(spec.head, "head", [n_features, n_outputs], spec.head_options, HEAD_METHODS)
    kind, options = _HEADS[spec.head], dict(spec.head_options)
    *but_last, last = list(inspect.signature(kind).parameters)[2:]
    if not options.keys() <= {*but_last, last}:
        names = f"are {', '.join(but_last)} and {last}" if but_last else f"is {last}"
        raise UserError(f"head_options = {options}: those of head = {spec.head} {names}")
    return kind(n_features, n_outputs, **options)


def _own_sizes(shape: Any, n_outputs: Any) -> tuple[tuple[int, ...], int]:
    """Those of a file, if they can be."""
    numbers = [*shape, n_outputs] if isinstance(shape, list) else [None]
    if not all(type(number) is int and 0 < number <= _MOST_NUMBERS for number in numbers):
        raise UserError(f"sizes of shape {str(shape)[:40]} and {str(n_outputs)[:40]} outputs: must be whole numbers")
    if len(shape) not in (2, 3) or torch.Size(shape).numel() > _MOST_NUMBERS:
        raise UserError(f"shape {str(shape)[:40]}: must be (c, N, N) of maps or (1, F) of summaries")
    return tuple(shape), n_outputs
