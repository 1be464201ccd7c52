"""Tiny valid files, made once, that every fuzzer damages; and the number of cases by kind, printed at the end."""

import os
from collections import Counter
from pathlib import Path

import pytest
from artefacts import BlankFigures, Valid
from contract import Bench

_COUNTS: Counter[tuple[str, str]] = Counter()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The watchdog of a case uses the alarm signal, so that of a test must not."""
    for item in items:
        if "fuzz" in item.path.parts:
            item.add_marker(pytest.mark.timeout(3000, method="thread"))


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    survey = os.environ.get("FUZZ_SURVEY")
    return Bench(tmp_path_factory.mktemp("fuzz"), Path(survey) if survey else None, _COUNTS)


@pytest.fixture(scope="session")
def valid(blank_figures: BlankFigures, tmp_path_factory: pytest.TempPathFactory) -> Valid:
    return Valid(tmp_path_factory.mktemp("valid"), blank_figures)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _COUNTS:
        return
    kinds = sorted({kind for kind, _ in _COUNTS})
    terminalreporter.section("hostile cases")
    for kind in kinds:
        told = ", ".join(f"{_COUNTS[kind, how]} {how}" for how in ("refused", "worked", "broken"))
        total = sum(count for (other, _), count in _COUNTS.items() if other == kind)
        terminalreporter.line(f"{kind:<24} {total:>6}: {told}")
    terminalreporter.line(f"{'all':<24} {sum(_COUNTS.values()):>6}")
