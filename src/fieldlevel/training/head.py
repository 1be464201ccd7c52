r"""The head of a network, fitted again to the features that it predicts from.

In training the batch norms take the statistics of each batch, and dropout hides features at random. Both make the means
of a map scatter from batch to batch, and the standard deviations learn that scatter,

    sigma^2(x) = E[ (theta - mu)^2 | x ] = posterior variance + variance of mu(x) from batch to batch.

A network that predicts has fixed statistics and no dropout, hence better means than its standard deviations say. The
network that is kept therefore learns its last layers once more, for a few batches and by the same loss, on features as
it predicts from them. It learns on the training maps: where the network has overfitted those, the standard deviations
become too small by as much.

Of a joint head these are the layers of the moments; what joins them is fitted after that (`training.joint_fit`).

References:
    Kang et al. 2020, arXiv:1910.09217 (a head retrained on features that stand); Wu & Johnson 2021,
    arXiv:2105.07576, section 3 (what the batch's statistics do to a network that will not have them).
"""

import math
from collections.abc import Iterable

import torch

from fieldlevel.data.batches import Batch
from fieldlevel.estimators.estimator import Estimator
from fieldlevel.training import distributed
from fieldlevel.training.optimisers import make_optimisers, set_rate
from fieldlevel.training.step import arranged, descend
from fieldlevel.training.train_spec import TrainSpec

RATE = 0.1
"""First learning rate in units of the highest one of the training; it falls to zero along half a cosine."""


def fit_head(network: Estimator, batches: Iterable[Batch], spec: TrainSpec) -> None:
    """Fit the head in evaluation mode; features and statistics stay as they are.

    Args:
        network: changed in place, left in evaluation mode.
        batches: `spec.head_batches` of them, this rank's shares of maps and targets as they are drawn in training; none
            is drawn for a head without layers, or whose weights are all frozen.
        spec: how the network was trained.
    """
    network.eval()
    rate = RATE * spec.optimiser.learning_rate
    parameters = network.head_parameters()
    if not any(parameter.requires_grad for parameter in parameters):
        return
    optimisers = make_optimisers(parameters, spec.optimiser, parameters[0].device)
    for number, batch in enumerate(batches):
        fall = number / spec.head_batches
        set_rate(optimisers, rate * (1.0 + math.cos(math.pi * fall)) / 2.0)
        with torch.no_grad():
            features = network.features_of(arranged(batch.maps))
        sums = distributed.all_reduce_sum(network.sums(network.answer_of(features), batch.theta))
        descend(network.loss(sums), parameters, optimisers, spec)
