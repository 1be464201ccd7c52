r"""Cloud-in-cell mass assignment and interpolation, gradients and the inverse Laplacian on a periodic mesh.

Lengths are in cells, so a mesh of n cells a side spans [0, n). Cell i has its centre at the coordinate i: a particle at
an integer position gives all its mass to one cell. Assignment and interpolation use the same weights; with an
antisymmetric gradient a set of particles then exerts no force on itself as a whole, and total momentum is conserved to
round-off.

Painting, reading one field, `gradient_at` and `push_particles` hand float32 tensors on a CUDA device to
`fieldlevel.numerics.mesh_triton`, those on a CPU to `fieldlevel.numerics.mesh_numba` where Numba is there, and
everything else, as tensors that record gradients, to PyTorch.

References:
    Hockney & Eastwood 1988, "Computer simulation using particles", chapter 5.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec
from itertools import product
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

_HAS_TRITON = find_spec("triton") is not None
_HAS_NUMBA = find_spec("numba") is not None
_COMPILED = (torch.float32, torch.float64)
_AT_ONCE = {"cpu": 1 << 16, "cuda": 1 << 22}
"""Particles at a time: what the cache of a core holds, what fills a GPU."""


def paint_cic(positions: Tensor, n_mesh: int, mass: float = 1.0) -> Tensor:
    """Spread particles over the eight nearest cells with linear weights.

    The weights are those of trilinear sampling, so painting is the derivative of `read_cic` with respect to the field.

    Args:
        positions: (n, 3) in cells, any real numbers (wrapped).
        n_mesh: cells a side.
        mass: of each particle.

    Returns:
        (n_mesh, n_mesh, n_mesh) mass in each cell; the sum is the total mass.

    Example:
        >>> mesh = paint_cic(torch.tensor([[0.25, 3.0, 1.0]]), 4)
        >>> mesh[0, 3, 1].item(), mesh[1, 3, 1].item()
        (0.75, 0.25)
    """
    return paint_species([positions], n_mesh, [mass])


def paint_species(positions: Sequence[Tensor], n_mesh: int, masses: Sequence[float]) -> Tensor:
    """Paint several kinds of particles onto one mesh.

    Args:
        positions: (n_i, 3) in cells of each kind.
        n_mesh: cells a side.
        masses: mass of a particle of each kind.

    Returns:
        (n_mesh, n_mesh, n_mesh) mass in each cell.
    """
    if is_fused(positions[0]) and n_mesh % 2 == 0:
        from fieldlevel.numerics import mesh_triton  # noqa: PLC0415 (exists where Triton does)

        return mesh_triton.paint_species(positions, n_mesh, masses)
    if is_compiled(*positions):
        from fieldlevel.numerics import mesh_numba  # noqa: PLC0415 (exists where Numba does)

        return mesh_numba.paint_species(positions, n_mesh, masses)
    nodes = positions[0].new_zeros((n_mesh + 1,) * 3)
    for kind, mass in zip(positions, masses, strict=True):
        weight = kind.new_tensor(mass).expand(len(kind))
        nodes += paint_linear(kind.remainder(n_mesh), (n_mesh,) * 3, weight)
    return _unwrap(nodes)


def is_fused(tensor: Tensor) -> bool:
    """Whether there are fused kernels for a tensor: single precision on a CUDA device, with Triton."""
    return tensor.is_cuda and tensor.dtype == torch.float32 and _HAS_TRITON


def is_compiled(*tensors: Tensor) -> bool:
    """Whether there are compiled loops for tensors: on a CPU, with Numba, where no gradients are recorded."""
    return _HAS_NUMBA and all(
        tensor.is_cpu and tensor.dtype in _COMPILED and not tensor.requires_grad for tensor in tensors
    )


def paint_linear(positions: Tensor, size: tuple[int, int, int], mass: Tensor) -> Tensor:
    """Spread particles over a mesh that is not periodic, with one node more than `size` intervals on each axis.

    Args:
        positions: (n, 3), coordinate i within [0, size[i]].
        size: number of intervals on each axis.
        mass: (n,).

    Returns:
        (size[0] + 1, size[1] + 1, size[2] + 1) mass at each node.
    """
    nodes = positions.new_zeros(*(n + 1 for n in size))
    if is_compiled(positions, mass):
        from fieldlevel.numerics import mesh_numba  # noqa: PLC0415

        return mesh_numba.paint_linear(positions, mass, nodes)
    for some, masses in zip(_split(positions), _split(mass), strict=True):
        corner, weights = _linear_weights(some, size)
        index = corner + _node_offsets(size, corner.device)[:, None]
        nodes.view(-1).scatter_add_(0, index.view(-1), (weights * masses).view(-1))
    return nodes


def read_cic(field: Tensor, positions: Tensor) -> Tensor:
    """Interpolate a field linearly to the particles, the transpose of `paint_cic`.

    Args:
        field: (c, n, n, n).
        positions: (p, 3) in cells, any real numbers (wrapped).

    Returns:
        (c, p) values.
    """
    if is_fused(positions) and len(field) == 1:
        from fieldlevel.numerics import mesh_triton  # noqa: PLC0415

        return mesh_triton.read_field(field[0].contiguous(), positions.contiguous())[None]
    if is_compiled(field, positions):
        from fieldlevel.numerics import mesh_numba  # noqa: PLC0415

        return mesh_numba.read_fields(field.permute(1, 2, 3, 0).contiguous(), positions).T
    return _read_nodes(_with_images(field), positions).T


def _with_images(fields: Iterable[Tensor]) -> Tensor:
    """Fields (n, n, n) as the channels of (n + 1, n + 1, n + 1, c) nodes, the last planes images of the first."""
    fields = list(fields)
    n_mesh = len(fields[0])
    nodes = fields[0].new_empty(*(n_mesh + 1,) * 3, len(fields))
    for channel, field in enumerate(fields):
        nodes[:-1, :-1, :-1, channel] = field
    nodes[-1] = nodes[0]
    nodes[:, -1] = nodes[:, 0]
    nodes[:, :, -1] = nodes[:, :, 0]
    return nodes


def _read_nodes(nodes: Tensor, positions: Tensor) -> Tensor:
    """Values (p, c) at the particles of fields on nodes with images (n + 1, n + 1, n + 1, c)."""
    size = (len(nodes) - 1,) * 3
    values = positions.new_empty(len(positions), nodes.shape[-1])
    for some, out in zip(_split(positions), _split(values), strict=True):
        corner, weights = _linear_weights(some.remainder(size[0]), size)
        index = corner[:, None] + _node_offsets(size, corner.device)
        bags = functional.embedding_bag(
            index, nodes.flatten(0, 2), mode="sum", per_sample_weights=weights.T.contiguous()
        )
        out.copy_(bags)
    return values


def _split(tensor: Tensor) -> tuple[Tensor, ...]:
    return torch.split(tensor, _AT_ONCE.get(tensor.device.type, 1 << 22))


def _linear_weights(positions: Tensor, size: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Flat index (p,) of the lowest of the eight nodes around each position, and their weights (8, p)."""
    x = positions.T.contiguous()
    last = x.new_tensor([n - 1 for n in size])[:, None]
    low = x.floor().minimum(last)
    above = x - low
    weight = torch.stack([1 - above, above])
    i, j, k = low.to(torch.int64)
    corner = (i * (size[1] + 1) + j) * (size[2] + 1) + k
    return corner, (weight[:, None, None, 0] * weight[:, None, 1] * weight[:, 2]).view(8, -1)


