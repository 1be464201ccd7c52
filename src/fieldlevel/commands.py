"""What can be asked of the command line: one dataclass a command, whose fields are its options."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from fieldlevel.mapmaking.project_spec import ProjectSpec
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.robustness.robustness_spec import RobustnessSpec
from fieldlevel.study.robustness.step_times import StepTimes
from fieldlevel.training.train_spec import TrainSpec

Flat = tyro.conf.arg(name="")
Device = Annotated[str, tyro.conf.arg(metavar="{auto,cpu,cuda,cuda:N}")]
Cluster = Annotated[str | None, tyro.conf.arg(metavar="ADDRESS")]
Scale = Literal["laptop", "half", "letter"]


@dataclass(frozen=True)
class Demo:
    """Maps, posteriors beside the truth, whether to trust them: in under a minute.

    By a network of the package, on example maps of the package: mock data.
    """

    out: Path = Path("fieldlevel-demo.png")
    """The figure, .png or .pdf."""
    device: Device = "cpu"


@dataclass(frozen=True)
class Letter:
    """Data, networks, every test, figures, report; run it again to continue.

    Where all is done, the same command shows the result.
    """

    data: Path | None = None
    """Folder of CMD files; without it mock suites are simulated first."""
    out: Path = Path("letter-output")
    """Where everything goes: report.html, report.md, figures, metrics.json, predictions.csv, runs."""
    scale: Scale | None = None
    """laptop: two CPU cores, a quarter of an hour; letter: the letter's sizes and split, GPUs; half: the same of 128^3
    particles. When omitted: letter with --data, laptop without."""
    config: Path | None = None
    """TOML file, spec.json of a run or its folder, that overrides the scale's spec; flags override the file."""
    set_name: Annotated[str | None, tyro.conf.arg(name="set", metavar="SET")] = None
    """Set of simulations to work with: short for --train.set, and for --simulate.set where the suites are simulated."""
    cluster: Cluster = None
    """Where simulations and networks are made: tcp://HOST:PORT of a dask scheduler, its SCHEDULER.json, or slurm; on
    this machine when omitted. Networks are tested here."""
    device: Device = "auto"
    spec: Annotated[LetterSpec, Flat] = field(default_factory=LetterSpec)


@dataclass(frozen=True)
class Robustness:
    """Leave each suite out, train on the others, test there; run it again to go on.

    Of three suites or more.
    """

    data: Path | None = None
    """Folder of CMD files; without it mock suites are simulated first."""
    out: Path = Path("robustness-output")
    """Where everything goes: report.html, report.md, figures, summary.json, predictions.csv, runs."""
    scale: Scale | None = None
    """laptop: small maps, narrow networks, one seed, hours on two CPU cores; letter: the letter's sizes, GPUs; half:
    the same of 128^3 particles. When omitted: letter with --data, laptop without."""
    config: Path | None = None
    """TOML file, spec.json of a run or its folder, that overrides the scale's spec; flags override the file."""
    set_name: Annotated[str | None, tyro.conf.arg(name="set", metavar="SET")] = None
    """Set of simulations to work with: short for --train.set, and for --simulate.set where the suites are simulated."""
    cluster: Cluster = None
    """Where simulations and networks are made: tcp://HOST:PORT of a dask scheduler, its SCHEDULER.json, or slurm; on
    this machine when omitted."""
    device: Device = "auto"
    plan: bool = False
    """Only tell how many networks would be trained, what of them is left, and how long one device would take."""
    times: StepTimes = field(default_factory=StepTimes)
    """How long the device takes, for --plan."""
    spec: Annotated[RobustnessSpec, Flat] = field(default_factory=RobustnessSpec)


@dataclass(frozen=True)
class Simulate:
    """Simulate mock suites as CMD files; run it again to continue, or to add a suite.

    Their gravity-only twin is made too, from the same gravity runs.
    """

    out: Path = Path("mock-data")
    """Folder for the files; several shards may work in it at once."""
    scale: Scale = "laptop"
    """Preset of the spec below, by accuracy (docs/simulator.md). laptop: 64^2 maps of 64^3 particles, time steps right
    to 20% in P(k), two CPU cores; half: 256^2 maps of 128^3 particles, steps right to 3% up to k = 10 h/Mpc, GPUs;
    letter: the same of 256^3 particles, as many as CAMELS has, force softening 0.05 Mpc/h."""
    config: Path | None = None
    """TOML file, or a folder of simulated maps, that overrides the scale's spec; flags override it."""
    suite: Annotated[str | None, tyro.conf.arg(metavar="SUITE")] = None
    """Short for --suites of one."""
    shard: Annotated[str, tyro.conf.arg(metavar="I/N")] = "1/1"
    """Simulate the I-th of N parts only; the files get their names when the last part is done."""
    keep_snapshots: bool = False
    """Also write the particles of every simulation, in the layout of CAMELS, under snapshots/ of --out."""
    workers: int | None = None
    """Processes on the CPU, or on each GPU for 100 simulations and more; when omitted all cores, or two on a GPU. On
    the CPU the maps do not depend on it."""
    cluster: Cluster = None
    """Where it is simulated, in the place of --workers: tcp://HOST:PORT of a dask scheduler, its SCHEDULER.json, or
    slurm."""
    device: Device = "auto"
    """auto and cuda take all GPUs, cuda:N that one."""
    spec: Annotated[SimulateSpec, Flat] = field(default_factory=SimulateSpec)


