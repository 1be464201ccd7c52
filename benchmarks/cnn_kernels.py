r"""The fused kernels of the first blocks, one by one and together, beside the same layers in PyTorch and cuDNN.

Every figure is the median of replays of a captured CUDA graph, after a warm-up. A kernel's minimal traffic counts each
of its inputs and outputs once; the fraction is that of a copy in the same process. The columns of PyTorch hold padding,
convolution, batch norm and activation in bfloat16, channels last: forward, then backward, which is to be compared with
the sum of both gradient kernels.

    python benchmarks/cnn_kernels.py --hidden 8 --batch 128 --n-pixels 256
    python benchmarks/cnn_kernels.py --tune --blocks 2      # rows for the table of tiles
"""

import argparse
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, TimeoutError, as_completed
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product, zip_longest
from statistics import median
from typing import TypeVar

import torch
from measuring import run
from torch import Tensor, nn

from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.estimators.fused.convolutions import DERIVATIVE, STATISTICS, STORE, convolve, correlate
from fieldlevel.estimators.fused.layers import ACTIVATED, GRADIENT, Layer, Source, first_layers, remaining_blocks
from fieldlevel.estimators.fused.stack import fused_blocks
from fieldlevel.estimators.fused.tiles import Pass, Tiles, padded_channels
from fieldlevel.numerics.device import select_device

PASSES: tuple[Pass, ...] = ("forward", "data", "weight")
Result = TypeVar("Result")
REGISTERS = 200
"""Of a thread, estimated, beyond which a candidate is not tried."""


@dataclass(frozen=True)
class Job:
    """One kernel at one place of the network."""

    number: int
    layer: Layer
    passing: Pass
    n_pixels: int
    batch: int

    @property
    def name(self) -> str:
        """Block, layer in the block, pass."""
        return f"C{self.number // 3}{self.number % 3 + 1} {self.passing}"

    @property
    def widths(self) -> tuple[int, int]:
        """Input and output channels."""
        return self.layer.convolution.in_channels, self.layer.convolution.out_channels

    @property
    def n_bytes(self) -> int:
        """Minimal traffic in bfloat16; the maps are float32."""
        n_in, n_out = self.widths
        side = self.n_pixels // self.layer.convolution.stride[0]
        source = self.batch * self.n_pixels**2 * n_in * (4 if self.layer.kind == "first" else 2)
        result = self.batch * side**2 * n_out * 2
        received = result if self.layer.kind == "first" else 2 * result
        stored, read_again = (result, result) if self.layer.stores_gradient else (0, received)
        return {
            "forward": source + result,
            "data": 2 * source + read_again,
            "weight": source + received + stored,
        }[self.passing]

    def sources(self) -> tuple[Source, Source]:
        """Random outputs of the layer below, and a gradient in those of this one."""
        n_in, n_out = self.widths
        side = self.n_pixels // self.layer.convolution.stride[0]
        below = torch.randn(self.batch, self.n_pixels, self.n_pixels, n_in, device="cuda")
        g = torch.randn(self.batch, side, side, n_out, device="cuda").bfloat16()
        if self.layer.kind == "first":
            return Source(below), Source(g)
        coefficients = (torch.rand(3, n, device="cuda") for n in (n_in, n_out))
        source = Source(below.bfloat16(), ACTIVATED, next(coefficients))
        return source, Source(g, GRADIENT, next(coefficients), torch.randn_like(g))

    def kernel(self) -> Callable[[Tiles], object]:
        """The kernel on random numbers, for any tiles."""
        (source, gradient), kind = self.sources(), self.layer.kind
        weight = self.layer.convolution.weight.detach().cuda()
        turned = weight.flip(2, 3).transpose(0, 1)
        if self.passing == "forward":
            ending = STORE if kind == "first" else STATISTICS
            return lambda tiles: convolve(source, weight, kind, tiles, torch.bfloat16, ending)
        if self.passing == "weight":
            return lambda tiles: correlate(
                source, gradient, weight.shape, kind, tiles, torch.bfloat16, self.layer.stores_gradient
            )
        if kind == "halve":
            return lambda tiles: convolve(gradient, weight, "double", tiles, torch.bfloat16, DERIVATIVE, source)
        stored = Source(gradient.tensor)
        return lambda tiles: convolve(stored, turned, "wrap", tiles, torch.bfloat16, DERIVATIVE, source)


