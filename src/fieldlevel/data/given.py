"""Maps as somebody gives them: arrays in memory or on disk, tensors, lists, one map or many."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fieldlevel.errors import UserError, reason

LARGEST_FLOAT16 = 65504


def as_maps(maps: Any, n_pixels: int) -> Any:
    """Look at maps as (n, N, N) without reading them.

    Args:
        maps: array, memory map, tensor on any device, or nested list of real numbers, whatever their order in memory
            and their precision; (n, N, N), (n, 1, N, N), or one map, (N, N).
        n_pixels: N.

    Returns:
        An array or tensor of shape (n, N, N), to be sliced and given to `as_pixels`.

    Raises:
        UserError: another shape or kind of numbers, or pixels that are masked.
    """
    array = _array(maps)
    shape, size = tuple(array.shape), (n_pixels, n_pixels)
    if isinstance(array, Tensor):
        _check_tensor(array)
    elif np.dtype(array.dtype).kind not in "fiu":
        raise UserError(f"maps of type {array.dtype}, shape {shape}: give real numbers, e.g. float32")
    elif np.ma.is_masked(array):
        n_masked = int(np.ma.getmaskarray(array).sum())
        raise UserError(f"maps of shape {shape}: {n_masked} pixels are masked; fill them, a network reads all")
    if shape == size:
        return array[None]
    if len(shape) == 4 and shape[1:] == (1, *size):
        return array[:, 0]
    if shape[1:] != size:
        raise UserError(f"maps of shape {shape}: this network takes (n, {n_pixels}, {n_pixels})")
    return array


def as_pixels(block: Any, device: torch.device) -> Tensor:
    """Copy some maps to a device as float32; numbers beyond it become infinite."""
    if isinstance(block, Tensor):
        return block.detach().to(device, torch.float32, copy=True, non_blocking=block.is_pinned())
    pixels = torch.empty(block.shape, dtype=torch.float32, pin_memory=device.type == "cuda")
    with np.errstate(over="ignore"):
        pixels.numpy()[...] = block
    return pixels.to(device, non_blocking=True)


def read_for(block: Any, device: torch.device) -> Any:
    """Read maps that are on a disk, or of another precision, into memory that a GPU copies from by itself.

    For `as_pixels` of the same device; nothing is done for a CPU, which reads them where they are, or to a tensor.
    """
    if isinstance(block, Tensor) or device.type != "cuda":
        return block
    pixels = torch.empty(block.shape, dtype=torch.float32, pin_memory=True)
    with np.errstate(over="ignore"):
        pixels.numpy()[...] = block
    return pixels


def _array(maps: Any) -> Any:
    """What has a shape and a type of numbers already, or an array of it."""
    if isinstance(maps, Tensor):
        return maps
    if isinstance(maps, np.matrix):
        return np.asarray(maps)
    if all(hasattr(maps, name) for name in ("shape", "dtype", "ndim")):
        return maps
    is_listed = isinstance(maps, Sequence) and not isinstance(maps, str | bytes)
    if not is_listed and not hasattr(maps, "__array__"):
        of_file = ", as np.load makes of a file" if isinstance(maps, str | Path) else ""
        raise UserError(f"maps of type {type(maps).__name__}: give an array, a tensor or a list of maps{of_file}")
    return _array_of_list(maps) if is_listed else np.asarray(maps)


def _array_of_list(maps: Sequence[Any]) -> Any:
    try:
        if any(isinstance(each, Tensor) for each in maps):
            return torch.stack([torch.as_tensor(each).detach().cpu() for each in maps])
        if any(np.ma.isMaskedArray(each) for each in maps):
            return np.ma.stack(maps)
        return np.asarray(maps)
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise UserError(f"maps in a list of {len(maps)}: no array can be made of them ({reason(error)})") from None


def _check_tensor(maps: Tensor) -> None:
    if maps.is_nested or maps.layout is not torch.strided or maps.is_quantized or maps.is_meta:
        raise UserError(f"maps in a tensor of layout {maps.layout} on {maps.device}: give a dense tensor of numbers")
    if maps.dtype is torch.bool or maps.is_complex():
        raise UserError(f"maps of type {maps.dtype}, shape {tuple(maps.shape)}: give real numbers, e.g. float32")


def refuse_bad_pixels(pixels: Tensor, first: int, offset: float, *, is_float16: bool = False) -> None:
    """Refuse pixels that no map has, and those without a logarithm.

    Args:
        pixels: (n, N, N).
        first: number of the first map.
        offset: added before the logarithm.
        is_float16: whether they were given in float16, which ends far below surface densities.

    Raises:
        UserError: with the numbers of the maps.
    """
    usable = torch.isfinite(pixels) & (pixels >= 0) & (pixels + offset > 0)
    bad = np.flatnonzero(~usable.all(dim=2).all(dim=1).cpu().numpy())
    if not len(bad):
        return
    numbers = ", ".join(map(str, first + bad[:10])) + (", ..." if len(bad) > 10 else "")
    hint = _hint(pixels[bad.tolist()], is_float16=is_float16)
    told = "give densities, neither their logarithm nor an overdensity"
    raise UserError(f"maps {numbers}: NaN, infinite or non-positive pixels{hint}; {told}")


def _hint(maps: Tensor, *, is_float16: bool) -> str:
    if bool(maps.isinf().any()):
        return f" (float16 ends at {LARGEST_FLOAT16})" if is_float16 else ""
    if bool(maps.isnan().any()) or not bool((maps < 0).any()):
        return ""
    if float(maps.min()) >= -1 and abs(float(maps.double().mean())) < 0.5:
        return " (these look like overdensities)"
    return " (these look like normalised maps)" if float(maps.abs().max()) < 100 else ""
