"""Coefficients of the batch norms around the fused convolutions, forwards and backwards.

With s = gamma / std and t = beta - s mean of a batch norm, an activated value is lrelu(s y + t). Backwards, with
z = s y + t, x = (y - mean) / std, g = dL/dz and n values a channel,

    dbeta = sum g,    dgamma = sum g x,    dL/dy = s (g - dbeta / n - x dgamma / n) = A g + B y + C.

Where several processes share a batch, an `nn.SyncBatchNorm` stands in the place of the batch norm, and the sums are
those over the maps of all of them: two exchanges of 2 C numbers a layer and step.

References:
    Ioffe & Szegedy 2015, arXiv:1502.03167 (batch norm and its gradient).
"""

import torch
import torch.distributed as dist
import triton
import triton.language as tl
from torch import Tensor, nn

from fieldlevel.errors import UserError
from fieldlevel.estimators.fused.launch import launch
from fieldlevel.estimators.fused.layers import AnyNorm, Layer

_CHANNELS = 16
"""Whose sums one program adds up."""
_WARPS = 16
"""Of such a program: it waits for memory most of its time."""


@triton.jit
def _add_up(sums, n_programs, n_parts: tl.constexpr, padded: tl.constexpr, channel):  # type: ignore[no-untyped-def]
    """Both sums of some channels over programs and parts of a group, in float64."""
    n_rows: tl.constexpr = 512
    first = tl.zeros((n_rows, channel.shape[0]), tl.float64)
    second = tl.zeros((n_rows, channel.shape[0]), tl.float64)
    for start in range(0, n_programs, n_rows):
        program = start + tl.arange(0, n_rows)
        known = (program < n_programs)[:, None]
        for part in range(n_parts):
            at = ((program * 2 * n_parts + part) * padded)[:, None] + channel[None, :]
            first += tl.load(sums + at, mask=known, other=0.0)
            second += tl.load(sums + at + n_parts * padded, mask=known, other=0.0)
    return tl.sum(first, axis=0), tl.sum(second, axis=0)


@triton.jit(do_not_specialize=["n_values", "n_programs"])
def _normalise(  # type: ignore[no-untyped-def]
    sums, n_programs, gamma, beta, bias, running_mean, running_var, n_batches, out, n_values, momentum, eps,
    n_channels: tl.constexpr, n_parts: tl.constexpr, padded: tl.constexpr, block: tl.constexpr
):  # fmt: skip
    """Coefficients of a batch norm from the sums of y and y^2, and its running statistics with the bias in the mean."""
    channel = tl.program_id(0) * block + tl.arange(0, block)
    known = channel < n_channels
    total, total_square = _add_up(sums, n_programs, n_parts, padded, channel)
    mean = total / n_values
    variance = tl.maximum(total_square / n_values - mean * mean, 0.0)
    unbiased = (variance * n_values / (n_values - 1)).to(tl.float32)
    mean, variance = mean.to(tl.float32), variance.to(tl.float32)
    inverse = 1.0 / tl.sqrt_rn(variance + eps)
    scale = tl.load(gamma + channel, mask=known, other=0.0) * inverse
    shift = tl.load(beta + channel, mask=known, other=0.0) - mean * scale
    tl.store(out + channel, scale, mask=known)
    tl.store(out + n_channels + channel, shift, mask=known)
    tl.store(out + 2 * n_channels + channel, mean, mask=known)
    tl.store(out + 3 * n_channels + channel, inverse, mask=known)
    before = tl.load(running_mean + channel, mask=known, other=0.0)
    after = mean + tl.load(bias + channel, mask=known, other=0.0)
    tl.store(running_mean + channel, before + momentum * (after - before), mask=known)
    before = tl.load(running_var + channel, mask=known, other=0.0)
    tl.store(running_var + channel, before + momentum * (unbiased - before), mask=known)
    if tl.program_id(0) == 0:
        tl.store(n_batches, tl.load(n_batches) + 1)


