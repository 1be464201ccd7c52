import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest

from fieldlevel.data.split import SplitSpec
from fieldlevel.errors import UserError
from fieldlevel.estimators.network_specs import NetworkSpec
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.spec_io import digest, from_json, overlay_file, overlay_toml, to_json
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.scales import SCALES
from fieldlevel.training.presets import TRAIN_PRESETS, released_preset
from fieldlevel.training.train_spec import TrainSpec


def flat(spec) -> dict[str, object]:
    def walk(values, path):
        for key, value in values.items():
            if isinstance(value, dict):
                yield from walk(value, f"{path}{key}.")
            else:
                yield path + key, value

    return dict(walk(dataclasses.asdict(spec), ""))


@pytest.mark.parametrize("spec", [*(make() for make in SCALES.values()), *(make() for make in TRAIN_PRESETS.values())])
def test_json_round_trip(spec):
    assert from_json(type(spec), to_json(spec)) == spec


def test_one_toml_override_changes_one_field(tmp_path):
    path = tmp_path / "train.toml"
    path.write_text("[optimiser]\nlearning_rate = 1e-3\n")
    before, after = flat(released_preset()), flat(overlay_toml(released_preset(), path))
    assert {key for key in before if before[key] != after[key]} == {"optimiser.learning_rate"}
    assert after["optimiser.learning_rate"] == 1e-3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[network]\nhiden = 8\n", "network.hiden: unexpected keyword argument; allowed: hidden, dropout"),
        ('n_steps = "many"\n', "n_steps: input should be a valid integer"),
        ("n_steps = \n", "not TOML"),
        ('precision = "float16"\n', "precision: input should be 'float32', 'bfloat16' or 'auto'"),
    ],
)
def test_wrong_toml_names_the_field_and_what_is_allowed(tmp_path, text, words):
    path = tmp_path / "train.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=str(path)) as trouble:
        overlay_toml(TrainSpec(), path)
    assert words in str(trouble.value)
    assert "\n" not in str(trouble.value)


def test_a_missing_toml_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.toml: cannot be read"):
        overlay_toml(TrainSpec(), tmp_path / "nowhere.toml")


def test_digest_depends_on_every_field_and_fact():
    spec = LetterSpec()
    deeper = dataclasses.replace(spec, train=dataclasses.replace(spec.train, split=SplitSpec(seed=2)))
    digests = {digest(spec), digest(deeper), digest(spec, "data"), digest(spec, "data", "more"), digest(spec.train)}
    assert len(digests) == 5
    assert digest(LetterSpec()) == digest(spec)


def test_specs_are_plain_json():
    assert json.loads(to_json(LetterSpec()))["train"]["optimiser"]["beta1"] == 0.5


def test_released_preset_is_the_released_recipe():
    spec = released_preset()
    assert (spec.batch_size, spec.n_steps, spec.validate_every) == (128, 200 * 141, 141)
    assert (spec.optimiser.beta1, spec.optimiser.beta2) == (0.5, 0.999)
    assert (spec.optimiser.schedule, spec.precision, spec.normaliser) == ("triangular", "float32", "suite")
    assert (spec.split.seed, spec.split.train, spec.split.validation) == (1, 0.9, 0.05)


@pytest.mark.parametrize("base", [TrainSpec(), TuneSpec(), LetterSpec()])
def test_the_spec_of_a_run_is_taken_as_settings(tmp_path, base):
    """That of a network stands for the networks of a search or a letter."""
    path = tmp_path / "spec.json"
    for spec in (dataclasses.replace(released_preset(), set_name="CV"), base):
        path.write_text(to_json(spec))
        read = overlay_file(base, path)
        expected = spec if type(spec) is type(base) else dataclasses.replace(base, train=spec)
        assert read == expected


