r"""A method: how several suites are trained together so that the network holds on another one.

It has a say at four places of a training, each of which is pooling unless a subclass says otherwise:

* `choose` and `gather`: which maps a batch holds, and what is done to them;
* `loss`: how the losses of the suites become one;
* `penalty`: what is added to that, outside its logarithms, from the features of the batch;
* `settle`: what is done to the network that is kept, once its head is fitted.

A method is made by `Class(spec, network, training, **options)`. Every one of the package but `pooled` has a `weight`;
with 0 the network is that of pooling to the bit.

What it does in a step is recorded as a part of the CUDA graph, so it waits for nothing there, its shapes depend on no
values, and tensors that it changes keep their place; `choose` and `settle` are not recorded. Several processes hold
equal methods, and each sees its share of a batch. What the next step depends on is its `state_dict` and, with a
penalty, what that adds; its random numbers come from counters, not from the global generator.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from fieldlevel.data.batches import Batch, BatchSampler, MapSet
from fieldlevel.errors import UserError
from fieldlevel.estimators.estimator import Estimator
from fieldlevel.training.penalty import Learner, Penalty
from fieldlevel.training.train_spec import TrainSpec

Rule = tuple[Callable[[Any], bool], str]
"""Whether a value is allowed, and in words what is."""


def is_number(value: object) -> bool:
    """Whether an option is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


NOT_NEGATIVE: Rule = (lambda value: is_number(value) and value >= 0, "a number, not negative")
FRACTION: Rule = (lambda value: is_number(value) and 0 <= value <= 1, "a number from 0 to 1")
POSITIVE: Rule = (lambda value: is_number(value) and value > 0, "a number above 0")
WHOLE: Rule = (lambda value: type(value) is int and value >= 1, "a whole number, at least 1")
NUMBER: Rule = (is_number, "a number")


class SourceLosses(NamedTuple):
    """Losses of the labelled sources, each by itself, in the order of their numbers.

    Attributes:
        own: over all outputs that the source teaches, (G,).
        shared: over those that all of them teach, which alone may be compared, (G,).
    """

    own: Tensor
    shared: Tensor


class Method(Learner):
    """How the sources of one training are brought together; this one pools them.

    Args:
        spec: of the training.
        network: that learns, on the device.
        training: its maps.

    Attributes:
        rules: of the options: what they are allowed to be.
        least_labelled: sources with labels that it needs.
        least_sources: sources that it needs, labelled or not.
        needs_unlabelled: whether one at least must be without labels.
        uses_unlabelled: whether maps without labels are of any use to it.
        draws_unlabelled: whether batches hold such maps.
        reads_maps: whether it works on maps alone, not on summaries.
        needs_losses: whether `loss` is given those of the sources apart.
        is_recordable: whether what it does in a step may be recorded in a CUDA graph.
        labelled: numbers of the sources with labels.
        shared: outputs that all of these teach, (P,).
        penalty: that it adds to the loss, if any.

    Example:
        >>> class Halved(Method):
        ...     def loss(self, pooled: Tensor, losses: SourceLosses | None) -> Tensor:
        ...         return pooled / 2
    """

    rules: ClassVar[Mapping[str, Rule]] = {}
    least_labelled: ClassVar[int] = 1
    least_sources: ClassVar[int] = 1
    needs_unlabelled: ClassVar[bool] = False
    uses_unlabelled: ClassVar[bool] = False
    draws_unlabelled: ClassVar[bool] = True
    reads_maps: ClassVar[bool] = False
    needs_losses: ClassVar[bool] = False
    is_recordable: ClassVar[bool] = True

    shared: Tensor

    def __init__(self, spec: TrainSpec, network: Estimator, training: MapSet) -> None:
        super().__init__()
        n_sources = 1 + int(training.source.max())
        known = torch.stack([~training.theta[training.source == number].isnan().all(0) for number in range(n_sources)])
        self.n_sources = n_sources
        self.labelled = tuple(torch.nonzero(known.any(1)).flatten().tolist())
        self.register_buffer("shared", known[list(self.labelled)].all(0), persistent=False)
        self.penalty: Penalty | None = None

    def choose(self, sampler: BatchSampler) -> Tensor:
        """What is drawn for the next batch: integers on the CPU, (b, K), the first four those of the sampler."""
        return sampler.choose()

    def gather(self, sampler: BatchSampler, chosen: Tensor) -> Batch:
        """Make a batch of what was chosen.

        Args:
            sampler: of the training maps.
            chosen: what `choose` returned, on the device of the maps.
        """
        return sampler.gather(chosen)

    def loss(self, pooled: Tensor, losses: SourceLosses | None) -> Tensor:
        """The loss of a batch.

        Args:
            pooled: of the maps of all sources together, a scalar.
            losses: of each labelled source by itself, over all processes; None unless `needs_losses`.

        Returns:
            A scalar, the same in all processes.
        """
        return pooled

    def settle(self, network: Estimator) -> None:
        """Change the network that is kept, the statistics of which stand and whose head is fitted, in evaluation mode.

        Every process calls it.
        """

    def extra_state(self) -> list[Any]:
        """What the next step depends on beside the `state_dict`: that of its penalty."""
        return [] if self.penalty is None else self.penalty.extra_state()

    def load_extra_state(self, state: list[Any]) -> None:
        """Go on from what `extra_state` told, on whatever device."""
        if self.penalty is not None:
            self.penalty.load_extra_state(state)

    def _refuse_nothing_shared(self, spec: TrainSpec) -> None:
        """Where a method compares the suites by outputs that all of them teach.

        Raises:
            UserError: there is none.
        """
        if not bool(self.shared.any()):
            raise UserError(f"method = {spec.method}: no output is taught by all suites with labels; give such outputs")


def source_losses(
    method: Method,
    sums_of: Callable[[Tensor], Tensor],
    loss_of: Callable[[Tensor], Tensor],
    batch: Batch,
    add_up: Callable[[Tensor], Tensor],
) -> SourceLosses:
    """Losses of the labelled sources of a batch: all other targets count as unknown.

    Args:
        method: whose labelled sources and shared outputs these are.
        sums_of: sums over this rank's share from its targets, (b, P): `Estimator.sums` of the answer.
        loss_of: the loss from sums.
        batch: the share.
        add_up: over the processes.
    """
    unknown = torch.full_like(batch.theta, torch.nan)
    of_source = [batch.theta.where((batch.source == number)[:, None], unknown) for number in method.labelled]
    of_shared = [theta.where(method.shared, unknown) for theta in of_source]
    sums = add_up(torch.stack([sums_of(theta) for theta in (*of_source, *of_shared)]))
    own, shared = torch.stack([loss_of(each) for each in sums]).chunk(2)
    return SourceLosses(own, shared)
