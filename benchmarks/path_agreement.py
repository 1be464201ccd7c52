"""The fast training path beside the float32 one: loss by loss from the same seed, and where several seeds end.

Both train the modern preset, with AdamW unless told otherwise, on Gaussian random fields whose mean, amplitude and
spectral slope follow three of the targets. The float32 path is PyTorch's modules without TF32; the fast path is what
`precision = "auto"` gives.

* First steps of the whole preset: the largest and the mean difference of the training loss from the same seed, beside
  the same differences between two seeds of the float32 path.
* Final validation loss of every seed on both paths, of the network as it predicts, in float32.

    python benchmarks/path_agreement.py --n-pixels 128 --seeds 3
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Literal

import torch
from measuring import arguments_of, print_machine, run, write_numbers
from presets import with_adamw
from torch import Tensor

from fieldlevel.data.batches import MapSet
from fieldlevel.numerics.device import exact_float32, select_device
from fieldlevel.progress import ignore
from fieldlevel.training.precision import seeded
from fieldlevel.training.presets import modern_preset
from fieldlevel.training.state import TrainingState
from fieldlevel.training.train_spec import TrainSpec

Precision = Literal["float32", "auto"]


@dataclass(frozen=True)
class Arguments:
    """Compare both paths."""

    n_pixels: int = 128
    hidden: int = 8
    batch: int = 64
    n_maps: int = 4096
    """To train on; an eighth as many to validate on."""
    n_first: int = 100
    """Steps whose losses are compared one by one."""
    n_steps: int = 1500
    """Of the runs whose final losses are compared; the first steps are those of the preset's own number."""
    seeds: int = 3
    method: Literal["AdamW", "Muon"] = "AdamW"
    device: str = "auto"
    json: Path | None = None
    """File for the same numbers."""


def random_fields(n_maps: int, n_pixels: int, seed: int, device: torch.device) -> MapSet:
    """Gaussian random fields: theta_1 moves the mean, theta_2 the amplitude, theta_3 the slope of the spectrum."""
    generator = torch.Generator(device).manual_seed(seed)
    theta = torch.rand(n_maps, 6, generator=generator, device=device)
    rows, columns = torch.fft.fftfreq(n_pixels, device=device), torch.fft.rfftfreq(n_pixels, device=device)
    k = torch.hypot(rows[:, None], columns).clamp(min=1 / n_pixels) * n_pixels
    maps = torch.empty(n_maps, n_pixels, n_pixels, device=device)
    for one, (shift, amplitude, slope) in zip(maps, theta[:, :3, None, None].unbind(0), strict=True):
        noise = torch.randn(n_pixels, n_pixels, generator=generator, device=device)
        shape = k ** (-0.5 - slope)
        field = torch.fft.irfft2(torch.fft.rfft2(noise) * shape, s=noise.shape)
        one.copy_(0.3 * (shift - 0.5) + (0.5 + amplitude) * field / shape.square().mean().sqrt())
    return MapSet(maps, theta, torch.arange(n_maps, device=device))


def path_spec(arguments: Arguments, precision: Precision, seed: int, n_steps: int) -> TrainSpec:
    """The modern preset with the sizes of the comparison."""
    preset = with_adamw() if arguments.method == "AdamW" else modern_preset()
    return replace(
        preset,
        network=replace(preset.network, hidden=arguments.hidden),
        batch_size=arguments.batch,
        n_steps=n_steps,
        validate_every=n_steps,
        precision=precision,
        seed=seed,
    )


def first_losses(spec: TrainSpec, n_first: int, sets: tuple[MapSet, MapSet]) -> Tensor:
    """Training losses of the first steps."""
    with exact_float32(), seeded(spec.seed, sets[0].maps.device):
        state = TrainingState(spec, *sets)
        return torch.stack([state.take_step(step) for step in range(n_first)]).cpu()


def final_losses(spec: TrainSpec, sets: tuple[MapSet, MapSet]) -> tuple[float, float]:
    """Validation loss after the last step in the precision of the training, and of the network as it predicts."""
    with exact_float32(), seeded(spec.seed, sets[0].maps.device):
        state = TrainingState(spec, *sets)
        state.advance(ignore)
        return state.history[-1].validation_loss, state.best_network().validation_loss


def differences(ours: Tensor, theirs: Tensor) -> dict[str, float]:
    """Largest and mean difference of two series of losses."""
    apart = (ours - theirs).abs()
    return {"largest": apart.max().item(), "mean": apart.mean().item()}


def main() -> None:
    """Print the machine, then both comparisons."""
    arguments = arguments_of(Arguments)
    device = select_device(arguments.device)
    known = print_machine(device)
    n_validation = arguments.n_maps // 8
    sets = (
        random_fields(arguments.n_maps, arguments.n_pixels, 1, device),
        random_fields(n_validation, arguments.n_pixels, 2, device),
    )
    n_whole = modern_preset().n_steps
    specs: dict[str, TrainSpec] = {
        "fast": path_spec(arguments, "auto", 0, n_whole),
        "float32": path_spec(arguments, "float32", 0, n_whole),
        "float32, another seed": path_spec(arguments, "float32", 1, n_whole),
    }
    losses = {name: first_losses(spec, arguments.n_first, sets) for name, spec in specs.items()}
    fall = (losses["float32"][0] - losses["float32"][-10:].mean()).item()
    first = {
        "same seed": differences(losses["fast"], losses["float32"]),
        "another seed": differences(losses["float32, another seed"], losses["float32"]),
    }
    print(f"first {arguments.n_first} steps: the loss falls by {fall:.2f}; fast beside float32")
    for name, apart in first.items():
        print(f"  {name:<13} largest difference {apart['largest']:.3f}, mean {apart['mean']:.3f}", flush=True)
    precisions: tuple[Precision, ...] = ("auto", "float32")
    final: dict[str, list[float]] = {precision: [] for precision in precisions}
    for seed in range(arguments.seeds):
        for precision in precisions:
            trained, predicting = final_losses(path_spec(arguments, precision, seed, arguments.n_steps), sets)
            final[precision].append(predicting)
            told = f"validation loss {predicting:.3f}, as it was trained {trained:.3f}"
            print(f"  seed {seed} {precision:<8} {told}", flush=True)
    for path, values in final.items() if arguments.seeds else ():
        spread = stdev(values) if len(values) > 1 else 0.0
        print(f"{path:<8} validation loss {mean(values):.3f}, scatter of seeds {spread:.3f}")
    numbers = {"fall": fall, "first": first, "final": final}
    write_numbers(arguments.json, {"machine": known, "arguments": asdict(arguments), **numbers})


if __name__ == "__main__":
    run(main)
