"""One estimator while it learns: steps, validation, and all that a resumed run must know.

Work is counted in optimiser steps. The loss stays on the device between looks at it, so that the CPU does not wait for
every step; a loss that is not finite is still reported with its own step, and before anything is saved.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from fieldlevel.data.batches import Batch, BatchSampler, MapSet
from fieldlevel.errors import TrainingError
from fieldlevel.estimators.build import build_estimator, refuse_bad_posterior
from fieldlevel.estimators.estimator import Estimator
from fieldlevel.estimators.imported import running
from fieldlevel.estimators.network_specs import MOMENTS, is_own
from fieldlevel.numerics.device import exact_float32
from fieldlevel.progress import Listener, Progress, ignore
from fieldlevel.training import distributed
from fieldlevel.training.head import fit_head
from fieldlevel.training.joint_fit import fit_joint, n_draws
from fieldlevel.training.methods import make_method
from fieldlevel.training.penalty import load_penalty_state, make_penalty, penalty_state
from fieldlevel.training.precision import autocast, random_states, set_random_states
from fieldlevel.training.source_rules import maps_of_sources
from fieldlevel.training.step import MEMORY_FORMAT, TrainingStep, arranged
from fieldlevel.training.train_spec import POOLED, TrainSpec

REPORT_EVERY = 10
"""Steps between looks at the loss: each look makes the CPU wait for the device."""
GPU_VALIDATION_PIXELS = 2**26
"""That a GPU validates at a time, 1,024 maps of 256 x 256, if it trains on fewer: without gradients there is room."""
MOST_VALIDATED = 1024
"""Maps at a time, however small."""


@dataclass(frozen=True)
class HistoryRow:
    """What one validation found.

    Attributes:
        step: optimiser steps done.
        learning_rate: of the last step.
        training_loss: mean, over the batches since the last validation, of the loss that was minimised.
        validation_loss: the loss of all eight symmetries of every validation map, without any penalty.
        seconds: time spent on training and validation so far, interruptions left out; in the end also on the statistics
            and the head that the network predicts with.
    """

    step: int
    learning_rate: float
    training_loss: float
    validation_loss: float
    seconds: float


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """The network of the lowest validation loss in training, settled, in evaluation mode, and how it came there.

    Attributes:
        network: with the batch norms' statistics that it predicts with, and the head fitted to them.
        history: what the validations found.
        validation_loss: of the network as it is here and predicts, in float32. The history tells that of the precision
            and the moving statistics of the training.
    """

    network: Estimator
    history: tuple[HistoryRow, ...]
    validation_loss: float

    def __repr__(self) -> str:
        return f"<TrainedNetwork after {self.history[-1].step} steps: validation loss {self.validation_loss:.4g}>"


def validation_loss(network: Estimator, validation: MapSet, batch_size: int) -> float:
    """Exact loss of all symmetries of every map, in evaluation mode; several ranks share the maps.

    Args:
        network: on the device of the maps; its mode is restored.
        validation: the maps, n of them.
        batch_size: maps to hold in the network at a time, symmetries counted.
    """
    was_training = network.training
    network.eval()
    n_in_chunk = max(1, batch_size // validation.n_views)
    own = distributed.share(validation.n_maps)

    def sums_of(start: int, end: int) -> Tensor:
        theta = validation.theta[start:end].repeat(validation.n_views, 1)
        return network.sums(network(validation.views(slice(start, end))), theta).double()

    with torch.inference_mode():
        starts = range(own.start, own.stop, n_in_chunk)
        parts = [sums_of(start, min(start + n_in_chunk, own.stop)) for start in starts]
        sums = reduce(torch.add, parts) if parts else torch.zeros_like(sums_of(0, 1))
    network.train(was_training)
    return network.loss(distributed.all_reduce_sum(sums)).item()


class TrainingState:
    """A network while it learns: all that a resumed run must know.

    Several ranks (`training.distributed`) hold equal states but for their random numbers.
    """

    def __init__(self, spec: TrainSpec, training: MapSet, validation: MapSet) -> None:
        self.spec = spec
        self.validation = validation
        self.device = training.maps.device
        self.network = distributed.synchronise(_network(spec, training), spec.seed)
        own = distributed.equal_share(spec.batch_size)
        of_sources = maps_of_sources(spec)
        self.sampler = BatchSampler(training, spec.batch_size, spec.augmentation, spec.seed, own, of_sources)
        self.penalty = make_penalty(spec, self.network, training.source)
        self.method = make_method(spec, self.network, training)
        self.take_step = TrainingStep(self.network, self.sampler, spec, self.device, self.penalty, self.method)
        self.best: dict[str, Tensor] = {}
        self.history: list[HistoryRow] = []
        self.step = 0
        self.seconds = 0.0

    def advance(self, listener: Listener) -> None:
        """Train to the next validation, validate, keep the best weights."""
        started = time.perf_counter()
        training_loss = self._train_to(min(self._next_validation(), self.spec.n_steps), listener)
        loss = self._finite(self._validate(), self.step, "validation loss")
        if loss < min((row.validation_loss for row in self.history), default=math.inf):
            self.best = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.seconds += time.perf_counter() - started
        self.history.append(
            HistoryRow(self.step, self.take_step.rate(self.step - 1), training_loss, loss, self.seconds)
        )
        listener(self._progress(training_loss, validation_loss=loss))

    def best_network(self, listener: Listener = ignore) -> TrainedNetwork:
        """The network with its best weights, settled for prediction; the training ends with it.

        Args:
            listener: told of every batch that the statistics and the head are settled with.
        """
        started = time.perf_counter()
        self.network.load_state_dict(self.best)
        with exact_float32():
            drawn = self._batches(self.spec.statistics_batches, listener, "settle the statistics")
            self.network.settle(arranged(batch.maps) for batch in drawn)
            fit_head(self.network, self._batches(self.spec.head_batches, listener, "fit the head"), self.spec)
            self._fit_joint()
            with running(self.method, "method"):
                self.method.settle(self.network)
            loss = validation_loss(self.network, self.validation, self.spec.batch_size)
        if not math.isfinite(loss):
            raise TrainingError(
                f"validation loss is {loss} once the head is fitted again to the statistics of {self.spec.suite}: use "
                "head_batches = 0, which leaves it as it was trained, or lower optimiser.learning_rate"
            )
        *before, last = self.history
        last = replace(last, seconds=self.seconds + time.perf_counter() - started)
        return TrainedNetwork(self.network.eval(), (*before, last), loss)

    def _fit_joint(self) -> None:
        spec, drawn = self.spec, self._batches(n_draws(self.sampler.map_set, self.spec.batch_size))
        fit_joint(self.network, drawn, self.validation, spec.joint_steps, spec.batch_size, spec.seed)

    def _batches(self, n: int, listener: Listener = ignore, task: str = "") -> Iterator[Batch]:
        for done in range(1, n + 1):
            yield self.sampler.draw()
            listener(Progress(f"{task}, {self.spec.suite}", done, n, "batches"))

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on, random states of all ranks included; every rank must ask for it."""
        return {
            **self._parts(),
            "random": random_states(self.device),
            "best": self.best,
            "history": [astuple(row) for row in self.history],
            "step": self.step,
            "seconds": self.seconds,
        }

    def _parts(self) -> dict[str, Any]:
        """States of what moves on from step to step."""
        parts = {
            "network": self.network.state_dict(),
            "optimisers": self.take_step.state_dict(),
            "sampler": self.sampler.state_dict(),
        }
        learning = {"penalty": self.penalty, "method": self.method if self.spec.method != POOLED else None}
        return parts | {name: penalty_state(part, name) for name, part in learning.items() if part is not None}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of `state_dict`; sets the global random state too.

        Raises:
            ValueError: it is no state of this network, these maps and this spec; PyTorch has other errors too.
        """
        try:
            check_state(state, self._parts(), self.spec.n_steps, self.sampler.map_set.n_maps)
        except ValueError as error:
            own = is_own(self.spec) or self.penalty is not None or ":" in self.spec.method
            raise ValueError(f"{error}; or a class of one's own was changed since" if own else str(error)) from None
        self.network.load_state_dict(state["network"])
        self.take_step.load_state_dict(state["optimisers"])
        self.sampler.load_state_dict(state["sampler"])
        if self.penalty is not None:
            load_penalty_state(self.penalty, state["penalty"])
        if "method" in state:
            load_penalty_state(self.method, state["method"])
        set_random_states(state["random"], self.device)
        self.best = state["best"]
        self.history = [HistoryRow(*row) for row in state["history"]]
        self.step = state["step"]
        self.seconds = state["seconds"]

    def _next_validation(self) -> int:
        return (self.step // self.spec.validate_every + 1) * self.spec.validate_every

    def _train_to(self, end: int, listener: Listener) -> float:
        losses: list[float] = []
        while self.step < end:
            first = self.step + 1
            n_steps = min(REPORT_EVERY - self.step % REPORT_EVERY, end - self.step)
            taken = torch.stack([self.take_step(step) for step in range(self.step, self.step + n_steps)])
            distributed.heartbeat(self.device)
            self.step += n_steps
            losses += [self._finite(loss, step, "training loss") for step, loss in enumerate(taken.tolist(), first)]
            if self.step < end:
                listener(self._progress(losses[-1]))
        return math.fsum(losses) / len(losses)

    def _validate(self) -> float:
        with autocast(self.spec.precision, self.device):
            return validation_loss(self.network, self.validation, self._validation_batch)

    @property
    def _validation_batch(self) -> int:
        room = GPU_VALIDATION_PIXELS // self.validation.maps[0].numel() if self.device.type == "cuda" else 0
        return max(self.spec.batch_size, min(room, MOST_VALIDATED))

    def _finite(self, loss: float, step: int, name: str) -> float:
        if math.isfinite(loss):
            return loss
        if name == "training loss":
            name += f" with penalty = {self.spec.penalty}" if self.penalty is not None else ""
            name += f" with method = {self.spec.method}" if self.spec.method != POOLED else ""
        raise TrainingError(
            f"{name} is {loss} at step {step} (learning rate {self.take_step.rate(step - 1):.2e}): lower "
            f"optimiser.learning_rate, warm up with squared_error_steps, or use precision = float32; "
            f"if it persists, `fieldlevel check` the maps"
        )

    def _progress(self, loss: float, **found: float) -> Progress:
        numbers = {"loss": loss, "learning_rate": self.take_step.rate(self.step - 1), **found}
        detail = f"loss {loss:.2f}"
        if self.history:
            detail += f", validation {self.history[-1].validation_loss:.2f}"
        return Progress(f"train {self.spec.suite}", self.step, self.spec.n_steps, "steps", detail, numbers)


def check_state(state: Mapping[str, Any], own: Mapping[str, Any], n_steps: int, n_maps: int) -> None:
    """Refuse a state that another network, other maps or an accident left.

    Args:
        state: as it comes from the disk.
        own: network, optimisers, sampler and penalty of the new run that is to go on from it.
        n_steps: optimiser steps of the whole run.
        n_maps: to train on.

    Raises:
        ValueError: with what does not fit.
    """
    if state.keys() != (expected := own.keys() | _OF_A_RUN):
        raise ValueError(f"it holds {', '.join(sorted(map(str, state)))}, not {', '.join(sorted(expected))}")
    step, history = state["step"], state["history"]
    if not (_is_whole(step) and 0 < step <= n_steps):
        raise ValueError(f"step {step!r} of {n_steps}")
    if not (isinstance(state["seconds"], float) and math.isfinite(state["seconds"])):
        raise ValueError("its seconds are no number")
    if not (isinstance(history, list) and history and all(map(_is_row, history)) and history[-1][0] == step):
        raise ValueError("its history is none of validations up to its step")
    for name in ("network", "best"):
        _check_tensors(state[name], own["network"], name)
    _check_optimisers(state["optimisers"], own["optimisers"])
    _check_sampler(state["sampler"], own["sampler"], n_maps)
    for name in own.keys() & {"penalty", "method"}:
        _check_tensors(state[name]["tensors"], own[name]["tensors"], name)


_OF_A_RUN = {"random", "best", "history", "step", "seconds"}


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_row(row: object) -> bool:
    return (
        isinstance(row, tuple | list)
        and len(row) == len(fields(HistoryRow))
        and _is_whole(row[0])
        and all(isinstance(value, float) and math.isfinite(value) for value in row[1:])
    )


def _check_tensors(state: Any, own: Mapping[str, Tensor], name: str) -> None:
    if not isinstance(state, Mapping) or state.keys() != own.keys():
        raise ValueError(f"{name}: of other layers")
    for layer, expected in own.items():
        value = state[layer]
        if not isinstance(value, Tensor) or (value.shape, value.dtype) != (expected.shape, expected.dtype):
            raise ValueError(f"{name}: {layer} is no tensor of shape {tuple(expected.shape)} and {expected.dtype}")
        if not torch.isfinite(value).all():
            raise ValueError(f"{name}: {layer} has numbers that are not finite")


def _check_optimisers(states: Any, own: Sequence[Mapping[str, Any]]) -> None:
    if not isinstance(states, list) or len(states) != len(own):
        raise ValueError("its optimisers are others")
    for state, expected in zip(states, own, strict=True):
        numbers = [group["params"] for group in expected["param_groups"]]
        if [group["params"] for group in state["param_groups"]] != numbers:
            raise ValueError("its optimisers move other weights")
        if not set(state["state"]) <= {number for group in numbers for number in group}:
            raise ValueError("its optimisers know other weights")
        values = [value for moments in state["state"].values() for value in moments.values()]
        if not all(isinstance(value, Tensor) and torch.isfinite(value).all() for value in values):
            raise ValueError("its optimisers hold what is no finite tensor")


def _check_sampler(state: Any, own: Mapping[str, Tensor], n_maps: int) -> None:
    if not isinstance(state, Mapping) or state.keys() != own.keys():
        raise ValueError("its sampler is another")
    for queue in (state[name] for name in state if name != "generator"):
        if not isinstance(queue, Tensor) or (queue.dtype, queue.ndim) != (torch.int64, 1):
            raise ValueError("its sampler draws no maps")
        if len(queue) and not 0 <= int(queue.min()) <= int(queue.max()) < n_maps:
            raise ValueError("its sampler draws maps that are not there")


def _network(spec: TrainSpec, training: MapSet) -> Estimator:
    network = build_estimator(spec, (1, *training.maps.shape[1:]), training.theta.shape[1])
    if spec.head != MOMENTS:
        refuse_bad_posterior(network)
    for weight in network.to(training.maps.device).parameters():
        if weight.ndim == 4:  # it is no order of others, which `Module.to` would ask for
            weight.data = weight.data.contiguous(memory_format=MEMORY_FORMAT)
    return network
