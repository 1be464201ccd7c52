"""Settings that training cannot have are refused by name, before anything is loaded."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fieldlevel.cli import main
from fieldlevel.config import TRAIN_PRESETS, TrainSpec, laptop_scale, letter_scale
from fieldlevel.errors import UserError
from fieldlevel.maps.loader import MapSet
from fieldlevel.training.loop import train, train_network
from fieldlevel.training.settings import check_train_spec

IMPOSSIBLE = [
    ("transform.kind", "blur", "input should be"),
    ("transform.seed", -1, "from 0"),
    ("transform.seed", 2**31, "from 0"),
    ("inputs", "pixels", "input should be"),
    ("split.seed", 2**32, "from 0"),
    ("split.train", 0.0, "fraction"),
    ("split.train", 0.95, "nothing to test on"),
    ("split.train", math.nan, "fraction"),
    ("split.validation", -0.05, "fraction"),
    ("split.validation", 1.0, "fraction"),
    ("network.hidden", 0, "at least 1"),
    ("network.hidden", 1.5, "integer"),
    ("network.dropout", 2.0, r"in \[0, 1\)"),
    ("network.dropout", -0.1, r"in \[0, 1\)"),
    ("network.dropout", 1.0, r"in \[0, 1\)"),
    ("perceptron.n_layers", 0, "at least 1"),
    ("perceptron.n_neurons", 0, "at least 1"),
    ("perceptron.dropout", 3.0, r"in \[0, 1\)"),
    ("optimiser.learning_rate", 0.0, "positive"),
    ("optimiser.learning_rate", math.inf, "finite"),
    ("optimiser.learning_rate", math.nan, "positive"),
    ("optimiser.weight_decay", -1.0, "not negative"),
    ("optimiser.weight_decay", math.inf, "finite"),
    ("optimiser.beta1", 1.5, r"in \[0, 1\)"),
    ("optimiser.beta2", 1.0, r"in \[0, 1\)"),
    ("optimiser.warm_up", 1.5, "fraction"),
    ("optimiser.longest_gradient", 0.0, "positive"),
    ("optimiser.longest_gradient", math.inf, "finite"),
    ("batch_size", 1, "at least 2"),
    ("n_steps", 0, "at least 1"),
    ("validate_every", 0, "at least 1"),
    ("squared_error_steps", -1, "at least 0"),
    ("squared_error_steps", 10**6, "leave no step"),
    ("head_batches", -1, "at least 0"),
    ("seed", -1, "from 0"),
    ("seed", 2**63, "from 0"),
]


def with_setting(spec: TrainSpec, name: str, value: object) -> TrainSpec:
    part, _, field = name.rpartition(".")
    if not part:
        return replace(spec, **{field: value})
    return replace(spec, **{part: replace(getattr(spec, part), **{field: value})})


@pytest.mark.parametrize(("name", "value", "words"), IMPOSSIBLE)
def test_setting_is_refused_before_anything_is_loaded(tmp_path, name, value, words):
    with pytest.raises(UserError, match=rf"{name}\b.*{words}") as error:
        train(with_setting(TrainSpec(), name, value), tmp_path / "no data", tmp_path / "run", "cpu")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["smoothing", "k_max"])
@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_scale_must_be_positive_where_it_is_used(kind, scale):
    spec = with_setting(TrainSpec(), "transform.scale", scale)
    check_train_spec(with_setting(spec, "transform.kind", "mean map"))
    with pytest.raises(UserError, match=rf"transform.scale = .*: {kind} needs a positive number"):
        check_train_spec(with_setting(spec, "transform.kind", kind))


def test_network_of_impossible_settings_is_not_trained(spec):
    maps = MapSet(torch.randn(4, 16, 16), torch.rand(4, 6), torch.arange(4))
    with pytest.raises(UserError, match=r"network\.hidden = 0"):
        train_network(with_setting(spec, "network.hidden", 0), maps, maps)


def test_presets_and_scales_are_allowed():
    for preset in TRAIN_PRESETS.values():
        check_train_spec(preset())
    for scale in (laptop_scale(), letter_scale()):
        check_train_spec(scale.train)
        check_train_spec(scale.summary)


@pytest.mark.parametrize(
    "flag",
    [
        ("--perceptron.dropout", "3"),
        ("--network.dropout", "2"),
        ("--network.hidden", "0"),
        ("--split.train", "0.95"),
        ("--transform.kind", "smoothing"),
        ("--search-seed", "-1"),
    ],
)
def test_command_refuses_a_search_of_impossible_settings(directory: Path, tmp_path, capsys, flag):
    arguments = ["tune", "--data", str(directory), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*arguments, *flag]) == 2
    named = {"--transform.kind": "transform.scale"}.get(flag[0], flag[0].lstrip("-"))
    assert capsys.readouterr().err.startswith(f"fieldlevel: {named} ")
    assert not (tmp_path / "out").exists()
