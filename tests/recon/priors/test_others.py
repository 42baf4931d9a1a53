"""Networks of others from files, and those that predict noise: exact for Gaussian images."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rayfold.recon.errors import InconsistentInput, UnreadableInput  # noqa: E402
from rayfold.recon.priors import PlugAndPlay  # noqa: E402
from rayfold.recon.priors.others import from_epsilon, load_denoiser  # noqa: E402

MEAN, STD = 0.3, 0.7  # of Gaussian images of independent pixels
STEPS = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))  # of Ho et al. 2020


def exact(x, sigma):
    return (STD**2 * x + sigma**2 * MEAN) / (STD**2 + sigma**2)


class Predicts(torch.nn.Module):
    """The exact noise for Gaussian images, at whole and fractional steps."""

    def __init__(self, wrapped=False):
        super().__init__()
        self.wrapped = wrapped
        self.logs = torch.as_tensor(0.5 * np.log((1 - STEPS) / STEPS))

    def forward(self, x, t):
        below = t.floor().long().clamp(0, len(STEPS) - 2)
        part = t - below
        s2 = ((1 - part) * self.logs[below] + part * self.logs[below + 1]).exp().reshape(-1, 1, 1, 1) ** 2
        a = 1 / (1 + s2)
        noise = (1 - a).sqrt() * (x - a.sqrt() * MEAN) / (a * STD**2 + 1 - a)
        return type("Output", (), {"sample": noise})() if self.wrapped else noise


@pytest.mark.parametrize("sigma", [0.02, 0.37, 1.0, 30.0])
def test_noise_prediction_of_gaussian_images_is_exact(rng, sigma):
    x = rng.standard_normal((2, 5, 6)) * (1 + sigma)
    for network in (Predicts(), Predicts(wrapped=True)):
        np.testing.assert_allclose(
            from_epsilon(network, STEPS)(x, sigma), exact(x, sigma), rtol=1e-9, atol=1e-9
        )


def test_noise_below_the_first_step_is_hardly_touched(rng):
    x = rng.standard_normal((5, 6))
    np.testing.assert_allclose(from_epsilon(Predicts(), STEPS)(x, 1e-5), x, atol=1e-4)


def test_whole_steps_and_levels_for_each_image(rng):
    x = rng.standard_normal((3, 5, 6))
    sigma = np.sqrt(1 / STEPS[[50, 300, 700]] - 1).reshape(3, 1, 1)
    for whole in (False, True):
        found = from_epsilon(Predicts(), STEPS, whole=whole)(x, sigma)
        np.testing.assert_allclose(found, exact(x, sigma), rtol=1e-9, atol=1e-9)


def test_units_of_a_diffusion_network(rng):
    """Values from -1 to 1 of the network are attenuations from 0 to 0.04."""
    u = rng.standard_normal((5, 6))
    denoise = from_epsilon(Predicts(), STEPS, scale=0.02, offset=0.02)
    np.testing.assert_allclose(denoise(0.02 * u + 0.02, 0.02 * 0.4), 0.02 * exact(u, 0.4) + 0.02, rtol=1e-9)


def test_gradient_and_prior(rng):
    prior = PlugAndPlay(from_epsilon(Predicts(), STEPS), sigma=0.4)
    x = torch.as_tensor(rng.standard_normal((3, 4))).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: prior.prox(a, 1.0), x)


@pytest.mark.parametrize("steps", [[0.5], [0.1, 0.9], [1.0, 0.5], [0.5, 0.0], [[0.9, 0.5]]])
def test_no_schedule(steps):
    with pytest.raises(ValueError, match="alphas_cumprod must be a list"):
        from_epsilon(Predicts(), steps)


def test_noise_beyond_the_last_step():
    with pytest.raises(ValueError, match="sigma is 1e\\+03; the last step of this network is for 15"):
        from_epsilon(Predicts(), STEPS)(np.ones((4, 4)), 1e3)


# --- files ---


class Halves(torch.nn.Module):
    def forward(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return x / (1 + sigma**2)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_programs_from_files(rng, tmp_path):
    x = rng.random((2, 7, 6)).astype(np.float32)
    script, program = tmp_path / "net.pt", tmp_path / "net.pt2"
    torch.jit.save(torch.jit.script(Halves()), str(script))
    batch = torch.export.Dim("batch")
    shape = (torch.ones(2, 1, 7, 6), torch.ones(2, 1, 1, 1))
    exported = torch.export.export(Halves(), shape, dynamic_shapes=({0: batch}, {0: batch}))
    torch.export.save(exported, program)
    for path, kind in ((script, "torchscript"), (program, "export")):
        found = load_denoiser(path, kind, scale=2.0)(x, 1.0)
        np.testing.assert_allclose(found, x / 1.25, rtol=1e-6)
        assert found.dtype == np.float32


def test_deepinv_from_a_checkpoint(rng, tmp_path):
    models = pytest.importorskip("deepinv.models")
    options = {"nc": (4, 4, 8, 8), "nb": 1}
    torch.manual_seed(0)
    net = models.DRUNet(in_channels=1, out_channels=1, pretrained=None, **options).eval()
    path = tmp_path / "drunet.pth"
    torch.save(net.state_dict(), path)
    x = rng.random((2, 16, 16)).astype(np.float32)
    with torch.no_grad():
        expected = net(torch.as_tensor(x)[:, None], torch.full((2,), 0.1))[:, 0].numpy()
    np.testing.assert_allclose(load_denoiser(path, "drunet", options=options)(x, 0.1), expected, atol=1e-6)
    with pytest.raises(InconsistentInput, match="not of drunet as it was made; give its options"):
        load_denoiser(path, "drunet")


class Runs:
    def __reduce__(self):
        return (pytest.fail, ("code in a checkpoint was run",))


@pytest.mark.parametrize("kind", ["drunet", "ram"])
def test_code_in_a_checkpoint_is_not_run(tmp_path, kind):
    pytest.importorskip("deepinv.models")
    path = tmp_path / "bad.pth"
    torch.save({"state_dict": Runs()}, path)
    options = {"nc": (4, 4, 8, 8), "nb": 1} if kind == "drunet" else None
    with pytest.raises(UnreadableInput, match=r"cannot read bad.pth as weights alone"):
        load_denoiser(path, kind, options=options)


def test_weights_alone():
    """The reader itself, where deepinv is not installed."""
    from rayfold.recon.priors import others

    with pytest.raises(UnreadableInput, match="there is no file"):
        load_denoiser("nowhere.pth", "drunet")
    assert others.KINDS == ("drunet", "ram", "torchscript", "export")


def test_checkpoints_are_read_as_weights_alone(tmp_path):
    from rayfold.recon.priors.others import _weights

    path = tmp_path / "w.pth"
    torch.save({"state_dict": {"w": torch.ones(2)}}, path)
    assert _weights(path)["w"].tolist() == [1, 1]
    torch.save({"state_dict": Runs()}, path)
    with pytest.raises(UnreadableInput, match=r"cannot read w.pth as weights alone"):
        _weights(path)


@pytest.mark.parametrize(
    ("kind", "options", "error", "message"),
    [
        ("unet", None, ValueError, "kind is 'unet'; it must be one of drunet, ram"),
        ("torchscript", {"nb": 1}, ValueError, "a torchscript file is complete"),
        ("torchscript", None, UnreadableInput, "cannot read junk.pt as torchscript"),
        ("export", None, UnreadableInput, "cannot read junk.pt as export"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_bad_input_in_one_line(tmp_path, kind, options, error, message):
    path = tmp_path / "junk.pt"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(error, match=message) as found:
        load_denoiser(path, kind, options=options)
    assert "\n" not in str(found.value)
