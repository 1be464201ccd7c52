"""Tables of the page in Markdown: one function a measurement."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from benchmarks.simulator.fields import FloatArray, at
from benchmarks.simulator.figures import over_hmcode
from benchmarks.simulator.maps import QUANTILES
from benchmarks.simulator.measurement import Result
from benchmarks.simulator.reference import CMD_STATISTICS, FAR_SHARE, PATCH, REAL_SUITE

from fieldlevel.numerics.cosmology import Cosmology, linear_power

SHOWN_K = (1.0, 2.0, 5.0, 10.0, 20.0)
RESPONSE_K = (1.0, 5.0, 10.0)
SMALL_RESPONSE = 0.02
"""Changes of S that are smaller in the table have no sign worth comparing."""


def percent(value: float | None, digits: int = 1) -> str:
    """0.123 -> 12.3%."""
    return "–" if value is None or np.isnan(value) else f"{100 * value:.{digits}f}%"


def number(value: float | None, digits: int = 3) -> str:
    """Fixed digits, exponents where a number is very small or large."""
    if value is None or np.isnan(value):
        return "–"
    is_plain = value == 0 or 0.5 * 10.0**-digits <= abs(value) < 1e6
    return f"{value:.{digits}f}" if is_plain else f"{value:.2e}"


def order(value: float) -> str:
    """Order of magnitude of a round-off."""
    return "0" if value == 0 else f"{value:.0e}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def hmcode_table(large_box: Result, hmcode: Result) -> str:
    """Largest deviation from HMcode in ranges of k."""
    rows = []
    for curve in large_box["curves"]:
        k, ratio = over_hmcode(curve, hmcode)
        cells = [percent(_extreme(ratio[(k > low) & (k <= high)] - 1)) for low, high in ((0.1, 1), (1, 2), (2, 4))]
        longer = percent(share_of_longer_modes(curve["Omega_m"], curve["box"]), 0)
        rows.append([f"{curve['Omega_m']:g}", f"{curve['box']:g} Mpc/h", longer, *cells, percent(curve["error"])])
    header = ("Ω_m", "box", "σ_8² in longer modes", "0.1 < k ≤ 1", "1 < k ≤ 2", "2 < k ≤ 4 h/Mpc", "error of the mean")
    return table(header, rows)


def share_of_longer_modes(Omega_m: float, box_size_mpc_h: float) -> float:
    """Share of sigma_8^2 that is in modes longer than a box."""
    ln_k = np.linspace(np.log(1e-4), np.log(100.0), 4096)
    x = 8 * np.exp(ln_k)
    window = 3 * (np.sin(x) - x * np.cos(x)) / x**3
    variance = linear_power(np.exp(ln_k), Cosmology(Omega_m, 0.8)) * window**2 * np.exp(3 * ln_k)
    return float(variance[ln_k < np.log(2 * np.pi / box_size_mpc_h)].sum() / variance.sum())


def _extreme(values: FloatArray) -> float | None:
    return float(values[np.abs(values).argmax()]) if values.size else None


def steps_table(result: Result) -> str:
    """Largest error from finite steps in ranges of k."""
    rows = [
        [
            f"`{case['scale']}`",
            f"{case['Omega_m']:g}",
            f"{case['sigma_8']:g}",
            str(case["n_steps"]),
            percent(case["worst_to_10"]),
            percent(case["worst_10_to_20"]),
        ]
        for case in result["cases"]
    ]
    return table(("preset", "Ω_m", "σ_8", "steps", "k ≤ 10", "10 < k ≤ 20 h/Mpc"), rows)


def _by_k(k: Sequence[float], values: Sequence[float], digits: int = 3) -> list[str]:
    return [number(value, digits) for value in at(SHOWN_K, np.array(k), np.array(values))]


def _k_header(*first: str) -> tuple[str, ...]:
    return (*first, *(f"k = {k:g}" for k in SHOWN_K))


def mesh_table(result: Result) -> str:
    """Ratio of P(k) to that on the finest mesh."""
    rows = [[f"{factor} × lattice", *_by_k(result["k"], ratio)] for factor, ratio in result["ratio"].items()]
    return table(_k_header("mesh"), rows)


def coarse_table(result: Result) -> str:
    """Ratio of P(k) with the coarser mesh at first to that with the fine one all the way."""
    rows = [
        [
            f"`{case['scale']}`",
            f"{case['Omega_m']:g}",
            f"{case['sigma_8']:g}",
            str(case["n_steps"]),
            *_by_k(case["k"], case["ratio"], 4),
            percent(case["worst_to_20"], 2),
        ]
        for case in result["cases"]
    ]
    return table((*_k_header("preset", "Ω_m", "σ_8", "steps"), "largest, k ≤ 20 h/Mpc"), rows)


def largest_change(cases: Sequence[Result], k_max: float) -> float:
    """Of P(k) by the coarser mesh at first, k up to `k_max` [h/Mpc], over all cases."""
    changes = [np.abs(np.array(case["ratio"]) - 1)[np.array(case["k"]) <= k_max].max() for case in cases]
    return float(max(changes))


def particles_table(result: Result) -> str:
    """Ratio of P(k) to that of the letter preset, and correlation with it."""
    rows = []
    for name, curve in result["curves"].items():
        label = f"`{name}`, {curve['n_particles']}³"
        rows += [[f"{label}: ratio of P", *_by_k(curve["k"], curve["ratio"])]]
        rows += [[f"{label}: r", *_by_k(curve["k"], curve["r"])]]
    return table(_k_header(f"over `letter`, {result['n_particles']}³"), rows)


def growth_table(result: Result) -> str:
    """Error of linear growth by mesh."""
    labels = {"1.5": "1.5 × lattice", "2": "2 × lattice"}
    labels["as simulated"] = f"1.5 × until a = {result['until']:g}, then 2 ×: `letter` and `half`"
    rows = [
        [labels[name], percent(error["largest_modes"], 2), percent(error["to_quarter"], 2)]
        for name, error in result["errors"].items()
    ]
    return table(("mesh", "four largest wavelengths", "up to a quarter of the Nyquist frequency"), rows)


def kinds_table(result: Result) -> str:
    """Ratio of P(k) and correlation."""
    rows = [["ratio of P", *_by_k(result["k"], result["ratio"])], ["r", *_by_k(result["k"], result["r"])]]
    return table(_k_header("two kinds against one"), rows)


def suppression_table(result: Result) -> str:
    """S(k), the table's, and the correlation with the twin."""
    rows = []
    for suite, found in result["suites"].items():
        rows.append([f"{suite}: S", *_by_k(result["k"], found["S"])])
        rows.append([f"{suite}: table of {REAL_SUITE[suite]}", *_by_k(result["k"], found["target"])])
        rows.append([f"{suite}: r with the N-body twin", *_by_k(result["k"], found["r"])])
    return table(_k_header(""), rows)


