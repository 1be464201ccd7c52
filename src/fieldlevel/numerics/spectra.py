"""Power spectra of periodic fields, in mesh units."""

import torch
from torch import Tensor

from fieldlevel.numerics.mesh import fourier, squared_wavenumber


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
