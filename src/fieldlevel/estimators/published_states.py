r"""Files of the networks that the released CMD scripts trained ("o3_err"): tensors and their names, nothing else.

A released file is a state dict. Its layers are those of `fieldlevel.estimators.bodies.cnn` (the sizes follow from the
shapes) and one batch norm that no map passes through, `B01`, which is left out. Names may carry the `module.` of
several GPUs, and the state dict may stand in the dictionary of a checkpoint. Nothing in a file is run: objects other
than tensors, numbers and containers are refused.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10915 (CMD, whose released scripts define the layers and their names).
"""

import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from fieldlevel.errors import UserError, reason
from fieldlevel.files import check_regular

MOST_BYTES = 2**31
"""Of a file, unpacked; released ones have some 100 MB, with the state of an optimiser three times as much."""

MOST_BLOCKS = 12
"""Of a network for maps of 2^14 pixels a side."""

DAMAGED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    UnpicklingError,
    ValueError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)
"""What PyTorch's reader raises on files that are damaged or made to do harm."""

_LAYER = re.compile(r"(?P<prefix>(?:.*\.)?)(?P<layer>[BC]\d{2,9}|FC[12])\.(?P<tensor>[a-z_]+)")
_CONVOLUTION = re.compile(r"C(\d+)[123]\.weight")
_UNUSED = "B01."
_COUNTER = ".num_batches_tracked"
_USUAL_KEYS = ("model_state_dict", "state_dict", "model", "network")
_DEEPEST = 4
_TORCH_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
_REMEDY = "give a file of the released scripts, weights_<suite>_<field>_<trial>_all_steps_500_500_o3.pt"

_PASSED_OVER = (
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    "numpy.dtype",
    "numpy.ndarray",
    "argparse.Namespace",
)
"""What checkpoints keep beside a network: losses and epochs in NumPy's numbers, the options of a script."""


class _Placeholder:
    """Stands for an object that is not needed, whatever it would be made of: none of its own code is run."""

    def __init__(self, *parts: object) -> None:
        pass

    def __new__(cls, *parts: object) -> "_Placeholder":
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        pass


@dataclass(frozen=True, eq=False)
class PublishedState:
    """A published network.

    Attributes:
        tensors: weights and statistics in float32 by their names in a `MomentNetwork`; counters are left out.
        n_pixels: pixels a side of the maps that it takes.
        hidden: width h.
        n_channels: fields stacked in one map.
        n_outputs: of the last layer; 12 of the released networks.
    """

    tensors: Mapping[str, Tensor]
    n_pixels: int
    hidden: int
    n_channels: int
    n_outputs: int