def milliseconds(call: Callable[[], object], repeats: int = 15) -> float:
    """Median of replays of a CUDA graph of the call."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    times: list[float] = []
    for _ in range(repeats + 2):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return median(times[2:])


def attempt(name: str, call: Callable[[], Result]) -> Result | None:
    """What a measurement gives, or None and one line that says why there is none."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001  a configuration that the compiler or the device refuses is a result
        print(f"  {name}: {type(error).__name__}: {' '.join(str(error).split())[:110]}", flush=True)
        return None


def copy_bandwidth() -> float:
    """Bytes read and written each second by a copy of 1 GB."""
    x = torch.empty(2**28, device="cuda").normal_()
    y = torch.empty_like(x)
    return 2 * x.nbytes / milliseconds(lambda: y.copy_(x)) * 1e3


def jobs_of(network: MomentNetwork, n_blocks: int, batch: int) -> Iterator[Job]:
    """All kernels of the first blocks, in order."""
    n_pixels = network.n_pixels
    for number, layer in enumerate(first_layers(network.features, n_blocks)):
        for passing in PASSES:
            if (passing, layer.kind) != ("data", "first"):
                yield Job(number, layer, passing, n_pixels, batch)
        n_pixels //= layer.convolution.stride[0]


def modules_milliseconds(job: Job) -> tuple[float, float]:
    """Forward and backward pass of the layer in PyTorch."""
    convolution, norm = (deepcopy(module) for module in (job.layer.convolution, job.layer.norm or nn.Identity()))
    modules = nn.Sequential(convolution, norm, nn.LeakyReLU(0.2)).cuda().train()
    modules.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(job.batch, job.widths[0], job.n_pixels, job.n_pixels, device="cuda").bfloat16()
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_(job.layer.kind != "first")

    def forward() -> Tensor:
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            a: Tensor = modules(x)
            return a

    g = torch.randn_like(forward())

    def both() -> None:
        forward().backward(g)  # type: ignore[no-untyped-call]

    alone = milliseconds(lambda: forward().detach())
    return alone, milliseconds(both) - alone


def padded_widths(job: Job) -> tuple[int, int]:
    """Channels as the table of tiles counts them."""
    n_in, n_out = (padded_channels(n) for n in job.widths)
    return n_in, n_out


def fits(job: Job, tiles: Tiles) -> bool:
    """Whether the registers that a candidate needs are likely to be there."""
    n_in, n_out = padded_widths(job)
    n_in, n_out = (n_out, n_in) if job.passing == "data" else (n_in, n_out)
    n_threads, pixels = 32 * tiles.n_warps, tiles.chunk[0] * tiles.chunk[1]
    inner, all_columns = pixels * min(tiles.channels, n_in), tiles.group[0] * tiles.group[1] * n_out
    columns = min(tiles.columns, all_columns)
    if job.passing == "weight":
        is_tall = inner >= 16 and columns >= 16
        return is_tall and (inner * columns + tiles.block * (inner + 2 * columns) / 2) / n_threads <= REGISTERS
    is_plain = job.passing == "data" and job.layer.stores_gradient
    operands = 1 if is_plain or job.passing == "forward" else 2
    coefficients = 0 if is_plain else (operands + 1) * inner / 4
    accumulated = tiles.block * columns * (1 if job.passing == "forward" else 2) / n_threads
    return inner >= 16 and coefficients + accumulated + operands * tiles.block * inner / n_threads / 2 <= REGISTERS


