r"""Power spectra of periodic fields: of cubes in mesh units, of maps in h/Mpc.

With the overdensity \(\delta = x / \bar{x} - 1\) of a map of N x N pixels and side L and its unnormalised discrete
Fourier transform \(\delta_k\), the power is

$$ P(k) = L^2 \langle |\delta_k|^2 \rangle / N^4 = L^2 \langle |x_k|^2 \rangle / x_0^2, $$

the mean taken over the modes of a shell, so that white noise of variance \(s^2\) has \(P = s^2 (L / N)^2\) everywhere.
"""

from functools import lru_cache
from numbers import Real
from typing import overload

import numpy as np
import torch
from torch import Tensor

from fieldlevel.arrays import FloatArray
from fieldlevel.errors import UserError
from fieldlevel.layout import Layout
from fieldlevel.numerics.mesh import fourier, squared_wavenumber

_USUAL_BOX_MPC_H = Layout().box_size_mpc_h
_LARGEST_BOX_MPC_H = 1e9
_PIXELS_AT_ONCE = 2**20
"""Of the maps in one array: what the processor's cache just holds in float64."""
_PIXELS_AT_ONCE_ON_A_GPU = 2**23
"""Which would wait for each small array."""


def power_spectrum_3d(density: Tensor, other: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Power of the overdensity field / mean - 1, averaged in shells one fundamental mode wide.

    Args:
        density: (n, n, n) mass in each cell.
        other: second field of the same shape for a cross-spectrum; `density` itself when omitted.

    Returns:
        k in units of the fundamental mode and P in units of the box's volume, each (n // 2 - 1,), in shells centred on
        1, 2, ... Multiply k by 2 pi / L and P by L^3 for physical units.

    Example:
        >>> noise = 1 + 0.01 * torch.randn(32, 32, 32, generator=torch.Generator().manual_seed(1))
        >>> k, power = power_spectrum_3d(noise)
        >>> bool(((power * 32**3 / 1e-4 - 1).abs() < 0.6).all())
        True
    """
    n_mesh = density.shape[0]
    modes = [fourier(field / field.mean() - 1) / n_mesh**3 for field in (density, other) if field is not None]
    product = (modes[0] * modes[-1].conj()).real.double()
    k = squared_wavenumber(n_mesh, density.device).sqrt().double() * (n_mesh / (2 * torch.pi))
    weight = torch.full_like(k, 2.0)
    weight[..., 0] = weight[..., -1] = 1.0
    shell = k.round().to(torch.int64).flatten()
    sums = torch.zeros(3, int(shell.max()) + 1, dtype=torch.float64, device=density.device)
    sums.index_add_(1, shell, torch.stack([weight, weight * k, weight * product]).flatten(1))
    count, k_sum, power_sum = sums[:, 1 : n_mesh // 2]
    return k_sum / count, power_sum / count


@overload
def power_spectrum_2d(
    maps: FloatArray, box_size_mpc_h: float = ..., *, corners: bool = ...
) -> tuple[FloatArray, FloatArray]: ...


@overload
def power_spectrum_2d(maps: Tensor, box_size_mpc_h: float = ..., *, corners: bool = ...) -> tuple[Tensor, Tensor]: ...


def power_spectrum_2d(
    maps: FloatArray | Tensor, box_size_mpc_h: float = _USUAL_BOX_MPC_H, *, corners: bool = False
) -> tuple[FloatArray, FloatArray] | tuple[Tensor, Tensor]:
    """Power of the overdensity map / mean - 1 of each map, averaged in shells one fundamental mode wide.

    Shells and means are those of `Pk_plane` of Pylians: shell i holds i <= |k| / k_F < i + 1 with k_F = 2 pi / L, of
    each pair k, -k one mode, the monopole none. The transforms are in float64 whatever the maps are, so that shells
    without power, as smoothed maps have them, stay empty.

    Args:
        maps: densities (not their logarithm), shape (n, N, N), or one map, (N, N), which is one of n = 1; a
            memory-mapped file is read in blocks.
        box_size_mpc_h: side of the maps [Mpc/h], `Layout.box_size_mpc_h`; that of CMD when omitted.
        corners: also the shells from the Nyquist wavenumber to the corner of the Fourier square, which lack directions;
            without them the last shell is that of the Nyquist wavenumber.

    Returns:
        k, the mean of |k| over the modes of each shell [h/Mpc], shape (bins,), and P [(Mpc/h)^2], shape (n, bins), both
        float64; tensors on the device of the maps for a tensor, NumPy arrays for an array.

    Raises:
        UserError: another shape, a side that is not positive, or a map without a positive finite mean.

    References:
        Villaescusa-Navarro 2018, ascl:1811.008 (Pylians).

    Example:
        >>> noise = 1 + 0.1 * np.random.default_rng(1).standard_normal((2, 64, 64))
        >>> k, P = power_spectrum_2d(noise, box_size_mpc_h=32.0)
        >>> k.shape, P.shape, round(float(P.mean()) / (0.1**2 * (32 / 64) ** 2), 1)
        ((32,), (2, 32), 1.0)
    """
    _check(maps, box_size_mpc_h)
    maps = maps[None] if maps.ndim == 2 else maps
    n_pixels = maps.shape[-1]
    is_on_gpu = isinstance(maps, Tensor) and maps.is_cuda
    n_at_once = max(1, (_PIXELS_AT_ONCE_ON_A_GPU if is_on_gpu else _PIXELS_AT_ONCE) // n_pixels**2)
    blocks = [_shell_power(maps[first : first + n_at_once], first) for first in range(0, len(maps), n_at_once)]
    power = torch.cat(blocks) * box_size_mpc_h**2
    k = _shells(n_pixels, power.device)[2] * (2 * torch.pi / box_size_mpc_h)
    n_bins = len(k) if corners else n_pixels // 2
    if isinstance(maps, Tensor):
        return k[:n_bins], power[:, :n_bins]
    return k[:n_bins].numpy(), power[:, :n_bins].numpy()


def _check(maps: object, box_size_mpc_h: float) -> None:
    if not isinstance(maps, np.ndarray | Tensor) or not _is_real(maps):
        raise UserError("power_spectrum_2d: maps are no array or tensor of real numbers; give one, (n, N, N)")
    shape = tuple(maps.shape)
    if len(shape) not in (2, 3) or shape[0] < 1 or shape[-2] != shape[-1] or shape[-1] < 2:
        raise UserError(f"power_spectrum_2d: maps have shape {shape}; give (n, N, N) with n > 0 and N > 1")
    if not isinstance(box_size_mpc_h, Real) or not 0 < box_size_mpc_h < _LARGEST_BOX_MPC_H:
        raise UserError(f"power_spectrum_2d: box_size_mpc_h is {box_size_mpc_h}; give the side of the maps in Mpc/h")


def _is_real(maps: FloatArray | Tensor) -> bool:
    if isinstance(maps, Tensor):
        return not maps.is_complex() and maps.layout == torch.strided and maps.device.type != "meta"
    return maps.dtype.kind in "fiu" and not isinstance(maps, np.ma.MaskedArray)


def _shell_power(maps: FloatArray | Tensor, first: int) -> Tensor:
    """Power in units of the map's area, (n, shells) float64; `first` is the number of the first map."""
    block = maps.double() if isinstance(maps, Tensor) else torch.from_numpy(np.array(maps, dtype=np.float64))
    modes: Tensor = torch.fft.rfft2(block)
    total = modes[:, 0, 0].real
    is_bad = ~((total > 0) & total.isfinite())
    if is_bad.any():
        number = int(is_bad.nonzero()[0])
        mean = float(total[number]) / block[number].numel()
        raise UserError(f"power_spectrum_2d: map {first + number} has the mean {mean:g}; give densities, not their log")
    shell, n_modes, _ = _shells(block.shape[-1], block.device)
    squares = modes.real.square().add_(modes.imag.square()).flatten(1)
    sums = squares.new_zeros(len(block), len(n_modes) + 1).index_add_(1, shell, squares)
    return sums[:, 1:] / n_modes / total[:, None].square()


@lru_cache(maxsize=8)
def _shells(n_pixels: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Shell of each mode of a flattened real FFT, and the shells' numbers of modes and mean |k| [fundamental modes].

    Shell 0, which the other two lack, takes the monopole and, where a column holds both modes of a pair, one of them.
    """
    k_row = torch.fft.fftfreq(n_pixels, 1 / n_pixels, dtype=torch.float64, device=device)
    k_column = torch.arange(n_pixels // 2 + 1, dtype=torch.float64, device=device)
    k = (k_row[:, None].square() + k_column.square()).sqrt()
    shell = k.to(torch.int64)
    shell[n_pixels // 2 + 1 :, [0] if n_pixels % 2 else [0, -1]] = 0
    n_modes = shell.flatten().bincount()
    k_sum = shell.flatten().bincount(k.flatten())
    return shell.flatten(), n_modes[1:], k_sum[1:] / n_modes[1:]
