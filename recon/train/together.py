"""Several processes that train the same weights, each on samples of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

PATIENCE = timedelta(minutes=5)  # for a partner that compiles or draws


class Group:
    """What the processes of a training tell each other: gradients, and when to end.

    Parameters
    ----------
    rank, size : int
        Number of this process, and of all.
    meeting : Path
        A file that does not exist yet, the same for all.

    Raises
    ------
    RuntimeError
        By all methods, if another process has ended or is silent for `PATIENCE`.

    References
    ----------
    P. Goyal et al., arXiv:1706.02677 (2017), on steps of many workers' samples.
    """

    def __init__(self, rank: int, size: int, meeting: Path) -> None:
        self.rank, self.size = rank, size
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{meeting}", rank=rank, world_size=size, timeout=PATIENCE
        )

    def mean(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the processes: the same numbers in all of them."""
        flat = torch.cat([t.detach().reshape(-1) for t in tensors])
        host = flat.cpu()
        torch.distributed.all_reduce(host)
        parts = torch.split((host / self.size).to(flat.device), [t.numel() for t in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.detach().copy_(part.reshape(tensor.shape))

    def agree(self, stop: bool, value: float) -> tuple[bool, float]:
        """Whether any process wants to stop, and the value of the first one."""
        told = torch.tensor([float(stop), value if self.rank == 0 else 0.0], dtype=torch.float64)
        torch.distributed.all_reduce(told)
        return bool(told[0] > 0), float(told[1])

    def close(self) -> None:
        """Leave the group; call it in all of its processes."""
        torch.distributed.destroy_process_group()


@contextmanager
def partners(size: int, work: Callable[..., object], *args: Any) -> Iterator[Group]:
    """Start ``work(group, *args)`` in `size - 1` further processes; this one is the first of the group.

    `work` must be a function of a module. Partners that are still there at the end are waited for, and
    stopped if this process fails.
    """
    context = torch.multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        meeting = Path(folder) / "meeting"
        others = [
            context.Process(target=_partner, args=(rank, size, meeting, work, *args), daemon=False)
            for rank in range(1, size)
        ]
        for each in others:
            each.start()
        try:
            group = Group(0, size, meeting)
            yield group
            group.close()
            for each in others:
                each.join()
        finally:
            for each in others:
                each.terminate()
                each.join()


def _partner(rank: int, size: int, meeting: Path, work: Callable[..., object], *args: Any) -> None:
    group = Group(rank, size, meeting)
    work(group, *args)
    group.close()
