import pytest
import torch
from torch import Tensor, nn

from fieldlevel.errors import UserError
from fieldlevel.estimators.bodies.cnn import MomentNetwork, PeriodicConv2d, load_published_state
from fieldlevel.estimators.fused import are_plain
from fieldlevel.estimators.moments import STD_FROM, moment_loss

# Sums of a few hundred float64 products in another order.
ROUND_OFF = 1e-11


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def random_maps(n_maps: int, n_pixels: int, n_channels: int = 1) -> Tensor:
    return torch.randn(n_maps, n_channels, n_pixels, n_pixels, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("hidden", "published"), [(6, 8_466_876), (7, 11_521_592), (8, 15_045_900), (10, 23_503_292), (12, 33_839_052)]
)
def test_parameters_are_those_of_the_published_networks_less_their_unused_batch_norm(hidden, published):
    with torch.device("meta"):
        network = MomentNetwork(256, hidden, dropout=0.2)
    assert sum(parameter.numel() for parameter in network.parameters()) == published - 4 * hidden


def test_layers_have_the_published_names():
    with torch.device("meta"):
        names = {name.split(".")[1] for name in MomentNetwork(256, hidden=6, dropout=0.2).state_dict()}
    convolutions = {f"C{block}{number}" for block in range(6) for number in (1, 2, 3)} | {"C61"}
    assert names == convolutions | {f"B{name[1:]}" for name in convolutions - {"C01"}} | {"FC1", "FC2"}


@pytest.mark.parametrize(("n_pixels", "n_channels", "n_parameters"), [(16, 1, 6), (32, 3, 6), (64, 1, 2)])
def test_any_power_of_two_gives_moments(n_pixels, n_channels, n_parameters):
    network = MomentNetwork(n_pixels, 1, 0.0, n_channels, n_parameters)
    mean, std = network(random_maps(3, n_pixels, n_channels))
    assert mean.shape == std.shape == (3, n_parameters)
    assert (std >= 0).all()


def test_std_is_the_square_of_the_second_half_of_the_outputs():
    network = MomentNetwork(16, 1, 0.0).eval()
    maps = random_maps(3, 16)
    outputs = nn.Sequential.forward(network.head, network.features(maps).flatten(1))
    mean, std = network(maps)
    assert torch.equal(mean, outputs[:, :6])
    assert torch.equal(std, outputs[:, 6:] ** 2)


@pytest.mark.parametrize("n_pixels", [16, 64])
def test_shift_by_one_cell_of_the_last_grid_shifts_that_grid(n_pixels):
    grid = MomentNetwork(n_pixels, 2, 0.0).double().eval().features[:-3]
    maps = random_maps(2, n_pixels).double()
    before = grid(maps)
    after = grid(maps.roll((n_pixels // 4, -n_pixels // 4), (-2, -1)))
    assert before.shape[-1] == 4
    torch.testing.assert_close(after, before.roll((1, -1), (-2, -1)), rtol=0, atol=ROUND_OFF)


def test_gradient_reaches_every_parameter():
    network = MomentNetwork(16, 2, 0.0).double()
    mean, std = network(random_maps(16, 16).double())
    moment_loss(mean, std, torch.rand(16, 6, dtype=torch.float64)).backward()
    absorbed = {f"features.{name.replace('B', 'C')}.bias" for name in dict(network.features.named_children())}
    absorbed -= {"features.C01.bias"}
    for name, parameter in network.named_parameters():
        assert parameter.requires_grad == (name not in absorbed)
        assert parameter.grad is None if name in absorbed else parameter.grad.abs().max() > 0


def test_weights_start_kaiming_normal_and_batch_norms_as_identity():
    network = MomentNetwork(32, 8, 0.0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and module.weight.numel() > 5000:
            fan_in = module.weight[0].numel()
            assert module.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()


def test_head_keeps_its_precision_under_autocast():
    network = MomentNetwork(16, 2, 0.0).eval()
    with torch.autocast("cpu", torch.bfloat16):
        mean, std = network(random_maps(4, 16))
    assert mean.dtype == std.dtype == torch.float32
    assert not torch.equal(mean, mean.bfloat16().float())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"n_pixels": 8}, "n_pixels = 8"),
        ({"n_pixels": 48}, "n_pixels = 48"),
        ({"n_pixels": -16}, "n_pixels = -16"),
        ({"hidden": 0}, "hidden = 0"),
        ({"n_channels": 0}, "n_channels = 0"),
        ({"n_parameters": 0}, "n_parameters = 0"),
        ({"dropout": 1.0}, "dropout = 1.0"),
        ({"dropout": float("nan")}, "dropout = nan"),
        ({"std_from": "cube"}, "std_from = cube: allowed are square and softplus"),
    ],
)
def test_impossible_sizes_are_refused_by_name(arguments, named):
    with pytest.raises(UserError, match=named):
        MomentNetwork(**{"n_pixels": 16, "hidden": 1, "dropout": 0.0} | arguments)


