"""Networks in the format of the released CMD scripts, written here from its description, and their import."""

import json
import os
import pickle
import subprocess
import sys
import zipfile
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import fieldlevel
from fieldlevel.cli import main
from fieldlevel.data.normalise import Normaliser
from fieldlevel.data.split import SplitSpec
from fieldlevel.data.suite import split_simulations
from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.errors import DataError, UserError
from fieldlevel.estimators.bodies.cnn import MomentNetwork, load_published_state
from fieldlevel.estimators.published_states import name_format
from fieldlevel.inference.predictor import load
from fieldlevel.inference.published_network import REMARK, import_published
from fieldlevel.layout import CRITICAL_DENSITY, Layout
from fieldlevel.numerics.transforms import smooth_gaussian
from fieldlevel.training.train_spec import TrainSpec

CMD = Layout()

NAME = "weights_IllustrisTNG_Mtot_14_all_steps_500_500_o3.pt"


class ReleasedNetwork(nn.Module):
    """The layers and names of the released "o3_err" network, for any number of halvings; `B01` is unused."""

    def __init__(self, hidden: int, n_blocks: int = 6, channels: int = 1, n_outputs: int = 12) -> None:
        super().__init__()
        self.n_blocks = n_blocks
        width = channels
        for block in range(n_blocks):
            wider = 2 * hidden * 2**block
            circular = {"padding_mode": "circular", "bias": True}
            setattr(self, f"C{block}1", nn.Conv2d(width, wider, 3, stride=1, padding=1, **circular))
            setattr(self, f"C{block}2", nn.Conv2d(wider, wider, 3, stride=1, padding=1, **circular))
            setattr(self, f"C{block}3", nn.Conv2d(wider, wider, 2, stride=2, padding=0, **circular))
            for place in (1, 2, 3):
                setattr(self, f"B{block}{place}", nn.BatchNorm2d(wider))
            width = wider
        setattr(self, f"C{n_blocks}1", nn.Conv2d(width, 2 * width, 4, stride=1, padding=0, **circular))
        setattr(self, f"B{n_blocks}1", nn.BatchNorm2d(2 * width))
        self.FC1 = nn.Linear(2 * width, width)
        self.FC2 = nn.Linear(width, n_outputs)
        self.dropout = nn.Dropout(0.2)

    def forward(self, image: Tensor) -> Tensor:
        x = image
        for block in range(self.n_blocks):
            for place in (1, 2, 3):
                x = getattr(self, f"C{block}{place}")(x)
                if (block, place) != (0, 1):
                    x = getattr(self, f"B{block}{place}")(x)
                x = functional.leaky_relu(x, 0.2)
        last = f"{self.n_blocks}1"
        x = functional.leaky_relu(getattr(self, f"B{last}")(getattr(self, f"C{last}")(x)), 0.2)
        x = self.dropout(x.flatten(1))
        x = self.FC2(self.dropout(functional.leaky_relu(self.FC1(x), 0.2)))
        return torch.cat([x[:, :6], x[:, 6:].square()], 1)


def released_network(hidden: int = 2, n_blocks: int = 2, **sizes: int) -> ReleasedNetwork:
    torch.manual_seed(1)
    network = ReleasedNetwork(hidden, n_blocks, **sizes)
    for name, values in network.state_dict().items():
        if name.startswith("B") and values.is_floating_point():
            values.uniform_(0.5, 1.5)
    return network.eval()


def some_maps(n_pixels: int = 16, n_maps: int = 7) -> np.ndarray:
    return np.random.default_rng(0).lognormal(25.0, 1.0, (n_maps, n_pixels, n_pixels)).astype(np.float32)


def with_prefix(state: dict[str, Tensor], prefix: str = "module.") -> "OrderedDict[str, Tensor]":
    return OrderedDict((prefix + name, value) for name, value in state.items())


def without_counters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if "num_batches" not in name}


def checkpoint(state: dict[str, Tensor], key: str = "model_state_dict") -> dict[str, Any]:
    network = released_network()
    optimiser = torch.optim.AdamW(network.parameters())
    network(torch.zeros(2, 1, 16, 16)).sum().backward()
    optimiser.step()
    extra = {"epoch": np.int32(3), "loss": np.float64(-11.2), "is_best": np.bool_(True), "losses": np.zeros((2, 3))}
    extra |= {"optimizer": optimiser.state_dict(), "args": Namespace(lr=1e-3, path="x"), "rng": torch.get_rng_state()}
    return extra | {key: state, "best": torch.tensor(1.0)}


