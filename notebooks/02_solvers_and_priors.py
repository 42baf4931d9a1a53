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
# # 02 · Solvers and priors
#
# **You will learn** to state a reconstruction as a problem, to solve it in six ways, to write a prior and a solver of
# your own in ten lines each, and to exchange operators with ODL and ASTRA. **Time**: two minutes. **Hardware**: any
# laptop.

# %%
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from rayfold import operators as ops
from rayfold import recon
from rayfold.operators.noise import PoissonTransmission
from rayfold.recon import plot, priors, solvers
from rayfold.recon.ellipses import ellipse_sinogram
from rayfold.recon.metrics import psnr, ssim
from rayfold.recon.strength import noise_force

# %% [markdown]
# ## One problem
#
# A problem is an operator, the data and how they scatter. Here: 60 views of a thorax with 20,000 photons per detector
# pixel, from exact line integrals.

# %%
volume = ops.Volume((192, 192), spacing=2.0)
beam = ops.FanBeam.evenly(60, 288, pitch=2.2, source_to_axis=595.0, source_to_detector=1085.6)
table = recon.phantoms.thorax_table(seed=3)
noise = PoissonTransmission(photons=2e4)
y = noise.sample(ellipse_sinogram(table, beam, sub_bins=4).astype(np.float32), seed=0)
truth = recon.phantoms.ellipses(volume, table)

A = ops.XRay(volume, beam)
problem = recon.Problem(A, y, noise, x_unit="1/mm")
print(problem.A)

# %% [markdown]
# ## Six solvers
#
# A solver is a frozen dataclass; its prior is one of its fields; step sizes it finds by itself. The weight of a penalty
# has a natural unit too: the force with which noise alone pulls at a pixel.

# %%
force = noise_force(problem)
tv, positive = priors.TV(0.5 * force), priors.NonNegative()
tries = {
    "CGLS": (solvers.CGLS(), 25),
    "SART": (solvers.SART(subsets=6, lower=0.0), 5),
    "OS-SQS, Huber TV": (solvers.OSSQS(priors.HuberTV(0.5 * force, corner=2e-4), subsets=6, lower=0.0), 20),
    "FISTA, wavelets": (solvers.FISTA(priors.WaveletL1(force)), 200),
    "ADMM, TV": (solvers.ADMM((tv, positive)), 40),
    "PDHG, TV": (solvers.PDHG((tv, positive)), 150),
}
fbp = ops.fbp_operator(volume, beam, window="hann")[0](y)
images, rows = {"truth": truth, "FBP": fbp}, []
for name, (solver, steps) in tries.items():
    begin = time.perf_counter()
    images[name] = solvers.run(solver, problem, steps, x0=None if name == "CGLS" else np.maximum(fbp, 0)).x
    rows.append((name, steps, time.perf_counter() - begin))

# %%
width = 0.04  # range of values that PSNR and SSIM refer to, in 1/mm
print(f"{'solver':<18} {'steps':>5} {'seconds':>8} {'PSNR':>6} {'SSIM':>6}")
for name, steps, seconds in rows:
    quality = (
        psnr(images[name], truth.array, data_range=width),
        ssim(images[name], truth.array, data_range=width),
    )
    print(f"{name:<18} {steps:>5} {seconds:>8.2f} {quality[0]:>6.2f} {quality[1]:>6.3f}")

# %%
shown = {k: v if k == "truth" else recon.Image(v, volume.steps) for k, v in images.items()}
plot.compare(shown, reference="truth", window=(0.0, 0.03), data_range=width)

# %% [markdown]
# ## Why it stopped
#
# `run` stops at a budget, when nothing changes any more, or when the data are explained to within their noise; the
# result says which.

# %%
found = solvers.run(solvers.CGLS(), problem, 100, stop=solvers.Discrepancy())
print(found)
assert found.stopped == "discrepancy"

# %% [markdown]
# ## A new prior in ten lines
#
# A prior offers what it can: here a proximal operator. This one pulls every pixel towards the nearest of some known
# materials.


