import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of everything that a wheel is built from, with one more trained network."""
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(
        ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", ".*", "*.nb[ci]")
    )
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    folder = source / "src" / "fieldlevel" / "trained"
    folder.mkdir(exist_ok=True)
    (folder / "MockNew.safetensors").write_bytes(b"weights")
    return source


def test_a_wheel_holds_every_file_of_the_package(source):
    pytest.importorskip("setuptools", minversion="77")
    code = "from setuptools import build_meta; build_meta.build_wheel('wheels')"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    (wheel,) = (source / "wheels").iterdir()
    paths = [path for path in (source / "src" / "fieldlevel").rglob("*") if path.is_file()]
    files = {path.relative_to(source / "src").as_posix() for path in paths}
    assert "fieldlevel/trained/MockNew.safetensors" in files
    assert files <= set(zipfile.ZipFile(wheel).namelist())