KINDS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "plain": lambda state: state,
    "several GPUs": with_prefix,
    "several GPUs twice": lambda state: with_prefix(state, "module.module."),
    "compiled": lambda state: with_prefix(state, "_orig_mod."),
    "in a wrapper": lambda state: with_prefix(state, "model.net."),
    "without counters": without_counters,
    "without the unused batch norm": lambda state: {n: v for n, v in state.items() if not n.startswith("B01")},
    "checkpoint": checkpoint,
    "checkpoint of state_dict": lambda state: checkpoint(with_prefix(state), "state_dict"),
    "checkpoint of its own words": lambda state: checkpoint(state, "weights"),
    "nested": lambda state: {"trial": {"best": {"model_state_dict": with_prefix(state)}}},
    "float64": lambda state: {
        name: value.double() if value.is_floating_point() else value for name, value in state.items()
    },
    "parameters": lambda state: {name: nn.Parameter(v) if v.is_floating_point() else v for name, v in state.items()},
    "channels last": lambda state: {
        name: value.to(memory_format=torch.channels_last) if value.ndim == 4 else value for name, value in state.items()
    },
}


def reference(network: ReleasedNetwork, maps: np.ndarray, mean: float, std: float) -> tuple[np.ndarray, np.ndarray]:
    with torch.inference_mode():
        answers = network(((torch.log10(torch.from_numpy(maps)) - mean) / std)[:, None]).numpy()
    return CMD.from_unit_interval(answers[:, :6].astype(float), answers[:, 6:].astype(float))


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_an_imported_network_answers_as_the_released_one_to_the_bit(tmp_path, kind, is_zip):
    network, maps = released_network(), some_maps()
    torch.save(KINDS[kind](network.state_dict()), tmp_path / NAME, _use_new_zipfile_serialization=is_zip)
    weights = import_published(tmp_path / NAME, tmp_path / "tng.safetensors", mean=10.9, std=0.43)
    mean, std = load(weights, "cpu").predict(maps)
    expected_mean, expected_std = reference(network, maps, 10.9, 0.43)
    assert np.array_equal(mean, expected_mean)
    assert np.array_equal(std, expected_std)


@pytest.mark.parametrize(("n_blocks", "hidden"), [(6, 2), (3, 5), (2, 1)])
def test_outputs_of_other_sizes_are_those_of_the_released_network(tmp_path, n_blocks, hidden):
    network, maps = released_network(hidden, n_blocks), some_maps(4 << n_blocks, 2)
    torch.save(with_prefix(network.state_dict()), tmp_path / NAME)
    predictor = load(import_published(tmp_path / NAME, tmp_path / "tng.safetensors"), "cpu")
    assert (predictor.n_pixels, predictor.spec.network.hidden) == (4 << n_blocks, hidden)
    x = predictor.normaliser.normalise(torch.from_numpy(maps))[:, None]
    with torch.inference_mode():
        ours, theirs = torch.cat(predictor.network(x), 1), network(x)
    assert torch.equal(ours, theirs)


def test_archives_without_checksums_are_read(tmp_path):
    had_them = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(released_network().state_dict(), tmp_path / NAME)
    finally:
        torch.serialization.set_crc32_options(had_them)
    import_published(tmp_path / NAME, tmp_path / "tng.safetensors")


def test_half_precision_is_read_as_it_stands(tmp_path):
    network = released_network().half().float()
    state = {name: v.half() if v.is_floating_point() else v for name, v in network.state_dict().items()}
    torch.save(state, tmp_path / NAME)
    mean, _ = load(import_published(tmp_path / NAME, tmp_path / "x.safetensors"), "cpu").predict(some_maps())
    assert np.array_equal(mean, reference(network, some_maps(), 11.104, 0.492)[0])


@pytest.fixture
def published(tmp_path) -> Path:
    torch.save(with_prefix(released_network().state_dict()), tmp_path / NAME)
    return tmp_path / NAME


def renamed(published: Path, name: str) -> Path:
    return published.rename(published.with_name(name))


def test_an_imported_network_says_how_it_was_trained_and_what_it_has_seen(published, tmp_path):
    before = published.read_bytes()
    predictor = load(fieldlevel.import_published(published, tmp_path / "tng.safetensors"), "cpu")
    spec: TrainSpec = predictor.spec
    assert (spec.suite, spec.field, spec.set_name, spec.normaliser) == ("IllustrisTNG", "Mtot", "LH", "suite")
    assert spec.transform == TransformSpec()
    assert spec.split == SplitSpec(seed=1, train=0.9, validation=0.05)
    assert spec.network.std_from == "square"
    assert predictor.normaliser == Normaliser(11.104, 0.492)
    assert predictor.training_simulations[:5].tolist() == [507, 818, 452, 368, 242]
    assert predictor.validation_simulations[:5].tolist() == [418, 288, 648, 166, 595]
    assert (len(predictor.training_simulations), len(predictor.validation_simulations)) == (900, 50)
    assert predictor.provenance["remark"] == REMARK
    assert predictor.provenance["imported_from"] == NAME
    assert not predictor.is_mock
    assert published.read_bytes() == before


