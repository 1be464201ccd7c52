"""Does a network's reference notice maps that are unlike those of its training, and leave its own in peace?

Of each kind of maps: for one map the area under the receiver-operating curve (AUROC) against unseen maps of the own
suite and the share that is flagged, its p-value below 0.05; for 15 maps of one simulation and for 150 of ten the AUROC
and the share flagged of random sets of simulations. The row of the own suite is the false alarms. Errors are those of
shares of as many sets as are disjoint. Kinds that the folder lacks are left out.

    fieldlevel simulate --suites MockTNG MockSIMBA --set LHnew --n-simulations 500 --thin 0.5 --out cmd
    python benchmarks/trust.py network/weights.safetensors --data cmd --set-name LHnew
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from measuring import arguments_of, print_machine, run, write_numbers
from torch import Tensor

from fieldlevel.arrays import FloatArray, IntArray
from fieldlevel.data.suite import Suite, list_suites, open_suite
from fieldlevel.errors import UserError
from fieldlevel.inference.evaluation import refuse_seen
from fieldlevel.inference.packaged import find_weights
from fieldlevel.inference.predictor import Predictor, load
from fieldlevel.inference.trust.judging import LEVEL, reference_of
from fieldlevel.inference.trust.map_sets import Rows
from fieldlevel.inference.trust.map_statistics import measure
from fieldlevel.inference.trust.trust_reference import Looked, Reference
from fieldlevel.numerics import transforms
from fieldlevel.numerics.device import select_device

SIZES = (1, 10)
"""Simulations of a set of 15 and of 150 maps."""


@dataclass(frozen=True)
class Arguments:
    """AUROC and true positives of the maps that a network should not be believed on."""

    weights: Annotated[Path, tyro.conf.Positional]
    data: Path
    set_name: str = "LHnew"
    """Of simulations that the network has not seen, of every suite."""
    most: int = 500
    """Simulations of each kind."""
    n_sets: int = 200
    """Random ones of each size."""
    device: str = "auto"
    json: Path | None = None
    """File for the figures."""


def _noise(maps: Tensor) -> Tensor:
    generator = torch.Generator(maps.device).manual_seed(1)
    normal = torch.randn(maps.shape, generator=generator, device=maps.device)
    return maps * (1 + 0.1 * normal).clamp(min=0.3)


def _shuffled(maps: Tensor) -> Tensor:
    return transforms.shuffle_pixels(maps, list(range(len(maps))))


def _random_phases(maps: Tensor) -> Tensor:
    return transforms.randomise_phases(maps, list(range(len(maps))))


def _cut(maps: Tensor) -> Tensor:
    return transforms.cut_wavenumbers(maps, 0.75 * maps.shape[-1] / 2)


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "smoothed by 1 px": lambda maps: transforms.smooth_gaussian(maps, 1.0),
    "cut at 3/4 of Nyquist": _cut,
    "pixels x 0.67": lambda maps: 0.67 * maps,
    "pixels x 0.9": lambda maps: 0.9 * maps,
    "pixels x 1.1": lambda maps: 1.1 * maps,
    "noise of 10%": _noise,
    "shuffled pixels": _shuffled,
    "random phases": _random_phases,
}
"""Of maps of the own suite; scales and strengths differ from those of `inference.trust.alterations`."""


def kinds(arguments: Arguments, predictor: Predictor) -> Iterator[tuple[str, Suite, Callable[[Tensor], Tensor] | None]]:
    """Name, suite and change of each kind of maps, those of the own suite first."""
    field, own = predictor.spec.field, predictor.spec.suite

    def opened(suite: str, set_name: str) -> Suite:
        return open_suite(arguments.data, suite, field, set_name, check=False)

    there = [(one.suite, one.set_name) for one in list_suites(arguments.data) if one.field == field]
    alike = [pair for pair in there if pair[1].startswith(arguments.set_name)]
    if (own, arguments.set_name) not in alike:
        raise UserError(f"{arguments.data}: has no {own} {arguments.set_name}; simulate it")
    mine = opened(own, arguments.set_name)
    yield f"{own}, unseen", mine, None
    others = [pair for pair in sorted(alike) if (pair[0] == own) != (pair[1] == arguments.set_name)]
    for suite, set_name in others:
        yield f"{suite} {set_name}", opened(suite, set_name), None
    for name, change in CHANGES.items():
        yield name, mine, change


def look(
    predictor: Predictor, reference: Reference, suite: Suite, change: Callable[[Tensor], Tensor] | None, most: int
) -> Rows:
    """Rows of the maps of the first simulations of a suite."""
    parts, n_maps = [], suite.layout.n_maps
    options = {} if change is None else {"change": change}
    for number in range(min(most, suite.n_simulations)):
        measured = measure(predictor, suite.read_simulation(number), **options)
        parts.append(reference.look(measured, np.full(n_maps, number)))
    return Looked.joined(parts).rows


def auroc(usual: FloatArray, unusual: FloatArray) -> float:
    """Probability that an unusual p-value is below a usual one, ties half."""
    ordered = np.sort(usual)
    above = len(usual) - np.searchsorted(ordered, unusual, side="right")
    equal = np.searchsorted(ordered, unusual, side="right") - np.searchsorted(ordered, unusual, side="left")
    return float((above + equal / 2).mean() / len(usual))


def set_p_values(rows: Rows, reference: Reference, size: int, n_sets: int) -> FloatArray:
    """P-values of random sets of so many simulations."""
    numbers, random = np.unique(rows.simulation), np.random.default_rng(size)
    if size == 1:
        chosen: list[IntArray] = [numbers[i : i + 1] for i in range(len(numbers))][:n_sets]
    else:
        chosen = [random.choice(numbers, size, replace=False) for _ in range(n_sets if len(numbers) >= size else 0)]
    found = []
    for some in chosen:
        kept = np.isin(rows.simulation, some)
        part = rows.chosen(kept)
        found.append(reference.set_p(part))
    return np.array(found)


def main() -> None:
    """Print a line a kind."""
    arguments = arguments_of(Arguments)
    device = select_device(arguments.device)
    known = print_machine(device)
    predictor = load(find_weights(arguments.weights), arguments.device)
    reference = reference_of(predictor)
    if reference is None:
        raise UserError(f"{arguments.weights}: has no reference; make one with `fieldlevel trust`")
    print(
        f"held out: {reference.held_out.n_simulations} simulations, {len(reference.held_out.rows)} maps; a map or set"
    )
    print(f"is flagged where p < {LEVEL}; AUROC against the first row, then the share flagged")
    print(f"{'maps':>28} {'1 map':>16} {'15 maps':>16} {'150 maps':>22}")
    usual: list[FloatArray] = []
    found: list[dict[str, Any]] = []
    for name, suite, change in kinds(arguments, predictor):
        if change is None and suite.suite == predictor.spec.suite and not usual:
            refuse_seen(predictor, suite, np.arange(min(arguments.most, suite.n_simulations)))
        rows = look(predictor, reference, suite, change, arguments.most)
        p = [reference.p_values(rows)]
        p += [set_p_values(rows, reference, size, arguments.n_sets) for size in SIZES]
        usual = usual or p
        cells, n_disjoint = [], [rows.n_simulations, rows.n_simulations, rows.n_simulations // SIZES[-1]]
        line: dict[str, Any] = {"maps": name}
        for size, ours, theirs, n in zip((1, 15, 150), usual, p, n_disjoint, strict=True):
            if not len(theirs) or not len(ours):
                continue
            share = float((theirs < LEVEL).mean())
            error = math.sqrt(max(share * (1 - share), 1 / (4 * n)) / n)
            line |= {f"auroc_{size}": auroc(ours, theirs), f"flagged_{size}": share, f"error_{size}": error}
            cells.append(f"{line[f'auroc_{size}']:.2f} {100 * share:4.0f} +- {100 * error:2.0f}%")
        found.append(line)
        write_numbers(arguments.json, {"machine": known, "arguments": asdict(arguments), "kinds": found})
        print(f"{name:>28} " + "  ".join(cells), flush=True)


if __name__ == "__main__":
    run(main)