def _node_offsets(size: tuple[int, int, int], device: torch.device) -> Tensor:
    """Flat index (8,) of a cube of eight nodes, in the order of `_linear_weights`."""
    row, plane = size[2] + 1, (size[1] + 1) * (size[2] + 1)
    return torch.tensor([i * plane + j * row + k for i, j, k in product((0, 1), repeat=3)], device=device)


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


def inverse_fourier(field_k: Tensor, norm: Literal["backward", "forward"] = "backward") -> Tensor:
    """The field (n, n, n), n even, of its real FFT; n^3 times as much with norm "forward", which saves one pass."""
    field: Tensor = torch.fft.irfftn(field_k, s=(field_k.shape[0],) * 3, norm=norm)
    return field


def multiply_modes(modes: Tensor, kernel: Tensor) -> Tensor:
    """Multiply modes (n, n, n//2 + 1), complex, in place by a real kernel of the same shape.

    It is one pass over memory where both lie there in the same order, as those kernels do that this module makes.
    """
    if is_fused(kernel) and modes.stride() == kernel.stride() and _fills_its_memory(modes):
        from fieldlevel.numerics import mesh_triton  # noqa: PLC0415

        mesh_triton.multiply_modes(modes, kernel)
        return modes
    return modes.mul_(kernel)


def _fills_its_memory(tensor: Tensor) -> bool:
    last = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
    return last + 1 == tensor.numel()


