"""Solvers as small frozen dataclasses with `init` and `step`; `run` drives them."""

from rayfold.recon.solvers.cgls import CGLS
from rayfold.recon.solvers.pdhg import PDHG
from rayfold.recon.solvers.progress import Progress, Table
from rayfold.recon.solvers.run import Solution, Solver, State, Status, Stop, run
from rayfold.recon.solvers.schedule import Schedule
from rayfold.recon.solvers.sirt import SIRT
from rayfold.recon.solvers.stop import Discrepancy, RelativeChange

__all__ = [
    "CGLS",
    "PDHG",
    "SIRT",
    "Discrepancy",
    "Progress",
    "RelativeChange",
    "Schedule",
    "Solution",
    "Solver",
    "State",
    "Status",
    "Stop",
    "Table",
    "run",
]
