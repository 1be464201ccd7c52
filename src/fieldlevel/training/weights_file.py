"""The format of weights files: writing them, and reading them with what must hold of one (`weights_checks`).

A safetensors file: the tensors of a network and, as metadata, texts of JSON that say what it takes to predict with it.
The checksum among them is one of all other metadata and all tensors, so that a changed bit is noticed; files from
before there was one are read without.

A network on one suite of the layout that is known of it has neither `layout` nor `sources` in its file. Where there are
several sources, `training_simulations` and `validation_simulations` are those of the first, and `sources` tells of all.
`made_from` says by source what mock maps were simulated from, null where that is not known; a file of real maps has
none, nor has one of before it was kept.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

import fieldlevel
from fieldlevel.data.layout_files import layout_to_json
from fieldlevel.data.map_records import EARLY, MapRecord
from fieldlevel.data.normalise import AnyNormaliser, check_normaliser, read_normaliser
from fieldlevel.data.seen import SeenMaps, SeenSource, source_in_file
from fieldlevel.errors import UserError, reason, shown
from fieldlevel.estimators.build import restore_estimator
from fieldlevel.estimators.estimator import Estimator
from fieldlevel.estimators.network_specs import is_own
from fieldlevel.files import check_regular, write_bytes
from fieldlevel.layout import CAMELS_PARAMETERS, LONGEST_TEXT, Layout, is_line
from fieldlevel.spec_io import from_json, to_json
from fieldlevel.suites import is_known, is_mock, layout_of
from fieldlevel.training.train_spec import TrainSpec
from fieldlevel.training.weights_checks import (
    check_keys,
    check_spec,
    check_state,
    naming_damage,
    naming_misfit,
    refuse_lost_imports,
)

FORMAT_VERSION = "1"
WEIGHTS_NAME = "weights.safetensors"
"""Of the file in the folder of a training."""

_MOST_SIMULATIONS = 2**31


@dataclass(frozen=True, eq=False)
class WeightsFile:
    """What a weights file says, checked.

    Attributes:
        spec: how the network was trained.
        network: in evaluation mode, in float32, on the CPU.
        normaliser: statistics of the logarithm of its training maps.
        layout: of its training maps; its parameters are the outputs of the network, with the priors that the targets
            were made with.
        sources: what it has seen, by source.
        provenance: where the weights come from.
        checksum: of tensors and metadata, by which what lies beside the file knows its network.
    """

    spec: TrainSpec
    network: Estimator
    normaliser: AnyNormaliser
    layout: Layout
    sources: tuple[SeenSource, ...]
    provenance: Mapping[str, Any]
    checksum: str


def metadata_of(
    network: Estimator,
    spec: TrainSpec,
    normaliser: AnyNormaliser,
    layout: Layout,
    sources: Sequence[SeenSource],
    provenance: Mapping[str, Any],
) -> dict[str, str]:
    """Everything but the tensors and the checksum; arguments as the attributes of `WeightsFile`."""
    first = sources[0]
    metadata = {
        "format_version": FORMAT_VERSION,
        "fieldlevel_version": fieldlevel.__version__,
        "spec": to_json(spec),
        "network": to_text(network.sizes),
        "normaliser": to_text(dataclasses.asdict(normaliser)),
        "labels": _labels(layout),
        "training_simulations": to_text(first.training),
        "validation_simulations": to_text(first.validation),
        "suite": spec.suite,
        "mock": to_text(_is_mock(layout, sources)),
        "provenance": to_text(dict(provenance), sort_keys=True),
    }
    told = {
        "layout": layout_text(layout, spec.suite, spec.set_name),
        "calibration_simulations": to_text(first.calibration) if first.calibration else "",
        "made_from": to_text(_made_from(sources)) if _is_mock(layout, sources) else "",
    }
    return metadata | {key: text for key, text in told.items() if text} | seen_entries(sources)


def seen_entries(sources: Sequence[SeenSource]) -> dict[str, str]:
    """The entry of the metadata that tells what was seen; none of one source of which nothing was kept."""
    if len(sources) > 1:
        return {"sources": to_text([_plain(source) for source in sources])}
    return {} if sources[0].seen is None else {"seen": to_text(_plain(sources[0])["seen"])}


def layout_text(layout: Layout, suite: str, set_name: str) -> str:
    """JSON of a layout, whatever the pixels; empty where it is the one that is known of the suite."""
    unseen = dataclasses.replace(layout, n_pixels=0)
    return "" if unseen == layout_of(suite, set_name, built_in=True) else to_text(layout_to_json(unseen))


def _plain(source: SeenSource) -> dict[str, Any]:
    """In types that JSON has; names of parameters are left out where they are those of CAMELS."""
    plain = source_in_file(source)
    del plain["made_from"]
    if not source.calibration:
        del plain["calibration"]
    if source.seen is not None and source.seen.names == Layout().names:
        del plain["seen"]["names"]
    return plain


def _made_from(sources: Sequence[SeenSource]) -> list[dict[str, Any] | None]:
    return [None if source.made_from is None else dataclasses.asdict(source.made_from) for source in sources]


def _is_mock(layout: Layout, sources: Sequence[SeenSource]) -> bool:
    return layout.is_mock or any(is_mock(source.suite) for source in sources)


def to_text(value: Any, *, sort_keys: bool = False) -> str:
    """JSON, also of NumPy's numbers."""
    return json.dumps(value, sort_keys=sort_keys, default=lambda number: number.item())


