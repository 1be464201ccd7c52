"""How well does a network do on maps that were altered, or made of fewer particles, and does it say so?

Of each suite and set, as they are and altered: rms relative errors, mean biases, reduced chi^2, and shares of truths
within one standard deviation of the cosmological parameters; the shares with p < 0.05 of single maps and of sets of
ten simulations.

    python benchmarks/altered_maps.py --weights robust --data mock-data --sets LHfresh LHfreshthin2 \
        --json robust-on-altered-maps.json

The maps must be those of simulations that the network has not seen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from measuring import arguments_of, print_machine, run, write_numbers
from torch import Tensor

from fieldlevel.arrays import FloatArray
from fieldlevel.data.suite import Suite, open_suite
from fieldlevel.errors import UserError
from fieldlevel.inference.evaluation import refuse_seen
from fieldlevel.inference.predictor import Predictor, load
from fieldlevel.inference.trust.judging import LEVEL, reference_of
from fieldlevel.inference.trust.map_statistics import measure
from fieldlevel.inference.trust.trust_reference import Reference
from fieldlevel.numerics.device import select_device
from fieldlevel.numerics.transforms import smooth_gaussian

AS_THEY_ARE = "as they are"
ALTERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    AS_THEY_ARE: lambda maps: maps,
    "smoothed by 0.5 pixels": lambda maps: smooth_gaussian(maps, 0.5),
    "smoothed by 1 pixel": lambda maps: smooth_gaussian(maps, 1.0),
    "smoothed by 1.4 pixels": lambda maps: smooth_gaussian(maps, 1.4),
    "smoothed by 2.5 pixels": lambda maps: smooth_gaussian(maps, 2.5),
    "brighter by 0.02 dex": lambda maps: maps * 10**0.02,
    "darker by 0.02 dex": lambda maps: maps / 10**0.02,
}
IN_A_SET, BLOCK = 10, 256
"""Simulations of a set; maps that are altered at a time."""


@dataclass(frozen=True)
class Arguments:
    """Test a network on altered maps."""

    data: Path
    """Folder of CMD files."""
    weights: str = "robust"
    """File of a network, or name of one that comes with the package."""
    suites: tuple[str, ...] = ("MockTNG", "MockSIMBA", "MockAstrid", "MockEAGLE")
    """Of which maps are read."""
    sets: tuple[str, ...] = ("LHfresh",)
    """Of simulations that the network has not seen; the first is altered."""
    device: str = "auto"
    """Where the network runs."""
    json: Path | None = None
    """File for the numbers."""


def read_maps(suite: Suite) -> npt.NDArray[np.float32]:
    """All maps of a suite, (n, N, N)."""
    return np.concatenate([suite.read_simulation(number) for number in range(suite.n_simulations)])


def altered(maps: npt.NDArray[np.float32], change: Callable[[Tensor], Tensor], device: torch.device) -> FloatArray:
    """Maps after an alteration, (n, N, N)."""
    blocks = [torch.from_numpy(maps[start : start + BLOCK]).to(device) for start in range(0, len(maps), BLOCK)]
    return np.concatenate([change(block).float().cpu().numpy() for block in blocks])


def row_of(predictor: Predictor, reference: Reference, suite: Suite, name: str, maps: FloatArray) -> dict[str, Any]:
    """What the network answers to maps of a suite, and how they are judged."""
    names = [each.name for each in predictor.layout.cosmological]
    columns = [predictor.layout.column(each) for each in names]
    mean, std = (np.asarray(each)[:, columns] for each in predictor.predict(maps, anyway=True))
    truth = suite.parameters[:, [suite.layout.column(each) for each in names]].repeat(suite.layout.n_maps, axis=0)
    error = mean - truth
    found = {
        "rms_relative_error": np.sqrt(np.mean((error / truth) ** 2, axis=0)),
        "mean_absolute_relative_error": np.abs(error / truth).mean(0),
        "rmse": np.sqrt(np.mean(error**2, axis=0)),
        "bias": error.mean(0),
        "reduced_chi2": np.mean((error / std) ** 2, axis=0),
        "coverage_68": np.mean(np.abs(error) < std, axis=0),
        "mean_std": std.mean(0),
    }
    simulation = np.arange(len(maps)) // suite.layout.n_maps
    rows = reference.look(measure(predictor, maps), simulation).rows
    n_sets = suite.n_simulations // IN_A_SET
    of_sets = [reference.set_p(rows.chosen(simulation // IN_A_SET == number)) for number in range(n_sets)]
    return {
        "tested_on": f"{suite.suite} {suite.set_name}",
        "maps": name,
        **{key: dict(zip(names, values.tolist(), strict=True)) for key, values in found.items()},
        "share_of_maps_with_p_below_0.05": share_below(reference.p_values(rows)),
        "share_of_sets_with_p_below_0.05": share_below(np.array(of_sets)),
        "n_sets": n_sets,
    }


def share_below(p_values: FloatArray) -> float:
    """Of p-values, those that call maps unlike."""
    return float(np.mean(p_values < LEVEL)) if len(p_values) else float("nan")


def print_row(row: dict[str, Any]) -> None:
    """A line a kind of maps."""
    errors = ", ".join(f"{100 * each:.1f}%" for each in row["rms_relative_error"].values())
    chi2 = ", ".join(f"{each:.2f}" for each in row["reduced_chi2"].values())
    bias = ", ".join(f"{each:+.3f}" for each in row["bias"].values())
    flagged = f"{row['share_of_maps_with_p_below_0.05']:4.0%}, sets {row['share_of_sets_with_p_below_0.05']:4.0%}"
    print(f"{row['tested_on']:24} {row['maps']:24} {errors:14} chi2 {chi2:14} bias {bias:16} flagged {flagged}")


def main() -> None:
    """Test on every kind of maps."""
    arguments = arguments_of(Arguments)
    device = select_device(arguments.device)
    machine, predictor = print_machine(device), load(arguments.weights, arguments.device)
    reference, rows = reference_of(predictor), []
    if reference is None:
        raise UserError(f"{arguments.weights}: has no reference to judge maps by; make one with `fieldlevel trust`")
    for set_name in arguments.sets:
        for name in arguments.suites:
            suite = open_suite(arguments.data, name, predictor.spec.field, set_name, check=False)
            refuse_seen(predictor, suite, np.arange(suite.n_simulations))
            maps, first = read_maps(suite), set_name == arguments.sets[0]
            for alteration in ALTERATIONS if first else (AS_THEY_ARE,):
                changed = altered(maps, ALTERATIONS[alteration], device)
                rows.append(row_of(predictor, reference, suite, alteration, changed))
                print_row(rows[-1])
    told = {"data_mark": "MOCK DATA"} if predictor.is_mock else {}
    write_numbers(arguments.json, {**told, "weights": arguments.weights, "machine": machine, "rows": rows})


if __name__ == "__main__":
    run(main)
