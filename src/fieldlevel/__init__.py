"""Cosmological inference from maps at the field level, marginalised over baryonic physics (arXiv:2109.10360).

Where to begin:

* answers: `load` a network, `Predictor.posterior` of maps, `Posterior` (mean, std, sample, interval, trust);
* networks: `open_suite`, `train`, `evaluate`, `calibrate`, with `TrainSpec`, `SplitSpec` and `NetworkSpec`;
* maps: `project_snapshots`, `project_particles`, `simulate_suite`;
* whole studies: `make_letter`, `make_robustness`; figures: `fieldlevel.figures`.

Example:
    >>> import fieldlevel
    >>> fieldlevel.trained_names()
    ['MockSIMBA', 'MockTNG', 'robust']
    >>> fieldlevel.load("MockTNG")
    <Predictor of MockTNG, MOCK DATA: Omega_m, sigma_8, A_SN1, A_AGN1, A_SN2, A_AGN2 from Mtot maps of 256 x 256>
"""

import importlib

TYPE_CHECKING = False  # `typing` takes time to import, in which an interrupt of the command line is not answered yet
if TYPE_CHECKING:
    from typing import Any

    from fieldlevel import figures as figures
    from fieldlevel.clusters import on_cluster
    from fieldlevel.data.cmd_format import SuiteFiles, list_suites
    from fieldlevel.data.layout_files import find_layout, write_layout
    from fieldlevel.data.split import SplitSpec
    from fieldlevel.data.suite import Suite, check_directory, open_suite, split_simulations
    from fieldlevel.errors import DataError, UserError
    from fieldlevel.estimators.bodies.cnn import MomentNetwork
    from fieldlevel.estimators.moments import moment_loss
    from fieldlevel.estimators.network_specs import NetworkSpec
    from fieldlevel.inference.calibrated_training import train
    from fieldlevel.inference.calibrating import calibrate
    from fieldlevel.inference.ensemble import Ensemble, load
    from fieldlevel.inference.evaluating import Evaluation, evaluate
    from fieldlevel.inference.packaged import trained_names
    from fieldlevel.inference.posterior import Posterior
    from fieldlevel.inference.predictor import Predictor
    from fieldlevel.inference.published_network import import_published
    from fieldlevel.inference.sbi_export import as_sbi
    from fieldlevel.inference.shrink import shrink_weights
    from fieldlevel.inference.trust.judging import Trust
    from fieldlevel.layout import Layout, Parameter
    from fieldlevel.mapmaking.project_spec import ProjectSpec
    from fieldlevel.mapmaking.projection import project_snapshots
    from fieldlevel.mapmaking.slabs import project_particles
    from fieldlevel.numerics.spectra import power_spectrum_2d
    from fieldlevel.progress import Progress
    from fieldlevel.report.making import StudyReport, make_letter, make_robustness
    from fieldlevel.search.tune import tune
    from fieldlevel.search.tune_spec import TuneSpec
    from fieldlevel.simulate.mock_suite import simulate_suite
    from fieldlevel.simulate.simulate_spec import SimulateSpec
    from fieldlevel.statistics.predictions import Predictions
    from fieldlevel.study.letter_spec import LetterSpec
    from fieldlevel.study.robustness.robustness_spec import RobustnessSpec
    from fieldlevel.suites import layout_of
    from fieldlevel.tensorboard import TensorBoard
    from fieldlevel.training.source_spec import SourceSpec
    from fieldlevel.training.train_spec import OptimiserSpec, TrainSpec

__version__ = "0.1.0"

_PUBLIC = {
    "DataError": "errors",
    "Ensemble": "inference.ensemble",
    "Evaluation": "inference.evaluating",
    "Layout": "layout",
    "LetterSpec": "study.letter_spec",
    "MomentNetwork": "estimators.bodies.cnn",
    "NetworkSpec": "estimators.network_specs",
    "OptimiserSpec": "training.train_spec",
    "Parameter": "layout",
    "Posterior": "inference.posterior",
    "Predictions": "statistics.predictions",
    "Predictor": "inference.predictor",
    "Progress": "progress",
    "ProjectSpec": "mapmaking.project_spec",
    "RobustnessSpec": "study.robustness.robustness_spec",
    "SimulateSpec": "simulate.simulate_spec",
    "SourceSpec": "training.source_spec",
    "SplitSpec": "data.split",
    "StudyReport": "report.making",
    "Suite": "data.suite",
    "SuiteFiles": "data.cmd_format",
    "TensorBoard": "tensorboard",
    "TrainSpec": "training.train_spec",
    "Trust": "inference.trust.judging",
    "TuneSpec": "search.tune_spec",
    "UserError": "errors",
    "as_sbi": "inference.sbi_export",
    "calibrate": "inference.calibrating",
    "check_directory": "data.suite",
    "evaluate": "inference.evaluating",
    "find_layout": "data.layout_files",
    "import_published": "inference.published_network",
    "layout_of": "suites",
    "list_suites": "data.cmd_format",
    "load": "inference.ensemble",
    "make_letter": "report.making",
    "make_robustness": "report.making",
    "moment_loss": "estimators.moments",
    "on_cluster": "clusters",
    "open_suite": "data.suite",
    "power_spectrum_2d": "numerics.spectra",
    "project_particles": "mapmaking.slabs",
    "project_snapshots": "mapmaking.projection",
    "shrink_weights": "inference.shrink",
    "simulate_suite": "simulate.mock_suite",
    "split_simulations": "data.suite",
    "train": "inference.calibrated_training",
    "trained_names": "inference.packaged",
    "tune": "search.tune",
    "write_layout": "data.layout_files",
}
"""Where each public name lives; it is imported when it is first asked for."""

_MODULES = ("figures",)
"""Public modules, which are imported when they are first asked for, too."""

__all__ = [
    "DataError",
    "Ensemble",
    "Evaluation",
    "Layout",
    "LetterSpec",
    "MomentNetwork",
    "NetworkSpec",
    "OptimiserSpec",
    "Parameter",
    "Posterior",
    "Predictions",
    "Predictor",
    "Progress",
    "ProjectSpec",
    "RobustnessSpec",
    "SimulateSpec",
    "SourceSpec",
    "SplitSpec",
    "StudyReport",
    "Suite",
    "SuiteFiles",
    "TensorBoard",
    "TrainSpec",
    "Trust",
    "TuneSpec",
    "UserError",
    "as_sbi",
    "calibrate",
    "check_directory",
    "evaluate",
    "find_layout",
    "import_published",
    "layout_of",
    "list_suites",
    "load",
    "make_letter",
    "make_robustness",
    "moment_loss",
    "on_cluster",
    "open_suite",
    "power_spectrum_2d",
    "project_particles",
    "project_snapshots",
    "shrink_weights",
    "simulate_suite",
    "split_simulations",
    "train",
    "trained_names",
    "tune",
    "write_layout",
]


def __getattr__(name: str) -> "Any":
    if name in _MODULES:
        return importlib.import_module(f"fieldlevel.{name}")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'fieldlevel' has no attribute {name!r}")
    try:
        module = importlib.import_module(f"fieldlevel.{_PUBLIC[name]}")
    except ModuleNotFoundError as error:
        extras = importlib.import_module("fieldlevel.extras")
        if (told := extras.lacking(error)) is None:
            raise
        raise importlib.import_module("fieldlevel.errors").UserError(told) from None
    return getattr(module, name)


def __dir__() -> list[str]:
    return [*__all__, *_MODULES, "__version__"]
