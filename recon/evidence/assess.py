"""Evidence for an image: one call that checks the fit, the operator, and what the data cannot see."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.operators.dispatch import dtype_name, library, namespace, to_numpy
from rayfold.operators.noise import Noise, Poisson
from rayfold.recon.evidence.certificate import Certificate
from rayfold.recon.evidence.fingerprint import sha256
from rayfold.recon.evidence.operator_check import PAIRS, examine
from rayfold.recon.evidence.range_null import Floats, image_scale
from rayfold.recon.evidence.spectrum import residual_statistics, tail
from rayfold.recon.evidence.split import OWN, SOLVES, split
from rayfold.recon.evidence.system import System, response
from rayfold.recon.problem import Problem, estimate_noise

Array = Any
RESPONSE = 1  # operator pair for the preconditioner
LEAST = PAIRS + RESPONSE + OWN + SOLVES


def certify(
    problem: Problem,
    x: Array,
    *,
    scale: float | None = None,
    pairs: int = 30,
    row: str = "view",
    learned: bool = False,
) -> Certificate:
    """What the data say for an image, whichever way it was made.

    The residual is held against the noise. The image is split into what the data see and what they do not:
    with ``eps = 1 / scale^2``, ``unseen = x - (A.H W A + eps)^-1 A.H W A x``. As ``A.H W A`` is the Fisher
    information of the data, a component counts as seen as far as its Cramer-Rao standard deviation is below
    `scale`, the size of the image itself; equivalently, ``A.H W A (A.H W A + eps)^-1`` is the part of the
    variance of a white image of that size which the data remove. Multiplying data, noise and image by one
    number multiplies both maps by it and changes no share. What the prior put there is the unseen part of x
    less that of the minimum-norm solution ``(A.H W A + eps)^-1 A.H W y``.

    Parameters
    ----------
    problem : Problem
        Operator, data and noise; without a noise model one is estimated from the data, and there is no
        p-value.
    x : array, (..., *A.in_shape)
        Image or images, in the library of the data and with their batch axes.
    scale : float, optional
        Size of the image, in its unit; the root mean square of each image by default.
    pairs : int
        Operator pairs (one A and one A.H) at most. The solves stop earlier when their error is below a
        thousandth of the image; otherwise the certificate bounds what is missing.
    row : str
        What to call an entry along the first axis of the data: "coil" for MRI.
    learned : bool
        The image was made with the learned prior: say whether it looks like what that was trained on.

    Returns
    -------
    Certificate
        Numbers and maps; prints as a few sentences.

    Raises
    ------
    ValueError
        If the image does not fit the problem, is not finite, or the budget is too small.

    Notes
    -----
    The p-value is the chi-square law's for all data: an image fitted to them takes up some noise, so that it
    is conservative (a small one is evidence against the image; a large one is none for it).

    Examples
    --------
    >>> from rayfold.operators import Gaussian
    >>> from rayfold.operators.calculus import Diagonal
    >>> problem = Problem(Diagonal((4,), np.array([1.0, 1.0, 1.0, 0.0])), np.ones(4), Gaussian(0.001))
    >>> round(float(certify(problem, np.ones(4)).unseen_share), 3)
    0.25
    """
    if pairs < LEAST:
        raise ValueError(f"pairs is {pairs}; evidence needs at least {LEAST}, 30 are usual")
    if scale is not None and not (scale > 0 and math.isfinite(scale)):
        raise ValueError(f"scale is {scale}; it must be a positive number in the unit of the image")
    problem.check()
    _check_image(problem, x)
    with _without_graph(x):
        found = _certify(problem, x, scale, pairs, row)
    if not learned:
        return found
    from rayfold.recon.evidence.familiar import familiarity

    return replace(found, familiar=familiarity(x, unit=problem.x_unit))


def _certify(problem: Problem, x: Array, scale: float | None, pairs: int, row: str) -> Certificate:
    known = problem.noise is not None
    noise: Noise = problem.noise if problem.noise is not None else estimate_noise(problem)
    quadratic = _quadratic(problem._replace(noise=noise))
    prediction = problem.A(x)
    residual = quadratic.y - prediction
    whitened, measured = _whitened(noise, residual, prediction, problem.y)
    statistics = residual_statistics(whitened, problem.A.out_shape, measured)
    upper, lower = tail(statistics.chi_square, statistics.n_data)
    size = image_scale(problem.A.in_shape, x) if scale is None else np.full(_lead(problem), float(scale))
    cast = namespace(x).astype(x, residual.dtype)  # complex data are of a complex image
    flagged = statistics.out_of_line
    if row == "coil" or (known and not noise.estimated):
        # each has noise of known size: what fits within it is not out of line, however well others fit
        flagged = flagged & (statistics.views > 1)
    check = examine(problem.A, cast, residual)
    system = System(quadratic, size, response(problem.A, check.random))
    parts = split(system, cast, prediction, pairs - PAIRS - RESPONSE)
    with np.errstate(divide="ignore"):
        eps = 1 / size**2
    return Certificate(
        chi_square=_plain(statistics.chi_square),
        n_data=_plain(statistics.n_data),
        p_value=_plain(upper) if known and not noise.estimated else None,
        p_overfit=_plain(lower) if known and not noise.estimated else None,
        noise_estimated=not known or noise.estimated,
        views=statistics.views,
        out_of_line=flagged,
        frequencies=statistics.frequencies,
        spectrum=statistics.spectrum,
        correlation=_plain(statistics.correlation),
        correlation_error=_plain(statistics.correlation_error),
        adjoint_error=check.error,
        adjoint_bound=check.bound,
        norm=_plain(check.norm),
        eps=_plain(eps),
        scale=_plain(size),
        unseen=parts.unseen,
        unseen_share=_plain(parts.unseen_share),
        unseen_at_least=_plain(parts.unseen_at_least),
        unseen_at_most=_plain(parts.unseen_at_most),
        unseen_error=_plain(parts.unseen_error),
        added=parts.added,
        added_share=_plain(parts.added_share),
        added_at_most=_plain(parts.added_at_most),
        pairs=PAIRS + RESPONSE + parts.pairs,
        hashes={
            "data": sha256(problem.y),
            "operator": sha256(problem.A),
            "noise": sha256(noise),
            "image": sha256(x),
        },
        system=system,
        row=row,
    )


def _check_image(problem: Problem, x: Array) -> None:
    mine, theirs = library(type(problem.y)), library(type(x))
    if mine != theirs:
        raise TypeError(f"the data are a {mine} array, the image a {theirs} array; convert one of them")
    wanted = (*_lead(problem), *problem.A.in_shape)
    if tuple(x.shape) != wanted:
        raise ValueError(f"the image has shape {tuple(x.shape)}; these data belong to one of {wanted}")
    kinds = {"float32", "complex64"}, {"float64", "complex128"}
    if not any({dtype_name(x), dtype_name(problem.y)} <= kind for kind in kinds):
        raise TypeError(
            f"the image is {dtype_name(x)}, the data {dtype_name(problem.y)}; give both in one precision"
        )
    xp = namespace(x)
    if not bool(xp.all(xp.isfinite(x))):
        raise ValueError("the image holds values that are not finite; certify one that is finite everywhere")


def _quadratic(problem: Problem) -> Problem:
    """The problem with Gaussian noise, and with counts less their background."""
    if not isinstance(problem.noise, Poisson):
        return problem.quadratic()
    background = problem.noise.mean(namespace(problem.y).zeros_like(problem.y))
    return problem.quadratic()._replace(y=problem.y - background)


def _lead(problem: Problem) -> tuple[int, ...]:
    return tuple(problem.y.shape[: len(problem.y.shape) - len(problem.A.out_shape)])


def _whitened(
    noise: Noise, residual: Array, prediction: Array, y: Array
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
    """Residual of unit variance, and which data were measured at all."""
    if isinstance(noise, Poisson):  # the variance of counts is what was expected, not what was drawn
        return to_numpy(noise.whiten(residual, noise.mean(prediction))), None
    whitened = to_numpy(noise.whiten(residual, y))
    if getattr(noise, "covariance", None) is not None:
        return whitened, None
    weights = noise.weights(y)
    return whitened, None if isinstance(weights, int | float) else to_numpy(weights) > 0


def _plain(values: Floats) -> Any:
    """A number for one problem, an array for a batch."""
    values = np.asarray(values, np.float64)
    return float(values) if values.ndim == 0 else values


def _without_graph(x: Array) -> contextlib.AbstractContextManager[Any]:
    """Evidence is numbers: no graph is recorded."""
    if library(type(x)) != "torch":
        return contextlib.nullcontext()
    import torch

    return torch.no_grad()