def far_table(result: Result) -> str:
    """Share of the baryons that are moved far, beside the published one of the real suite."""
    rows = []
    for suite, found in result["suites"].items():
        share = f"{percent(found['far_share'])} ± {percent(found['far_share_scatter'])}"
        rows.append([suite, share, f"{REAL_SUITE[suite]}: {percent(FAR_SHARE.get(suite), 0)}"])
    return table(("suite", "more than 1 Mpc away", "published"), rows)


def response_table(result: Result) -> str:
    """Change of S over the range of each parameter, wrong signs in bold."""
    rows = []
    for suite, found in result["suites"].items():
        for name, entry in found.items():
            cells = [_response_cell(*pair) for pair in _response_pairs(result["k"], entry)]
            rows.append([suite, f"`{name}`", f"{entry['low']:g} to {entry['high']:g}", *cells])
    return table(("suite", "parameter", "range", *(f"k = {k:g}: mock / table" for k in RESPONSE_K)), rows)


def _response_pairs(k: Sequence[float], entry: Result) -> list[tuple[float, float]]:
    changes, targets = (at(RESPONSE_K, np.array(k), np.array(entry[key])) for key in ("change", "target"))
    return [(float(ours), float(theirs)) for ours, theirs in zip(changes, targets, strict=True)]


