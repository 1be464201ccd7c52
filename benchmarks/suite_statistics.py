"""Statistics of the pixels of a set of maps in a CMD folder, of every suite and of the gravity-only twin.

Beside them stand those of the real IllustrisTNG and SIMBA files. Of the sets that a letter makes beside LH, thinned or
with other particles, none is looked at unless `--set` names it.

python benchmarks/suite_statistics.py --data mock-data --out results/mock-suites
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import tyro
from measuring import run

from fieldlevel.data.cmd_format import SuiteFiles, list_suites
from fieldlevel.errors import DataError
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

SHOWN = ("log10_mean", "log10_std", "mean", "std", "min", "max")
HISTOGRAM: dict[str, Any] = {"bins": 120, "min": 9.0, "max": 16.0}
BLOCK = 600


@dataclass(frozen=True)
class Arguments:
    """Measure a folder of maps."""

    data: Path
    out: Path = Path("results/mock-suites")
    set_name: Annotated[str, tyro.conf.arg(name="set")] = "LH"
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
        n_each = len(maps) // len(np.loadtxt(files.parameters_path, ndmin=2))
        for axis, simulation in zip(row, simulations, strict=True):
            axis.set(xticks=[], yticks=[])
            if n_each * simulation < len(maps):
                axis.imshow(np.log10(maps[n_each * simulation]), vmin=10.2, vmax=13.2, cmap="inferno")
        row[0].set_ylabel(f"{files.suite}{' (MOCK)' if is_mock(files.suite) else ''}", fontsize=7)
    figure.tight_layout(pad=0.4)
    figure.savefig(path, dpi=110)


def row_of(name: str, figures: dict[str, Any]) -> str:
    """A row of the Markdown table that goes to the standard output."""
    cells = [f"{figures[key]:.5g}" if key in figures else "–" for key in SHOWN]
    return f"| {' | '.join([name, *cells])} |"


def main() -> None:
    """Write statistics.json and examples.png, print a table."""
    arguments = tyro.cli(Arguments)
    device = select_device(arguments.device)
    found = list_suites(arguments.data)
    suites = [files for files in found if (files.set_name, files.field) == (arguments.set_name, "Mtot")]
    if not suites:
        raise DataError([f"{arguments.data}: no Mtot maps of the set {arguments.set_name}"])
    arguments.out.mkdir(parents=True, exist_ok=True)
    measured = {}
    print(f"| suite | {' | '.join(SHOWN)} |\n{'| --- ' * (1 + len(SHOWN))}|", flush=True)
    for files in suites:
        measured[files.maps_path.name] = figures = measure(files, device)
        print(row_of(files.suite, figures), flush=True)
    for name, figures in REAL.items():
        print(row_of(f"**{name}** (real)", figures))
    text = json.dumps({"unit": "(Msun/h)/(Mpc/h)^2", "files": measured, "CAMELS": REAL}, indent=1)
    write_text(arguments.out / "statistics.json", text + "\n")
    draw_examples([files for files in suites if not is_nbody(files.suite)], arguments.out / "examples.png")


if __name__ == "__main__":
    run(main)