def candidates(job: Job) -> list[Tiles]:
    """Tiles worth a try."""
    if job.layer.kind == "first":
        shapes = [((2, 2), (4, 4))]
    elif job.layer.kind == "halve":
        shapes = (
            [((2, 2), (1, 1))] if job.passing == "data" else [((1, 1), chunk) for chunk in ((2, 2), (1, 2), (1, 1))]
        )
    elif job.passing == "weight":
        shapes = [((2, 2), (4, 4)), ((2, 2), (2, 4)), ((1, 2), (1, 4)), ((1, 1), (1, 4)), ((1, 1), (1, 1))]
    else:
        shapes = [((2, 2), (1, 4)), ((2, 2), (1, 2)), ((1, 2), (1, 4)), ((1, 2), (1, 2)), ((1, 1), (1, 1))]
    cuts = (128, 64) if max(job.widths) > 32 or job.layer.kind == "halve" else (128,)
    blocks = ((64, 4), (64, 8), (128, 8)) if job.passing == "weight" else ((64, 4), (128, 4), (128, 8))
    stages = (2, 3) if job.passing == "weight" or (job.passing == "data" and job.layer.stores_gradient) else (1, 2)
    found = [
        Tiles(group, chunk, 64, columns, block, n_warps=n_warps, n_stages=n_stages)
        for (group, chunk), columns, (block, n_warps), n_stages in product(shapes, cuts, blocks, stages)
    ]
    return [tiles for tiles in found if fits(job, tiles)]


def depths(job: Job) -> tuple[int, ...]:
    """Tiles for each program, or programs that share a sum: known only at run time, so nothing is compiled again."""
    return (132, 264, 528) if job.passing == "weight" else (1, 4, 16)


@cache
def small_jobs(n_pixels: int, hidden: int) -> dict[str, Job]:
    """All kernels of a network by name, on few maps."""
    network = MomentNetwork(n_pixels, hidden, dropout=0.0)
    return {job.name: job for job in jobs_of(network, n_pixels.bit_length() - 3, batch=16)}


def compile_one(n_pixels: int, hidden: int, name: str, tiles: Tiles) -> str | None:
    """Compile in a process of its own into Triton's cache; returns why not."""
    try:
        small_jobs(n_pixels, hidden)[name].kernel()(tiles)
        torch.cuda.synchronize()
    except Exception as error:  # noqa: BLE001  whatever the compiler refuses is a result
        return f"{type(error).__name__}: {' '.join(str(error).split())[:90]}"
    return None


def compiled(work: list[tuple[Job, Tiles]], options: argparse.Namespace) -> list[tuple[Job, Tiles]]:
    """What could be compiled in the time given, by processes side by side."""
    done, began = [], time.perf_counter()
    pool = ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn"))
    network = options.n_pixels, options.hidden
    futures = {pool.submit(compile_one, *network, job.name, tiles): (job, tiles) for job, tiles in work}
    try:
        for future in as_completed(futures, timeout=options.seconds):
            job, tiles = futures[future]
            if (reason := future.result()) is None:
                done.append((job, tiles))
            else:
                print(f"  {job.name} {tiles}: {reason}", flush=True)
    except TimeoutError:
        print("  out of time: only what is compiled is tried")
    pool.shutdown(wait=False, cancel_futures=True)
    print(f"  {len(done)} of {len(work)} compiled in {time.perf_counter() - began:.0f} s", flush=True)
    return done


def report_kernels(jobs: list[Job], bandwidth: float) -> None:
    """Time of every kernel with the tiles in use, beside the layer in PyTorch."""
    print(f"{'kernel':14s} {'ms':>7s} {'GB/s':>6s} {'of copy':>8s}   PyTorch forward, backward ms", flush=True)
    for job in jobs:
        run, tiles = job.kernel(), job.layer.tiles(job.passing)
        ms = attempt(job.name, partial(milliseconds, partial(run, tiles)))
        if ms is None:
            continue
        rate, theirs = job.n_bytes / ms * 1e3, None
        if job.passing == "forward":
            theirs = attempt(f"{job.name} in PyTorch", partial(modules_milliseconds, job))
        columns = ", ".join(f"{x:.3f}" for x in theirs or ())
        print(f"{job.name:14s} {ms:7.3f} {rate / 1e9:6.0f} {rate / bandwidth:8.1%}   {columns}", flush=True)


