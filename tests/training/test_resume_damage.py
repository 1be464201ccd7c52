"""A state on disk that does not fit the run is refused in one line, with the way out; what fits goes on to the bit."""

import math
import os

import numpy as np
import pytest
import torch

from fieldlevel.cli import main
from fieldlevel.errors import UserError
from fieldlevel.inference.predictor import load
from fieldlevel.training.trainer import train


@pytest.fixture
def stopped(spec, directory, tmp_path):
    """A run that was interrupted after a validation."""

    def stop(event):
        if event.task == "train MockTNG" and event.done >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(spec, directory, tmp_path / "run", "cpu", stop)
    return tmp_path / "run"


def first(values: dict) -> str:
    return next(iter(values))


def no_network(state):
    del state["network"]


def no_step(state):
    del state["step"]


def something_more(state):
    state["more"] = 1


def another_shape(state):
    name = first(state["network"])
    state["network"][name] = torch.zeros(3, 3)


def another_type(state):
    name = first(state["network"])
    state["network"][name] = state["network"][name].double()


def a_list_for_a_tensor(state):
    state["network"][first(state["network"])] = [1.0, 2.0]


def a_text_for_the_network(state):
    state["network"] = "weights"


def weights_that_are_not_finite(state):
    state["best"][first(state["best"])].fill_(math.nan)


def a_layer_more(state):
    state["network"]["features.C99.weight"] = torch.zeros(1)


def an_optimiser_more(state):
    state["optimisers"] = state["optimisers"] * 2


def no_optimiser(state):
    state["optimisers"] = []


def moments_of_another_shape(state):
    moments = state["optimisers"][0]["state"]
    moments[first(moments)]["exp_avg"] = torch.zeros(5, 7, 11)


def moments_that_are_not_finite(state):
    moments = state["optimisers"][0]["state"]
    moments[first(moments)]["exp_avg"].fill_(math.inf)


def an_optimiser_of_text(state):
    state["optimisers"] = ["AdamW"]


def groups_without_weights(state):
    state["optimisers"][0]["param_groups"] = [{}]


def a_step_of_text(state):
    state["step"] = "8"


def a_step_beyond_the_end(state):
    state["step"] = 10**30


def a_step_below_zero(state):
    state["step"] = -8


def seconds_of_text(state):
    state["seconds"] = "x"


def no_history(state):
    state["history"] = []


def a_history_of_short_rows(state):
    state["history"] = [(8, 1.0)]


def a_history_that_is_not_finite(state):
    state["history"] = [(state["step"], 1.0, 1.0, math.nan, 1.0)]


def a_queue_of_maps_that_are_not_there(state):
    state["sampler"]["queue"] = torch.full((200,), 10**6)


def a_queue_of_fractions(state):
    state["sampler"]["queue"] = torch.rand(30)


def no_generator(state):
    del state["sampler"]["generator"]


def a_generator_of_zeros(state):
    state["sampler"]["generator"] = torch.zeros(3, dtype=torch.uint8)


def random_numbers_of_text(state):
    state["random"] = "seed"


def random_numbers_too_short(state):
    state["random"]["cpu"] = torch.zeros(1, 3, dtype=torch.uint8)


JUNK = [
    *(no_network, no_step, something_more, another_shape, another_type, a_list_for_a_tensor, a_text_for_the_network),
    *(weights_that_are_not_finite, a_layer_more, an_optimiser_more, no_optimiser, moments_of_another_shape),
    *(moments_that_are_not_finite, an_optimiser_of_text, groups_without_weights, a_step_of_text, a_step_beyond_the_end),
    *(a_step_below_zero, seconds_of_text, no_history, a_history_of_short_rows, a_history_that_is_not_finite),
    *(a_queue_of_maps_that_are_not_there, a_queue_of_fractions, no_generator, a_generator_of_zeros),
    *(random_numbers_of_text, random_numbers_too_short),
]


