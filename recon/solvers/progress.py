"""How a run goes, for people: an aligned table, or a bar."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from rayfold.recon.solvers.run import Status


class Table:
    """Callback that writes one aligned line per step: iteration, objective, residual, change, seconds.

    Parameters
    ----------
    every : int
        Write every so many steps.
    file : text stream, optional
        Standard error by default.
    """

    def __init__(self, every: int = 1, file: TextIO | None = None) -> None:
        self.every, self.file, self.started = every, file, False

    def __call__(self, status: Status) -> None:
        out = self.file or sys.stderr
        if not self.started:
            out.write(f"{'iter':>6}  {'objective':>12}  {'residual':>12}  {'change':>9}  {'seconds':>8}\n")
            self.started = True
        if status.iteration % self.every:
            return
        out.write(
            f"{status.iteration:>6}  {status.objective:>12.5e}  {status.residual:>12.5e}  "
            f"{status.change:>9.2e}  {status.seconds:>8.2f}\n"
        )
        out.flush()


class Progress:
    """Callback that draws a tqdm bar, silent where standard error is no terminal.

    Parameters
    ----------
    n : int
        Steps in all.
    """

    def __init__(self, n: int) -> None:
        from tqdm.auto import tqdm

        self.bar: Any = tqdm(total=n, disable=None, leave=False)

    def __call__(self, status: Status) -> None:
        self.bar.update(status.iteration - self.bar.n)
        self.bar.set_postfix_str(f"residual {status.residual:.3g}", refresh=False)
        if self.bar.total is not None and status.iteration >= self.bar.total:
            self.bar.close()