@dataclass(frozen=True)
class Project:
    """Turn snapshots into CMD maps, one simulation each; run it again to continue."""

    snapshots: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SNAPSHOT ...", help_behavior_hint="(required)")
    ]
    """GADGET, AREPO, GIZMO or SWIFT HDF5 files, one of several files, or folders of them."""
    out: Path
    """Folder for the files."""
    shard: Annotated[str, tyro.conf.arg(metavar="I/N")] = "1/1"
    """Project the I-th of N parts only; the files get their names when the last part is done."""
    workers: int = 1
    """Processes on the CPU; each holds a snapshot in memory. The maps do not depend on it."""
    cluster: Cluster = None
    """Where snapshots are projected, in the place of --workers: tcp://HOST:PORT of a dask scheduler, its
    SCHEDULER.json, or slurm."""
    device: Device = "cpu"
    spec: Annotated[ProjectSpec, Flat] = field(default_factory=ProjectSpec)


@dataclass(frozen=True)
class Check:
    """Is this data folder sound? Lists every defect; exit code 2 if there is one."""

    directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIRECTORY")]


@dataclass(frozen=True)
class Train:
    """Train one network on simulations of a suite; run it again to continue.

    On two GPUs: `torchrun --nproc-per-node 2 -m fieldlevel train ...`.
    """

    data: Path
    """Folder of CMD files."""
    out: Path = Path("network")
    """Folder for weights.safetensors, history.csv and spec.json."""
    preset: Literal["released", "modern"] = "modern"
    """released: the benchmark recipe of the CAMELS Multifield Dataset; modern: the faster one."""
    config: Path | None = None
    """TOML file, spec.json of a run or its folder, that overrides the preset; flags override the file."""
    suites: tuple[str, ...] = ()
    """Suites to train on together, with labels, in equal shares of every batch: short for `sources`."""
    align_with: Annotated[str | None, tyro.conf.arg(metavar="SUITE")] = None
    """Another suite, of which the network sees maps without labels (--method mmd, adversarial, batch-norms)."""
    align_part: float = 0.5
    """Of the training simulations, kept for --align-with where it shares its initial conditions with a training suite:
    no sibling of what it is aligned with has a label."""
    device: Device = "auto"
    spec: Annotated[TrainSpec, Flat] = field(default_factory=TrainSpec)


@dataclass(frozen=True)
class Tune:
    """Search for hyper-parameters and keep the best networks; run it again to go on.

    Several processes may work on one search, each started like the first.
    """

    data: Path
    """Folder of CMD files."""
    out: Path = Path("search")
    """Folder for trials.csv, importance.json and the weights of the best trials; several processes may share it."""
    preset: Literal["released", "modern"] = "modern"
    """Of everything that is not searched. released: the benchmark recipe of the CAMELS Multifield Dataset; modern: the
    faster one."""
    config: Path | None = None
    """TOML file that overrides the preset, which is its table [train], or spec.json of a run or its folder; flags
    override it."""
    begin_with: Path | None = None
    """Optuna database of the released CMD scripts (SQLite): the search begins with its five best trials."""
    cluster: Cluster = None
    """Where trials are done, as many at a time as there are workers: tcp://HOST:PORT of a dask scheduler, its
    SCHEDULER.json, or slurm; here, one at a time, when omitted."""
    device: Device = "auto"
    spec: Annotated[TuneSpec, Flat] = field(default_factory=TuneSpec)


