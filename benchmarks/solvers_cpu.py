"""Solvers on the CPU: total variation by PDHG beside ODL's and SCICO's, and what solvers add to A and A.H.

Run on idle cores from the repository root: ``python -m benchmarks.solvers_cpu --out FILE.json``. All tools
use the same operator, data, start and stopping measure; the objective is computed outside the clocks; norms
for the peers' step sizes and the search for their best ones are not counted. SCICO runs in its own
environment, whose Python the variable RAYFOLD_SCICO_PYTHON names; peers that are missing are said to be so.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / ".dev"))

import numpy as np  # noqa: E402

from benchmarks.machine import machine, versions  # noqa: E402

PACKAGES = ("numpy", "numba", "odl", "scico", "jax")
N, VIEWS, COLS, NOISE = 256, 60, 368, 0.01
STRENGTH = 3.0  # over the standard deviation of the noise: near the best image
TOLERANCE, CAP = 1e-4, 1000
RATIOS = tuple(10.0**k for k in range(-3, 6))  # dual over image step that the peers are tuned over
Steps = Callable[[int, Callable[[Any], None] | None], None]  # n steps; each image to the callback


def case(n: int = N) -> tuple[Any, float]:
    """Shepp-Logan phantom, parallel rays, 1 % noise; the problem and the strength of total variation."""
    from rayfold.operators import ParallelBeam, Volume, XRay
    from rayfold.recon import Problem, phantoms

    volume = Volume((n, n), 1.0)
    A = XRay(volume, ParallelBeam.evenly(VIEWS * n // N, COLS * n // N))
    x = np.asarray(phantoms.shepp_logan(volume).array, np.float32)
    y = A(x)
    sigma = NOISE * float(abs(y).mean())
    noisy = y + sigma * np.random.default_rng(0).standard_normal(y.shape)
    return Problem(A, noisy.astype(np.float32)), STRENGTH * sigma


def objective(problem: Any, strength: float, x: Any) -> float:
    """Data term plus total variation in double precision."""
    from rayfold.recon.priors import TV

    x = np.asarray(x, np.float64)
    r = problem.A(x) - problem.y
    return float((r * r).sum() / 2 + TV(strength).value(x))


def optimum(problem: Any, strength: float, n: int) -> tuple[float, float]:
    """Least objective of a long run of ours, and how much lower the optimum may be, relative (duality gap).

    The dual bound holds for all images of modulus below twice the largest pixel found.
    """
    from rayfold.operators.differences import Gradient
    from rayfold.recon import run
    from rayfold.recon.priors import TV
    from rayfold.recon.solvers import PDHG

    state = run(PDHG(TV(strength)), problem, n).state
    double = problem._replace(y=problem.y.astype(np.float64))
    solver = PDHG(TV(strength))
    state = type(state)(*(_double(part) for part in state))
    for _ in range(n // 4):
        state = solver.step(double, state)
    value = objective(double, strength, state.x)
    q, z = state.q, state.z[0]
    rest = problem.A.H(q) + Gradient(problem.A.in_shape).H(z)
    lower = -(q * q).sum() / 2 - (q * double.y).sum() - 2 * abs(state.x).max() * abs(rest).sum()
    return value, (value - float(lower)) / value


def _double(part: Any) -> Any:
    if isinstance(part, tuple):
        return tuple(_double(each) for each in part)
    return None if part is None else np.asarray(part, np.float64)


# --- the tools: each returns a function that does n steps from zero ---


def ours(problem: Any, strength: float) -> Steps:
    from rayfold.recon.priors import TV
    from rayfold.recon.solvers import PDHG

    solver = PDHG(TV(strength))

    def steps(n: int, tell: Callable[[Any], None] | None = None) -> None:
        state = solver.init(problem)
        for _ in range(n):
            state = solver.step(problem, state)
            if tell:
                tell(state.x)

    return steps


def odl_steps(problem: Any, strength: float, ratio: float, weight: float = 1.0) -> Steps:
    """ODL's PDHG; `ratio` of dual over image step, gradient times `weight` in the stacked operator."""
    import odl

    from rayfold.operators.adapters.odl import to_odl

    A = problem.A
    ny, nx = A.in_shape
    space = odl.uniform_discr([0, 0], [ny, nx], A.in_shape, dtype="float32")  # pixels of size 1
    forward = to_odl(A, space)
    gradient = weight * odl.Gradient(space, method="forward", pad_mode="symmetric")
    stack = odl.BroadcastOperator(forward, gradient)
    size = (A.norm() ** 2 + 8 * weight**2) ** 0.5
    fit = 0.5 * odl.functionals.L2NormSquared(forward.range).translated(forward.range.element(problem.y))
    edges = strength / weight * odl.functionals.GroupL1Norm(gradient.range)
    g, nothing = odl.functionals.SeparableSum(fit, edges), odl.functionals.ZeroFunctional(space)
    tau = float(np.sqrt(0.9 / ratio) / size)

    def steps(n: int, tell: Callable[[Any], None] | None = None) -> None:
        x = space.zero()
        callback = None if tell is None else lambda u: tell(u.asarray())
        odl.solvers.pdhg(x, nothing, g, stack, n, tau=tau, sigma=ratio * tau, callback=callback)

    return steps


