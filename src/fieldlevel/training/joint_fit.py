r"""What joins the parameters of a joint head, fitted once features and moments stand (`estimators.joint_head`).

Each training map is drawn a few times, with its symmetries and shifts as in training, and its moments and the normal
scores of its targets are kept; then the steps cost next to nothing. They are of AdamW, with gradients of bounded
length, by minus the logarithm of the joint density over that of the marginals.

The start is a correlation matrix of all maps: what the training maps tell of it above the noise of their simulations
(`training.joint_start`), or none where the validation maps contradict it by more than the error of their simulations.
The steps alone find too little: they learn the correlations that the targets of the training simulations have by chance
as fast as those of posteriors, and are stopped for the former.

The validation maps choose: every few steps the density of these is looked at, and what is kept in the end is the best
so far, the start included. So on the validation simulations a joint head is worse than the moment head is by that error
at most, and a fit that goes astray leaves what was there before it.

Several processes gather the draws of all, take the same steps and keep what the first has found.

References:
    Prechelt 1998, Early stopping - but when? (what is kept is the best on data that was held out).
"""

import math
from collections.abc import Iterable, Iterator
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW

from fieldlevel.data.batches import Batch, MapSet
from fieldlevel.estimators.estimator import Estimator
from fieldlevel.estimators.joint_head import JointHead, scores
from fieldlevel.training import distributed
from fieldlevel.training.joint_start import correlations_above_noise
from fieldlevel.training.step import arranged

N_DRAWS = 4
"""Of each training map."""
MOST_DRAWS = 2**17
"""Of all of them."""
BATCH = 512
RATES = (5e-3, 1e-4)
"""First learning rates of biases and of matrices, which fall to zero along half a cosine: what all maps have in common
is learnt before what sets them apart, of which few simulations tell little: with ten times the rates that was learnt
by heart within 25 steps, and nothing was kept."""
DECAY = 1e-2
"""Of matrices."""
LONGEST_GRADIENT = 1.0
LOOK_EVERY = 10
"""Steps between looks at the validation maps."""
PATIENCE = 300
"""Steps without a better look, after which there are no more."""


class Scored(NamedTuple):
    """Maps with their moments, targets and normal scores of these, and ones where they are known, each (n, P)."""

    mean: Tensor
    std: Tensor
    score: Tensor
    known: Tensor
    theta: Tensor


def n_draws(training: MapSet, batch_size: int) -> int:
    """Batches that are wanted of the training maps."""
    return math.ceil(min(N_DRAWS * training.n_maps, MOST_DRAWS) / batch_size)


def fit_joint(
    network: Estimator, batches: Iterable[Batch], validation: MapSet, n_steps: int, batch_size: int, seed: int
) -> None:
    """Fit what joins the parameters; the head tells the joint density from then on.

    Args:
        network: in evaluation mode, its features, statistics and moments settled; changed in place. One whose head is
            no `JointHead` stays as it is, and no batch is drawn.
        batches: this rank's shares of maps and targets as they are drawn in training.
        validation: maps to choose with, all their symmetries.
        n_steps: at most.
        batch_size: maps to hold in the network at a time.
        seed: of the order in which maps come.
    """
    head = network.head
    if not isinstance(head, JointHead):
        return
    head.begin_joining()
    training = _scored(network, ((batch.maps, batch.theta) for batch in batches))
    training = Scored(*(distributed.gather_batch(part) for part in training))
    held_out = _scored(network, _views(validation, max(1, batch_size // validation.n_views)))
    _start(head, training, held_out)
    _descend(head, training, held_out, n_steps, torch.Generator().manual_seed(seed))
    distributed.broadcast_state(head)


def _start(head: JointHead, training: Scored, held_out: Scored) -> None:
    score, known, theta = (each.cpu().double().numpy() for each in (training.score, training.known, training.theta))
    before = deepcopy(head.state_dict())
    head.start_from(torch.from_numpy(correlations_above_noise(score, known > 0, theta)))
    gains = _gains(head, held_out)
    if gains.mean() + gains.std(correction=0) / math.sqrt(len(gains)) < 0:
        head.load_state_dict(before)


@torch.no_grad()
def _gains(head: JointHead, maps: Scored) -> Tensor:
    """The logarithm of the joint density over the marginals of each simulation, the mean over its maps, (n,)."""
    terms = head.log_ratio(head.numbers_of(maps.mean, maps.std), maps.score, maps.known.bool()).sum(1).cpu().double()
    place = torch.unique(maps.theta.cpu().nan_to_num(-1.0), dim=0, return_inverse=True)[1]
    return torch.bincount(place, weights=terms) / torch.bincount(place)


def _descend(head: JointHead, training: Scored, held_out: Scored, n_steps: int, generator: torch.Generator) -> None:
    optimiser = _make_optimiser(head)
    lowest, best, last = _look(head, held_out), deepcopy(head.state_dict()), 0
    for step, chosen in zip(range(1, n_steps + 1), _rows(len(training.mean), generator), strict=False):
        for group, rate in zip(optimiser.param_groups, RATES, strict=True):
            group["lr"] = rate * (1.0 + math.cos(math.pi * (step - 1) / n_steps)) / 2.0
        optimiser.zero_grad()
        _loss(head, Scored(*(part[chosen.to(part.device)] for part in training))).backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(head.joining_parameters(), LONGEST_GRADIENT)
        optimiser.step()
        if step % LOOK_EVERY == 0 and (found := _look(head, held_out)) < lowest:
            lowest, best, last = found, deepcopy(head.state_dict()), step
        if step - last >= PATIENCE:
            break
    head.load_state_dict(best)


def _make_optimiser(head: JointHead) -> AdamW:
    parameters = head.joining_parameters()
    biases, matrices = ([each for each in parameters if (each.ndim > 1) == is_matrix] for is_matrix in (False, True))
    return AdamW([{"params": biases, "weight_decay": 0.0}, {"params": matrices, "weight_decay": DECAY}])


def _rows(n_maps: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Numbers of the maps of one step after the other, in random order."""
    while True:
        yield from torch.split(torch.randperm(n_maps, generator=generator), BATCH)


def _loss(head: JointHead, maps: Scored) -> Tensor:
    """Minus the mean logarithm of the joint density over the marginals, for a known target."""
    terms = head.log_ratio(head.numbers_of(maps.mean, maps.std), maps.score, maps.known.bool())
    return -terms.sum() / maps.known.sum().clamp(min=1)


@torch.no_grad()
def _look(head: JointHead, maps: Scored) -> float:
    return _loss(head, maps).item()


@torch.no_grad()
def _scored(network: Estimator, pairs: Iterable[tuple[Tensor, Tensor]]) -> Scored:
    parts = []
    for maps, theta in pairs:
        mean, std, _ = network(arranged(maps))
        known, score, _ = scores(mean, std, theta)
        parts.append(Scored(mean, std, score, known.float(), theta))
    return Scored(*(torch.cat(each) for each in zip(*parts, strict=True)))


def _views(maps: MapSet, n_in_chunk: int) -> Iterable[tuple[Tensor, Tensor]]:
    for start in range(0, maps.n_maps, n_in_chunk):
        chosen = slice(start, start + n_in_chunk)
        yield maps.views(chosen), maps.theta[chosen].repeat(maps.n_views, 1)
