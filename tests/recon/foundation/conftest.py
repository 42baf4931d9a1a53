"""Networks with random weights, and small problems for the prior."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from rayfold.recon.foundation import FoundationPrior, Network, Schedule  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tiny networks are fastest alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_network(widths=(8, 16, 16), blocks=1, seed=0):
    """Untrained, but changes images about as much as their noise."""
    torch.manual_seed(seed)
    net = Network(widths, blocks)
    with torch.no_grad():
        net.tail.weight.normal_(std=0.1)
    return net.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def net():
    return random_network()


@pytest.fixture(scope="session")
def prior(net):
    """Random weights: what holds for them holds for any. One pose: they answer each in another way."""
    return FoundationPrior(net, Schedule(5).eval().requires_grad_(False), poses=1)


@pytest.fixture(scope="session")
def small():
    """The weights of the package."""
    return FoundationPrior.load("small", device="cpu")
