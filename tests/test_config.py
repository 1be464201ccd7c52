import dataclasses
import json

import pytest

from fieldlevel.config import (
    SCALES,
    TRAIN_PRESETS,
    LetterSpec,
    SplitSpec,
    TrainSpec,
    digest,
    from_json,
    overlay_toml,
    released_preset,
    to_json,
)
from fieldlevel.errors import UserError


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
