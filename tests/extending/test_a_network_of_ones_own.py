"""(a) A body and a head of somebody's own: trained, killed, resumed, saved, loaded, predicted."""

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from safetensors import safe_open

import fieldlevel
from fieldlevel.cli import main
from fieldlevel.errors import UserError
from fieldlevel.spec_io import from_json
from fieldlevel.training.train_spec import TrainSpec

KILLED = """
import os, signal, sys
from fieldlevel.spec_io import read_spec
from fieldlevel.training.train_spec import TrainSpec
from fieldlevel.training.trainer import train
from pathlib import Path

def kill(progress):
    if progress.unit == "steps" and progress.done > 8:
        os.kill(os.getpid(), signal.SIGKILL)

train(read_spec(TrainSpec, Path("spec.json")), "cmd", "killed", "cpu", kill)
"""


def tensors_of(path):
    with safe_open(path, "numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def test_a_body_of_ones_own_is_trained_evaluated_and_answers(page, command, write_suite, place):
    folder = write_suite("MockTNG")
    write_suite("MockSIMBA", seed=1)
    assert command(page.commands[0]) == 0
    predictor = fieldlevel.load(place / "network" / "weights.safetensors", "cpu")
    mean, std = predictor.predict(fieldlevel.open_suite(folder, "MockTNG").maps[:4])
    assert mean.shape == (4, 6)
    assert (std > 0).all()
    known = json.loads((place / "network" / "spec.json").read_text())
    assert (known["body"], known["body_options"]) == ("my_networks:Pooled", {"width": 8})
    evaluate = ["evaluate", "network/weights.safetensors", "--data", "cmd", "--suite", "MockSIMBA"]
    assert main([*evaluate, "--out", "tested", "--device", "cpu"]) == 0


def test_with_a_head_of_ones_own_it_is_killed_and_resumed_to_the_bit(page, command, write_suite, place):
    write_suite("MockTNG")
    assert command(page.commands[1]) == 0
    shutil.copy(place / "head" / "spec.json", place / "spec.json")
    process = subprocess.run([sys.executable, "-c", KILLED], check=False, env=os.environ, cwd=place)
    assert process.returncode == -signal.SIGKILL
    assert (place / "killed" / "resume.pt").exists()
    assert command(page.commands[1], "--out", "killed") == 0
    whole, resumed = (tensors_of(place / name / "weights.safetensors") for name in ("head", "killed"))
    assert whole.keys() == resumed.keys()
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)


def test_without_its_module_it_is_refused_in_a_line(page, command, write_suite, place, monkeypatch):
    write_suite("MockTNG")
    assert command(page.commands[1]) == 0
    (place / "my_heads.py").unlink()
    sys.modules.pop("my_heads")
    with pytest.raises(
        UserError, match=r"head = my_heads:Gaussian: cannot be imported .*; put the module on PYTHONPATH"
    ):
        fieldlevel.load(place / "head" / "weights.safetensors", "cpu")


def test_its_spec_is_read_back(place, command, page, write_suite):
    write_suite("MockTNG")
    assert command(page.commands[1]) == 0
    spec = from_json(TrainSpec, (place / "head" / "spec.json").read_text())
    assert (spec.body, spec.head) == ("my_networks:Pooled", "my_heads:Gaussian")