@lru_cache(maxsize=8)
def _order_of_modes(n_mesh: int, device: torch.device) -> tuple[int, ...]:
    """Strides that `fourier` gives its modes: cuFFT leaves the axes in another order than they have."""
    return fourier(torch.zeros((n_mesh,) * 3, device=device)).stride()


def _empty_kernel(n_mesh: int, device: torch.device) -> Tensor:
    size = (n_mesh, n_mesh, n_mesh // 2 + 1)
    if device.type != "cuda":
        return torch.empty(size, device=device)
    return torch.empty_strided(size, _order_of_modes(n_mesh, device), device=device)


def wavenumbers(n_mesh: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Components of the wavevector [radians per cell] of a real FFT, each broadcastable to (n, n, n//2 + 1)."""
    full = 2 * torch.pi * torch.fft.fftfreq(n_mesh, device=device)
    half = 2 * torch.pi * torch.fft.rfftfreq(n_mesh, device=device)
    return full[:, None, None], full[None, :, None], half[None, None, :]


def squared_wavenumber(n_mesh: int, device: torch.device) -> Tensor:
    """k^2 [radians^2 per cell^2] of a real FFT, shape (n, n, n//2 + 1)."""
    x, y, z = wavenumbers(n_mesh, device)
    return torch.add(x**2 + y**2, z**2, out=_empty_kernel(n_mesh, device))


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
    return torch.mul(x * y, z, out=_empty_kernel(n_mesh, device))


def smooth_gaussian(field_k: Tensor, sigma: float) -> Tensor:
    """Multiply the real FFT of a field by exp(-k^2 sigma^2 / 2); sigma in cells."""
    window = squared_wavenumber(field_k.shape[0], field_k.device).mul_(-0.5 * sigma**2).exp_()
    return multiply_modes(field_k.clone(), window)


def gradient(field: Tensor) -> Tensor:
    """Fourth-order central differences of a periodic field.

    Args:
        field: (n, n, n).

    Returns:
        (3, n, n, n) derivatives per cell, antisymmetric under reflection to round-off.
    """
    return torch.stack(list(_slopes(field)))


def _slopes(field: Tensor) -> Iterator[Tensor]:
    n_mesh = field.shape[0]
    padded = functional.pad(field[None, None], (2,) * 6, mode="circular")[0, 0]
    for axis in range(3):
        near, far = ([_shifted(padded, axis, step, n_mesh) for step in (distance, -distance)] for distance in (1, 2))
        yield torch.sub(*far).mul_(-1 / 8).add_(near[0]).sub_(near[1]).mul_(2 / 3)


def gradient_at(field: Tensor, positions: Tensor) -> Tensor:
    """Fourth-order gradient of a periodic field, interpolated linearly to the particles.

    Args:
        field: (n, n, n).
        positions: (p, 3) in cells.

    Returns:
        (p, 3) per cell.
    """
    if is_fused(positions):
        from fieldlevel.numerics import mesh_triton  # noqa: PLC0415

        return mesh_triton.gradient_at(field, positions.contiguous())
    if is_compiled(field, positions):
        from fieldlevel.numerics import mesh_numba  # noqa: PLC0415

        return mesh_numba.read_fields(mesh_numba.gradient(field), positions)
    return _read_nodes(_with_images(_slopes(field)), positions)


def push_particles(
    position: Tensor, velocity: Tensor, potential: Tensor, *, keep: float, kick: float, drift: float
) -> None:
    """Kick, then drift, in place: v <- keep v + kick grad potential(x), x <- x + drift v.

    Args:
        position: (p, 3) in cells, contiguous.
        velocity: (p, 3) in cells per unit of time, contiguous.
        potential: (n, n, n).
        keep: factor of the old velocity.
        kick: factor of the gradient.
        drift: time of the drift.
    """
    if is_fused(position):
        from fieldlevel.numerics import mesh_triton  # noqa: PLC0415

        mesh_triton.push_particles(position, velocity, potential, keep=keep, kick=kick, drift=drift)
        return
    if is_compiled(position, velocity, potential):
        from fieldlevel.numerics import mesh_numba  # noqa: PLC0415

        mesh_numba.push_particles(position, velocity, potential, keep=keep, kick=kick, drift=drift)
        return
    velocity.mul_(keep).add_(gradient_at(potential, position), alpha=kick)
    position.add_(velocity, alpha=drift)


def _shifted(padded: Tensor, axis: int, step: int, n_mesh: int) -> Tensor:
    """View of a field padded by two cells, moved by `step` cells along one axis."""
    starts = [2 + step if other == axis else 2 for other in range(3)]
    return padded[tuple(slice(start, start + n_mesh) for start in starts)]
