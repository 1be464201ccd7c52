"""Compiled loops run without a cache, with a damaged one, and where none can be kept."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fieldlevel

CODE = """
import numpy as np
from fieldlevel.numerics.discs_numba import _cut, add_discs
image = np.zeros((8, 8))
add_discs(image, np.array([[4.0], [4.0], [1.5], [2 / np.pi]]))
print(round(float(image.sum()), 12), sum(add_discs.stats.cache_hits.values()))
"""


def run(cache: Path, package: Path | None = None) -> list[str]:
    source = Path(fieldlevel.__file__).parents[1] if package is None else package
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(source), "HOME": "/nonexistent"}
    command = [sys.executable, "-W", "error", "-c", CODE]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.split()


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    assert run(folder) == ["2.0", "0"]
    return folder


def test_what_was_compiled_is_found_again(filled):
    assert run(filled) == ["2.0", "1"]


def test_without_a_place_for_a_cache_it_is_compiled_each_time(tmp_path):
    place = tmp_path / "file"
    place.write_text("no folder")
    package = tmp_path / "package"
    shutil.copytree(Path(fieldlevel.__file__).parent, package / "fieldlevel", ignore=shutil.ignore_patterns("__py*"))
    (package / "fieldlevel" / "numerics" / "__pycache__").write_text("no folder, so that nobody can make one")
    assert run(place, package) == ["2.0", "0"]


def truncate(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (flip, "nbc"),
        (lambda _: b"garbage" * 99, "nbi"),
        *(slow(damage, kind) for damage in (truncate, lambda _: b"", lambda _: b".") for kind in ("nbc", "nbi")),
        slow(flip, "nbi"),
        slow(lambda _: b"garbage" * 99, "nbc"),
    ],
)
def test_a_damaged_cache_is_made_again(filled, tmp_path, damage, kind):
    cache = tmp_path / "cache"
    shutil.copytree(filled, cache)
    damaged = list(cache.rglob(f"*.{kind}"))
    assert damaged
    for path in damaged:
        path.write_bytes(damage(path.read_bytes()))
    assert run(cache) == ["2.0", "0"]
    assert run(cache) == ["2.0", "1"]