def scico_steps(problem: Any, strength: float, ratio: float, weight: float = 1.0) -> Steps:
    """SCICO's PDHG, likewise."""
    import jax
    import scico.numpy as snp
    from scico import functional, linop, loss
    from scico.optimize import PDHG

    from rayfold.operators.adapters.scico import to_scico

    A = problem.A
    D = linop.FiniteDifference(input_shape=A.in_shape, append=0, input_dtype=np.float32)
    C = linop.VerticalStack((to_scico(A), weight * D), collapse_output=False)
    size = (A.norm() ** 2 + 8 * weight**2) ** 0.5
    fit = loss.SquaredL2Loss(y=snp.array(problem.y))
    g = functional.SeparableFunctional((fit, strength / weight * functional.L21Norm()))
    tau = float(np.sqrt(0.9 / ratio) / size)

    def steps(n: int, tell: Callable[[Any], None] | None = None) -> None:
        solver = PDHG(functional.ZeroFunctional(), g, C, tau=tau, sigma=ratio * tau, maxiter=n)
        for _ in range(n):
            solver.step()
            if tell:
                tell(np.asarray(solver.x))
        jax.block_until_ready(solver.x)

    return steps


PEERS = {"odl": odl_steps, "scico": scico_steps}


# --- measuring ---


def iterations(steps: Steps, problem: Any, strength: float, target: float, cap: int) -> dict[str, Any]:
    """Steps after which the objective stays below the target within `cap`, and its excess at the end."""
    values: list[float] = []
    steps(cap, lambda x: values.append(objective(problem, strength, x)))
    above = [k for k, value in enumerate(values, 1) if not value <= target * (1 + TOLERANCE)]
    last = above[-1] if above else 0
    return {"iterations": last + 1 if last < cap else None, "excess": values[-1] / target - 1}


def tuned(make: Any, problem: Any, strength: float, target: float) -> tuple[float, float]:
    """Ratio of steps and weight of the gradient with which a peer comes furthest in few steps."""
    found = {}
    balanced = problem.A.norm() / 8**0.5
    for weight in (1.0, balanced):
        for ratio in RATIOS:
            last: list[Any] = [None]
            make(problem, strength, ratio, weight)(100, lambda x, last=last: last.__setitem__(0, x))
            value = objective(problem, strength, last[0])
            found[ratio, weight] = value if np.isfinite(value) else np.inf
    return min(found, key=lambda key: found[key])


def race(problem: Any, strength: float, target: float, peers: list[str], rounds: int) -> dict[str, Any]:
    """Iterations and seconds to the tolerance, the tools in turns."""
    work: dict[str, Steps] = {"rayfold": ours(problem, strength)}
    rows: dict[str, dict[str, Any]] = {"rayfold": {}}
    for peer in peers:
        make = PEERS[peer]
        best = tuned(make, problem, strength, target)
        for name, (ratio, weight) in {"default": (1.0, 1.0), "tuned": best}.items():
            work[f"{peer} {name}"] = make(problem, strength, ratio, weight)
            rows[f"{peer} {name}"] = {"dual over image step": ratio, "weight of the gradient": weight}
    for name, steps in work.items():
        rows[name] |= iterations(steps, problem, strength, target, CAP)
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for i in range(rounds):
        for name, steps in work.items():
            if i and not rows[name]["iterations"]:
                continue  # it does not get there: once is enough
            begin = time.perf_counter()
            steps(rows[name]["iterations"] or CAP, None)
            seconds[name].append(time.perf_counter() - begin)
    for name, found in seconds.items():
        rows[name] |= {"best": min(found), "median": statistics.median(found), "runs": len(found)}
        reached = rows[name]["iterations"]
        print(f"{name:16s} {reached or f'over {CAP}'!s:>10} steps {min(found):8.2f} s", flush=True)
    return rows


