"""LABEL_SITE_CONFOUNDING: the label goes with the site or the scanner, so that a network may learn the site.

Statistic: Cramer's V of class and site with its bias taken off (Bergsma 2013, J Korean Stat Soc 42:323), over one unit
a group and label; null: labels permuted among groups. It fires from V = 0.3 on at p <= 0.001; with two sites of equal
size that is 65 % of one class here and 35 % there, so that to know the site alone is to be right in 65 % of cases. It
also fires for a site that has one class only and is too large for that to be chance (hypergeometric, p <= 0.001 over
all sites of the column).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .cells import Cells
from .model import CheckInput, CheckResult, Offence
from .separability import ALPHA

CODE = "LABEL_SITE_CONFOUNDING"
COLUMNS = ("site", "scanner")
STRONG = 0.3
FEWEST_UNITS = 10
_PERMUTATIONS = 1999
Indices = NDArray[np.int64]


def check(data: CheckInput) -> CheckResult:
    """Does the label go with the columns `site` or `scanner`? Needs one of them, with two values and 10 groups."""
    columns = [name for name in COLUMNS if len({row.column(name) for row in data.rows} - {""}) > 1]
    if not columns:
        return CheckResult(CODE, "not applicable", "NO_SITE")
    found = {name: result for name in columns if (result := _of_column(data, name)) is not None}
    if not found:
        return CheckResult(CODE, "not applicable", "TOO_FEW_UNITS", {"least": FEWEST_UNITS})
    worst = max(found.values(), key=lambda result: (result.status == "fires", result.numbers["v"]))
    numbers = {name: dict(result.numbers) for name, result in found.items()}
    rows = [row for result in found.values() for row in result.rows]
    return CheckResult.of(CODE, worst.status == "fires", worst.facts, numbers, rows, worst.text)


def _of_column(data: CheckInput, column: str) -> CheckResult | None:
    """The answer for one column; None where too few groups have it."""
    rows = [n for n, row in enumerate(data.rows) if row.column(column)]
    names, of_row = np.unique([data.rows[n].column(column) for n in rows], return_inverse=True)
    cells = Cells.of([data.rows[n].group for n in rows], data.labels[rows])
    if len(cells) < FEWEST_UNITS or len(np.unique(cells.labels)) < 2:
        return None
    sites = np.array([np.bincount(of_row[cells.of_row == unit]).argmax() for unit in range(len(cells))])
    v = corrected_v(counted(cells.labels, sites))
    p, null_mean = _against_chance(cells, sites, v, data.seed) if v >= STRONG else (None, None)
    alone = {str(names[site]): data.manifest.classes[label] for site, label in one_class_sites(cells.labels, sites)}
    numbers = {
        "statistic": "Cramer's V, bias-corrected",
        "v": round(v, 4),
        "threshold": STRONG,
        "p": p,
        "alpha": ALPHA,
        "permutations": 0 if p is None else _PERMUTATIONS,
        "null_mean": null_mean,
        "units": len(cells),
        "one_class_sites": alone,
    }
    facts = {"column": column, "v": f"{v:.2f}", "units": len(cells), "threshold": f"{STRONG:.1f}"}
    facts["p"] = "" if p is None else f"{p:.4f}"
    facts["alone"] = ", ".join(f"'{name}'" for name in alone)
    offences = []
    for n, site in zip(rows, names[of_row], strict=True):
        if str(site) in alone:
            reason = f"{column} '{site}' has class '{alone[str(site)]}' only"
            offences.append(Offence(data.rows[n].sample, reason, data.rows[n].group))
    fires = (p is not None and p <= ALPHA) or bool(alone)
    return CheckResult.of(CODE, fires, facts, numbers, offences, f"{CODE}.one_class" if alone else "")


def _against_chance(cells: Cells, sites: Indices, v: float, seed: int) -> tuple[float, float]:
    """p of v, and the mean of its null distribution."""
    random = np.random.default_rng(seed)
    null = np.array([corrected_v(counted(cells.permuted(random), sites)) for _ in range(_PERMUTATIONS)])
    return float((1 + (null >= v - 1e-12).sum()) / (1 + len(null))), round(float(null.mean()), 4)


def counted(labels: Indices, kinds: Indices) -> NDArray[np.float64]:
    """[r, c] how many units have each label [m] and kind [m], without empty rows and columns."""
    table = np.zeros((labels.max() + 1, kinds.max() + 1))
    np.add.at(table, (labels, kinds), 1)
    return np.asarray(table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0])


def corrected_v(table: NDArray[np.float64]) -> float:
    """Bergsma's V of a table of counts [r, c]: 0 without association or with one row or column only, 1 at most."""
    n = table.sum()
    rows, columns = table.shape
    if min(rows, columns) < 2:
        return 0.0
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / n
    phi = float(((table - expected) ** 2 / expected).sum() / n)
    phi = max(0.0, phi - (rows - 1) * (columns - 1) / (n - 1))
    smaller = min(rows - (rows - 1) ** 2 / (n - 1), columns - (columns - 1) ** 2 / (n - 1))
    return float(np.sqrt(phi / (smaller - 1))) if smaller > 1 else 0.0


def one_class_sites(labels: Indices, sites: Indices) -> list[tuple[int, int]]:
    """(site, its only class) where chance gives that in less than ALPHA of cases, over all sites together."""
    from scipy.stats import hypergeom

    found, used = [], np.unique(sites)
    for site in used:
        own = labels[sites == site]
        if len(np.unique(own)) == 1:
            # any class would have been as remarkable, so the chances of all are added
            chance = sum(hypergeom.pmf(len(own), len(labels), n, len(own)) for n in np.bincount(labels))
            if chance <= ALPHA / len(used):
                found.append((int(site), int(own[0])))
    return found
