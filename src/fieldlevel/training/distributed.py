r"""One network trained by several processes, each on a share of every batch: the same network as one process trains.

`torchrun` starts R processes, the ranks. All hold all maps and draw the same batches, and rank r takes the r-th of R
equal shares, so the sequence of batches does not depend on R. Three sums over a batch then need the others' shares:

* the two sums inside the logarithms of the letter's loss, which is no mean of the losses of shares;
* mean and variance of a batch norm;
* the gradient.

`all_reduce_sum` adds up x_1 .. x_R and differentiates as what it is, y_s = sum_r x_r on every rank s. With L_s what
rank s calls backward on, and all of them one objective sum_s L_s,

    dL/dx_r = sum_s dL_s/dy_s,

a sum over the ranks again. All ranks hold the same loss L, so each takes its part L_s = L / R: the gradients that they
are left with are those of L by the paths through their own maps, and add up to the gradient of L. `backward` does both.

Every rank gets the same bits from a sum, so between alike devices weights, running statistics and losses stay equal
without being sent. Only dropout differs: each rank has random numbers of its own. Without a process group there is one
rank, and nothing to add.

With the same masks, R ranks and one process differ by rounding alone.

References:
    Li et al. 2020, arXiv:2006.15704 (data parallelism in PyTorch); Villaescusa-Navarro et al. 2021, arXiv:2109.10360
    (the loss).
"""

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fieldlevel.errors import TrainingError, UserError
from fieldlevel.numerics.device import select_device
from fieldlevel.progress import Listener, ignore
from fieldlevel.training import torchrun

Network = TypeVar("Network", bound=nn.Module)

PATIENCE = timedelta(minutes=10)
"""How long a rank waits for the others before it gives up."""


@contextmanager
def process_group(device: str, patience: timedelta = PATIENCE) -> Iterator[torch.device]:
    """Join the other processes that `torchrun` started; nothing to join where it did not, or for one process.

    After an error the processes should end. On GPUs the group is then not taken down, which could wait for ranks that
    wait themselves.

    Args:
        device: `"auto"` or `"cuda"` (each process on a machine takes a GPU of its own), or `"cpu"`.
        patience: how long to wait for the others, here and in every exchange; in steps recorded on a GPU, in the next
            `heartbeat`. On GPUs PyTorch then ends this process.

    Yields:
        The device of this process.

    Raises:
        UserError: a device that the processes would share, fewer GPUs than processes, or no place where they meet.
        TrainingError: the others did not come.
    """
    if torchrun.n_processes() == 1:
        torchrun.check()
        yield select_device(device)
        return
    own = own_device(device)
    torchrun.check()
    with _others_needed():
        if own.type == "cuda":
            torch.cuda.set_device(own)
            dist.init_process_group("nccl", timeout=patience, device_id=own)
        else:
            dist.init_process_group("gloo", timeout=patience)
    is_done = False
    try:
        yield own
        is_done = True
    finally:
        if is_done or own.type == "cpu":
            gc.collect()  # recorded exchanges that nobody needs would keep the group from ending
            dist.destroy_process_group()
            gc.collect()  # threads of a group that something still refers to would outlive the interpreter and abort


def own_device(name: str) -> torch.device:
    """The CPU, or the GPU that this process has to itself on its machine.

    Args:
        name: as for `process_group`.

    Raises:
        UserError: a device that the processes would share, or fewer GPUs than processes.
    """
    device = select_device(name)
    if device.type == "cpu":
        return device
    if device.index is not None:
        raise UserError(f"device {name!r}: each process of torchrun takes a GPU of its own; use auto, cuda or cpu")
    local_rank = torchrun.local_rank()
    if local_rank >= torch.cuda.device_count():
        raise UserError(
            f"process {local_rank} of this machine has no GPU, there are {torch.cuda.device_count()}; give torchrun "
            "--nproc-per-node at most as many, or use --device cpu"
        )
    return torch.device("cuda", local_rank)


