"""The page: measurements in, Markdown and figures out; every number of the page comes from a measurement."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.simulator import figures
from benchmarks.simulator.fields import at
from benchmarks.simulator.measurement import Result
from benchmarks.simulator.reference import CMD_STATISTICS, FAR_SHARE, REAL_SUITE
from benchmarks.simulator.tables import (
    MORE_TABLES,
    SMALL_RESPONSE,
    SPEED_TABLES,
    TABLES,
    hmcode_table,
    largest_change,
    number,
    order,
    percent,
    sign_agreement,
    table,
)
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from fieldlevel.files import make_folder, write_text
from fieldlevel.simulate.nbody import COARSE_UNTIL
from fieldlevel.study.scales import SIMULATION_SCALES

_IMAGES = "images/simulator"
_LETTER_SUITES = ("MockTNG", "MockSIMBA")

Measured = Mapping[str, Result]


def write_page(records: Mapping[str, Result], out: Path) -> Path:
    """Write `simulator.md` and its figures.

    Args:
        records: measurements by name, as `measurement.load` returns them; parts without theirs say so.
        out: folder of the page.

    Returns:
        The page.
    """
    measured = {name: record["result"] for name, record in records.items()}
    make_folder(out / _IMAGES)
    for name, figure in _figures(measured):
        figures.save(figure, out / _IMAGES / f"{name}.png")
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters |= {"percent": percent, "number": number, "order": order}
    page = out / "simulator.md"
    write_text(page, environment.get_template("page.md.jinja").render(_context(records, measured)))
    return page


def _figures(measured: Measured) -> Iterable[tuple[str, Figure]]:
    drawn: dict[str, tuple[tuple[str, ...], Callable[..., Figure]]] = {
        "hmcode": (("large_box", "hmcode"), figures.draw_hmcode),
        "suppression": (("suppression",), figures.draw_suppression),
        "response": (("response",), figures.draw_response),
        "hypercube": (("hypercube",), figures.draw_hypercube),
        "histogram": (("statistics",), figures.draw_histogram),
        "pixels": (("pixels",), figures.draw_pixels),
    }
    for name, (needed, draw) in drawn.items():
        if all(each in measured for each in needed):
            with figures.styled():
                figure = draw(*(measured[each] for each in needed))
            yield name, figure
    if "contrast" in measured:
        with figures.styled():
            figure = figures.draw_contrast(measured["contrast"], measured.get("suites_classifier"))
        yield "contrast", figure
    parts = [measured.get(name) for name in ("steps", "mesh", "particles")]
    if any(parts):
        with figures.styled():
            figure = figures.draw_convergence(*parts)
        yield "convergence", figure


def _context(records: Mapping[str, Result], measured: Measured) -> dict[str, Any]:
    made = {name: make(measured[name]) for name, make in TABLES.items() if name in measured}
    if "large_box" in measured and "hmcode" in measured:
        made["hmcode"] = hmcode_table(measured["large_box"], measured["hmcode"])
    made |= {name: make(measured[source]) for name, (source, make) in MORE_TABLES.items() if source in measured}
    speeds = {name: measured[f"speed_{name}"] for name in ("letter", "half") if f"speed_{name}" in measured}
    made |= {name: make(speeds) for name, make in SPEED_TABLES.items() if speeds}
    return {
        "m": measured,
        "tables": made,
        "summary": table(("what", "measured", "wanted"), _summary(measured)),
        "machines": _machines(records),
        "is_quick": any(record["quick"] for record in records.values()),
        "agreement": sign_agreement(measured["response"]) if "response" in measured else None,
        "agreement_of": {
            suite: sign_agreement(measured["response"], suite) for suite, _ in _suites(measured, "response")
        },
        "n_unequal": _unequal(measured),
        "coarse_until": f"{COARSE_UNTIL:g}",
        "small_response": SMALL_RESPONSE,
        "step_error": {name: percent(scale().step_error, 0) for name, scale in SIMULATION_SCALES.items()},
    }


def _summary(m: Measured) -> list[list[str]]:
    return [*_summary_of_gravity(m), *_summary_of_baryons(m), *_summary_of_maps(m), *_summary_of_speed(m)]


def _summary_of_gravity(m: Measured) -> list[list[str]]:
    rows: list[list[str]] = []
    if "steps" in m:
        letter = [case for case in m["steps"]["cases"] if case["scale"] == "letter"]
        goals = percent(SIMULATION_SCALES["letter"]().step_error, 0), "–"
        for key, label, goal in zip(("worst_to_10", "worst_10_to_20"), ("k ≤ 10", "10 < k ≤ 20"), goals, strict=True):
            worst = max((case[key] for case in letter if case[key] is not None), default=None)
            what = f"`letter`: largest error of P(k) from finite steps, {label} h/Mpc, five cosmologies"
            rows.append([what, percent(worst), goal])
    if "coarse" in m:
        worst = (largest_change(m["coarse"]["cases"], k_max) for k_max in (10.0, 20.0))
        what = "the coarser mesh at first: largest change of P(k), six cases, k ≤ 10 / 20 h/Mpc"
        rows.append([what, " / ".join(percent(each, 2) for each in worst), "1%"])
    if "particles" in m:
        for name, curve in m["particles"]["curves"].items():
            ratios = " / ".join(map(number, at((10.0, 20.0), np.array(curve["k"]), np.array(curve["ratio"]))))
            rows.append([f"`{name}`: P(k) over that of `letter`, k = 10 / 20 h/Mpc", ratios, "–"])
    if "growth" in m:
        error = m["growth"]["errors"]["as simulated"]["largest_modes"]
        rows.append(["`letter`: error of the linear growth of the largest modes", percent(error, 2), "1%"])
    return rows


def _summary_of_baryons(m: Measured) -> list[list[str]]:
    rows: list[list[str]] = []
    for suite, found in _suites(m, "suppression"):
        what = f"{suite}: rms of S(k) minus table at the fiducial point, 0.5 ≤ k ≤ 20 h/Mpc"
        wanted = "0.03" if suite in _LETTER_SUITES else f"{number(found['rms_of_target_error'])}, the table's own"
        rows.append([what, number(found["rms"]), wanted])
    for suite, found in _suites(m, "hypercube"):
        rows.append([f"{suite}: the same over single unseen latin-hypercube rows", number(found["rms"]), "–"])
    for suite, found in _suites(m, "suppression"):
        what = f"{suite}: baryons that end more than 1 Mpc from where gravity alone has them (not fitted)"
        rows.append([what, percent(found["far_share"]), percent(FAR_SHARE.get(suite), 0)])
    if "response" in m:
        right, compared = sign_agreement(m["response"])
        what = f"responses to the six parameters of {SMALL_RESPONSE} and more with the right sign"
        rows.append([what, f"{right} of {compared}", "all"])
    return rows


def _summary_of_maps(m: Measured) -> list[list[str]]:
    rows: list[list[str]] = []
    for suite, found in _suites(m, "statistics"):
        if suite in CMD_STATISTICS and "log_mean" in (real := CMD_STATISTICS[suite]):
            ours, theirs = (f"{number(each['log_mean'])}, {number(each['log_std'])}" for each in (found, real))
            rows.append([f"{suite}: mean and std of log₁₀ Σ; wanted: {REAL_SUITE[suite]}", ours, theirs])
    if "suites_classifier" in m:
        what = f"which of {len(m['suites_classifier']['classes'])} suites a map is of, a small network: right"
        rows.append([what, percent(m["suites_classifier"]["accuracy"]), "–"])
    if "devices" in m:
        rows.append(["pixels that differ between two runs on one GPU", str(_unequal(m)), "0"])
    return rows


def _unequal(m: Measured) -> int | None:
    twice = m["devices"]["twice"] if "devices" in m else {}
    return sum(sum(each["unequal"].values()) for each in twice.values()) if twice else None


def _suites(m: Measured, name: str) -> Iterable[tuple[str, Result]]:
    return m[name]["suites"].items() if name in m else ()


def _summary_of_speed(m: Measured) -> list[list[str]]:
    rows = []
    if "speed_rows" in m:
        speed = m["speed_rows"]
        cells = " / ".join(number(speed[key], 2) for key in ("median", "mean", "percentile_90"))
        what = f"`letter`: seconds a row of four suites and the twin, {speed['n_rows']} rows, median / mean / 90%, GPU"
        rows.append([what, cells, "1.6"])
    if "speed_cpu" in m:
        seconds = " / ".join(number(value, 2) for value in m["speed_cpu"]["two_processes"].values())
        rows.append(["`laptop`: seconds a row of one suite / four suites and the twin, two CPU cores", seconds, "–"])
    return rows


def _machines(records: Mapping[str, Result]) -> str:
    groups: dict[tuple[str, ...], list[tuple[str, float]]] = {}
    for name, record in records.items():
        machine = record["machine"]
        key = (machine["device"], machine["cpu"], machine["torch_version"], record["date"])
        groups.setdefault(key, []).append((name, record["seconds"]))
    rows = [[*key, ", ".join(f"{name} ({seconds:g})" for name, seconds in entries)] for key, entries in groups.items()]
    return table(("device", "CPU", "PyTorch", "date", "measurements (seconds)"), rows)
