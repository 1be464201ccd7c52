"""Classes of somebody's own, known by their import paths: `module:Class`."""

import importlib
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import nn

from fieldlevel.errors import UserError
from fieldlevel.estimators.network_specs import Option
from fieldlevel.own_code import told

IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


def import_class(path: str, setting: str, methods: Sequence[str] = ("forward",)) -> type[nn.Module]:
    """Import a class of modules.

    Args:
        path: `module:Class`; the module is imported, and so its code is run.
        setting: that names it, for messages.
        methods: that it must have.

    Raises:
        UserError: in one line, where it cannot be imported or is no such class.

    Example:
        >>> import_class("torch.nn:Flatten", "body")
        <class 'torch.nn.modules.flatten.Flatten'>
        >>> import_class("my_module:Net", "body")
        Traceback (most recent call last):
        ...
        fieldlevel.errors.UserError: body = my_module:Net: cannot be imported (No module named 'my_module'); put the \
module on PYTHONPATH
    """
    module, _, name = path.partition(":")
    with told(f"{setting} = {path}: cannot be imported", "put the module on PYTHONPATH"):
        found = getattr(importlib.import_module(module), name, None)
    if found is None:
        raise UserError(f"{setting} = {path}: {module} has no {name}; give module:Class of a class that is there")
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise UserError(f"{setting} = {path}: no torch.nn.Module; give the import path of a class of those")
    if lacking := [method for method in methods if not callable(getattr(found, method, None))]:
        raise UserError(f"{setting} = {path}: has no method {lacking[0]}; a {setting} needs {', '.join(methods)}")
    return found


def make_own(
    path: str, setting: str, arguments: Sequence[Any], options: Mapping[str, Option], methods: Sequence[str] = ()
) -> nn.Module:
    """Import a class and make its module.

    Args:
        path: as for `import_class`.
        setting: likewise; its options are `<setting>_options`.
        arguments: that every such class takes.
        options: its own.
        methods: as for `import_class`.

    Raises:
        UserError: it cannot be imported, or does not take the arguments.
    """
    kind = import_class(path, setting, methods or ("forward",))
    with told(f"{setting} = {path}: {kind.__name__} cannot be made", f"see {setting}_options"):
        made = kind(*arguments, **options)
        made.state_dict()  # which a class that leaves `super().__init__()` out has not
    return made


def running(part: nn.Module, setting: str) -> AbstractContextManager[None]:
    """While a module works: what it raises is told in a line, if its class is somebody's own.

    Args:
        part: that is called.
        setting: that names its class.
    """
    kind = type(part)
    if kind.__module__.partition(".")[0] == "fieldlevel":
        return nullcontext()
    return told(f"{setting} = {path_of(part)}: fails", "mend it, the same command continues")


def path_of(part: nn.Module) -> str:
    """The import path of the class of a module."""
    return f"{type(part).__module__}:{type(part).__qualname__}"
