"""Solvers as small frozen dataclasses with `init` and `step`; `run` drives them."""

from rayfold.recon.solvers.admm import ADMM
from rayfold.recon.solvers.cg import CG
from rayfold.recon.solvers.cgls import CGLS
from rayfold.recon.solvers.fista import FISTA
from rayfold.recon.solvers.hqs import HQS
from rayfold.recon.solvers.landweber import Landweber
from rayfold.recon.solvers.lbfgs import LBFGS
from rayfold.recon.solvers.lsqr import LSQR
from rayfold.recon.solvers.mlem import MLEM
from rayfold.recon.solvers.os_sqs import OSSQS
from rayfold.recon.solvers.pdhg import PDHG
from rayfold.recon.solvers.progress import Progress, Table
from rayfold.recon.solvers.proximal_gradient import ProximalGradient
from rayfold.recon.solvers.red import RED
from rayfold.recon.solvers.run import Solution, Solver, State, Status, Stop, run
from rayfold.recon.solvers.sart import SART
from rayfold.recon.solvers.schedule import Schedule
from rayfold.recon.solvers.sirt import SIRT
from rayfold.recon.solvers.stop import Discrepancy, RelativeChange

__all__ = [
    "ADMM",
    "CG",
    "CGLS",
    "FISTA",
    "HQS",
    "LBFGS",
    "LSQR",
    "MLEM",
    "OSSQS",
    "PDHG",
    "RED",
    "SART",
    "SIRT",
    "Discrepancy",
    "Landweber",
    "Progress",
    "ProximalGradient",
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
