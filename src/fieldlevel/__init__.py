"""Cosmological inference from maps at the field level, marginalised over baryonic physics (arXiv:2109.10360)."""

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "MomentNetwork": "models.cnn",
    "moment_loss": "models.moments",
    "split_simulations": "maps.catalogue",
    "open_suite": "maps.catalogue",
    "check_directory": "maps.catalogue",
    "train": "training.loop",
    "load": "training.checkpoint",
    "simulate_suite": "simulate.suite",
    "TrainSpec": "config",
    "SimulateSpec": "config",
    "NetworkSpec": "config",
    "OptimiserSpec": "config",
    "SplitSpec": "config",
    "UserError": "errors",
    "DataError": "errors",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'fieldlevel' has no attribute {name!r}")
    return getattr(importlib.import_module(f"fieldlevel.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
