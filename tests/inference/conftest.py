"""Toy networks whose posteriors are known: one reads two parameters off the two halves of a map."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fieldlevel.data.normalise import Normaliser
from fieldlevel.estimators.densities import GaussianCopula
from fieldlevel.estimators.estimator import Estimator
from fieldlevel.inference.predictor import Predictor
from fieldlevel.layout import Layout
from fieldlevel.training.train_spec import TrainSpec

NOBODY = np.empty(0, dtype=np.int64)
TWO = Layout().select(["Omega_m", "sigma_8"])
STD = 0.05
"""Of the toy's posteriors, in widths of the prior."""


class Halves(nn.Module):
    """Mean of the upper and of the lower half of a map."""

    n_features = 2

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x):
        half = x.shape[-1] // 2
        return self.gain * torch.stack([x[:, 0, :half].mean((1, 2)), x[:, 0, half:].mean((1, 2))], 1)


class Moments(nn.Module):
    def __init__(self, shift=0.0, std=STD):
        super().__init__()
        self.shift, self.std = shift, std

    def forward(self, features):
        return features + self.shift

    def posterior(self, answer):
        return answer, torch.full_like(answer, self.std)


class Joint(Moments):
    def __init__(self, correlation=0.8, **moments):
        super().__init__(**moments)
        self.factor = torch.linalg.cholesky(torch.tensor([[1.0, correlation], [correlation, 1.0]], dtype=torch.float64))

    def density(self, answer):
        return GaussianCopula(*self.posterior(answer), self.factor.expand(len(answer), 2, 2))


@pytest.fixture
def toy():
    """Makes predictors of 16 x 16 maps: `toy(joint=True, shift=0.1, provenance={...}, ...)`."""

    def make(joint=False, provenance=None, spec=TrainSpec(), layout=TWO, source="toy", **head):  # noqa: B008 (frozen)
        head = Joint(**head) if joint else Moments(**head)
        network = Estimator(Halves(), head, (1, 16, 16), 2).eval()
        known = provenance or {}
        return Predictor(network, spec, Normaliser(11.0, 0.5), NOBODY, NOBODY, known, source=source, layout=layout)

    return make


@pytest.fixture
def toy_maps():
    """Maps that the toy reads these parameters off, in units of the prior, (n, 2)."""

    def make(unit):
        pixels = torch.as_tensor(unit, dtype=torch.float64)[:, :, None, None].expand(-1, 2, 8, 16).reshape(-1, 16, 16)
        return (10 ** (11 + 0.5 * pixels)).float().numpy()

    return make


@pytest.fixture
def physical():
    """Units of the prior to physical ones."""
    return lambda unit: TWO.lows + (TWO.highs - TWO.lows) * np.asarray(unit)


@pytest.fixture
def with_suite():
    """A toy's spec, trained on another suite."""
    return lambda suite: replace(TrainSpec(), suite=suite)
