"""A stand-in for `simulate_maps` that takes a millisecond, for tests of what surrounds a simulation."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fieldlevel.layout import CRITICAL_DENSITY
from fieldlevel.mapmaking.contents import plan_name
from fieldlevel.mapmaking.shards import Shard
from fieldlevel.simulate import simulation
from fieldlevel.simulate.mock_suite import simulate_suite
from fieldlevel.simulate.sets import Row
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.simulate.simulation import map_keys
from fieldlevel.simulate.variants import Variant
from fieldlevel.suites import is_nbody

SMALL = SimulateSpec(n_simulations=7, n_particles=8, n_mesh=8, n_pixels=16)


def fake_stack(suite: str, field: str, row: Row, n_pixels: int = SMALL.n_pixels) -> np.ndarray:
    """Maps of one field that depend on the label and the seed as real ones do and hold the right mass."""
    known = Row(row.parameters[:2], row.seed) if is_nbody(suite) else row
    digest = hashlib.sha256(repr((suite, field, known)).encode()).digest()
    stack = np.random.default_rng(list(digest)).lognormal(size=(3, 5, n_pixels, n_pixels))
    if field == "Mstar":
        stack[:, 1:4] = 0
    stack *= 5 * CRITICAL_DENSITY * row.parameters[0] / stack.mean((1, 2, 3), keepdims=True)
    return stack.reshape(15, n_pixels, n_pixels).astype(np.float32)


def fake_maps(
    spec: SimulateSpec,
    rows: Mapping[str, Row],
    wanted: Sequence[tuple[str, Variant]],
    device: torch.device,
) -> dict[str, dict[tuple[str, str], np.ndarray]]:
    """Maps of the suites that are wanted; half the stars are absent."""
    first = next(iter(rows.values()))
    return {
        plan_name(suite, variant.set_name): {
            key: fake_stack(*key, rows.get(suite, first), spec.n_pixels) for key in map_keys(spec, suite)
        }
        for suite, variant in wanted
    }


def slow_fake_maps(*given: Any) -> dict[str, dict[tuple[str, str], np.ndarray]]:
    time.sleep(0.1)
    return fake_maps(*given)


def run_slowly(spec: SimulateSpec, directory: Path, shard: Shard) -> None:
    """What a process of its own does in the tests."""
    simulation.simulate_maps = slow_fake_maps
    simulate_suite(spec, directory, device="cpu", shard=shard)


def run_held(spec: SimulateSpec, directory: Path, shard: Shard, started: Event, released: Event) -> None:
    """As `run_slowly`, but the first simulation ends only when the test says so."""

    def held(*given: Any) -> dict[str, dict[tuple[str, str], np.ndarray]]:
        started.set()
        released.wait()
        return fake_maps(*given)

    simulation.simulate_maps = held
    simulate_suite(spec, directory, device="cpu", shard=shard)
