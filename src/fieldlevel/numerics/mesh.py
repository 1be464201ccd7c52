r"""Cloud-in-cell mass assignment and interpolation, gradients and the inverse Laplacian on a periodic mesh.

Lengths are in cells, so a mesh of n cells a side spans [0, n). Cell i has its centre at the coordinate i: a particle at
an integer position gives all its mass to one cell. Assignment and interpolation use the same weights; with an
antisymmetric gradient a set of particles then exerts no force on itself as a whole, and total momentum is conserved to
round-off.

References:
    Hockney & Eastwood 1988, "Computer simulation using particles", chapter 5.
"""

import torch
from torch import Tensor
from torch.nn import functional

_LINEAR, _ZEROS = 0, 0


def paint_cic(positions: Tensor, n_mesh: int, mass: Tensor | None = None) -> Tensor:
    """Spread particles over the eight nearest cells with linear weights.

    The weights are those of trilinear sampling, so painting is the derivative of `read_cic` with respect to the field:
    one fused kernel on CPU and CUDA.

    Args:
        positions: (n, 3) in cells, any real numbers (wrapped).
        n_mesh: cells a side.
        mass: (n,) masses; one each when omitted.

    Returns:
        (n_mesh, n_mesh, n_mesh) mass in each cell; the sum is the total mass.

    Example:
        >>> mesh = paint_cic(torch.tensor([[0.25, 3.0, 1.0]]), 4)
        >>> mesh[0, 3, 1].item(), mesh[1, 3, 1].item()
        (0.75, 0.25)
    """
    mass = positions.new_ones(len(positions)) if mass is None else mass
    periodic = (positions.remainder(n_mesh), (n_mesh,) * 3)
    return _unwrap(paint_linear(*periodic, mass=mass))


def paint_linear(positions: Tensor, size: tuple[int, int, int], mass: Tensor) -> Tensor:
    """Spread particles over a mesh that is not periodic, with one node more than `size` intervals on each axis.

    Args:
        positions: (n, 3), coordinate i within [0, size[i]].
        size: number of intervals on each axis.
        mass: (n,).

    Returns:
        (size[0] + 1, size[1] + 1, size[2] + 1) mass at each node.
    """
    nodes = positions.new_zeros(1, 1, *(n + 1 for n in size))
    grid = _sampling_grid(positions, size)
    backward = torch.ops.aten.grid_sampler_3d_backward
    painted: Tensor = backward(mass.view(1, 1, 1, 1, -1), nodes, grid, _LINEAR, _ZEROS, True, (True, False))[0]
    return painted[0, 0]


def read_cic(field: Tensor, positions: Tensor) -> Tensor:
    """Interpolate a field linearly to the particles, the transpose of `paint_cic`.

    Args:
        field: (c, n, n, n).
        positions: (p, 3) in cells, any real numbers (wrapped).

    Returns:
        (c, p) values.
    """
    n_mesh = field.shape[-1]
    wrapped = functional.pad(field[None], (0, 1) * 3, mode="circular")
    grid = _sampling_grid(positions.remainder(n_mesh), (n_mesh,) * 3)
    return functional.grid_sample(wrapped, grid, mode="bilinear", padding_mode="zeros", align_corners=True)[0, :, 0, 0]