@dataclass(frozen=True)
class Evaluate:
    """Test a network on simulations of a suite that it has never seen."""

    weights: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="WEIGHTS")]
    """weights.safetensors of a trained network, or the name of one that comes with the package."""
    data: Path
    """Folder of CMD files."""
    suite: str = ""
    """Suite to test on; that of the training when omitted."""
    set_name: Annotated[str, tyro.conf.arg(name="set")] = "LH"
    simulations: Literal["test", "all", "unseen"] = "test"
    """test: the test simulations of the network's split; all: every one, refused where the network has seen some;
    unseen: every one that it has not seen."""
    out: Path = Path("evaluation")
    """Folder for predictions.csv and metrics.json."""
    anyway: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Also test on maps that seem to be in another unit than those of the training."""
    device: Device = "auto"


@dataclass(frozen=True)
class Infer:
    """Posterior mean and standard deviation of each parameter for maps of a file."""

    weights: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="WEIGHTS")]
    """weights.safetensors of a trained network, or the name of one that comes with the package."""
    maps: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MAPS")]
    """(n, N, N) surface densities in (Msun/h)/(Mpc/h)^2, as in CMD files, or one map, (N, N)."""
    out: Path | None = None
    """CSV file, replaced if it is there; <maps>.posterior.csv when omitted."""
    members: tuple[Path, ...] = ()
    """More networks of the same maps: they answer together, as an ensemble."""
    weighting: Literal["equal", "validation loss", "trust"] = "equal"
    """Of the members of an ensemble. equal: all alike; validation-loss: more of a lower loss; trust: those answer that
    do not find the maps, all together, unlike the ones that they were trained on, and where all do, all of them."""
    outputs: tuple[str, ...] = ()
    """Parameters to answer, by their names; networks of several suites have Omega_m and sigma_8 in common. All that the
    networks infer when omitted."""
    quantiles: tuple[float, ...] = ()
    """Probabilities whose quantiles of each parameter the table gets too, e.g. 0.16 0.5 0.84."""
    samples: int | None = None
    """Draw so many samples of each posterior and write them to <out>.samples.npz: samples (N, maps, parameters) in
    physical units, names, network, joint (whether correlations are known), seed."""
    seed: int = 0
    """Of the samples."""
    plot: Path | None = None
    """Draw the posteriors of the first three maps, .pdf or .png: a corner plot, or marginals where the network knows
    nothing else."""
    anyway: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Also answer for maps that seem to be in another unit than those of the training."""
    device: Device = "auto"


@dataclass(frozen=True)
class Trust:
    """Keep what tells maps like those of a network's training from others.

    For a network that has no such file yet; one that is there is kept, unless
    --unseen or --out is given.
    """

    weights: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="WEIGHTS")]
    """weights.safetensors of a trained network; <weights>.trust.safetensors is written beside it."""
    data: Path
    """Folder of the CMD files that it was trained on."""
    suite: str | None = None
    """One of those that it was trained on; all with labels when omitted."""
    set_name: Annotated[str | None, tyro.conf.arg(name="set")] = None
    """The set of that suite; as trained on when omitted."""
    unseen: Annotated[str | None, tyro.conf.arg(metavar="SET")] = None
    """Another set of the same suites, unseen by the network, to take the thresholds from; those of the validation
    simulations when omitted."""
    out: Path | None = None
    """Another place for the file; another reference there is replaced, any other file is not."""
    device: Device = "auto"


@dataclass(frozen=True)
class Calibrate:
    """Make error bars of a network honest, on simulations that it has never seen.

    They count as seen from then on. Writes <weights>.calibration.json.
    """

    weights: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="WEIGHTS")]
    """weights.safetensors of a trained network."""
    data: Path
    """Folder of CMD files."""
    suite: str = ""
    """Suite to calibrate on, one of its training; when omitted the calibration of before stays."""
    set_name: Annotated[str, tyro.conf.arg(name="set")] = "LH"
    """Of the simulations, e.g. LHtest; in the set of the training only --transfer is possible."""
    transfer: tuple[str, ...] = ()
    """Suites that the network was not trained on, or its gravity-only twin: what its errors grow by there."""
    without: tuple[Path, ...] = ()
    """In the place of --transfer: weights of networks trained on all sources of this one but one each."""
    device: Device = "auto"


@dataclass(frozen=True)
class Shrink:
    """Store a network in half the space, its weights in float16."""

    weights: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="WEIGHTS")]
    """weights.safetensors of a trained network, or the name of one that comes with the package."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """The file to write; every command takes it in the place of the larger one."""


@dataclass(frozen=True)
class Import:
    """Turn a network of the released CMD scripts into a weights file."""

    weights: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="WEIGHTS")]
    """weights_<suite>_<field>_<trial>_all_steps_500_500_o3.pt, ..._smoothing_<pixels>.pt, or another name."""
    out: Path
    """The weights file to write, NAME.safetensors."""
    suite: str | None = None
    """That it was trained on, e.g. IllustrisTNG; from the name when omitted."""
    field: str | None = None
    """Of its maps, e.g. Mtot; from the name when omitted."""
    mean: float | None = None
    """Of log10(map) over all maps of the suite, as the released scripts have it."""
    std: float | None = None
    """Standard deviation of the same."""
    maps: Path | None = None
    """Map file of the suite to measure both on; when all three are omitted the known ones of IllustrisTNG's Mtot."""
    smoothing: float | None = None
    """Of the maps, in pixels; from the name when omitted."""


Command = (
    Demo
    | Letter
    | Robustness
    | Simulate
    | Project
    | Check
    | Train
    | Tune
    | Evaluate
    | Infer
    | Calibrate
    | Trust
    | Shrink
    | Import
)
