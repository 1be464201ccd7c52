"""Figures of the page: results in, matplotlib figures out; colours of Okabe & Ito."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib.style
import numpy as np
from benchmarks.simulator.fields import FloatArray
from benchmarks.simulator.maps import QUANTILES
from benchmarks.simulator.measurement import Result
from benchmarks.simulator.reference import CMD_STATISTICS, PATCH, REAL_SUITE
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fieldlevel.figures import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, STYLE, VERMILLION, WIDTH_INCHES
from fieldlevel.files import written_aside
from fieldlevel.layout import CAMELS_PARAMETERS
from fieldlevel.suites import MOCK_TWIN

COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY_BLUE)
DPI = 110
_K = r"$k$  [$h$/Mpc]"
_LAST_K = 20.0


@contextmanager
def styled() -> Iterator[None]:
    """The style of the package's figures."""
    with matplotlib.style.context(["default", STYLE]):
        yield


def save(figure: Figure, path: Path) -> None:
    """Write a PNG that is the same on any day."""
    with styled(), written_aside(path) as aside:
        figure.savefig(aside, format="png", dpi=DPI, metadata={"Software": None})


def _panels(n_columns: int, height: float, n_rows: int = 1, **sharing: str) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDTH_INCHES, height))
    return figure, list(figure.subplots(n_rows, n_columns, squeeze=False, **sharing).ravel())


def _band(panel: Axes, width: float) -> None:
    panel.axhspan(1 - width, 1 + width, color="0.9", zorder=0)
    panel.axhline(1, color=BLACK, linewidth=0.6)


def draw_hmcode(large_box: Result, hmcode: Result) -> Figure:
    """P(k) over HMcode's; the grey band is 5 per cent."""
    figure, (panel,) = _panels(1, 2.8)
    _band(panel, 0.05)
    omegas = list(dict.fromkeys(curve["Omega_m"] for curve in large_box["curves"]))
    for curve in large_box["curves"]:
        k, ratio = over_hmcode(curve, hmcode)
        is_wide = curve["box"] == max(other["box"] for other in large_box["curves"])
        style = {"color": COLOURS[omegas.index(curve["Omega_m"])], "linestyle": "-" if is_wide else "--"}
        panel.plot(k, ratio, label=rf"$\Omega_{{\rm m}} = {curve['Omega_m']:g}$, {curve['box']:g} Mpc/$h$", **style)
    panel.set(xscale="log", xlabel=_K, ylabel=r"$P\,/\,P_{\rm HMcode2020}$", ylim=(0.7, 1.3))
    panel.legend(ncols=3, fontsize=8)
    return figure


def over_hmcode(curve: Result, hmcode: Result) -> tuple[FloatArray, FloatArray]:
    """Wavenumbers and P over HMcode's, in bins of a tenth of ln k where shells are narrower."""
    k, P = np.array(curve["k"]), np.array(curve["P"])
    expected = np.exp(np.interp(np.log(k), np.log(hmcode["k"]), np.log(hmcode["P"][f"{curve['Omega_m']:g}"])))
    place = np.unique(np.round(np.log(k) / 0.1), return_inverse=True)[1]
    modes = k**2
    total = np.bincount(place, modes)
    return np.bincount(place, modes * k) / total, np.bincount(place, modes * P / expected) / total


def draw_convergence(steps: Result | None, mesh: Result | None, particles: Result | None) -> Figure:
    """Ratios of P(k) with steps, mesh and particles; the grey band is 5 per cent."""
    figure, panels = _panels(3, 2.9, sharey="row")
    for panel, title in zip(panels, ("4 times finer steps", "mesh 4 times the lattice", "letter preset"), strict=True):
        _band(panel, 0.05)
        panel.set(xscale="log", xlabel=_K, title=f"over {title}", xlim=(0.25, _LAST_K), ylim=(0.7, 1.15))
    panels[0].set_ylabel("ratio of $P(k)$")
    for case, colour in zip(steps["cases"] if steps else (), (*COLOURS, BLACK), strict=False):
        label = f"{case['scale']} {case['Omega_m']:g}, {case['sigma_8']:g}"
        panels[0].plot(case["k"], case["ratio"], color=colour, label=label)
    for (factor, ratio), colour in zip(mesh["ratio"].items() if mesh else (), COLOURS, strict=False):
        panels[1].plot(mesh["k"], ratio, color=colour, label=f"{factor} x")
    for (name, curve), colour in zip(particles["curves"].items() if particles else (), COLOURS, strict=False):
        panels[2].plot(curve["k"], curve["ratio"], color=colour, label=f"{name}, ${curve['n_particles']}^3$")
        panels[2].plot(curve["k"], curve["r"], ":", color=colour, label="correlation $r$")
    for panel, n_columns in zip(panels, (2, 1, 1), strict=True):
        if panel.get_legend_handles_labels()[0]:
            panel.legend(fontsize=7, loc="lower left", ncols=n_columns, columnspacing=0.8)
        else:
            panel.text(0.5, 0.5, "not measured", transform=panel.transAxes, ha="center")
    return figure


