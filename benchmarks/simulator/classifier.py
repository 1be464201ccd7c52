"""A small network that tells hydrodynamic maps from those of their gravity-only twins."""

from collections.abc import Iterator
from contextlib import nullcontext

import numpy as np
import torch
from benchmarks.simulator.maps import hypercube_maps, of_suite
from benchmarks.simulator.measurement import Measure, Result, Setting
from scipy.stats import rankdata
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.suites import mock_suites

HIDDEN, BATCH_SIZE, LEARNING_RATE, TRAINING_SHARE = 4, 64, 3e-3, 0.8


def classifier(setting: Setting) -> Result:
    """Accuracy on simulations that the network has not seen; a simulation and its twin are on the same side."""
    suites = {suite: _train_and_test(setting, suite) for suite in mock_suites()}
    return {"suites": suites, "n_rows": setting.sizes.n_map_rows, "n_steps": setting.sizes.n_classifier_steps}


def _train_and_test(setting: Setting, suite: str) -> Result:
    spec = of_suite(setting.sizes.letter, suite)
    _, hydro, nbody = hypercube_maps(spec, setting.sizes.n_map_rows, setting.device)
    maps = torch.from_numpy(np.stack([nbody, hydro], axis=1)).log10_()
    order = torch.from_numpy(np.random.default_rng(1).permutation(len(maps)))
    training, test = maps[order].split([n := round(TRAINING_SHARE * len(maps)), len(maps) - n])
    mean, std = training.mean(), training.std()
    training, test = (((part - mean) / std).to(setting.device) for part in (training, test))
    torch.manual_seed(1)
    network = MomentNetwork(spec.n_pixels, HIDDEN, dropout=0.1, n_parameters=1).to(setting.device)
    _train(network.to(memory_format=torch.channels_last), training, setting)
    return _score(network.eval(), test) | {"n_test": len(test), "n_training": n}


def _train(network: MomentNetwork, maps: Tensor, setting: Setting) -> None:
    n_steps = setting.sizes.n_classifier_steps
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=n_steps)
    for batch, is_hydro in _batches(maps, n_steps):
        with _autocast(maps.device):
            logit, _ = network(batch)
        loss = binary_cross_entropy_with_logits(logit[:, 0].float(), is_hydro)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()


def _batches(maps: Tensor, n_steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Random maps (simulation, kind, 15) of a training set, shifted and reflected, with 1 for hydrodynamic ones."""
    random = np.random.default_rng(2)
    n_pixels = maps.shape[-1]
    for _ in range(n_steps):
        simulation, kind, number = (torch.from_numpy(random.integers(0, n, BATCH_SIZE)) for n in maps.shape[:3])
        batch = maps[simulation, kind, number].roll(tuple(random.integers(0, n_pixels, 2).tolist()), (1, 2))
        turned = batch.rot90(int(random.integers(4)), (1, 2))
        mirrored = turned.flip(1) if random.integers(2) else turned
        yield mirrored[:, None].contiguous(), kind.to(maps.device, torch.float32)


def _autocast(device: torch.device) -> torch.autocast | nullcontext[None]:
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()


@torch.no_grad()
def _score(network: MomentNetwork, maps: Tensor) -> Result:
    """Accuracy and area under the ROC curve a map; accuracy of the mean over the 15 maps of a simulation."""
    logits = torch.stack([network(of_kind.flatten(0, 1)[:, None])[0][:, 0] for of_kind in maps.unbind(1)])
    scores = logits.view(2, len(maps), -1).double().cpu().numpy()
    nbody, hydro = scores
    correct = np.concatenate([nbody < 0, hydro > 0], axis=1).mean(1)
    ranks = rankdata(scores.ravel())[nbody.size :]
    area = (ranks.sum() - hydro.size * (hydro.size + 1) / 2) / (nbody.size * hydro.size)
    together = np.concatenate([nbody.mean(1) < 0, hydro.mean(1) > 0])
    return {
        "accuracy": correct.mean(),
        "accuracy_error": correct.std(ddof=1) / len(correct) ** 0.5 if len(correct) > 1 else 0.0,
        "auc": area,
        "accuracy_of_simulations": together.mean(),
    }


MEASURES: dict[str, Measure] = {"classifier": classifier}