# %%
@dataclass(frozen=True)
class Materials(priors.Prior):
    """``strength / 2`` times the squared distance to the nearest known value."""

    values: tuple[float, ...]
    strength: float

    def prox(self, x, step):
        levels = np.asarray(self.values, x.dtype)
        nearest = levels[np.abs(x[..., None] - levels).argmin(-1)]
        return (x + step * self.strength * nearest) / (1 + step * self.strength)


mu = recon.phantoms.MU_WATER
start = images["PDHG, TV"]
pulled = Materials((0.0, 0.26 * mu, mu), strength=200 * force)
with_materials = solvers.run(solvers.ProximalGradient(pulled), problem, 20, x0=start).x
print(f"{psnr(with_materials, truth.array, data_range=width):.2f} dB")

# %% [markdown]
# ## A new solver in ten lines
#
# `init` makes a state, `step` the next one; both are pure, so the same code runs in NumPy, CuPy, torch and JAX, under
# `jit`, unrolled into a network, or to a fixed point.


# %%
class State(NamedTuple):
    x: object
    residual: object


@dataclass(frozen=True)
class SteepestDescent:
    """Gradient descent with the exact line search of a quadratic."""

    def init(self, problem, x0=None):
        x = 0 * problem.A.H(problem.y) if x0 is None else x0
        return State(x, (problem.y**2).sum() ** 0.5)

    def step(self, problem, state):
        r = problem.y - problem.A(state.x)
        g = problem.A.H(problem.weigh(r))
        Ag = problem.A(g)
        x = state.x + (g * g).sum() / (Ag * problem.weigh(Ag)).sum() * g
        return State(x, (r * problem.weigh(r)).sum() ** 0.5)


seen = []
descended = solvers.run(SteepestDescent(), problem, 15, callback=lambda s: seen.append(s.residual)).x
assert all(after <= before for before, after in pairwise(seen[1:]))

# %% [markdown]
# The same solver, unchanged, on a torch tensor with a gradient:

# %%
import torch

data = torch.as_tensor(y).requires_grad_()
in_torch = solvers.run(SteepestDescent(), recon.Problem(A, data, noise), 15).x
in_torch.square().sum().backward()
np.testing.assert_allclose(in_torch.detach().numpy(), descended, atol=1e-4 * np.abs(descended).max())
print(f"gradient of the image's energy with respect to the data: {tuple(data.grad.shape)}")

# %% [markdown]
# ## The same operator inside ODL, and ASTRA's in our solvers
#
# Bridges go both ways. ODL and ASTRA come with the extras `odl` and `astra`; nothing here needs them otherwise.

# %%
from rayfold.operators.adapters.odl import to_odl

y64 = y.astype(np.float64)
theirs = to_odl(A, dtype=np.float64)
import odl

x_odl = theirs.domain.zero()
odl.solvers.conjugate_gradient_normal(theirs, x_odl, theirs.range.element(y64), niter=8)
ours = solvers.run(solvers.CGLS(), recon.Problem(A, y64), 8).x
print(
    f"ODL's CGNE against CGLS, relative difference {np.abs(x_odl.asarray() - ours).max() / np.abs(ours).max():.1e}"
)

# %%
import astra

from rayfold.operators.adapters.astra import from_astra

grid = astra.create_vol_geom(192, 192)
rays = astra.create_proj_geom("parallel", 1.0, 288, np.linspace(0, np.pi, 60, endpoint=False))
B = from_astra(astra.create_projector("linear", rays, grid))
image = truth.array.astype(np.float32)
back = solvers.run(solvers.CGLS(), recon.Problem(B, B(image)), 20).x
print(ops.dot_test(B))
print(f"{psnr(back, image, data_range=width):.2f} dB by CGLS on ASTRA's projector")

# %% [markdown]
# ## What must hold

# %%
score = {name: psnr(images[name], truth.array, data_range=width) for name in images if name != "truth"}
assert max(score, key=score.get) not in ("FBP", "CGLS", "SART")  # a prior pays at 60 views
assert score["PDHG, TV"] > score["FBP"] + 5
np.testing.assert_allclose(x_odl.asarray(), ours, atol=1e-9 * np.abs(ours).max())