def content_of(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A weights file, the same to the bit for the same network: safetensors writes metadata in random order.

    Eight bytes with the length of the header, little endian; the header in JSON, filled up with blanks; the tensors.

    Args:
        state: tensors by name, on the CPU.
        metadata: all but the checksum; one that is there is replaced.
    """
    metadata = {**metadata, "checksum": checksum_of(state, metadata)}
    content = save(dict(state), metadata)
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start]) | {"__metadata__": dict(sorted(metadata.items()))}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[start:]


def checksum_of(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Thirty-two hexadecimal digits of all tensors and all metadata but the checksum, in alphabetical order."""
    digest = hashlib.blake2b(digest_size=16)
    for key, text in sorted(metadata.items()):
        if key != "checksum":
            digest.update(json.dumps([key, text]).encode())
    for name, value in sorted(state.items()):
        digest.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_parts(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a file of this format and version, as they stand there.

    Raises:
        UserError: no such file, or one of another version.
    """
    try:
        if path.is_dir():
            raise UserError(f"{path}: not a weights file but a folder; give the weights.safetensors in it")
        check_regular(path, "give a weights.safetensors")
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            _check_version(path, metadata)
            return metadata, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{path}: not a weights file ({reason(error)}); give a weights.safetensors") from None


def read_weights_file(path: Path) -> WeightsFile:
    """Read a weights file and check it.

    Raises:
        UserError: not such a file, one of another version or for other parameters, or a damaged one.
    """
    metadata, state = read_parts(path)
    with naming_damage(path):
        check_keys(metadata)
        spec = from_json(TrainSpec, metadata["spec"], "spec")
        check_spec(spec)
        layout = _layout(spec, metadata)
        sources = _sources(spec, layout, metadata)
        _check_mark(spec, layout, sources, metadata)
        normaliser = read_normaliser(spec.inputs, metadata["normaliser"])
        check_normaliser(normaliser, spec.inputs)
        provenance = from_json(dict[str, Any], metadata["provenance"], "provenance")
        checksum = checksum_of(state, metadata)
        if metadata.get("checksum", checksum) != checksum:
            raise UserError("its checksum is another: a part of it was changed")
        sizes = from_json(dict[str, Any], metadata["network"], "network")
    refuse_lost_imports(path, spec)
    with naming_misfit(path, spec) if is_own(spec) else naming_damage(path):
        (*_, n_inputs) = check_state(spec, sizes, state, layout)
        if not isinstance(normaliser.mean, float) and len(normaliser.mean) != n_inputs:
            raise UserError(f"normaliser: of {len(normaliser.mean)} numbers, but the network reads {n_inputs}")
    network = restore_estimator(spec, sizes)
    network.load_state_dict(state)
    return WeightsFile(spec, network.eval(), normaliser, layout, sources, provenance, checksum)


def _check_version(path: Path, metadata: Mapping[str, str]) -> None:
    version = metadata.get("format_version")
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path}: weights of format {version or 'unknown'}, this version reads {FORMAT_VERSION}; "
            "train the network again, or use the version of fieldlevel that wrote it"
        )


def _labels(layout: Layout) -> str:
    minima, maxima = layout.lows.tolist(), layout.highs.tolist()
    return to_text({"names": list(layout.names), "minima": minima, "maxima": maxima})


def _layout(spec: TrainSpec, metadata: Mapping[str, str]) -> Layout:
    """The one that the file tells; else of its suite, with the priors of CAMELS in earlier versions."""
    known = layout_of(spec.suite, spec.set_name, built_in=True)
    known_ones = [known, dataclasses.replace(known, parameters=CAMELS_PARAMETERS)]
    if "layout" in metadata:
        known_ones = [from_json(Layout, metadata["layout"], "layout")]
    layout = next((each for each in known_ones if _labels(each) == metadata["labels"]), None)
    if layout is None:
        raise UserError(f"labels: for other parameters or priors than {', '.join(known_ones[0].names[:20])}")
    if spec.outputs and spec.outputs != layout.names:
        raise UserError(f"outputs: {', '.join(spec.outputs[:20])}, but its layout has {', '.join(layout.names[:20])}")
    return layout


def _sources(spec: TrainSpec, layout: Layout, metadata: Mapping[str, str]) -> tuple[SeenSource, ...]:
    """What was seen, as the file tells by source, or of the one suite."""
    training, validation, calibration = (
        _numbers(metadata.get(f"{name}_simulations", "[]")) for name in ("training", "validation", "calibration")
    )
    if "sources" not in metadata:
        seen = from_json(SeenMaps, metadata["seen"], "seen") if "seen" in metadata else None
        whose = layout.initial_conditions
        sources: tuple[SeenSource, ...] = (
            SeenSource(spec.suite, spec.set_name, True, whose, training, validation, seen, calibration=calibration),
        )
    else:
        sources = from_json(tuple[SeenSource, ...], metadata["sources"], "sources")
    told = [(source.suite, source.set_name, source.labelled) for source in sources]
    if told != [(source.suite, source.set_name, source.labelled) for source in spec.all_sources]:
        raise UserError("sources: not those of its spec")
    if (sources[0].training, sources[0].validation, sources[0].calibration) != (training, validation, calibration):
        raise UserError("sources: the first has other simulations than the file")
    if sources[0].initial_conditions != layout.initial_conditions:
        raise UserError("sources: the first has other initial conditions than the layout")
    if wrong := next((text for text in (source.initial_conditions for source in sources) if not is_line(text)), None):
        raise UserError(f"sources: text {shown(wrong)}; give at most {LONGEST_TEXT} characters of one line")
    taught = {"", *(source.suite for source in sources if source.labelled)}
    if strange := [parameter.name for parameter in layout.parameters if parameter.suite not in taught]:
        raise UserError(f"layout: {strange[0]} is of no suite with labels among its sources")
    return _with_records(sources, layout, metadata)


def _with_records(sources: Sequence[SeenSource], layout: Layout, metadata: Mapping[str, str]) -> tuple[SeenSource, ...]:
    """The sources with what their maps were simulated from, as far as the file tells."""
    mock = [is_mock(source.suite) or (layout.is_mock and not is_known(source.suite)) for source in sources]
    records = [EARLY if each else None for each in mock]
    if "made_from" in metadata:
        records = from_json(list[MapRecord | None], metadata["made_from"], "made_from")
    if len(records) != len(sources):
        raise UserError(f"made_from: of {len(records)} sources, not {len(sources)}")
    return tuple(dataclasses.replace(each, made_from=record) for each, record in zip(sources, records, strict=True))


def _check_mark(spec: TrainSpec, layout: Layout, sources: Sequence[SeenSource], metadata: Mapping[str, str]) -> None:
    """Refuse a suite or a mark of mock data that contradicts the rest."""
    if metadata["suite"] != spec.suite or metadata["mock"] != to_text(_is_mock(layout, sources)):
        said = f"suite {metadata['suite'][:40]!r}, mock {metadata['mock'][:5]!r}"
        raise UserError(f"its metadata say {said}, its spec suite {spec.suite!r}")


def _numbers(text: str) -> tuple[int, ...]:
    numbers = from_json(list[int], text, "simulations")
    if any(not 0 <= number < _MOST_SIMULATIONS for number in numbers):
        raise UserError("simulations: numbers below zero, or larger than any")
    return tuple(numbers)


def save_network(
    path: Path,
    network: Estimator,
    spec: TrainSpec,
    normaliser: AnyNormaliser,
    *,
    provenance: Mapping[str, Any],
    layout: Layout | None = None,
    sources: Sequence[SeenSource] = (),
    training_simulations: npt.ArrayLike = (),
    validation_simulations: npt.ArrayLike = (),
    calibration_simulations: npt.ArrayLike = (),
    seen: SeenMaps | None = None,
) -> None:
    """Write a weights file with its checksum, aside first, then under its name.

    Args:
        path: the file, usually `weights.safetensors`.
        network: the network, on any device.
        spec: how it was trained.
        normaliser: statistics that its maps were normalised with.
        provenance: anything else worth keeping, of types that JSON has.
        layout: of its maps, with its outputs as parameters; the one that is known of its suite when None.
        sources: what it has seen, by source; when empty the one suite, as the other arguments tell.
        training_simulations: numbers of the simulations in the training set.
        validation_simulations: numbers of the simulations in the validation set.
        calibration_simulations: numbers of those that its standard deviations are calibrated with.
        seen: what all these are known by, training first, calibration last (`data.seen.record_seen`).

    Raises:
        OSError: the disk is full, or the file may not be written.
    """
    layout = layout_of(spec.suite, spec.set_name) if layout is None else layout
    training, validation, calibration = (
        tuple(map(int, np.asarray(numbers)))
        for numbers in (training_simulations, validation_simulations, calibration_simulations)
    )
    whose = layout.initial_conditions
    one = SeenSource(spec.suite, spec.set_name, True, whose, training, validation, seen, calibration=calibration)
    metadata = metadata_of(network, spec, normaliser, layout, tuple(sources) or (one,), provenance)
    tied = network.state_dict().items()  # a network of one's own may have a tensor under two names
    state = {name: value.detach().cpu().contiguous().clone() for name, value in tied}
    write_bytes(path, content_of(state, metadata))
