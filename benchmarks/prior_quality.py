"""What the prior reaches on measured scans and held-out families, beside what it was asked to reach.

    python -m benchmarks.prior_quality --data FOLDER [--weights base] [--only denoise,sparse]

FOLDER is described in `benchmarks.prior_images`. Every task runs alone; a run replaces its own tasks in the
file and keeps the others. Baselines that need no weights are read from ``results/prior_baselines.json`` and
computed where they are missing (``--fresh``: all); BM3D then needs ``--peers PYTHON``, an interpreter that
has it. Rows of adapted weights that are not given again stay, with the commit that they were measured at.
Without ``--weights`` only baselines are computed. Oracles (weights, stopping, cut-offs chosen with the truth
in view) belong to the baselines alone: the prior runs once, as a user would run it.

Tasks: denoise, sparse, lowdose, limited, ellipses, mri, superres, units, speed, wellposed, nulls.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.machine import commit, machine
from benchmarks.prior_cases import BASELINES, OURS, Case, Store

RESULT = Path(__file__).parent / "results" / "prior_quality.json"
Entries = list[dict[str, Any]]
Found = tuple[list[Case], Entries]


@dataclass(frozen=True)
class Given:
    """What tasks get: the data, the prior and the file it came from, the baselines."""

    data: Path
    prior: Any
    weights: str | None
    store: Store
    peers: str | None
    adapted: dict[str, str]


def _denoise(given: Given) -> Found:
    from benchmarks import prior_denoise as task

    fast = None if given.prior is None else replace(given.prior, precision="bfloat16")
    cases = task.cases(given.data, fast, given.store, given.peers)
    return cases, task.entries(cases) if given.prior is not None else []


def _sparse(given: Given) -> Found:
    from benchmarks import prior_tomography as task

    cases = task.sparse(given.data, given.prior, given.store)
    return cases, task.entries(cases) if given.prior is not None else []


def _low_dose(given: Given) -> Found:
    from benchmarks import prior_tomography as task

    cases = task.low_dose(given.data, given.prior, given.store)
    return cases, task.entries(cases) if given.prior is not None else []


def _mri(given: Given) -> Found:
    from benchmarks import prior_mri as task

    cases = task.undersampled(given.data, given.prior, given.store)
    return cases, task.entries(cases) if given.prior is not None else []


def _superres(given: Given) -> Found:
    from benchmarks import prior_mri, prior_superres

    cropped = prior_mri.cropped(given.data, given.prior, given.store)
    cases = prior_superres.detector(given.data, given.prior, given.store)
    cases += prior_superres.kernels(given.data, given.prior)
    if given.prior is None:
        return cropped + cases, []
    return cropped + cases, prior_mri.entries(cropped) + prior_superres.entries(cases)


def _with_adapted(
    name: str, given: Given, run: Callable[[Any], list[Case]], judge: Callable[..., Entries]
) -> Found:
    """A task zero-shot and with the weights adapted to it, where they are given."""
    from benchmarks.prior_methods import load

    cases = run(given.prior)
    lines = judge(cases, adapted=False) if given.prior is not None else []
    if name in given.adapted:
        again = run(load(given.adapted[name]))
        lines += judge(again, adapted=True)
        for case in again:
            case.setting += ", adapted"
        cases += again
    return cases, lines


def _limited(given: Given) -> Found:
    from benchmarks import prior_limited as task

    return _with_adapted("limited", given, lambda p: task.limited(given.data, p), task.entries)


def _ellipses(given: Given) -> Found:
    from benchmarks import prior_ellipses as task

    return _with_adapted("ellipses", given, lambda p: task.ellipses(p, given.store), task.entries)


def _units(given: Given) -> Found:
    from benchmarks.prior_limits import units

    return units(given.data, given.prior) if given.prior is not None else ([], [])


def _well_posed(given: Given) -> Found:
    from benchmarks.prior_limits import well_posed

    return well_posed(given.data, given.prior, given.store)


def _nulls(given: Given) -> Found:
    from benchmarks.prior_limits import nulls

    return nulls(given.data, given.store, given.peers)


def _speed(given: Given) -> Found:
    from benchmarks.prior_speed import speed

    return speed(given.weights) if given.weights is not None else ([], [])


TASKS: dict[str, Callable[[Given], Found]] = {
    "denoise": _denoise,
    "sparse": _sparse,
    "lowdose": _low_dose,
    "limited": _limited,
    "ellipses": _ellipses,
    "mri": _mri,
    "superres": _superres,
    "units": _units,
    "wellposed": _well_posed,
    "nulls": _nulls,
    "speed": _speed,
}


def table(entries: Entries) -> str:
    """Aligned lines: reached or not, value, target, number, interval."""
    rows = [("", "value", "target", "n", "95 %", "")]
    for e in entries:
        sign = "<=" if e["sense"] == "at most" else ">="
        between = "" if e["interval"] is None else "{:.2f} .. {:.2f}".format(*e["interval"])
        goal = f"{sign} {e['target']:g} {e['unit']}".rstrip()
        rows.append(
            (e["what"], number(e["value"]), goal, str(e["n"]), between, "yes" if e["reached"] else "NO")
        )
    widths = [max(len(row[k]) for row in rows) for k in range(6)]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if k == 0 else cell.rjust(w)
            for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def number(value: float) -> str:
    """Two decimals, or scientific where they would show nothing."""
    return f"{value:.2f}" if value == 0 or abs(value) >= 0.01 else f"{value:.1e}"


def details(cases: list[Case]) -> str:
    """Every case on a line."""
    lines = []
    for case in cases:
        scores = "  ".join(f"{name} {value:.2f}" for name, value in case.scores.items())
        took = f"  ({case.seconds[OURS]:.1f} s)" if OURS in case.seconds else ""
        if not case.scores:
            took = "  ".join(f"{value:.2f} {unit}" for unit, value in case.seconds.items())
        lines.append(f"  {case.image:28s} {case.setting:32s} {scores}{took}")
    return "\n".join(lines)


def main() -> int:
    """Run the tasks, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the measured data")
    parser.add_argument("--weights", help='"small", "base" or a .safetensors file')
    parser.add_argument("--only", default=",".join(TASKS), help="tasks, separated by commas")
    parser.add_argument("--adapted", nargs="*", default=[], help="limited=FILE ellipses=FILE")
    parser.add_argument("--peers", help="interpreter that has bm3d, for baselines not in the file")
    parser.add_argument("--fresh", action="store_true", help="compute the baselines again")
    parser.add_argument("--baselines", type=Path, default=BASELINES)
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--worst", type=Path, help="PNG of the ten worst cases")
    words = parser.parse_args()
    names = words.only.split(",")
    unknown = [name for name in names if name not in TASKS]
    if unknown:
        parser.error(f"no such task: {', '.join(unknown)}; there are {', '.join(TASKS)}")
    prior = None
    if words.weights is not None:
        from benchmarks.prior_methods import load

        prior = load(words.weights)
    store = Store(words.baselines, fresh=words.fresh)
    adapted = dict(pair.split("=", 1) for pair in words.adapted)
    given = Given(words.data, prior, words.weights, store, words.peers, adapted)
    result: dict[str, Any] = json.loads(words.out.read_text()) if words.out.exists() else {}
    result.setdefault("tasks", {})
    every: list[Case] = []
    for name in names:
        start = time.perf_counter()
        cases, lines = TASKS[name](given)
        every += cases
        seconds = time.perf_counter() - start
        print(f"{name} ({seconds:.0f} s)\n{details(cases)}\n{table(lines) if lines else ''}\n", flush=True)
        if prior is None:
            continue
        old = result["tasks"].get(name, {"entries": [], "cases": []})
        kept = [] if name in adapted else [row for row in old["entries"] if "adapted" in row["what"]]
        kept = [{"commit": result.get("commit"), **row} for row in kept]
        others = [row for row in old["cases"] if kept and row["setting"].endswith(", adapted")]
        result["machine"], result["commit"] = machine(("numpy", "numba", "torch")), commit()
        result["tasks"][name] = {
            "weights": words.weights,
            "seconds": round(seconds, 1),
            "entries": lines + kept,
            "cases": [case.record() for case in cases] + others,
        }
        words.out.write_text(json.dumps(result, indent=1) + "\n")
    if prior is not None and len(names) > 1:
        print(table([e for name in result["tasks"] for e in result["tasks"][name]["entries"]]))
    if words.worst and every and prior is not None:
        from benchmarks.prior_gallery import gallery

        gallery(every, words.worst)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
