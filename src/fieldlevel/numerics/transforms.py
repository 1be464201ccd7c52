r"""Transforms of periodic square maps: symmetries and shifts that keep information, the others that take some away.

The symmetries are the dihedral group D4. Element \(4t + 2a + b\) transposes the map if \(t = 1\), then reverses the
rows if \(a = 1\), then the columns if \(b = 1\); every rotation by 90 degrees and every reflection is one of these.

What takes information away tests what a network reads: Gaussian smoothing and a cut in wavenumber take the small
scales, random phases all but the power of the logarithm, a shuffle of the pixels all but their histogram, the mean map
all but the mean, and scaling to a given mean the mean alone.

Lengths are in pixels; the last two dimensions are the map's rows and columns.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360 (smoothing, mean maps, shuffled pixels).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from fieldlevel.numerics.random import complex_normal, uniform

N_SYMMETRIES = 8

_SEEDS, _PIXEL_ORDER, _PHASES = 19, 20, 21
"""Random streams of `fieldlevel.numerics.random`."""

_ROUND_OFF = 1e-9
"""Relative, so that a cut at the wavenumber of a mode keeps it whatever units it comes from."""


def apply_symmetry(maps: Tensor, index: int) -> Tensor:
    """Apply one symmetry of the square to every map.

    Args:
        maps: shape (..., N, N).
        index: element of D4, from 0 (identity) to 7.

    Returns:
        View of the same shape where possible.

    Example:
        >>> apply_symmetry(torch.tensor([[1, 2], [3, 4]]), 5).tolist()  # transpose, then reverse the columns
        [[3, 1], [4, 2]]
    """
    turned = maps.mT if index & 4 else maps
    reversed_dims = [dim for dim, bit in ((-2, 2), (-1, 1)) if index & bit]
    return turned.flip(reversed_dims) if reversed_dims else turned


def all_symmetries(maps: Tensor) -> Tensor:
    """All eight images of every map.

    Args:
        maps: shape (..., N, N).

    Returns:
        Shape (8, ..., N, N), in the order of the elements.
    """
    return torch.stack([apply_symmetry(maps, index) for index in range(N_SYMMETRIES)])


def augment(maps: Tensor, symmetry: Tensor, shift: Tensor) -> Tensor:
    r"""Apply to each map its own symmetry, then its own periodic shift, in one gather.

    Pixel \((i, j)\) of the result lies at a flat index of the source that is a sum of a function of \(i\) and one of
    \(j\), whatever the symmetry: the transposition only exchanges which of the two counts in steps of N.

    Args:
        maps: shape (n, N, N).
        symmetry: elements of D4, integers from 0 to 7, shape (n,).
        shift: pixels to roll the rows and the columns by, integers, shape (n, 2).

    Returns:
        New maps, shape (n, N, N), made of the same pixels.
    """
    n_pixels = maps.shape[-1]
    position = torch.arange(n_pixels, device=maps.device)
    is_transposed, reverses_rows, reverses_columns = ((symmetry[:, None] & bit) > 0 for bit in (4, 2, 1))
    row, column = ((position - shift[:, axis, None]) % n_pixels for axis in (0, 1))
    row = torch.where(reverses_rows, n_pixels - 1 - row, row)
    column = torch.where(reverses_columns, n_pixels - 1 - column, column)
    along_rows = torch.where(is_transposed, row, row * n_pixels)
    along_columns = torch.where(is_transposed, column * n_pixels, column)
    source = along_rows[:, :, None] + along_columns[:, None, :]
    return maps.flatten(1).gather(1, source.flatten(1)).view_as(maps)


def smooth_gaussian(maps: Tensor, sigma_pixels: float | Tensor) -> Tensor:
    r"""Smooth periodic maps with a Gaussian of standard deviation \(\sigma\).

    The kernel \(\sum_m \exp[-(x + mN)^2 / 2\sigma^2]\) is sampled on the pixels and normalised, then applied with FFTs
    in float64. A sampled kernel is positive, where one cut at the Nyquist frequency rings: around a bright pixel it
    would make negative densities, which have no logarithm.

    Invariants: the mean of a map is kept, no pixel leaves the range of its map, smoothing by a then b pixels is
    smoothing by sqrt(a^2 + b^2).

    Args:
        maps: shape (..., N, N).
        sigma_pixels: standard deviation [pixels], or one above 0 for each map, (...); 0 returns the maps themselves. To
            round-off a map does not depend on the others.

    Returns:
        Smoothed maps, same shape and dtype.
    """
    if isinstance(sigma_pixels, float | int) and sigma_pixels == 0:
        return maps
    n_pixels = maps.shape[-1]
    sigma = torch.as_tensor(sigma_pixels, dtype=torch.float64, device=maps.device)
    response = torch.fft.fft(_periodic_gaussian(n_pixels, sigma)).real
    spectrum = torch.fft.rfft2(maps.double()) * response[..., :, None] * response[..., None, : n_pixels // 2 + 1]
    smooth: Tensor = torch.fft.irfft2(spectrum, s=maps.shape[-2:])
    low, high = torch.aminmax(maps.double().flatten(-2), dim=-1)
    return smooth.clamp(low[..., None, None], high[..., None, None]).to(maps.dtype)


def _periodic_gaussian(n_pixels: int, sigma_pixels: Tensor) -> Tensor:
    """One kernel for each standard deviation, (...) to (..., N)."""
    device = sigma_pixels.device
    n_images = int(8 * float(sigma_pixels.max()) // n_pixels) + 1
    images = n_pixels * torch.arange(-n_images, n_images + 1, device=device, dtype=torch.float64)
    distance = torch.arange(n_pixels, device=device, dtype=torch.float64) + images[:, None]
    kernel: Tensor = torch.exp(-(distance / sigma_pixels[..., None, None]).square() / 2).sum(-2)
    return kernel / kernel.sum(-1, keepdim=True)


def cut_wavenumbers(maps: Tensor, k_max: float) -> Tensor:
    r"""Cut the Fourier modes with \(|k| > k_{\max}\) out of the logarithm of maps.

    The cut is sharp and therefore rings; in the logarithm that cannot make negative densities.

    Invariants: the mean of the logarithm is kept, a second cut at the same or a larger wavenumber changes nothing.

    Args:
        maps: positive, shape (..., N, N).
        k_max: in units of the fundamental mode; N / sqrt(2) or more keeps all modes.

    Returns:
        Positive maps, same shape and dtype.
    """
    n_pixels = maps.shape[-1]
    k_row = torch.fft.fftfreq(n_pixels, 1 / n_pixels, dtype=torch.float64, device=maps.device)
    k_column = torch.arange(n_pixels // 2 + 1, dtype=torch.float64, device=maps.device)
    is_kept = k_row[:, None].square() + k_column.square() <= k_max**2 * (1 + _ROUND_OFF)
    return _map_of_modes(_modes_of_logarithm(maps) * is_kept, maps)


def randomise_phases(maps: Tensor, seeds: Tensor | Sequence[int]) -> Tensor:
    """Give the Fourier modes of the logarithm of maps random phases.

    The phases are those of Gaussian white noise, so the modes k and -k stay conjugate. What is left of the logarithm is
    a Gaussian random field with the power of the map, mode by mode.

    Invariants: the mean of the logarithm and the modulus of each of its modes are kept.

    Args:
        maps: positive, shape (..., N, N).
        seeds: of each map, integers, shape (...); the result depends on nothing else, to round-off on any device.

    Returns:
        Positive maps, same shape and dtype.
    """
    noise = complex_normal(_counters(maps, seeds), seed=0, stream=_PHASES).real.view(maps.shape)
    phases = torch.sgn(torch.fft.rfft2(noise))
    phases[..., 0, 0] = 1.0
    return _map_of_modes(_modes_of_logarithm(maps) * phases, maps)


def shuffle_pixels(maps: Tensor, seeds: Tensor | Sequence[int]) -> Tensor:
    """Bring the pixels of each map into random order.

    Args:
        maps: shape (..., N, N).
        seeds: of each map, integers, shape (...); the order depends on nothing else, on any device.

    Returns:
        New maps of the same pixels, same shape and dtype.

    Example:
        >>> shuffled = shuffle_pixels(torch.arange(16.0).view(1, 4, 4), seeds=torch.tensor([7]))
        >>> shuffled[0, 0].tolist(), torch.equal(shuffled.flatten().sort().values, torch.arange(16.0))
        ([6.0, 13.0, 1.0, 15.0], True)
    """
    keys = uniform(_counters(maps, seeds), seed=0, stream=_PIXEL_ORDER)
    return maps.flatten(-2).gather(-1, keys.argsort(dim=-1, stable=True)).view(maps.shape)


def mean_map(maps: Tensor) -> Tensor:
    """Replace every pixel by the mean of its map.

    Args:
        maps: shape (..., N, N).

    Returns:
        New maps without structure, same shape and dtype.
    """
    return _mean(maps).to(maps.dtype).expand(maps.shape).clone()


def scale_to_mean(maps: Tensor, mean: float) -> Tensor:
    """Multiply each map by a number of its own that makes its mean the one given.

    Args:
        maps: positive, shape (..., N, N).
        mean: of the result, positive [unit of the maps].

    Returns:
        Positive maps, same shape and dtype.

    Example:
        >>> scale_to_mean(torch.tensor([[1.0, 2.0], [3.0, 2.0]]), mean=10.0).tolist()
        [[5.0, 10.0], [15.0, 10.0]]
    """
    return (maps * (mean / _mean(maps))).to(maps.dtype)


def _mean(maps: Tensor) -> Tensor:
    return maps.mean((-2, -1), keepdim=True, dtype=torch.float64)


def _counters(maps: Tensor, seeds: Tensor | Sequence[int]) -> Tensor:
    """Counter of each pixel, (..., N * N), from a random start for each seed: seeds next to each other share none."""
    start = uniform(torch.as_tensor(seeds, device=maps.device), seed=0, stream=_SEEDS) * 2.0**62
    return start.to(torch.int64)[..., None] + torch.arange(maps.shape[-2:].numel(), device=maps.device)


def _modes_of_logarithm(maps: Tensor) -> Tensor:
    modes: Tensor = torch.fft.rfft2(maps.double().log10())
    return modes


def _map_of_modes(modes: Tensor, like: Tensor) -> Tensor:
    return torch.pow(10.0, torch.fft.irfft2(modes, s=like.shape[-2:])).to(like.dtype)