def test_the_same_file_gives_the_same_weights_file(published, tmp_path):
    one, other = (
        import_published(published, tmp_path / name).read_bytes() for name in ("a.safetensors", "b.safetensors")
    )
    assert one == other


@pytest.mark.parametrize(
    ("name", "options", "suite", "field", "smoothing"),
    [
        ("weights_SIMBA_HI_0_all_steps_500_500_o3.pt", {}, "SIMBA", "HI", 0),
        ("weights_Nbody_SIMBA_Mtot_7_all_steps_500_500_o3.pt", {}, "Nbody_SIMBA", "Mtot", 0),
        ("weights_Nbody_Mtot_7_all_steps_500_500_o3.pt", {"suite": "Nbody_SIMBA"}, "Nbody_SIMBA", "Mtot", 0),
        ("weights_IllustrisTNG_Mtot_3_all_steps_500_500_o3_smoothing_2.pt", {}, "IllustrisTNG", "Mtot", 2),
        ("weights_IllustrisTNG_Mtot_3_all_steps_500_500_o3_smoothing_1.5.pt", {}, "IllustrisTNG", "Mtot", 1.5),
        ("weights_IllustrisTNG_Mtot_3_all_steps_500_500_o3_smoothing_0.pt", {}, "IllustrisTNG", "Mtot", 0),
        (NAME, {"suite": "IllustrisTNG", "field": "Mtot", "smoothing": 2}, "IllustrisTNG", "Mtot", 2),
        ("mine.pth", {"suite": "Astrid", "field": "Mgas", "smoothing": 3.0}, "Astrid", "Mgas", 3),
    ],
)
def test_suite_field_and_smoothing_come_from_the_name_or_the_options(
    published, tmp_path, name, options, suite, field, smoothing
):
    path = renamed(published, name)
    spec = load(import_published(path, tmp_path / "x.safetensors", mean=1.0, std=0.5, **options), "cpu").spec
    assert (spec.suite, spec.field) == (suite, field)
    assert spec.transform == (TransformSpec("smoothing", float(smoothing)) if smoothing else TransformSpec())


def test_stellar_mass_is_offset_by_one_as_in_the_released_scripts(published, tmp_path):
    path = renamed(published, "weights_SIMBA_Mstar_0_all_steps_500_500_o3.pt")
    assert load(import_published(path, tmp_path / "x.safetensors", mean=1, std=2), "cpu").normaliser.offset == 1.0


@pytest.mark.parametrize("width", [0, 2])
def test_statistics_are_measured_on_all_maps_once_they_are_smoothed(published, tmp_path, width):
    ending = f"_smoothing_{width}" if width else ""
    path = renamed(published, f"weights_SIMBA_Mtot_0_all_steps_500_500_o3{ending}.pt")
    maps, file = some_maps(n_maps=150), tmp_path / "Maps_Mtot_SIMBA_LH_z=0.00.npy"
    np.save(file, maps)
    normaliser = load(import_published(path, tmp_path / "x.safetensors", maps=file), "cpu").normaliser
    logs = np.log10(smooth_gaussian(torch.from_numpy(maps), width).numpy().astype(float))
    assert normaliser.mean == pytest.approx(logs.mean(), rel=1e-9)
    assert normaliser.std == pytest.approx(logs.std(), rel=1e-9)


def test_long_files_of_maps_are_measured_in_blocks(published, tmp_path, monkeypatch):
    file = tmp_path / "Maps_Mtot_IllustrisTNG_LH_z=0.00.npy"
    np.save(file, some_maps(n_maps=37))
    whole = load(import_published(published, tmp_path / "x.safetensors", maps=file), "cpu").normaliser
    monkeypatch.setattr("fieldlevel.data.npy_files._BLOCK_BYTES", 5 * 16 * 16 * 4)
    told: list[int] = []
    parts = import_published(
        published, tmp_path / "y.safetensors", maps=file, listener=lambda event: told.append(event.done)
    )
    assert load(parts, "cpu").normaliser.mean == pytest.approx(whole.mean, rel=1e-12)
    assert told == [5, 10, 15, 20, 25, 30, 35, 37]


