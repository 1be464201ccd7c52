"""Frozen specs: every piece of work is described by one, stored as JSON and known by its digest.

A spec is a standard-library dataclass with real defaults. pydantic reads and writes it strictly: an unknown key or a
wrong type is an error that names its path. Precedence on the command line is preset < TOML file < flag.
"""

import dataclasses
import hashlib
import json
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_type_hints

import tyro

from fieldlevel.errors import UserError, shown
from fieldlevel.files import read_text

Spec = TypeVar("Spec")

STRICT: dict[str, Any] = {"extra": "forbid", "strict": True}


@dataclass(frozen=True)
class SplitSpec:
    """Division of the simulations (never of the maps) into training, validation and test sets.

    The defaults are the released split of the CAMELS benchmark.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    seed: int = 1
    """Seed of the legacy NumPy shuffle."""
    train: float = 0.90
    """Fraction of the simulations to train on."""
    validation: float = 0.05
    """Fraction to choose the checkpoint with; the rest is the test set."""


@dataclass(frozen=True)
class SimulateSpec:
    """One mock suite and its gravity-only twin in CMD format."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    suite: Literal["MockTNG", "MockSIMBA"] = "MockTNG"
    set_name: Annotated[str, tyro.conf.arg(name="set")] = "LH"
    """LH: the real CAMELS latin hypercube, 1,000 simulations; CV: the fiducial point with 27 seeds; 1P: one parameter
    at a time, 61 simulations; with `parameters` a name of your own, letters and digits."""
    parameters: str | None = None
    """Table of your own simulations: Omega_m sigma_8 A_SN1 A_AGN1 A_SN2 A_AGN2 and, if wanted, a seed."""
    n_simulations: int | None = None
    """The first rows of the set; all when omitted."""
    fields: tuple[Literal["Mtot", "Mcdm", "Mgas", "Mstar"], ...] = ("Mtot",)
    """Of the suite; its gravity-only twin has Mtot alone."""
    n_particles: int = 128
    """Particles a side."""
    n_mesh: int = 256
    """Cells a side of the force mesh."""
    step_error: float = 0.05
    """Wanted error of P(k) from finite time steps for k up to 10 h/Mpc; each cosmology gets the steps it needs."""
    a_start: float = 0.05
    """Expansion factor of the 2LPT start."""
    n_pixels: int = 256
    """Pixels a side of a map."""
    n_neighbours: int = 32
    """The disc of a particle reaches to this neighbour."""


@dataclass(frozen=True)
class ProjectSpec:
    """Maps in CMD format from snapshots."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    suite: str = "Mine"
    """Name of the suite in the names of the files."""
    set_name: Annotated[str, tyro.conf.arg(name="set")] = "LH"
    """Name of the set in the names of the files."""
    fields: tuple[str, ...] = ("Mtot",)
    """Mtot, Mcdm, Mgas, Mstar, HI, ne, T, P, Z, B, Vgas, Vcdm, as far as the snapshots hold them."""
    parameters: str | None = None
    """Table of parameters, a row of six for each snapshot in their order; when omitted those of the headers, if every
    header has all six."""
    n_pixels: int = 256
    """Pixels a side of a map."""
    n_slabs: int = 5
    """Slabs along each of the three axes."""
    slab_thickness_mpc_h: float | None = None
    """Of a slab; the slabs share the box when omitted."""
    radius: Literal["neighbours", "smoothing length", "points"] = "neighbours"
    """Of the discs of gas and dark matter: to the n-th neighbour of their own kind, or the snapshot's own where it has
    one; stars and black holes are always points."""
    n_neighbours: int = 32
    """The disc of a particle reaches to this neighbour."""
    length_unit: Literal["kpc/h", "Mpc/h"] | None = None
    """Of the snapshots; needed only where they do not say; stands above what they say."""
    box_size_mpc_h: float | None = None
    """Side of the box; needed only where the headers do not say; refused where they say otherwise."""
    Omega_m: Annotated[float | None, tyro.conf.arg(name="omega-m")] = None
    """The same for the matter density; without it the mass cannot be checked."""
    redshift: float | None = None
    """The same for the redshift, which the expansion factor in a header also tells."""
    any_redshift: bool = False
    """Also take snapshots of one redshift above 0, although the names of the files say z=0.00."""
    check_mass: bool = True
    """Refuse snapshots whose particles miss the mass of Omega_m in the box by over 5%, or do not fill it; switch off
    for cut-outs."""


@dataclass(frozen=True)
class TransformSpec:
    """What is done to a map before anything else."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    kind: Literal["none", "smoothing", "k_max", "mean map", "shuffled pixels", "random phases", "no monopole"] = "none"
    """smoothing: by a Gaussian; k_max: Fourier modes of the logarithm beyond it are cut; mean map: its mean everywhere;
    shuffled pixels: in random order; random phases: of the Fourier modes of the logarithm; no monopole: scaled to the
    mean density at Omega_m = 0.3."""
    scale: float = 0.0
    """Standard deviation in pixels (smoothing), wavenumber in h/Mpc (k_max)."""
    seed: int = 0
    """Of shuffles and phases, with the number of the map."""


