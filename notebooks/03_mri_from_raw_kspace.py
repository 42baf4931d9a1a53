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
# # 03 · MRI from raw k-space
#
# **You will learn** how raw data of a receive array become an image in three lines, what SENSE, wavelets and spokes do
# behind them, and how to differentiate an image with respect to the trajectory in PyTorch and JAX. **Time**: two
# minutes. **Hardware**: any laptop.

# %%
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from rayfold import operators as ops
from rayfold import recon
from rayfold.operators.fourier import ifft
from rayfold.recon import mri, plot, priors, solvers, trajectories
from rayfold.recon.io import write_kspace
from rayfold.recon.metrics import psnr

# %% [markdown]
# ## A raw file
#
# Yours, if the environment variable `RAYFOLD_SCAN` names one: Siemens twix, ISMRMRD, fastMRI, BART, on a Cartesian grid.
# Otherwise we simulate one. The head has twice as many pixels as the image will have, so that the reconstruction cannot
# cheat; eight loops receive it, with noise they share; every third line is measured, and 24 lines in the middle.

# %%
folder = Path(tempfile.mkdtemp())
n = 192
head = mri.head((2 * n, 2 * n))
lines = trajectories.equispaced(n, 3, calibration=24)
simulated = mri.simulate_kspace(head, (n, n), sampled=lines, snr=60, field_of_view=(220.0, 220.0))
measured = os.environ.get("RAYFOLD_SCAN")
path = measured or write_kspace(folder / "scan.h5", simulated)

# %% [markdown]
# ## Three lines

# %%
scan = recon.load(path)
series = recon.reconstruct(scan, "sense")
saved = series.save(folder / "head.nii.gz")

# %%
print(scan)
print(series)
plot.image(next(series.images())[1])

# %% [markdown]
# ## Behind the scenes: noise and coils
#
# A scan may have slices, echoes and repetitions. We go on with one image of them; a Nyquist ghost of an EPI is
# corrected, and readout oversampling that the file speaks of is cut. These are the lines that were measured, in white:

# %%
for name in scan.leading:
    scan = scan.take(name, scan.size(name) // 2 if name == "slice" else 0)
scan = mri.cut_readout(mri.remove_ghost(scan))
grid = scan.grid
mask = np.ones(grid, bool) if scan.sampled is None else np.broadcast_to(scan.sampled, grid)
trajectories.sampling(mask)

# %% [markdown]
# The noise of the coils is correlated. Its covariance, from the noise scan, gives a matrix that makes it independent and
# of unit variance; least squares is only then the right thing to do, and images are in units of their noise.

# %%
white = mri.whitening(scan.data, scan.noise, sampled=mask)
y = white(scan.data)
size = np.sqrt(np.diag(white.covariance).real)
print("correlation with the first coil:", abs(white.covariance[0] / (size[0] * size)).round(2))
if scan.noise is not None:
    left = mri.noise_covariance(white(scan.noise))
    print("after whitening, largest distance from the unit matrix:", abs(left - np.eye(len(left))).max())

# %% [markdown]
# Coil maps come from the fully measured centre of k-space, by ESPIRiT: the sensitivities are the eigenvectors of
# eigenvalue 1 of a small matrix at every pixel. Where no eigenvalue is near 1 there is no object, and the maps are 0.
# (They reach a little beyond the head, where the image will be noise. And the edges of the image are neighbours, as
# everywhere with Fourier transforms: coil 3, below the head, shows above it.)

# %%
block, known = (y, mask) if scan.calibration is None else (white(scan.calibration), scan.calibration_sampled)
maps, eigenvalues = mri.espirit(block, sampled=known, shape=grid, crop=0.93, soft=0.05)  # fade at the edge
if scan.n_coils == 1:
    maps = np.ones_like(maps)  # one coil tells nothing of itself
shown = {f"coil {c + 1}": abs(maps[c]) for c in range(min(4, len(maps)))}
plot.compare({**shown, "eigenvalue": eigenvalues}, window=(0, 1))

# %% [markdown]
# ## Behind the scenes: from the adjoint to SENSE to wavelets
#
# The physics is a product of three operators: coils, Fourier transform, mask. `A.H` alone is the naive image: what was
# not measured is taken as 0, and the object folds onto itself.

# %%
A = ops.CartesianMask(grid, mask.astype(np.float32)) @ ops.FFT(grid) @ ops.CoilSensitivities(maps)
print(A)
adjoint = A.H(y)
rss = mri.root_sum_of_squares(ifft(y, tuple(range(-len(grid), 0))))

# %% [markdown]
# SENSE is least squares. Conjugate gradients solve it; each coil sees the folded parts with other weights, which is what
# tells them apart.

# %%
noise = ops.Gaussian.from_weights(mask.astype(np.float32))  # no weight where nothing was measured
problem = recon.Problem(A, y, noise, "a.u.")
sense = solvers.run(solvers.CG(damping=0.01), problem, 30).x

# %% [markdown]
# Where lines are far apart SENSE amplifies noise. Images are sparse in wavelets and noise is not: an l1 penalty, of a
# strength in units of the noise, keeps the one and drops the other. It is the same problem with another solver.

# %%
from rayfold.recon.mri.methods import FACTOR, WAVELET
from rayfold.recon.strength import noise_force

strength = FACTOR["wavelet"] * noise_force(problem)
prior = priors.CycleSpinning(priors.WaveletL1(strength, WAVELET, iterations=3))  # over shifts: no blocks
wavelet = solvers.run(solvers.FISTA(prior), problem, 40).x
seen = mri.root_sum_of_squares(maps)  # 1 in the object, 0 where no coil sees anything


# %%
def without_noise(white, maps):
    """The image that all lines give, without noise, in the units and with the coils of another one."""
    full = mri.simulate_kspace(head, (n, n), snr=None)
    return abs(mri.combine_mvue(ifft(white(full.data), (1, 2)), maps)) * mri.root_sum_of_squares(maps)


images = {
    "root sum of squares": rss,
    "adjoint": abs(adjoint),
    "SENSE": abs(sense) * seen,
    "SENSE, wavelets": abs(wavelet) * seen,
}
if measured is None:
    images = {"all lines, no noise": without_noise(white, maps), **images}
spacing = scan.spacing or (1.0,) * len(grid)
pictures = {name: recon.Image(image, spacing, unit="a.u.") for name, image in images.items()}
plot.compare(pictures, reference="all lines, no noise" if measured is None else None)

# %% [markdown]
# The zero-filled images are folded: arcs of the scalp lie across the brain. What is left in SENSE is noise, strongest
# where parts of the head lay on one another, and, hardly to be seen, such arcs: the damping, 1 % of the largest
# eigenvalue, holds back a little of what the coils can barely tell apart. Wavelets lower the noise. (Brightness falls
# towards the middle, as that of the coils does. Outside the head a magnitude of noise is never negative: the pink ring.)
#
# By name, the methods do the very same.

# %%
by_name = {"SENSE": mri.solve_kspace(scan, "sense"), "SENSE, wavelets": mri.solve_kspace(scan, "wavelet")}
apart = {}
for name, x in (("SENSE", sense * seen), ("SENSE, wavelets", wavelet * seen)):
    apart[name] = float(abs(x - by_name[name].uncut).max() / abs(x).max())
print(apart)

# %% [markdown]
# ## What the data say of this image
#
# `certify` holds the residual against the noise, and splits the image into what these data see and what they do not.

# %%
checked, image = by_name["SENSE"].problem(())
certificate = recon.certify(checked, image, row="coil")
print(certificate)
shown = {f"{name}, times 20": 20 * part for name, part in certificate.figures().items()}
plot.compare({"SENSE": abs(image), **shown})

# %% [markdown]
# Chi-square is below 1 because an image with a fifth as many unknowns as data takes up a fifth of their noise; the
# certificate says so, and that the rest is no longer white. Nothing of the image is unseen at this noise. What the
# "prior", here the damping, put there: less noise than the data alone would give where parts lay on one another, and the
# faint arcs from above. Both maps are shown twenty times as bright as the image.

# %% [markdown]
# ## Spokes
#
# Off the grid the Fourier transform is a `NUFFT`. We measure the simulated head on 48 spokes, a sixth of what Nyquist
# asks for.

# %%
k = trajectories.radial(48, 2 * n)
spokes = mri.simulate_kspace(head, (n, n), trajectory=k, snr=60)
white_k = mri.whitening(noise=spokes.noise)
y_k = white_k(spokes.data)
maps_k = mri.coil_maps(recon.KSpace(y_k, spokes.axes, trajectory=k, matrix=(n, n)))[0]
A_k = ops.NUFFT((n, n), k) @ ops.CoilSensitivities(maps_k)
seen_k = mri.root_sum_of_squares(maps_k)

# %% [markdown]
# The adjoint needs density weights, as back-projection needs a ramp: the centre is measured 48 times. Iterations need no
# weights to be right, and the noise is the same in all samples; but weights make a good image in very few steps.

# %%
weights = trajectories.radial_weights(k, (n, n)).astype(np.float32)
gridding = A_k.H(weights * y_k)
plain = recon.Problem(A_k, y_k, ops.Gaussian(1.0))
weighted = recon.Problem(A_k, y_k, ops.Gaussian.from_weights(weights))
solver = solvers.CG(damping=0.01)
radial = {
    "all lines, no noise": without_noise(white_k, maps_k),
    "gridding": abs(gridding),
    "3 steps": abs(solvers.run(solver, plain, 3).x) * seen_k,
    "3 steps, weights": abs(solvers.run(solver, weighted, 3).x) * seen_k,
    "20 steps": abs(solvers.run(solver, plain, 20).x) * seen_k,
}
plot.compare(radial, reference="all lines, no noise", difference=20)

# %% [markdown]
# Gridding has streaks, most outside of the head. CG takes them away: in 3 steps with weights, in 20 without; 3 without
# are a blur. (Ringing at the slanted edges of the scalp stays: spokes measure a disc of k-space, the reference has its
# corners.)
#
# Inside, CG never goes back to the samples. `A.H A` is a convolution, two FFTs of twice the grid whatever the number of
# samples, and `A.gram` is that.


# %%
def seconds(f, x, repeats=5):
    """The best of some calls, after a first."""
    times = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        f(x)
        times.append(time.perf_counter() - begin)
    return min(times[1:])


used = solver.init(plain).gram
print(used)
by_convolution, by_samples = seconds(used, gridding), seconds(lambda x: A_k.H(A_k(x)), gridding)
error = float(abs(used(gridding) - A_k.H(A_k(gridding))).max() / abs(used(gridding)).max())
print(
    f"{1e3 * by_samples:.0f} ms through {y_k.size:,} samples, {1e3 * by_convolution:.0f} ms as a convolution:"
)
print(f"{by_samples / by_convolution:.1f} times faster, relative difference {error:.0e}")

# %% [markdown]
# ## Off-resonance
#
# A long spiral meets a field that is not the same everywhere: spins turn while they are read, and the image blurs.
# `OffResonance` turns the image at a few points in time, and the basis of a `NUFFT` interpolates between them.

# %%
m = 96
swirl = trajectories.spiral(2, m, field_of_view=220.0, dwell=0.005)
times = np.broadcast_to(0.005 * np.arange(swirl.shape[1]), swirl.shape[:2])  # ms
down, right = np.meshgrid(*[2 * (np.arange(m) - m // 2) / m] * 2, indexing="ij")
field = 90 * np.exp(-((right - 0.1) ** 2 + (down + 0.5) ** 2) / 0.15) - 20 * right  # Hz, as near the sinuses
few = ops.time_segments(times, field)
print(f"{times.max():.1f} ms, {len(few.centres)} segments, error {few.error:.0e}")

S = ops.CoilSensitivities(mri.loop_coils((m, m), 4))
on = ops.NUFFT((m, m), swirl) @ S
off = ops.NUFFT((m, m), swirl, basis=few.basis) @ ops.OffResonance(field, tuple(few.centres)) @ S
object_ = mri.head((m, m))
y_off = off(object_) + ops.Gaussian(0.01).sample(np.zeros(off.out_shape, np.complex64), seed=0)

# the definition, at one sample of all coils
at, r = (1, 2500), np.arange(m) - m // 2
turn = np.exp(-1j * (swirl[at][0] * r[:, None] + swirl[at][1] * r) - 2e-3j * np.pi * field * times[at])
exact = (turn * S(object_)).sum(axis=(1, 2)) / m
modelled = off(object_)[(slice(None), *at)]
print(f"against the sum over all voxels: {abs(modelled - exact).max() / abs(exact).max():.0e}")

# %%
corrected = {"truth": abs(object_)}
for name, A_s in (("field ignored", on), ("field in the model", off)):
    corrected[name] = abs(solvers.run(solvers.CG(damping=0.01), recon.Problem(A_s, y_off), 20).x)
print(
    {
        name: round(psnr(x, corrected["truth"], data_range=1.0), 1)
        for name, x in corrected.items()
        if name != "truth"
    }
)
plot.compare(corrected)

# %% [markdown]
# The field blurs the forehead, where it is strongest; with the field in the model what is left is noise.

# %% [markdown]
# ## Gradients with respect to the trajectory
#
# Which spokes would measure this head best? The trajectory is an operand of `NUFFT`: bind one from your graph, and
# everything made with it can be differentiated. Here the whole of it: simulate, reconstruct by CG, compare. The same
# function serves PyTorch, JAX and NumPy.

# %%
size = 64
small = mri.head((size, size)).astype(complex)
start = 0.98 * trajectories.radial(20, size)
F = ops.NUFFT((size, size), start)


def mistake(k, x):
    """Relative squared error of an image from samples along k."""
    A = F.bind(trajectory=k)
    back = solvers.run(solvers.CG(), recon.Problem(A, A(x)), 6).x
    return (abs(back - x) ** 2).sum() / (abs(x) ** 2).sum()


# %%
import torch

in_torch = torch.from_numpy(start.copy()).requires_grad_()
x_torch = torch.from_numpy(small)
mistake(in_torch, x_torch).backward()
g_torch = in_torch.grad.numpy()

# %%
import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)
g_jax = np.asarray(jax.grad(mistake)(jnp.asarray(start), jnp.asarray(small)))

# %%
direction = np.random.default_rng(0).normal(size=start.shape)
h = 1e-6
quotient = (mistake(start + h * direction, small) - mistake(start - h * direction, small)) / (2 * h)
slope = float((g_torch * direction).sum())
print(f"torch against JAX: {abs(g_torch - g_jax).max() / abs(g_jax).max():.0e}")
print(f"along a direction {slope:.8f}, by difference {quotient:.8f}")

# %% [markdown]
# A few steps of Adam bend the spokes. A gradient system cannot follow any path: nine slow functions of time along each
# spoke keep it smooth (what a scanner allows is told by `trajectories.check_limits`). And learn from many images, not
# from one.

# %%
slow = np.cos(np.pi * np.outer(np.arange(9), np.arange(size) + 0.5) / size)
bends = torch.zeros(len(start), 9, 2, dtype=torch.float64, requires_grad=True)
adam = torch.optim.Adam([bends], lr=0.005)


def path():
    """Spokes and their bends, within the k-space of the image."""
    return (torch.from_numpy(start) + torch.einsum("sbd,bt->std", bends, torch.from_numpy(slow))).clamp(
        -np.pi, np.pi
    )


errors = []
for _ in range(20):
    adam.zero_grad()
    now = mistake(path(), x_torch)
    now.backward()
    errors.append(now.item())
    adam.step()
bent = path().detach().numpy()
errors.append(float(mistake(bent, small)))
print(f"squared error {errors[0]:.4f} before, {errors[-1]:.4f} after {len(errors) - 1} steps")
trajectories.sampling(bent)

# %% [markdown]
# ## What must hold

# %%
assert max(apart.values()) < 1e-4  # by hand and by name
assert bool((abs(eigenvalues) < 1.01).all())
if measured is None:
    left = mri.noise_covariance(white(scan.noise))
    np.testing.assert_allclose(left, np.eye(8), atol=1e-5)
    clean = images["all lines, no noise"]
    score = {name: psnr(image, clean, data_range=float(clean.max())) for name, image in images.items()}
    assert score["SENSE"] > score["adjoint"] + 5
    assert score["SENSE, wavelets"] > score["SENSE"] + 2
    assert certificate.p_value > 0.01 and certificate.unseen_share < 0.01
score = {name: psnr(x, radial["all lines, no noise"], data_range=100.0) for name, x in radial.items()}
assert score["3 steps, weights"] > score["gridding"] + 2 and score["20 steps"] > score["3 steps"] + 5
assert psnr(corrected["field in the model"], corrected["truth"], data_range=1.0) > 34  # ignored: below 28
assert error < 1e-4 and by_convolution < by_samples
np.testing.assert_allclose(modelled, exact, atol=1e-3 * abs(exact).max())
np.testing.assert_allclose(g_torch, g_jax, atol=1e-9 * abs(g_jax).max())
assert abs(quotient / slope - 1) < 1e-4
assert errors[-1] < 0.85 * errors[0]
