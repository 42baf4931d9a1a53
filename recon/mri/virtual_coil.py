"""The strongest combination of coils, and its phase as a reference."""

from __future__ import annotations

from typing import Any

import numpy as np

from rayfold.operators.dispatch import is_traced, namespace, to_numpy

Array = Any


def virtual_coil(data: Array) -> Array:
    """Weights (coils,) of the combination ``sum_c conj(v_c) data_c`` of largest energy.

    The largest weight is real and positive, which makes the vector unique and differentiable.

    Examples
    --------
    >>> virtual_coil(np.array([[3.0, 3.0], [4j, 4j]])).round(3)
    array([-0. -0.6j,  0.8+0.j ])
    """
    xp = namespace(data)
    flat = xp.reshape(data, (data.shape[0], -1))
    top = xp.max(xp.abs(flat))
    flat = flat / (top if is_traced(data) else xp.where(top > 0, top, xp.ones_like(top)))
    vector = xp.linalg.eigh(flat @ xp.conj(xp.matrix_transpose(flat)))[1][:, -1]
    # of coils that weigh the same, the first: rounding must not choose
    ramp = 1 - 1e-3 * np.arange(vector.shape[0]) / vector.shape[0]
    if is_traced(data):
        largest = vector[xp.argmax(xp.abs(vector) * xp.asarray(ramp, dtype=xp.real(vector).dtype))]
    else:
        largest = vector[int(np.argmax(abs(to_numpy(vector)) * ramp))]
    return vector * (xp.conj(largest) / xp.abs(largest))


def to_virtual_phase(maps: Array, reference: Array) -> Array:
    """Maps (coils, ...) turned voxel by voxel until they are real and positive in a virtual coil.

    Examples
    --------
    >>> to_virtual_phase(np.array([[0.6j], [0.8]]), np.array([1.0 + 0j, 0]))
    array([[0.6+0.j ],
           [0. -0.8j]])
    """
    xp = namespace(maps)
    along = xp.tensordot(xp.conj(reference), maps, axes=([0], [0]))
    size = xp.abs(along)
    some = size > 0
    one = xp.ones_like(along)
    # `where` on both sides: a derivative of |0| must not reach the result
    safe = xp.where(some, along, one)
    return maps * xp.conj(safe / xp.abs(safe))[None, ...]