def rank() -> int:
    """Number of this process among those that train the network, from 0."""
    return dist.get_rank() if _is_initialised() else 0


def n_ranks() -> int:
    """Processes that train the network."""
    return dist.get_world_size() if _is_initialised() else 1


def on_rank_zero(listener: Listener) -> Listener:
    """The listener on the first rank, nobody on the others."""
    return listener if rank() == 0 else ignore


def share(n: int) -> slice:
    """Part of n things that falls to this rank: contiguous, the parts of all ranks as equal as can be."""
    return slice(rank() * n // n_ranks(), (rank() + 1) * n // n_ranks())


def equal_share(batch_size: int) -> slice:
    """The part of a batch that falls to this rank, as large as all others: batch norms over the ranks need it so.

    Raises:
        UserError: a batch that does not divide.
    """
    if batch_size % n_ranks():
        raise UserError(f"batch_size = {batch_size}: must be a multiple of the {n_ranks()} processes")
    return share(batch_size)


def all_reduce_sum(x: Tensor) -> Tensor:
    """Sum of a tensor over the ranks, the same bits on each of them; differentiable, see above."""
    return x if n_ranks() == 1 else _AllReduceSum.apply(x)  # type: ignore[no-untyped-call]


def gather(x: Tensor) -> Tensor:
    """Tensors of all ranks, (R, ...), each of the same shape."""
    if n_ranks() == 1:
        return x[None]
    parts = [torch.empty_like(x) for _ in range(n_ranks())]
    with _others_needed():
        dist.all_gather(parts, x)
    return torch.stack(parts)


def gather_batch(x: Tensor) -> Tensor:
    """The whole batch from this rank's share of it, (b, ...); differentiable as `all_reduce_sum` is."""
    if n_ranks() == 1:
        return x
    before, after = (x.new_zeros(n * len(x), *x.shape[1:]) for n in (rank(), n_ranks() - 1 - rank()))
    return all_reduce_sum(torch.cat([before, x, after]))


def broadcast_flag(is_so: bool, device: torch.device) -> bool:
    """What the first rank says."""
    return bool(gather(torch.tensor(is_so, device=device))[0])


def barrier() -> None:
    """Wait until all ranks are here."""
    if n_ranks() > 1:
        with _others_needed():
            dist.barrier()


def heartbeat(device: torch.device) -> None:
    """Exchange something on GPUs that PyTorch watches: in a recorded step it does not notice a rank that is stuck."""
    if n_ranks() > 1 and device.type == "cuda":
        _add_up(torch.zeros(1, device=device))


def check_agreement(number: int, name: str, device: torch.device) -> None:
    """Refuse to go on where ranks hold different numbers.

    Args:
        number: of this rank.
        name: what it is.
        device: that of the network.

    Raises:
        UserError: with the numbers of all ranks.
    """
    numbers = gather(torch.tensor(number, device=device)).tolist()
    if len(set(numbers)) > 1:
        listed = ", ".join(map(str, numbers))
        raise UserError(f"{name} of the processes: {listed}; they must all see the same folder")


def synchronise(network: Network, seed: int) -> Network:
    """Make a network of several ranks: one set of weights, batch norms over all shares, dropout of its own on each.

    Args:
        network: as every rank built it; those of the first rank are the weights of all. Changed in place.
        seed: of the run. From here on rank r > 0 draws its random numbers from seed + r, and the first goes on with
            those that it has.
    """
    if n_ranks() == 1:
        return network
    broadcast_state(network)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm):
                setattr(module, name, _over_all_ranks(child))
    if rank() > 0:
        torch.manual_seed(seed + rank())
    return network


def broadcast_state(module: nn.Module) -> None:
    """Give the parameters and buffers of the first rank to all."""
    if n_ranks() > 1:
        for value in module.state_dict().values():
            value.copy_(_broadcast(value))