def test_a_network_on_summaries_is_that_of_the_summaries_of_a_letter(tmp_path):
    (tmp_path / "spec.json").write_text(to_json(TrainSpec(suite="SIMBA", inputs="one-point PDF", n_steps=7)))
    read = overlay_file(LetterSpec(), tmp_path / "spec.json")
    assert (read.summary.n_steps, read.summary.suite, read.train) == (7, "MockTNG", LetterSpec().train)


@pytest.mark.parametrize("text", ['set = "CV"', 'set_name = "CV"', '{"set": "CV"}', '{"set_name": "CV"}'])
def test_the_set_has_the_name_of_its_flag_too(tmp_path, text):
    (tmp_path / "settings").write_text(text)
    assert overlay_file(TrainSpec(), tmp_path / "settings").set_name == "CV"


HOSTILE = {
    "digits.toml": ("n_steps = " + "9" * 5000, "not TOML: Exceeds the limit"),
    "deep.toml": ("a = " + "[" * 5000, "not TOML: nested too deep"),
    "tables.toml": ("a = " + "{b = " * 300 + "1" + "}" * 300, "recursion limit exceeded"),
    "date.toml": ("suite = 1979-05-27", "suite: of type date; give numbers or text"),
    "array.toml": ("[[network]]\nhidden = 3", "network: input should be an object"),
    "twice.toml": ("n_steps = 1\nn_steps = 2", "not TOML: Cannot overwrite a value"),
    "both.toml": ('set = "CV"\nset_name = "LH"', "give it once"),
    "escape.toml": ('"\\u001b[31m\\n" = 3', r"'\x1b[31m\n': unexpected keyword argument"),
    "long.toml": ("a" * 100_000 + " = 1", "unexpected keyword argument"),
    "none.json": ('{"network": null}', "network: input should be an object"),
    "truth.json": ('{"seed": true}', "seed: input should be a valid integer"),
    "large.json": ('{"seed": 1e400}', "seed: input should be a valid integer"),
    "half.json": ('{"seed": 1', "not JSON: "),
    "empty.json": ("", "not JSON: "),
    "list.json": ("[1]", "not an object of JSON"),
    "twice.json": ('{"seed": 1, "seed": 2}', "not JSON: a key stands there twice"),
    "deep.json": ('{"a":' * 100_000, "not JSON: nested too deep"),
    "surrogate.json": ('{"suite": "\\ud800"}', "holds characters that are none"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_settings_are_refused_in_one_line(tmp_path, name):
    text, words = HOSTILE[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=name) as trouble:
        overlay_file(TrainSpec(), tmp_path / name)
    assert words in str(trouble.value)
    assert str(trouble.value).isprintable()
    assert len(str(trouble.value)) < 1000


def test_settings_are_read_from_files_alone(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\0")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path, tmp_path / "binary", tmp_path / "nul\0"):
        with pytest.raises(UserError, match="with --config"):
            overlay_file(TrainSpec(), path)


def test_numbers_of_numpy_and_paths_are_plain_in_json():
    numbers = TrainSpec(seed=np.int64(3), network=NetworkSpec(hidden=np.uint8(5), dropout=np.float32(0.5)))
    assert to_json(numbers) == to_json(TrainSpec(seed=3, network=NetworkSpec(hidden=5, dropout=0.5)))
    assert digest(LetterSpec(k_max=np.array([2.0, 4.0]))) == digest(LetterSpec(k_max=(2.0, 4.0)))


@pytest.mark.parametrize("wrong", ["spec", None, {}, TrainSpec, TrainSpec(seed=object()), TrainSpec(suite=b"x")])
def test_what_json_has_no_type_for_is_refused(wrong):
    with pytest.raises(UserError, match="of type"):
        to_json(wrong)


@pytest.mark.parametrize("text", ["\udcff", "a\ud800b"])
def test_characters_that_are_none_name_their_setting(text):
    with pytest.raises(UserError, match=r"suite: .*characters that are none"):
        to_json(TrainSpec(suite=text))