SMOOTHED = "weights_IllustrisTNG_Mtot_3_all_steps_500_500_o3_smoothing_2.pt"


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        (NAME, {"suite": "SIMBA"}, ["named for the suite IllustrisTNG, not SIMBA"]),
        (NAME, {"field": "Mgas"}, ["named for the field Mtot, not Mgas"]),
        (SMOOTHED, {"smoothing": 3}, ["smoothing of 2 pixels, not 3"]),
        (SMOOTHED, {"smoothing": 0}, ["smoothing of 2 pixels, not 0"]),
        (SMOOTHED, {}, ["smoothed by 2 pixels", "--mean and --std", "--maps", "known"]),
        ("weights_SIMBA_Mtot_3_all_steps_500_500_o3.pt", {}, ["Mtot of SIMBA", "--mean and --std", "--maps", "known"]),
        ("weights_SIMBA_Mtot_3_all_steps_500_500_o3_smoothing_x.pt", {}, ["does not tell the width", "--smoothing"]),
        ("weights_Nbody_Mtot_3_all_steps_500_500_o3.pt", {}, ["Nbody of which suite", "Nbody_IllustrisTNG"]),
        ("best.pt", {"suite": "Nbody", "field": "Mtot"}, ["Nbody of which suite", "Nbody_IllustrisTNG"]),
        ("weights_SIMBA_Mgas-Mtot_3_all_steps_500_500_o3.pt", {}, ["field = 'Mgas-Mtot'", "not a name"]),
        ("weights_Nbody_Mtot_3_all_steps_500_500_o3.pt", {"suite": "SIMBA"}, ["Nbody, not SIMBA"]),
        ("best.pt", {}, ["does not tell the suite", "--suite", "IllustrisTNG"]),
        ("best.pt", {"suite": "IllustrisTNG"}, ["does not tell the field", "--field", "Mtot"]),
        ("best.pt", {"suite": "illustristng", "field": "Mtot"}, ["suite = illustristng", "IllustrisTNG"]),
        ("best.pt", {"suite": "SIMBA", "field": "mtot"}, ["field = mtot", "Mtot"]),
        ("best.pt", {"suite": "=cmd|x", "field": "Mtot"}, ["suite", "not a name"]),
        ("best.pt", {"suite": "", "field": "Mtot"}, ["suite", "not a name"]),
        ("best.pt", {"suite": "SIMBA", "field": "../Mtot"}, ["field", "not a name"]),
        (NAME, {"mean": 11.1}, ["--mean and --std", "together"]),
        (NAME, {"std": 0.5}, ["--mean and --std", "together"]),
        (NAME, {"mean": 4.16e11, "std": 3.6e12}, ["mean = 4.16e+11", "log10"]),
        (NAME, {"mean": 11.1, "std": 0.0}, ["std = 0", "above 0"]),
        (NAME, {"mean": 11.1, "std": -0.5}, ["std = -0.5"]),
        (NAME, {"mean": float("nan"), "std": 0.5}, ["mean = nan"]),
        (NAME, {"mean": 11.1, "std": float("inf")}, ["std = inf"]),
        (NAME, {"mean": "eleven", "std": 0.5}, ["mean", "not a number"]),
        (NAME, {"smoothing": -1.0}, ["smoothing"]),
        (NAME, {"smoothing": float("nan")}, ["smoothing"]),
        (NAME, {"smoothing": 1e9}, ["smoothing"]),
        (NAME, {"mean": 11.1, "std": 0.5, "maps": "x.npy"}, ["not both"]),
        (NAME, {"maps": "absent.npy"}, ["absent.npy", "no such file"]),
    ],
)
def test_contradictions_and_gaps_are_told_in_one_line(published, tmp_path, name, options, words):
    path = renamed(published, name)
    with pytest.raises(UserError) as error:
        import_published(path, tmp_path / "x.safetensors", **options)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600 + len(str(path))
    assert not (tmp_path / "x.safetensors").exists()


