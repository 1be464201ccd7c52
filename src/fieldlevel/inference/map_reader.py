"""What reads raw maps, as far as comparing maps with those of a training needs to know it, and how many at a time."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from fieldlevel.arrays import IntArray
from fieldlevel.data.normalise import AnyNormaliser
from fieldlevel.data.suite import Suite
from fieldlevel.data.transformed import OF_SEED
from fieldlevel.estimators.estimator import Estimator
from fieldlevel.layout import Layout
from fieldlevel.training.train_spec import TrainSpec

MOST_AT_ONCE = 128
"""Maps that a network reads at a time."""
_CPU_PIXELS = 2**20
"""That a network reads at a time on a CPU, where the layers of more leave its caches and are slower by half."""


class MapReader(Protocol):
    """A trained network with what is done to maps before it reads them; a `Predictor` is one."""

    @property
    def network(self) -> Estimator:
        """In evaluation mode."""

    @property
    def spec(self) -> TrainSpec:
        """How it was trained, with the transform of every map."""

    @property
    def normaliser(self) -> AnyNormaliser:
        """Statistics of the logarithm of its training maps."""

    @property
    def layout(self) -> Layout:
        """Of its training maps."""

    @property
    def n_pixels(self) -> int:
        """Pixels a side of the maps that it takes."""

    @property
    def source(self) -> str:
        """Its file, for messages."""


def maps_at_once(n_pixels: int, device: torch.device, most: int = MOST_AT_ONCE) -> int:
    """Maps that a network reads fastest at a time.

    Args:
        n_pixels: a side of a map.
        device: where the network is.
        most: of them.

    Example:
        >>> maps_at_once(256, torch.device("cpu")), maps_at_once(64, torch.device("cpu"))
        (16, 128)
    """
    return max(1, min(most, _CPU_PIXELS // n_pixels**2)) if device.type == "cpu" else most


def simulations_at_once(
    reader: MapReader, suite: Suite, simulations: npt.NDArray[np.integer], most: int = MOST_AT_ONCE
) -> Iterator[IntArray]:
    """Numbers of the simulations of a suite whose maps are read together, in their order.

    They are read one by one where what is done to a map is drawn by its place among those that are read.

    Args:
        reader: of the maps.
        suite: of the simulations.
        simulations: their numbers.
        most: maps at a time; at least one simulation.
    """
    n = 1 if reader.spec.transform.kind in OF_SEED else max(1, most // suite.layout.n_maps)
    for start in range(0, len(simulations), n):
        yield simulations[start : start + n].astype(np.int64)