def test_a_square_vanishes_where_the_output_changes_sign_and_softplus_does_not():
    crossing = torch.arange(-30, 31) / 10
    assert STD_FROM["square"](crossing).min() == 0
    positive = STD_FROM["softplus"](crossing)
    assert positive.min() > 0.04
    assert (positive.diff() > 0).all()


def test_both_kinds_of_standard_deviation_are_of_the_same_outputs():
    square, softplus = (MomentNetwork(16, 1, 0.0, std_from=name).eval() for name in ("square", "softplus"))
    softplus.load_state_dict(square.state_dict())
    maps = torch.randn(5, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    (mean, root_squared), (same, positive) = square(maps), softplus(maps)
    torch.testing.assert_close(same, mean, rtol=0, atol=0)
    output = positive.expm1().log()
    torch.testing.assert_close(output.square(), root_squared, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 16, 16), (2, 2, 16, 16), (2, 1, 32, 32)])
def test_maps_of_another_shape_are_refused(shape):
    with pytest.raises(UserError, match=r"takes \(n, 1, 16, 16\)"):
        MomentNetwork(16, 1, 0.0)(torch.zeros(shape))


def published_state(network: MomentNetwork) -> dict[str, Tensor]:
    unused = {f"module.B01.{name}": torch.zeros(2 * network.hidden) for name in ("weight", "bias", "running_mean")}
    return {f"module.{name.split('.', 1)[1]}": value for name, value in network.state_dict().items()} | unused


def test_published_state_is_loaded_without_its_unused_batch_norm(tmp_path):
    published, ours = (MomentNetwork(16, 2, 0.0).eval() for _ in range(2))
    torch.save(published_state(published), tmp_path / "weights.pt")
    load_published_state(ours, tmp_path / "weights.pt")
    maps = random_maps(3, 16)
    assert torch.equal(ours(maps)[0], published(maps)[0])


def test_published_state_of_another_width_or_no_file_is_refused(tmp_path):
    path = tmp_path / "weights.pt"
    with pytest.raises(UserError, match=r"weights\.pt"):
        load_published_state(MomentNetwork(16, 1, 0.0), path)
    torch.save(published_state(MomentNetwork(16, 2, 0.0)), path)
    with pytest.raises(UserError, match="hidden = 1"):
        load_published_state(MomentNetwork(16, 1, 0.0), path)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_periodic_convolution_is_pytorchs_circular_one(memory_format):
    """Values and gradients of input, weight and bias, also for the smallest maps; the memory format is kept."""
    for n_pixels in (2, 8):
        ours = PeriodicConv2d(3, 5).to(memory_format=memory_format)
        theirs = torch.nn.Conv2d(3, 5, 3, padding=1, padding_mode="circular").to(memory_format=memory_format)
        theirs.load_state_dict(ours.state_dict())
        x = torch.randn(2, 3, n_pixels, n_pixels, generator=torch.Generator().manual_seed(1))
        answers = []
        for convolution in (ours, theirs):
            given = x.to(memory_format=memory_format).requires_grad_()
            result = convolution(given)
            result.square().sum().backward()
            answers.append([result, given.grad, convolution.weight.grad, convolution.bias.grad])
        for one, other in zip(*answers, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
        if n_pixels == 8:
            assert answers[0][0].is_contiguous(memory_format=memory_format)


def listen(features: nn.Sequential) -> None:
    features.A02.register_forward_hook(lambda module, inputs, output: None)


def listen_backwards(features: nn.Sequential) -> None:
    features.C02.register_full_backward_hook(lambda module, inputs, outputs: None)


def hold_a_batch_norm(features: nn.Sequential) -> None:
    features.B03.eval()


def average_for_ever(features: nn.Sequential) -> None:
    features.B02.momentum = None


def forget_statistics(features: nn.Sequential) -> None:
    features.B02 = nn.BatchNorm2d(2, track_running_stats=False)


class OwnBatchNorm(nn.BatchNorm2d):
    pass


def subclass_a_batch_norm(features: nn.Sequential) -> None:
    features.B02 = OwnBatchNorm(2)


@pytest.mark.parametrize(
    "change",
    [listen, listen_backwards, hold_a_batch_norm, average_for_ever, forget_statistics, subclass_a_batch_norm],
)
def test_changed_modules_are_not_replaced_by_kernels(change):
    features = MomentNetwork(16, hidden=1, dropout=0.0).features
    assert are_plain(features)
    assert are_plain(features.eval())
    change(features.train())
    assert not are_plain(features)


def test_batch_norms_of_several_processes_are_known_to_the_kernels():
    network = MomentNetwork(16, hidden=1, dropout=0.0)
    assert are_plain(nn.SyncBatchNorm.convert_sync_batchnorm(network).features)