def spoilt(maps: np.ndarray, value: float) -> np.ndarray:
    maps = maps.copy()
    maps[3, 2, 1] = value
    return maps


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("Maps_Mtot_SIMBA_LH_z=0.00.npy", some_maps(), ["SIMBA", "IllustrisTNG"]),
        ("Maps_Mtot_IllustrisTNG_CV_z=0.00.npy", some_maps(), ["CV", "LH"]),
        ("Maps_Mgas_IllustrisTNG_LH_z=0.00.npy", some_maps(), ["Mgas", "Mtot"]),
        ("maps.npy", some_maps(32), ["32 pixels", "16"]),
        ("maps.npy", some_maps()[:0], ["maps"]),
        ("maps.npy", some_maps()[0], ["shape (16, 16)"]),
        ("maps.npy", some_maps().astype(float), ["<f8"]),
        ("maps.npy", np.asfortranarray(some_maps()), ["Fortran"]),
        ("maps.npy", spoilt(some_maps(), np.nan), ["map 3", "NaN"]),
        ("maps.npy", spoilt(some_maps(), 0.0), ["map 3"]),
        ("maps.npy", spoilt(some_maps(), -1.0), ["map 3"]),
        ("maps.npy", spoilt(some_maps(), np.inf), ["map 3"]),
        ("maps.npy", np.full((5, 16, 16), 1e11, np.float32), ["structure"]),
        ("maps.npy", np.array([{}], dtype=object), []),
        ("maps.npy", np.log10(some_maps()), ["log10", "raw maps"]),
    ],
)
def test_maps_to_measure_on_must_be_those_of_the_training(published, tmp_path, name, array, words):
    np.save(tmp_path / name, array)
    with pytest.raises((UserError, DataError)) as error:
        import_published(published, tmp_path / "x.safetensors", maps=tmp_path / name)
    assert all(word in str(error.value) for word in [name, *words]), str(error.value)
    assert not (tmp_path / "x.safetensors").exists()


def change(**changes: Any) -> Callable[[dict[str, Tensor]], Any]:
    def changed(state: dict[str, Tensor]) -> dict[str, Any]:
        named = {name.replace("_", ".", 1): value for name, value in changes.items()}
        return {name: value for name, value in (state | named).items() if value is not None}

    return changed


LAYERS: dict[str, tuple[Callable[[dict[str, Tensor]], Any], list[str]]] = {
    "a missing layer": (change(B13_running_var=None), ["no B13.running_var", "hidden = 2"]),
    "no first layer": (change(C01_weight=None), ["no C01.weight"]),
    "no last layer": (change(FC2_weight=None), ["no FC2.weight"]),
    "another kernel": (change(C12_weight=torch.zeros(8, 8, 5, 5)), ["C12.weight", "(8, 8, 5, 5)", "(8, 8, 3, 3)"]),
    "a width that does not double": (change(C11_weight=torch.zeros(9, 4, 3, 3)), ["C11.weight", "hidden = 2"]),
    "an odd width": (change(C01_weight=torch.zeros(5, 1, 3, 3)), ["5 channels in C01"]),
    "a layer too many": (change(FC2_gain=torch.zeros(3)), ["FC2.gain"]),
    "a foreign layer": (change(conv1_weight=torch.zeros(3)), ["conv1.weight"]),
    "not a tensor": (change(C12_weight="weights"), ["C12.weight"]),
    "integers": (change(FC1_weight=torch.zeros(8, 16, dtype=torch.int32)), ["FC1.weight", "int32"]),
    "complex numbers": (change(FC1_weight=torch.zeros(8, 16, dtype=torch.complex64)), ["FC1.weight", "complex64"]),
    "NaN": (change(FC1_bias=torch.full((8,), torch.nan)), ["FC1.bias", "finite"]),
    "infinity": (change(C13_bias=torch.full((8,), torch.inf)), ["C13.bias", "finite"]),
    "too large for float32": (change(C13_bias=torch.full((8,), 1e300, dtype=torch.float64)), ["C13.bias", "finite"]),
    "a negative variance": (change(B02_running_var=-torch.ones(4)), ["B02.running_var", "variances"]),
    "sparse": (change(FC1_weight=torch.zeros(8, 16).to_sparse()), ["FC1.weight"]),
    "repeated numbers": (change(FC1_weight=torch.zeros(1).expand(8, 16)), ["FC1.weight"]),
    "without numbers": (change(FC1_weight=torch.zeros(8, 16, device="meta")), ["FC1.weight"]),
    "two networks": (lambda state: with_prefix(state) | with_prefix(state, "other."), ["module.", "other."]),
    "two networks beside": (lambda state: {"generator": state, "critic": dict(state)}, ["generator", "critic"]),
    "half of it under another prefix": (lambda s: {("a." if "C" in n else "b.") + n: v for n, v in s.items()}, ["a."]),
    "nothing": (lambda state: {}, ["no layers", "dict"]),
    "a tensor": (lambda state: torch.zeros(3), ["a Tensor", "no layers"]),
    "a list": (lambda state: [state], ["a list", "no layers"]),
    "another network": (lambda state: {"conv1.weight": torch.zeros(3), "fc.bias": torch.zeros(1)}, ["conv1.weight"]),
    "keys that are no words": (lambda state: {1: torch.zeros(3), ("C01", 2): torch.zeros(3)}, ["no layers"]),
    "a million halvings": (lambda state: state | {"C9999991.weight": torch.zeros(1)}, ["halvings"]),
    "an endless width": (change(C01_weight=torch.zeros(1).expand(2**40, 1, 3, 3)), ["C01"]),
    "no width": (change(C01_weight=torch.zeros(0, 1, 3, 3)), ["0 channels in C01"]),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_what_does_not_fit_is_named_in_one_line(tmp_path, kind):
    spoil, words = LAYERS[kind]
    torch.save(spoil(dict(released_network().state_dict())), tmp_path / NAME)
    with pytest.raises(UserError) as error:
        import_published(tmp_path / NAME, tmp_path / "x.safetensors")
    told = str(error.value)
    assert all(word in told for word in [NAME, *words]), told
    assert "\n" not in told
    assert len(told) < 400 + len(str(tmp_path))
    assert not (tmp_path / "x.safetensors").exists()


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"channels": 3}, ["3 channels", "several fields together", "not read yet"]),
        ({"n_outputs": 6}, ["6 outputs", "posterior means alone"]),
        ({"n_outputs": 4}, ["4 outputs", "12"]),
    ],
)
def test_other_networks_of_the_released_scripts_are_refused(tmp_path, sizes, words):
    torch.save(released_network(**sizes).state_dict(), tmp_path / NAME)
    with pytest.raises(UserError) as error:
        import_published(tmp_path / NAME, tmp_path / "x.safetensors")
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (MomentNetwork(16, 3, 0.0), ["hidden = 2", "hidden = 3"]),
        (MomentNetwork(32, 2, 0.0), ["n_pixels = 16", "n_pixels = 32"]),
        (MomentNetwork(16, 2, 0.0, n_channels=2), ["n_channels = 1", "n_channels = 2"]),
        (MomentNetwork(16, 2, 0.0, n_parameters=2), ["n_outputs = 12", "n_outputs = 4"]),
        (MomentNetwork(16, 2, 0.0, std_from="softplus"), ["std_from = softplus", "square"]),
    ],
)
def test_a_network_that_a_published_state_does_not_fit_is_told_the_right_size(published, network, words):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(UserError) as error:
        load_published_state(network, published)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert len(str(error.value)) < 300 + len(str(published))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


