"""Help, spellings of values, names of the set, and specs of runs as settings."""

import dataclasses
import json
import re
from typing import get_args

import pytest

from fieldlevel import __version__
from fieldlevel.arguments import name_of, parse
from fieldlevel.cli import main
from fieldlevel.commands import Command, Letter, Robustness
from fieldlevel.data.transform_spec import KINDS, TransformSpec
from fieldlevel.errors import UserError
from fieldlevel.option_rules import FIRST_SETTINGS, count_settings
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.spec_io import digest, overlay_file, to_json
from fieldlevel.study.keys import HYDRO_TO_NBODY
from fieldlevel.study.letter_checks import check_letter, planned, with_experiments
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.robustness.robustness_spec import RobustnessSpec
from fieldlevel.training.train_spec import TrainSpec

COMMANDS = [name_of(kind) for kind in get_args(Command)]
REQUIRED = {"train": ["--data", "d"], "tune": ["--data", "d"], "project": ["a", "--out", "b"]}


def told(arguments: list[str], capsys) -> str:
    """What is printed on standard output by a call that ends with code 0."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def options_in(text: str) -> set[str]:
    return set(re.findall(r"^[^\w-]{0,2}(--[a-z][\w.-]*)", text, re.M))


def test_without_arguments_the_commands_are_told(capsys):
    text = told([], capsys)
    assert text == told(["--help"], capsys) == told(["-h"], capsys) == told(["--help-all"], capsys)
    assert sorted(re.findall(r"^  ([a-z]+) ", text, re.M)) == sorted(COMMANDS)
    assert max(map(len, text.splitlines())) <= 80


def test_the_version_is_told(capsys):
    assert told(["--version"], capsys) == f"fieldlevel {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_80_columns_and_shows_nothing_to_be_quoted(command, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    for flag in ("--help", "--help-all"):
        text = told([command, flag], capsys)
        assert max(map(len, text.splitlines())) <= 80
        assert not re.search(r"--[^\n]*\{[^}\n]* [^}\n]*\}", text)
        assert "{None}" not in text and "default: None" not in text


@pytest.mark.parametrize("kind", FIRST_SETTINGS)
def test_the_first_settings_are_about_ten_of_those_that_there_are(kind, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    brief, whole = (told([name_of(kind), flag], capsys) for flag in ("--help", "--help-all"))
    first, every = options_in(brief), options_in(whole)
    assert first < every
    assert 9 <= len(first) <= 12
    n_in_place = "positional" in whole
    assert len(every) + n_in_place == count_settings(kind)
    assert f"--help-all shows all {count_settings(kind)}." in brief.replace("\n", " ")
    assert "--help-all" not in whole


def test_a_setting_that_is_not_shown_is_read_and_suggested(capsys):
    assert parse(["train", "--data", "d", "--optimiser.beta1", "0.3"]).spec.optimiser.beta1 == 0.3
    with pytest.raises(SystemExit):
        main(["train", "--data", "d", "--optimiser.beta3", "0.3"])
    assert "--optimiser.beta1" in capsys.readouterr().err


def test_lines_of_help_do_not_end_where_those_of_the_source_do(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    text = told(["train", "--help-all"], capsys)
    assert "of all but `pooled` `weight`" in text
    assert re.search(r"`pooled`, `group-dro`, `vrex`, `adversarial`, `mmd`", text)


@pytest.mark.parametrize(
    ("flags", "field", "value"),
    [
        (["train", "--inputs", "power-spectrum"], "inputs", "power spectrum"),
        (["train", "--inputs", "one-point-PDF"], "inputs", "one-point PDF"),
        (["train", "--labels", "permuted-suites"], "labels", "permuted suites"),
        (["train", "--calibration", "sigma-of-mean"], "calibration", "sigma of mean"),
        (["train", "--transform.kind", "shuffled-pixels"], "transform", TransformSpec("shuffled pixels")),
        (["project", "--radius", "smoothing-length"], "radius", "smoothing length"),
        (["robustness", "--parts", "controls", "leave-one-out"], "parts", ("controls", "leave one out")),
        (["letter", "--train.labels", "permuted"], "train", None),
    ],
)
def test_values_need_no_spaces_and_may_have_them(flags, field, value):
    command, *rest = flags
    spec = parse([command, *REQUIRED.get(command, []), *rest]).spec
    if value is not None:
        assert getattr(spec, field) == value
    quoted = [word.replace("-", " ") if not word.startswith("--") else word for word in rest]
    if "one point PDF" not in quoted:
        assert parse([command, *REQUIRED.get(command, []), *quoted]).spec == spec


def test_a_value_that_is_none_is_refused_with_those_that_there_are(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "--data", "d", "--inputs", "power_spectra"])
    assert stop.value.code == 2
    words = capsys.readouterr().err
    assert "invalid choice 'power_spectra' for argument '--inputs'. Expected one of ('maps', 'power-spectrum'" in words
    assert words.count("\n") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_transform_is_the_same_in_both_spellings(kind):
    spelled = TransformSpec(kind.replace(" ", "-"), 1.0)
    assert spelled == TransformSpec(kind, 1.0)
    assert digest(spelled) == digest(TransformSpec(kind, 1.0))


@pytest.mark.parametrize("word", ["power spectrum", "power-spectrum"])
def test_a_file_has_values_in_both_spellings(tmp_path, word):
    path = tmp_path / "t.toml"
    path.write_text(f'inputs = "{word}"\n[transform]\nkind = "mean-map"\n')
    assert overlay_file(TrainSpec(), path) == TrainSpec(inputs="power spectrum", transform=TransformSpec("mean map"))


def test_experiments_are_named_in_both_spellings():
    labels = [key.label for key in planned(LetterSpec())]
    spelled = LetterSpec(only=tuple(label.replace(" ", "-") for label in labels))
    assert with_experiments(spelled).only == tuple(labels)
    assert with_experiments(LetterSpec(only=tuple(labels))).only == tuple(labels)
    assert with_experiments(LetterSpec(only=("hydro-to-N",))).only == (HYDRO_TO_NBODY.label[:10],)
    with pytest.raises(UserError, match="no experiment 'such-a-one'"):
        check_letter(with_experiments(LetterSpec(only=("such-a-one",))))


@pytest.mark.parametrize("command", ["train", "tune", "simulate", "project", "letter", "robustness"])
@pytest.mark.parametrize("name", ["--set", "--set-name", "--set_name", "--set="])
def test_the_set_has_one_name(command, name):
    flags = ["--set=LHmine"] if name == "--set=" else [name, "LHmine"]
    given = parse([command, *REQUIRED.get(command, []), *flags])
    spec = given.spec.train if command in ("tune", "letter", "robustness") else given.spec
    assert spec.set_name == "LHmine"
    if isinstance(given, Letter | Robustness):
        assert given.spec.simulate.set_name == "LHmine"
        with_data = parse([command, "--data", "d", *flags]).spec
        assert (with_data.train.set_name, with_data.simulate.set_name) == ("LHmine", "LH")
        nested = parse([command, "--train.set-name", "LHmine", "--simulate.set", "LHmine"])
        assert nested.spec == given.spec


SPECS = {
    "train": TrainSpec(suite="Mine", n_steps=7),
    "tune": TuneSpec(TrainSpec(suite="Mine"), n_trials=3),
    "letter": LetterSpec(("Mine", "Yours"), seeds=2),
    "robustness": RobustnessSpec(("A", "B", "C"), seeds=2),
    "simulate": SimulateSpec(("MockSIMBA",), n_simulations=3),
}
FILES = {"letter": "metrics.json", "robustness": "summary.json"}


@pytest.mark.parametrize("command", SPECS)
def test_the_spec_of_a_run_makes_the_same_spec_again(tmp_path, command):
    """From the file and from its folder; of studies from their results."""
    path, text = tmp_path / FILES.get(command, "spec.json"), to_json(SPECS[command])
    path.write_text(json.dumps({"spec": json.loads(text), "pairs": []}) if command in FILES else text)
    for config in (path, tmp_path):
        arguments = [command, *REQUIRED.get(command, []), "--config", str(config)]
        assert parse(arguments).spec == SPECS[command]
    flag = ["--n-pixels", "32"] if command == "simulate" else ["--seed" + "s" * (command in FILES), "5"]
    changed = parse([*arguments, *flag]).spec
    assert changed != SPECS[command]
    assert parse([*arguments, *flag]) == dataclasses.replace(parse(arguments), spec=changed)


@pytest.mark.parametrize("whole", ["tune", "letter", "robustness"])
def test_a_part_is_taken_from_the_spec_of_the_whole(tmp_path, whole):
    (tmp_path / "spec.json").write_text(to_json(SPECS[whole]))
    assert parse(["train", "--data", "d", "--config", str(tmp_path)]).spec == SPECS[whole].train
    if whole != "tune":
        assert parse(["simulate", "--config", str(tmp_path)]).spec == SPECS[whole].simulate


def test_the_record_of_a_folder_tells_how_it_was_simulated(tmp_path):
    numbers = {"n_simulations": 1000, "n_particles": 128, "n_mesh": 256, "a_start": 0.05, "n_pixels": 256}
    record = {
        f"{suite}_LH": {"simulator": "2", "spec": {"suite": suite, "set_name": "LH", "fields": ["Mtot"], **numbers}}
        for suite in ("MockTNG", "MockSIMBA")
    }
    (tmp_path / "provenance.json").write_text(json.dumps(record))
    spec = parse(["simulate", "--config", str(tmp_path)]).spec
    assert (spec.suites, spec.n_simulations, spec.n_particles) == (("MockTNG", "MockSIMBA"), 1000, 128)
    record = {name: {"spec": {"suite": name, "set_name": name[4:]}} for name in ("MockTNG", "MockSIMBA")}
    (tmp_path / "provenance.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"provenance\.json: records maps of different settings"):
        parse(["simulate", "--config", str(tmp_path)])


def test_a_folder_of_no_run_is_refused(tmp_path, capsys):
    assert main(["train", "--data", "d", "--config", str(tmp_path)]) == 2
    assert f"{tmp_path}: a folder without spec.json" in capsys.readouterr().err