def _panels_of_suites(n: int, height_each: float, **sharing: str) -> tuple[Figure, list[Axes]]:
    """Two columns, as many rows as it takes."""
    n_rows = (n + 1) // 2
    figure, panels = _panels(2, height_each * n_rows, n_rows, **sharing)
    for panel in panels[n:]:
        panel.set_axis_off()
    return figure, panels[:n]


def draw_suppression(result: Result) -> Figure:
    """S(k) at the fiducial point against the tables; bands: scatter of the seeds, error of the table."""
    figure, panels = _panels_of_suites(len(result["suites"]), 2.5, sharey="all", sharex="all")
    k = np.array(result["k"])
    for panel, (suite, found) in zip(panels, result["suites"].items(), strict=True):
        S, scatter, target, error = (np.array(found[key]) for key in ("S", "scatter", "target", "target_error"))
        panel.fill_between(k, target - error, target + error, color="0.85", label="table and its rms error")
        panel.plot(k, target, color=BLACK)
        panel.errorbar(k, S, scatter, fmt="o-", color=BLUE, markersize=3, label=f"{suite}, scatter of seeds")
        panel.set(xscale="log", title=f"{suite} and {REAL_SUITE[suite]}", ylim=(0.6, 1.05))
        panel.legend(loc="lower left", fontsize=8)
    figure.supylabel(r"$S = P_{\rm hydro}/P_{\rm N\mathrm{-}body}$", fontsize=10)
    figure.supxlabel(_K, fontsize=10)
    return figure


def draw_response(result: Result) -> Figure:
    """S at the upper end of a parameter minus S at its lower end."""
    n_suites, n = len(result["suites"]), len(CAMELS_PARAMETERS)
    figure, panels = _panels(n, 0.6 + 1.4 * n_suites, n_rows=n_suites, sharey="row", sharex="all")
    k = result["k"]
    entries = [found[parameter.name] for found in result["suites"].values() for parameter in CAMELS_PARAMETERS]
    for panel, entry in zip(panels, entries, strict=True):
        panel.axhline(0, color=BLACK, linewidth=0.5)
        panel.plot(k, entry["target"], "--", color=BLACK, label="table")
        panel.plot(k, entry["change"], color=BLUE, label="mock")
        panel.set_xscale("log")
    for panel, parameter in zip(panels[:n], CAMELS_PARAMETERS, strict=True):
        panel.set_title(f"${parameter.symbol}$")
    for panel, suite in zip(panels[::n], result["suites"], strict=True):
        panel.set_ylabel(rf"{suite}: $\Delta S$", fontsize=8)
    panels[0].legend(fontsize=8)
    figure.supxlabel(_K, fontsize=10)
    return figure


def draw_hypercube(result: Result, wanted_k: tuple[float, ...] = (1.0, 5.0, 10.0)) -> Figure:
    """S of each latin-hypercube row against the table."""
    figure, panels = _panels_of_suites(len(result["suites"]), 3.0, sharey="all", sharex="all")
    for panel, (suite, found) in zip(panels, result["suites"].items(), strict=True):
        S, target = np.array(found["S"]), np.array(found["target"])
        for k, colour, marker in zip(wanted_k, COLOURS[:3], "os^", strict=True):
            column = result["k"].index(k)
            style = {"color": colour, "markersize": 4, "label": rf"$k = {k:g}\,h$/Mpc"}
            panel.plot(target[:, column], S[:, column], marker, **style)
        ends = (0.1, 1.15)
        panel.plot(ends, ends, color=BLACK, linewidth=0.6)
        panel.set(title=f"{suite} and {REAL_SUITE[suite]}", xlim=ends, ylim=ends)
    figure.supylabel("$S$ of the mock", fontsize=10)
    figure.supxlabel("$S$ of the table", fontsize=10)
    panels[0].legend(loc="upper left", fontsize=8)
    return figure


