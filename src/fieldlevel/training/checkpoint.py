"""Weights files: a network with everything that it takes to predict on raw maps.

One safetensors file holds the weights and, as metadata, the spec, the sizes of the network, the normaliser, the labels
in column order and the simulations that the network has seen, so that an evaluation can refuse them. A file to hand on
may hold the weights in float16, at half the size (`shrink_weights`).
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

import fieldlevel
from fieldlevel.config import TrainSpec, from_json, to_json
from fieldlevel.errors import UserError
from fieldlevel.files import make_place_for, write_bytes
from fieldlevel.maps.loader import AnyNormaliser, SummaryNormaliser, read_normaliser
from fieldlevel.maps.transformed import transform_maps
from fieldlevel.models.build import AnyNetwork, restore_network
from fieldlevel.numerics.device import exact_float32, select_device
from fieldlevel.parameters import MAXIMA, MINIMA, PARAMETER_NAMES, FloatArray, from_unit_interval, is_mock
from fieldlevel.progress import Listener, Progress, ignore
from fieldlevel.training.trained import find_weights

FORMAT_VERSION = "1"

LABELS = {"names": list(PARAMETER_NAMES), "minima": MINIMA.tolist(), "maxima": MAXIMA.tolist()}


@dataclass(frozen=True, eq=False)
class Predictor:
    """A trained network that takes raw maps and answers in physical units.

    Attributes:
        network: the network, in evaluation mode.
        spec: how it was trained.
        normaliser: statistics of the logarithm of its training maps.
        training_simulations: numbers of the simulations that it was trained on.
        validation_simulations: numbers of the simulations that its checkpoint was chosen with.
        provenance: where the weights come from, e.g. the fingerprint of the data.
    """

    network: AnyNetwork
    spec: TrainSpec
    normaliser: AnyNormaliser
    training_simulations: npt.NDArray[np.int64]
    validation_simulations: npt.NDArray[np.int64]
    provenance: Mapping[str, Any]

    @property
    def is_mock(self) -> bool:
        """Whether the network was trained on mock maps."""
        return is_mock(self.spec.suite)

    @property
    def n_pixels(self) -> int:
        """Pixels a side of the maps that it takes."""
        if isinstance(self.normaliser, SummaryNormaliser):
            return self.normaliser.n_pixels
        return int(self.network.sizes["n_pixels"])

    def predict(
        self, maps: FloatArray, batch_size: int = 128, listener: Listener = ignore
    ) -> tuple[FloatArray, FloatArray]:
        """Infer the posterior mean and standard deviation of every parameter for every map.

        Maps are read in blocks, so a memory-mapped array may be larger than memory. The network runs in float32; each
        map is taken by itself, whatever stands beside it; a network of shuffled pixels or random phases draws them by
        the place of the map.

        Args:
            maps: raw maps in the units of the training field, e.g. (Msun/h)/(Mpc/h)^2; shape (n, N, N).
            batch_size: maps in a block.
            listener: told of every block.

        Returns:
            Means and standard deviations in physical units, each (n, 6), columns in the order of `PARAMETERS`.

        Raises:
            UserError: maps of another size, not numbers, or with pixels that no map has.
        """
        _check_shape(maps, self.n_pixels)
        mean, std = np.empty((2, len(maps), self.network.n_parameters))
        for start in range(0, len(maps), batch_size):
            block = slice(start, start + batch_size)
            with exact_float32():
                mean[block], std[block] = self._predict_block(maps[block], start)
            listener(Progress("predict", min(block.stop, len(maps)), len(maps), "maps"))
        return from_unit_interval(mean, std)

    @torch.inference_mode()
    def _predict_block(self, maps: FloatArray, first: int) -> tuple[FloatArray, FloatArray]:
        device = next(self.network.parameters()).device
        numbers = np.arange(first, first + len(maps))
        pixels = torch.from_numpy(np.array(maps, dtype=np.float32)).to(device)
        _check_pixels(pixels, first, self.normaliser.offset)
        raw = transform_maps(pixels, self.spec.transform, numbers)
        mean, std = self.network(self.normaliser.normalise(raw)[:, None])
        return mean.cpu().numpy(), std.cpu().numpy()


def save_network(
    path: Path,
    network: AnyNetwork,
    spec: TrainSpec,
    normaliser: AnyNormaliser,
    *,
    training_simulations: npt.NDArray[np.integer],
    validation_simulations: npt.NDArray[np.integer],
    provenance: Mapping[str, Any],
) -> None:
    """Write a weights file, aside first, then under its name.

    Args:
        path: the file, usually `weights.safetensors`.
        network: the network, on any device.
        spec: how it was trained.
        normaliser: statistics that its maps were normalised with.
        training_simulations: numbers of the simulations in the training set.
        validation_simulations: numbers of the simulations in the validation set.
        provenance: anything else worth keeping, of types that JSON has.

    Raises:
        OSError: the disk is full, or the file may not be written.
    """
    metadata = {
        "format_version": FORMAT_VERSION,
        "fieldlevel_version": fieldlevel.__version__,
        "spec": to_json(spec),
        "network": json.dumps(network.sizes),
        "normaliser": json.dumps(dataclasses.asdict(normaliser)),
        "labels": json.dumps(LABELS),
        "training_simulations": json.dumps([int(number) for number in training_simulations]),
        "validation_simulations": json.dumps([int(number) for number in validation_simulations]),
        "suite": spec.suite,
        "mock": json.dumps(is_mock(spec.suite)),
        "provenance": json.dumps(dict(provenance), sort_keys=True),
    }
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    write_bytes(path, _content(state, metadata))


def shrink_weights(weights: str | Path, out: str | Path) -> Path:
    """Write a weights file of half the size, whose network predicts nearly the same, to hand on or to publish.

    The weights of convolutions and linear layers become float16; biases and batch norms stay float32. In a layer whose
    largest weight is m, a weight w moves by at most 2^-11 |w|, or 2^-25 where |w| < 2^-14; so by 2^-11 m at most. All
    metadata stay, and the provenance gains `stored_as` and the `source_sha256` of the file that was shrunk. A file that
    was shrunk before comes out the same to the bit.

    Args:
        weights: weights file, or name of a network that comes with the package; it is left as it is.
        out: the file to write, usually `<name>.safetensors`; one that stood there is replaced.

    Returns:
        `out`.

    Raises:
        UserError: no weights file, a layer that float16 cannot hold, or `out` is the file itself or cannot be written.
        OSError: the disk is full, or the file may not be written.
    """
    source, out = find_weights(weights), Path(out)
    network = load(source, "cpu").network
    make_place_for(out, source)
    metadata, state = _read_metadata(source), _read_weights(source)
    for layer, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            state[f"{layer}.weight"] = _to_float16(state[f"{layer}.weight"], f"{source}: {layer}")
    provenance = json.loads(metadata["provenance"])
    if "stored_as" not in provenance:
        provenance |= {"stored_as": "float16", "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest()}
    write_bytes(out, _content(state, metadata | {"provenance": json.dumps(provenance, sort_keys=True)}))
    return out


def _to_float16(weight: Tensor, place: str) -> Tensor:
    """Weights that are all zero, or the largest of which float16 holds to its full precision."""
    largest, kind = float(weight.abs().max()), torch.finfo(torch.float16)
    if largest == 0 or kind.smallest_normal <= largest <= kind.max:
        return weight.half()
    raise UserError(
        f"{place} has weights up to {largest:.3g}, float16 holds {kind.smallest_normal:.2g} to {kind.max:g}; "
        "keep the file as it is, or train the network again"
    )


def _content(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file, the same to the bit for the same network: the library writes metadata in random order.

    Eight bytes with the length of the header, little endian; the header in JSON, filled up with blanks; the tensors.
    """
    content = save(dict(state), dict(metadata))
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start]) | {"__metadata__": dict(sorted(metadata.items()))}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[start:]


