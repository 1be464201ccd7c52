"""What reads raw maps, as far as comparing maps with those of a training needs to know it."""

from typing import Protocol

from fieldlevel.data.normalise import AnyNormaliser
from fieldlevel.estimators.estimator import Estimator
from fieldlevel.layout import Layout
from fieldlevel.training.train_spec import TrainSpec


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
