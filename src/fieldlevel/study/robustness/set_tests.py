"""Whether a network itself notices that maps are unlike those of its training: the set test of `inference.trust`.

What it said is kept as a run (`study.store`), so that it is known where the weights are gone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fieldlevel.arrays import IntArray
from fieldlevel.data.suite import Suite
from fieldlevel.errors import UserError
from fieldlevel.files import read_text
from fieldlevel.inference.evaluate_spec import EvaluateSpec
from fieldlevel.inference.predictor import load
from fieldlevel.inference.reference_making import complete_reference
from fieldlevel.inference.trust.judging import judge_suite
from fieldlevel.json_files import write_json
from fieldlevel.spec_io import digest, from_json
from fieldlevel.study.jobs import Suites, network_key, run_name
from fieldlevel.study.keys import tested_set
from fieldlevel.study.robustness.roles import Role
from fieldlevel.study.store import Store

SetTests = Mapping[tuple[Role, str], Mapping[int, float]]
"""P-value of each seed, by what the networks are for and the suite that they were tested on."""
_FILE = "set_test.json"


def set_test_once(
    store: Store, test: EvaluateSpec, weights: Path, suites: Suites, simulations: IntArray, device: str = "auto"
) -> float | None:
    """The p-value of the simulations of a test as a set, or what was found before.

    Args:
        store: of the runs.
        test: network and suite.
        weights: of the network; they may be gone where the answer is kept.
        suites: maps by name and set.
        simulations: that are tested.
        device: where the network runs.

    Returns:
        None where nothing is kept and the weights are gone, or the network can have no reference.

    Raises:
        UserError: what is kept is damaged.
    """
    suite = suites[tested_set(test)]
    name = f"{run_name(test.network).replace('train', 'set-test', 1)}-on-{test.suite}"
    key = digest(test, network_key(store, test.network, suites), suite.fingerprint)
    if not weights.exists() and not store.folder(name, key).exists():
        return None
    return _read(
        store.ensure(name, key, lambda out: _write(out, set_p_value(weights, suite, simulations, device))) / _FILE
    )


@dataclass(frozen=True)
class _Kept:
    p_value: float | None


def _write(folder: Path, p_value: float | None) -> None:
    write_json(folder / _FILE, {"p_value": p_value})


def _read(path: Path) -> float | None:
    try:
        return from_json(_Kept, read_text(path), path.name).p_value
    except UserError as error:
        raise UserError(f"{path}: damaged ({error}); delete {path.parent} and give the command again") from None


def set_p_value(weights: Path, suite: Suite, simulations: IntArray, device: str = "auto") -> float | None:
    """The p-value of some simulations of a suite as a set, given what the network answers.

    The reference of the network is made first where there is none, from its training maps, which lie beside the suite.

    Args:
        weights: of the network.
        suite: that is tested.
        simulations: their numbers.
        device: where the network runs.

    Returns:
        None where the weights are gone or the network can have no reference, as of too few simulations.
    """
    if not weights.exists() or complete_reference(weights, suite.directory, device):
        return None
    return judge_suite(load(weights, device), suite, np.unique(simulations)).set_p_value


def of_all_seeds(tests: SetTests) -> dict[tuple[Role, str], float]:
    """The smallest p-value over the seeds times their number (Bonferroni)."""
    return {place: min(1.0, len(each) * min(each.values())) for place, each in tests.items()}
