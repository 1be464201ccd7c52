"""The file of a reference, `<weights stem>.trust.safetensors` beside the weights that it belongs to.

Tensors and a few texts, of a megabyte at most, with a checksum of all of it and that of the weights: a reference of
another network is refused, as its layers mean something else.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fieldlevel.arrays import FloatArray
from fieldlevel.errors import UserError, reason
from fieldlevel.files import check_regular, make_place_for, write_bytes
from fieldlevel.inference.packaged import SUFFIX, TRUST_ENDING
from fieldlevel.inference.trust.compared import Compared
from fieldlevel.inference.trust.components import Components
from fieldlevel.inference.trust.map_sets import FEWEST_HELD_OUT, Rows
from fieldlevel.inference.trust.map_statistics import N_PIXEL_STATISTICS
from fieldlevel.inference.trust.regression import Regression
from fieldlevel.inference.trust.trust_reference import Reference
from fieldlevel.inference.trust.widths import Widths
from fieldlevel.locks import refuse_foreign
from fieldlevel.training.weights_file import checksum_of, content_of, read_parts

FORMAT = "1"
MOST_BYTES = 2**20
"""Of the file."""
_BYTES_OF_HEADER = 40_000
_ENOUGH = 100
"""Held-out simulations."""
_REMEDY = "delete it and make it again with `fieldlevel trust`"
_LARGEST_FLOAT16 = 6e4
_LONGEST_NAME = 100

_KINDS: dict[str, tuple[torch.dtype, str]] = {
    "layer_centre": (torch.float32, "F"),
    "layer_inverse_scale": (torch.float32, "F"),
    "layer_weights": (torch.int8, "CF"),
    "layer_widths": (torch.int32, "L"),
    "answer_centre": (torch.float32, "G"),
    "answer_scale": (torch.float32, "G"),
    "coefficients": (torch.float32, "TS"),
    "inverse_scale": (torch.float32, "S"),
    "mixing": (torch.float32, "SS"),
    "between": (torch.float32, "S"),
    "directions": (torch.float32, "SD"),
    "rows": (torch.float16, "NS"),
    "answers": (torch.float32, "NA"),
    "simulation": (torch.int32, "N"),
}
"""Type and axes of every tensor; axes of one letter are equally long."""

_OF_GROUPS: dict[str, tuple[torch.dtype, str]] = {"group": (torch.int32, "N")}
"""Of a network of several sources besides."""
_OF_WIDTHS: dict[str, tuple[torch.dtype, str]] = {
    "width_centre": (torch.float32, "W"),
    "width_scale": (torch.float32, "W"),
    "width_coefficients": (torch.float32, "UO"),
    "width_limits": (torch.float32, "P"),
    "width": (torch.float32, "N"),
}
"""Of a network whose training maps were each smoothed differently."""
_OF_FIT = tuple(_OF_WIDTHS)[:4]
_ALL_KINDS = _KINDS | _OF_GROUPS | _OF_WIDTHS


def reference_path(weights: str | Path) -> Path:
    """Where the reference of a weights file stands, or would.

    Example:
        >>> reference_path("network/weights.safetensors").name
        'weights.trust.safetensors'
    """
    path = Path(weights)
    return path.with_name(f"{path.name.removesuffix(SUFFIX)}{TRUST_ENDING}")


def find_reference(weights: str | Path) -> Path | None:
    """The reference beside a weights file, if there is one."""
    path = reference_path(weights)
    return path if path.exists() else None


def weights_checksum(weights: Path) -> str:
    """Checksum of a weights file, of its content where it is one of before they had any.

    Raises:
        UserError: not a weights file.
    """
    metadata, state = read_parts(weights)
    return metadata.get("checksum") or checksum_of(state, metadata)


def place_for_reference(path: Path, *inputs: Path) -> Path:
    """See that a reference can be written, in the place of nothing but another reference.

    Args:
        path: the file.
        inputs: files that are read for it.

    Returns:
        The path to write to, where a link leads.

    Raises:
        UserError: something else has that name, or it cannot be written.
    """
    place = make_place_for(path, *inputs)
    refuse_foreign(path.parent, {path.name: _is_reference})
    return place


def _is_reference(path: Path) -> bool:
    try:
        with safe_open(path, framework="pt") as file:
            return {"format", "weights", "layers", "alterations"} <= (file.metadata() or {}).keys()
    except (OSError, ValueError, RuntimeError, SafetensorError):
        return False


def write_reference_file(path: Path, reference: Reference, checksum: str) -> Path:
    """Write a reference aside, then under its name.

    Args:
        path: the file.
        reference: what to keep; of its held-out maps as many as there is room for, whole simulations.
        checksum: of the weights that it belongs to.

    Raises:
        UserError: it cannot be written there, or would be too large; a file of that name that is no reference.
    """
    metadata = {"format": FORMAT, "weights": checksum, "layers": json.dumps(reference.layer_names)}
    metadata["alterations"] = json.dumps(reference.direction_names)
    if reference.compared.digests:
        metadata["compared_sets"], metadata["compared_maps"] = reference.compared.to_texts()
    content = content_of(_tensors(reference), metadata)
    if len(content) > MOST_BYTES:
        raise UserError(
            f"{path}: would have {len(content)} bytes, more than {MOST_BYTES}; this network has no reference"
        )
    write_bytes(place_for_reference(path), content)
    return path


def _tensors(reference: Reference) -> dict[str, Tensor]:
    components, regression = reference.components, reference.regression
    fitted = _in_their_types(
        {
            "layer_centre": components.centre,
            "layer_inverse_scale": components.inverse_scale,
            "layer_weights": components.weights,
            "layer_widths": np.array(components.widths),
            "answer_centre": regression.centre,
            "answer_scale": regression.scale,
            "coefficients": regression.coefficients,
            "inverse_scale": 1 / reference.scale,
            "mixing": reference.mixing,
            "between": reference.between,
            "directions": reference.directions,
            **_arrays_of(reference.widths),
        }
    )
    taken = sum(tensor.nbytes for tensor in fitted.values()) + sum(map(len, reference.compared.to_texts()))
    held_out = kept_rows(reference.held_out, MOST_BYTES - _BYTES_OF_HEADER - taken)
    return fitted | _in_their_types(
        {
            "rows": held_out.rows.clip(-_LARGEST_FLOAT16, _LARGEST_FLOAT16),
            "answers": held_out.answers,
            "simulation": np.unique(held_out.simulation, return_inverse=True)[1],
            **({"group": held_out.group} if held_out.group.any() else {}),
            **({"width": held_out.width} if reference.widths is not None else {}),
        }
    )


def _arrays_of(widths: Widths | None) -> dict[str, npt.NDArray[Any]]:
    if widths is None:
        return {}
    fit = widths.regression
    arrays = (fit.centre, fit.scale, fit.coefficients, np.array([widths.low, widths.high]))
    return dict(zip(_OF_FIT, arrays, strict=True))


def _in_their_types(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Tensor]:
    made = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    return {name: tensor.to(_ALL_KINDS[name][0]) for name, tensor in made.items()}


def kept_rows(held_out: Rows, n_bytes: int) -> Rows:
    """As many maps as fit in so many bytes: all of fewer simulations, unless these would be fewer than a hundred.

    Simulations are left out evenly, as those of one suite stand together.
    """
    n_maps, n_numbers = held_out.rows.shape
    n_others = held_out.answers.shape[1] + 1 + bool(held_out.group.any()) + bool(held_out.width.any())
    room = max(n_bytes, 0) // (2 * n_numbers + 4 * n_others)
    if n_maps <= room:
        return held_out
    groups = [np.flatnonzero(held_out.simulation == number) for number in np.unique(held_out.simulation)]
    n_kept = min(max(room * len(groups) // n_maps, _ENOUGH), len(groups))
    each = max(room // n_kept, 1)
    places = np.arange(n_kept) * len(groups) // n_kept
    some = [groups[place][np.unique(np.arange(each) * len(groups[place]) // each)] for place in places]
    return held_out.chosen(np.concatenate(some))


def read_reference_file(path: Path, checksum: str) -> Reference:
    """Read a reference and check it.

    Args:
        path: the file.
        checksum: of the weights that it must belong to.

    Raises:
        UserError: no such file, a damaged one, or one of another network.
    """
    metadata, tensors = _read(path)
    if metadata.get("format") != FORMAT:
        raise UserError(f"{path}: not a reference that this version reads; {_REMEDY}")
    if metadata.get("weights") != checksum:
        raise UserError(f"{path}: belongs to other weights than those beside it; {_REMEDY}")
    if metadata.get("checksum") != checksum_of(tensors, metadata):
        raise UserError(f"{path}: its checksum is another, a part of it was changed; {_REMEDY}")
    try:
        _check(tensors)
        return _restored(tensors, metadata)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(f"{path}: damaged ({reason(error)}); {_REMEDY}") from None


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    check_regular(path, _REMEDY)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"larger than {MOST_BYTES} bytes")
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{path}: not the reference of a network ({reason(error)}); {_REMEDY}") from None


def _check(tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are no reference.

    Raises:
        ValueError: with the first that is wrong.
    """
    there = set(tensors) - set(_KINDS)
    if not set(_KINDS) <= set(tensors) or there - set(_OF_GROUPS) not in (set(), set(_OF_WIDTHS)):
        raise ValueError("other tensors than a reference has")
    lengths: dict[str, int] = {"O": 1, "P": 2}
    for name, tensor in sorted(tensors.items()):
        kind, axes = _ALL_KINDS[name]
        fits = tensor.dtype == kind and tensor.ndim == len(axes)
        if not fits or any(lengths.setdefault(axis, n) != n for axis, n in zip(axes, tensor.shape, strict=True)):
            raise ValueError(f"{name} of type {tensor.dtype} and shape {tuple(tensor.shape)}")
        if not bool(tensor.float().isfinite().all()):
            raise ValueError(f"{name} is not finite")
    widths = tensors["layer_widths"]
    if bool((widths < 1).any()) or int(widths.sum()) != lengths["F"] or bool((tensors["between"] < 0).any()):
        raise ValueError("its layers are not those of its statistics")
    if lengths["G"] != lengths["A"] + 2 * ("width_limits" in tensors):
        raise ValueError("what it expects maps from is not their answers")
    if "width_limits" in tensors:
        _check_widths(tensors, lengths)
    if "group" in tensors and bool((tensors["group"] < 0).any()):
        raise ValueError("groups below zero")
    if len(set(tensors["simulation"].tolist())) < FEWEST_HELD_OUT:
        raise ValueError("too few simulations")


