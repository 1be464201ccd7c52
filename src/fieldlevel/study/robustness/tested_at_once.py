"""Tests of a network right after its training, where it was trained: nothing that was asked needs its weights again."""

from collections.abc import Collection
from pathlib import Path

import torch

from fieldlevel.data.suite import open_suite
from fieldlevel.inference.evaluate_spec import EvaluateSpec
from fieldlevel.study.keys import Tests, source_sets, tested_set
from fieldlevel.study.letter_data import LetterData
from fieldlevel.study.robustness.set_tests import set_test_once
from fieldlevel.study.store import Store
from fieldlevel.study.testing import apply_once


def do_tests(
    store: Store, directory: Path, told: Collection[EvaluateSpec], tests: Tests, weights: Path, device: torch.device
) -> None:
    """Do all tests of a network.

    Args:
        store: where they are kept.
        directory: folder of the maps.
        told: tests whose suites are also looked at as sets.
        tests: of the network.
        weights: of the network, wherever they lie now.
        device: where the network runs.
    """
    data = _opened(directory, tests)
    for test in tests:
        predictions = apply_once(store, test, weights, data, str(device))
        if test in told:
            set_test_once(store, test, weights, data.opened, predictions.simulation, str(device))


def _opened(directory: Path, tests: Tests) -> LetterData:
    """The maps that some tests of one network use, as a process of its own opens them."""
    network = tests[0].network
    places = dict.fromkeys((*source_sets(network), *map(tested_set, tests)))
    opened = {each: open_suite(directory, each[0], network.field, each[1], check=False) for each in places}
    return LetterData(directory, (), opened, "")