def backward(loss: Tensor, parameters: Iterable[nn.Parameter]) -> None:
    """Leave the gradient of a loss with every rank.

    One exchange of all gradients in a row, some tens of MB: under a millisecond between GPUs of one machine, so it is
    not worth while to overlap it with the backward pass.

    Args:
        loss: scalar, the same on all ranks, made of sums by `all_reduce_sum`.
        parameters: what it depends on, in the same order on all ranks.
    """
    if n_ranks() == 1:
        loss.backward()  # type: ignore[no-untyped-call]
        return
    (loss / n_ranks()).backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    total = _add_up(torch.cat([gradient.flatten() for gradient in gradients]))
    parts = torch.split(total, [gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view(gradient.shape))


def _over_all_ranks(norm: _BatchNorm) -> nn.Module:
    """Batch norm with the same weights over the maps of all ranks; PyTorch has one for GPUs alone."""
    if not (norm.affine and norm.track_running_stats and norm.momentum is not None):
        told = f"{norm}: several processes share batch norms with weights and moving averages alone"
        raise UserError(f"{told}; train in one process, or use such a one")
    if norm.weight.is_cuda:
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(norm)  # type: ignore[no-untyped-call]
        return converted
    return GlobalBatchNorm(norm)


class GlobalBatchNorm(_BatchNorm):
    """Batch norm over the maps of all ranks, on CPUs.

    Mean and variance are taken one after the other, in the precision of the weights: a sum of squares would cancel. The
    shares of all ranks are equally large.

    Args:
        norm: batch norm to take the weights and the statistics of.
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum)
        self.to(norm.weight)
        self.load_state_dict(norm.state_dict())

    def forward(self, x: Tensor) -> Tensor:
        """Normalise maps, (b, c, N, N), or anything else whose second axis is that of the channels."""
        if not self.training:
            return super().forward(x)
        wide = x.to(self.weight.dtype)
        mean = _mean_of_channels(wide)
        centred = wide - _along_channels(mean, x.ndim)
        variance = _mean_of_channels(centred.square())
        self._track(mean.detach(), variance.detach(), n_ranks() * x.numel() // x.shape[1])
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * _along_channels(scale, x.ndim) + _along_channels(self.bias, x.ndim)).to(x.dtype)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any shape will do."""

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, n_pixels: int) -> None:
        """Move the running statistics; the running variance is the unbiased one."""
        unbiased = variance * n_pixels / (n_pixels - 1)
        self.running_mean.lerp_(mean, self.momentum)  # type: ignore[union-attr, arg-type]
        self.running_var.lerp_(unbiased, self.momentum)  # type: ignore[union-attr, arg-type]
        self.num_batches_tracked.add_(1)  # type: ignore[union-attr]


def _mean_of_channels(x: Tensor) -> Tensor:
    return all_reduce_sum(x.mean((0, *range(2, x.ndim)))) / n_ranks()


def _along_channels(values: Tensor, n_axes: int) -> Tensor:
    return values.view(-1, *[1] * (n_axes - 2))


class _AllReduceSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _add_up(x.clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _add_up(gradient.clone(memory_format=torch.contiguous_format))


def _add_up(x: Tensor) -> Tensor:
    """Sum over the ranks, in place."""
    with _others_needed():
        dist.all_reduce(x)
    return x


def _broadcast(x: Tensor) -> Tensor:
    sent = x.clone(memory_format=torch.contiguous_format)
    with _others_needed():
        dist.broadcast(sent, src=0)
    return sent


@contextmanager
def _others_needed() -> Iterator[None]:
    """Say in one line that another rank is gone, which PyTorch tells as a closed connection or a time-out."""
    try:
        yield
    except RuntimeError as error:
        raise TrainingError(
            f"process {torchrun.rank()}: another process of this run ended or does not answer; see what "
            "it said, then give the same command again: it continues"
        ) from error


def _is_initialised() -> bool:
    return dist.is_available() and dist.is_initialized()