@dataclass(frozen=True)
class PerceptronSpec:
    """Fully connected network on a summary of each map."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    n_layers: int = 3
    """Hidden layers."""
    n_neurons: int = 256
    """In each hidden layer."""
    dropout: float = 0.1
    """Dropout probability after each hidden layer."""
    std_from: Literal["square", "softplus"] = "square"
    """What makes a standard deviation of an output: square, as in the released networks, can vanish where it should
    not; softplus cannot."""


@dataclass(frozen=True)
class NetworkSpec:
    """The o3_err network of the CAMELS Multifield Dataset."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    hidden: int = 8
    """Width h: the first block has 2h channels."""
    dropout: float = 0.2
    """Dropout probability before both linear layers."""
    std_from: Literal["square", "softplus"] = "square"
    """What makes a standard deviation of an output: square, as in the released networks, can vanish where it should
    not; softplus cannot."""


@dataclass(frozen=True)
class OptimiserSpec:
    """How weights are moved, and the learning-rate schedule."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    method: Literal["AdamW", "Muon"] = "AdamW"
    """`Muon`: steps of orthogonal matrices for the weights of convolutions and linear layers, AdamW for the rest, at
    the same rate and decay, with `beta1` for the average over steps in both. It wants some five times the rate of
    AdamW, `beta1` near 0.95 and far more decay: who changes the method changes these too."""
    learning_rate: float = 4e-3
    """Highest learning rate."""
    weight_decay: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    schedule: Literal["triangular", "one-cycle"] = "one-cycle"
    """`triangular`: 500 steps up from 1e-9 and 500 down, repeated (released recipe). `one-cycle`: linear rise, cosine
    fall to zero at the last step."""
    warm_up: float = 0.1
    """Fraction of all steps in the linear rise of `one-cycle`."""
    longest_gradient: float | None = None
    """Euclidean norm over all weights; a longer gradient is shortened to it. None: never. Muon hardly feels it."""


@dataclass(frozen=True)
class TrainSpec:
    """One moment network trained on the maps of one suite."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    suite: str = "MockTNG"
    field: str = "Mtot"
    set_name: Annotated[str, tyro.conf.arg(name="set")] = "LH"
    transform: TransformSpec = dataclasses.field(default_factory=TransformSpec)
    """Of every map that the network reads."""
    inputs: Literal["maps", "power spectrum", "one-point PDF"] = "maps"
    """What the network reads of a map: the map itself by the convolutional network, or a summary by the perceptron."""
    labels: Literal["true", "permuted"] = "true"
    """permuted: those of the training and validation simulations in random order, from which nothing can be learnt."""
    normaliser: Literal["train", "suite"] = "train"
    """Statistics of log10(map) over the training maps, or over the whole suite as in the released scripts (legacy)."""
    augmentation: Literal["symmetries", "symmetries+shifts"] = "symmetries+shifts"
    """What is drawn for each map of a batch: one of the eight symmetries of the square; also a periodic shift."""
    split: SplitSpec = dataclasses.field(default_factory=SplitSpec)
    network: NetworkSpec = dataclasses.field(default_factory=NetworkSpec)
    perceptron: PerceptronSpec = dataclasses.field(default_factory=PerceptronSpec)
    """Of summaries."""
    optimiser: OptimiserSpec = dataclasses.field(default_factory=OptimiserSpec)
    batch_size: int = 128
    n_steps: int = 28_200
    """Optimiser steps; an epoch of the released recipe has 141."""
    validate_every: int = 141
    """Steps between validations (all eight symmetries of every validation map)."""
    squared_error_steps: int = 0
    """Steps of squared-error warm-up before the letter's loss: the remedy for a collapse to the prior."""
    precision: Literal["float32", "bfloat16", "auto"] = "auto"
    """Of the network; the loss is always float32. `auto`: bfloat16 on a device that has it, else float32."""
    statistics_batches: int = 100
    """Training batches over which the batch norms of the network that is kept are measured again, in float32; 0 leaves
    them the moving averages of the training (released recipe)."""
    head_batches: int = 0
    """Training batches over which the head of the network that is kept is then fitted again, with these statistics and
    without dropout, so that its standard deviations are those of the means that it predicts; 0 leaves it as it was in
    training (released recipe). On maps only."""
    seed: int = 0


