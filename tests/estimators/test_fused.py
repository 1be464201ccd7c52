"""The fused blocks against the modules in double precision, and against themselves.

They run on a CUDA device, or slowly in Triton's interpreter: TRITON_INTERPRET=1 pytest -m gpu.
"""

import os
import weakref
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from fieldlevel.errors import UserError
from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.estimators.fused import can_fuse
from fieldlevel.estimators.fused.layers import GRADIENT, PLAIN, Source, first_layers, remaining_blocks
from fieldlevel.estimators.fused.tiles import Tiles

pytest.importorskip("triton")
from fieldlevel.estimators.fused import stack
from fieldlevel.estimators.fused.convolutions import STATISTICS, convolve, correlate
from fieldlevel.estimators.fused.norms import batch_coefficients
from fieldlevel.estimators.fused.stack import compile_blocks, fused_blocks

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.usefixtures("no_tf32"),
    pytest.mark.skipif(
        DEVICE == "cpu" and "TRITON_INTERPRET" not in os.environ, reason="needs CUDA or the interpreter"
    ),
]

ROUND_OFF = 1e-5  # float32 sums, relative to the largest value
A_LITTLE = 0.02  # a few roundings to 8 bits, relative 2-norm


@pytest.fixture(params=[1 << 20, 16, 0], ids=["ours", "both", "cudnn"])
def engine(request, monkeypatch) -> None:
    """Whose convolutions the blocks run with, after the first layer: ours up to so many channels."""
    monkeypatch.setattr(stack, "WIDEST", request.param)


def network_of(n_pixels: int, hidden: int) -> MomentNetwork:
    """A network whose biases and batch norms are not at their trivial start."""
    torch.manual_seed(0)
    network = MomentNetwork(n_pixels, hidden, dropout=0.0)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.3)
        elif parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.5, 1.5)
    for name, buffer in network.named_buffers():
        if "running" in name:
            nn.init.uniform_(buffer, 0.5, 1.5)
    return network.to(DEVICE)


def maps_of(n_maps: int, n_pixels: int) -> Tensor:
    return torch.randn(n_maps, 1, n_pixels, n_pixels, generator=torch.Generator().manual_seed(1)).to(DEVICE)


def weights_like(a: Tensor) -> Tensor:
    return torch.randn(a.shape, generator=torch.Generator().manual_seed(2)).to(a)


