"""The pages, their blocks, and the hook of the site that makes more of them."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from hydro_snapshot import write_hydro_snapshot

from fieldlevel.simulate.mock_suite import simulate_suite
from fieldlevel.simulate.simulate_spec import SimulateSpec

ROOT = Path(__file__).parents[2]
_FENCED = re.compile(r"^```([\w-]*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_CONTINUED = re.compile(r"\\\n\s*")


@dataclass(frozen=True)
class Page:
    """A page of the repository.

    Attributes:
        path: relative to the root.
        text: in Markdown; of a notebook that of its cells of text.
    """

    path: Path
    text: str

    @property
    def blocks(self) -> list[tuple[str, str]]:
        """Language and text of what stands between fences, in their order."""
        return _FENCED.findall(self.text)

    @property
    def prose(self) -> str:
        """The page without what stands between fences or in backticks."""
        return re.sub(r"`[^`\n]*`", "", _FENCED.sub("", self.text))

    def commands(self, *languages: str) -> list[str]:
        """Lines that call fieldlevel in blocks of these languages, from that word on."""
        lines = [
            line
            for language, block in self.blocks
            if language in languages
            for line in _CONTINUED.sub("", block).splitlines()
        ]
        calls = (re.search(r"(?:^|[ /])fieldlevel (?=[a-z])(.*)", line.split("  #")[0]) for line in lines)
        return [f"fieldlevel {call[1]}" for call in calls if call]


def read_page(path: Path) -> Page:
    text = path.read_text()
    if path.suffix == ".ipynb":
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells)
    return Page(path.relative_to(ROOT), text)


PATTERNS = ("README.md", "docs/*.md", "results/*/README.md", "notebooks/*.ipynb")
PAGES = [read_page(path) for pattern in PATTERNS for path in sorted(ROOT.glob(pattern))]


@pytest.fixture(params=PAGES, ids=lambda page: str(page.path))
def page(request) -> Page:
    return request.param


@pytest.fixture(scope="session")
def pages() -> list[Page]:
    return PAGES


@pytest.fixture(scope="session")
def toy() -> dict[str, str]:
    """What stands behind a command to make it small."""
    training = (
        "--batch-size 16 --split.train 0.6 --split.validation 0.2 --n-steps 6 --validate-every 3"
        " --statistics-batches 3 --head-batches 3"
    )
    return {
        "simulate": "--n-simulations 10 --n-particles 16 --n-mesh 16 --n-pixels 16 --workers 1",
        "train": training,
        "tune": f"{training} --n-trials 2",
        "project": "--n-pixels 16 --workers 1",
    }


@pytest.fixture(scope="session")
def toy_cmd(tmp_path_factory) -> Path:
    """Ten simulations of two suites, 16 x 16 pixels."""
    spec = SimulateSpec(("MockTNG", "MockSIMBA"), n_simulations=10, n_particles=16, n_mesh=16, n_pixels=16)
    return simulate_suite(spec, tmp_path_factory.mktemp("toy") / "cmd", device="cpu")


@pytest.fixture
def place(toy_cmd, tmp_path, monkeypatch) -> Path:
    """A folder that has what the pages speak of, in which commands are given."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    shutil.copytree(toy_cmd, tmp_path / "cmd")
    for number, name in enumerate("ab"):
        (tmp_path / "snapshots" / name).mkdir(parents=True)
        write_hydro_snapshot(tmp_path / "snapshots" / name / "snapshot_090.hdf5", n=200, seed=number)
    row = "0.3 0.8 1 1 1 1\n"
    (tmp_path / "row.txt").write_text(row)
    (tmp_path / "table.txt").write_text(2 * row)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fieldlevel.cli._cores", lambda: 1)
    return tmp_path
