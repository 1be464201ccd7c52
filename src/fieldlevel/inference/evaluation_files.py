"""The folder of one evaluation: `predictions.csv` and, written last, `metrics.json`, which speaks of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from fieldlevel.arrays import BoolArray, FloatArray
from fieldlevel.data.suite import Suite
from fieldlevel.files import starts_with
from fieldlevel.inference.marginal_cdf import pit_of_predictions
from fieldlevel.inference.outside_prior import outside_maps, telling_names
from fieldlevel.inference.predictor import Predictor
from fieldlevel.inference.software import describe_software
from fieldlevel.inference.trust.judging import Trust
from fieldlevel.json_files import holds_keys, write_json
from fieldlevel.numerics.device import select_device
from fieldlevel.statistics.correlations import correlations
from fieldlevel.statistics.error_bars import DEFINITIONS, judge_error_bars, tarp_to_json
from fieldlevel.statistics.metrics import METRICS, scores_to_json
from fieldlevel.statistics.metrics import evaluate as measure
from fieldlevel.statistics.pairs import ORIGIN_COLUMNS, PairResult, write_predictions
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.statistics.ratios import meaningful_names
from fieldlevel.statistics.sbc import pit_of_samples
from fieldlevel.statistics.shared_parameters import main_parameters
from fieldlevel.statistics.tarp import tarp
from fieldlevel.suites import MOCK_MARK


def _is_table(path: Path) -> bool:
    return starts_with(path, f"{','.join(ORIGIN_COLUMNS)},")


def _is_document(path: Path) -> bool:
    return holds_keys(path, "data_mark", "weights", "tested_on", "scores")


EVALUATION_FILES = {"predictions.csv": _is_table, "metrics.json": _is_document}
"""Files of an evaluation, and whether one of that name is of an earlier one, which may be replaced."""


def store_evaluation(folder: Path, pair: PairResult, document: Mapping[str, Any]) -> None:
    """Write `predictions.csv` and `metrics.json` into a folder that was claimed.

    A document that is there goes first, so that none stands beside predictions of which it does not speak.
    """
    (folder / "metrics.json").unlink(missing_ok=True)
    write_predictions(folder / "predictions.csv", {"evaluate": (pair,)})
    write_json(folder / "metrics.json", document)


def tested_pair(predictor: Predictor, suite: Suite, predictions: Predictions) -> PairResult:
    """What a network says of a suite, measured."""
    return PairResult(predictor.spec.suite, suite.suite, predictions, measure(predictions), predictor.spec.seed)


def describe_evaluation(
    predictor: Predictor,
    suite: Suite,
    pair: PairResult,
    weights: str,
    device: str,
    trust: Trust | None = None,
    samples: FloatArray | None = None,
    remarks: Sequence[str] = (),
) -> dict[str, Any]:
    """How good a network is on a suite, as plain JSON: the contents of `metrics.json`.

    Where the network or the suite is gravity-only, the cosmological parameters are scored alone.

    Args:
        predictor: the network.
        suite: that it was tested on.
        pair: its answers beside the truth, measured.
        weights: its file or name.
        device: where it ran.
        trust: whether the maps are like those of its training, where that was looked at.
        samples: of joint posteriors in units of the prior, (S, n, P); None where marginals alone are known.
        remarks: on the test, beside those on the network.
    """
    predictions, spec = pair.predictions, predictor.spec
    scores = {name: pair.scores[name] for name in meaningful_names(pair)}
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
        "cosmological": [each.name for each in main_parameters([predictor.layout])],
        "remarks": [*predictor.remarks_on(suite.made_from), *remarks],
        "outside_prior": {
            "n_maps": len(outside),
            "maps": outside,
            "parameters": list(telling_names(predictor.layout)),
        },
        "definitions": {metric.key: metric.definition for metric in METRICS.values()},
        "error_bar_definitions": dict(DEFINITIONS),
        "scores": scores_to_json(scores),
        "calibration": _calibration_document(predictor),
        **_error_bars_document(predictions, list(scores), samples),
        **_transfer_document(predictor, suite, predictions, list(scores)),
    }
    if trust is not None:
        document["trust"] = trust.to_json()
    return document


def _calibration_document(predictor: Predictor) -> dict[str, Any] | None:
    found = predictor.calibration
    if found is None or not found.is_fitted:
        return None
    changed = [name for name, changes in zip(found.names, found.rescaling.changes, strict=True) if changes]
    return {"fitted_on": " ".join(found.fitted_on), "n_simulations": found.n_simulations, "rescaled": changed}


def _error_bars_document(predictions: Predictions, names: Sequence[str], samples: FloatArray | None) -> dict[str, Any]:
    """Coverage and uniformity of each parameter; of joint posteriors also TARP and correlations."""
    layout, simulation = predictions.layout, predictions.simulation
    columns = [layout.column(name) for name in names]
    pit, mean = pit_of_predictions(predictions)
    if samples is None:
        judged = judge_error_bars(pit[:, columns], mean[:, columns], simulation, names)
        return {"error_bars": {name: found.to_json() for name, found in judged.items()}}
    theta, samples = layout.to_unit_interval(predictions.theta)[:, columns], samples[:, :, columns]
    judged = judge_error_bars(pit_of_samples(samples, theta), mean[:, columns], simulation, names)
    error_bars = {name: found.to_json() for name, found in judged.items()}
    joined = [found.to_json(list(names)) for found in correlations(samples, theta, simulation)]
    return {"error_bars": error_bars, "tarp": tarp_to_json(tarp(samples, theta, simulation)), "correlations": joined}


def _transfer_document(
    predictor: Predictor, suite: Suite, predictions: Predictions, names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """On a suite that the network was not trained on, what its transfer errors come to and what they guarantee."""
    if suite.suite in {source.suite for source in predictor.spec.all_sources}:
        return {}
    told: dict[str, Any] = {"guarantee": predictor.transfer_guarantee}
    if predictor.transfer_errors is not None:
        std = predictor.transfer_std(predictions.mean, predictions.std)
        known: BoolArray = np.asarray(np.isfinite(std).all(axis=0))
        scores = measure(replace(predictions, std=np.where(known, std, predictions.std)))
        told_of = [name for name in names if known[predictions.layout.column(name)]]
        told["scores"] = scores_to_json({name: scores[name] for name in told_of})
    return {"transfer": told}