def trained(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def first_modules(network: MomentNetwork, n_blocks: int) -> nn.Sequential:
    return network.features[: len(network.features) - len(remaining_blocks(network.features, n_blocks))]


def assert_near(ours: Tensor, expected: Tensor, tolerance: float = ROUND_OFF, scale: float = 0.0) -> None:
    largest = max(expected.abs().max().item(), scale)
    torch.testing.assert_close(ours.double(), expected.double(), rtol=0, atol=tolerance * largest)


def distance(ours: Tensor, exact: Tensor) -> float:
    """Relative 2-norm of the difference; what is round-off about zero counts as zero."""
    return ((ours.double() - exact.double()).norm() / exact.double().norm().clamp(min=1e-6)).item()


def assert_same_gradients(ours: nn.Module, theirs: nn.Module, tolerance: float = 10 * ROUND_OFF) -> None:
    for (name, parameter), reference in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert (parameter.grad is None) == (reference.grad is None) == (not parameter.requires_grad), name
        if parameter.grad is None:
            continue
        assert parameter.grad.dtype == torch.float32
        assert_near(parameter.grad, reference.grad, tolerance, scale=0.1)


@pytest.mark.parametrize(
    ("n_maps", "n_pixels", "hidden", "n_blocks"),
    [(2, 16, 8, 1), (3, 16, 3, 3), (3, 16, 5, 3), (2, 32, 1, 2), (3, 32, 1, 4), (5, 16, 12, 1)],
)
@pytest.mark.usefixtures("engine")
def test_training_equals_the_modules(n_maps, n_pixels, hidden, n_blocks):
    """Outputs, gradients of all parameters and running statistics, also of channels that fill no block."""
    network, maps = network_of(n_pixels, hidden), maps_of(n_maps, n_pixels)
    reference = deepcopy(network).double()
    ours, theirs = first_modules(network, n_blocks), first_modules(reference, n_blocks)
    a, expected = fused_blocks(network.features, maps, n_blocks), theirs(maps.double())
    assert a.dtype == torch.float32
    assert a.is_contiguous(memory_format=torch.channels_last)
    assert_near(a, expected)
    (a * weights_like(a)).sum().backward()
    (expected * weights_like(a)).sum().backward()
    assert_same_gradients(ours, theirs)
    for buffer, other in zip(ours.buffers(), theirs.buffers(), strict=True):
        assert_near(buffer, other)


def test_bias_before_a_batch_norm_has_no_gradient():
    network = network_of(16, 2)
    fused_blocks(network.features, maps_of(2, 16), 1).square().sum().backward()
    assert network.features.C02.bias.grad is None
    assert network.features.C01.bias.grad.all()


@pytest.mark.parametrize("hidden", [2, 3])
@pytest.mark.usefixtures("engine")
def test_evaluation_uses_and_keeps_the_running_statistics(hidden):
    network, maps = network_of(16, hidden).eval(), maps_of(3, 16)
    before = deepcopy(dict(network.named_buffers()))
    a = fused_blocks(network.features, maps, 3)
    assert not a.requires_grad
    assert_near(a, deepcopy(network.features).double()(maps.double()))
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.usefixtures("engine")
def test_compiling_leaves_the_network_as_it_is(is_training):
    network = network_of(16, 3).train(is_training)
    before = deepcopy(network.state_dict())
    compile_blocks(network.features, maps_of(3, 16), 3)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.usefixtures("engine")
def test_shifted_maps_give_shifted_outputs(is_training):
    network, maps = network_of(32, 2).train(is_training), maps_of(2, 32)
    a = fused_blocks(network.features, maps, 2)
    shifted = fused_blocks(network.features, maps.roll((4, -8), (-2, -1)), 2)
    assert_near(shifted, a.roll((1, -2), (-2, -1)))


@pytest.mark.usefixtures("engine")
def test_repeats_to_the_bit():
    runs = []
    for _ in range(2):
        network = network_of(16, 3)
        a = fused_blocks(network.features, maps_of(3, 16), 3)
        a.square().sum().backward()
        runs.append([a, *(parameter.grad for parameter in trained(network.features)), *network.features.buffers()])
    assert all(torch.equal(one, other) for one, other in zip(*runs, strict=True))


@pytest.mark.usefixtures("bfloat16_products", "engine")
def test_bfloat16_is_as_good_as_that_of_the_modules():
    """Both errors are about the exact gradients; the interpreter truncates where a GPU rounds, hence twice."""
    network, maps = network_of(16, 8), maps_of(4, 16)
    rounded, exact = deepcopy(network), deepcopy(network).double()
    with torch.autocast(DEVICE, torch.bfloat16):
        a, theirs = fused_blocks(network.features, maps, 1), first_modules(rounded, 1)(maps)
    expected = first_modules(exact, 1)(maps.double())
    for output in (a, theirs, expected):
        (output.double() * weights_like(expected)).sum().backward()
    assert a.dtype == torch.bfloat16
    assert distance(a, expected) < 2 * distance(theirs, expected) + A_LITTLE
    modules = (trained(first_modules(each, 1)) for each in (network, rounded, exact))
    for ours, other, best in zip(*modules, strict=True):
        assert ours.grad.dtype == torch.float32
        assert distance(ours.grad, best.grad) < 2 * distance(other.grad, best.grad) + A_LITTLE
    for buffer, best in zip(first_modules(network, 1).buffers(), first_modules(exact, 1).buffers(), strict=True):
        assert distance(buffer, best) < A_LITTLE


def test_gradient_flows_through_the_rest_of_the_network():
    network, maps = network_of(16, 1), maps_of(3, 16)
    reference = deepcopy(network).double()
    features = remaining_blocks(network.features, 1)(fused_blocks(network.features, maps, 1)).flatten(1)
    outputs = nn.Sequential.forward(network.head, features)
    (outputs * weights_like(outputs)).sum().backward()
    expected = nn.Sequential.forward(reference.head, reference.features(maps.double()).flatten(1))
    (expected * weights_like(expected)).sum().backward()
    assert_same_gradients(network, reference, 100 * ROUND_OFF)


def test_steps_of_training_follow_the_modules():
    network, maps = network_of(16, 2), maps_of(4, 16)
    reference = deepcopy(network).double()
    ours, theirs = (torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9) for module in (network, reference))
    for _ in range(4):
        ours.zero_grad()
        remaining_blocks(network.features, 1)(fused_blocks(network.features, maps, 1)).square().mean().backward()
        ours.step()
        theirs.zero_grad()
        reference.features(maps.double()).square().mean().backward()
        theirs.step()
    for value, other in zip(network.features.parameters(), reference.features.parameters(), strict=True):
        assert_near(value, other, 100 * ROUND_OFF)


