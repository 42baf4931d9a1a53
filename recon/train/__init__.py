"""Training of learned reconstruction: samples, losses with and without true images, the loop, files."""

from rayfold.recon.train.files import read, write
from rayfold.recon.train.loop import Plan, Trainer
from rayfold.recon.train.losses import SURE, Equivariance, Noise2Inverse, Splitting, Supervised
from rayfold.recon.train.sample import Sample
from rayfold.recon.train.tasks import Recorded, Simulated
from rayfold.recon.train.transforms import Transform

__all__ = [
    "SURE",
    "Equivariance",
    "Noise2Inverse",
    "Plan",
    "Recorded",
    "Sample",
    "Simulated",
    "Splitting",
    "Supervised",
    "Trainer",
    "Transform",
    "read",
    "write",
]
