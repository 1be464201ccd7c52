"""Weights files of half the size, to hand on or to publish."""

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from fieldlevel.errors import UserError
from fieldlevel.files import make_place_for, sha256_of, write_bytes
from fieldlevel.inference.calibration import copy_calibration
from fieldlevel.inference.packaged import find_weights
from fieldlevel.inference.predictor import load
from fieldlevel.inference.reference_making import copy_reference
from fieldlevel.training.weights_file import checksum_of, content_of, read_parts, seen_entries, to_text


def shrink_weights(weights: str | Path, out: str | Path) -> Path:
    """Write a weights file of half the size, whose network predicts nearly the same, to hand on or to publish.

    The weights of convolutions and linear layers become float16; biases and batch norms stay float32. In a layer whose
    largest weight is m, a weight w moves by at most 2^-11 |w|, or 2^-25 where |w| < 2^-14; so by 2^-11 m at most. All
    metadata stay, and the provenance gains `stored_as` and the `source_sha256` of the file that was shrunk. A file that
    was shrunk before comes out the same to the bit, or smaller where an earlier version wrote it. A calibration beside
    the file, and what tells maps like those of its training from others (`inference.trust`), are copied with it.

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
    predictor = load(source, "cpu")
    place = make_place_for(out, source)
    metadata, state = read_parts(source)
    for layer, module in predictor.network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            state[f"{layer}.weight"] = _to_float16(state[f"{layer}.weight"], f"{source}: {layer}")
    provenance = json.loads(metadata["provenance"])
    if "stored_as" not in provenance:
        provenance |= {"stored_as": "float16", "source_sha256": sha256_of(source)}
    metadata |= {"provenance": to_text(provenance, sort_keys=True)} | seen_entries(predictor.sources)
    copy_calibration(predictor.calibration, place, checksum_of(state, metadata))
    write_bytes(place, content_of(state, metadata))
    copy_reference(source, place)
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