@dataclass(frozen=True)
class EvaluateSpec:
    """A trained network applied to simulations that it has not seen, of its own suite or of another."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    network: TrainSpec = dataclasses.field(default_factory=TrainSpec)
    suite: str = "MockSIMBA"
    field: str = "Mtot"
    set_name: str = "LH"
    transform: TransformSpec = dataclasses.field(default_factory=TransformSpec)
    """Of the tested maps, before they are given to the network, which applies its own."""
    simulations: Literal["test", "all"] = "test"
    """`test`: the test simulations of the network's split. `all`: every one, refused on the network's own suite."""


def summary_training() -> TrainSpec:
    """Training of a perceptron on summaries: short steps, many of them, no symmetries to draw."""
    perceptron = PerceptronSpec(std_from="softplus")
    return TrainSpec(inputs="power spectrum", perceptron=perceptron, n_steps=6000, validate_every=200)


@dataclass(frozen=True)
class LetterSpec:
    """Every test of two suites: pairs, nulls, power spectrum, N-body, smoothing."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    suites: tuple[str, ...] = ()
    """The two suites to compare; when empty, those that the folder holds."""
    seeds: int = 1
    """Networks of the four pairs, trained with as many seeds from that of `train` on."""
    other_seeds: int = 1
    """The same for networks of every other kind; at most `seeds`."""
    smoothing: tuple[float, ...] = (1.0, 2.0, 3.0)
    """Gaussian smoothings in pixels to train on again."""
    k_max: tuple[float, ...] = (5.0, 10.0, 20.0, 40.0)
    """Cuts of the wavenumber in h/Mpc to train on again."""
    only: tuple[str, ...] = ()
    """Experiments to do beside the four pairs, each by its first words, e.g. smoothing; all when empty."""
    map_trials: int = 0
    """Trials of the search for the hyper-parameters of each suite's networks on maps; 0 takes those of `train`."""
    summary_trials: int = 30
    """Trials of the search for those of each suite's networks on the power spectrum, which then serve the one-point PDF
    too; 0 takes those of `summary`."""
    simulate: SimulateSpec = dataclasses.field(default_factory=SimulateSpec)
    """How to simulate the suites where no data folder is given; its `suite` is replaced by each of the two."""
    train: TrainSpec = dataclasses.field(default_factory=TrainSpec)
    """How to train each network on maps; each experiment sets suite, transform, inputs and labels, and `seed` is the
    first of `seeds`."""
    summary: TrainSpec = dataclasses.field(default_factory=summary_training)
    """How to train each network on a summary of the maps; field, set, split, seed, normaliser are those of `train`."""