def test_a_state_with_the_right_key_and_junk_inside_is_refused(spec, directory, stopped):
    path = stopped / "resume.pt"
    whole = path.read_bytes()
    for damage in JUNK:
        path.write_bytes(whole)
        state = torch.load(path, weights_only=True)
        damage(state)
        torch.save(state, path)
        with pytest.raises(UserError, match=r"resume\.pt: damaged \(.*\); delete it to start this run again") as error:
            train(spec, directory, stopped, "cpu", check=False)
        assert "\n" not in str(error.value), damage
        assert len(str(error.value)) < 600, damage
    path.write_bytes(whole)
    continued = load(train(spec, directory, stopped, "cpu"), "cpu").network.state_dict()
    at_once = load(train(spec, directory, stopped.parent / "whole", "cpu"), "cpu").network.state_dict()
    assert all(torch.equal(continued[name], at_once[name]) for name in at_once)


@pytest.mark.parametrize("version", [torch.zeros(2), "2", None, [2]])
def test_versions_and_keys_of_any_type_are_refused(spec, directory, stopped, version):
    state = torch.load(stopped / "resume.pt", weights_only=True)
    torch.save(state | {"version": version}, stopped / "resume.pt")
    with pytest.raises(UserError, match="written by another version"):
        train(spec, directory, stopped, "cpu", check=False)
    torch.save(state | {"key": version}, stopped / "resume.pt")
    with pytest.raises(UserError, match="belongs to another spec"):
        train(spec, directory, stopped, "cpu", check=False)


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"PK\3\4" + b"x" * 100, b"\x80\x02}q\x00."])
def test_bytes_that_are_no_state_are_refused(spec, directory, stopped, content):
    (stopped / "resume.pt").write_bytes(content)
    with pytest.raises(UserError, match=r"resume\.pt: .*delete it"):
        train(spec, directory, stopped, "cpu", check=False)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_refused_at_once(spec, directory, stopped, make):
    (stopped / "resume.pt").unlink()
    make(stopped / "resume.pt")
    with pytest.raises(UserError, match=r"resume\.pt: is a .*delete it"):
        train(spec, directory, stopped, "cpu", check=False)


FOREIGN = ["mine", "", "{}", '{"spec": 1}', "[1]", "{" * 5000, '{"a":' * 100_000, "a,b\n1,2\n", "\xff\xfe"]


@pytest.mark.parametrize("name", ["spec.json", "history.csv"])
def test_foreign_files_are_left_alone(directory, tmp_path, capsys, name):
    out = tmp_path / "run"
    out.mkdir()
    sizes = ["--split.train", "0.75", "--split.validation", "0.125", "--network.hidden", "1", "--n-steps", "4"]
    arguments = ["train", "--data", str(directory), "--out", str(out), "--device", "cpu", "--batch-size", "16", *sizes]
    for text in FOREIGN:
        (out / name).write_text(text, encoding="latin-1")
        assert main(arguments) == 2
        told = capsys.readouterr().err
        assert f"{name}: is there already and was not written by this command; name another folder" in told
        assert (out / name).read_text(encoding="latin-1") == text
        assert [path.name for path in out.iterdir()] == [name]


@pytest.mark.parametrize("text", ["", "{", "{}", "[" * 100_000, "\0" * 50, '{"suite": 10}'])
def test_a_damaged_spec_of_a_run_names_the_way_out(spec, directory, stopped, text):
    (stopped / "spec.json").write_text(text)
    with pytest.raises(UserError, match=r"spec\.json: .*|holds a run of another spec") as error:
        train(spec, directory, stopped, "cpu", check=False)
    assert "\n" not in str(error.value)
    (stopped / "spec.json").unlink()
    assert train(spec, directory, stopped, "cpu", check=False).exists()


def test_specs_of_numpy_numbers_are_taken(spec, directory, tmp_path):
    from dataclasses import replace  # noqa: PLC0415

    numbers = replace(
        spec,
        n_steps=np.int64(4),
        seed=np.uint8(3),
        network=replace(spec.network, hidden=np.int32(1), dropout=np.float32(0.25)),
    )
    network = load(train(numbers, str(directory), str(tmp_path / "run"), "cpu"), "cpu")
    assert network.spec == replace(spec, n_steps=4, seed=3, network=replace(spec.network, dropout=0.25))
    assert train(numbers, directory, tmp_path / "run", "cpu").exists()


@pytest.mark.parametrize("wrong", ["spec", None, 3, {}])
def test_what_is_no_spec_is_refused(directory, tmp_path, wrong):
    with pytest.raises(UserError, match=r"spec: of type .*; give a TrainSpec"):
        train(wrong, directory, tmp_path / "run", "cpu")