def load(path: str | Path, device: str = "auto") -> Predictor:
    """Load a weights file, or a network that comes with the package; it computes in float32 either way.

    Args:
        path: a `weights.safetensors` written by this package, or a bare name such as `"MockTNG"`
            (`training.trained`); where a file of that name exists, it is loaded.
        device: where to predict.

    Raises:
        UserError: not such a file, one of another version, or one for other parameters; no network of that name.
    """
    path = find_weights(path)
    metadata = _read_metadata(path)
    try:
        spec = from_json(TrainSpec, metadata["spec"], str(path))
        network = restore_network(spec.inputs, json.loads(metadata["network"]))
        network.load_state_dict(_read_weights(path))
        predictor = Predictor(
            network=network.eval(),
            spec=spec,
            normaliser=read_normaliser(spec.inputs, json.loads(metadata["normaliser"])),
            training_simulations=np.array(json.loads(metadata["training_simulations"]), dtype=np.int64),
            validation_simulations=np.array(json.loads(metadata["validation_simulations"]), dtype=np.int64),
            provenance=json.loads(metadata["provenance"]),
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{path}: damaged weights file ({_one_line(error)}); train the network again") from None
    network.to(select_device(device))
    return predictor


def _read_metadata(path: Path) -> dict[str, str]:
    if path.is_dir():
        raise UserError(f"{path}: not a weights file but a folder; give the weights.safetensors in it")
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: not a weights file ({_one_line(error)}); give a weights.safetensors") from None
    version = metadata.get("format_version")
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path}: weights of format {version or 'unknown'}, this version reads {FORMAT_VERSION}; "
            "train the network again, or use the version of fieldlevel that wrote it"
        )
    if metadata.get("labels") != json.dumps(LABELS):
        raise UserError(f"{path}: trained for other parameters or priors than {', '.join(PARAMETER_NAMES)}")
    return metadata


def _read_weights(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)


def _check_shape(maps: FloatArray, n_pixels: int) -> None:
    if maps.ndim != 3 or maps.shape[1:] != (n_pixels, n_pixels):
        hint = "; give one map as map[np.newaxis]" if maps.shape == (n_pixels, n_pixels) else ""
        raise UserError(f"maps of shape {maps.shape}: this network takes (n, {n_pixels}, {n_pixels}){hint}")
    if maps.dtype.kind not in "fiu":
        raise UserError(f"maps of type {maps.dtype}: give real numbers, e.g. float32")


def _check_pixels(pixels: Tensor, first: int, offset: float) -> None:
    usable = torch.isfinite(pixels) & (pixels >= 0) & (pixels + offset > 0)
    bad = first + np.flatnonzero(~usable.all(dim=2).all(dim=1).cpu().numpy())
    if len(bad):
        numbers = ", ".join(map(str, bad[:10])) + (", ..." if len(bad) > 10 else "")
        raise UserError(f"maps {numbers}: NaN, infinite or non-positive pixels; give raw maps, not their logarithm")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