def _response_cell(ours: float, theirs: float) -> str:
    is_wrong = abs(theirs) >= SMALL_RESPONSE and not ours * theirs > 0
    cell = f"{ours:+.3f} / {theirs:+.3f}"
    return f"**{cell}**" if is_wrong else cell


def sign_agreement(result: Result, suite: str | None = None) -> tuple[int, int]:
    """Right signs at all tabulated wavenumbers, and how many could be compared, of a suite or of all."""
    suites = result["suites"] if suite is None else {suite: result["suites"][suite]}
    pairs = [
        pair
        for found in suites.values()
        for entry in found.values()
        for pair in zip(entry["change"], entry["target"], strict=True)
    ]
    compared = [(ours, theirs) for ours, theirs in pairs if abs(theirs) >= SMALL_RESPONSE]
    return sum(ours * theirs > 0 for ours, theirs in compared), len(compared)


def hypercube_table(result: Result) -> str:
    """Rms of S minus table over rows, together and by k."""
    rows = [
        [
            suite,
            str(len(found["rows"])),
            number(found["rms"]),
            number(found["median_row_rms"]),
            f"{found['bias']:+.3f}",
            *_by_k(result["k"], found["rms_k"]),
        ]
        for suite, found in result["suites"].items()
    ]
    return table(_k_header("suite", "rows", "rms", "median rms of a row", "mean"), rows)


def discs_table(result: Result) -> str:
    """Errors of radii and of the maps that they give."""
    radius = result["radius"]
    rows = [[f"radius of {label}: median error", percent(radius[key]["median"])] for key, label in _RADII.items()] + [
        [f"radius of {label}: scatter", percent(radius[key]["scatter"])] for key, label in _RADII.items()
    ]
    rows += [
        ["share of particles with less than a pixel", percent(result["share_narrow"])],
        ["map from exact radii: rms, dex a pixel", number(result["discs_dex"], 4)],
        ["map from estimated radii: rms, dex a pixel", number(result["all_dex"], 4)],
        ["the same: power above half the Nyquist frequency, ratio", number(result["all_power"])],
        ["two reference maps, their discs turned: rms, dex a pixel", number(result["reference_dex"], 4)],
    ]
    return table(("", "value"), rows)


_RADII = {"wide": "a pixel and more", "narrow": "less than a pixel"}


def statistics_table(result: Result) -> str:
    """Pixels of mock and real maps."""
    rows = []
    for suite, found in result["suites"].items():
        rows.append(_statistics_row(suite, found))
        if suite in CMD_STATISTICS:
            rows.append(_statistics_row(f"**{REAL_SUITE[suite]}** (real)", CMD_STATISTICS[suite]))
    return table(("maps", "mean of log₁₀ Σ", "std of log₁₀ Σ", "min Σ", "max Σ", "mean Σ", "std Σ"), rows)


def _statistics_row(label: str, values: Mapping[str, float]) -> list[str]:
    logarithms = [number(values.get(key)) for key in ("log_mean", "log_std")]
    linear = [f"{values[key]:.{digits}e}" for key, digits in _LINEAR_DIGITS.items()]
    return [label, *logarithms, *linear]


_LINEAR_DIGITS = {"minimum": 2, "maximum": 2, "mean": 4, "std": 2}


def pixels_table(result: Result) -> str:
    """Hydrodynamic over N-body pixels, of the real patch and of the mocks."""
    rows = [_pixels_row("**real patch**, 50 Mpc/h", PATCH)]
    for suite, found in result["suites"].items():
        rows += [_pixels_row(f"{suite}, {label}", found[key]) for key, label in _PIXEL_ROWS.items()]
    shares = [f"std {100 * low:g}–{100 * high:g}%" for low, high in QUANTILES]
    return table(("maps", "mean", "std", "1%", "99%", *shares, "neighbours", "std of patches"), rows)