@dataclass(frozen=True)
class TuneSpec:
    """Search for the hyper-parameters of one network."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    train: Annotated[TrainSpec, tyro.conf.arg(name="")] = dataclasses.field(default_factory=TrainSpec)
    """Everything that is not searched; with `search = "default"` also the first trial and the middle of the widths."""
    n_trials: int = 50
    """Trials that run to the end, are pruned or fail, over all processes and calls."""
    search: Literal["released", "default"] = "default"
    """released: space and sampler of the released scripts, no pruning; default: narrower, begun at good published
    values, poor trials stopped early. The released space is one of AdamW."""
    seed: Annotated[int, tyro.conf.arg(name="search-seed")] = 0
    """Of the sampler; every trial trains with the seed of `train`."""
    n_kept: int = 5
    """Best networks whose weights are kept, for an ensemble."""


def to_json(spec: Any) -> str:
    """Dump a spec to canonical JSON: sorted keys, floats as such, so that equal specs give equal text.

    Raises:
        UserError: not a spec, or with a value that JSON has no type for; else as in `from_json`.

    Example:
        >>> to_json(TransformSpec("smoothing", 1)) == to_json(TransformSpec("smoothing", 1.0))
        True
    """
    if not dataclasses.is_dataclass(spec) or isinstance(spec, type):
        raise UserError(f"spec: of type {type(spec).__name__}; give one of fieldlevel's specs")
    read_back = from_json(type(spec), json.dumps(_plain(asdict(spec), "spec")))
    return json.dumps(asdict(read_back), sort_keys=True, indent=2)


def in_plain_types(kind: type[Spec], spec: Spec) -> Spec:
    """The spec with Python's own numbers and text in the place of NumPy's and of paths.

    Raises:
        UserError: a spec of another kind; else as in `to_json`.

    Example:
        >>> import numpy as np
        >>> in_plain_types(NetworkSpec, NetworkSpec(hidden=np.int64(4)))
        NetworkSpec(hidden=4, dropout=0.2, std_from='square')
    """
    if not isinstance(spec, kind):
        raise UserError(f"spec: of type {type(spec).__name__}; give a {kind.__name__}")
    return from_json(kind, to_json(spec))


def _plain(value: Any, path: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each, str(key) if path == "spec" else f"{path}.{key}") for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, path) for each in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # of NumPy or PyTorch
        return value.tolist()
    if isinstance(value, str) and not value.isascii():
        _check_text(value, path)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise UserError(f"{path}: of type {type(value).__name__}; give numbers or text")


def _check_text(value: str, path: str) -> None:
    """Refuse bytes of no encoding, as names of files may hold them: no JSON does."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UserError(f"{path}: {value!r} holds characters that are none; give other text") from None


def read_spec(kind: type[Spec], path: Path) -> Spec:
    """Load a spec from a file of JSON.

    Raises:
        UserError: no such file or not one of text; else as in `from_json`.
    """
    remedy = "it is damaged or foreign, take it away"
    text = read_text(path, remedy)
    try:
        return from_json(kind, text, str(path))
    except UserError as error:
        raise UserError(f"{error}; {remedy}") from None


def from_json(kind: type[Spec], text: str, source: str = "spec") -> Spec:
    """Load a spec strictly from JSON.

    Args:
        kind: the spec dataclass.
        text: JSON text.
        source: where the text comes from, for the error message.

    Raises:
        UserError: unknown key, missing file or wrong type, with the path of the field.

    Example:
        >>> from_json(SplitSpec, '{"seed": 1, "trian": 0.9}')
        Traceback (most recent call last):
        ...
        fieldlevel.errors.UserError: spec: trian: unexpected keyword argument; allowed: seed, train, validation
    """
    from pydantic import ValidationError  # noqa: PLC0415 (keeps `--help` fast)

    try:
        return _adapter(kind).validate_json(text)  # type: ignore[no-any-return, arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(shown(part) for part in first["loc"]) or "text"
        raise UserError(f"{source}: {path}: {_explain(kind, first)}") from None


@cache
def _adapter(kind: type[Any]) -> Any:
    from pydantic import TypeAdapter  # noqa: PLC0415 (keeps `--help` fast)

    return TypeAdapter(kind)


def _explain(kind: type[Any], first: Mapping[str, Any]) -> str:
    message = str(first["msg"])
    message = message[0].lower() + message[1:]
    if first["type"] != "unexpected_keyword_argument":
        return message
    return f"{message}; allowed: {', '.join(_names_beside(kind, first['loc']))}"


