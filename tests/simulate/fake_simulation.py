"""A stand-in for `simulate_maps` that takes a millisecond, for tests of what surrounds a simulation."""

import hashlib
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import torch

from fieldlevel.layout import CRITICAL_DENSITY
from fieldlevel.mapmaking.shards import Shard
from fieldlevel.simulate import simulation
from fieldlevel.simulate.mock_suite import simulate_suite
from fieldlevel.simulate.sets import Row
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.simulate.simulation import map_keys

SMALL = SimulateSpec(n_simulations=7, n_particles=8, n_mesh=8, n_pixels=16)


def fake_maps(spec: SimulateSpec, row: Row, device: torch.device) -> dict[tuple[str, str], np.ndarray]:
    """Maps that depend on the label and the seed as real ones do and hold the right mass; half the stars are absent."""
    maps = {}
    for suite, field in map_keys(spec):
        known = row if suite == spec.suite else Row(row.parameters[:2], row.seed)
        digest = hashlib.sha256(repr((suite, field, known)).encode()).digest()
        stack = np.random.default_rng(list(digest)).lognormal(size=(3, 5, spec.n_pixels, spec.n_pixels))
        if field == "Mstar":
            stack[:, 1:4] = 0
        stack *= 5 * CRITICAL_DENSITY * row.parameters[0] / stack.mean((1, 2, 3), keepdims=True)
        maps[suite, field] = stack.reshape(15, spec.n_pixels, spec.n_pixels).astype(np.float32)
    return maps


def slow_fake_maps(spec: SimulateSpec, row: Row, device: torch.device) -> dict[tuple[str, str], np.ndarray]:
    time.sleep(0.1)
    return fake_maps(spec, row, device)


def run_slowly(spec: SimulateSpec, directory: Path, shard: Shard) -> None:
    """What a process of its own does in the tests."""
    simulation.simulate_maps = slow_fake_maps
    simulate_suite(spec, directory, device="cpu", shard=shard)


def run_held(spec: SimulateSpec, directory: Path, shard: Shard, started: Event, released: Event) -> None:
    """As `run_slowly`, but the first simulation ends only when the test says so."""

    def held(spec: SimulateSpec, row: Row, device: torch.device) -> dict[tuple[str, str], np.ndarray]:
        started.set()
        released.wait()
        return fake_maps(spec, row, device)

    simulation.simulate_maps = held
    simulate_suite(spec, directory, device="cpu", shard=shard)
