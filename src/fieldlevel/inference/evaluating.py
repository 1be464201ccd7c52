"""Testing a network on the simulations of a suite that it has never seen: `fieldlevel.evaluate`."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from fieldlevel.data.suite import Suite, SuiteFiles, open_suite, unit_defects
from fieldlevel.errors import DataError, UserError, shown
from fieldlevel.inference.evaluation import WHICH, evaluate_suite
from fieldlevel.inference.evaluation_files import (
    EVALUATION_FILES,
    describe_evaluation,
    store_evaluation,
    tested_pair,
)
from fieldlevel.inference.predictor import Predictor, load
from fieldlevel.inference.trust.judging import Trust, reference_of
from fieldlevel.locks import claimed
from fieldlevel.progress import Listener, ignore
from fieldlevel.progress_bars import telling
from fieldlevel.statistics.bootstrap import told_of_few
from fieldlevel.statistics.metrics import Scores
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.predictions import Predictions


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How good a network is on a suite.

    Attributes:
        pair: what it said of every tested map beside the truth, measured.
        trust: whether the maps are like those of its training.
        document: all of it as plain JSON, the contents of `metrics.json`.
    """

    pair: PairResult
    trust: Trust
    document: Mapping[str, Any]

    @property
    def predictions(self) -> Predictions:
        """Truths and posterior moments of every map, in physical units."""
        return self.pair.predictions

    @property
    def scores(self) -> Scores:
        """Estimates by parameter, then by measure (`rmse`, `r2`, `reduced_chi2` ...).

        Of a gravity-only network or suite the parameters are the cosmological ones.
        """
        return {name: self.pair.scores[name] for name in self.document["scores"]}

    def __repr__(self) -> str:
        mark = f", {self.document['data_mark']}" if self.document["data_mark"] else ""
        found = [f"{name} {row['rms_relative_error'].text(percent=True)}" for name, row in self.scores.items()]
        told = ", ".join((*found[:2], *["..."] * (len(found) > 2)))
        return f"<Evaluation of {self.pair.name}{mark}: {self.predictions.n_maps} maps, rms error of {told}>"


def evaluate(
    network: Predictor | str | Path,
    data: str | Path | Suite,
    suite: str = "",
    set_name: str = "LH",
    simulations: str | Sequence[int] = "test",
    out: str | Path | None = None,
    device: str = "auto",
    listener: Listener = ignore,
    *,
    anyway: bool = False,
    verbose: bool = False,
) -> Evaluation:
    """Test a network on simulations that it has never seen, of its own suite or of another.

    Args:
        network: what `load` returns of one, a weights file, or the name of a network that comes with the package.
        data: folder of CMD files, or a suite that is open.
        suite: of the folder, to test on; that of the training when empty.
        set_name: of the suite, e.g. `"LH"`.
        simulations: `"test"`: the test simulations of the network's split; `"all"`: every one, refused where the
            network has seen some; `"unseen"`: every one that it has not seen; or their numbers.
        out: folder for `predictions.csv` and `metrics.json`; nothing is written when None.
        device: where to predict, unless the network is loaded already.
        listener: told of every simulation.
        anyway: also test on maps that seem to be in another unit than those of the training, or than the mass that
            their labels say tells; `remarks` of the document then say so.
        verbose: whether to show the progress, too.

    Returns:
        Predictions beside the truth, scores with errors, and whether the maps are like those of the training.

    Raises:
        DataError: a folder that cannot be used.
        UserError: simulations that the network has seen, maps of another kind, a network that cannot be loaded, or an
            `out` that holds files of somebody else's.

    Example:
        >>> import tempfile, fieldlevel
        >>> toy = fieldlevel.SimulateSpec(n_simulations=8, n_particles=16, n_mesh=16, n_pixels=16)
        >>> folder = fieldlevel.simulate_suite(toy, tempfile.mkdtemp(), device="cpu")
        >>> split = fieldlevel.SplitSpec(train=0.5, validation=0.25)
        >>> tiny = fieldlevel.NetworkSpec(hidden=1)
        >>> spec = fieldlevel.TrainSpec(split=split, network=tiny, batch_size=16, n_steps=2, validate_every=2)
        >>> weights = fieldlevel.train(spec, folder, folder / "network", device="cpu")
        >>> found = evaluate(weights, folder, device="cpu")
        >>> found.predictions
        <Predictions of 30 maps of 2 simulations: Omega_m, sigma_8, A_SN1, A_AGN1, A_SN2, A_AGN2>
        >>> found.scores["Omega_m"]["rmse"].value > 0
        True
    """
    if isinstance(simulations, str) and simulations not in get_args(WHICH):
        raise UserError(f"simulations = {shown(simulations)}: give {', '.join(get_args(WHICH))}, or their numbers")
    with nullcontext() if out is None else claimed(Path(out), EVALUATION_FILES), telling(listener, verbose) as told:
        predictor = network if isinstance(network, Predictor) else load(network, device)
        reference = reference_of(predictor)
        asked = suite or predictor.spec.suite, predictor.spec.field, set_name
        tested, remarks = (data, []) if isinstance(data, Suite) else _opened(data, asked, told, anyway=anyway)
        found = evaluate_suite(predictor, tested, simulations, told, anyway=anyway, reference=reference)
        if few := told_of_few(len(np.unique(found.predictions.simulation))):
            remarks = [*remarks, f"tested on {few}"]
        pair, name = tested_pair(predictor, tested, found.predictions), _name_of(network)
        document = describe_evaluation(
            predictor, tested, pair, name, predictor.device, found.trust, found.samples, remarks
        )
        if out is not None:
            store_evaluation(Path(out), pair, document)
    return Evaluation(pair, found.trust, document)


def _opened(
    folder: str | Path, asked: tuple[str, str, str], listener: Listener, *, anyway: bool
) -> tuple[Suite, list[str]]:
    """The suite, field and set that are asked for, and that its maps are in another unit where that is to be so."""
    try:
        return open_suite(folder, *asked, listener=listener), []
    except DataError:
        of_unit, others = unit_defects(SuiteFiles(Path(folder), *asked), listener)
        if not of_unit or (others and not anyway):
            raise
    if others:
        raise DataError([*others, *of_unit])
    if not anyway:
        raise DataError([f"{defect}, or override with --anyway (anyway=True)" for defect in of_unit])
    told = [defect.removeprefix(f"{Path(folder)}/") for defect in of_unit]
    remarks = [f"tested on maps that seem to be in another unit: {defect}" for defect in told]
    return open_suite(folder, *asked, check=False, listener=listener), remarks


def _name_of(network: Predictor | str | Path) -> str:
    return network.source if isinstance(network, Predictor) else str(network)
