"""The three ways a run can fail that are not a mistake in the call, each with its exit code."""

from __future__ import annotations


class UnreadableInput(ValueError):
    """A file is missing, truncated, or not what its name says (exit code 3)."""

    exit_code = 3


class InconsistentInput(ValueError):
    """The numbers of a readable file contradict each other or cannot be a measurement (exit code 4)."""

    exit_code = 4


class OutputFailure(OSError):
    """A result could not be written: no permission, no space, or already there (exit code 5)."""

    exit_code = 5