def _check_widths(tensors: Mapping[str, Tensor], lengths: Mapping[str, int]) -> None:
    """Refuse widths that cannot be estimated from the power and the answers.

    Raises:
        ValueError: with what is wrong.
    """
    n_components = int(torch.minimum(tensors["layer_widths"], torch.tensor(lengths["C"])).sum())
    told = lengths["S"] - N_PIXEL_STATISTICS - n_components + lengths["A"]
    low, high = tensors["width_limits"].tolist()
    if lengths["W"] != told or lengths["U"] not in (1, 1 + told, 1 + 2 * told, 1 + 2 * told + told * (told - 1) // 2):
        raise ValueError("its widths follow from other statistics than it has")
    if not (low < high and bool((tensors["width_scale"] > 0).all())):
        raise ValueError("widths without limits or scale")


def _restored(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Reference:
    arrays = {name: tensor.double().numpy() for name, tensor in tensors.items()}
    widths = tuple(tensors["layer_widths"].tolist())
    weights = tensors["layer_weights"].numpy()
    with np.errstate(divide="ignore"):
        scale = 1 / arrays["inverse_scale"]
    return Reference(
        _texts(metadata["layers"], len(widths)),
        Components(arrays["layer_centre"], arrays["layer_inverse_scale"], weights, widths),
        Regression(arrays["answer_centre"], arrays["answer_scale"], arrays["coefficients"]),
        scale,
        arrays["mixing"],
        arrays["between"],
        _texts(metadata["alterations"], len(arrays["directions"].T)),
        arrays["directions"],
        _rows(arrays, tensors),
        Compared.of_texts(metadata.get("compared_sets", ""), metadata.get("compared_maps", "")),
        _widths(arrays),
    )


def _rows(arrays: Mapping[str, FloatArray], tensors: Mapping[str, Tensor]) -> Rows:
    known: dict[str, Any] = {name: tensors[name].long().numpy() for name in ("simulation", "group") if name in tensors}
    known |= {"width": arrays["width"]} if "width" in arrays else {}
    return Rows(arrays["rows"], arrays["answers"], **known)


def _widths(arrays: Mapping[str, FloatArray]) -> Widths | None:
    if "width_limits" not in arrays:
        return None
    centre, scale, coefficients, limits = (arrays[name] for name in _OF_FIT)
    return Widths(Regression(centre, scale, coefficients), *limits.tolist())


def _texts(text: str, n: int) -> tuple[str, ...]:
    """So many lines of text from JSON."""
    names = json.loads(text)
    if not (isinstance(names, list) and len(names) == n and all(isinstance(name, str) for name in names)):
        raise ValueError(f"{n} names are missing")
    return tuple(name[:_LONGEST_NAME] for name in names)
