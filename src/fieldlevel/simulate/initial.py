r"""Gaussian initial conditions and second-order Lagrangian displacements.

With q the lattice and D, E the growth factors of `fieldlevel.numerics.cosmology`, particles start at

    x = q + D psi1 + E psi2,        v = dx/dD = psi1 + (dE/dD) psi2,
    psi1 = -grad phi,  laplacian phi = delta_linear(z = 0),
    psi2 = +grad phi2, laplacian phi2 = sum_{i<j} (phi,ii phi,jj - phi,ij^2).

Each Fourier mode draws its own random number (`fieldlevel.numerics.random`), so runs of different resolution with the
same seed share their common modes.

References:
    Bouchet et al. 1995, A&A 296, 575; Crocce, Pueblas & Scoccimarro 2006, MNRAS 373, 369.
"""

from itertools import combinations_with_replacement

import numpy as np
import torch
from torch import Tensor

from fieldlevel.numerics.cosmology import Cosmology, linear_power
from fieldlevel.numerics.mesh import fourier, inverse_fourier, inverse_laplacian_kernel, squared_wavenumber, wavenumbers
from fieldlevel.numerics.random import complex_normal

_INITIAL_STREAM = 0


def gaussian_modes(n_mesh: int, seed: int, device: torch.device) -> Tensor:
    """Hermitian white noise in Fourier space, <|w_k|^2> = 1, the same for a mode at every resolution.

    Args:
        n_mesh: modes a side, even.
        seed: the simulation's seed.
        device: where the modes live.

    Returns:
        complex64 (n, n, n//2 + 1), with the mean and the Nyquist planes zero.
    """
    full = torch.fft.fftfreq(n_mesh, 1 / n_mesh, device=device).to(torch.int64)
    half = torch.arange(n_mesh // 2 + 1, device=device)
    kx, ky, kz = torch.meshgrid(full, full, half, indexing="ij")
    mirrored = (kz == 0) & ((ky < 0) | ((ky == 0) & (kx < 0)))
    sign = 1 - 2 * mirrored.to(torch.int64)
    side, offset = 1 << 13, 1 << 12
    counter = ((sign * kx + offset) * side + sign * ky + offset) * side + kz
    modes = complex_normal(counter, seed, _INITIAL_STREAM)
    modes = torch.where(mirrored, modes.conj(), modes)
    nyquist = n_mesh // 2
    kept = (kx.abs() < nyquist) & (ky.abs() < nyquist) & (kz < nyquist) & (kx.abs() + ky.abs() + kz > 0)
    return torch.where(kept, modes, 0).to(torch.complex64)


def linear_density(cosmology: Cosmology, seed: int, n_mesh: int, box_size_mpc_h: float, device: torch.device) -> Tensor:
    """Fourier modes of the linear overdensity at z = 0, in the convention of `torch.fft.rfftn`.

    Args:
        cosmology: Omega_m and sigma_8.
        seed: the simulation's seed.
        n_mesh: modes a side, even.
        box_size_mpc_h: side of the periodic box in Mpc/h.
        device: where the modes live.

    Returns:
        complex64 (n, n, n//2 + 1).
    """
    k_h_mpc = squared_wavenumber(n_mesh, device).sqrt() * (n_mesh / box_size_mpc_h)
    power = _power_on_modes(k_h_mpc, cosmology)
    amplitude = n_mesh**3 * (power / box_size_mpc_h**3).sqrt()
    return gaussian_modes(n_mesh, seed, device) * amplitude


def _power_on_modes(k_h_mpc: Tensor, cosmology: Cosmology, n_nodes: int = 4096) -> Tensor:
    """P(k) in (Mpc/h)^3 by linear interpolation of ln P between `n_nodes` values uniform in ln k; zero at k = 0."""
    positive = k_h_mpc[k_h_mpc > 0]
    low, high = np.log(positive.min().item()), np.log(positive.max().item())
    nodes = np.log(linear_power(np.exp(np.linspace(low, high, n_nodes)), cosmology))
    table = torch.tensor(nodes, dtype=torch.float32, device=k_h_mpc.device)
    place = (k_h_mpc.clamp(min=np.exp(low)).log() - low) * ((n_nodes - 1) / (high - low))
    below = place.floor().clamp(0, n_nodes - 2).to(torch.int64)
    power = torch.lerp(table[below], table[below + 1], place - below).exp()
    return torch.where(k_h_mpc > 0, power, 0.0)


def lagrangian_potentials(density_k: Tensor) -> tuple[Tensor, Tensor]:
    """Fourier modes of the potentials phi and phi2 at z = 0, for D = 1 and E = 1.

    Args:
        density_k: modes of the linear overdensity, complex (n, n, n//2 + 1).

    Returns:
        phi and phi2 in lattice cells squared, each of the shape of `density_k`.
    """
    n_mesh = density_k.shape[0]
    kernel = inverse_laplacian_kernel(n_mesh, density_k.device)
    first_k = kernel * density_k
    second_k = kernel * fourier(_second_order_source(first_k, wavenumbers(n_mesh, density_k.device)))
    return first_k, second_k


def lagrangian_displacements(first_k: Tensor, second_k: Tensor, offset: float = 0.0) -> tuple[Tensor, Tensor]:
    """First- and second-order displacements at the points of a lattice.

    Args:
        first_k: modes of phi, see `lagrangian_potentials`.
        second_k: modes of phi2.
        offset: of the lattice along each axis, in cells of the lattice.

    Returns:
        psi1 and psi2 at z = 0, each (n^3, 3) in cells of the lattice, in the order of `lattice`.
    """
    k = wavenumbers(first_k.shape[0], first_k.device)
    moved = torch.exp(1j * offset * (k[0] + k[1] + k[2]))
    return -_spectral_gradient(first_k * moved, k), _spectral_gradient(second_k * moved, k)


def _second_order_source(potential_k: Tensor, k: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    tidal = {(i, j): inverse_fourier(-k[i] * k[j] * potential_k) for i, j in combinations_with_replacement(range(3), 2)}
    return sum(
        (tidal[i, i] * tidal[j, j] - tidal[i, j] ** 2 for i, j in ((0, 1), (0, 2), (1, 2))),
        start=torch.zeros_like(tidal[0, 0]),
    )


def _spectral_gradient(field_k: Tensor, k: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    components = [inverse_fourier(1j * component * field_k) for component in k]
    return torch.stack(components, dim=-1).view(-1, 3)


def lattice(n_particles: int, device: torch.device, offset: float = 0.0) -> Tensor:
    """Lattice points (n^3, 3) in lattice cells: offset + 0, 1, ..., n - 1 along each axis, the last axis fastest."""
    axis = torch.arange(n_particles, dtype=torch.float32, device=device) + offset
    return torch.cartesian_prod(axis, axis, axis)
