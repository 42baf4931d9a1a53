"""What the console shows of a `KSpace`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rayfold.recon.kspace import KSpace


def describe(scan: KSpace) -> str:
    """Facts of a scan, one per line, and what can be done next.

    Parameters
    ----------
    scan : KSpace
        Any raw MRI data.

    Examples
    --------
    >>> from rayfold.recon.kspace import KSpace
    >>> print(describe(KSpace(np.ones((8, 64, 48), np.complex64), ("coil", "ky", "kx"))))
    KSpace of 8 coils x 64 ky x 48 kx (complex64), arrays
      sampling  Cartesian, every position measured
      geometry  grid 64 x 48, field of view not stated
      noise     no noise scan
      next      recon with method rss, mvue, sense, wavelet, ...
    """
    shape = dict(zip(scan.axes, scan.data.shape, strict=True))
    size = " x ".join(f"{n} {name}{'s' if name == 'coil' and n > 1 else ''}" for name, n in shape.items())
    lines = [
        f"KSpace of {size} ({scan.data.dtype}), {scan.source}",
        f"  sampling  {_sampling(scan)}",
        f"  geometry  {_geometry(scan)}",
    ]
    timing = _timing(scan)
    if timing:
        lines.append(f"  timing    {timing}")
    noise = "no noise scan" if scan.noise is None else f"{scan.noise.shape[-1]} samples per coil"
    lines.append(f"  noise     {noise}")
    if scan.calibration is not None:
        lines.append("  calibration measured separately")
    if scan.reference is not None:
        lines.append(f"  reference {scan.reference.shape[-2]} lines without phase encoding")
    if scan.history:
        lines.append(f"  done      {', '.join(scan.history)}")
    lines.extend(f"  note      {note}" for note in scan.notes)
    lines.append(f"  next      {_next(scan)}")
    return "\n".join(lines)


def _sampling(scan: KSpace) -> str:
    if not scan.cartesian:
        assert scan.trajectory is not None
        return f"along a trajectory, up to {float(np.abs(scan.trajectory).max()):.3g} rad/voxel"
    if scan.sampled is None:
        text = "Cartesian, every position measured"
    else:
        text = f"Cartesian, {100 / scan.acceleration:.3g} % measured (R = {scan.acceleration:.3g})"
    if scan.reversed_lines is not None and scan.reversed_lines.any():
        text += f", {int(scan.reversed_lines.sum())} lines were read backwards"
    return text


def _geometry(scan: KSpace) -> str:
    text = f"grid {' x '.join(map(str, scan.grid))}"
    if scan.crop is not None:
        text += f", image {' x '.join(map(str, scan.crop))}"
    if scan.field_of_view is None:
        text += ", field of view not stated"
    else:
        text += f", field of view {' x '.join(f'{f:.4g}' for f in scan.field_of_view)} mm"
    if scan.slice_thickness is not None:
        text += f", slice {scan.slice_thickness:.4g} mm"
    return text + (", readout along ky" if scan.readout == "ky" else "")


def _timing(scan: KSpace) -> str:
    parts = []
    if scan.echo_times is not None:
        parts.append(f"echo at {', '.join(f'{t:.4g}' for t in scan.echo_times)} ms")
    if scan.dwell is not None:
        parts.append(f"dwell {1000 * scan.dwell:.4g} us")
    if scan.field_strength is not None:
        parts.append(f"{scan.field_strength:.4g} T")
    return ", ".join(parts)


def _next(scan: KSpace) -> str:
    if not scan.cartesian:
        return "recon with method gridding, sense, wavelet, ..."
    if scan.acceleration > 1:
        return "recon with method sense, grappa, wavelet, ..."
    return "recon with method rss, mvue, sense, wavelet, ..."
