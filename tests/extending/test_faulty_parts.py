"""Whatever is wrong in code of somebody's own is told in one line, with exit code 2; nothing half-written stays."""

import pytest
import torch
from toy import TOY_LETTER, TOY_TRAIN

from fieldlevel.cli import main
from fieldlevel.data.transform_spec import TransformSpec, register_transform
from fieldlevel.data.transformed import transform_maps

PARTS = """
import torch
from torch import nn

from fieldlevel.estimators.estimator import Head
from fieldlevel.training.penalty import Penalty


class Body(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.layer = nn.Linear(256, 4)

    def forward(self, x):
        return self.layer(x.flatten(1))


class Tuple(Body):
    n_features = 4

    def forward(self, x):
        return (super().forward(x),)


class OtherFeatures(Body):
    n_features = 7


class OfTheirValues(Body):
    def forward(self, x):
        return super().forward(x)[:, : 4 if x.mean() == 0 else 3]


class Dropping(Body):
    def forward(self, x):
        return super().forward(x)[:1]


class Failing(Body):
    def forward(self, x):
        if self.training:
            raise KeyError("two\\nlines")
        return super().forward(x)


class Unmade(Body):
    def __init__(self, shape):
        pass


class Leaving(Body):
    def __init__(self, shape):
        raise SystemExit(3)


class Mean(Head):
    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.layer = nn.Linear(n_features, n_outputs)

    def forward(self, features):
        return self.layer(features)

    def sums(self, answer, theta):
        return torch.stack([(answer - theta).square().sum(0), torch.full_like(theta[0], len(theta))])

    def loss(self, sums):
        return (sums[0] / sums[1]).mean()

    def posterior(self, answer):
        return answer, torch.full_like(answer, 0.1)


class Frozen(Mean):
    def __init__(self, n_features, n_outputs):
        super().__init__(n_features, n_outputs)
        self.requires_grad_(False)


class OneColumn(Mean):
    def posterior(self, answer):
        return answer[:, :1], torch.full_like(answer[:, :1], 0.1)


class NoPair(Mean):
    def posterior(self, answer):
        return answer


class SeveralSums(Mean):
    def sums(self, answer, theta):
        return (answer - theta).square().sum(0), len(theta)


class Vector(Mean):
    def loss(self, sums):
        return sums[0] / sums[1]


class Detached(Mean):
    def loss(self, sums):
        return super().loss(sums).detach()


class Quiet(Penalty):
    def __init__(self, n_features, n_sources):
        super().__init__()

    def loss(self, features, source, theta):
        return features.square().mean()


class NotFinite(Quiet):
    def loss(self, features, source, theta):
        return features.sum() * float("nan")


class Axes(Quiet):
    def loss(self, features, source, theta):
        return features.square().mean(0)


class Nothing(Quiet):
    def loss(self, features, source, theta):
        return None


class Raising(Quiet):
    def update(self, features, source, theta):
        raise LookupError("no critic")


class Keeping(Quiet):
    def extra_state(self):
        return [object()]
"""


@pytest.fixture
def train_toy(write_suite, place, capsys):
    """Trains with some flags; gives the exit code and the last line of what is said."""
    (place / "my_parts.py").write_text(PARTS)
    write_suite("MockTNG")

    def train(*flags: str) -> tuple[int, str]:
        code = main(["train", "--data", "cmd", "--out", "out", *TOY_TRAIN, *flags])
        return code, capsys.readouterr().err.splitlines()[-1]

    return train


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Tuple", "Tuple: makes tuple of (16, 4) of 16 inputs; it must make features of shape (b, 4)"),
        ("OtherFeatures", "OtherFeatures: makes (16, 4) of 16 inputs; it must make features of shape (b, 7)"),
        ("OfTheirValues", "OfTheirValues: makes (16, 3) of 16 inputs"),
        ("Dropping", "Dropping: makes (1, 4) of 16 inputs"),
        ("Failing", "body = my_parts:Failing: fails (KeyError: 'two\\nlines', line 42 of my_parts.py); mend it"),
        ("Unmade", "Unmade cannot be made (AttributeError: "),
        ("Leaving", "Leaving cannot be made (SystemExit: 3, line "),
    ],
)
def test_a_body_that_makes_no_features(train_toy, place, name, words):
    code, said = train_toy("--body", f"my_parts:{name}")
    assert (code, words in said) == (2, True), said
    assert not (place / "out" / "weights.safetensors").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("OneColumn", "its posterior of 2 inputs is tuple of (2, 1), (2, 1); it must be a tuple of means and standard"),
        ("NoPair", "its posterior of 2 inputs is (2, 6); it must be a tuple"),
        ("SeveralSums", "its sums are tuple of (6,), int; they must be one tensor"),
        ("Vector", "its loss is (6,); it must be a scalar"),
        ("Detached", "the loss has no gradient"),
    ],
)
def test_a_head_that_makes_no_loss_or_posterior(train_toy, place, name, words):
    code, said = train_toy("--body", "my_parts:Body", "--head", f"my_parts:{name}")
    assert (code, words in said, f"head = my_parts:{name}" in said) == (2, True, True), said
    assert not (place / "out" / "weights.safetensors").exists()


