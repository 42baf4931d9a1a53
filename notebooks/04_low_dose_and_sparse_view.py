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
# # 04 · Low dose and sparse view
#
# **You will learn** what the learned prior makes of a scan at a low dose and of one with few views, to read what the data
# support of it, and to draw images that the same data allow just as well. **Time**: about a minute. **Hardware**: any
# laptop.

# %%
import time

import matplotlib.pyplot as plt
import numpy as np

from rayfold import operators as ops
from rayfold import recon
from rayfold.operators.noise import PoissonTransmission
from rayfold.recon.evidence import certify_scan
from rayfold.recon.foundation import FoundationPrior
from rayfold.recon.foundation.sampling import sample, spread_of
from rayfold.recon.metrics import psnr, ssim

# %% [markdown]
# ## Two scans of one chest
#
# The chest is drawn with a fine texture on a grid three times as fine as that of the images, so that no reconstruction
# can profit from the pixels of the simulation. One scan has all its views and few photons, the other few views.

# %%
n, fine = 128, 3
volume = ops.Volume((n, n), spacing=3.0)
chest = recon.phantoms.thorax(ops.Volume((fine * n, fine * n), spacing=3.0 / fine), seed=4, texture=0.04)
truth = chest.array.reshape(n, fine, n, fine).mean((1, 3))


def scan(views: int, photons: float) -> recon.Scan:
    """Line integrals through the fine chest with the noise of counted photons."""
    beam = ops.FanBeam.evenly(views, 224, pitch=3.2, source_to_axis=595.0, source_to_detector=1085.6)
    noise = PoissonTransmission(photons)
    clean = ops.XRay(ops.Volume(chest.shape, spacing=3.0 / fine), beam)(chest.array)
    return recon.Scan(noise.sample(clean, seed=0).astype(np.float32), beam, "attenuation", photons=photons)


scans = {"low dose": scan(240, 1000), "60 views": scan(60, 2e4)}

# %% [markdown]
# ## Three methods, one call
#
# `method="prior"` alternates between the data, through the same exact projector, and one network that was trained on
# synthetic images only. It is told how much noise there is, from the photons; nothing is tuned.

# %%
width = 0.04  # range of values that PSNR and SSIM refer to, in 1/mm
images, scores = {}, {}
for name, each in scans.items():
    for method, options in {"fbp": {"window": "hann"}, "tv": {"iterations": 120}, "prior": {}}.items():
        begin = time.perf_counter()
        made = recon.reconstruct(each, method, grid=n, spacing=3.0, **options)
        seconds = time.perf_counter() - begin
        images[name, method] = made
        scores[name, method] = psnr(made.array, truth, data_range=width)
        similar = ssim(made.array, truth, data_range=width)
        print(f"{name:<9} {method:<6} {scores[name, method]:5.1f} dB   SSIM {similar:.3f}   {seconds:5.1f} s")

# %%
columns = ("truth", "fbp", "tv", "prior")
figure, axes = plt.subplots(2, 4, figsize=(12, 6.4), layout="constrained")
for row, name in zip(axes, scans, strict=True):
    for place, column in zip(row, columns, strict=True):
        shown = truth if column == "truth" else images[name, column].array
        place.imshow(shown[16:112, 2:126], cmap="gray", vmin=0, vmax=0.03)
        score = "" if column == "truth" else f" {scores[name, column]:.1f} dB"
        place.set_title(f"{column}{score}", fontsize=10)
        place.set_axis_off()
    row[0].text(-0.06, 0.5, name, transform=row[0].transAxes, rotation=90, va="center")

# %% [markdown]
# ## What the data support
#
# A sharp image is not evidence. The certificate holds the residual against the noise, and says how much of the image
# lies where the data say nothing, and how much of that the prior put there. Pixels cannot hold what is finer than they
# are: the true image on this grid leaves a residual above the noise too, which is printed for comparison.

# %%
certificates = {name: certify_scan(each, images[name, "prior"])[0] for name, each in scans.items()}
for name, certificate in certificates.items():
    print(f"--- {name}\n{certificate.summary()}")
    on_grid = certify_scan(scans[name], recon.Image(truth.astype(np.float32), volume.steps, unit="1/mm"))[0]
    print(f"(the true image on this grid: chi-square {on_grid.chi_square:.3g})\n")

# %% [markdown]
# ## Other images that the data allow
#
# Samples of the posterior: each agrees with the data and with the prior. Where they differ, the image is the prior's
# word alone. Their spread is a map of that, in units of the image.

# %%
sparse = scans["60 views"]
problem = recon.Problem(ops.XRay(volume, sparse.beam), sparse.data, PoissonTransmission(2e4), x_unit="1/mm")
samples = sample(FoundationPrior.load(), problem, 6, steps=8, seed=1)
mean, spread = spread_of(samples)
error = np.abs(mean - truth)

figure, axes = plt.subplots(1, 4, figsize=(12, 3.4), layout="constrained")
panels = {"sample 1": samples[0], "sample 2": samples[1], "spread": spread, "error of the mean": error}
for place, (title, values) in zip(axes, panels.items(), strict=True):
    kind = {"cmap": "gray", "vmax": 0.03} if "sample" in title else {"cmap": "magma", "vmax": 0.004}
    place.imshow(values[16:112, 2:126], vmin=0, **kind)
    place.set_title(title, fontsize=10)
    place.set_axis_off()

# %%
inside = truth > 1e-3
order = np.argsort(spread[inside])
quarters = [float(part.mean()) for part in np.array_split(error[inside][order], 4)]
print("mean error by quarter of the spread, in 1/m: ", " ".join(f"{1e3 * q:.2f}" for q in quarters))

# %%
for name in scans:
    assert scores[name, "prior"] > scores[name, "fbp"] + 2, "the prior is far above filtered back-projection"
    assert certificates[name].adjoint_error < 1e-5, "the operator and its adjoint are one"
assert psnr(mean, truth, data_range=width) > scores["60 views", "prior"] - 0.5, (
    "the samples agree in the mean"
)
assert quarters[3] > 1.3 * quarters[0], "the image is wrong where the samples differ"
