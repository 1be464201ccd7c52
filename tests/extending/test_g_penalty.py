"""(g) A penalty on two sources with weights and an optimiser of its own: killed and resumed to the bit."""

import os
import signal
import subprocess
import sys

import numpy as np
import torch
from safetensors import safe_open
from toy import TOY_TRAIN

from fieldlevel.cli import main

CRITIC = '''
import torch
from torch import nn
from torch.nn import functional

from fieldlevel.training.penalty import Penalty


class Critic(Penalty):
    """Learns to tell the sources by the features, which learn to prevent it."""

    def __init__(self, n_features, n_sources, weight=0.5):
        super().__init__()
        self.weight = weight
        self.layers = nn.Sequential(nn.Linear(n_features, 4), nn.Tanh(), nn.Linear(4, n_sources))
        self.optimisers = [torch.optim.Adam(self.layers.parameters(), lr=1e-2)]

    def cross_entropy(self, features, source):
        return functional.cross_entropy(self.layers(features), source)

    def update(self, features, source, theta):
        self.optimisers[0].zero_grad()
        self.cross_entropy(features, source).backward()
        self.optimisers[0].step()

    def loss(self, features, source, theta):
        return -self.weight * self.cross_entropy(features, source)
'''
TOML = """
penalty = "my_critic:Critic"
[[sources]]
suite = "MockTNG"
[[sources]]
suite = "MockSIMBA"
"""
KILLED = """
import os, signal, sys
from fieldlevel import progress, console
from fieldlevel.cli import main
from fieldlevel.training import trainer

write = trainer.ResumeFile.write

def write_then_die(file, state):
    write(file, state)
    os.kill(os.getpid(), signal.SIGKILL)

trainer.ResumeFile.write = write_then_die
main(sys.argv[1:])
"""


def tensors_of(path):
    with safe_open(path, "numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def test_killed_and_resumed_to_the_bit(write_suite, place):
    write_suite("MockTNG")
    write_suite("MockSIMBA", seed=1)
    (place / "my_critic.py").write_text(CRITIC)
    (place / "critic.toml").write_text(TOML)
    arguments = ["train", "--data", "cmd", "--config", "critic.toml", "--network.hidden", "1", *TOY_TRAIN]
    assert main([*arguments, "--out", "whole"]) == 0
    killed = [sys.executable, "-c", KILLED, *arguments, "--out", "killed"]
    assert subprocess.run(killed, check=False, env=os.environ, cwd=place).returncode == -signal.SIGKILL
    state = torch.load(place / "killed" / "resume.pt", weights_only=True)
    assert state["step"] == 4
    assert "penalty" in state
    assert main([*arguments, "--out", "killed"]) == 0
    whole, resumed = (tensors_of(place / name / "weights.safetensors") for name in ("whole", "killed"))
    assert whole.keys() == resumed.keys()
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)
    assert not any("critic" in name or "penalty" in name for name in whole)
