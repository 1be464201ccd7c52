"""The example of docs/training.md that trains, tests and watches in Python runs."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[1] / "docs" / "training.md").read_text()


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"^```python\n(import fieldlevel\n.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    names = {}
    exec(compile(block, "docs/training.md", "exec"), names)
    told = capsys.readouterr().err
    assert "simulate MockTNG" in told and "train MockTNG: 20/20 steps loss" in told
    assert len([loss for loss in names["losses"] if loss is not None]) == 2
    assert names["found"].predictions.mean.shape == (30, 6)
