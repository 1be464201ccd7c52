"""Cosmological inference from maps at the field level, marginalised over baryonic physics (arXiv:2109.10360)."""

import importlib

TYPE_CHECKING = False  # `typing` takes time to import, in which an interrupt of the command line is not answered yet
if TYPE_CHECKING:
    from typing import Any

    from fieldlevel.config import NetworkSpec, OptimiserSpec, ProjectSpec, SimulateSpec, SplitSpec, TrainSpec, TuneSpec
    from fieldlevel.errors import DataError, UserError
    from fieldlevel.maps.catalogue import check_directory, open_suite, split_simulations
    from fieldlevel.maps.project import project_particles
    from fieldlevel.maps.projection import project_snapshots
    from fieldlevel.models.cnn import MomentNetwork
    from fieldlevel.models.moments import moment_loss
    from fieldlevel.numerics.spectra import power_spectrum_2d
    from fieldlevel.simulate.suite import simulate_suite
    from fieldlevel.training.checkpoint import load, shrink_weights
    from fieldlevel.training.loop import train
    from fieldlevel.training.published import import_published
    from fieldlevel.training.tune import tune

__version__ = "0.1.0"

_PUBLIC = {
    "DataError": "errors",
    "MomentNetwork": "models.cnn",
    "NetworkSpec": "config",
    "OptimiserSpec": "config",
    "ProjectSpec": "config",
    "SimulateSpec": "config",
    "SplitSpec": "config",
    "TrainSpec": "config",
    "TuneSpec": "config",
    "UserError": "errors",
    "check_directory": "maps.catalogue",
    "import_published": "training.published",
    "load": "training.checkpoint",
    "moment_loss": "models.moments",
    "open_suite": "maps.catalogue",
    "power_spectrum_2d": "numerics.spectra",
    "project_particles": "maps.project",
    "project_snapshots": "maps.projection",
    "shrink_weights": "training.checkpoint",
    "simulate_suite": "simulate.suite",
    "split_simulations": "maps.catalogue",
    "train": "training.loop",
    "tune": "training.tune",
}
"""Where each public name lives; it is imported when it is first asked for."""

__all__ = [
    "DataError",
    "MomentNetwork",
    "NetworkSpec",
    "OptimiserSpec",
    "ProjectSpec",
    "SimulateSpec",
    "SplitSpec",
    "TrainSpec",
    "TuneSpec",
    "UserError",
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
    return getattr(importlib.import_module(f"fieldlevel.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
