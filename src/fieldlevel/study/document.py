"""`metrics.json`: all numbers of a letter in plain JSON types."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fieldlevel.data.layout_files import layout_to_json
from fieldlevel.layout import Layout
from fieldlevel.spec_io import to_json
from fieldlevel.statistics.error_bars import DEFINITIONS
from fieldlevel.statistics.metrics import METRICS, scores_to_json
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.transfer_matrix import IDEALS
from fieldlevel.study.feedback_response import FeedbackResponse
from fieldlevel.study.network_facts import network_facts, search_facts
from fieldlevel.study.particle_weighing import WEIGHED, WeighedSet
from fieldlevel.study.published_accuracies import SOURCE, SOURCE_URL, published_accuracies
from fieldlevel.study.results import LetterResults
from fieldlevel.suites import MOCK_MARK

FORMAT = "2"
"""Of metrics.json: a finished letter of another format is written again."""

MAIN_METRICS = ("mean_relative_std", "rms_relative_error", "r2", "reduced_chi2")
"""Measures of the main table; the tables of the pairs have them all."""


def letter_document(results: LetterResults, out: Path, figures: Sequence[Path]) -> dict[str, Any]:
    """Contents of `metrics.json`.

    Args:
        results: of the letter.
        out: output folder, where the weights and the figures lie.
        figures: PNG of each; a PDF lies beside it.
    """
    drawn = [path.with_suffix(suffix) for path in figures for suffix in (".pdf", ".png")]
    return {
        "format": FORMAT,
        "key": results.key,
        "weights": {suite: str(network.weights.relative_to(out)) for suite, network in results.networks.items()},
        "figures": [str(path.relative_to(out)) for path in drawn],
        **metrics_document(results),
    }


def metrics_document(results: LetterResults) -> dict[str, Any]:
    """All numbers of the report, with the definition of each measure and the origin of the data."""
    own = results.spec.train.set_name
    responses = [_response_document(row) for row in results.feedback_responses]
    return {
        "title": results.title,
        "data": MOCK_MARK if results.is_mock else "CMD files",
        "data_mark": MOCK_MARK if results.is_mock else "",
        "data_facts": dict(results.facts),
        "cosmological": list(results.cosmological),
        "layout": _layout_document(results.layout),
        "provenance": dict(results.provenance),
        "definitions": {metric.key: metric.definition for metric in METRICS.values()},
        "pairs": [_pair_document(pair, own) for pair in results.pairs],
        "experiments": {
            key.label: [_pair_document(pair, own) for pair in pairs] for key, pairs in results.experiments.items()
        },
        **({"numerics": [_weighed_document(row) for row in results.weighed]} if results.weighed else {}),
        **({"one_parameter": responses} if responses else {}),
        "mean_only": {suite: scores_to_json(found.scores) for suite, found in results.mean_only.items()},
        "verdicts": [verdict.to_json() for verdict in results.verdicts],
        "error_bar_definitions": dict(DEFINITIONS),
        "error_bars": {
            pair: {name: each.to_json() for name, each in found.items()} for pair, found in results.error_bars.items()
        },
        "transfer_ratio_rmse": {
            pair: {name: estimate.to_json() for name, estimate in row.items()} for pair, row in results.transfer.items()
        },
        "transfer_matrix": _matrix_document(results),
        "spec": json.loads(to_json(results.spec)),
        "networks": [asdict(facts) for facts in network_facts(results)],
        "searches": [asdict(facts) for facts in search_facts(results)],
        "letter": {"source": SOURCE, "url": SOURCE_URL},
    }


def _matrix_document(results: LetterResults) -> list[dict[str, Any]]:
    """Every pair of suites of a letter of more than two; the pairs and ratios of two say the same."""
    if len(results.suites) == 2:
        return []
    return [
        {
            "train_suite": trained,
            "test_suite": tested,
            "parameters": {name: {key: getattr(cell, key).to_json() for key in IDEALS} for name, cell in cells.items()},
        }
        for (trained, tested), cells in results.transfer_matrix.items()
    ]


def _layout_document(layout: Layout) -> dict[str, Any]:
    """What the layout has of its own beside the usual one of CMD; `layout_from_json` reads it."""
    usual = layout_to_json(Layout())
    own = {name: value for name, value in layout_to_json(layout).items() if value != usual[name]}
    plain: dict[str, Any] = json.loads(json.dumps(own))
    return plain


def _weighed_document(row: WeighedSet) -> dict[str, Any]:
    """A network on a set of another number of particles."""
    return {
        "suite": row.suite,
        "train_set": row.train_set,
        "test_set": row.test_set,
        **({"smoothing": row.smoothing} if row.smoothing else {}),
        "particles": row.told.words,
        "density": row.density,
        "n_simulations": row.n_simulations,
        "parameters": {
            name: {key: getattr(weighing, key).to_json() for key in WEIGHED}
            for name, weighing in row.parameters.items()
        },
    }


def _response_document(row: FeedbackResponse) -> dict[str, Any]:
    """A network on simulations that differ in one parameter alone."""
    return {
        "train_suite": row.train_suite,
        "test_suite": row.test_suite,
        "seed": row.seed,
        "n_simulations": row.n_simulations,
        "n_conditions": row.n_conditions,
        "parameters": {
            name: {
                "gain": gain.to_json() if (gain := row.gain(name)) else None,
                "varied": {
                    varied: {key: getattr(response, key).to_json() for key in ("slope", "in_std", "bend_in_std")}
                    for (answered, varied), response in row.responses.items()
                    if answered == name
                },
            }
            for name in row.answered
        },
    }


def _pair_document(pair: PairResult, own: str) -> dict[str, Any]:
    """A tested network, with the names of sets where they are others than that of the letter."""
    published = published_accuracies(pair.train_suite, pair.test_suite)
    sets = {"train_set": pair.train_set, "test_set": pair.test_set}
    return {
        **{name: set_name for name, set_name in sets.items() if {*sets.values()} != {own}},
        "train_suite": pair.train_suite,
        "test_suite": pair.test_suite,
        "seed": pair.seed,
        "n_simulations": pair.predictions.n_simulations,
        "n_maps": pair.predictions.n_maps,
        "scores": scores_to_json(pair.scores),
        "letter": {name: accuracy.text for name, accuracy in published.items()},
    }
