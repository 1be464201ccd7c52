r"""An estimator: a body that makes features of maps or summaries, and a head that makes an answer of the features.

Training, search and weights files know this contract alone. Both parts are chosen apart, and either may be anybody's
own `torch.nn.Module`, named in a `TrainSpec` by its import path, `module:Class`.

**A body** is made by `Class(shape, **options)` with the shape of one input, (c, N, N) of maps or (1, F) of summaries.
It maps x, (b, *shape), to features, (b, F) once flattened. It may also have

* `n_features`: F; else it is found with one input of zeros, in evaluation mode;
* `features_of(x)`: the same by faster kernels where they serve, and `compile_kernels(x)`, which makes those ready.

**A head** is made by `Class(n_features, n_outputs, **options)` and has the methods of `Head`. The loss may be any
function of sums over maps, of which the logarithms of the letter are one, so that batches may be shared by several
processes and sets be worked through in chunks. A target that is not known is NaN: such a map does not count for that
output, and each output has a count of its own among the sums.

A head may also have `density(answer)`: the posterior itself, a `densities.Density` in the units of the targets;
without it that is the truncated normal of the moments. A head of a joint posterior is best made as a
`joint_head.JointHead`: the network then learns by the moments, and what joins them is fitted to features that stand.

Either may say `is_recordable = False`, where its work waits for the device or depends on values that are there; the
training step of a GPU is then not recorded as a CUDA graph. Tensors that are to be kept belong to the `state_dict`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fieldlevel.errors import UserError
from fieldlevel.estimators.batch_norms import has_batch_norms, measure_statistics
from fieldlevel.estimators.densities import Density, density_of
from fieldlevel.estimators.imported import path_of, running
from fieldlevel.estimators.sizes import whole_number


class Head(nn.Module, ABC):
    """What makes an answer of features (b, F): `forward(features)`, a tensor or a tuple of tensors.

    Example:
        >>> class MeanHead(Head):
        ...     def __init__(self, n_features: int, n_outputs: int) -> None:
        ...         super().__init__()
        ...         self.linear = nn.Linear(n_features, n_outputs)
        ...
        ...     def forward(self, features: Tensor) -> Tensor:
        ...         return self.linear(features)
        ...
        ...     def sums(self, answer: Tensor, theta: Tensor) -> Tensor:
        ...         known = ~theta.isnan()
        ...         error = (answer - theta.where(known, answer.detach())).square()
        ...         return torch.stack([error.sum(0), known.sum(0)])
        ...
        ...     def loss(self, sums: Tensor) -> Tensor:
        ...         return (sums[0] / sums[1].clamp(min=1)).mean()
        ...
        ...     def posterior(self, answer: Tensor) -> tuple[Tensor, Tensor]:
        ...         return answer, torch.zeros_like(answer)
        >>> body = nn.Sequential(nn.Flatten(), nn.Linear(256, 8), nn.ReLU())
        >>> estimator = Estimator(body, MeanHead(8, 6), shape=(1, 16, 16), n_outputs=6)
        >>> theta = torch.rand(4, 6)
        >>> estimator.loss(estimator.sums(estimator(torch.rand(4, 1, 16, 16)), theta)).shape
        torch.Size([])
    """

    @abstractmethod
    def sums(self, answer: Any, theta: Tensor) -> Tensor:
        """Sums over maps: those of the parts of a set add up to those of the set.

        Args:
            answer: of b maps.
            theta: targets, (b, P); NaN where they are not known.

        Returns:
            Whatever the loss needs, of any shape, the count of known targets of each output included.
        """

    @abstractmethod
    def loss(self, sums: Tensor) -> Tensor:
        """The loss of a set of maps, a scalar, from the sums over it."""

    def warm_up_loss(self, sums: Tensor) -> Tensor:
        """The loss of the first steps, `TrainSpec.squared_error_steps` of them."""
        return self.loss(sums)

    @abstractmethod
    def posterior(self, answer: Any) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each parameter in the units of the targets, each (b, P)."""


