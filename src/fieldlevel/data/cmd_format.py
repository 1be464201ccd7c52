"""Names of the files of the CAMELS Multifield Dataset (CMD); `npy_files` and `parameter_tables` read them.

`Maps_<field>_<suite>_<set>_z=0.00.npy` holds float32 maps of shape (n_maps, N, N), those of a simulation together;
`params_<set>_<suite>.txt` holds one row a simulation, columns in the order of the parameters of its `Layout`.

References:
    Villaescusa-Navarro et al. 2022, arXiv:2109.10915 (CMD).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from fieldlevel.errors import DataError, reason
from fieldlevel.suites import NBODY_PREFIX, SET_NAMES, is_nbody, label_suite, nbody_twin

MAPS_NAME = "Maps_<field>_<suite>_<set>_z=0.00.npy"
PARAMETERS_NAME = "params_<set>_<suite>.txt"
LAYOUT_NAME = "layout_<set>_<suite>.json"
LAYOUT_FILE = re.compile(r"layout_.*\.json")

FIELD_NAMES = ("Mtot", "Mcdm", "Mgas", "Mstar", "HI", "Z", "T", "P", "ne", "B", "MgFe", "Vgas", "Vcdm")
"""Of CMD; fields of the user's own may have other names."""

_WORD = r"[^\W_][\w.+-]*"
_MAPS_PATTERN = re.compile(rf"Maps_(?P<field>[^\W_]+)_(?P<suite>{_WORD})_(?P<set_name>[^\W_]+)_z=0\.00\.npy")
_PARAMETERS_PATTERN = re.compile(rf"params_(?P<set_name>[^\W_]+)_(?P<suite>{_WORD})\.txt")


@dataclass(frozen=True)
class SuiteFiles:
    """The two files of one field of one suite.

    Attributes:
        directory: folder that holds them.
        suite: e.g. `"IllustrisTNG"` or `"Nbody_SIMBA"`.
        field: e.g. `"Mtot"`.
        set_name: e.g. `"LH"`.
    """

    directory: Path
    suite: str
    field: str = "Mtot"
    set_name: str = "LH"

    @property
    def maps_path(self) -> Path:
        """Path of the map file."""
        return self.directory / f"Maps_{self.field}_{self.suite}_{self.set_name}_z=0.00.npy"

    @property
    def parameters_path(self) -> Path:
        """Path of the parameter file.

        A gravity-only suite without its own shares that of its hydrodynamic twin, or takes `params_<set>_Nbody.txt`.
        """
        own = self.own_parameters_path
        if not is_nbody(self.suite):
            return own
        names = label_suite(self.suite), NBODY_PREFIX[:-1]
        shared = [replace(self, suite=name).own_parameters_path for name in names]
        return next((path for path in (own, *shared) if path.exists()), own)

    @property
    def layout_path(self) -> Path:
        """Path of the file that says what the maps are, whether it is there or not."""
        return self.directory / f"layout_{self.set_name}_{self.suite}.json"

    @property
    def own_parameters_path(self) -> Path:
        """Path of a parameter file that no other suite shares, whether it is there or not."""
        return self.directory / f"params_{self.set_name}_{self.suite}.txt"


def files_of(path: Path) -> SuiteFiles | None:
    """The suite that a map file's name tells; None where it is another name.

    Example:
        >>> files_of(Path("cmd/Maps_Mtot_Nbody_SIMBA_LH_z=0.00.npy")).suite
        'Nbody_SIMBA'
    """
    match = _MAPS_PATTERN.fullmatch(path.name)
    return SuiteFiles(path.parent, **match.groupdict()) if match else None


def list_suites(directory: str | Path) -> list[SuiteFiles]:
    """Find the map files of a folder by their names.

    Args:
        directory: folder to look in, not below.

    Returns:
        One entry a map file, in natural order of suite, set and field (SB2 before SB10).

    Raises:
        DataError: no such folder, or no map file in it.
    """
    folder = Path(directory)
    matches = [_MAPS_PATTERN.fullmatch(name) for name in list_names(folder)]
    found = [SuiteFiles(folder, **match.groupdict()) for match in matches if match]
    if not found:
        raise DataError([f"{folder}: no map files here; looked for {MAPS_NAME} with {PARAMETERS_NAME}"])
    return sorted(found, key=lambda files: _natural(f"{files.suite} {files.set_name} {files.field}"))


def list_names(folder: Path) -> list[str]:
    """Names of everything in a folder, in alphabetical order.

    Raises:
        DataError: no such folder, or one that cannot be read.
    """
    try:
        return sorted(path.name for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        told = "no such folder"
    except (OSError, ValueError) as error:  # the latter of names that hold a zero byte
        told = f"cannot be read ({reason(error)})"
    raise DataError([f"{folder}: {told}; name the folder that holds the map files"]) from None


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def list_parameter_files(directory: Path) -> list[Path]:
    """Parameter files of a folder, found by their names, in alphabetical order."""
    return [directory / name for name in list_names(directory) if _PARAMETERS_PATTERN.fullmatch(name)]


def misspelt(files: SuiteFiles, suites: Iterable[str]) -> dict[str, str]:
    """Names that differ from known ones in upper and lower case alone, with the known ones.

    Args:
        files: whose field, suite and set are looked at.
        suites: names of suites that are known.

    Example:
        >>> misspelt(SuiteFiles(Path(), "Nbody_simba", "mtot", "sb28"), ["SIMBA"])
        {'mtot': 'Mtot', 'Nbody_simba': 'Nbody_SIMBA', 'sb28': 'SB28'}
    """
    known_suites = [name for suite in suites for name in (suite, nbody_twin(suite), NBODY_PREFIX + suite)]
    sobol = re.sub(r"(?i)^sb(?=\d+$)", "SB", files.set_name)
    pairs = ((files.field, FIELD_NAMES), (files.suite, known_suites), (files.set_name, (sobol, *SET_NAMES)))
    known = {given: {name.lower(): name for name in names}.get(given.lower(), given) for given, names in pairs}
    return {given: name for given, name in known.items() if given != name}
