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
# # 01 · A first reconstruction
#
# **You will learn** how a raw CT file becomes an image in three lines, what happens behind them, and how to do the
# same by hand in NumPy, PyTorch and JAX, with exact gradients. **Time**: one minute. **Hardware**: any laptop.

# %%
import tempfile
from pathlib import Path

import numpy as np

from rayfold import operators as ops
from rayfold import recon
from rayfold.operators.fbp import fbp_operator
from rayfold.operators.noise import PoissonTransmission

# %% [markdown]
# ## A raw file
#
# No download: we simulate a fan-beam scan of a thorax, with photon noise, from the exact line integrals of its parts
# (no pixel grid is involved, so the reconstruction cannot cheat) and store the raw counts with their open-beam frames.

# %%
folder = Path(tempfile.mkdtemp())
beam = ops.FanBeam.evenly(360, 512, pitch=1.45, source_to_axis=595.0, source_to_detector=1085.6)
table = recon.phantoms.thorax_table(seed=0)
raw = recon.simulate(table, beam, PoissonTransmission(photons=2e5), mu_water=recon.phantoms.MU_WATER)
from rayfold.recon.io import write_scan

print(write_scan(folder / "scan.h5", raw).name)

# %% [markdown]
# ## Three lines

# %%
scan = recon.load(folder / "scan.h5")
image = recon.fbp(scan, window="hann")
saved = recon.save(image.to_hu(scan.mu_water), folder / "image.nii.gz")

# %%
print(scan)
print(image)
recon.plot.image(image.to_hu(scan.mu_water), window=(-1000, 500))

# %% [markdown]
# ## Behind the scenes
#
# The scan knows what it holds and what is still to be done with it. `prepare` runs the usual chain, every step with a
# name: divide by the open beam, take the logarithm. The grid follows from the geometry: one bin at the rotation axis
# per pixel, wide enough for every ray.

# %%
ready = recon.prepare(scan)
print(ready.history)
volume = ops.covering(ready.beam)
print(volume)

# %% [markdown]
# Filtered back-projection is one linear operator: weights, ramp filter, back-projection. Like every operator here it
# takes NumPy, CuPy, PyTorch or JAX arrays and gives the same kind back.

# %%
inverse, note = fbp_operator(volume, ready.beam, window="hann")
by_hand = inverse(ready.data.astype(np.float32))
print(inverse.in_shape, "->", inverse.out_shape, note)
print("the same numbers:", np.abs(by_hand - image.array).max())

# %% [markdown]
# ## Further behind the scenes: the same in PyTorch and JAX
#
# The forward model is `XRay`: Joseph's line integrals, with an adjoint that is exact to rounding. That is a claim you
# can check, in the precision you work in.

# %%
A = ops.XRay(volume, ready.beam)
print(ops.dot_test(A))
print(ops.dot_test(A, dtype="float64"))

# %%
import torch

y_torch = torch.from_numpy(ready.data.astype(np.float32))
x_torch = inverse(y_torch)
print(type(x_torch).__name__, x_torch.dtype, float((x_torch - torch.from_numpy(by_hand)).abs().max()))

# %%
import jax
import jax.numpy as jnp

y_jax = jnp.asarray(ready.data, dtype=jnp.float32)
x_jax = jax.jit(inverse)(y_jax)
print(type(x_jax).__name__, x_jax.dtype, float(jnp.abs(x_jax - by_hand).max()))

# %% [markdown]
# ## Gradients
#
# The gradient of the data misfit is `A.H (A x - y)`; both libraries find it through the operator by themselves.

# %%
x0 = np.maximum(by_hand, 0)
exact = A.H(A(x0) - ready.data.astype(np.float32))

x = torch.from_numpy(x0.copy()).requires_grad_()
(0.5 * ((A(x) - y_torch) ** 2).sum()).backward()
from_jax = jax.grad(lambda v: 0.5 * jnp.sum((A(v) - y_jax) ** 2))(jnp.asarray(x0))

size = np.abs(exact).max()
print("torch", float(np.abs(x.grad.numpy() - exact).max() / size))
print("JAX  ", float(np.abs(np.asarray(from_jax) - exact).max() / size))

# %% [markdown]
# ## An iterative image of the same scan
#
# A solver is a small dataclass with `init` and `step`; `run` drives it, on any of the four libraries.

# %%
problem = recon.Problem(A, ready.data.astype(np.float32))
cgls = recon.run(recon.CGLS(), problem, 10).x
truth = recon.phantoms.ellipses(volume, table)
pictures = {"truth": truth, "FBP, Hann": image, "CGLS, 10 steps": recon.Image(cgls, volume.steps)}
hu = {name: picture.to_hu(scan.mu_water) for name, picture in pictures.items()}
recon.plot.compare(hu, reference="truth", window=(-1000, 500), data_range=2000)

# %% [markdown]
# ## What this notebook promises

# %%
assert ready.history == ("normalise", "neglog")
assert np.abs(by_hand - image.array).max() <= 1e-6 * np.abs(by_hand).max()
assert np.abs(x_torch.numpy() - by_hand).max() <= 1e-5 * np.abs(by_hand).max()
assert np.abs(np.asarray(x_jax) - by_hand).max() <= 1e-5 * np.abs(by_hand).max()
assert np.abs(x.grad.numpy() - exact).max() <= 1e-5 * size
assert np.abs(np.asarray(from_jax) - exact).max() <= 1e-5 * size
assert ops.dot_test(A) and ops.dot_test(A, dtype="float64")
middle = np.hypot(*np.meshgrid(*[c - 5 for c in volume.coordinates()], indexing="ij")) < 5
assert abs(image.array[middle].mean() / truth.array[middle].mean() - 1) < 0.02
