import shutil
import subprocess
import sys
from pathlib import Path

import fieldlevel

PACKAGE = Path(fieldlevel.__file__).parent
TELL = """
import sys
from types import SimpleNamespace
sys.modules["torch"] = SimpleNamespace(device=None)  # takes seconds, and knows nothing of commits
from fieldlevel.inference import software as provenance
print(provenance._commit())
"""


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit_of_copy(folder: Path) -> str:
    """What a copy of the package in a folder says of itself."""
    told = subprocess.run([sys.executable, "-c", TELL], cwd=folder, check=True, capture_output=True, text=True)
    return told.stdout.strip()


def test_the_commit_is_that_of_the_repository_that_holds_the_package(tmp_path):
    ignored = shutil.ignore_patterns("*.safetensors", "__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "fieldlevel", ignore=ignored)
    (tmp_path / "notes.txt").write_text("somebody else's")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "notes.txt")
    git(tmp_path, "commit", "--quiet", "-m", "Begin")
    assert commit_of_copy(tmp_path) == ""
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "Add the package")
    commit = git(tmp_path, "rev-parse", "--short=12", "HEAD")
    assert commit_of_copy(tmp_path) == commit
    (tmp_path / "fieldlevel" / "cli.py").write_text("")
    assert commit_of_copy(tmp_path) == f"{commit} with uncommitted changes"
