r"""Training and inference of the convolutional network beside the released recipe and beside what a device can do.

In one process: the released recipe (`released_recipe`; float32 without TF32, on a GPU also with it, which is what
PyTorch does unless told otherwise) and `TrainingState`, which is what `fieldlevel train` runs, on random maps: with
AdamW in float32 and bfloat16, with Muon in bfloat16; then inference by `Predictor.predict` from maps in the memory of
the CPU, and by the network alone on maps on the device. Each step stands beside the floors of `step_floors`, which are
those of a step with AdamW.

    python benchmarks/training_speed.py --hidden 8 12 --json speed.json
    python benchmarks/training_speed.py --peers

Peers tell what the kernels gain: the same `TrainingState` in bfloat16 with PyTorch's modules (channels last, one CUDA
graph), and the released network by `torch.compile` in bfloat16 and channels last, with the copies of the recipe.

A step is the median over stretches between two reports of the loss, for which the host waits for the device; drawing
and augmenting the batch is in it, validation is not. Peak memory is that of tensors, resident maps included.
"""

import gc
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
import torch
from measuring import arguments_of, median_seconds, print_machine, run, write_numbers
from presets import with_adamw
from released_recipe import ReleasedNetwork, ReleasedRecipe, train_released
from step_floors import FUSED, KERNELS, Floors, floors, measure_rates, step_bytes, step_operations

from fieldlevel.data.batches import MapSet
from fieldlevel.data.normalise import Normaliser
from fieldlevel.estimators import fused
from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.inference.predictor import Predictor
from fieldlevel.numerics.device import select_device
from fieldlevel.progress import Progress
from fieldlevel.training.precision import autocast, seeded
from fieldlevel.training.presets import modern_preset, released_preset
from fieldlevel.training.state import REPORT_EVERY, TrainingState
from fieldlevel.training.train_spec import TrainSpec

Precision = Literal["float32", "bfloat16"]
Method = Literal["AdamW", "Muon"]
Way = Literal["float32", "TF32", "compiled"]
"""In which the released recipe computes."""

N_WARM_UP = 2 * REPORT_EVERY
"""Steps before the clock counts."""


@dataclass(frozen=True)
class Arguments:
    """Time training and inference."""

    hidden: tuple[int, ...] = (8,)
    n_pixels: int = 256
    batch: int = 128
    n_steps: int = 60
    """Steps to time, rounded up to whole stretches."""
    n_maps: int = 13_500
    """Random maps to train on; the released recipe keeps eight copies."""
    inference_batches: tuple[int, ...] = (128, 512)
    peers: bool = False
    """Also time PyTorch's modules in bfloat16, as they are and compiled, which takes minutes."""
    device: str = "auto"
    json: Path | None = None
    """File for the same numbers."""
    seed: int = 0


@dataclass(frozen=True)
class Speed:
    """What training takes.

    Attributes:
        ms_per_step: median over the stretches.
        peak_gb: largest memory of tensors on the device [10^9 bytes]; None on a CPU.
        maps_gb: of the maps to train on [10^9 bytes].
        maps_on: kind of device that holds them.
    """

    ms_per_step: float
    peak_gb: float | None
    maps_gb: float
    maps_on: str


@dataclass(frozen=True)
class Training(Speed):
    """A row of the table of training; shares are floors over the time of a step."""

    name: str
    hidden: int
    maps_per_s: float
    share_fused: float
    share_kernels: float
    share_arithmetic: float
    times_released: float


class Stopwatch:
    """A listener that notes when it hears of a step; the validation at the end does not count."""

    def __init__(self) -> None:
        self._marks: list[tuple[int, float]] = []

    def __call__(self, event: Progress) -> None:
        """Note the time of a step after the warm-up."""
        if N_WARM_UP <= event.done < event.total:
            self._marks.append((event.done, time.perf_counter()))

    def ms_per_step(self) -> float:
        """Median over the stretches."""
        stretches = pairwise(self._marks)
        return 1e3 * median((end - start) / (last - first) for (first, start), (last, end) in stretches)


def total_steps(arguments: Arguments) -> int:
    """Warm-up, whole stretches, and one step that no report follows but the validation's."""
    return N_WARM_UP + REPORT_EVERY * math.ceil(arguments.n_steps / REPORT_EVERY) + 1


def random_set(arguments: Arguments, device: torch.device, n_maps: int) -> MapSet:
    """Gaussian white noise with random targets."""
    generator = torch.Generator(device).manual_seed(arguments.seed)
    maps = torch.randn(n_maps, arguments.n_pixels, arguments.n_pixels, generator=generator, device=device)
    theta = torch.rand(n_maps, 6, generator=generator, device=device)
    return MapSet(maps, theta, torch.arange(n_maps, device=device))


