"""One step of the optimiser: draw and augment a batch, run the network, minimise the letter's loss.

On a GPU the step is recorded once and replayed (`training.captured`), unless several ranks share it. What changes from
step to step reaches it by memory that keeps its place: which maps come next, and the learning rate.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fieldlevel.config import TrainSpec
from fieldlevel.maps.loader import BatchSampler
from fieldlevel.models.build import AnyNetwork
from fieldlevel.models.moments import loss_from_sums, moment_sums
from fieldlevel.training import parallel
from fieldlevel.training.captured import CapturedStep
from fieldlevel.training.device import autocast, repeatable_convolutions
from fieldlevel.training.schedule import learning_rate


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
        self._is_captured = device.type == "cuda" and parallel.n_ranks() == 1
        self.optimiser = self._adamw()
        self._captured: dict[bool, CapturedStep] = {}

    def __call__(self, step: int) -> Tensor:
        """Take step number `step`, from 0; returns its loss, which stays on the device."""
        self._set_rate(self.rate(step))
        chosen = self._sampler.choose()
        warms_up = step < self._spec.squared_error_steps
        take = partial(self._take, warms_up)
        if not self._is_captured:
            return take(chosen.to(self._device))
        if warms_up not in self._captured:
            self._captured = {warms_up: CapturedStep(self._device)}  # frees what the warm-up recorded
        return self._captured[warms_up](take, chosen)

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        return learning_rate(self._spec.optimiser, step, self._spec.n_steps)

    def state_dict(self) -> dict[str, Any]:
        """State of the optimiser."""
        return self.optimiser.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of `state_dict`, of whatever device; what was recorded is forgotten."""
        ours = self.optimiser.state_dict()["param_groups"]
        groups = [
            saved | {name: group[name] for name in ("lr", "fused", "capturable")}
            for saved, group in zip(state["param_groups"], ours, strict=True)
        ]
        self.optimiser.load_state_dict({**state, "param_groups": groups})
        for parameter, moments in self.optimiser.state.items():
            for name in ("exp_avg", "exp_avg_sq"):  # in the memory format of the weights, which fused AdamW asks for
                moments[name] = torch.empty_like(parameter).copy_(moments[name])
        self._captured.clear()

    @repeatable_convolutions()
    def _take(self, warms_up: bool, chosen: Tensor) -> Tensor:
        maps, theta = self._sampler.gather(chosen)
        with autocast(self._spec.precision, self._device):
            mean, std = self._network(_arranged(maps))
        sums = parallel.all_sum(moment_sums(mean, std, theta))
        loss = loss_from_sums(sums[:1] if warms_up else sums, self._spec.batch_size)
        self.optimiser.zero_grad(set_to_none=True)
        parallel.backward(loss, self._network.parameters())
        self.optimiser.step()
        return loss.detach()

    def _set_rate(self, rate: float) -> None:
        for group in self.optimiser.param_groups:
            if self._is_captured:
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def _adamw(self) -> torch.optim.AdamW:
        spec, rate = self._spec.optimiser, self._spec.optimiser.learning_rate
        return torch.optim.AdamW(
            self._network.parameters(),
            lr=torch.tensor(rate, dtype=torch.float32, device=self._device) if self._is_captured else rate,
            betas=(spec.beta1, spec.beta2),
            weight_decay=spec.weight_decay,
            fused=True if self._is_captured else None,
            capturable=self._is_captured,
        )


def memory_format(device: torch.device) -> torch.memory_format:
    """Order of the numbers of a batch that convolutions like on a device."""
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


def _arranged(batch: Tensor) -> Tensor:
    """Maps in the memory format of the convolutions; summaries as they are."""
    return batch.contiguous(memory_format=memory_format(batch.device)) if batch.ndim == 4 else batch