def test_a_second_backward_pass_adds_to_the_gradients():
    network, maps = network_of(16, 1), maps_of(2, 16)
    for _ in range(2):
        fused_blocks(network.features, maps, 1).sum().backward()
    twice = [parameter.grad.clone() for parameter in trained(first_modules(network, 1))]
    network.zero_grad()
    fused_blocks(network.features, maps, 1).sum().backward()
    for parameter, double in zip(trained(first_modules(network, 1)), twice, strict=True):
        assert torch.equal(2 * parameter.grad, double)


def test_weights_changed_before_the_backward_pass_are_noticed():
    network = network_of(16, 1)
    a = fused_blocks(network.features, maps_of(2, 16), 1)
    with torch.no_grad():
        network.features.C02.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        a.sum().backward()


def test_maps_that_are_not_contiguous():
    network, maps = network_of(16, 2).eval(), maps_of(4, 16)
    expected = fused_blocks(network.features, maps[::2].transpose(2, 3).contiguous(), 1)
    assert torch.equal(fused_blocks(network.features, maps[::2].transpose(2, 3), 1), expected)


OTHER_TILES = [
    Tiles((1, 1), (1, 1), channels=16, columns=16, block=64, width=4, depth=3, n_stages=1),
    Tiles((2, 2), (4, 4), channels=16, columns=64, block=16, width=2, n_stages=1),
    Tiles((2, 2), (1, 4), channels=16, columns=32, block=64, width=8, depth=2),
    Tiles((1, 2), (1, 4), channels=32, columns=64, block=64, n_stages=2),
    Tiles((1, 1), (1, 2), channels=32, columns=16, block=64, width=16, depth=2),
    Tiles((2, 1), (2, 1), channels=32, columns=32, block=16, width=1),
]


@pytest.mark.parametrize("tiles", OTHER_TILES)
@pytest.mark.parametrize(("kind", "padding", "stride", "side"), [("wrap", 1, 1, 3), ("halve", 0, 2, 2)])
def test_tiles_change_nothing(tiles, kind, padding, stride, side):
    """Convolution and gradient of its weights, of 20 channels to 24, by PyTorch."""
    maps, weight = torch.randn(3, 20, 8, 8, device=DEVICE), torch.randn(24, 20, side, side, device=DEVICE)
    padded = functional.pad(maps.double(), (padding,) * 4, mode="circular")
    exact = weight.double().requires_grad_()
    expected = functional.conv2d(padded, exact, stride=stride)
    source = Source(maps.permute(0, 2, 3, 1).contiguous())
    y, sums = convolve(source, weight, kind, tiles, torch.float32, STATISTICS)
    assert_near(y.permute(0, 3, 1, 2), expected)
    totals = sums.sum((0, 2))[:, :24]
    assert_near(totals, torch.stack([expected.sum((0, 2, 3)), expected.square().sum((0, 2, 3))]))
    g = weights_like(expected)
    expected.backward(g)
    gradient = Source(g.float().permute(0, 2, 3, 1).contiguous())
    dweight, read_again = correlate(source, gradient, weight.shape, kind, tiles, torch.float32)
    assert_near(dweight, exact.grad)
    assert read_again is gradient


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("tiles", "n_maps"), [(tiles, 3) for tiles in OTHER_TILES] + [(OTHER_TILES[2], 4)])
@pytest.mark.usefixtures("bfloat16_products")
def test_stored_gradient_is_the_one_that_was_read(tiles, n_maps, dtype):
    """A g + B y + C at every pixel, with the same gradient of the weights; 20 and 16 channels, of full tiles or not."""
    for n_out in (20, 16):
        source = Source(torch.randn(n_maps, 8, 8, 16, device=DEVICE).to(dtype))
        g, y = torch.randn(2, n_maps, 8, 8, n_out, device=DEVICE).to(dtype)
        A_B_C = torch.randn(3, n_out, device=DEVICE)
        read = source, Source(g, GRADIENT, A_B_C, y), torch.Size((n_out, 16, 3, 3)), "wrap", tiles, dtype
        (dweight, stored), (expected, received) = correlate(*read, is_stored=True), correlate(*read)
        assert (stored.mode, received.mode) == (PLAIN, GRADIENT)
        assert stored.tensor.dtype == dtype
        dy = A_B_C[0] * g.double() + A_B_C[1] * y.double() + A_B_C[2]
        assert_near(stored.tensor, dy, ROUND_OFF if dtype == torch.float32 else torch.finfo(dtype).eps)
        assert torch.equal(dweight, expected)


@pytest.mark.parametrize(("widest", "wide"), [(1 << 20, [64]), (16, [32, 32, 32, 64]), (0, [16, 16, 32, 32, 32, 64])])
def test_cudnn_convolves_many_channels_and_the_last(widest, wide, monkeypatch):
    """Output channels of the layers that it is given; the first layer is never one of them."""
    given = []

    def convolve_wide(source, weight, *others):
        given.append(len(weight))
        return original(source, weight, *others)

    original = stack.convolve_wide
    monkeypatch.setattr(stack, "convolve_wide", convolve_wide)
    monkeypatch.setattr(stack, "WIDEST", widest)
    fused_blocks(network_of(16, 8).eval().features, maps_of(1, 16), 3)
    assert given == wide


