"""The predictions of the pairs of a finished letter, network by network, and their averages."""

import csv
import gzip
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fieldlevel.arrays import BoolArray, FloatArray, IntArray
from fieldlevel.data.layout_files import layout_from_json
from fieldlevel.errors import UserError
from fieldlevel.json_files import read_json_object
from fieldlevel.layout import Layout, Parameter
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.study.keys import PAIRS_LABELS


def predictions_of(folder: Path) -> Path:
    """File of the predictions of a letter.

    Raises:
        UserError: there is none.
    """
    for path in (folder / "predictions.csv", folder / "predictions.csv.gz"):
        if path.exists():
            return path
    raise UserError(f"{folder}: no predictions.csv or predictions.csv.gz; give the folder of a finished letter")


def read_pairs(path: Path) -> dict[tuple[str, str, str], list[Predictions]]:
    """Predictions of the pairs of suites, a network a seed, by origin of the data, trained and tested suite.

    Raises:
        UserError: a damaged file, no pairs in it, or seeds that were tested on different maps.
    """
    rows: dict[tuple[str, str, str], dict[str, list[Mapping[str, str]]]] = defaultdict(lambda: defaultdict(list))
    layout = _layout_beside(path)
    try:
        with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as file:
            for row in csv.DictReader(file):
                if row["experiment"] in PAIRS_LABELS:
                    rows[row["data"], row["train_suite"], row["test_suite"]][row["seed"]].append(row)
        pairs = {pair: [_predictions(table, layout) for table in seeds.values()] for pair, seeds in rows.items()}
    except (OSError, EOFError, zlib.error, LookupError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: damaged ({error}); give the command of the letter again") from None
    if not pairs:
        raise UserError(f"{path}: no {PAIRS_LABELS[0]} in it; give the folder of a finished letter")
    for (_, trained, tested), (first, *others) in pairs.items():
        if not all(same_maps(first, other) for other in others):
            told = f"{path}: the seeds of {trained} -> {tested} were tested on different maps"
            raise UserError(f"{told}; give the command of the letter again")
    return pairs


def _layout_beside(path: Path) -> Layout:
    """That of `metrics.json` beside the predictions; the usual one where it tells none."""
    document = path.parent / "metrics.json"
    told = read_json_object(document).get("layout", {}) if document.exists() else {}
    return layout_from_json(told, f"{document}: layout")


def _predictions(rows: Sequence[Mapping[str, str]], layout: Layout) -> Predictions:
    """Rows of one network as predictions; parameters that it does not have are empty in them."""
    names = [column.removesuffix("_mean") for column, cell in rows[0].items() if column.endswith("_mean") and cell]
    theta, mean, std = (
        np.array([[float(row[f"{name}_{kind}"]) for name in names] for row in rows]) for kind in ("true", "mean", "std")
    )
    simulation, number = (
        np.array([float(row[column]) for row in rows]).astype(np.int64) for column in ("simulation", "map")
    )
    known = {parameter.name: parameter for parameter in layout.parameters}
    parameters = tuple(known.get(name) or Parameter(name) for name in names)
    return Predictions(theta, mean, std, simulation, number, replace(layout, parameters=parameters))


def same_maps(first: Predictions, second: Predictions) -> bool:
    """Whether two networks were tested on the same maps with the same truths, in the same order."""
    return np.array_equal(first.map_index, second.map_index) and np.array_equal(first.theta, second.theta)


def part_of(predictions: Predictions, maps: IntArray | BoolArray) -> Predictions:
    """Some of the maps, by their places or by True and False."""
    fields = ("theta", "mean", "std", "simulation", "map_index")
    return replace(predictions, **{name: getattr(predictions, name)[maps] for name in fields})


def averaged_over_seeds(seeds: Sequence[Predictions]) -> Predictions:
    """Average of what the networks say of each map."""
    mean, std = (np.mean([getattr(seed, name) for seed in seeds], axis=0) for name in ("mean", "std"))
    return replace(seeds[0], mean=mean, std=std)


def averaged_over_maps(predictions: Predictions) -> Predictions:
    """Average of what a network says of the maps of each simulation: a row a simulation."""
    _, first, group = np.unique(predictions.simulation, return_index=True, return_inverse=True)
    n_maps = np.bincount(group)[:, None]

    def average(moments: FloatArray) -> FloatArray:
        return np.stack([np.bincount(group, weights=column) for column in moments.T], axis=1) / n_maps

    rows = part_of(predictions, first)
    return replace(rows, mean=average(predictions.mean), std=average(predictions.std))
