"""Where a reconstruction runs: devices by name, and arrays moved onto them."""

from __future__ import annotations

from typing import Any

Array = Any


def resolve_device(wanted: str) -> str:
    """Resolve "auto": the first CUDA device CuPy sees, else the CPU.

    Parameters
    ----------
    wanted : str
        "auto", "cpu", "cuda" or "cuda:N".

    Returns
    -------
    str
        "cpu" or "cuda:N".

    Raises
    ------
    ValueError
        If the name is wrong, or that device or CuPy is not there.

    Examples
    --------
    >>> resolve_device("cpu")
    'cpu'
    """
    if wanted == "cpu":
        return "cpu"
    kind, _, number = wanted.partition(":")
    if kind not in ("auto", "cuda") or (number and not number.isdigit()):
        raise ValueError(f"device is {wanted!r}; it must be auto, cpu, cuda or cuda:N")
    try:
        import cupy

        n = int(cupy.cuda.runtime.getDeviceCount())
    except Exception as error:  # CuPy missing, or any failure of the driver
        if kind == "auto":
            return "cpu"
        raise ValueError(
            f"device {wanted} needs an NVIDIA GPU and CuPy (rayfold[cuda12]); use cpu"
        ) from error
    if int(number or 0) >= n:
        raise ValueError(f"device {wanted} does not exist; CuPy sees {n} devices")
    return f"cuda:{number or 0}"


def to_device(device: str, host: Array) -> Array:
    """A NumPy array of any shape on a device that `resolve_device` named: itself, or a CuPy copy."""
    if device == "cpu":
        return host
    import cupy

    with cupy.cuda.Device(int(device.partition(":")[2])):
        return cupy.asarray(host)
