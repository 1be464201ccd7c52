"""The blocks of the network as one function of maps and parameters, with its gradient."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fieldlevel.estimators.fused.convolutions import DERIVATIVE, STATISTICS, STORE, convolve, correlate
from fieldlevel.estimators.fused.launch import rehearsal
from fieldlevel.estimators.fused.layers import ACTIVATED, GRADIENT, Layer, Source, first_layers
from fieldlevel.estimators.fused.norms import batch_coefficients, gradient_coefficients, running_coefficients
from fieldlevel.estimators.fused.tiles import padded_channels
from fieldlevel.estimators.fused.wide import convolve_wide, fill_maps, gradients_wide, take_maps_back

WIDEST = 64
"""Output channels, padded to a power of two, up to which the kernels of `convolutions` are faster than cuDNN's.

Measured on an H100 in bfloat16, for 128 maps of 256 x 256 pixels.
"""


def fused_blocks(features: nn.Sequential, maps: Tensor, n_blocks: int) -> Tensor:
    """Run the first blocks of `MomentNetwork.features`.

    Values are stored in bfloat16 under autocast to it, else in float32; statistics and sums are at least float32. In
    training mode the batch norms use and record the statistics of the batch, and gradients reach the parameters; in
    evaluation mode they use the running ones, and no gradient is kept.

    Args:
        features: of a network with one channel and float32 parameters on the device of the maps.
        maps: normalised maps, (b, 1, N, N).
        n_blocks: blocks to run; the last convolution counts as one.

    Returns:
        Activated output of the last of them, (b, C, N / 2^n, N / 2^n) or (b, C, 1, 1), channels last.

    Raises:
        UserError: a number of blocks that the network does not have.
    """
    layers, dtype = first_layers(features, n_blocks), _storage_dtype(maps.device)
    pixels = maps.permute(0, 2, 3, 1).contiguous()
    with torch.cuda.device_of(maps):  # type: ignore[no-untyped-call]
        if features.training:
            parameters = [parameter for layer in layers for parameter in layer.parameters]
            a: Tensor = _Stack.apply(layers, dtype, pixels, *parameters)  # type: ignore[no-untyped-call]
        else:
            with torch.no_grad():
                for source in _forward(layers, pixels, dtype, training=False):
                    last = source  # and nothing before it: all outputs together take several times its memory
                a = fill_maps(last, 0, dtype)
    return a.permute(0, 3, 1, 2)


def compile_blocks(features: nn.Sequential, maps: Tensor, n_blocks: int) -> None:
    """Compile the kernels of `fused_blocks` and of its gradient for such maps, in training and in evaluation.

    The network stays as it is, whatever mode it is in. Several processes that share its batch norms must all do it.
    """
    layers, dtype = first_layers(features, n_blocks), _storage_dtype(maps.device)
    pixels = maps.permute(0, 2, 3, 1).contiguous()
    with torch.no_grad(), torch.cuda.device_of(maps), rehearsal():  # type: ignore[no-untyped-call]
        deque(_forward(layers, pixels, dtype, training=False), maxlen=1)
        sources = list(_forward(layers, pixels, dtype, training=True))
        a = fill_maps(sources[-1], 0, dtype)
        _backward(layers, sources, [layer.convolution.weight for layer in layers], torch.empty_like(a), dtype)


class _Stack(torch.autograd.Function):
    """All fused layers in training: maps and parameters in, activated values of the last layer out."""

    @staticmethod
    def forward(ctx: Any, layers: Sequence[Layer], dtype: torch.dtype, maps: Tensor, *parameters: Tensor) -> Tensor:
        sources = list(_forward(layers, maps, dtype, training=True))
        ctx.layers, ctx.dtype = layers, dtype
        saved = [tensor for source in sources[1:] for tensor in (source.tensor, source.coefficients)]
        ctx.save_for_backward(maps, *saved, *(layer.convolution.weight for layer in layers))
        return fill_maps(sources[-1], 0, dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        n = len(ctx.layers)
        maps, *saved = ctx.saved_tensors
        outputs = zip(saved[: 2 * n : 2], saved[1 : 2 * n : 2], strict=True)
        sources = [Source(maps), *(Source(y, ACTIVATED, coefficients) for y, coefficients in outputs)]
        gradients = _backward(ctx.layers, sources, saved[2 * n :], gradient.contiguous(), ctx.dtype)
        return None, None, None, *gradients


def _forward(layers: Sequence[Layer], maps: Tensor, dtype: torch.dtype, training: bool) -> Iterator[Source]:
    """The maps, then the outputs of each layer with the coefficients that activate them."""
    yield (source := Source(maps))
    for layer in layers:
        y, sums = _convolve_layer(layer, source, dtype, training and layer.norm is not None)
        n_values = y.numel() // y.shape[-1]
        coefficients = batch_coefficients(layer, sums, n_values) if training else running_coefficients(layer)
        yield (source := Source(y, ACTIVATED, coefficients))


def _convolve_layer(layer: Layer, source: Source, dtype: torch.dtype, with_sums: bool) -> tuple[Tensor, Tensor]:
    weight = layer.convolution.weight.detach()
    if _is_wide(layer):
        return convolve_wide(source, weight, layer.kind, dtype, with_sums)
    return convolve(
        source, weight, layer.kind, layer.tiles("forward", dtype), dtype, STATISTICS if with_sums else STORE
    )


def _is_wide(layer: Layer) -> bool:
    """Whether cuDNN convolves; the last convolution has no kernel of ours, the first no activation below it."""
    return layer.kind == "last" or (layer.kind != "first" and padded_channels(layer.convolution.out_channels) > WIDEST)


def _backward(
    layers: Sequence[Layer], sources: Sequence[Source], weights: Sequence[Tensor], gradient: Tensor, dtype: torch.dtype
) -> list[Tensor | None]:
    """Gradients of all parameters in order, from the one of the activated output."""
    gradients: list[Tensor | None] = []
    g, sums = take_maps_back(gradient, sources[-1], 0, dtype)
    for layer, source, output, weight in zip(layers[::-1], sources[-2::-1], sources[:0:-1], weights[::-1], strict=True):
        norm_gradients, received = _take_through_norm(layer, output, g, sums)
        if _is_wide(layer):
            dweight, g, sums = gradients_wide(source, received, weight, layer.kind, dtype)
        else:
            dweight, received = _correlate_layer(layer, source, received, dtype)
            g, sums = _pass_back(layer, weight, received, source, dtype) if source.mode == ACTIVATED else (g, sums)
        gradients = [dweight, *norm_gradients, *gradients]
    return gradients


def _take_through_norm(layer: Layer, output: Source, g: Tensor, sums: Tensor) -> tuple[list[Tensor | None], Source]:
    """Gradients of the bias and of the batch norm, and the one of the convolution's outputs as kernels read it."""
    A_B_C, dgamma, dbeta = gradient_coefficients(layer, output.pointers[2], sums, g.numel() // g.shape[-1])
    if layer.norm is None:
        return [dbeta], Source(g)
    return [None, dgamma, dbeta], Source(g, GRADIENT, A_B_C, output.tensor)


def _correlate_layer(layer: Layer, source: Source, received: Source, dtype: torch.dtype) -> tuple[Tensor, Source]:
    """Gradient of the weights, and the one received as the next kernel reads it."""
    shape, tiles = layer.convolution.weight.shape, layer.tiles("weight", dtype)
    return correlate(source, received, shape, layer.kind, tiles, dtype, layer.stores_gradient)


def _pass_back(
    layer: Layer, weight: Tensor, received: Source, onto: Source, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Gradient before the activation of the layer below, with its sums."""
    tiles = layer.tiles("data", dtype)
    if layer.kind == "halve":
        return convolve(received, weight, "double", tiles, dtype, DERIVATIVE, onto)
    return convolve(received, weight.flip(2, 3).transpose(0, 1), "wrap", tiles, dtype, DERIVATIVE, onto)


def _storage_dtype(device: torch.device) -> torch.dtype:
    is_on = torch.is_autocast_enabled(device.type)
    return torch.bfloat16 if is_on and torch.get_autocast_dtype(device.type) == torch.bfloat16 else torch.float32
