r"""Batch norms: a network of labelled suites whose statistics are measured again on unlabelled maps of another one.

The network is trained without that suite. Once its statistics stand and its head is fitted, the mean and the variance
of each batch norm move from those over training batches to those over batches of unlabelled maps,

    m <- (1 - w) m + w m_target,    v <- (1 - w) v + w v_target,

so that features which the other suite has shifted or scaled are as they were. It helps on that suite alone, and costs
on those of the training.

References:
    Li et al. 2016, arXiv:1603.04779 (AdaBN); Schneider et al. 2020, arXiv:2006.16971 (with a share of the source's).
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from fieldlevel.data.batches import BatchSampler, MapSet
from fieldlevel.estimators.estimator import Estimator
from fieldlevel.training import distributed
from fieldlevel.training.method import FRACTION, WHOLE, Method, Rule
from fieldlevel.training.step import arranged
from fieldlevel.training.train_spec import TrainSpec


class TargetNorms(Method):
    """Pooling of the labelled suites, and other statistics in the end.

    Args:
        spec: of the training.
        network: that learns.
        training: its maps.
        weight: w; 1 takes the statistics of the unlabelled maps alone.
        n_batches: of unlabelled maps to measure on.
    """

    rules: ClassVar[Mapping[str, Rule]] = {"weight": FRACTION, "n_batches": WHOLE}
    least_sources: ClassVar[int] = 2
    needs_unlabelled: ClassVar[bool] = True
    uses_unlabelled: ClassVar[bool] = True
    draws_unlabelled: ClassVar[bool] = False

    def __init__(
        self, spec: TrainSpec, network: Estimator, training: MapSet, weight: float = 1.0, n_batches: int = 100
    ) -> None:
        super().__init__(spec, network, training)
        self.weight = weight
        self.n_batches = n_batches
        self._spec = spec
        self._training = training

    def settle(self, network: Estimator) -> None:
        """Measure on batches of the unlabelled sources together, each map once before any comes again."""
        norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
        before = [{name: value.clone() for name, value in norm.named_buffers()} for norm in norms]
        network.settle(self._inputs())
        with torch.no_grad():
            for norm, known in zip(norms, before, strict=True):
                for name, found in norm.named_buffers():
                    is_statistic = found.is_floating_point()
                    found.copy_(torch.lerp(known[name], found, self.weight) if is_statistic else known[name])
        network.eval()

    def _inputs(self) -> Iterator[Tensor]:
        spec, training = self._spec, self._training
        numbers = torch.tensor([number for number in range(self.n_sources) if number not in self.labelled])
        chosen = torch.isin(training.source, numbers.to(training.source.device))
        unlabelled = MapSet(*(getattr(training, name)[chosen] for name in ("maps", "theta", "simulation")))
        own = distributed.equal_share(spec.batch_size)
        sampler = BatchSampler(unlabelled, spec.batch_size, spec.augmentation, spec.seed, own)
        return (arranged(sampler.draw().maps) for _ in range(self.n_batches))