def _names_beside(kind: type[Any], path: tuple[str | int, ...]) -> list[str]:
    for part in path[:-1]:
        kind = get_type_hints(kind)[str(part)]
    return [f.name for f in dataclasses.fields(kind)]


def overlay_file(spec: Spec, path: Path) -> Spec:
    """Override fields of a spec with those named in a file; every other field keeps its value.

    Args:
        spec: the preset to start from.
        path: TOML, or JSON as `spec.json` of a run has it. The spec of a network may stand for that in a search or a
            letter.

    Raises:
        UserError: not such a file, unknown key, wrong type.
    """
    text = read_text(path, "give a file of TOML, or the spec.json of a run, with --config")
    if not (is_json(text) or path.suffix == ".json"):
        return overlay_toml(spec, path)
    values = _parsed(partial(json.loads, object_pairs_hook=_each_once), text.lstrip("\ufeff"), f"{path}: not JSON")
    if not isinstance(values, dict):
        raise UserError(f"{path}: not an object of JSON; give the spec.json of a run with --config")
    return _overlay(spec, _as_part(spec, values), path)


def is_json(text: str) -> bool:
    """Whether settings are JSON: no TOML begins with a brace."""
    return text.lstrip("\ufeff \t\r\n").startswith("{")


def overlay_toml(spec: Spec, path: Path) -> Spec:
    """Override fields of a spec with those named in a TOML file; every other field keeps its value.

    Args:
        spec: the preset to start from.
        path: TOML file; tables are nested specs. A field whose flag has another name may have that name here too.

    Raises:
        UserError: file missing or not TOML, unknown key, wrong type.
    """
    text = read_text(path, "give a TOML file with --config")
    return _overlay(spec, _parsed(tomllib.loads, text.removeprefix("\ufeff"), f"{path}: not TOML"), path)


def _parsed(parse: Callable[[str], Any], text: str, trouble: str) -> Any:
    try:
        return parse(text)
    except RecursionError:
        raise UserError(f"{trouble}: nested too deep") from None
    except ValueError as error:  # also of numbers with thousands of digits
        raise UserError(f"{trouble}: {' '.join(str(error).partition(';')[0].split())}") from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key stands there twice")
    return values


def _overlay(spec: Spec, values: dict[str, Any], path: Path) -> Spec:
    named = _with_field_names(type(spec), values, str(path))
    try:
        text = json.dumps(_plain(_merge(asdict(spec), named), "spec"))  # type: ignore[call-overload]
    except RecursionError:
        raise UserError(f"{path}: nested too deep") from None
    except ValueError:  # of whole numbers of thousands of digits
        raise UserError(f"{path}: holds a number that is too long") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return from_json(type(spec), text, source=str(path))


def _as_part(spec: Any, values: dict[str, Any]) -> dict[str, Any]:
    """The spec of a network as that of the networks of a search or a letter, which sets the suites itself."""
    own, of_network = ({field.name for field in dataclasses.fields(kind)} for kind in (type(spec), TrainSpec))
    if "train" not in own or not of_network >= values.keys() or own >= values.keys():
        return values
    if isinstance(spec, TuneSpec):
        return {"train": values}
    part = "train" if values.get("inputs", "maps") == "maps" else "summary"
    return {part: {name: value for name, value in values.items() if name != "suite"}}