_PIXEL_ROWS = {
    "letter 5": "`letter`, slabs",
    "letter 25": "`letter`, 25 Mpc/h",
    "letter 50": "`letter`, 50 Mpc/h",
    "letter 50 points": "`letter`, 50 Mpc/h, no discs",
    "half 5": "`half`, slabs",
    "half 50": "`half`, 50 Mpc/h",
}


def _pixels_row(label: str, values: Mapping[str, Any]) -> list[str]:
    cells = [number(values[key]) for key in ("mean", "std", "percentile_1", "percentile_99")]
    cells += [number(std) for std in values["std_by_density"]]
    patches = values.get("std_of_patches")
    spread = f"{patches[1]:.3f} ({patches[0]:.3f} to {patches[2]:.3f})" if patches else "one patch"
    return [label, *cells, number(values["neighbour_correlation"], 2), spread]


def devices_table(result: Result) -> str:
    """Differences of P(k) and correlation from one, and of the maps."""
    rows = []
    for suite, found in result["suites"].items():
        rows.append([f"{suite}: ratio of P − 1", *_offsets(found["k"], found["ratio"])])
        rows.append([f"{suite}: 1 − r", *_offsets(found["k"], found["r"])])
    return table(_k_header("GPU against CPU"), rows)


def device_maps_table(result: Result) -> str:
    """Maps of the CPU against those of the GPU, and of two runs on the GPU."""
    twice = result["twice"]
    counts = [f"`{name}` twice: unequal of {each['n_pixels']:,} pixels" for name, each in twice.items()]
    rows = [
        [
            suite,
            number(found["map_dex"], 4),
            order(found["map_dex_median"]),
            *(str(each["unequal"][suite]) for each in twice.values()),
        ]
        for suite, found in result["suites"].items()
    ]
    return table(("maps", "CPU and GPU: rms of log₁₀ [dex]", "median", *counts), rows)


def _offsets(k: Sequence[float], values: Sequence[float]) -> list[str]:
    found = at(SHOWN_K, np.array(k), np.abs(np.array(values) - 1))
    return ["–" if value is None else order(value) for value in found]


def classifier_table(result: Result) -> str:
    """Accuracy on unseen simulations."""
    rows = [
        [
            suite,
            f"{found['n_training']} / {found['n_test']}",
            f"{percent(found['accuracy'])} ± {percent(found['accuracy_error'])}",
            number(found["auc"]),
            percent(found["accuracy_of_simulations"]),
        ]
        for suite, found in result["suites"].items()
    ]
    header = ("suite", "simulations to train / test", "accuracy a map", "area under ROC", "accuracy a simulation")
    return table(header, rows)


def confusion_table(result: Result) -> str:
    """Share of the maps of each suite that are taken for each."""
    shares = zip(result["classes"], result["confusion"], strict=True)
    rows = [[f"**{suite}**", *map(percent, row)] for suite, row in shares]
    return table(("maps of, taken for", *result["classes"]), rows)


def pdf_table(result: Result) -> str:
    """Pixels of the gas maps of the suites and of gravity alone."""
    rows = [
        [name, number(found["mean"]), number(found["std"]), *(number(value, 2) for value in found["quantiles"])]
        for name, found in result["pdf"].items()
    ]
    return table(("gas maps", "mean of log₁₀ Σ_gas", "std", "1%", "median", "99%"), rows)


def profiles_table(result: Result) -> str:
    """Gas and total matter in shells around haloes over those of gravity alone."""
    radii = result["radii"]
    rows = [
        [
            f"{mass_label(*result['mass_bins'][mass_bin])} ({found['n_haloes']} haloes)",
            f"{suite}: {matter}",
            *(number(ratio, 2) for ratio in ratios),
        ]
        for mass_bin, found in result["profiles"].items()
        for matter in ("gas", "total")
        for suite, each in found["suites"].items()
        for ratios in [each[matter]]
    ]
    shells = [f"{inner:g} to {outer:g}" for inner, outer in pairwise(radii)]
    return table(("M200 [M☉/h]", "over gravity alone, r/r200 =", *shells), rows)


def mass_label(low: float, high: float | None) -> str:
    """A range of masses, powers of ten."""
    ends = [f"10^{np.log10(mass):.0f}" for mass in (low, high) if mass is not None]
    return " to ".join(ends) if len(ends) > 1 else f"above {ends[0]}"