def speed_spec(arguments: Arguments, preset: TrainSpec, hidden: int, precision: Precision) -> TrainSpec:
    """A preset with the sizes of the benchmark, validated once at its end."""
    n_steps = total_steps(arguments)
    return replace(
        preset,
        network=replace(preset.network, hidden=hidden),
        batch_size=arguments.batch,
        n_steps=n_steps,
        validate_every=n_steps,
        precision=precision,
        seed=arguments.seed,
    )


def time_released(arguments: Arguments, hidden: int, device: torch.device, way: Way = "float32") -> Speed:
    """The released recipe; compiled, it is in bfloat16 and channels last."""
    spec = speed_spec(arguments, released_preset(), hidden, "float32")
    free_memory(device)
    with seeded(spec.seed, device), way_to_compute(way, device):
        recipe = ReleasedRecipe(spec, random_set(arguments, device, arguments.n_maps))
        if way == "compiled":
            recipe.network = compiled(recipe.network)
        restart_peak(device)
        watch = Stopwatch()
        train_released(recipe, spec.n_steps, watch)
        return Speed(watch.ms_per_step(), peak_gb(device), recipe.maps.nbytes / 1e9, recipe.maps.device.type)


@contextmanager
def way_to_compute(way: Way, device: torch.device) -> Iterator[None]:
    """How PyTorch computes while it lasts; cuDNN tries its algorithms out."""
    convolutions = torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=way == "TF32")
    with convolutions, autocast("bfloat16" if way == "compiled" else "float32", device):
        yield


def compiled(network: ReleasedNetwork) -> ReleasedNetwork:
    """The network as `torch.compile` makes it; it compiles when it is first called."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return torch.compile(network, mode="reduce-overhead")  # type: ignore[return-value]


def time_modules(arguments: Arguments, hidden: int, device: torch.device) -> Speed:
    """The training step of `fieldlevel train` in bfloat16, with PyTorch's modules in the place of the kernels."""
    with patch.object(fused, "can_fuse", return_value=False):
        return time_fieldlevel(arguments, hidden, device, "bfloat16")


def time_fieldlevel(
    arguments: Arguments, hidden: int, device: torch.device, precision: Precision, method: Method = "AdamW"
) -> Speed:
    """The training step of `fieldlevel train`."""
    preset = with_adamw() if method == "AdamW" else modern_preset()
    spec = speed_spec(arguments, preset, hidden, precision)
    free_memory(device)
    with seeded(spec.seed, device):
        training = random_set(arguments, device, arguments.n_maps)
        state = TrainingState(spec, training, random_set(arguments, device, n_maps=1))
        restart_peak(device)
        watch = Stopwatch()
        state.advance(watch)
        return Speed(watch.ms_per_step(), peak_gb(device), training.maps.nbytes / 1e9, training.maps.device.type)


def free_memory(device: torch.device) -> None:
    """Give back what earlier measurements left on the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def restart_peak(device: torch.device) -> None:
    """Forget the peak so far, such as that of making the maps."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_gb(device: torch.device) -> float | None:
    """Peak of tensors since the restart."""
    return torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None


def training_rows(arguments: Arguments, hidden: int, floor: Floors, device: torch.device) -> Iterator[Training]:
    """The released recipe first, since the others are compared with it."""
    variants: dict[str, Callable[[], Speed]] = {
        "released recipe, float32": lambda: time_released(arguments, hidden, device),
    }
    if device.type == "cuda":
        variants["released recipe, TF32"] = lambda: time_released(arguments, hidden, device, "TF32")
    if arguments.peers:
        variants["released, torch.compile"] = lambda: time_released(arguments, hidden, device, "compiled")
        variants["modules, bfloat16"] = lambda: time_modules(arguments, hidden, device)
    variants |= {
        f"fieldlevel, {float32_name(device)}": lambda: time_fieldlevel(arguments, hidden, device, "float32"),
        "fieldlevel, bfloat16": lambda: time_fieldlevel(arguments, hidden, device, "bfloat16"),
        "fieldlevel, bfloat16, Muon": lambda: time_fieldlevel(arguments, hidden, device, "bfloat16", "Muon"),
    }
    released_ms = None
    for name, measure in variants.items():
        measured = measure()
        ms = measured.ms_per_step
        released_ms = released_ms or ms
        yield Training(
            **asdict(measured),
            name=name,
            hidden=hidden,
            maps_per_s=1e3 * arguments.batch / ms,
            share_fused=floor.fused / ms,
            share_kernels=floor.kernels / ms,
            share_arithmetic=floor.arithmetic / ms,
            times_released=released_ms / ms,
        )


def float32_name(device: torch.device) -> str:
    """What float32 means to convolutions unless somebody forbids it."""
    return "float32 (TF32)" if device.type == "cuda" and torch.backends.cudnn.allow_tf32 else "float32"


@dataclass(frozen=True)
class Inference:
    """A row of the table of inference."""

    name: str
    hidden: int
    batch: int
    maps_per_s: float


