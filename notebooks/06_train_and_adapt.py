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
# # 06 · Train and adapt
#
# **You will learn** to train the prior from a configuration, to interrupt and continue it, and to make the shipped prior
# better for your own objects from a few of your own scans, without a true image. **Time**: a minute and a half.
# **Hardware**: any laptop.

# %%
from dataclasses import replace
from pathlib import Path

import numpy as np

from rayfold import operators as ops
from rayfold import recon
from rayfold.recon import phantoms, plot
from rayfold.recon.foundation import FoundationPrior
from rayfold.recon.foundation.adapt import adapt, save
from rayfold.recon.metrics import psnr
from rayfold.recon.train.config import names, read_config
from rayfold.recon.train.record import curves, read_losses
from rayfold.recon.train.run import train

# %% [markdown]
# ## Training
#
# A training is a configuration and a folder: `rayfold train denoiser-small -o run` on the command line. Everything is
# drawn from seeds, so the same configuration gives the same weights; nothing is downloaded, nothing is anybody's image.
# Here a toy of it: the real one takes 12,000 steps and begins at random, this one continues from the shipped weights.

# %%
print(names())
small = read_config("denoiser-small")
toy = replace(
    small,
    steps=24,
    start="small",
    rate=1e-5,
    warmup=0,
    precision="float32",
    images=replace(small.images, side=64, window=12, hold=4),
    denoise=replace(small.denoise, batch=4, side=48),
)
print(toy.to_toml())

# %% [markdown]
# It stops after every interrupt with a whole file, and goes on with `--resume` as if nothing had happened.

# %%
done = train(toy, "run", device="cpu")
print(done)
curves(read_losses(Path("run/loss.csv"), done.done))

# %% [markdown]
# ## Adaptation
#
# Foam is a family that training never sees. Six scans of it, 24 views each with 2 % noise: four to learn from, two that
# are met only at the end.

# %%
side, views = 48, 24
A = ops.XRay(ops.Volume((side, side)), ops.ParallelBeam.evenly(views, side + 20))
truth = np.stack([phantoms.foam((side, side), seed) for seed in range(6)])
clean = A(truth)
noise = ops.Gaussian(float(0.02 * clean.mean()))
y = noise.sample(clean, seed=1).astype(np.float32)
ours, theirs = recon.Problem(A, y[:4], noise), recon.Problem(A, y[4:], noise)

# %% [markdown]
# **Without true images.** Some of the measured views are hidden from the network, which has to predict them. A tenth of
# the views is not even used for that, and decides which weights are kept. `mode="gain"` trains one factor for each block
# and the schedule, 62 numbers in all; "lora" a change of rank four for each convolution, "full" everything.
#
# A caution: the network learns for scans from which views are missing. Where views are few, as here, that is another
# task than the scan itself; look at images before you trust what was gained on data.

# %%
prior = FoundationPrior.load("small", device="cpu")
adapted = adapt(prior, ours, mode="gain", loss="splitting", steps=12, rate=0.03, every=4, batch=2)
record = adapted.card["adapted"]
print(
    *(
        f"step {k}: held-out data missed by {v:.4f}"
        for k, v in zip(record["steps"], record["held_out"], strict=True)
    ),
    sep="\n",
)

# %% [markdown]
# **With true images**, simulated or from a longer scan, nothing has to be hidden; a scan decides when to stop.

# %%
from rayfold.recon.train.sample import Sample

taught = adapt(prior, Sample(ours, truth[:4]), mode="full", loss="supervised", steps=12, every=4)

# %%
found = {
    "prior": prior.restore(ours),
    "without truth": adapted.restore(ours),
    "with truth": taught.restore(ours),
}
shown = {"truth": truth[0], **{name: x[0] for name, x in found.items()}}
plot.compare({k: recon.Image(v, (1.0, 1.0)) for k, v in shown.items()}, reference="truth", data_range=1.0)

# %% [markdown]
# On scans that it adapted to, and on two that it did not:

# %%
score = {
    name: (
        psnr(who.restore(ours), truth[:4], data_range=1.0),
        psnr(who.restore(theirs), truth[4:], data_range=1.0),
    )
    for name, who in (("prior", prior), ("without truth", adapted), ("with truth", taught))
}
for name, (own, other) in score.items():
    print(f"{name:<14} {own:.2f} dB on its own scans, {other:.2f} dB on others")

# %% [markdown]
# The file is like any other: `rayfold recon scan --method prior --weights adapted.safetensors`. The shipped weights are
# never written over. On the command line: `rayfold train --adapt scan.h5 -o adapted.safetensors`.

# %%
save("adapted.safetensors", adapted)
again = FoundationPrior.load("adapted.safetensors", device="cpu")
np.testing.assert_allclose(again.restore(ours), found["without truth"], atol=0.02)
assert done.done == toy.steps
assert min(record["held_out"]) < record["held_out"][0]
assert score["with truth"][0] > score["prior"][0]