def test_a_head_of_frozen_weights_is_not_fitted_again(train_toy):
    assert train_toy("--body", "my_parts:Body", "--head", "my_parts:Frozen")[0] == 0


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("NotFinite", 1, "training loss with penalty = my_parts:NotFinite is nan at step 1"),
        ("Axes", 2, "penalty = my_parts:Axes: its loss is (4,); it must be a scalar"),
        ("Nothing", 2, "penalty = my_parts:Nothing: its loss is NoneType"),
        ("Raising", 2, "penalty = my_parts:Raising: fails (LookupError: no critic, line "),
        ("Keeping", 2, "penalty = my_parts:Keeping: its state holds object; keep tensors"),
    ],
)
def test_a_penalty_that_makes_no_loss(train_toy, place, name, code, words):
    given, said = train_toy("--body", "my_parts:Body", "--penalty", f"my_parts:{name}")
    assert (given, words in said) == (code, True), said
    assert not (place / "out" / "weights.safetensors").exists()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("nobody", "(NameError: name 'nobody' is not defined, line 1 of "),
        ("raise SystemExit(5)", "(SystemExit: 5, line 1 of "),
        ("raise OSError(2, 'gone', 'file')", "(FileNotFoundError: gone, line 1 of "),
        ("raise RuntimeError('two\\nlines')", "(RuntimeError: two lines, line 1 of "),
        ("x = 1\n  y = 2", "(unexpected indent ("),
    ],
)
def test_a_module_that_cannot_be_imported(train_toy, place, monkeypatch, request, code, words):
    module = f"my_broken_{abs(hash(request.node.name))}"
    (place / f"{module}.py").write_text(code)
    given, said = train_toy("--body", f"{module}:Net")
    assert (given, f"body = {module}:Net: cannot be imported {words}" in said) == (2, True), said
    assert not (place / "out").exists()
    monkeypatch.setenv("FIELDLEVEL_EXTENSIONS", module)
    given, said = train_toy()
    assert (given, f"FIELDLEVEL_EXTENSIONS: {module} cannot be imported {words}" in said) == (2, True), said


@pytest.mark.parametrize("name", ["..", ".relative", "a b", "my_parts:Body"])
def test_extensions_that_are_no_names_of_modules(train_toy, monkeypatch, name):
    monkeypatch.setenv("FIELDLEVEL_EXTENSIONS", name)
    code, said = train_toy()
    assert (code, f"FIELDLEVEL_EXTENSIONS: {name} cannot be imported" in said) == (2, True), said


EXPERIMENTS = """
from fieldlevel.data.transform_spec import register_transform
from fieldlevel.study.experiment import Experiment
from fieldlevel.study.experiments import register_experiment
from fieldlevel.study.experiments.null_tests import NullTest

register_transform("faulty", lambda maps, spec, numbers: {made})
register_experiment(NullTest("faulty", "faulty maps", claim="None."))


class Own(Experiment):
    kind = "own"

    def tests(self, spec, suites, twins):
        return {tests}

    def judge(self, results):
        return {verdicts}

    def plates(self, results):
        return iter({plates})


register_experiment({registered})
"""
SOUND = {"made": "maps", "tests": "{}", "verdicts": "iter(())", "plates": "()", "registered": "Own()"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"made": "maps[:, ::2, ::2]"}, "transform.kind = faulty: makes (15, 8, 8) of maps (15, 16, 16)"),
        ({"made": "maps[:1]"}, "transform.kind = faulty: makes (1, 16, 16) of maps (15, 16, 16)"),
        ({"made": "maps.numpy()"}, "transform.kind = faulty: makes ndarray of maps"),
        ({"made": "maps * float('nan')"}, "transform.kind = faulty: makes pixels that are not finite"),
        ({"made": "{}['width']"}, "transform.kind = faulty: fails (KeyError: 'width', line 7 of "),
        ({"tests": "None"}, "experiment 'own': fails (TypeError: "),
        ({"tests": "{'own': ()}"}, "experiment 'own': tests of own; give ExperimentKeys"),
        ({"verdicts": "{}['width']"}, "experiment 'own': fails (KeyError: 'width', line 18 of "),
        ({"verdicts": "iter(['it holds'])"}, "experiment 'own': judges it holds; give Verdicts"),
        ({"plates": "{}['width']"}, "experiment 'own': fails (KeyError: 'width', line 21 of "),
        ({"registered": "Own"}, "give an object of a subclass of Experiment"),
        ({"registered": "'own'"}, "experiment own: give an object of a subclass of Experiment"),
    ],
)
def test_an_experiment_that_fails(write_suite, place, monkeypatch, capsys, request, change, words):
    write_suite("MockTNG")
    write_suite("MockSIMBA", seed=1)
    module = f"my_faulty_{abs(hash(request.node.name))}"
    text = EXPERIMENTS
    for name, code in (SOUND | change).items():
        text = text.replace(f"{{{name}}}", code)
    (place / f"{module}.py").write_text(text)
    monkeypatch.setenv("FIELDLEVEL_EXTENSIONS", module)
    flags = ["--data", "cmd", "--suites", "MockTNG", "MockSIMBA", "--out", "out", "--only", "faulty"]
    assert main(["letter", *flags, *TOY_LETTER]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert words in said
    assert not (place / "out" / "metrics.json").exists()


def test_a_letter_has_no_sources(write_suite, place, capsys):
    write_suite("MockTNG")
    write_suite("MockSIMBA", seed=1)
    (place / "pooled.toml").write_text('[[train.sources]]\nsuite = "MockTNG"\n[[train.sources]]\nsuite = "MockSIMBA"\n')
    flags = ["--data", "cmd", "--suites", "MockTNG", "MockSIMBA", "--out", "out", "--config", "pooled.toml"]
    assert main(["letter", *flags, *TOY_LETTER]) == 2
    assert "train.sources: changed; every experiment of a letter sets it itself" in capsys.readouterr().err
    assert not (place / "out").exists()


def test_a_transform_may_work_in_place(write_suite):
    register_transform("doubled in place", lambda maps, spec, numbers: maps.mul_(2))
    maps = torch.ones(2, 16, 16)
    assert (transform_maps(maps, TransformSpec("doubled in place"), [0, 1]) == 2).all()
    assert (maps == 1).all()