def _with_field_names(kind: type[Any], values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Settings by the names of their fields where they have those of their flags, as `set` of `set_name`."""
    hints = get_type_hints(kind, include_extras=True)
    by_flag = {
        argument.name.replace("-", "_"): name
        for name, hint in hints.items()
        for argument in getattr(hint, "__metadata__", ())
        if getattr(argument, "name", None)
    }
    named: dict[str, Any] = {}
    for key, value in values.items():
        name = key if key in hints else by_flag.get(key.replace("-", "_"), key)
        if name in named:
            raise UserError(f"{source}: {shown(key)}: the same as {name}, which is there too; give it once")
        inner = get_type_hints(kind).get(name)
        is_nested = isinstance(value, Mapping) and dataclasses.is_dataclass(inner) and isinstance(inner, type)
        named[name] = _with_field_names(inner, value, source) if is_nested else value  # type: ignore[arg-type]
    return named


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        nested = isinstance(value, Mapping) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if nested else value
    return merged


def digest(spec: Any, *facts: str) -> str:
    """Twelve hexadecimal digits that identify a spec and the facts it was used with, such as the data's fingerprint.

    Example:
        >>> digest(SplitSpec()) == digest(SplitSpec(seed=1)) != digest(SplitSpec(seed=2))
        True
    """
    text = "\n".join([type(spec).__name__, to_json(spec), *facts])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def refuse_values(spec: Any, allowed: Mapping[str, tuple[bool, str]]) -> None:
    """Refuse the first field of a spec whose value is not allowed.

    Args:
        spec: any spec.
        allowed: by field, whether its value is allowed, and in words what is.

    Raises:
        UserError: with the field, its value and what is allowed.
    """
    for name, (is_allowed, words) in allowed.items():
        if not is_allowed:
            raise UserError(f"{name} = {getattr(spec, name)}: allowed are {words}")


def released_preset() -> TrainSpec:
    """The released benchmark recipe, float32, with the best published hyper-parameters."""
    return TrainSpec(
        normaliser="suite",
        augmentation="symmetries",
        network=NetworkSpec(hidden=7, dropout=0.209),
        optimiser=OptimiserSpec(learning_rate=4.88e-3, weight_decay=2.44e-4, schedule="triangular"),
        precision="float32",
        statistics_batches=0,
    )


def modern_preset() -> TrainSpec:
    """Muon, one-cycle rate, periodic shifts, bfloat16 where the device has it, statistics of the training maps only.

    Standard deviations are the softplus of an output: as squares they vanished for some maps; and the head is fitted
    again to statistics that stand: without it they were up to 1.6 times too large (docs/training.md).

    Decay at this rate halves a weight in some 170 steps, and keeps networks of 1,000 simulations from overfitting: it
    does what dropout is for, at a lower loss (docs/training.md). More steps hardly lower the errors.
    """
    return TrainSpec(
        network=NetworkSpec(dropout=0.0, std_from="softplus"),
        perceptron=PerceptronSpec(std_from="softplus"),
        optimiser=OptimiserSpec(method="Muon", learning_rate=4e-2, weight_decay=0.1, beta1=0.95),
        n_steps=4000,
        validate_every=200,
        head_batches=200,
    )


TRAIN_PRESETS = {"released": released_preset, "modern": modern_preset}


def laptop_scale() -> LetterSpec:
    """Two CPU cores, some half an hour: small boxes of particles, 64 x 64 maps, a narrow network."""
    split = SplitSpec(train=0.75, validation=0.10)
    summary, train = summary_training(), modern_preset()
    return LetterSpec(
        k_max=(2.0, 4.0),
        summary_trials=20,
        summary=dataclasses.replace(
            summary,
            split=split,
            perceptron=dataclasses.replace(summary.perceptron, n_neurons=64),
            n_steps=1500,
            validate_every=75,
        ),
        simulate=SimulateSpec(n_simulations=200, n_particles=64, n_mesh=96, step_error=0.2, n_pixels=64),
        train=dataclasses.replace(
            train,
            split=split,
            network=dataclasses.replace(train.network, hidden=4),
            batch_size=32,
            n_steps=800,
            validate_every=80,
        ),
    )


def letter_scale() -> LetterSpec:
    """The sizes of the letter, for one GPU or more."""
    return LetterSpec(train=modern_preset())


def fine_simulations() -> SimulateSpec:
    """The letter's maps from eight times as many particles."""
    return dataclasses.replace(letter_scale().simulate, n_particles=256, n_mesh=512)


SCALES = {"laptop": laptop_scale, "letter": letter_scale}
SIMULATION_SCALES: dict[str, Callable[[], SimulateSpec]] = {
    "laptop": lambda: laptop_scale().simulate,
    "letter": lambda: letter_scale().simulate,
    "fine": fine_simulations,
}