def draw_histogram(result: Result) -> Figure:
    """Pixels of mock maps; the bar is mean and standard deviation of the real maps."""
    suites = {suite: found for suite, found in result["suites"].items() if suite != MOCK_TWIN}
    figure, panels = _panels_of_suites(len(suites), 2.5, sharey="all", sharex="all")
    middle = (np.array(result["edges"][1:]) + np.array(result["edges"][:-1])) / 2
    for panel, (suite, found) in zip(panels, suites.items(), strict=True):
        panel.plot(middle, found["histogram"], color=BLUE, label=suite)
        panel.plot(middle, result["suites"][MOCK_TWIN]["histogram"], "--", color=VERMILLION, label="the N-body twin")
        real = CMD_STATISTICS.get(suite, {})
        if "log_mean" in real:
            style = {"fmt": "s", "color": BLACK, "markersize": 4, "capsize": 3}
            panel.errorbar(
                real["log_mean"], 0.03, xerr=real["log_std"], label=f"{REAL_SUITE[suite]}, mean and std", **style
            )
        for end in ("minimum", "maximum"):
            if end in real:
                panel.axvline(np.log10(real[end]), color="0.6", linestyle=":")
        panel.set(yscale="log", ylim=(1e-5, 5), title=suite)
        panel.legend(fontsize=8)
    figure.supxlabel(r"$\log_{10}\,\Sigma$  [$(M_\odot/h)/({\rm Mpc}/h)^2$]", fontsize=10)
    figure.supylabel("pixels per dex", fontsize=10)
    return figure


def draw_contrast(result: Result, classes: Result | None) -> Figure:
    """Pixels of gas maps, profiles of gas and of all matter over gravity alone, which suite is taken for which."""
    figure, panels = _panels(3, 5.2, n_rows=2)
    middle = (np.array(result["edges"][1:]) + np.array(result["edges"][:-1])) / 2
    for (name, found), colour in zip(result["pdf"].items(), (BLACK, *COLOURS), strict=False):
        panels[0].plot(middle, found["histogram"], color=colour, label=name)
    panels[0].set(yscale="log", ylim=(1e-4, 3), xlim=(8, 14), xlabel=r"$\log_{10}\,\Sigma_{\rm gas}$", title="gas maps")
    panels[0].legend(fontsize=7, loc="lower center")
    bins = list(result["profiles"].items())
    for column, (mass_bin, found) in enumerate(bins, start=1):
        for panel, matter in ((panels[column], "gas"), (panels[3 + column], "total")):
            _profiles(panel, np.array(result["radii"]), found, matter)
        low, high = result["mass_bins"][mass_bin]
        ends = " to ".join(f"$10^{{{np.log10(mass):.0f}}}$" for mass in (low, high) if mass is not None)
        panels[column].set_title(rf"{ends} $M_\odot/h$" if high is not None else rf"above {ends} $M_\odot/h$")
    panels[1].set_ylabel("gas over gravity alone")
    panels[4].set_ylabel("matter over gravity alone")
    for panel in (*panels[1 + len(bins) : 3], *panels[4 + len(bins) :]):
        panel.set_axis_off()
    _draw_confusion(panels[3], classes)
    return figure


def _profiles(panel: Axes, radii: FloatArray, found: Result, matter: str) -> None:
    middle = (radii[1:] + radii[:-1]) / 2
    panel.axhline(1, color=BLACK, linewidth=0.6)
    for (_, each), colour, marker in zip(found["suites"].items(), COLOURS, "os^Dv", strict=False):
        panel.plot(middle, each[matter], marker + "-", color=colour, markersize=3)
    panel.set(xlabel=r"$r / r_{200}$", xlim=(0, radii[-1]))


def _draw_confusion(panel: Axes, classes: Result | None) -> None:
    if classes is None:
        panel.set_axis_off()
        return
    shares = np.array(classes["confusion"])
    panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (i, j), share in np.ndenumerate(shares):
        panel.text(j, i, f"{share:.2f}", ha="center", va="center", color="white" if share > 0.6 else BLACK, fontsize=8)
    names = [name.removeprefix("Mock") for name in classes["classes"]]
    panel.set_xticks(range(len(names)), names, fontsize=7)
    panel.set_yticks(range(len(names)), names, fontsize=7)
    panel.set(xlabel="taken for", ylabel="maps of")


def draw_pixels(result: Result) -> Figure:
    """Scatter of log10(hydro / N-body) by density, beside the real patch."""
    figure, panels = _panels_of_suites(len(result["suites"]), 2.7, sharey="all")
    shown = {"letter 5": "letter, slabs", "letter 50": "letter, 50 Mpc/$h$", "half 50": "half, 50 Mpc/$h$"}
    shown["letter 50 points"] = "letter, 50 Mpc/$h$, no discs"
    places = np.arange(len(QUANTILES))
    for panel, (suite, rows) in zip(panels, result["suites"].items(), strict=True):
        for (key, label), colour, marker in zip(shown.items(), COLOURS, "os^D", strict=False):
            panel.plot(places, rows[key]["std_by_density"], marker + "-", color=colour, markersize=4, label=label)
        panel.plot(places, PATCH["std_by_density"], "k*--", markersize=7, label="real patch, 50 Mpc/$h$")
        panel.set_xticks(places, [f"{100 * low:g}–{100 * high:g}" for low, high in QUANTILES])
        panel.set(title=suite, ylim=(0, None))
        panel.set_xlabel("pixels in order of density [%]")
    figure.supylabel("std of log$_{10}$(hydro / N-body)", fontsize=10)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    return figure
