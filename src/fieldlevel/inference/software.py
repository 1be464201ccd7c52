"""Where a result comes from: software, commit, hardware, date."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import torch

from fieldlevel import __version__
from fieldlevel.crews import current_crew
from fieldlevel.json_files import write_json
from fieldlevel.numerics.hardware import in_words, processor


def describe_software(device: torch.device) -> dict[str, str]:
    """Facts about this run for reports.

    Args:
        device: where the networks run.

    Returns:
        Plain words by topic; the commit is left out where the package does not run from a repository. On a cluster
        `workers` are those that have done something by now.
    """
    facts = _describe_process(device)
    if (crew := current_crew()) is not None and crew.units:
        facts["workers"] = f"{in_words(crew.units)} ({crew.name})"
    return facts


def _describe_process(device: torch.device) -> dict[str, str]:
    facts = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "fieldlevel": __version__,
        "commit": _commit(),
        "hardware": _hardware(device),
        "Python": platform.python_version(),
        "PyTorch": torch.__version__,
    }
    return {topic: fact for topic, fact in facts.items() if fact}


def _hardware(device: torch.device) -> str:
    cores = f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} CPU cores"
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {cores}"
    return f"{processor()}, {cores}"


@cache
def _commit() -> str:
    """Commit of the repository that holds the package, marked where files differ from it; empty where none does.

    It is asked for once: a process goes on with the code that it began with.

    A package that is installed inside a repository of somebody else's is not tracked there.
    """
    source = Path(__file__).parent
    try:
        _git(source, "ls-files", "--error-unmatch", Path(__file__).name)
        commit = _git(source, "rev-parse", "--short=12", "HEAD")
        changed = _git(source, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{commit} with uncommitted changes" if changed else commit


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def record_software(folder: Path, device: torch.device) -> None:
    """Write `provenance.json` of a run that this process has made."""
    write_json(folder / "provenance.json", _describe_process(device))