@triton.jit(do_not_specialize=["n_values", "n_programs"])
def _settle(  # type: ignore[no-untyped-def]
    sums, n_programs, coefficients, out, n_values, n_channels: tl.constexpr, n_parts: tl.constexpr,
    padded: tl.constexpr, block: tl.constexpr
):  # fmt: skip
    """A, B, C, dgamma and dbeta from the sums of g and g (y - mean)."""
    channel = tl.program_id(0) * block + tl.arange(0, block)
    known = channel < n_channels
    scale = tl.load(coefficients + channel, mask=known, other=0.0)
    mean = tl.load(coefficients + 2 * n_channels + channel, mask=known, other=0.0)
    inverse = tl.load(coefficients + 3 * n_channels + channel, mask=known, other=0.0)
    dbeta, total_product = _add_up(sums, n_programs, n_parts, padded, channel)
    dgamma = total_product * inverse
    on_y = -scale * inverse * dgamma / n_values
    constant = -scale * dbeta / n_values - on_y * mean
    tl.store(out + channel, scale, mask=known)
    tl.store(out + n_channels + channel, on_y.to(tl.float32), mask=known)
    tl.store(out + 2 * n_channels + channel, constant.to(tl.float32), mask=known)
    tl.store(out + 3 * n_channels + channel, dgamma.to(tl.float32), mask=known)
    tl.store(out + 4 * n_channels + channel, dbeta.to(tl.float32), mask=known)


def batch_coefficients(layer: Layer, sums: Tensor, n_values: int) -> Tensor:
    """Scale, shift, mean and inverse deviation of the batch (4, C); the running statistics take the batch in.

    Args:
        layer: the convolution and its batch norm.
        sums: of y and y^2 of each program, (p, 2, parts of a group, padded channels).
        n_values: a channel, of the maps of this process.

    Raises:
        UserError: a batch whose deviation is not defined.
    """
    norm = layer.norm
    if norm is None:
        return _bias_alone(layer)
    sums, n_values = _over_processes(norm, sums, n_values)
    if n_values == 1:
        raise UserError("a batch of one map leaves a batch norm one value a channel: train with two maps or more")
    out = torch.empty(4, norm.num_features, device=sums.device)
    n_programs, _, n_parts, padded = sums.shape
    block = min(_CHANNELS, padded)
    launch(
        _normalise, (padded // block,), sums, n_programs, norm.weight, norm.bias, layer.bias, norm.running_mean,
        norm.running_var, norm.num_batches_tracked, out, n_values, norm.momentum, norm.eps, norm.num_features, n_parts,
        padded, block, num_warps=_WARPS
    )  # fmt: skip
    return out


def running_coefficients(layer: Layer) -> Tensor:
    """Scale, shift, mean and inverse deviation of the running statistics (4, C)."""
    norm = layer.norm
    if norm is None:
        return _bias_alone(layer)
    mean = norm.get_buffer("running_mean") - layer.bias
    inverse = torch.rsqrt(norm.get_buffer("running_var") + norm.eps)
    scale = norm.weight * inverse
    return torch.stack([scale, norm.bias - mean * scale, mean, inverse])


def gradient_coefficients(
    layer: Layer, coefficients: Tensor, sums: Tensor, n_values: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Coefficients A, B, C of the gradient before a batch norm (3, C), and the gradients of its weight and bias.

    Of several processes each gets an equal part of the latter, as their gradients are yet to be added up.

    Args:
        layer: the convolution and its batch norm; without one A, B, C mean nothing, and the last is that of the bias.
        coefficients: what `batch_coefficients` returned.
        sums: of g and g (y - mean) of each program, (p, 2, parts of a group, padded channels).
        n_values: a channel, of the maps of this process.
    """
    n_own = n_values
    if layer.norm is not None:
        sums, n_values = _over_processes(layer.norm, sums, n_values)
    n_channels = coefficients.shape[1]
    out = torch.empty(5, n_channels, device=sums.device)
    n_programs, _, n_parts, padded = sums.shape
    block = min(_CHANNELS, padded)
    known = {"n_channels": n_channels, "n_parts": n_parts, "padded": padded, "block": block, "num_warps": _WARPS}
    launch(_settle, (padded // block,), sums, n_programs, coefficients, out, n_values, **known)
    own = out[3:] if n_values == n_own else out[3:] * (n_own / n_values)
    return out[:3], own[0], own[1]


def _over_processes(norm: AnyNorm, sums: Tensor, n_values: int) -> tuple[Tensor, int]:
    """Sums and number of values of all processes that a batch norm is over, in equal shares; as one program's."""
    if not isinstance(norm, nn.SyncBatchNorm) or not dist.is_initialized():
        return sums, n_values
    total = sums.sum((0, 2), dtype=torch.float64)
    dist.all_reduce(total, group=norm.process_group)
    return total[None, :, None], n_values * dist.get_world_size(norm.process_group)


def _bias_alone(layer: Layer) -> Tensor:
    one, zero = torch.ones_like(layer.bias), torch.zeros_like(layer.bias)
    return torch.stack([one, layer.bias, zero, one])
