"""Cosmological inference from maps at the field level, marginalised over baryonic physics (arXiv:2109.10360)."""

import importlib

TYPE_CHECKING = False  # `typing` takes time to import, in which an interrupt of the command line is not answered yet
if TYPE_CHECKING:
    from typing import Any

    from fieldlevel.data.split import SplitSpec
    from fieldlevel.data.suite import check_directory, open_suite, split_simulations
    from fieldlevel.errors import DataError, UserError
    from fieldlevel.estimators.bodies.cnn import MomentNetwork
    from fieldlevel.estimators.moments import moment_loss
    from fieldlevel.estimators.network_specs import NetworkSpec
    from fieldlevel.inference.calibrated_training import train
    from fieldlevel.inference.calibrating import calibrate
    from fieldlevel.inference.ensemble import Ensemble, load
    from fieldlevel.inference.posterior import Posterior
    from fieldlevel.inference.published_network import import_published
    from fieldlevel.inference.sbi_export import as_sbi
    from fieldlevel.inference.shrink import shrink_weights
    from fieldlevel.layout import Layout, Parameter
    from fieldlevel.mapmaking.project_spec import ProjectSpec
    from fieldlevel.mapmaking.projection import project_snapshots
    from fieldlevel.mapmaking.slabs import project_particles
    from fieldlevel.numerics.spectra import power_spectrum_2d
    from fieldlevel.search.tune import tune
    from fieldlevel.search.tune_spec import TuneSpec
    from fieldlevel.simulate.mock_suite import simulate_suite
    from fieldlevel.simulate.simulate_spec import SimulateSpec
    from fieldlevel.training.source_spec import SourceSpec
    from fieldlevel.training.train_spec import OptimiserSpec, TrainSpec

__version__ = "0.1.0"

_PUBLIC = {
    "DataError": "errors",
    "Ensemble": "inference.ensemble",
    "Layout": "layout",
    "MomentNetwork": "estimators.bodies.cnn",
    "NetworkSpec": "estimators.network_specs",
    "OptimiserSpec": "training.train_spec",
    "Parameter": "layout",
    "Posterior": "inference.posterior",
    "ProjectSpec": "mapmaking.project_spec",
    "SimulateSpec": "simulate.simulate_spec",
    "SourceSpec": "training.source_spec",
    "SplitSpec": "data.split",
    "TrainSpec": "training.train_spec",
    "TuneSpec": "search.tune_spec",
    "UserError": "errors",
    "as_sbi": "inference.sbi_export",
    "calibrate": "inference.calibrating",
    "check_directory": "data.suite",
    "import_published": "inference.published_network",
    "load": "inference.ensemble",
    "moment_loss": "estimators.moments",
    "open_suite": "data.suite",
    "power_spectrum_2d": "numerics.spectra",
    "project_particles": "mapmaking.slabs",
    "project_snapshots": "mapmaking.projection",
    "shrink_weights": "inference.shrink",
    "simulate_suite": "simulate.mock_suite",
    "split_simulations": "data.suite",
    "train": "inference.calibrated_training",
    "tune": "search.tune",
}
"""Where each public name lives; it is imported when it is first asked for."""

__all__ = [
    "DataError",
    "Ensemble",
    "Layout",
    "MomentNetwork",
    "NetworkSpec",
    "OptimiserSpec",
    "Parameter",
    "Posterior",
    "ProjectSpec",
    "SimulateSpec",
    "SourceSpec",
    "SplitSpec",
    "TrainSpec",
    "TuneSpec",
    "UserError",
    "as_sbi",
    "calibrate",
    "check_directory",
    "import_published",
    "load",
    "moment_loss",
    "open_suite",
    "power_spectrum_2d",
    "project_particles",
    "project_snapshots",
    "shrink_weights",
    "simulate_suite",
    "split_simulations",
    "train",
    "tune",
]


def __getattr__(name: str) -> "Any":
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
    return [*__all__, "__version__"]
