"""Published and measured numbers of real CAMELS maps that the mock maps are compared with."""

from typing import Any

from benchmarks.suppression_tables import TABLE_OF

CMD_STATISTICS: dict[str, dict[str, float]] = {
    "MockTNG": {
        "log_mean": 11.104,
        "log_std": 0.492,
        "minimum": 4.67e9,
        "maximum": 2.85e15,
        "mean": 4.1632e11,
        "std": 3.64e12,
    },
    "MockSIMBA": {"minimum": 5.23e9, "maximum": 4.20e15, "mean": 4.1632e11, "std": 3.64e12},
}
"""Total-matter maps of the suite that each mock stands in for, all 15,000 of its latin hypercube, in
(Msun/h)/(Mpc/h)^2 (CAMELS Multifield Dataset, arXiv:2109.10915)."""

REAL_SUITE = TABLE_OF

FAR_SHARE = {"MockTNG": 0.1, "MockSIMBA": 0.4, "MockAstrid": 0.1}
"""Share of the baryons that end more than 1 Mpc from where gravity alone has them in the suite that each mock stands in
for (Gebhardt et al. 2024, arXiv:2307.11832); not fitted, and not published for EAGLE."""

PATCH: dict[str, Any] = {
    "mean": 0.0063,
    "std": 0.0571,
    "percentile_1": -0.142,
    "percentile_99": 0.155,
    "std_by_density": (0.0549, 0.0580, 0.0590, 0.0430, 0.0351),
    "neighbour_correlation": 0.11,
}
"""log10(hydro / N-body) in a matched patch of a CAMELS IllustrisTNG simulation of 35 parameters and its gravity-only
twin (the example file `dmo_sample.npz` of the BIND repository, MIT licence): 6.25 x 6.25 (Mpc/h)^2 projected through
the box of 50 Mpc/h, its 128 x 128 pixels averaged in twos to 64 x 64 of 98 kpc/h."""