def _sampling_grid(positions: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Coordinates in [-1, 1] in the order (z, y, x) that PyTorch's sampling kernels take, shape (1, 1, 1, p, 3)."""
    scale = positions.new_tensor([2 / n for n in size])
    return (positions * scale - 1).flip(1).view(1, 1, 1, -1, 3)


def _unwrap(mesh: Tensor) -> Tensor:
    """Add the last plane of each axis, the periodic image of the first, to the first."""
    for axis in range(3):
        n_mesh = mesh.shape[axis] - 1
        image = mesh.narrow(axis, n_mesh, 1)
        mesh = mesh.narrow(axis, 0, n_mesh)
        mesh.narrow(axis, 0, 1).add_(image)
    return mesh.contiguous()


def nearest_cell(positions: Tensor, n_mesh: int) -> Tensor:
    """Flat index (n,) of the cell whose centre is nearest to each particle; positions (n, 3) in cells."""
    cell = positions.round().to(torch.int64).remainder(n_mesh)
    return (cell[:, 0] * n_mesh + cell[:, 1]) * n_mesh + cell[:, 2]


def fourier(field: Tensor) -> Tensor:
    """Real FFT of a field (n, n, n): complex (n, n, n//2 + 1)."""
    modes: Tensor = torch.fft.rfftn(field)
    return modes


def inverse_fourier(field_k: Tensor) -> Tensor:
    """The field (n, n, n), n even, of its real FFT."""
    field: Tensor = torch.fft.irfftn(field_k, s=(field_k.shape[0],) * 3)
    return field


def wavenumbers(n_mesh: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Components of the wavevector [radians per cell] of a real FFT, each broadcastable to (n, n, n//2 + 1)."""
    full = 2 * torch.pi * torch.fft.fftfreq(n_mesh, device=device)
    half = 2 * torch.pi * torch.fft.rfftfreq(n_mesh, device=device)
    return full[:, None, None], full[None, :, None], half[None, None, :]


def squared_wavenumber(n_mesh: int, device: torch.device) -> Tensor:
    """k^2 [radians^2 per cell^2] of a real FFT, shape (n, n, n//2 + 1)."""
    x, y, z = wavenumbers(n_mesh, device)
    return x**2 + y**2 + z**2


def inverse_laplacian_kernel(n_mesh: int, device: torch.device, deconvolve: bool = False) -> Tensor:
    """-1/k^2 with a zero mean mode, optionally divided once by the cloud-in-cell window.

    Args:
        n_mesh: cells a side.
        device: where the kernel lives.
        deconvolve: undo the smoothing of one assignment: prod_i sinc(k_i / 2)^2.

    Returns:
        (n, n, n//2 + 1) float32.
    """
    k2 = squared_wavenumber(n_mesh, device)
    kernel = torch.where(k2 > 0, -1 / k2.clamp(min=1e-12), 0.0)
    return kernel / cic_window(n_mesh, device) if deconvolve else kernel


def cic_window(n_mesh: int, device: torch.device) -> Tensor:
    """Fourier transform of the cloud-in-cell kernel, prod_i sinc(k_i / 2)^2, shape (n, n, n//2 + 1)."""
    x, y, z = (torch.sinc(k / (2 * torch.pi)) ** 2 for k in wavenumbers(n_mesh, device))
    return x * y * z


def smooth_gaussian(field_k: Tensor, sigma: float) -> Tensor:
    """Multiply the real FFT of a field by exp(-k^2 sigma^2 / 2); sigma in cells."""
    return field_k * torch.exp(-0.5 * sigma**2 * squared_wavenumber(field_k.shape[0], field_k.device))


def gradient(field: Tensor) -> Tensor:
    """Fourth-order central differences of a periodic field.

    Args:
        field: (n, n, n).

    Returns:
        (3, n, n, n) derivatives per cell, antisymmetric under reflection to round-off.
    """
    n_mesh = field.shape[0]
    padded = functional.pad(field[None, None], (2,) * 6, mode="circular")[0, 0]
    slope = field.new_empty(3, *field.shape)
    for axis, out in enumerate(slope):
        near, far = ([_shifted(padded, axis, step, n_mesh) for step in (distance, -distance)] for distance in (1, 2))
        torch.sub(*far, out=out)
        out.mul_(-1 / 8).add_(near[0]).sub_(near[1]).mul_(2 / 3)
    return slope


def _shifted(padded: Tensor, axis: int, step: int, n_mesh: int) -> Tensor:
    """View of a field padded by two cells, moved by `step` cells along one axis."""
    starts = [2 + step if other == axis else 2 for other in range(3)]
    return padded[tuple(slice(start, start + n_mesh) for start in starts)]