def overheads(problem: Any, strength: float, rounds: int) -> dict[str, Any]:
    """Time of a step over that of the A and A.H it makes, in turns; and its peak memory over the image's."""
    from rayfold.recon.priors import TV, NonNegative
    from rayfold.recon.solvers import CGLS, FISTA, PDHG, SIRT

    solvers = {"CGLS": CGLS(), "SIRT": SIRT(lower=0.0), "PDHG with TV": PDHG(TV(strength))}
    solvers["FISTA"] = FISTA(NonNegative())
    A, rows = problem.A, {}
    for name, solver in solvers.items():
        state = solver.init(problem)
        image, data = A.H(problem.y), problem.y
        bare, whole = [], []
        for _ in range(rounds):
            begin = time.perf_counter()
            A(image), A.H(data)
            middle = time.perf_counter()
            state = solver.step(problem, state)
            whole.append(time.perf_counter() - middle)
            bare.append(middle - begin)
        rows[name] = {
            "step over A and A.H, best": min(whole) / min(bare),
            "step over A and A.H, median": statistics.median(whole) / statistics.median(bare),
            "steps": rounds,
            **_memory(solver, problem, state),
        }
        print(name, rows[name], flush=True)
    return rows


def _memory(solver: Any, problem: Any, state: Any) -> dict[str, float]:
    parts = [part for group in state for part in (group if isinstance(group, tuple) else (group,))]
    largest = max(part.nbytes for part in parts if part is not None)
    gc.collect()
    tracemalloc.start()
    solver.step(problem, state)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {"peak beyond the state in MB": peak / 1e6, "largest array of the state in MB": largest / 1e6}


def elsewhere(python: str, target: float, rounds: int) -> dict[str, Any]:
    """The race in another environment, ours beside SCICO in one process."""
    command = [python, "-m", "benchmarks.solvers_cpu", "--peer", "scico", "--target", repr(target)]
    done = subprocess.run(
        [*command, "--rounds", str(rounds)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1]}
    print(done.stdout, end="")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", help="race one peer only and print its rows")
    parser.add_argument("--target", type=float, help="optimum, where it is known")
    args = parser.parse_args()
    problem, strength = case()
    if args.peer:
        print(json.dumps(race(problem, strength, args.target, [args.peer], args.rounds)))
        return
    value, gap = optimum(problem, strength, 2500)
    print(f"optimum {value:.8g}, relative duality gap {gap:.1e}", flush=True)
    used = {"python": platform.python_version(), **versions(PACKAGES)}
    results: dict[str, Any] = {
        "machine": machine(PACKAGES) | {"versions": used},
        "problem": f"Shepp-Logan {N} x {N}, {VIEWS} views, {COLS} bins, {NOISE:.0%} noise, "
        f"total variation at {STRENGTH:g} sigma",
        "optimum": value,
        "relative duality gap": gap,
        "tolerance": TOLERANCE,
        "most steps": CAP,
    }
    odl = ["odl"] if importlib.util.find_spec("odl") else []
    results["to the tolerance"] = race(problem, strength, value, odl, args.rounds)
    python = os.environ.get("RAYFOLD_SCICO_PYTHON", "")
    if not python and importlib.util.find_spec("scico"):
        python = sys.executable
    missing = {} if odl else {"odl": "not installed"}
    scico: Any = elsewhere(python, value, args.rounds) if python else "not installed"
    results["to the tolerance, SCICO's environment"] = scico
    results["missing"] = missing
    results["overhead"] = overheads(problem, strength, 40)
    if args.out:
        args.out.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