def read_published(path: Path) -> PublishedState:
    """Read a network of the released scripts.

    Args:
        path: `weights_<suite>_<field>_<trial>_all_steps_500_500_o3.pt`, or a checkpoint that holds its state dict.

    Raises:
        UserError: no such file, not one of PyTorch, or one that holds something else; with the first layer that does
            not fit.
    """
    _refuse_strangers(path)
    tensors = _layers(_content(path), path)
    first, last = tensors.get("C01.weight"), tensors.get("FC2.weight")
    if first is None or first.ndim != 4 or last is None or last.ndim != 2:
        missing = "C01.weight" if first is None or first.ndim != 4 else "FC2.weight"
        raise UserError(f"{path}: has no {missing} of a network o3_err; {_REMEDY}")
    blocks = {int(match[1]) for name in tensors if (match := _CONVOLUTION.fullmatch(name))}
    n_blocks, (width, n_channels) = max(blocks), first.shape[:2]
    if width % 2 or width == 0 or not 2 <= n_blocks <= MOST_BLOCKS:
        told = f"{path}: no network o3_err, with {width} channels in C01 and {n_blocks} halvings of the map"
        raise UserError(f"{told}; {_REMEDY}")
    sizes = {"hidden": width // 2, "n_channels": n_channels, "n_outputs": len(last)}
    _check_layers(tensors, dict(_shapes(n_blocks, **sizes)), f"{path}: hidden = {width // 2} by C01")
    own = {_own_name(name): _numbers(name, tensor, path) for name, tensor in tensors.items() if _COUNTER not in name}
    return PublishedState(own, n_pixels=4 << n_blocks, **sizes)


def name_format(path: Path) -> str | None:
    """What a file is that is no weights file of this package, if its first bytes tell; None otherwise.

    Example:
        >>> name_format(Path("nowhere.safetensors")) is None
        True
    """
    try:
        check_regular(path)
        with path.open("rb") as file:
            head = file.read(16)
    except (OSError, ValueError, UserError):
        return None
    if head[8:9] == b"{":
        return None
    if head.startswith(b"PK"):
        return _name_archive(path)
    if head.startswith(_TORCH_MAGIC[:14]):
        return "a PyTorch file"
    starts = {b"\x89HDF": "an HDF5 file", b"\x93NUMPY": "an .npy file", b"SQLite": "an SQLite database"}
    starts |= {bytes([0x80, protocol]): "a pickle" for protocol in range(2, 6)}
    return next((kind for start, kind in starts.items() if head.startswith(start)), None)


def refuse_other_formats(path: Path) -> None:
    """Refuse what is given as a weights file of this package, but is known by its first bytes as something else.

    Raises:
        UserError: with what it is; of a file of the released scripts with the command that makes a weights file of it.
    """
    kind = name_format(path)
    if kind is not None and path.name == "resume.pt":
        raise UserError(f"{path}: the state of a training that is not finished, not a weights file; train on")
    if kind is not None and kind.endswith("PyTorch file"):
        told = f"{path}: {kind.replace('file', 'file of the released scripts')}"
        raise UserError(f"{told}: `fieldlevel import {path} --out NAME.safetensors` turns it into a weights file")
    if kind is not None:
        raise UserError(f"{path}: {kind}, not a weights file; give a weights.safetensors")


def is_weights_file(path: Path) -> bool:
    """Whether a file begins as those of safetensors do."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _name_archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except DAMAGED:
        return "a damaged zip archive or PyTorch file"
    if any("/code/" in name for name in names):
        return "a TorchScript archive"
    if any(name.endswith("data.pkl") for name in names):
        return "a PyTorch file"
    return "an .npz file of arrays" if names and names[0].endswith(".npy") else "a zip archive"


def _refuse_strangers(path: Path) -> None:
    """Refuse what need not be read to be known."""
    check_regular(path, _REMEDY)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(16)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({reason(error)}); {_REMEDY}") from None
    if head[8:9] == b"{":
        raise UserError(f"{path}: a safetensors file, not one of PyTorch; what this package wrote needs no import")
    kind = name_format(path)
    if kind is None or not kind.endswith("PyTorch file"):
        raise UserError(f"{path}: {kind or 'not a PyTorch file'}; {_REMEDY}")
    if size > MOST_BYTES:
        raise UserError(f"{path}: {size / 1e9:.3g} GB, as no network of the released scripts has; {_REMEDY}")
    if head.startswith(b"PK"):
        _check_archive(path)


def _check_archive(path: Path) -> None:
    """Compare the checksums of an archive, if it has any, as PyTorch does not; it never compresses one."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            is_plain = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            has_checksums = any(entry.CRC for entry in entries)
            spoilt = "its compression" if not is_plain else archive.testzip() if has_checksums else None
    except DAMAGED as error:
        raise UserError(f"{path}: a damaged zip archive or PyTorch file ({_short(error)}); fetch it again") from None
    if spoilt is not None:
        raise UserError(f"{path}: a damaged PyTorch file, by {_quoted(spoilt)}; fetch it again")


def _content(path: Path) -> Any:
    """What a file holds; warnings, e.g. of an unusual protocol, say nothing that is not judged afterwards."""
    try:
        with (
            torch.serialization.safe_globals([(_Placeholder, name) for name in _PASSED_OVER]),
            warnings.catch_warnings(action="ignore"),
        ):
            return torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGED as error:
        foreign = re.search(r"GLOBAL (\S+)", str(error))
        if foreign:
            told = f"holds an object of {foreign[1][:80]}, and only tensors and numbers are read"
            raise UserError(f"{path}: {told}; save the network's state_dict() alone") from None
        told = f"{path}: a damaged PyTorch file, or one of another protocol ({_short(error)})"
        raise UserError(f"{told}; fetch it again, or save the network's state_dict() anew") from None


def _short(error: BaseException) -> str:
    words = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split()
    text = " ".join(word for word in words if word.isprintable())
    return text if 0 < len(text) <= 150 else type(error).__name__


def _layers(content: Any, path: Path) -> dict[str, Tensor]:
    """Tensors of the one network in what a file holds, by names without their prefix."""
    prefixes: dict[str, dict[str, Tensor]] = {}
    for name, value in _state_dict(content, path).items():
        match = _LAYER.fullmatch(name) if isinstance(name, str) else None
        if match is None or not isinstance(value, Tensor):
            raise UserError(f"{path}: holds {_quoted(name)}, which a network o3_err has not; {_REMEDY}")
        prefixes.setdefault(match["prefix"], {})[f"{match['layer']}.{match['tensor']}"] = value
    if len(prefixes) > 1:
        raise UserError(f"{path}: holds layers of {' and '.join(map(_quoted, list(prefixes)[:3]))}; give one network")
    (layers,) = prefixes.values()
    return {name: value for name, value in layers.items() if not name.startswith(_UNUSED)}


def _state_dict(content: Any, path: Path) -> Mapping[Any, Any]:
    """The state dict: what a file holds, or what stands in it."""
    found = list(_state_dicts(content, "", _DEEPEST, set()))
    if len(found) > 1:
        found = [(key, state) for key, state in found if key in _USUAL_KEYS][:1] or found
    if len(found) > 1:
        named = " and ".join(_quoted(key) for key, _ in found[:3])
        raise UserError(f"{path}: holds several networks ({named}); save the state_dict of one alone")
    if not found:
        keys = [_quoted(key) for key in list(content)[:3]] if isinstance(content, Mapping) else []
        held = ", ".join(keys) if keys else f"a {type(content).__name__}"
        raise UserError(f"{path}: holds {held}, no layers C01 to FC2 of a network o3_err; {_REMEDY}")
    return found[0][1]


def _state_dicts(content: Any, key: Any, depth: int, seen: set[int]) -> Iterator[tuple[Any, Mapping[Any, Any]]]:
    if not isinstance(content, Mapping) or id(content) in seen:
        return
    seen.add(id(content))
    if any(isinstance(name, str) and _LAYER.fullmatch(name) for name in content):
        yield key, content
    elif depth > 1:
        for name, value in content.items():
            yield from _state_dicts(value, name, depth - 1, seen)


def _quoted(name: Any) -> str:
    return repr(name)[:60]


def _shapes(n_blocks: int, hidden: int, n_channels: int, n_outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Shape of every tensor that a network of these sizes has."""
    width = n_channels
    for block in range(n_blocks):
        wider = 2 * hidden << block
        for place, shape in enumerate(((width, 3, 3), (wider, 3, 3), (wider, 2, 2)), start=1):
            yield from _layer(f"{block}{place}", (wider, *shape))
        width = wider
    yield from _layer(f"{n_blocks}1", (2 * width, width, 4, 4))
    for layer, outputs, inputs in (("FC1", width, 2 * width), ("FC2", n_outputs, width)):
        yield from ((f"{layer}.weight", (outputs, inputs)), (f"{layer}.bias", (outputs,)))


def _layer(number: str, shape: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from ((f"C{number}.weight", shape), (f"C{number}.bias", shape[:1]))
    if number != "01":
        yield from ((f"B{number}.{name}", shape[:1]) for name in ("weight", "bias", "running_mean", "running_var"))


def _check_layers(tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], place: str) -> None:
    for name, shape in shapes.items():
        if name not in tensors:
            raise UserError(f"{place}, but there is no {name}, of shape {shape}; {_REMEDY}")
        if tuple(tensors[name].shape) != shape:
            raise UserError(f"{place}, but {name} has shape {tuple(tensors[name].shape)}, not {shape}; {_REMEDY}")
    counters = {name.rpartition(".")[0] + _COUNTER for name in shapes if name.startswith("B")}
    if foreign := next((name for name in tensors if name not in shapes and name not in counters), None):
        raise UserError(f"{place}, but there is {foreign}, which such a network has not; {_REMEDY}")


def _numbers(name: str, tensor: Tensor, path: Path) -> Tensor:
    """The finite float32 numbers of a tensor."""
    is_plain = tensor.is_floating_point() and tensor.layout == torch.strided and tensor.device.type == "cpu"
    if not is_plain or tensor.untyped_storage().nbytes() < tensor.numel() * tensor.itemsize:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise UserError(f"{path}: {name} does not hold {tensor.numel()} real numbers but is of {kind}; {_REMEDY}")
    numbers = tensor.detach().float().contiguous()
    if not torch.isfinite(numbers).all() or (name.endswith("running_var") and (numbers < 0).any()):
        raise UserError(f"{path}: {name} holds numbers that are not finite, or variances below 0; fetch the file again")
    return numbers


def _own_name(published: str) -> str:
    return f"head.{published}" if published.startswith("FC") else f"features.{published}"