def rows_table(result: Result) -> str:
    """Seconds a row over the hypercube."""
    columns = ("median", "mean", "percentile_90", "slowest")
    cells = [number(result[name], 2) for name in columns]
    row = [str(result["n_rows"]), number(result["n_steps"], 1), *cells, number(result["peak_gib"], 1)]
    header = ("rows", "steps, mean", "median [s]", "mean [s]", "90% [s]", "slowest [s]", "peak memory [GiB]")
    return table(header, [row])


def speed_table(speeds: Mapping[str, Result]) -> str:
    """Seconds a row by cosmology."""
    rows = [
        [
            f"`{name}`",
            f"{row['Omega_m']:g}",
            f"{row['sigma_8']:g}",
            str(row["n_steps"]),
            *(number(seconds) for seconds in row["seconds"].values()),
            number(row["peak_gib"], 1),
        ]
        for name, speed in speeds.items()
        for row in speed["rows"]
    ]
    kinds = ("one suite and the twin [s]", "four suites and the twin [s]")
    return table(("preset", "Ω_m", "σ_8", "steps", *kinds, "peak memory [GiB]"), rows)


def stages_table(speeds: Mapping[str, Result]) -> str:
    """Milliseconds of each stage beside its floor."""
    stages = {stage: None for speed in speeds.values() for stage in speed["stages"]}
    rows = [[stage, *(_beside_floor(speed["stages"][stage]) for speed in speeds.values())] for stage in stages]
    return table(("stage", *(f"`{name}` / floor [ms]" for name in speeds)), rows)


def _beside_floor(stage: Result) -> str:
    floor = stage["floor"]
    return f"{number(1e3 * stage['seconds'], 1)} / {number(None if floor is None else 1e3 * floor, 1)}"


def floor_table(speeds: Mapping[str, Result]) -> str:
    """A step on each mesh and the least that it can take."""
    rows = []
    for name, speed in speeds.items():
        for run, step in speed["steps"].items():
            cells = [number(1e3 * step[key], 2) for key in ("seconds", "fft_pair", "floor")]
            share = percent(step["floor"] / step["seconds"], 0)
            rows.append([f"`{name}`, {run}", str(step["n_steps"]), *cells, share])
    return table(("run", "steps", "step [ms]", "FFT pair [ms]", "floor [ms]", "floor / step"), rows)


def cpu_table(result: Result) -> str:
    """Seconds a row on CPU cores."""
    ways = ("one_thread", "two_threads", "two_processes")
    rows = [[suites, *(number(result[way][suites], 2) for way in ways)] for suites in result["one_thread"]]
    what = f"{result['n_particles']}³ particles, {result['n_steps']} steps: seconds a row"
    return table((what, "one thread", "two threads", "two processes of one thread"), rows)


TABLES: dict[str, Callable[[Result], str]] = {
    "steps": steps_table,
    "mesh": mesh_table,
    "coarse": coarse_table,
    "particles": particles_table,
    "growth": growth_table,
    "kinds": kinds_table,
    "suppression": suppression_table,
    "response": response_table,
    "hypercube": hypercube_table,
    "discs": discs_table,
    "statistics": statistics_table,
    "pixels": pixels_table,
    "devices": devices_table,
    "contrast": pdf_table,
    "suites_classifier": confusion_table,
    "classifier": classifier_table,
    "speed_rows": rows_table,
    "speed_cpu": cpu_table,
}
"""Of single measurements, by their names."""
MORE_TABLES: dict[str, tuple[str, Callable[[Result], str]]] = {
    "far": ("suppression", far_table),
    "device_maps": ("devices", device_maps_table),
    "profiles": ("contrast", profiles_table),
}
"""A second one of a measurement: its own name, the measurement's."""
SPEED_TABLES: dict[str, Callable[[Mapping[str, Result]], str]] = {
    "speed": speed_table,
    "stages": stages_table,
    "floor": floor_table,
}
"""Of the speeds of all presets, by the names of the presets."""
