"""The folder of one evaluation: `predictions.csv` and, written last, `metrics.json`, which speaks of it."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldlevel.data.suite import Suite
from fieldlevel.files import starts_with
from fieldlevel.inference.predictor import Predictor
from fieldlevel.inference.software import describe_software
from fieldlevel.json_files import holds_keys, write_json
from fieldlevel.numerics.device import select_device
from fieldlevel.parameters import COSMOLOGICAL_NAMES, MOCK_MARK, is_nbody, outside_cosmology
from fieldlevel.statistics.metrics import METRICS, evaluate, scores_to_json
from fieldlevel.statistics.pairs import PREDICTION_COLUMNS, PairResult, write_predictions
from fieldlevel.statistics.predictions import Predictions


def _is_table(path: Path) -> bool:
    header = ",".join(PREDICTION_COLUMNS)
    return starts_with(path, f"{header}\n", f"{header}\r\n")


def _is_document(path: Path) -> bool:
    return holds_keys(path, "data_mark", "weights", "tested_on", "scores")


EVALUATION_FILES = {"predictions.csv": _is_table, "metrics.json": _is_document}
"""Files of an evaluation, and whether one of that name is of an earlier one, which may be replaced."""


def write_evaluation(
    folder: Path, predictor: Predictor, suite: Suite, predictions: Predictions, weights: str, device: str
) -> dict[str, Any]:
    """Write what a network says of a suite, and how good that is.

    A document that is there goes first, so that none stands beside predictions of which it does not speak. Where the
    network or the suite is gravity-only, the parameters that mean something there are scored alone.

    Args:
        folder: claimed.
        predictor: the network.
        suite: that it was tested on.
        predictions: its answers beside the truth.
        weights: its file or name.
        device: where it ran.

    Returns:
        What `metrics.json` holds.
    """
    measured, spec = evaluate(predictions), predictor.spec
    gravity_only = is_nbody(suite.suite) or is_nbody(spec.suite)
    scores = {name: row for name, row in measured.items() if name in COSMOLOGICAL_NAMES or not gravity_only}
    outside = outside_maps(predictions).tolist()
    document = {
        "data_mark": MOCK_MARK if suite.is_mock or predictor.is_mock else "",
        "weights": weights,
        "trained_on": spec.suite,
        "seed": spec.seed,
        "tested_on": suite.suite,
        "data_fingerprint": suite.fingerprint,
        "split": asdict(spec.split),
        "software": describe_software(select_device(device)),
        "remarks": list(predictor.remarks),
        "outside_prior": {"n_maps": len(outside), "maps": outside},
        "definitions": {metric.key: metric.definition for metric in METRICS.values()},
        "scores": scores_to_json(scores),
    }
    (folder / "metrics.json").unlink(missing_ok=True)
    pair = PairResult(spec.suite, suite.suite, predictions, measured, spec.seed)
    write_predictions(folder / "predictions.csv", {"evaluate": (pair,)})
    write_json(folder / "metrics.json", document)
    return document


def outside_maps(predictions: Predictions) -> npt.NDArray[np.integer]:
    """Numbers of the maps whose posterior of Omega_m or sigma_8 cannot be one inside the prior."""
    outside = outside_cosmology(predictions.mean, predictions.std).any(axis=1)
    numbers: npt.NDArray[np.integer] = predictions.map_index[outside]
    return numbers
