"""Other people's networks from a local file, as denoisers: deepinv, TorchScript, torch.export, diffusion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rayfold.recon.checks import positive
from rayfold.recon.errors import InconsistentInput, UnreadableInput
from rayfold.recon.priors.denoiser import Denoise, from_torch

KINDS = ("drunet", "ram", "torchscript", "export")


def load_denoiser(
    path: str | Path, kind: str, *, scale: float = 1.0, options: Mapping[str, Any] | None = None
) -> Denoise:
    """A denoiser from a file on this machine; nothing is downloaded, and no code in the file is run.

    Parameters
    ----------
    path : str or Path
        For "drunet" and "ram" a checkpoint of weights (``.pth``, read with ``weights_only=True``) of the
        networks of deepinv, which must be installed; for "torchscript" what ``torch.jit.save`` wrote, for
        "export" what ``torch.export.save`` wrote: programs of ``f(images, sigma)`` with images
        ``(batch, 1, ny, nx)`` and sigma ``(batch, 1, 1, 1)``.
    kind : {"drunet", "ram", "torchscript", "export"}
        What the file holds. For a module in memory see `from_torch`, for one that predicts noise
        `from_epsilon`.
    scale : float
        One unit of the network in units of the image.
    options : mapping, optional
        Arguments of deepinv's ``DRUNet`` or ``RAM`` other than their defaults here: one channel in and out
        for DRUNet.

    Returns
    -------
    callable
        ``denoise(x, sigma)`` for `PlugAndPlay`, arrays of every library.

    Raises
    ------
    UnreadableInput
        If the file is missing or damaged.
    InconsistentInput
        If the weights are not of that network.
    ValueError, ImportError
        If the kind is unknown, or deepinv is not installed.

    References
    ----------
    K. Zhang et al., IEEE Trans. PAMI 44 (2022) 6360, DRUNet; M. Terris, S. Hurault, M. Song and J. Tachella,
    arXiv:2503.08915, RAM.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; it must be one of {', '.join(KINDS)}")
    if options is not None and kind not in ("drunet", "ram"):
        raise ValueError(f"a {kind} file is complete; options are for drunet and ram")
    path = Path(path)
    if not path.is_file():
        raise UnreadableInput(f"there is no file {path}; give a checkpoint on this machine")
    if kind in ("drunet", "ram"):
        return _deepinv(path, kind, scale, dict(options or {}))
    return from_torch(_program(path, kind), scale=scale)


def _program(path: Path, kind: str) -> Any:
    import torch

    try:
        if kind == "torchscript":
            return torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
        return torch.export.load(path).module()
    except Exception as error:  # torch raises RuntimeError, OSError, KeyError, zip and pickle errors alike
        raise UnreadableInput(f"cannot read {path.name} as {kind}; was it saved for another kind?") from error


def _deepinv(path: Path, kind: str, scale: float, options: dict[str, Any]) -> Denoise:
    try:
        from deepinv import models, physics
    except ImportError as error:
        raise ImportError(f"{kind} needs deepinv: pip install deepinv") from error
    if kind == "drunet":
        options = {"in_channels": 1, "out_channels": 1} | options
    net = (models.DRUNet if kind == "drunet" else models.RAM)(**options | {"pretrained": None})
    try:
        net.load_state_dict(_weights(path))
    except RuntimeError as error:
        raise InconsistentInput(
            f"the weights of {path.name} are not of {kind} as it was made; give its options"
        ) from error
    net = net.eval().requires_grad_(False)
    if kind == "drunet":
        return from_torch(lambda x, level: net(x, level.reshape(-1)), scale=scale)

    def each(x: Any, level: Any) -> Any:
        """RAM takes one level for a batch."""
        import torch

        noisy = [physics.Denoising(physics.GaussianNoise(float(s))) for s in level.reshape(-1)]
        return torch.cat([net(image[None], task) for image, task in zip(x, noisy, strict=True)])

    return from_torch(each, scale=scale)