def inference_rows(arguments: Arguments, hidden: int, device: torch.device) -> Iterator[Inference]:
    """From the memory of the CPU in float32, then the network alone."""
    spec = speed_spec(arguments, modern_preset(), hidden, "float32")
    precisions: dict[str, Precision] = {float32_name(device): "float32", "bfloat16": "bfloat16"}
    for batch in arguments.inference_batches:
        network = MomentNetwork(arguments.n_pixels, hidden, spec.network.dropout).to(device).eval()
        free_memory(device)
        maps = random_set(arguments, device, batch).maps
        predict_seconds = time_predict(network, spec, maps, device)
        yield Inference("Predictor.predict, float32", hidden, batch, batch / predict_seconds)
        for name, precision in precisions.items():
            seconds = time_network(network, maps, device, precision)
            yield Inference(f"network alone, {name}", hidden, batch, batch / seconds)


def time_predict(network: MomentNetwork, spec: TrainSpec, maps: torch.Tensor, device: torch.device) -> float:
    """Seconds for raw maps in the memory of the CPU to become means and standard deviations there."""
    nobody = np.empty(0, dtype=np.int64)
    predictor = Predictor(network, spec, Normaliser(mean=0.0, std=1.0), nobody, nobody, {})
    raw = (10 ** (maps / 2)).cpu().numpy()
    return median_seconds(lambda: predictor.predict(raw, batch_size=len(raw)), device)


def time_network(network: MomentNetwork, maps: torch.Tensor, device: torch.device, precision: Precision) -> float:
    """Seconds for one batch on the device, in the order of memory that training has there."""
    order = torch.channels_last if device.type == "cuda" else torch.contiguous_format
    network.to(memory_format=order)  # type: ignore[call-overload]
    batch = maps[:, None].contiguous(memory_format=order)
    with torch.inference_mode(), autocast(precision, device):
        return median_seconds(lambda: network(batch), device, n_calls=3)


def speed(arguments: Arguments, device: torch.device) -> dict[str, Any]:
    """Print the tables as they are measured; returns their numbers."""
    rates = measure_rates(device)
    print(f"copy {rates.copy / 1e12:.3g} TB/s, bfloat16 matrix product {rates.product / 1e12:.3g} TFLOP/s")
    numbers: dict[str, Any] = {"rates": asdict(rates), "floors": [], "training": [], "inference": []}
    for hidden in arguments.hidden:
        floor = floors(hidden, arguments.n_pixels, arguments.batch, rates)
        print_floors(hidden, floor, arguments)
        numbers["floors"].append({"hidden": hidden, **asdict(floor)})
        for row in training_rows(arguments, hidden, floor, device):
            print_training(row)
            numbers["training"].append(asdict(row))
        print(f"{'inference':<27} {'batch':>6} {'maps/s':>9}")
        for answer in inference_rows(arguments, hidden, device):
            print(f"{answer.name:<27} {answer.batch:>6} {answer.maps_per_s:9.0f}", flush=True)
            numbers["inference"].append(asdict(answer))
    return numbers


def print_floors(hidden: int, floor: Floors, arguments: Arguments) -> None:
    """What bounds a step, and the head of the table of training."""
    sizes = (hidden, arguments.n_pixels, arguments.batch)
    fused, kernels = (step_bytes(*sizes, passes) / 1e9 for passes in (FUSED, KERNELS))
    print(f"\nhidden {hidden}, {arguments.n_pixels}^2 pixels, batch {arguments.batch}; floors of a step:")
    print(f"  {fused:.3g} GB fused {floor.fused:.3g} ms, {kernels:.3g} GB kernel by kernel {floor.kernels:.3g} ms,")
    print(f"  {step_operations(*sizes) / 1e12:.3g} TFLOP {floor.arithmetic:.3g} ms")
    print(f"{'':<27} {'':>8} {'':>9} {'share of the floors':^25} {'times':>9} {'memory (GB)':>17}")
    heads = ("fused", "kernels", "TFLOP")
    shares = " ".join(f"{head:>8}" for head in heads)
    print(
        f"{'training':<27} {'ms/step':>8} {'maps/s':>9} {shares} {'released':>8} {'peak':>8} {'of maps':>8}", flush=True
    )


def print_training(row: Training) -> None:
    """A line of the table of training."""
    shares = " ".join(f"{share:8.1%}" for share in (row.share_fused, row.share_kernels, row.share_arithmetic))
    peak = "-" if row.peak_gb is None else f"{row.peak_gb:.1f}"
    print(
        f"{row.name:<27} {row.ms_per_step:8.2f} {row.maps_per_s:9.0f} {shares} {row.times_released:8.2f} {peak:>8} "
        f"{row.maps_gb:8.1f} on {row.maps_on}",
        flush=True,
    )


def main() -> None:
    """Print the machine, then the speeds."""
    arguments = arguments_of(Arguments)
    device = select_device(arguments.device)
    known = print_machine(device)
    numbers = {"machine": known, "arguments": asdict(arguments), **speed(arguments, device)}
    write_numbers(arguments.json, numbers)


if __name__ == "__main__":
    run(main)
