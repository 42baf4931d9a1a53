"""Solvers as small frozen dataclasses with `init` and `step`; `run` drives them."""

from rayfold.recon.solvers.cgls import CGLS
from rayfold.recon.solvers.run import Solution, Solver, State, Status, run
from rayfold.recon.solvers.sirt import SIRT

__all__ = ["CGLS", "SIRT", "Solution", "Solver", "State", "Status", "run"]
