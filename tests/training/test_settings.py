"""Settings that training cannot have are refused by name, before anything is loaded."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fieldlevel.cli import main
from fieldlevel.data.batches import MapSet
from fieldlevel.errors import UserError
from fieldlevel.study.scales import laptop_scale, letter_scale
from fieldlevel.training.presets import TRAIN_PRESETS
from fieldlevel.training.settings import check_train_spec, refuse_unused
from fieldlevel.training.train_spec import TrainSpec
from fieldlevel.training.trainer import train, train_network

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
    ("statistics_batches", 10**20, "at most"),
    ("head_batches", 10**20, "at most"),
    ("n_steps", 10**30, "at most"),
    ("validate_every", 10**20, "at most"),
    ("batch_size", 10**12, "at most"),
    ("network.hidden", 10**15, "at most"),
    ("perceptron.n_neurons", 10**12, "at most"),
    ("perceptron.n_layers", 10**12, "at most"),
    ("suite", "=cmd", "letters and digits"),
    ("suite", "<b>", "letters and digits"),
    ("suite", "a/b", "letters and digits"),
    ("suite", "", "letters and digits"),
    ("suite", "nul\0", "letters and digits"),
    ("field", "M_tot", "letters and digits"),
    ("set_name", "L H", "letters and digits"),
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


MODERN_OF_SUMMARIES = replace(TRAIN_PRESETS["modern"](), inputs="power spectrum")

IN_VAIN = [
    (["--perceptron.n-layers", "2"], "perceptron.n_layers = 2"),
    (["--perceptron.dropout", "0.3"], "perceptron.dropout = 0.3"),
    (["--transform.scale", "2"], "transform.scale = 2.0"),
    (["--transform.seed", "2"], "transform.seed = 2"),
    (["--transform.kind", "mean map", "--transform.scale", "2"], "transform.scale = 2.0"),
    (["--transform.kind", "smoothing", "--transform.scale", "2", "--transform.seed", "5"], "transform.seed = 5"),
    (["--preset", "released", "--optimiser.warm-up", "0.3"], "optimiser.warm_up = 0.3"),
    (["--inputs", "power spectrum", "--network.hidden", "3"], "network.hidden = 3"),
    (["--inputs", "one-point PDF", "--augmentation", "symmetries"], "augmentation = symmetries"),
    (["--inputs", "power spectrum", "--head-batches", "7"], "head_batches = 7"),
    (["--inputs", "power spectrum", "--statistics-batches", "7"], "statistics_batches = 7"),
    (["--preset", "released", "--inputs", "power spectrum", "--precision", "bfloat16"], "precision = bfloat16"),
]


@pytest.mark.parametrize(("flags", "words"), IN_VAIN)
def test_settings_without_effect_are_refused(directory, tmp_path, capsys, flags, words):
    assert main(["train", "--data", str(directory), "--out", str(tmp_path / "run"), "--device", "cpu", *flags]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"fieldlevel: {words}: would have no effect, as ")
    assert told.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_settings_without_effect_are_refused_in_a_file_too(directory, tmp_path, capsys):
    (tmp_path / "train.toml").write_text("[perceptron]\nn_layers = 2\n")
    flags = ["--config", str(tmp_path / "train.toml")]
    assert main(["train", "--data", str(directory), "--out", str(tmp_path / "run"), "--device", "cpu", *flags]) == 2
    assert "perceptron.n_layers = 2: would have no effect" in capsys.readouterr().err


def test_what_a_preset_has_is_no_setting_in_vain():
    for preset in TRAIN_PRESETS.values():
        for inputs in ("maps", "power spectrum", "one-point PDF"):
            refuse_unused(replace(preset(), inputs=inputs))
            refuse_unused(replace(preset(), inputs=inputs), [preset()])


@pytest.mark.parametrize("settings", [{"statistics_batches": 0}, {"head_batches": 0}, {"precision": "float32"}])
def test_who_says_what_happens_anyway_is_not_refused(settings):
    refuse_unused(replace(MODERN_OF_SUMMARIES, **settings), [MODERN_OF_SUMMARIES])


def test_a_finished_run_is_not_judged_again(spec, directory, tmp_path, monkeypatch):
    vain = with_setting(replace(spec, n_steps=2), "perceptron.n_layers", 2)
    with pytest.raises(UserError, match="would have no effect"):
        train(vain, directory, tmp_path / "run", "cpu")
    with monkeypatch.context() as before:
        before.setattr("fieldlevel.training.settings.refuse_unused", lambda spec: None)
        train(vain, directory, tmp_path / "run", "cpu")
    assert train(vain, directory, tmp_path / "run", "cpu").exists()


@pytest.mark.parametrize(
    ("kind", "scale", "words"),
    [
        ("k_max", 1e-9, "nothing but the mean would be left"),
        ("k_max", 0.25, "nothing but the mean would be left"),
        ("k_max", 40.0, "nothing would be cut"),
        ("smoothing", 1e9, "nothing but the mean would be left"),
        ("smoothing", 8.1, "nothing but the mean would be left"),
        ("smoothing", 1e-9, "would leave maps as they are"),
    ],
)
def test_scales_that_leave_all_or_nothing_are_refused(spec, directory, tmp_path, kind, scale, words):
    spec = replace(spec, transform=replace(spec.transform, kind=kind, scale=scale))
    with pytest.raises(UserError, match=rf"transform\.scale = .*{words}"):
        train(spec, directory, tmp_path / "run", "cpu")


def test_a_batch_larger_than_the_training_set_is_refused(spec, directory, tmp_path):
    with pytest.raises(UserError, match="batch_size = 91: there are 90 training maps; take at most as many"):
        train(replace(spec, batch_size=91), directory, tmp_path / "run", "cpu")
