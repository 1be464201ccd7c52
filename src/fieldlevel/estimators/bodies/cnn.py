r"""The convolutional moment network of the CAMELS Multifield Dataset ("o3_err"), for any periodic 2^p x 2^p map.

Each block holds two 3 x 3 convolutions and a 2 x 2 convolution of stride 2, so it halves the map and doubles the
channels; after p - 2 blocks a 4 x 4 convolution leaves one pixel. Every convolution of unit stride wraps around, as the
maps do: shifting the input by one cell of the last 4 x 4 grid, 2^(p-2) pixels, shifts that grid by one cell.

The head of the network has two outputs for each parameter: the posterior mean, and a number of which the posterior
standard deviation is made (`fieldlevel.estimators.moments.STD_FROM`), as its square in the released networks.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360 (the letter), arXiv:2109.10915 (CMD, whose released scripts define
    the layers and their names).
"""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fieldlevel.errors import UserError
from fieldlevel.estimators.estimator import Estimator
from fieldlevel.estimators.fused import compile_features, run_features
from fieldlevel.estimators.moment_head import LEAKY_SLOPE, MomentHead
from fieldlevel.estimators.moments import StdFrom, check_std_from
from fieldlevel.estimators.published_states import PublishedState, read_published
from fieldlevel.estimators.sizes import probability, whole_number


class ConvolutionalBody(nn.Sequential):
    """The layers up to the single pixel; called, PyTorch's modules one after the other.

    Under bfloat16 autocast on a GPU the features are computed by fused kernels (`estimators.fused`), past the modules.
    """

    def features_of(self, x: Tensor) -> Tensor:
        """Features (b, C, 1, 1) of normalised maps (b, c, N, N), by the kernels if they serve."""
        return run_features(self, x)

    def compile_kernels(self, x: Tensor) -> None:
        """Compile the kernels that `features_of` and its gradient will take for such maps, if any."""
        compile_features(self, x)

    @property
    def n_features(self) -> int:
        """Channels of the last convolution."""
        return [layer.out_channels for layer in self.children() if isinstance(layer, nn.Conv2d)][-1]