def test_one_map_has_no_deviation_in_its_last_batch_norm():
    with pytest.raises(UserError, match="one value a channel"):
        fused_blocks(network_of(16, 1).features, maps_of(1, 16), 3)


def test_sums_of_many_programs_are_added_in_float64():
    """One part of 2^25 would swallow the others of 1; of n values y = 3 the variance is 0, whatever the round-off."""
    layer = first_layers(network_of(16, 8).features, 1)[1]
    sums = torch.ones(1001, 2, 1, 16, device=DEVICE)
    sums[0] = 2.0**25
    mean = batch_coefficients(layer, sums, n_values=1000)[2]
    assert_near(mean, torch.full((16,), (2.0**25 + 1000) / 1000, device=DEVICE), 1e-7)
    sums = torch.tensor([300.0, 899.9999], device=DEVICE).view(1, 2, 1, 1).expand(1, 2, 1, 16).contiguous()
    inverse = batch_coefficients(layer, sums, n_values=100)[3]
    assert_near(inverse, torch.full((16,), layer.norm.eps**-0.5, device=DEVICE))


def test_evaluation_keeps_no_output_but_the_last(monkeypatch):
    outputs, alive = weakref.WeakSet(), []
    convolve, fill = stack._convolve_layer, stack.fill_maps

    def recorded(*arguments):
        y, sums = convolve(*arguments)
        outputs.add(y)
        return y, sums

    def counted(*arguments):
        alive.append(len(outputs))
        return fill(*arguments)

    monkeypatch.setattr(stack, "_convolve_layer", recorded)
    monkeypatch.setattr(stack, "fill_maps", counted)
    fused_blocks(network_of(16, 1).eval().features, maps_of(2, 16), 2)
    assert alive == [1]


@pytest.mark.skipif(DEVICE == "cpu", reason="needs CUDA")
def test_outputs_may_be_more_than_2_to_the_31():
    """The first layers of 1,056 maps have 2.2e9 numbers each."""
    if torch.cuda.mem_get_info()[0] < 3e10:
        pytest.skip("needs 30 GB of free memory")
    network, few = network_of(256, hidden=16).eval(), maps_of(8, 256)
    with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
        expected = fused_blocks(network.features, few, 1)
        many = fused_blocks(network.features, few.repeat(132, 1, 1, 1), 1)
    torch.testing.assert_close(many[-8:], expected)
    torch.testing.assert_close(many[:8], expected)


@pytest.mark.parametrize("n_blocks", [0, 4, -1])
def test_blocks_that_are_not_there_are_refused(n_blocks):
    with pytest.raises(UserError, match=f"n_blocks = {n_blocks}: this network has 1 to 3"):
        fused_blocks(network_of(16, 1).features, maps_of(2, 16), n_blocks)


def test_what_can_be_fused():
    network, maps = network_of(16, 1), maps_of(2, 16)
    assert not can_fuse(network.features, maps)
    with torch.autocast(DEVICE, torch.bfloat16):
        assert can_fuse(network.features, maps) == (DEVICE == "cuda")
        assert not can_fuse(network.features, maps.clone().requires_grad_())
        assert not can_fuse(MomentNetwork(16, 1, 0.0, n_channels=2).to(DEVICE).features, maps.expand(-1, 2, -1, -1))
        assert not can_fuse(network_of(16, 1).double().features, maps)
        network.eval()
        assert not can_fuse(network.features, maps)
        with torch.no_grad():
            assert can_fuse(network.features, maps) == (DEVICE == "cuda")


@pytest.mark.skipif(DEVICE == "cpu", reason="CUDA graphs")
@pytest.mark.usefixtures("engine")
def test_a_step_can_be_captured():
    network, maps = network_of(16, 8), maps_of(2, 16)

    def step() -> Tensor:
        with torch.autocast("cuda", torch.bfloat16):
            a = fused_blocks(network.features, maps, 3)
        a.float().square().sum().backward()
        return a

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
        network.zero_grad()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        a = step()
    with torch.cuda.stream(stream):
        maps.copy_(maps_of(2, 16).flip(-1))
        graph.replay()
        captured = a.clone(), network.features.C01.weight.grad.clone()
        network.zero_grad()
        assert torch.equal(captured[0], step())
        assert torch.equal(captured[1], network.features.C01.weight.grad)