LEGACY = b"\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
"""How PyTorch files began before they were archives."""


class Code:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mknod, (self.path,)


def write_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def write_arrays(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(3))


def write_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = [1]


def write_zip(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"\x80\x02N.")


def write_bomb(path: Path) -> None:
    """A small archive of large content."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02N.")
        archive.writestr("a/data/0", bytes(2**26))


def flip_a_weight(path: Path) -> None:
    """One bit in the numbers of an archive."""
    torch.save(released_network().state_dict(), path)
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    content = bytearray(path.read_bytes())
    content[largest.header_offset + largest.file_size // 2 + 100] ^= 1
    path.write_bytes(content)


def write_sparse(path: Path) -> None:
    path.write_bytes(LEGACY + b".")
    os.truncate(path, 2**40)


def cut(path: Path, fraction: float, *, is_zip: bool = True) -> None:
    torch.save(released_network().state_dict(), path, _use_new_zipfile_serialization=is_zip)
    os.truncate(path, int(path.stat().st_size * fraction))


def write_cycle(path: Path) -> None:
    nest: dict[str, Any] = {}
    nest |= {"a": nest, "b": {"c": nest}}
    torch.save(nest, path)


def write_deep(path: Path) -> None:
    """A pickle of 100,000 lists in one another."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".")
        archive.writestr("a/version", b"3\n")