class MomentNetwork(Estimator):
    """Posterior mean and standard deviation of each parameter, from one map.

    Biases before a batch norm are there, as in the released networks, but not trained: the batch norm takes them away.
    Layers are named as in the released state dicts: convolutions `C01 .. C61`, batch norms `B02 .. B61`, linear layers
    `FC1` and `FC2` (for 256 x 256 maps; other sizes have more or fewer blocks).

    Args:
        n_pixels: pixels a side, a power of two of at least 16.
        hidden: width h; blocks have 2h, 4h, 8h, ... channels.
        dropout: dropout probability before both linear layers.
        n_channels: fields stacked in one map.
        n_parameters: parameters to infer.
        std_from: what makes the standard deviations of the last outputs, a name in `moments.STD_FROM`.

    Raises:
        UserError: a size that the network cannot take.

    Example:
        >>> mean, std = MomentNetwork(n_pixels=16, hidden=1, dropout=0.0).eval()(torch.zeros(3, 1, 16, 16))
        >>> mean.shape, bool((std >= 0).all())
        (torch.Size([3, 6]), True)
    """

    features: ConvolutionalBody

    def __init__(
        self,
        n_pixels: int,
        hidden: int,
        dropout: float,
        n_channels: int = 1,
        n_parameters: int = 6,
        std_from: StdFrom = "square",
    ) -> None:
        n_pixels, hidden = whole_number("n_pixels", n_pixels), whole_number("hidden", hidden)
        n_channels, n_parameters = whole_number("n_channels", n_channels), whole_number("n_parameters", n_parameters)
        dropout = probability("dropout", dropout)
        _check_pixels(n_pixels)
        check_std_from(std_from)
        body = _layers(n_pixels, hidden, n_channels)
        head = MomentHead(body.n_features, n_parameters, dropout, std_from)
        super().__init__(body, head, (n_channels, n_pixels, n_pixels), n_parameters)
        self.n_pixels = n_pixels
        self.hidden = hidden
        self.dropout = dropout
        self.n_channels = n_channels
        self.n_parameters = n_parameters
        self.std_from = std_from
        self.apply(_initialise)

    @property
    def sizes(self) -> dict[str, int | float | str]:
        """Arguments that make a network of the same layers."""
        return {
            "n_pixels": self.n_pixels,
            "hidden": self.hidden,
            "dropout": self.dropout,
            "n_channels": self.n_channels,
            "n_parameters": self.n_parameters,
            "std_from": self.std_from,
        }

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Infer the moments of the posterior.

        Args:
            x: normalised maps, shape (b, c, N, N).

        Returns:
            Mean and standard deviation in the units of the targets, each of shape (b, P).

        Raises:
            UserError: maps of another shape.
        """
        moments: tuple[Tensor, Tensor] = super().forward(x)
        return moments


def convolutional_body(n_pixels: int, hidden: int, n_channels: int = 1) -> ConvolutionalBody:
    """A new body with random weights, for any head; arguments as for `MomentNetwork`.

    Raises:
        UserError: a size that it cannot take.
    """
    n_pixels, hidden = whole_number("n_pixels", n_pixels), whole_number("hidden", hidden)
    _check_pixels(n_pixels)
    body = _layers(n_pixels, hidden, whole_number("n_channels", n_channels))
    body.apply(_initialise)
    return body


class PeriodicConv2d(nn.Conv2d):
    """3 x 3 convolution of a map that wraps around; `padding_mode="circular"` at half its cost.

    PyTorch pads by copies into slices, and its backward pass clones the gradient once for each of them.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve maps, (b, c, N, N) to (b, c', N, N)."""
        return super().forward(_Wrap.apply(x))  # type: ignore[no-untyped-call]


class _Wrap(torch.autograd.Function):
    """One row and column of the opposite side around each map, (b, c, N, N) to (b, c, N + 2, N + 2)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        n_maps, channels, rows, columns = x.shape
        size = (n_maps, channels, rows + 2, columns + 2)
        padded = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=_memory_format(x))
        padded[:, :, 1:-1, 1:-1] = x
        padded[:, :, 0, 1:-1], padded[:, :, -1, 1:-1] = x[:, :, -1], x[:, :, 0]
        padded[..., 0], padded[..., -1] = padded[..., -2], padded[..., 1]
        return padded

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        rows = gradient[:, :, 1:-1].clone(memory_format=_memory_format(gradient))
        rows[:, :, -1] += gradient[:, :, 0]
        rows[:, :, 0] += gradient[:, :, -1]
        inner = rows[..., 1:-1]
        inner[..., -1] += rows[..., 0]
        inner[..., 0] += rows[..., -1]
        return inner


def _memory_format(x: Tensor) -> torch.memory_format:
    is_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if is_last else torch.contiguous_format


def load_published_state(network: MomentNetwork, path: Path) -> None:
    """Load the weights of a published CMD network.

    Args:
        network: network of the same sizes, changed in place.
        path: file of a published network (`estimators.published_states`).

    Raises:
        UserError: a file that cannot be read or holds something else; sizes that do not fit, with those that do; a
            network whose standard deviations are not squares.
    """
    if network.std_from != "square":
        told = f"{path}: std_from = {network.std_from}, but the standard deviations of published networks are squares"
        raise UserError(f'{told}; make the network with std_from = "square"')
    published = read_published(path)
    _refuse_other_sizes(network, published, path)
    _fill(network, published)


def restore_published(published: PublishedState, dropout: float) -> MomentNetwork:
    """The network of a published file, in evaluation mode.

    Args:
        published: what the file holds.
        dropout: which it does not tell.
    """
    sizes = (published.n_pixels, published.hidden, dropout, published.n_channels, published.n_outputs // 2)
    network = MomentNetwork(*sizes, std_from="square").eval()
    _fill(network, published)
    return network


def _refuse_other_sizes(network: MomentNetwork, published: PublishedState, path: Path) -> None:
    theirs = {name: getattr(published, name) for name in ("hidden", "n_pixels", "n_channels", "n_outputs")}
    ours = {name: network.sizes[name] for name in list(theirs)[:3]} | {"n_outputs": 2 * network.n_parameters}
    if wrong := next((name for name in theirs if theirs[name] != ours[name]), None):
        told = f"{path}: a network of {wrong} = {theirs[wrong]}, which does not fit one of {wrong} = {ours[wrong]}"
        raise UserError(f"{told}; make the network with {wrong} = {theirs[wrong]}")


def _fill(network: MomentNetwork, published: PublishedState) -> None:
    counters = {name: value for name, value in network.state_dict().items() if name.endswith("num_batches_tracked")}
    network.load_state_dict(counters | dict(published.tensors))


def _check_pixels(n_pixels: int) -> None:
    if n_pixels < 16 or n_pixels & (n_pixels - 1):
        raise UserError(f"n_pixels = {n_pixels}: the network takes maps of 16, 32, 64, 128, 256, ... pixels a side")


def _layers(n_pixels: int, hidden: int, n_channels: int) -> ConvolutionalBody:
    n_blocks = n_pixels.bit_length() - 3
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    width = n_channels
    for block in range(n_blocks):
        wider = 2 * hidden << block
        layers |= _layer(f"{block}1", PeriodicConv2d(width, wider), norm=block > 0)
        layers |= _layer(f"{block}2", PeriodicConv2d(wider, wider))
        layers |= _layer(f"{block}3", nn.Conv2d(wider, wider, 2, stride=2))
        width = wider
    layers |= _layer(f"{n_blocks}1", nn.Conv2d(width, 2 * width, 4))
    return ConvolutionalBody(layers)


def _layer(number: str, convolution: nn.Conv2d, norm: bool = True) -> OrderedDict[str, nn.Module]:
    """A batch norm takes the bias before it away again: its gradient is rounding error, of which AdamW makes steps."""
    layer: OrderedDict[str, nn.Module] = OrderedDict({f"C{number}": convolution})
    if norm:
        convolution.get_parameter("bias").requires_grad_(False)
        layer[f"B{number}"] = nn.BatchNorm2d(convolution.out_channels)
    layer[f"A{number}"] = nn.LeakyReLU(LEAKY_SLOPE)
    return layer


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear) and not module.weight.is_meta:  # PyTorch takes seconds to do nothing
        nn.init.kaiming_normal_(module.weight)
