"""Measure the simulator and write the page `docs/simulator.md` with its figures, from the root of the repository.

    python -m benchmarks.simulator --out docs                  # everything that --work does not hold yet, then the page
    python -m benchmarks.simulator --only gravity              # one topic (or measurement) alone, then the page
    python -m benchmarks.simulator --out docs --render-only    # the page from the measurements that are there
    python -m benchmarks.simulator --quick                     # toy sizes on a CPU core; the page goes below --work

Every measurement writes one JSON file into --work as soon as it is done and is not repeated while that file exists, so
a killed run continues. All of it takes some five minutes of an H200. Two GPUs at once, with one --work:

    python -m benchmarks.simulator --device cuda:0 --out /tmp/a --only gravity baryons devices
    python -m benchmarks.simulator --device cuda:1 --out /tmp/b --only maps speed suites classifier

The measurements of the second line share maps, so they belong into one process; topic `cpu` is of two CPU cores. The
comparison with HMcode needs CAMB (`pip install camb`) and the one between devices a CUDA device; without them these two
are left out, and can be made elsewhere with the same --work. The suppression tables stand beside this folder, see
`benchmarks/suppression/README.md`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from benchmarks.measuring import run
from benchmarks.simulator import baryons, classifier, contrast, devices, gravity, maps, speed
from benchmarks.simulator.measurement import Measure, Setting, full_sizes, load, perform, quick_sizes
from benchmarks.simulator.page import write_page

from fieldlevel.errors import UserError
from fieldlevel.numerics.device import select_device

TOPICS: dict[str, dict[str, Measure]] = {
    "gravity": gravity.MEASURES,
    "baryons": baryons.MEASURES,
    "maps": maps.MEASURES,
    "speed": speed.MEASURES,
    "suites": contrast.MEASURES | {"suites_classifier": classifier.suites_classifier},
    "devices": devices.MEASURES,
    "classifier": {"classifier": classifier.classifier},
    "cpu": speed.CPU_MEASURES,
}
"""In the order of their importance, should the time run out."""


@dataclass(frozen=True)
class Arguments:
    """Measure the simulator and write its page."""

    out: Path | None = None
    """Folder of the page; docs when omitted, a folder below --work with --quick."""
    work: Path = Path("simulator-measurements")
    """Folder of the measurements."""
    only: tuple[str, ...] = ()
    """Topics or measurements; all when omitted."""
    render_only: bool = False
    """Measure nothing."""
    quick: bool = False
    """Toy sizes."""
    device: str = "auto"


def chosen(only: tuple[str, ...]) -> Mapping[str, Measure]:
    """The measurements that were asked for.

    Raises:
        UserError: an unknown name.
    """
    everything = {name: measure for topic in TOPICS.values() for name, measure in topic.items()}
    wanted: dict[str, Measure] = {}
    for name in only:
        if name not in TOPICS and name not in everything:
            raise UserError(f"--only {name}: unknown; allowed: {', '.join({**TOPICS, **everything})}")
        wanted |= TOPICS.get(name) or {name: everything[name]}
    return wanted or everything


def main() -> None:
    """Measure what is missing, then write the page."""
    arguments = tyro.cli(Arguments)
    wanted, device = chosen(arguments.only), select_device(arguments.device)
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    work = arguments.work / "quick" if arguments.quick else arguments.work
    if not arguments.render_only:
        sizes = quick_sizes() if arguments.quick else full_sizes()
        setting = Setting(device, sizes, arguments.quick)
        perform(wanted, setting, work)
    out = arguments.out or (work / "page" if arguments.quick else Path("docs"))
    print(write_page(load(work), out))


if __name__ == "__main__":
    run(main)
