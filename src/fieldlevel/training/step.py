"""One step of the optimiser: draw and augment a batch, run the estimator, minimise its loss and the penalties on it.

How the losses of several sources become one, and what is done to a batch first, is up to a method (`training.method`).

On a GPU the step is recorded once and replayed (`training.captured`), exchanges between ranks included. What changes
from step to step reaches it by memory that keeps its place: which maps come next, and the learning rate.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from fieldlevel.data.batches import Batch, BatchSampler
from fieldlevel.errors import UserError
from fieldlevel.estimators.estimator import Estimator, scalar
from fieldlevel.estimators.imported import running
from fieldlevel.training import distributed
from fieldlevel.training.captured import CapturedStep
from fieldlevel.training.method import Method, source_losses
from fieldlevel.training.optimisers import load_optimiser, make_optimisers, set_rate
from fieldlevel.training.penalty import Penalty
from fieldlevel.training.precision import autocast, is_bfloat16, repeatable_convolutions
from fieldlevel.training.schedule import learning_rate
from fieldlevel.training.train_spec import TrainSpec

MEMORY_FORMAT = torch.channels_last
"""Order of the numbers of a batch that convolutions like, cuDNN's and oneDNN's."""


class TrainingStep:
    """Takes the steps of one network.

    Args:
        network: on the device of the maps, in training mode.
        sampler: of the batches.
        spec: how it is trained.
        device: of both.
        penalty: added to its loss, on the same device.
        method: how several sources are trained together; pooled when None.
    """

    def __init__(
        self,
        network: Estimator,
        sampler: BatchSampler,
        spec: TrainSpec,
        device: torch.device,
        penalty: Penalty | None = None,
        method: Method | None = None,
    ) -> None:
        self._network = network
        self._sampler = sampler
        self._spec = spec
        self._device = device
        self._method = Method(spec, network, sampler.map_set) if method is None else method
        self._penalties = [each for each in (self._method.penalty, penalty) if each is not None]
        parts = (network, self._method, *self._penalties)
        self._is_captured = device.type == "cuda" and all(part.is_recordable for part in parts)
        self.optimisers = make_optimisers(
            network.parameters(),
            spec.optimiser,
            device,
            is_bfloat16=is_bfloat16(spec.precision, device),
            is_recorded=self._is_captured,
        )
        self._captured: dict[bool, CapturedStep] = {}

    def __call__(self, step: int) -> Tensor:
        """Take step number `step`, from 0; returns its loss, which stays on the device."""
        set_rate(self.optimisers, self.rate(step))
        with running(self._method, "method"):
            chosen = self._method.choose(self._sampler)
        warms_up = step < self._spec.squared_error_steps
        take = partial(self._take, warms_up)
        if not self._is_captured:
            return take(chosen.to(self._device))
        if not self._captured:
            self._compile(chosen)
        if warms_up not in self._captured:
            self._captured.clear()  # frees what the warm-up recorded
            self._captured[warms_up] = CapturedStep(self._device)
        return self._captured[warms_up](take, chosen)

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        return learning_rate(self._spec.optimiser, step, self._spec.n_steps)

    def state_dict(self) -> list[dict[str, Any]]:
        """States of the optimisers."""
        return [optimiser.state_dict() for optimiser in self.optimisers]

    def load_state_dict(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Go on from what `state_dict` told, on whatever device; what was recorded is forgotten."""
        for optimiser, state in zip(self.optimisers, states, strict=True):
            load_optimiser(optimiser, state)
        self._captured.clear()

    def _compile(self, chosen: Tensor) -> None:
        """Compile the kernels for the shape of a batch before the first step, many at a time."""
        maps = self._gather(chosen.to(self._device)).maps
        with autocast(self._spec.precision, self._device):
            self._network.compile_kernels(arranged(maps))

    def _gather(self, chosen: Tensor) -> Batch:
        with running(self._method, "method"):
            return self._method.gather(self._sampler, chosen)

    @repeatable_convolutions()
    def _take(self, warms_up: bool, chosen: Tensor) -> Tensor:
        batch, network = self._gather(chosen), self._network
        with autocast(self._spec.precision, self._device):
            features = network.features_of(arranged(batch.maps))
            answer = network.answer_of(features)
        loss = self._loss(answer, batch, network.warm_up_loss if warms_up else network.loss)
        for penalty in self._penalties:
            loss = loss + penalise(penalty, features, batch)
        return descend(loss, list(network.parameters()), self.optimisers, self._spec)

    def _loss(self, answer: Any, batch: Batch, loss_of: Callable[[Tensor], Tensor]) -> Tensor:
        """Of the sources together, as the method has it."""
        method, sums_of = self._method, partial(self._network.sums, answer)
        pooled = loss_of(distributed.all_reduce_sum(sums_of(batch.theta)))
        apart = None
        if method.needs_losses:
            apart = source_losses(method, sums_of, loss_of, batch, distributed.all_reduce_sum)
        with running(method, "method"):
            return scalar(method.loss(pooled, apart), method, "method")


def penalise(penalty: Penalty, features: Tensor, batch: Batch) -> Tensor:
    """The loss of a penalty on the features of all processes, after a step of its own.

    Args:
        penalty: the same in all processes.
        features: of this rank's share of the batch, (b, F).
        batch: the share.

    Returns:
        A scalar, the same in all processes.

    Raises:
        UserError: a penalty that fails, or whose loss is no scalar.
    """
    parts = (features.float(), batch.source, batch.theta)
    everything, source, theta = (distributed.gather_batch(part) for part in parts)
    with running(penalty, "penalty"):
        penalty.update(everything.detach(), source, theta)
        loss = penalty.loss(everything, source, theta)
    return scalar(loss, penalty, "penalty")


def descend(
    loss: Tensor, parameters: Sequence[nn.Parameter], optimisers: Sequence[Optimizer], spec: TrainSpec
) -> Tensor:
    """Take a step down a loss.

    Args:
        loss: of the whole batch, the same in all processes.
        parameters: those of the optimisers, frozen ones allowed.
        optimisers: of them.
        spec: longest gradient.

    Returns:
        The loss, which stays on the device.

    Raises:
        UserError: a loss that no weight has an effect on.
    """
    if not loss.requires_grad:
        named = ", ".join(f"{name} = {getattr(spec, name)}" for name in ("body", "head", "penalty"))
        raise UserError(f"{named}: the loss has no gradient; leave weights free, and neither detach nor round")
    for parameter in parameters:
        parameter.grad = None
    distributed.backward(loss, parameters)
    if spec.optimiser.longest_gradient is not None:
        clip_grad_norm_(parameters, spec.optimiser.longest_gradient)
    for optimiser in optimisers:
        optimiser.step()
    return loss.detach()


def arranged(batch: Tensor) -> Tensor:
    """Maps in the memory format of the convolutions; summaries as they are."""
    return batch.contiguous(memory_format=MEMORY_FORMAT) if batch.ndim == 4 else batch
