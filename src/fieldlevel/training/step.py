"""One step of the optimiser: draw and augment a batch, run the network, minimise the letter's loss.

On a GPU the step is recorded once and replayed (`training.captured`), exchanges between ranks included. What changes
from step to step reaches it by memory that keeps its place: which maps come next, and the learning rate.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from fieldlevel.data.batches import BatchSampler
from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.estimators.build import AnyNetwork
from fieldlevel.estimators.fused import compile_features
from fieldlevel.estimators.moments import loss_from_sums, moment_sums
from fieldlevel.training import distributed
from fieldlevel.training.captured import CapturedStep
from fieldlevel.training.optimisers import load_optimiser, make_optimisers, set_rate
from fieldlevel.training.precision import autocast, is_bfloat16, repeatable_convolutions
from fieldlevel.training.schedule import learning_rate
from fieldlevel.training.train_spec import TrainSpec


class TrainingStep:
    """Takes the steps of one network.

    Args:
        network: on the device of the maps, in training mode.
        sampler: of the batches.
        spec: how it is trained.
        device: of both.
    """

    def __init__(self, network: AnyNetwork, sampler: BatchSampler, spec: TrainSpec, device: torch.device) -> None:
        self._network = network
        self._sampler = sampler
        self._spec = spec
        self._device = device
        self._is_captured = device.type == "cuda"
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
        chosen = self._sampler.choose()
        warms_up = step < self._spec.squared_error_steps
        take = partial(self._take, warms_up)
        if not self._is_captured:
            return take(chosen.to(self._device))
        if not self._captured:
            self._compile(chosen)
        if warms_up not in self._captured:
            self._captured = {warms_up: CapturedStep(self._device)}  # frees what the warm-up recorded
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
        if isinstance(self._network, MomentNetwork):
            maps = self._sampler.gather(chosen.to(self._device)).maps
            with autocast(self._spec.precision, self._device):
                compile_features(self._network, arranged(maps))

    @repeatable_convolutions()
    def _take(self, warms_up: bool, chosen: Tensor) -> Tensor:
        maps, theta, _ = self._sampler.gather(chosen)
        with autocast(self._spec.precision, self._device):
            mean, std = self._network(arranged(maps))
        parameters = list(self._network.parameters())
        return descend((mean, std), theta, parameters, self.optimisers, self._spec, with_std=not warms_up)


def descend(
    moments: tuple[Tensor, Tensor],
    theta: Tensor,
    parameters: Sequence[nn.Parameter],
    optimisers: Sequence[Optimizer],
    spec: TrainSpec,
    *,
    with_std: bool = True,
) -> Tensor:
    """Take a step down the letter's loss of a batch.

    Args:
        moments: mean and standard deviation of this rank's share of the batch, each (b, P).
        theta: targets, (b, P).
        parameters: those of the optimisers, frozen ones allowed.
        optimisers: of them.
        spec: batch size and longest gradient.
        with_std: whether the loss has its second term, of the standard deviations.

    Returns:
        The loss, which stays on the device.
    """
    sums = distributed.all_reduce_sum(moment_sums(*moments, theta))
    loss = loss_from_sums(sums if with_std else sums[:1], spec.batch_size)
    for parameter in parameters:
        parameter.grad = None
    distributed.backward(loss, parameters)
    if spec.optimiser.longest_gradient is not None:
        clip_grad_norm_(parameters, spec.optimiser.longest_gradient)
    for optimiser in optimisers:
        optimiser.step()
    return loss.detach()


def memory_format(device: torch.device) -> torch.memory_format:
    """Order of the numbers of a batch that convolutions like on a device."""
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


def arranged(batch: Tensor) -> Tensor:
    """Maps in the memory format of the convolutions; summaries as they are."""
    return batch.contiguous(memory_format=memory_format(batch.device)) if batch.ndim == 4 else batch
