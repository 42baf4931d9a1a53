# ---
# jupyter:
#   jupytext:
#     formats: py:percent,ipynb
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 05 · Prototype a protocol
#
# **You will learn** how to describe an acquisition before anything is measured, to simulate it, and to compare
# protocols at the same dose or in the same time, with intervals. **Time**: one minute. **Hardware**: any laptop.

# %%
import tempfile
from pathlib import Path

import numpy as np

from rayfold import recon
from rayfold.operators import Volume
from rayfold.recon import protocol, solvers
from rayfold.recon.cli.console import table

# %% [markdown]
# ## Three lines
#
# A tenth of the dose: fewer photons in every view, or fewer views? Here the detector is coarse, so that all is quick.

# %%
many = recon.CTProtocol(geometry="curved-fan", views=360, cols=260, pitch_mm=2.8, electronic=5.0)
few = many.replace(views=60)
found = protocol.compare(
    {"360 views": many, "60 views": few},
    "thorax",
    ["fbp", "pwls", "prior"],
    seeds=[0, 1],
    doses=[0.03, 0.3],
    prior="small",
)

# %%
print(table(found.table()))
found.figure()

# %% [markdown]
# Both protocols have the same dose at each point: photons in all views together. With few views FBP has streaks, whatever
# the dose; with many it has noise, and that falls with the dose. The bars are intervals of the mean over two anatomies
# and their noise. Some images of the first:

# %%
found.gallery([f"{views} views, {method}, dose 0.3" for views in (360, 60) for method in ("fbp", "prior")])

# %% [markdown]
# ## Behind the scenes: a protocol is a value
#
# It is frozen, states its units in its names, prints as Python that makes it again, and is a file as well.

# %%
print(few)
folder = Path(tempfile.mkdtemp())
few.to_toml(folder / "few.toml")
print((folder / "few.toml").read_text())
again = recon.Protocol.from_toml(folder / "few.toml")
again == few, again == eval(repr(few), {"CTProtocol": recon.CTProtocol})

# %%
few.picture()

# %% [markdown]
# Values that cannot be are refused, with a cure:

# %%
for wrong in ({"views": 0}, {"fotons": 1e4}, {"geometry": "parallel"}, {"noise_percent": 1.0}):
    try:
        few.replace(**wrong)
    except ValueError as error:
        print(error)

# %% [markdown]
# The dose is relative to 1000 views of 1e5 photons per mm of detector at the axis. It compares photons. It is no absorbed
# dose: it knows neither spectrum nor patient.

# %%
print(f"dose {many.dose:.3f} and {few.dose:.3f}; scan time {many.scan_time:.0f} ms")
equal = many.at_dose(0.1), few.at_dose(0.1)
print(f"at dose 0.1: {equal[0].photons:.0f} and {equal[1].photons:.0f} photons per bin and view")

# %% [markdown]
# ## Behind the scenes: no inverse crime
#
# `simulate` makes raw counts, as a scanner does; `problem` makes the same data ready for any solver. The thorax is made of
# ellipses: rays through them are exact, no pixel is involved. Intensities, not line integrals, are averaged over each bin.

# %%
scan = few.simulate("thorax", seed=0)
print(scan)
grid = Volume((128, 128), 2.8)
quiet = few.replace(photons=1e12, electronic=0.0).problem("thorax", volume=grid)
truth = few.truth("thorax", grid)
model = quiet.A(truth)
crime = float(np.linalg.norm(model - quiet.y) / np.linalg.norm(quiet.y))
print(f"the operator on the true pixels is {crime:.1%} off the data without noise")

# %% [markdown]
# With noise the data scatter around the operator as the noise model says: whitened, their variance is 1, if the pixels
# are small against the noise. (With photons enough, what pixels cannot say is more than the noise; then PSNR stops
# growing for a method that trusts the data.) Any solver takes the problem:

# %%
low = few.at_dose(0.001)
fine = Volume((256, 256), 1.4)
problem = low.problem("thorax", seed=0, volume=fine)
truth = low.truth("thorax", fine)
variance = float(np.mean(problem.whiten(problem.A(truth) - problem.y) ** 2))
print(f"variance of the whitened data {variance:.3f}")
image = solvers.run(solvers.CGLS(), problem, 8).x
print(f"8 steps of CGLS: {np.linalg.norm(image - truth) / np.linalg.norm(truth):.0%} off the truth")

# %% [markdown]
# ## What a protocol resolves, and what it detects
#
# PSNR does not say whether a lesion can be seen. `tasks=True` scans a cylinder of water too: the edge of a dense disc
# gives the MTF, and a model observer looks for faint discs of 10 HU.

# %%
blurred = many.replace(blur_fwhm_mm=5.0)
seen = protocol.compare(
    {"sharp": many, "blurred": blurred}, "thorax", ["fbp"], [0, 1], doses=[0.03, 0.3], tasks=True
)
print(table(seen.table()))

# %% [markdown]
# Blur takes nearly half of the resolution. For large faint discs it hardly matters; the dose does.
#
# ## MRI: the same time, spent differently
#
# MRI has no dose, but a scan time. Here every excitation measures a line, or a spoke. Eight coils receive the head.

# %%
full = recon.MRIProtocol(name="all lines", matrix=(128, 128), coils=8, snr=25.0, tr_ms=100.0)
third = full.replace(name="every third", pattern="equispaced", acceleration=3, calibration=20)
spokes = full.replace(name="spokes", pattern="golden-radial", shots=third.excitations)
spokes.picture()

# %%
mri = protocol.compare([full, third, spokes], "head", ["sense", "wavelet"], seeds=[0])
print(table(mri.table()))
mri.gallery([f"{name}, wavelet" for name in ("all lines", "every third", "spokes")])

# %% [markdown]
# The same in a shell: `rayfold protocol new ct -o a.toml`, `rayfold protocol show a.toml -o a.png`,
# `rayfold protocol compare a.toml b.toml --method fbp,tv,prior --dose 0.03,0.3 -o compared`, and
# `rayfold simulate --protocol a.toml -o scan.h5` for raw data.
#
# ## What must hold


# %%
def score(found, **where):
    """PSNR of the row that is asked for."""
    rows = [r for r in found.rows if all(r[k] == v for k, v in where.items())]
    return [row["PSNR"] for row in rows]


assert again == few and eval(repr(few), {"CTProtocol": recon.CTProtocol}) == few
assert np.isclose(equal[0].dose, equal[1].dose) and np.isclose(equal[1].photons, 6 * equal[0].photons)
assert 1e-3 < crime < 0.03  # the physics of the operator, but not its pixels
assert 0.9 < variance < 1.1
assert np.linalg.norm(image - truth) < 0.5 * np.linalg.norm(truth)
low_dose, high_dose = score(found, protocol="360 views", method="fbp")
assert high_dose > low_dose + 3  # noise is what limits many views
assert high_dose > max(score(found, protocol="60 views", method="fbp")) + 3  # streaks limit few
assert all(r["MTF50"] < s["MTF50"] for r, s in zip(seen.rows[2:], seen.rows[:2], strict=True))
assert spokes.scan_time == third.scan_time < full.scan_time
