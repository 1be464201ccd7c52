"""The optimisers of a network: one for all its weights, or one for its matrices and one for the rest."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from fieldlevel.training.muon import Muon
from fieldlevel.training.train_spec import OptimiserSpec

MOMENTS = ("exp_avg", "exp_avg_sq")


def make_optimisers(
    weights: Iterable[nn.Parameter],
    spec: OptimiserSpec,
    device: torch.device,
    *,
    is_bfloat16: bool = False,
    is_recorded: bool = False,
) -> list[Optimizer]:
    """Optimisers of the weights that learn.

    Args:
        weights: of the network, on the device.
        spec: which method, and its constants.
        device: of the weights.
        is_bfloat16: matrices are made orthogonal in bfloat16, which is enough where the network runs in it.
        is_recorded: the steps become a CUDA graph, so the learning rate is a tensor on the device.
    """
    learning = [weight for weight in weights if weight.requires_grad]
    matrices = [weight for weight in learning if weight.ndim >= 2] if spec.method == "Muon" else []
    rest = [weight for weight in learning if spec.method == "AdamW" or weight.ndim < 2]

    def rate() -> float | Tensor:
        highest = spec.learning_rate
        return torch.tensor(highest, dtype=torch.float32, device=device) if is_recorded else highest

    optimisers: list[Optimizer] = []
    if rest:
        constants: dict[str, Any] = {"betas": (spec.beta1, spec.beta2), "weight_decay": spec.weight_decay}
        kernels: dict[str, Any] = {"fused": is_recorded or None, "capturable": is_recorded}
        optimisers.append(AdamW(rest, lr=rate(), **constants, **kernels))
    if matrices:
        dtype = torch.bfloat16 if is_bfloat16 else None
        optimisers.append(Muon(matrices, rate(), spec.beta1, spec.weight_decay, dtype))
    return optimisers


def set_rate(optimisers: Sequence[Optimizer], rate: float) -> None:
    """Learning rate of the next step."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate


def load_optimiser(optimiser: Optimizer, state: Mapping[str, Any]) -> None:
    """Go on from a state of whatever device, with the kernels and the place of the rate that this optimiser has."""
    groups = [
        saved | {name: group[name] for name in ("lr", "fused", "capturable") if name in group}
        for saved, group in zip(state["param_groups"], optimiser.param_groups, strict=True)
    ]
    optimiser.load_state_dict({**state, "param_groups": groups})
    for parameter, moments in optimiser.state.items():
        for name in moments.keys() & set(MOMENTS):  # in the memory format of the weights, which fused AdamW asks for
            moments[name] = torch.empty_like(parameter).copy_(moments[name])