def _weights(path: Path) -> Any:
    import torch

    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # no checkpoint, or one that would run code: many kinds
        raise UnreadableInput(
            f"cannot read {path.name} as weights alone; save a state_dict with torch.save"
        ) from error
    return held.get("state_dict", held) if isinstance(held, Mapping) else held


def from_epsilon(
    network: Callable[[Any, Any], Any],
    alphas_cumprod: Sequence[float],
    *,
    scale: float = 1.0,
    offset: float = 0.0,
    whole: bool = False,
) -> Denoise:
    """A denoiser from a diffusion network that predicts noise, as those of diffusers.

    The network was trained on ``x_t = sqrt(a_t) x + sqrt(1 - a_t) n`` to give n. An image ``x + sigma n``
    times ``1 / sqrt(1 + sigma^2)`` is such an x_t where ``(1 - a_t) / a_t = sigma^2``, so that

        ``denoise(x, sigma) = x - sigma network(x / sqrt(1 + sigma^2), t(sigma))``.

    Between the steps t is interpolated linearly in ``log sigma``.

    Parameters
    ----------
    network : callable
        From images ``(batch, 1, ny, nx)`` and steps t ``(batch,)`` to the noise, or to an object that holds
        it as ``sample``, as ``UNet2DModel`` of diffusers.
    alphas_cumprod : sequence of float, (steps,)
        The a_t, falling from about 1 to about 0: ``scheduler.alphas_cumprod``.
    scale, offset : float
        A real image is ``scale * u + offset`` where u is what the network was trained on: 0.02 and 0.02 for
        values from -1 to 1 there and an image from 0 to 0.04 / mm.
    whole : bool
        Round t, for networks that know whole steps only.

    Raises
    ------
    ValueError
        If the a_t do not fall between 1 and 0; in use, if sigma is larger than that of the last step.

    References
    ----------
    J. Ho, A. Jain and P. Abbeel, NeurIPS 2020; J. Song, C. Meng and S. Ermon, ICLR 2021, eq. 12 for the noise
    level in units of the image; T. Karras et al., NeurIPS 2022, appendix C, for the change of scale.

    Examples
    --------
    >>> import torch
    >>> steps = np.linspace(0.999, 0.01, 100)
    >>> def normal(x, t):  # knows the noise in x for standard normal images, where x has variance 1 at all t
    ...     a = torch.as_tensor(np.interp(t, np.arange(100), steps), dtype=x.dtype)
    ...     return (1 - a).sqrt()[:, None, None, None] * x
    >>> from_epsilon(normal, steps, whole=True)(np.array([[2.0]]), float(np.sqrt(1 / steps[49] - 1))).round(3)
    array([[1.019]])
    """
    positive(scale=scale)
    a = np.asarray(alphas_cumprod, np.float64)
    if a.ndim != 1 or len(a) < 2 or not (np.diff(a) < 0).all() or not 0 < a[-1] < a[0] < 1:
        raise ValueError("alphas_cumprod must be a list of numbers that fall from below 1 to above 0")
    logs = 0.5 * np.log((1 - a) / a)

    def through(x: Any, level: Any) -> Any:
        import torch

        sigma = level.reshape(-1)
        largest = float(sigma.max())
        if largest > 1.001 * np.exp(logs[-1]):
            raise ValueError(
                f"sigma is {largest * scale:.3g}; the last step of this network is for "
                f"{np.exp(logs[-1]) * scale:.3g}, in units of the image"
            )
        wanted = np.log(np.maximum(sigma.detach().cpu().numpy().astype(np.float64), 1e-12))
        t = np.interp(wanted, logs, np.arange(len(a)))
        steps = torch.as_tensor(np.rint(t).astype(np.int64) if whole else t, device=x.device)
        steps = steps if whole else steps.to(x.dtype)
        shifted = x - offset / scale
        noise = network(shifted / (1 + level**2).sqrt(), steps)
        return x - level * getattr(noise, "sample", noise)

    through.parameters = getattr(network, "parameters", lambda: iter(()))  # type: ignore[attr-defined]
    return from_torch(through, scale=scale)
