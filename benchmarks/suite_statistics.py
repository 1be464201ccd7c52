"""Statistics of the pixels of every map file in a CMD folder, beside those of the real IllustrisTNG and SIMBA files.

python benchmarks/suite_statistics.py --data mock-data --out results/mock-suites
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import tyro
from measuring import run

from fieldlevel.data.cmd_format import SuiteFiles, list_suites
from fieldlevel.files import write_text
from fieldlevel.numerics.device import select_device
from fieldlevel.suites import is_mock, is_nbody

REAL = {
    "IllustrisTNG": {
        "min": 4.67e9,
        "max": 2.85e15,
        "mean": 4.1632e11,
        "std": 3.64e12,
        "log10_mean": 11.104,
        "log10_std": 0.492,
    },
    "SIMBA": {"min": 5.23e9, "max": 4.20e15, "mean": 4.1632e11, "std": 3.64e12},
}
"""Of the Mtot LH files of the CAMELS Multifield Dataset, (Msun/h)/(Mpc/h)^2."""

HISTOGRAM: dict[str, Any] = {"bins": 120, "min": 9.0, "max": 16.0}
BLOCK = 600


@dataclass(frozen=True)
class Arguments:
    """Measure a folder of maps."""

    data: Path
    out: Path = Path("results/mock-suites")
    device: str = "auto"


def measure(files: SuiteFiles, device: torch.device) -> dict[str, Any]:
    """Mean, spread, extremes and histogram of one file, in blocks."""
    maps = np.load(files.maps_path, mmap_mode="r", allow_pickle=False)
    sums = torch.zeros(4, dtype=torch.float64, device=device)
    histogram = torch.zeros(HISTOGRAM["bins"], dtype=torch.float64)
    low, high = np.inf, -np.inf
    for first in range(0, len(maps), BLOCK):
        pixels = torch.from_numpy(np.array(maps[first : first + BLOCK])).to(device)
        logs = pixels.log10()
        sums += torch.stack([part.double().sum() for part in (pixels, pixels.double() ** 2, logs, logs.double() ** 2)])
        histogram += torch.histc(logs, **HISTOGRAM).double().cpu()
        low, high = min(low, pixels.min().item()), max(high, pixels.max().item())
    mean, square, log_mean, log_square = (sums / maps.size).tolist()
    return {
        "maps": len(maps),
        "side": maps.shape[1],
        "min": low,
        "max": high,
        "mean": mean,
        "std": (square - mean**2) ** 0.5,
        "log10_mean": log_mean,
        "log10_std": (log_square - log_mean**2) ** 0.5,
        "log10_histogram": {**HISTOGRAM, "fractions": [float(f"{x:.6g}") for x in (histogram / maps.size).tolist()]},
    }


def draw_examples(suites: list[SuiteFiles], path: Path, simulations: tuple[int, ...] = (0, 1, 2, 3)) -> None:
    """First map of a few simulations, a row a suite."""
    size = (2.2 * len(simulations), 2.3 * len(suites))
    figure, axes = plt.subplots(len(suites), len(simulations), figsize=size, squeeze=False)
    for row, files in zip(axes, suites, strict=True):
        maps = np.load(files.maps_path, mmap_mode="r", allow_pickle=False)
        for axis, simulation in zip(row, simulations, strict=True):
            axis.imshow(np.log10(maps[15 * simulation]), vmin=10.2, vmax=13.2, cmap="inferno")
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(f"{files.suite}{' (MOCK)' if is_mock(files.suite) else ''}", fontsize=7)
    figure.tight_layout(pad=0.4)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Write statistics.json and examples.png, print a table."""
    arguments = tyro.cli(Arguments)
    device, suites = select_device(arguments.device), list_suites(arguments.data)
    arguments.out.mkdir(parents=True, exist_ok=True)
    measured = {}
    for files in suites:
        began = time.perf_counter()
        measured[files.maps_path.name] = figures = measure(files, device)
        words = "  ".join(
            f"{key} {figures[key]:.5g}" for key in ("min", "max", "mean", "std", "log10_mean", "log10_std")
        )
        print(f"{files.suite:18s} {words}  ({time.perf_counter() - began:.0f} s)", flush=True)
    text = json.dumps({"unit": "(Msun/h)/(Mpc/h)^2", "files": measured, "CAMELS": REAL}, indent=1)
    write_text(arguments.out / "statistics.json", text + "\n")
    draw_examples([files for files in suites if not is_nbody(files.suite)], arguments.out / "examples.png")


if __name__ == "__main__":
    run(main)
