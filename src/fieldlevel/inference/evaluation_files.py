"""The folder of one evaluation: `predictions.csv` and, written last, `metrics.json`, which speaks of it."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from fieldlevel.data.suite import Suite
from fieldlevel.files import starts_with
from fieldlevel.inference.outside_prior import outside_maps, telling_names
from fieldlevel.inference.predictor import Predictor
from fieldlevel.inference.software import describe_software
from fieldlevel.inference.trust.judging import Trust
from fieldlevel.json_files import holds_keys, write_json
from fieldlevel.numerics.device import select_device
from fieldlevel.statistics.metrics import METRICS, evaluate, scores_to_json
from fieldlevel.statistics.pairs import ORIGIN_COLUMNS, PairResult, write_predictions
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.statistics.ratios import meaningful_names
from fieldlevel.suites import MOCK_MARK


def _is_table(path: Path) -> bool:
    return starts_with(path, f"{','.join(ORIGIN_COLUMNS)},")


def _is_document(path: Path) -> bool:
    return holds_keys(path, "data_mark", "weights", "tested_on", "scores")


EVALUATION_FILES = {"predictions.csv": _is_table, "metrics.json": _is_document}
"""Files of an evaluation, and whether one of that name is of an earlier one, which may be replaced."""


def write_evaluation(
    folder: Path,
    predictor: Predictor,
    suite: Suite,
    predictions: Predictions,
    weights: str,
    device: str,
    trust: Trust | None = None,
) -> dict[str, Any]:
    """Write what a network says of a suite, and how good that is.

    A document that is there goes first, so that none stands beside predictions of which it does not speak. Where the
    network or the suite is gravity-only, the cosmological parameters are scored alone.

    Args:
        folder: claimed.
        predictor: the network.
        suite: that it was tested on.
        predictions: its answers beside the truth.
        weights: its file or name.
        device: where it ran.
        trust: whether the maps are like those of its training, where that was looked at.

    Returns:
        What `metrics.json` holds.
    """
    measured, spec = evaluate(predictions), predictor.spec
    pair = PairResult(spec.suite, suite.suite, predictions, measured, spec.seed)
    scores = {name: measured[name] for name in meaningful_names(pair)}
    outside = predictions.map_index[outside_maps(predictions.mean, predictions.std, predictor.layout)].tolist()
    document: dict[str, Any] = {
        "data_mark": MOCK_MARK if suite.is_mock or predictor.is_mock else "",
        "weights": weights,
        "trained_on": spec.suite,
        "seed": spec.seed,
        "tested_on": suite.suite,
        "data_fingerprint": suite.fingerprint,
        "split": asdict(spec.split),
        "software": describe_software(select_device(device)),
        "remarks": list(predictor.remarks_on(suite.made_from)),
        "outside_prior": {
            "n_maps": len(outside),
            "maps": outside,
            "parameters": list(telling_names(predictor.layout)),
        },
        "definitions": {metric.key: metric.definition for metric in METRICS.values()},
        "scores": scores_to_json(scores),
    }
    if trust is not None:
        document["trust"] = trust.to_json()
    (folder / "metrics.json").unlink(missing_ok=True)
    write_predictions(folder / "predictions.csv", {"evaluate": (pair,)})
    write_json(folder / "metrics.json", document)
    return document
