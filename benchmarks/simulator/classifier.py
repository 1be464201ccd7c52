"""A small network that tells hydrodynamic maps from their gravity-only twins, and the suites from one another."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import numpy as np
import numpy.typing as npt
import torch
from benchmarks.simulator.maps import hypercube_maps
from benchmarks.simulator.measurement import Result, Setting
from scipy.stats import rankdata
from torch import Tensor
from torch.nn.functional import cross_entropy

from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.suites import MOCK_TWIN, mock_suites

HIDDEN, BATCH_SIZE, LEARNING_RATE, TRAINING_SHARE = 4, 64, 3e-3, 0.8


def classifier(setting: Setting) -> Result:
    """Hydrodynamic maps or the twin's, of simulations that the network has not seen, a network for each suite."""
    n_steps = setting.sizes.n_classifier_steps
    suites = {suite: _of_two(setting, (MOCK_TWIN, suite), n_steps) for suite in mock_suites()}
    return {"suites": suites, "n_rows": setting.sizes.n_map_rows, "n_steps": n_steps}


def _of_two(setting: Setting, classes: Sequence[str], n_steps: int) -> Result:
    scores, result = _train_and_test(setting, classes, n_steps)
    return result | {"auc": _area(scores[..., 1] - scores[..., 0])}


def suites_classifier(setting: Setting) -> Result:
    """Which of the suites a map is of: one network for all."""
    n_steps = setting.sizes.n_suites_classifier_steps
    scores, result = _train_and_test(setting, mock_suites(), n_steps)
    return result | {
        "classes": mock_suites(),
        "confusion": _confusion(scores),
        "n_rows": setting.sizes.n_map_rows,
        "n_steps": n_steps,
    }


def _train_and_test(setting: Setting, classes: Sequence[str], n_steps: int) -> tuple[npt.NDArray[np.float64], Result]:
    """Log-probabilities (simulation, class, 15, class) of test maps; what is made of one row is on one side."""
    made = hypercube_maps(setting).maps
    maps = torch.from_numpy(np.stack([made[name] for name in classes], axis=1)).to(setting.device).log10_()
    order = torch.from_numpy(np.random.default_rng(1).permutation(len(maps))).to(setting.device)
    training, test = maps[order].split([n := round(TRAINING_SHARE * len(maps)), len(maps) - n])
    mean, std = training.mean(), training.std()
    training, test = ((part - mean) / std for part in (training, test))
    torch.manual_seed(1)
    network = MomentNetwork(maps.shape[-1], HIDDEN, dropout=0.1, n_parameters=len(classes)).to(setting.device)
    _train(network.to(memory_format=torch.channels_last), training, n_steps)
    scores = _scores(network.eval(), test)
    return scores, _accuracy(scores) | {"n_test": len(test), "n_training": n}


def _train(network: MomentNetwork, maps: Tensor, n_steps: int) -> None:
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=n_steps)
    for batch, kind in _batches(maps, n_steps):
        with _autocast(maps.device):
            logits, _ = network(batch)
        loss = cross_entropy(logits.float(), kind)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()


def _batches(maps: Tensor, n_steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Random maps (simulation, class, 15) of a training set, shifted and reflected, with their class."""
    random = np.random.default_rng(2)
    n_pixels = maps.shape[-1]
    for _ in range(n_steps):
        simulation, kind, number = (
            torch.from_numpy(random.integers(0, n, BATCH_SIZE)).to(maps.device) for n in maps.shape[:3]
        )
        batch = maps[simulation, kind, number].roll(tuple(random.integers(0, n_pixels, 2).tolist()), (1, 2))
        turned = batch.rot90(int(random.integers(4)), (1, 2))
        mirrored = turned.flip(1) if random.integers(2) else turned
        yield mirrored[:, None].contiguous(), kind


def _autocast(device: torch.device) -> torch.autocast | nullcontext[None]:
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()


@torch.no_grad()
def _scores(network: MomentNetwork, maps: Tensor) -> npt.NDArray[np.float64]:
    """Log-probabilities of the classes, (simulation, class, 15, class)."""
    logits = torch.stack([network(of_row.flatten(0, 1)[:, None])[0] for of_row in maps])
    scores: npt.NDArray[np.float64] = logits.double().log_softmax(-1).cpu().numpy()
    return scores.reshape(*maps.shape[:3], -1)


def _accuracy(scores: npt.NDArray[np.float64]) -> Result:
    """Share of maps, and of simulations by the mean over their 15 maps, that get their class; errors by simulation."""
    true = np.arange(scores.shape[1])
    by_row = (scores.argmax(-1) == true[:, None]).mean((1, 2))
    together = scores.mean(2).argmax(-1) == true
    return {
        "accuracy": by_row.mean(),
        "accuracy_error": by_row.std(ddof=1) / len(by_row) ** 0.5 if len(by_row) > 1 else 0.0,
        "accuracy_of_simulations": together.mean(),
    }


def _confusion(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Share of the maps of each class (rows) that are taken for each (columns)."""
    taken = scores.argmax(-1)
    classes = range(scores.shape[1])
    return np.array([[(taken[:, true] == other).mean() for other in classes] for true in classes])


def _area(scores: npt.NDArray[np.float64]) -> float:
    """Area under the ROC curve of scores (simulation, 2, 15), of which the second class should have the higher."""
    first, second = scores[:, 0], scores[:, 1]
    ranks = rankdata(np.concatenate([first.ravel(), second.ravel()]))[first.size :]
    return float((ranks.sum() - second.size * (second.size + 1) / 2) / (first.size * second.size))
