"""How near to the network alone does inference come that also judges the maps, and how fast are samples drawn?

Maps a second of the network on normalised maps that lie on the device already; of `Predictor.predict` from maps in the
memory of the CPU; of `Predictor.posterior`, which compares the maps with those of the training too, where the network
has a reference; of looking for maps among those that the network has seen, as `fieldlevel infer` does. Then the seconds
of 10,000 samples of the posteriors of a hundred maps.

    python benchmarks/inference_speed.py --weights network/weights.safetensors --n-maps 15000 --device cuda

The maps are lognormal noise of the level of the training's unless a file is given. They are unlike those of the
training, so that a block of them is also looked at in other units, five passes of 120 maps.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from measuring import arguments_of, median_seconds, print_machine, run, write_numbers

from fieldlevel.arrays import FloatArray
from fieldlevel.data.given import as_maps, as_pixels
from fieldlevel.data.normalise import Normaliser
from fieldlevel.data.seen import find_digests
from fieldlevel.data.transformed import transform_maps
from fieldlevel.errors import UserError
from fieldlevel.inference.map_reader import maps_at_once
from fieldlevel.inference.predictor import Predictor, load
from fieldlevel.inference.trust.judging import reference_of
from fieldlevel.numerics.device import exact_float32, select_device
from fieldlevel.numerics.memory import keep_freed_memory

N_SAMPLES, N_SAMPLED = 10_000, 100


@dataclass(frozen=True)
class Arguments:
    """Time inference."""

    weights: str = "MockTNG"
    """File of a network, or name of one that comes with the package."""
    n_maps: int = 1280
    maps: Path | None = None
    """`.npy` file of maps, (n, N, N), of which the first are taken; noise when None."""
    batch: int = 128
    """Maps at a time, at most: on a CPU fewer are faster."""
    device: str = "auto"
    json: Path | None = None
    """File for the same numbers."""
    seed: int = 0


@dataclass(frozen=True)
class Row:
    """A row of the table; its share is that of the speed of the network alone."""

    name: str
    maps_per_s: float
    share: float


def some_maps(arguments: Arguments, predictor: Predictor) -> FloatArray:
    """Those of the file, else noise, in the memory of the CPU."""
    if arguments.maps is not None:
        return np.array(as_maps(np.load(arguments.maps, mmap_mode="r"), predictor.n_pixels)[: arguments.n_maps])
    if not isinstance(predictor.normaliser, Normaliser):
        raise UserError("noise is no input of a network on summaries; give --maps")
    generator = np.random.default_rng(arguments.seed)
    noise = generator.standard_normal((arguments.n_maps, predictor.n_pixels, predictor.n_pixels), dtype=np.float32)
    maps: FloatArray = np.float32(10.0) ** (predictor.normaliser.mean + predictor.normaliser.std * noise)
    return maps.astype(np.float32)


def network_alone(predictor: Predictor, maps: FloatArray, batch: int, device: torch.device) -> Callable[[], object]:
    """A call of the network on so many maps, of which one block lies on the device."""
    pixels = transform_maps(
        as_pixels(maps[:batch], device), predictor.spec.transform, np.arange(min(batch, len(maps))), predictor.layout
    )
    inputs = predictor.normaliser.normalise(pixels)[:, None]

    @torch.inference_mode()
    def forward() -> None:
        with exact_float32():
            for start in range(0, len(maps), batch):
                predictor.network.posterior(inputs[: len(maps) - start])

    return forward


def main() -> None:
    """Print the table and write it."""
    arguments = arguments_of(Arguments)
    device = select_device(arguments.device)
    predictor, machine = load(arguments.weights, arguments.device), print_machine(device)
    maps, batch = some_maps(arguments, predictor), maps_at_once(predictor.n_pixels, device, arguments.batch)
    keep_freed_memory()  # as the commands do
    judged = "with" if reference_of(predictor) is not None else "without"
    calls: dict[str, Callable[[], object]] = {
        "network alone": network_alone(predictor, maps, batch, device),
        "predict": lambda: predictor.predict(maps, batch),
        f"posterior, {judged} judging": lambda: predictor.posterior(maps, batch),
        "look among seen maps": lambda: find_digests(frozenset(), maps),
    }
    rows: list[Row] = []
    for name, call in calls.items():
        speed = len(maps) / median_seconds(call, device)
        rows.append(Row(name, speed, speed / rows[0].maps_per_s if rows else 1.0))
        print(f"{name:28} {speed:10.1f} maps/s {rows[-1].share:8.2f}")
    posterior = predictor.posterior(maps[:N_SAMPLED], batch)
    seconds = median_seconds(lambda: posterior.sample(N_SAMPLES), torch.device("cpu"))
    print(f"{N_SAMPLES:,} samples of each of {len(posterior)} maps: {seconds:.2f} s")
    measured = {"rows": [asdict(row) for row in rows], "sample_seconds": seconds, "n_sampled": len(posterior)}
    write_numbers(arguments.json, {"machine": machine, "arguments": asdict(arguments), **measured})


if __name__ == "__main__":
    run(main)
