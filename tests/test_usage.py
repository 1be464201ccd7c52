import pytest

from fieldlevel.cli import main


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["simulat"], "unrecognised command simulat; did you mean simulate? see fieldlevel --help"),
        (["-x"], "unrecognised option -x; see fieldlevel --help"),
        (
            ["simulate", "--n-particls", "3"],
            "simulate: unrecognised option --n-particls; did you mean --n-particles? see fieldlevel simulate --help",
        ),
        (["train"], "train: missing: --data PATH; see fieldlevel train --help"),
        (["infer"], "infer: missing: WEIGHTS, MAPS; see fieldlevel infer --help"),
        (["evaluate", "a"], "evaluate: missing: --data PATH; see fieldlevel evaluate --help"),
        (["--versoin"], "unrecognised option --versoin; did you mean --version? see fieldlevel --help"),
        (["help"], "unrecognised command help; did you mean --help? see fieldlevel --help"),
        (["check", "a", "b"], "check: unrecognised argument b; see fieldlevel check --help"),
        (
            ["simulate", "--n-particles", "x"],
            "simulate: error parsing --n-particles: invalid literal for int() with base 10: 'x'; "
            "see fieldlevel simulate --help",
        ),
    ],
)
@pytest.mark.parametrize("width", ["40", "200"])
def test_usage_errors_are_one_line(arguments, told, width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", width)
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"fieldlevel: {told}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["letter", "--scale", "huge"],
        ["letter", "--smoothing", "a", "b"],
        ["evaluate", "a", "--data"],
        ["train", "--data", "d", "--optimiser.nmae", "muon", "--no-such", "3", "extra"],
        ["tune", "--data", "d", "--train.split.train", "3", "--train.batch-size", "3"],
        ["infer", *"abcdefgh"],
        ["simulate", "--fields", "x" * 100_000],
        ["simulate", "\x1b[31m\n", "--\udcff"],
        ["x" * 5000],
    ],
)
def test_any_usage_error_is_one_line_without_a_box(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("fieldlevel: ")
    assert (told.count("\n"), "─" in told, "\x1b" in told, len(told) < 500) == (1, False, False, True)
    assert told.endswith("--help\n")


def test_help_stays_as_it_is(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "--help"])
    assert stop.value.code == 0
    assert "--optimiser.learning-rate" in capsys.readouterr().out