HEAD_METHODS = ("forward", "sums", "loss", "posterior")
"""That a head must have, if it is no `Head`."""


class Estimator(nn.Module):
    """A body and a head.

    Args:
        body: makes features of inputs.
        head: makes an answer of features.
        shape: of one input, (c, N, N) of maps or (1, F) of summaries.
        n_outputs: parameters to infer, P.
        n_features: that the head takes; whatever the body makes when None.

    Example:
        >>> from fieldlevel.estimators.moment_head import MomentHead
        >>> body = nn.Sequential(nn.Flatten(), nn.Linear(256, 8), nn.ReLU())
        >>> estimator = Estimator(body, MomentHead(8, 6), shape=(1, 16, 16), n_outputs=6)
        >>> mean, std = estimator.posterior(torch.zeros(3, 1, 16, 16))
        >>> mean.shape, bool((std > 0).all())
        (torch.Size([3, 6]), True)
    """

    BODY: ClassVar[str] = "features"
    """What the body is called among the tensors of a weights file."""

    head: Head

    def __init__(
        self, body: nn.Module, head: nn.Module, shape: Sequence[int], n_outputs: int, n_features: int | None = None
    ) -> None:
        super().__init__()
        self._n_features = n_features
        self.shape = tuple(shape)
        self.n_outputs = n_outputs
        self.add_module(self.BODY, body)
        self.add_module("head", head)

    @property
    def body(self) -> nn.Module:
        """What makes the features."""
        return self.get_submodule(self.BODY)

    @property
    def sizes(self) -> dict[str, Any]:
        """What it takes, beside the spec, to make an estimator of the same layers."""
        return {"shape": list(self.shape), "n_outputs": self.n_outputs}

    @property
    def n_features(self) -> int:
        """Features of a map, F."""
        return count_features(self.body, self.shape) if self._n_features is None else self._n_features

    @property
    def is_recordable(self) -> bool:
        """Whether a step of it may be recorded as a CUDA graph."""
        return all(getattr(part, "is_recordable", True) for part in (self.body, self.head))

    def forward(self, x: Tensor) -> Any:
        """The answer of the head to inputs (b, *shape).

        Raises:
            UserError: inputs of another shape.
        """
        return self.answer_of(self.features_of(x))

    def features_of(self, x: Tensor) -> Tensor:
        """What the head reads of inputs (b, *shape), shape (b, F).

        Raises:
            UserError: inputs of another shape; a body of somebody's own that fails, or makes anything else.
        """
        if x.shape[1:] != self.shape:
            raise UserError(
                f"maps of shape {tuple(x.shape)}: this network takes (n, {', '.join(map(str, self.shape))})"
            )
        run = getattr(self.body, "features_of", self.body)
        with running(self.body, "body"):
            made = run(x)
        _refuse_other_features(self.body, made, len(x), self._n_features)
        features: Tensor = made.flatten(1)
        return features

    def answer_of(self, features: Tensor) -> Any:
        """What the head makes of features (b, F)."""
        with running(self.head, "head"):
            return self.head(features)

    def sums(self, answer: Any, theta: Tensor) -> Tensor:
        """Sums over maps that the loss is made of: `Head.sums`."""
        with running(self.head, "head"):
            sums = self.head.sums(answer, theta)
        if not isinstance(sums, Tensor):
            raise UserError(f"head = {path_of(self.head)}: its sums are {_in_words(sums)}; they must be one tensor")
        return sums

    def loss(self, sums: Tensor) -> Tensor:
        """The loss of a set of maps from the sums over it: `Head.loss`."""
        with running(self.head, "head"):
            loss = self.head.loss(sums)
        return scalar(loss, self.head, "head")

    def warm_up_loss(self, sums: Tensor) -> Tensor:
        """The loss of the first steps: `Head.warm_up_loss`, if it has one."""
        with running(self.head, "head"):
            loss = getattr(self.head, "warm_up_loss", self.head.loss)(sums)
        return scalar(loss, self.head, "head")

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each parameter, in the units of the targets.

        Args:
            x: normalised maps or summaries, (b, *shape).

        Returns:
            Each of shape (b, P).

        Raises:
            UserError: a head of somebody's own that fails, or makes anything else.
        """
        return self.posterior_of(self(x), len(x))

    def posterior_of(self, answer: Any, n: int) -> tuple[Tensor, Tensor]:
        """The same from the answer of the head to n inputs."""
        with running(self.head, "head"):
            posterior = self.head.posterior(answer)
        shapes = [getattr(moment, "shape", None) for moment in posterior] if isinstance(posterior, tuple) else []
        if shapes != [(n, self.n_outputs)] * 2:
            told = f"its posterior of {n} inputs is {_in_words(posterior)}"
            wanted = f"means and standard deviations of shape ({n}, {self.n_outputs})"
            raise UserError(f"head = {path_of(self.head)}: {told}; it must be a tuple of {wanted}")
        return posterior

    def density(self, x: Tensor) -> Density:
        """The posterior of normalised maps or summaries (b, *shape), in the units of the targets, on the CPU.

        Raises:
            UserError: a head of somebody's own that fails, or makes anything else.
        """
        answer = self(x)
        with running(self.head, "head"):
            density = density_of(self.head, answer)
        if not isinstance(density, Density):
            raise UserError(f"head = {path_of(self.head)}: its density is {_in_words(density)}; it must be a Density")
        return density

    def head_parameters(self) -> list[nn.Parameter]:
        """What is fitted again once the features stand."""
        return list(self.head.parameters())

    def settle(self, inputs: Iterable[Tensor]) -> None:
        """Measure the statistics of the batch norms, now that the weights stand; none are drawn if there is no norm.

        Args:
            inputs: batches as they are drawn in training, each (b, *shape).
        """
        measure_statistics(self if has_batch_norms(self.head) else self.body, inputs)

    def compile_kernels(self, x: Tensor) -> None:
        """Compile what the body needs for such a batch, if it has kernels of its own."""
        if (compile_all := getattr(self.body, "compile_kernels", None)) is not None:
            compile_all(x)


def count_features(body: nn.Module, shape: Sequence[int]) -> int:
    """Features of a body: its `n_features`, or as many as it makes of one input of zeros in evaluation mode.

    Raises:
        UserError: it makes anything else.
    """
    if (known := getattr(body, "n_features", None)) is not None:
        return whole_number("n_features", known)
    was_training, weight = body.training, next(body.parameters(), torch.empty(0))
    with torch.no_grad():
        found = body.eval()(torch.zeros(1, *shape, dtype=weight.dtype, device=weight.device))
    body.train(was_training)
    _refuse_other_features(body, found, 1)
    made: Tensor = found
    return made.flatten(1).shape[1]


def scalar(loss: Any, part: nn.Module, setting: str) -> Tensor:
    """A loss as a tensor without axes.

    Args:
        loss: that a head or a penalty has found.
        part: either.
        setting: that names its class.

    Raises:
        UserError: it is none.
    """
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise UserError(f"{setting} = {path_of(part)}: its loss is {_in_words(loss)}; it must be a scalar, a tensor")
    return loss.reshape(())


def _refuse_other_features(body: nn.Module, made: Any, n: int, n_features: int | None = None) -> None:
    is_of_batch = isinstance(made, Tensor) and made.ndim >= 2 and len(made) == n
    if is_of_batch and (n_features is None or n == 0 or made[0].numel() == n_features):
        return
    told = f"{type(body).__name__}: makes {_in_words(made)} of {'one input' if n == 1 else f'{n} inputs'}"
    raise UserError(f"{told}; it must make features of shape (b, {n_features or 'F'})")


def _in_words(found: Any) -> str:
    """The shape of a tensor, the type of anything else."""
    if isinstance(found, tuple | list):
        return f"{type(found).__name__} of {', '.join(map(_in_words, found))}"
    return str(tuple(found.shape)) if isinstance(found, Tensor) else type(found).__name__
