"""The scripts of docs/cluster.md run, with a scheduler that is none: its variables, `srun` and `scontrol` alone."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = {
    re.search("job-name=(.*)", script)[1]: script
    for script in re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "cluster.md").read_text(), re.DOTALL)
}


def test_scripts_were_found():
    assert set(SCRIPTS) == {"simulate", "project", "letter", "train", "seeds", "tune"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_sound(name):
    assert SCRIPTS[name].startswith("#!/bin/bash\n#SBATCH")
    assert "set -euo pipefail" in SCRIPTS[name]
    subprocess.run(["bash", "-n"], input=SCRIPTS[name].encode(), check=True)


@pytest.fixture
def submit(place, toy, monkeypatch):
    """Runs a script as a task of a job, its commands at toy size."""
    (place / ".venv" / "bin").mkdir(parents=True)
    (place / ".venv" / "bin" / "activate").touch()
    called = f'exec {sys.executable} -m "$@"'
    choice = "\n".join(f"    {name}) more='{flags}' ;;" for name, flags in toy.items())
    programs = {
        "fieldlevel": f'case "$1" in\n{choice}\nesac\nset -- fieldlevel "$@" $more\n{called}',
        "torchrun": f'set -- torch.distributed.run "$@" {toy["train"]}\n{called}',
        "srun": 'exec "$@"',
        "scontrol": "echo localhost",
        "dask": f'exec {sys.executable} -m dask "$@"',
    }
    for name, text in programs.items():
        (place / ".venv" / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
        (place / ".venv" / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{place / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}")

    def run(script: str, **told: object) -> subprocess.CompletedProcess[str]:
        variables = {f"SLURM_{name}": str(value) for name, value in told.items()}
        environment = os.environ | variables | {"SLURM_SUBMIT_DIR": str(place)}
        return subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.mark.slow
def test_parts_of_simulations_make_the_files(submit, place):
    script = SCRIPTS["simulate"].replace("--out cmd", "--out parts --no-twin")
    for task in (1, 2):
        assert not (place / "parts" / "params_LH_MockTNG.txt").exists()
        done = submit(script, ARRAY_TASK_ID=task, ARRAY_TASK_COUNT=2)
        assert done.returncode == 0, done.stderr
    assert len(np.load(place / "parts" / "Maps_Mtot_MockTNG_LH_z=0.00.npy")) == 150


@pytest.mark.slow
def test_parts_of_snapshots_make_the_files(submit, place):
    script = SCRIPTS["project"].replace("snapshots/*.hdf5", "snapshots/*/*.hdf5").replace("--out cmd", "--out parts")
    for task in (1, 2):
        done = submit(script, ARRAY_TASK_ID=task, ARRAY_TASK_COUNT=2, CPUS_PER_TASK=1)
        assert done.returncode == 0, done.stderr
    assert len(np.load(place / "parts" / "Maps_Mtot_Mine_LH_z=0.00.npy")) == 30


@pytest.mark.slow
def test_workers_of_dask_make_the_files(submit, place):
    script = SCRIPTS["letter"].replace("letter --scale letter --out letter", "simulate --no-twin --out made")
    done = submit(script, JOB_ID=7)
    assert done.returncode == 0, done.stderr
    assert len(np.load(place / "made" / "Maps_Mtot_MockTNG_LH_z=0.00.npy")) == 150
    assert not list(place.glob("scheduler*"))


@pytest.mark.slow
def test_one_network_is_trained_by_several_processes(submit, place):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    script = SCRIPTS["train"].replace("29500", str(port)).replace("--nproc-per-node 4", "--nproc-per-node 2")
    done = submit(script, NNODES=1, JOB_ID=7, JOB_NODELIST="node")
    assert done.returncode == 0, done.stderr
    assert (place / "network" / "weights.safetensors").exists()


def test_seeds_have_folders_of_their_own(submit, place):
    done = submit(SCRIPTS["seeds"], ARRAY_TASK_ID=3)
    assert done.returncode == 0, done.stderr
    assert (place / "networks" / "3" / "weights.safetensors").exists()


@pytest.mark.slow
def test_a_search_is_gone_on_with(submit, place):
    assert submit(SCRIPTS["tune"]).returncode == 0
    done = submit(SCRIPTS["tune"])
    assert done.returncode == 0, done.stderr
    assert len((place / "search" / "trials.csv").read_text().splitlines()) == 3
