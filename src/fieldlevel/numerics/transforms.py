r"""Transforms of periodic square maps: the eight symmetries of the square, periodic shifts, Gaussian smoothing.

The symmetries are the dihedral group D4. Element \(4t + 2a + b\) transposes the map if \(t = 1\), then reverses the
rows if \(a = 1\), then the columns if \(b = 1\); every rotation by 90 degrees and every reflection is one of these.

Lengths are in pixels; the last two dimensions are the map's rows and columns.
"""

import torch
from torch import Tensor

N_SYMMETRIES = 8


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


def smooth_gaussian(maps: Tensor, sigma_pixels: float) -> Tensor:
    r"""Smooth periodic maps with a Gaussian of standard deviation \(\sigma\).

    The kernel \(\sum_m \exp[-(x + mN)^2 / 2\sigma^2]\) is sampled on the pixels and normalised, then applied with FFTs
    in float64. A sampled kernel is positive, where one cut at the Nyquist frequency rings: around a bright pixel it
    would make negative densities, which have no logarithm.

    Invariants: the mean of a map is kept, no pixel leaves the range of its map, smoothing by a then b pixels is
    smoothing by sqrt(a^2 + b^2).

    Args:
        maps: shape (..., N, N).
        sigma_pixels: standard deviation [pixels]; 0 returns the maps themselves.

    Returns:
        Smoothed maps, same shape and dtype.
    """
    if sigma_pixels == 0:
        return maps
    n_pixels = maps.shape[-1]
    response = torch.fft.fft(_periodic_gaussian(n_pixels, sigma_pixels, maps.device)).real
    spectrum = torch.fft.rfft2(maps.double()) * response[:, None] * response[: n_pixels // 2 + 1]
    smooth: Tensor = torch.fft.irfft2(spectrum, s=maps.shape[-2:])
    low, high = torch.aminmax(maps.double().flatten(-2), dim=-1)
    return smooth.clamp(low[..., None, None], high[..., None, None]).to(maps.dtype)


def _periodic_gaussian(n_pixels: int, sigma_pixels: float, device: torch.device) -> Tensor:
    n_images = int(8 * sigma_pixels // n_pixels) + 1
    images = n_pixels * torch.arange(-n_images, n_images + 1, device=device, dtype=torch.float64)
    distance = torch.arange(n_pixels, device=device, dtype=torch.float64) + images[:, None]
    kernel: Tensor = torch.exp(-(distance / sigma_pixels).square() / 2).sum(0)
    return kernel / kernel.sum()
