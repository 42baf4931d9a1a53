"""A certificate in words: sentences, what to read first, and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rayfold.recon.evidence.certificate import Certificate

DOUBT = 0.01  # probability below which noise alone is no explanation
SIGMAS = 4.0  # correlation of neighbours that noise alone hardly gives


def sentences(c: Certificate) -> list[str]:
    """The evidence, for a batch that of its worst problem in each respect."""
    lines = [
        _fit(c),
        *_overfit(c),
        *_views(c),
        *_colour(c),
        _unseen(c),
        _added(c),
        *_familiar(c),
        _adjoint(c),
    ]
    n = np.size(c.chi_square)
    return [f"{n} problems; each line is about the worst of them.", *lines] if n > 1 else lines


def _fit(c: Certificate) -> str:
    if c.p_value is None:
        value = _worst(c.chi_square, np.abs(np.log(np.maximum(c.chi_square, 1e-300))))
        return (
            f"Chi-square {value:.3g} per datum against noise estimated from the data themselves, "
            "so there is no p-value."
        )
    p, value = float(np.min(c.p_value)), float(np.max(c.chi_square))
    verdict = "The data are explained" if p >= DOUBT else "The data are NOT explained"
    return f"{verdict}: chi-square {value:.3g} per datum, {_probability(p)}."


def _overfit(c: Certificate) -> list[str]:
    if c.p_overfit is None or np.min(c.p_overfit) >= DOUBT:
        return []
    return ["Less is left of the data than noise alone leaves: the image has taken up part of the noise."]


def _views(c: Certificate) -> list[str]:
    flagged = np.argwhere(c.out_of_line)
    if not len(flagged):
        return []
    names = ", ".join(str(int(i[0])) if i.size == 1 else str(tuple(i.tolist())) for i in flagged[:8])
    more = ", ..." if len(flagged) > 8 else ""
    verb = "fit" if len(flagged) > 1 else "fits"
    return [f"{len(flagged)} of {c.out_of_line.size} {c.row}s {verb} worse than the others: {names}{more}."]


def _colour(c: Certificate) -> list[str]:
    excess = np.abs(np.asarray(c.correlation)) / np.asarray(c.correlation_error)
    if not np.max(excess) > SIGMAS:
        return []
    value, error = _worst(c.correlation, excess), _worst(c.correlation_error, excess)
    return [
        f"The residual is not white: neighbours correlate by {value:.2f} (noise alone: 0 +- {error:.2g})."
    ]


def _unseen(c: Certificate) -> str:
    if not _resolved(c.unseen_share, c.unseen_at_most):
        return (
            f"How much of the image these data do not see was not resolved within {c.pairs} operator pairs."
        )
    return (
        f"{_about(c.unseen_share, c.unseen_at_most)} of the image's energy lies where these data say "
        "nothing at this noise."
    )


def _added(c: Certificate) -> str:
    if not _resolved(c.added_share, c.added_at_most):
        return f"How much of it the prior put there was not resolved within {c.pairs} operator pairs."
    share = _about(c.added_share, c.added_at_most).replace("A", "a")
    return f"The prior put {share} of the energy there, set against the minimum-norm solution."


def _familiar(c: Certificate) -> list[str]:
    if c.familiar is None:
        return []
    if not c.familiar.slices and c.familiar.warning is None:
        return ["Whether the prior knows such images was not judged: they are too small or empty."]
    return [c.familiar.warning or "The image looks like what the prior was trained on."]


def _resolved(share: Any, most: Any) -> bool:
    """Whether the bound says anything: it is below the whole energy, or close to the share."""
    share, most = float(np.max(share)), float(np.max(most))
    return most < 1 or percent(share) == percent(most)


def _about(share: Any, most: Any) -> str:
    """A share, with its bound where the solver had to stop before they met."""
    value, limit = percent(float(np.max(share))), percent(float(np.max(most)))
    if float(np.max(share)) > float(np.max(most)):  # the map has not settled, its bound has
        return limit if value == limit else f"At most {limit}"
    return value if value == limit else f"About {value} (at most {limit})"


def _share(share: Any, most: Any) -> str:
    return _about(share, most).replace("A", "a") if _resolved(share, most) else "not resolved"


def _adjoint(c: Certificate) -> str:
    if c.adjoint_error <= c.adjoint_bound:
        return f"The adjoint is exact to {c.adjoint_error:.1e}; operator norm {_span(c.norm)}."
    return (
        f"The adjoint is WRONG by {c.adjoint_error:.1e} (allowed {c.adjoint_bound:.0e}): "
        "no share above can be relied on; see rayfold.operators.dot_test."
    )


def facts(c: Certificate) -> dict[str, Any]:
    """Short names and values, the most telling first."""
    estimated = "none: noise estimated from the data"
    return {
        "Chi-square per datum": _span(c.chi_square),
        "p-value": estimated if c.p_value is None else _span(c.p_value),
        "Not seen by the data": _share(c.unseen_share, c.unseen_at_most),
        "Put there by the prior": _share(c.added_share, c.added_at_most),
        "Views out of line": f"{int(c.out_of_line.sum())} of {c.out_of_line.size}",
        "Adjoint error": f"{c.adjoint_error:.1e}",
    }


def tables(c: Certificate) -> list[tuple[str, Sequence[Mapping[str, Any]]]]:
    """All numbers with their meaning, the views out of line, and the hashes."""
    rows = [
        ("chi-square per datum", _span(c.chi_square), "1 for noise alone"),
        ("data", _span(c.n_data), "a complex datum counts as two"),
        ("p-value", "" if c.p_value is None else _span(c.p_value), "that noise alone leaves as much"),
        ("noise", "estimated from the data" if c.noise_estimated else "measured", ""),
        (
            "correlation of neighbours",
            _span(c.correlation),
            f"noise alone: 0 +- {_span(c.correlation_error)}",
        ),
        ("adjoint error", f"{c.adjoint_error:.1e}", f"allowed: {c.adjoint_bound:.0e}"),
        ("operator norm", _span(c.norm), "from below"),
        ("scale of the image", _span(c.scale), "a component is seen when its error is below this"),
        ("eps", _span(c.eps), "1 / scale squared"),
        (
            "energy not seen",
            _shares(c.unseen_share),
            f"at least {_shares(c.unseen_at_least)}, {_limit(c.unseen_at_most)}",
        ),
        ("energy put there by the prior", _shares(c.added_share), _limit(c.added_at_most)),
        ("operator pairs", str(c.pairs), "used for this evidence"),
    ]
    if c.familiar is not None:
        note = "above 0 for 1 % of the images that the prior was trained on"
        rows.append(("strangeness", f"{c.familiar.score:+.2f}", c.familiar.unit or note))
    found: list[tuple[str, Sequence[Mapping[str, Any]]]] = [
        ("Evidence", [{"quantity": a, "value": b, "note": note} for a, b, note in rows])
    ]
    flagged = np.argwhere(c.out_of_line)[:50]
    if len(flagged):
        listed = [
            {c.row: ", ".join(map(str, i.tolist())), "chi-square per datum": float(c.views[tuple(i)])}
            for i in flagged
        ]
        found.append(("Views out of line", listed))
    found.append(("SHA-256", [{"of": name, "hash": value} for name, value in c.hashes.items()]))
    return found


def percent(share: float) -> str:
    """A share with two digits, never rounded to nothing."""
    return f"{100 * share:.0f} %" if share >= 0.0995 or share == 0 else f"{100 * share:.2g} %"


def _shares(value: Any) -> str:
    low, high = percent(float(np.min(value))), percent(float(np.max(value)))
    return low if low == high else f"{low} to {high}"


def _limit(most: Any) -> str:
    """An upper bound of a share, where it says anything."""
    return f"at most {_shares(most)}" if float(np.max(most)) <= 1 else "no bound within the budget"


def _span(value: Any) -> str:
    low, high = f"{float(np.min(value)):.4g}", f"{float(np.max(value)):.4g}"
    return low if low == high else f"{low} to {high}"


def _probability(p: float) -> str:
    return "p < 1e-16" if p < 1e-16 else f"p = {p:.2g}"


def _worst(values: Any, badness: Any) -> float:
    """The value where `badness` is largest."""
    return float(np.ravel(values)[int(np.argmax(np.ravel(badness)))])
