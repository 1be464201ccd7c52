"""Modules of somebody's own that are imported first, in every process of the command line.

`FIELDLEVEL_EXTENSIONS=my_suites,my_experiments` names modules on `PYTHONPATH` that register what is theirs when they
are imported: suites, transforms of maps, experiments. Worker processes have the same environment, and import them too.
Networks, heads and penalties need no registration: a spec names them by their import path.
"""

import importlib
import os

from fieldlevel.errors import shown
from fieldlevel.own_code import told

VARIABLE = "FIELDLEVEL_EXTENSIONS"


def load_extensions() -> None:
    """Import the modules that the environment names; those that are imported already stay as they are.

    Raises:
        UserError: a module that cannot be imported.
    """
    for name in filter(None, (part.strip() for part in os.environ.get(VARIABLE, "").split(","))):
        with told(f"{VARIABLE}: {shown(name)} cannot be imported", "put it on PYTHONPATH, or leave it out"):
            importlib.import_module(name)