def report_best(jobs: list[Job], options: argparse.Namespace) -> None:
    """Try the candidates of every kernel; the best as rows of the table of tiles."""
    tried = zip_longest(*([(job, tiles) for tiles in candidates(job)] for job in jobs))
    work = compiled([one for turn in tried for one in turn if one is not None], options)
    for job in jobs:
        run, times = job.kernel(), dict[Tiles, float]()
        for tiles in [tiles for other, tiles in work if other is job]:
            for deep in [replace(tiles, depth=depth) for depth in depths(job)]:
                ms = attempt(f"{job.name} {deep}", partial(milliseconds, partial(run, deep), repeats=5))
                times |= {} if ms is None else {deep: ms}
        widths = ", ".join(str(n) for n in padded_widths(job))
        for tiles in sorted(times, key=times.__getitem__)[:3]:
            print(f'{times[tiles]:7.3f} ms  ("{job.passing}", "{job.layer.kind}", {widths}): {tiles},', flush=True)


def step_milliseconds(network: MomentNetwork, maps: Tensor, n_blocks: int, is_fused: bool) -> tuple[float, float]:
    """Forward and backward pass of the first blocks; peak memory in GB."""
    first = network.features[: len(network.features) - len(remaining_blocks(network.features, n_blocks))]

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            a = fused_blocks(network.features, maps, n_blocks) if is_fused else first(maps)
        a.backward(a.detach())
        for parameter in first.parameters():
            parameter.grad = None

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return milliseconds(step), torch.cuda.max_memory_allocated() / 1e9


def report_steps(network: MomentNetwork, batch: int) -> None:
    """The first 1, 2, ... blocks together; the last convolution counts as one."""
    maps = torch.randn(batch, 1, network.n_pixels, network.n_pixels, device="cuda")
    print(f"{'blocks':>6s} {'fused ms':>9s} {'GB':>6s} {'PyTorch ms':>11s} {'GB':>6s}", flush=True)
    for n_blocks in range(1, network.n_pixels.bit_length() - 1):
        row: list[float] = []
        for is_fused in (True, False):
            call = partial(step_milliseconds, network, maps, n_blocks, is_fused)
            row += attempt(f"{n_blocks} blocks", call) or [float("nan")] * 2
        print(f"{n_blocks:6d} {row[0]:9.3f} {row[1]:6.2f} {row[2]:11.3f} {row[3]:6.2f}", flush=True)


def main() -> None:
    """Measure, or tune."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, default=8)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--n-pixels", type=int, default=256)
    parser.add_argument("--blocks", type=int, default=3, help="blocks whose kernels are timed one by one")
    parser.add_argument("--tune", action="store_true", help="try many tiles for each of these kernels")
    parser.add_argument("--only", default="", help="a layer or a kernel, such as C02 or 'C02 data'")
    parser.add_argument("--workers", type=int, default=12, help="processes that compile")
    parser.add_argument("--seconds", type=float, default=110.0, help="limit for compiling")
    options = parser.parse_args()
    select_device("cuda")
    began = time.perf_counter()
    network = MomentNetwork(options.n_pixels, options.hidden, dropout=0.0)
    jobs = [job for job in jobs_of(network, options.blocks, options.batch) if job.name.startswith(options.only)]
    bandwidth = copy_bandwidth()
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}; a copy moves {bandwidth / 1e9:.0f} GB/s")
    if options.tune:
        report_best(jobs, options)
    else:
        compiled([(job, job.layer.tiles(job.passing)) for job in jobs], options)
        report_kernels(jobs, bandwidth)
        network.cuda().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        report_steps(network.train(), options.batch)
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    run(main)
