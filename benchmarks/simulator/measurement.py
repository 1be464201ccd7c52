"""What a measurement is: its sizes, its device, and its result kept as one JSON file with the machine it came from."""

import json
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fieldlevel.files import make_folder, write_text
from fieldlevel.numerics.cosmology import Cosmology
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.study.scales import SIMULATION_SCALES

Result = dict[str, Any]

FIDUCIAL = Cosmology(Omega_m=0.3, sigma_8=0.8)
FIRST_SEED = 90_001
"""Of the seeds here; the calibration of the baryon models has seen none of them."""


class SkippedError(Exception):
    """A measurement that this machine cannot make, and why."""


@dataclass(frozen=True)
class Sizes:
    """How much is simulated for the page."""

    letter: SimulateSpec
    half: SimulateSpec
    laptop: SimulateSpec
    n_large_box_seeds: int
    n_large_box_steps: int
    n_fiducial_seeds: int
    n_response_seeds: int
    n_suppression_rows: int
    n_contrast_seeds: int
    n_map_rows: int
    n_patch_pairs: int
    n_half_patch_pairs: int
    n_points_a_disc: int
    n_classifier_steps: int
    n_suites_classifier_steps: int
    repeats: int


def full_sizes() -> Sizes:
    """Those of the page: the presets as a user gets them, in some five minutes of one GPU."""
    letter, half, laptop = (SIMULATION_SCALES[name]() for name in ("letter", "half", "laptop"))
    return Sizes(
        letter=letter,
        half=half,
        laptop=laptop,
        n_large_box_seeds=3,
        n_large_box_steps=40,
        n_fiducial_seeds=6,
        n_response_seeds=2,
        n_suppression_rows=7,
        n_contrast_seeds=3,
        n_map_rows=50,
        n_patch_pairs=2,
        n_half_patch_pairs=3,
        n_points_a_disc=512,
        n_classifier_steps=300,
        n_suites_classifier_steps=800,
        repeats=2,
    )


def quick_sizes() -> Sizes:
    """Toys that run on a CPU core within two minutes; their numbers mean nothing."""
    letter = replace(SIMULATION_SCALES["letter"](), n_particles=32, n_mesh=64, step_error=0.8, n_pixels=32)
    half = replace(letter, n_particles=24, n_mesh=48)
    return Sizes(
        letter=letter,
        half=half,
        laptop=replace(letter, n_particles=24, n_mesh=36),
        n_large_box_seeds=1,
        n_large_box_steps=4,
        n_fiducial_seeds=2,
        n_response_seeds=1,
        n_suppression_rows=1,
        n_contrast_seeds=1,
        n_map_rows=5,
        n_patch_pairs=1,
        n_half_patch_pairs=1,
        n_points_a_disc=64,
        n_classifier_steps=4,
        n_suites_classifier_steps=6,
        repeats=1,
    )


@dataclass(frozen=True)
class Setting:
    """Where and how big."""

    device: torch.device
    sizes: Sizes
    quick: bool


Measure = Callable[[Setting], Result]


@dataclass(frozen=True)
class Machine:
    """Where a measurement was made."""

    device: str
    cpu: str
    torch_version: str
    python_version: str

    @staticmethod
    def of(device: torch.device) -> "Machine":
        """This machine."""
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} thread"
        return Machine(name, _cpu_name(), torch.__version__, platform.python_version())


def _cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def perform(measures: Mapping[str, Measure], setting: Setting, folder: Path) -> None:
    """Make the measurements that the folder does not hold yet, one JSON file each as soon as it is done."""
    make_folder(folder)
    for name, measure in measures.items():
        path = folder / f"{name}.json"
        if path.exists():
            print(f"{name}: in {path} already", flush=True)
            continue
        began = time.perf_counter()
        try:
            result = measure(setting)
        except SkippedError as reason:
            print(f"{name}: skipped, {reason}", flush=True)
            continue
        seconds = round(time.perf_counter() - began, 1)
        write_text(path, json.dumps(_record(result, setting, seconds), default=_plain))
        print(f"{name}: {seconds} s", flush=True)


def _record(result: Result, setting: Setting, seconds: float) -> Result:
    return {
        "machine": asdict(Machine.of(setting.device)),
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": seconds,
        "quick": setting.quick,
        "result": result,
    }


def _plain(value: Any) -> Any:
    """Arrays and tensors as lists of numbers of six digits."""
    array = np.asarray(value.cpu() if isinstance(value, torch.Tensor) else value)
    if array.dtype.kind != "f":
        return array.tolist()
    digits = np.array([float(f"{x:.6g}") for x in array.ravel()])
    return digits.reshape(array.shape).tolist()


def load(folder: Path) -> dict[str, Result]:
    """Every measurement of a folder by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