HOSTILE: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "absent": (lambda path: None, ["No such file"]),
    "empty": (lambda path: path.touch(), ["not a PyTorch file"]),
    "a folder": (lambda path: path.mkdir(), ["folder"]),
    "a pipe": (os.mkfifo, ["pipe"]),
    "a link to a device": (lambda path: path.symlink_to("/dev/zero"), ["device"]),
    "a link to itself": (lambda path: path.symlink_to(path), ["cannot be read"]),
    "text": (lambda path: path.write_text("weights of a network\n"), ["not a PyTorch file"]),
    "noise": (lambda path: path.write_bytes(bytes(range(256)) * 40), ["not a PyTorch file"]),
    "a pickle": (lambda path: path.write_bytes(pickle.dumps({"C01.weight": 1})), ["a pickle"]),
    "an array": (write_array, [".npy"]),
    "arrays": (write_arrays, [".npz"]),
    "HDF5": (write_hdf5, ["HDF5"]),
    "a zip archive": (lambda path: write_zip(path, "readme.txt"), ["zip archive"]),
    "TorchScript": (lambda path: write_zip(path, "a/data.pkl", "a/code/x.py"), ["TorchScript"]),
    "an archive with a pickle alone": (lambda path: write_zip(path, "a/data.pkl"), ["damaged"]),
    "the beginning of an archive": (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)), ["damaged"]),
    "half of an archive": (lambda path: cut(path, 0.5), ["damaged"]),
    "most of an archive": (lambda path: cut(path, 0.99), ["damaged"]),
    "half of a legacy file": (lambda path: cut(path, 0.5, is_zip=False), ["damaged"]),
    "most of a legacy file": (lambda path: cut(path, 0.999, is_zip=False), ["damaged"]),
    "the beginning of a legacy file": (lambda path: cut(path, 0.002, is_zip=False), ["PyTorch file"]),
    "a legacy file that ends in its first number": (
        lambda path: path.write_bytes(LEGACY + b".\x80\x02M\xe9\x03.\x80\x02J\xff"),
        ["damaged"],
    ),
    "compressed": (write_bomb, ["damaged", "compression"]),
    "a flipped bit of a weight": (flip_a_weight, ["damaged", "data/"]),
    "another protocol": (
        lambda path: torch.save(released_network().state_dict(), path, pickle_protocol=4),
        ["another protocol", "state_dict() anew"],
    ),
    "an object beside": (lambda path: torch.save({"model": {}, "a": Path("x")}, path), ["pathlib.PosixPath"]),
    "a whole network": (
        lambda path: torch.save(nn.Linear(2, 2), path),
        ["torch.nn.modules.linear.Linear", "state_dict"],
    ),
    "a terabyte": (write_sparse, ["1.1e+03 GB"]),
    "a cycle": (write_cycle, ["no layers"]),
    "a deep nest": (write_deep, [NAME]),
    "a weights file of this package": (
        lambda path: path.write_bytes((Path(fieldlevel.__file__).parent / "trained/MockTNG.safetensors").read_bytes()),
        ["safetensors", "no import"],
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused_in_one_line(tmp_path, capsys, kind):
    write, words = HOSTILE[kind]
    write(tmp_path / NAME)
    assert main(["import", str(tmp_path / NAME), "--out", str(tmp_path / "x.safetensors")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert all(word in told for word in words), told
    assert len(told) < 500 + len(str(tmp_path))
    assert not (tmp_path / "x.safetensors").exists()


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("place", ["beside", "instead", "key"])
def test_code_in_a_file_is_not_run(tmp_path, place, is_zip):
    state, code = released_network().state_dict(), Code(tmp_path / "was-run")
    content = {"beside": {"model": state, "args": code}, "instead": code, "key": {**state, "FC2.bias": code}}[place]
    torch.save(content, tmp_path / NAME, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(UserError, match=r"holds an object of \S*mknod.*state_dict"):
        import_published(tmp_path / NAME, tmp_path / "x.safetensors")
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize("is_zip", [True, False])
def test_damaged_bytes_are_refused_or_do_not_matter(tmp_path, is_zip):
    """Bytes of the part with the names and shapes, at 150 places; nothing but a UserError may come of it."""
    torch.save(released_network(1).state_dict(), tmp_path / NAME, _use_new_zipfile_serialization=is_zip)
    content, random = (tmp_path / NAME).read_bytes(), np.random.default_rng(0)
    for place in random.integers(0, min(len(content), 6000), 150):
        spoilt = bytearray(content)
        spoilt[place] ^= int(random.integers(1, 256))
        (tmp_path / NAME).write_bytes(spoilt)
        try:
            import_published(tmp_path / NAME, tmp_path / "x.safetensors")
        except UserError as error:
            assert "\n" not in str(error)
            assert len(str(error)) < 500 + len(str(tmp_path))


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_published_file_given_as_weights_is_told_what_to_do(published, tmp_path, capsys, is_zip):
    torch.save({"model_state_dict": released_network().state_dict()}, published, _use_new_zipfile_serialization=is_zip)
    np.save(tmp_path / "maps.npy", some_maps())
    assert main(["infer", str(published), str(tmp_path / "maps.npy")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "a PyTorch file of the released scripts" in told
    assert f"fieldlevel import {published}" in told
    with pytest.raises(UserError, match="a PyTorch file of the released scripts: `fieldlevel import"):
        load(published)


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (lambda path: path.write_bytes(pickle.dumps({})), "a pickle"),
        (lambda path: write_zip(path, "readme.txt"), "a zip archive"),
        (write_array, "an .npy file"),
        (write_hdf5, "an HDF5 file"),
        (
            lambda path: torch.save({}, path.with_name("resume.pt")) or path.symlink_to(path.with_name("resume.pt")),
            "a PyTorch",
        ),
        (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)), "a damaged zip archive or PyTorch file"),
    ],
)
def test_other_files_given_as_weights_are_told_by_what_they_are(tmp_path, write, kind):
    write(tmp_path / "weights.safetensors")
    assert name_format(tmp_path / "weights.safetensors").startswith(kind)
    with pytest.raises(UserError, match=kind.split()[-1]):
        load(tmp_path / "weights.safetensors")


def test_a_state_of_an_unfinished_training_is_no_published_network(tmp_path):
    torch.save({}, tmp_path / "resume.pt")
    with pytest.raises(UserError, match="training that is not finished"):
        load(tmp_path / "resume.pt")


def test_the_command_imports_and_the_others_take_it(published, tmp_path, capsys):
    out = tmp_path / "tng.safetensors"
    command = ["import", str(published), "--suite", "IllustrisTNG", "--field", "Mtot", "--out", str(out)]
    assert main(command) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "tng.safetensors" in told
    assert "released split" in told
    np.save(tmp_path / "maps.npy", some_maps())
    assert main(["infer", str(out), str(tmp_path / "maps.npy"), "--device", "cpu"]) == 0
    assert "released split" in " ".join(capsys.readouterr().out.split())
    assert len((tmp_path / "maps.posterior.csv").read_text().splitlines()) == 8
    assert main(["shrink", str(out), str(tmp_path / "small.safetensors")]) == 0
    assert load(tmp_path / "small.safetensors", "cpu").provenance["remark"] == REMARK


def write_suite(folder: Path, suite: str, n_simulations: int) -> Path:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    strata = np.array([rng.permutation(n_simulations) for _ in CMD.lows]).T
    theta = CMD.lows + (strata + 0.5) / n_simulations * (CMD.highs - CMD.lows)
    maps = rng.lognormal(0.0, 1.0, (n_simulations, 3, 5, 16, 16))
    mean = CRITICAL_DENSITY * CMD.slab_thickness_mpc_h * theta[:, 0]
    maps *= mean[:, None, None, None, None] / maps.mean((2, 3, 4), keepdims=True)
    np.save(folder / f"Maps_Mtot_{suite}_LH_z=0.00.npy", maps.reshape(-1, 16, 16).astype("<f4"))
    np.savetxt(folder / f"params_LH_{suite}.txt", theta, fmt="%.6f")
    return folder


def test_evaluation_takes_the_test_simulations_of_the_released_split_and_says_so(published, tmp_path, capsys):
    folder = write_suite(tmp_path / "cmd", "IllustrisTNG", 1000)
    out = import_published(published, tmp_path / "tng.safetensors")
    command = ["evaluate", str(out), "--data", str(folder), "--suite", "IllustrisTNG", "--device", "cpu"]
    assert main([*command, "--out", str(tmp_path / "evaluation")]) == 0
    assert "released split" in " ".join(capsys.readouterr().out.split())
    text = (tmp_path / "evaluation" / "predictions.csv").read_text().splitlines()
    column = text[0].split(",").index("simulation")
    assert {int(row.split(",")[column]) for row in text[1:]} == set(split_simulations(1000).test.tolist())
    assert "released split" in json.dumps(json.loads((tmp_path / "evaluation" / "metrics.json").read_text()))
    assert main([*command, "--simulations", "all", "--out", str(tmp_path / "all")]) == 2
    assert "950 of the 1000" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("out", "words"),
    [
        (NAME, "the file to read itself"),
        ("folder", "folder"),
        ("precious.npy", "no weights file"),
        ("pipe", "pipe"),
        ("/dev/null", "device"),
        (f"{NAME}/x.safetensors", "is a file"),
    ],
)
def test_nothing_else_is_overwritten(published, tmp_path, out, words):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    np.save(tmp_path / "precious.npy", some_maps())
    before = (tmp_path / "precious.npy").read_bytes(), published.read_bytes()
    with pytest.raises(UserError, match=words):
        import_published(published, tmp_path / out)
    assert ((tmp_path / "precious.npy").read_bytes(), published.read_bytes()) == before


def test_a_link_to_weights_stays_a_link(published, tmp_path):
    (tmp_path / "link.safetensors").symlink_to("real.safetensors")
    import_published(published, tmp_path / "link.safetensors")
    assert (tmp_path / "link.safetensors").is_symlink()
    load(tmp_path / "real.safetensors", "cpu")


def test_the_command_says_nothing_on_stderr_but_the_line(published, tmp_path):
    """No warning of PyTorch, no traceback."""
    torch.save(Code(tmp_path / "was-run"), published)
    command = [sys.executable, "-m", "fieldlevel", "import", str(published), "--out", str(tmp_path / "x.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "was-run").exists()
