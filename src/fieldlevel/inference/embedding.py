"""The features of a trained network as a module of its own, to embed raw maps for other methods of inference.

    embedding = fieldlevel.load("weights.safetensors").embedding
    density_estimator = sbi.neural_nets.posterior_nn("nsf", embedding_net=embedding, z_score_x="none")

It reads raw maps and does everything that the network does with them: transform, logarithm, normalisation, body. So
they must not be scaled first (`z_score_x="none"`). Its weights are a copy, and held: `requires_grad_(True)` lets them
learn. The statistics of its batch norms stay as they are either way.
"""

import copy
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fieldlevel.data.given import as_maps, as_pixels
from fieldlevel.data.normalise import AnyNormaliser
from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.data.transformed import transform_maps
from fieldlevel.estimators.estimator import Estimator
from fieldlevel.layout import Layout


class Embedding(nn.Module):
    """Raw maps to features.

    Args:
        network: trained; copied without its head.
        normaliser: of its inputs.
        transform: of the maps before that.
        layout: of the maps.
        n_pixels: a side.
    """

    def __init__(
        self, network: Estimator, normaliser: AnyNormaliser, transform: TransformSpec, layout: Layout, n_pixels: int
    ) -> None:
        super().__init__()
        self.n_features = network.n_features
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.network.head = nn.Identity()  # type: ignore[assignment]
        self._normaliser, self._transform, self._layout = normaliser, transform, layout
        self.n_pixels = n_pixels
        self.eval()

    def forward(self, maps: npt.ArrayLike | Tensor) -> Tensor:
        """Features of raw maps.

        Args:
            maps: in the units of the training field, (b, N, N), (b, 1, N, N), or one map, (N, N); tensor or array.

        Returns:
            (b, F), float32; NaN of maps with pixels that no map has, such as the random numbers with which other
            packages find out how many features there are.

        Raises:
            UserError: another shape.
        """
        device = next(self.network.parameters(), torch.empty(0)).device
        given = as_maps(maps, self.n_pixels)
        pixels = given.to(device, torch.float32) if isinstance(given, Tensor) else as_pixels(given, device)
        is_map = (pixels.isfinite() & (pixels >= 0) & (pixels + self._normaliser.offset > 0)).flatten(1).all(1)
        pixels = pixels.where(is_map[:, None, None], 1.0)
        transformed = transform_maps(pixels, self._transform, np.arange(len(pixels)), self._layout)
        features = self.network.features_of(self._normaliser.normalise(transformed)[:, None])
        return features.where(is_map[:, None], torch.nan)

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: a batch norm that learns from a few maps would forget the training's."""
        return super().train(mode=False)
