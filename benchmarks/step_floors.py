r"""The shortest time that a step of training can take on a device, from what it must compute and what it must move.

For hidden \(h\), \(N\) pixels a side and \(b\) maps:

* Arithmetic. The forward pass takes \(f + r\) multiply-adds for a map, \(f = 18 h N^2\) of them in the first layer and
  \(r = h^2 N^2 (58 \log_2 N - 132 + 1/8) + 3 h N\) in the others. Gradients of weights take as many again, gradients of
  inputs as well, but for the maps: \(b (2 f + 3 r)\) in all, two operations each, at the rate of a large bfloat16
  matrix product measured in the same run.
* Bytes. The layers make \(y = 9 h N (N - 4) + 3 h N / 4 + 12\) numbers of a map, \(y_1 = 2 h N^2\) of them the first.
  With \(m\) passes through them, \(m_1\) through those of the first layer (no batch norm) and \(m_0\) through the maps,
  all bfloat16, and 38 bytes for each of \(P\) parameters (bfloat16 copy written and read twice, gradient written and
  read, float32 weight and both moments of AdamW read and written), a step moves

      2 b (m (y - y_1) + m_1 y_1 + m_0 N^2) + 38 P,

  at the bandwidth of a large copy, both ways counted, measured in the same run. Two algorithms:

  * fused, \(m, m_1, m_0 = 6, 5, 2\): the fewest passes that go layer by layer, store what each convolution leaves and
    know batch norm. Forward: write y; read y, which the next layer normalises and activates as it reads. Backward: read
    y (slope of the activation, input to the next layer's weight gradient), write its gradient g; then, as the sums of
    batch norm over the batch are known, read g, read y, once for both gradients of the layer (the first needs g alone).
  * kernel by kernel, \(m, m_1, m_0 = 14, 10, 4\): every operation by itself, but without copies for padding. Forward:
    convolution writes y, statistics read y, normalisation with activation reads y and writes a, the next layer reads a.
    Backward: g is written, sums read g and y, normalisation with activation reads g and y and writes d, gradients of
    inputs and of weights each read d, that of the next layer's weights reads a (first layer: no statistics, no sums, no
    gradient of inputs). The maps are gathered into a batch first.

An algorithm that does not store every layer, but say computes the first from the map again, may go below.
"""

from dataclasses import dataclass

import torch
from measuring import median_seconds
from released_recipe import ReleasedNetwork


def layer_outputs(hidden: int, n_pixels: int) -> tuple[int, int]:
    """Numbers that the first layer and the others make of one map."""
    first = 2 * hidden * n_pixels**2
    return first, 9 * hidden * n_pixels * (n_pixels - 4) + 3 * hidden * n_pixels // 4 + 12 - first


def layer_products(hidden: int, n_pixels: int) -> tuple[int, int]:
    """Multiply-adds of the first layer and of the others for one map, forward."""
    n_doublings = n_pixels.bit_length() - 1
    square = (hidden * n_pixels) ** 2
    return 18 * hidden * n_pixels**2, square * (58 * n_doublings - 132) + square // 8 + 3 * hidden * n_pixels


@dataclass(frozen=True)
class Passes:
    """How often a step goes through the outputs of a layer, through those of the first one and through the maps."""

    layer: int
    first: int
    maps: int


FUSED = Passes(layer=6, first=5, maps=2)
KERNELS = Passes(layer=14, first=10, maps=4)

BYTES_OF_PARAMETER = 3 * 2 + 8 * 4


def step_bytes(hidden: int, n_pixels: int, batch: int, passes: Passes) -> int:
    """Bytes that a step of training moves."""
    first, others = layer_outputs(hidden, n_pixels)
    of_map = passes.layer * others + passes.first * first + passes.maps * n_pixels**2
    with torch.device("meta"):
        n_parameters = sum(each.numel() for each in ReleasedNetwork(n_pixels, hidden, 0.0).parameters())
    return 2 * batch * of_map + BYTES_OF_PARAMETER * n_parameters


def step_operations(hidden: int, n_pixels: int, batch: int) -> int:
    """Additions and multiplications of a step of training."""
    first, others = layer_products(hidden, n_pixels)
    return 2 * batch * (2 * first + 3 * others)


@dataclass(frozen=True)
class Rates:
    """What the device does at best.

    Attributes:
        copy: bytes read and written by a large copy [1/s].
        product: additions and multiplications of a large bfloat16 matrix product [1/s].
    """

    copy: float
    product: float


@dataclass(frozen=True)
class Floors:
    """Shortest times of a step [ms]."""

    fused: float
    kernels: float
    arithmetic: float


def floors(hidden: int, n_pixels: int, batch: int, rates: Rates) -> Floors:
    """Shortest times of a step at the rates of the device."""
    sizes = (hidden, n_pixels, batch)
    return Floors(
        fused=1e3 * step_bytes(*sizes, FUSED) / rates.copy,
        kernels=1e3 * step_bytes(*sizes, KERNELS) / rates.copy,
        arithmetic=1e3 * step_operations(*sizes) / rates.product,
    )


def measure_rates(device: torch.device) -> Rates:
    """Copy 2 GiB and multiply matrices of 8192 rows; less on a CPU."""
    n_bytes, rows = (2**31, 8192) if device.type == "cuda" else (2**26, 256)
    source = torch.zeros(n_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy_seconds = median_seconds(lambda: target.copy_(source), device, n_calls=10)
    left, right = torch.randn(2, rows, rows, device=device).bfloat16()
    product_seconds = median_seconds(lambda: left @ right, device, n_calls=10)
    return Rates(copy=2 * n_bytes / copy_seconds, product=2 * rows**3 / product_seconds)
