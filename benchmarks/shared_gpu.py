"""Does a training give the same numbers beside other trainings on its GPU as alone, and if not, what differs first?

A training repeats to the bit on a GPU of its own. Here the same steps are taken again and again by several processes at
once, and each compares its batches, losses, gradients and weights, step by step, with those that were found alone.

    python benchmarks/shared_gpu.py --seconds 120

Every process trains in its own way, the ways in turn: as the package does (`recorded`), without the CUDA graph
(`launched`), waiting for each step (`awaited`), with the products of Muon one after the other (`one-stream`), in
float32 (`float32`) or of one matrix at a time (`unbatched`), with AdamW (`adamw`). A line a run that
differs; a line a process at the end.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import torch
from measuring import arguments_of, print_machine, run, synchronise, write_numbers
from torch import Tensor

from fieldlevel.data.batches import MapSet
from fieldlevel.estimators.network_specs import NetworkSpec
from fieldlevel.numerics.device import select_device
from fieldlevel.training import muon
from fieldlevel.training.precision import seeded
from fieldlevel.training.state import TrainingState
from fieldlevel.training.train_spec import OptimiserSpec, TrainSpec

Way = Literal["recorded", "launched", "awaited", "one-stream", "float32", "unbatched", "adamw"]
WAYS: tuple[Way, ...] = ("recorded", "float32", "unbatched", "launched", "awaited", "one-stream", "adamw")


@dataclass(frozen=True)
class Arguments:
    """Compare trainings beside one another with those alone."""

    hidden: int = 4
    """h of the networks."""
    n_steps: int = 300
    """Of a training."""
    n_processes: int = 4
    """At once."""
    seconds: float = 120.0
    """That they train beside one another."""
    n_pixels: int = 256
    """A side of the maps."""
    batch: int = 128
    """Maps a step."""
    ways: tuple[Way, ...] = WAYS
    """Of training, of the processes in turn."""
    device: str = "auto"
    """Where."""
    json: Path | None = None
    """File for the numbers."""


def toy_maps(n: int, n_pixels: int, device: torch.device) -> MapSet:
    """Noise whose mean and width are two of six targets."""
    generator = torch.Generator().manual_seed(n)
    theta = torch.rand(n, 6, generator=generator)
    noise = torch.randn(n, n_pixels, n_pixels, generator=generator)
    maps = theta[:, :1, None] + (0.5 + theta[:, 1:2, None]) * noise
    return MapSet(maps.to(device), theta.to(device), torch.arange(n, device=device))


class Training:
    """The same steps, as often as wanted."""

    def __init__(self, arguments: Arguments, way: Way, device: torch.device) -> None:
        self._arguments, self._way, self._device = arguments, way, device
        batch, n_pixels = arguments.batch, arguments.n_pixels
        self._maps = toy_maps(2 * batch, n_pixels, device), toy_maps(8, n_pixels, device)
        method = "AdamW" if way == "adamw" else "Muon"
        rate = 1e-3 if way == "adamw" else 0.01
        self._spec = TrainSpec(
            network=NetworkSpec(hidden=arguments.hidden),
            optimiser=OptimiserSpec(method=method, learning_rate=rate, longest_gradient=1.0),
            batch_size=batch,
            n_steps=arguments.n_steps,
            validate_every=arguments.n_steps,
            head_batches=0,
            statistics_batches=1,
        )
        self.names: list[str] = []

    def numbers(self) -> Tensor:
        """Of every step the batch, the loss, the lengths of all gradients and of all weights, (steps, numbers)."""
        with (
            seeded(0, self._device),
            patch.object(muon, "side_by_side", self._side_by_side()),
            patch.object(muon, "orthogonalised", self._orthogonalised(muon.orthogonalised)),
        ):
            state = TrainingState(self._spec, *self._maps)
            if self._way == "launched":
                state.take_step._is_captured = False
            found = list(self._steps(state))
            return torch.stack(found).cpu()

    def _steps(self, state: TrainingState) -> Iterator[Tensor]:
        weights = dict(state.network.named_parameters())
        learning = [name for name, weight in weights.items() if weight.requires_grad]
        self.names = ["batch", "loss", *(f"gradient of {name}" for name in learning), *learning]
        for step in range(self._arguments.n_steps):
            chosen = state.sampler.choose()
            with patch.object(state.sampler, "choose", lambda chosen=chosen: chosen):
                loss = state.take_step(step)
            if self._way == "awaited":
                synchronise(self._device)
            told = _checksum(self._told(state, chosen))
            gradients = [weights[name].grad for name in learning]
            lengths = [_checksum(each) for each in gradients if each is not None]
            yield torch.stack([told, loss.double(), *lengths, *(_checksum(weights[name]) for name in learning)])

    def _told(self, state: TrainingState, chosen: Tensor) -> Tensor:
        """Which maps a recorded step read, else those that it was to read."""
        captured = next(iter(state.take_step._captured.values()), None)
        argument = getattr(captured, "_argument", None)
        return argument if argument is not None and len(argument) else chosen.to(self._device)

    def _side_by_side(self) -> Any:
        if self._way != "one-stream":
            return muon.side_by_side
        return lambda tasks, device: [task() for task in tasks]

    def _orthogonalised(self, usual: Any) -> Any:
        if self._way == "float32":
            return lambda matrices, dtype: usual(matrices, torch.float32)
        if self._way == "unbatched":
            return lambda matrices, dtype: [found for each in matrices for found in usual([each], dtype)]
        return usual


def _checksum(values: Tensor) -> Tensor:
    """A number that changes with any of some values."""
    flat = values.detach().double().flatten()
    place = torch.arange(len(flat), device=flat.device, dtype=torch.float64)
    return (flat * (1 + (place * 0.618034) % 1)).sum()


def work(arguments: Arguments, way: Way, until: Path) -> None:
    """Train alone, tell whether that repeats, then train until the time in a file has passed; a line of JSON each."""
    device = select_device(arguments.device)
    training = Training(arguments, way, device)
    alone, again = training.numbers(), training.numbers()
    print(json.dumps({"repeats": bool(torch.equal(alone, again))}), flush=True)
    while not until.exists():
        if not until.parent.exists():  # whoever asked has gone
            return
        time.sleep(0.1)
    end = float(until.read_text())
    while time.time() < end:
        start = time.perf_counter()
        found = training.numbers()
        told: dict[str, Any] = {"ms a step": 1e3 * (time.perf_counter() - start) / arguments.n_steps}
        differing = (found != alone) & ~(found.isnan() & alone.isnan())
        if differing.any():
            step = int(differing.any(1).nonzero()[0])
            names = [training.names[number] for number in differing[step].nonzero().flatten().tolist()]
            told |= {"step": step, "first": names, "of": len(training.names)}
        print(json.dumps(told), flush=True)


def start(arguments: Arguments, way: Way, until: Path) -> "subprocess.Popen[str]":
    """A process that works in a way."""
    settings = {**arguments.__dict__, "json": None, "ways": list(arguments.ways)}
    command = [sys.executable, str(Path(__file__).resolve()), "--work", way, json.dumps(settings), str(until)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)


def main() -> None:
    """Start the processes one after the other, so that each is alone at first, then have them train at once."""
    arguments = arguments_of(Arguments)
    machine = print_machine(select_device(arguments.device))
    with tempfile.TemporaryDirectory() as folder:
        until = Path(folder) / "until"
        processes, rows = [], []
        for number in range(arguments.n_processes):
            way = arguments.ways[number % len(arguments.ways)]
            processes.append((way, start(arguments, way, until)))
            first = processes[-1][1].stdout.readline() if processes[-1][1].stdout else ""
            told = {True: "repeats to the bit", False: "does not repeat to the bit"}
            print(f"{way}: alone it {told[json.loads(first)['repeats']] if first else 'ended'}", flush=True)
        aside = until.with_suffix(".new")
        aside.write_text(str(time.time() + arguments.seconds))
        aside.rename(until)
        for way, process in processes:
            out, trouble = process.communicate()
            found = [json.loads(line) for line in out.splitlines()]
            others = [each for each in found if "step" in each]
            for each in others:
                print(f"{way}: from step {each['step']} on, first in {len(each['first'])} of {each['of']}: "
                      f"{', '.join(each['first'][:8])}")  # fmt: skip
            last = trouble.strip().splitlines()[-1] if process.returncode and trouble.strip() else ""
            mean = sum(each["ms a step"] for each in found) / max(len(found), 1)
            row = {"way": way, "n_runs": len(found), "n_others": len(others), "ms_a_step": mean, "trouble": last}
            rows.append(row | {"others": others})
            print(f"{way:12} {len(found):4} trainings, {len(others)} with other numbers, {mean:.1f} ms a step {last}")
    write_numbers(arguments.json, {"machine": machine, "rows": rows})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        settings = json.loads(sys.argv[3])
        work(Arguments(**{**settings, "ways": tuple(settings["ways"])}), sys.argv[2], Path(sys.argv[4]))  # type: ignore[arg-type]
    else:
        run(main)
