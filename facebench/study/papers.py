"""The figures that the papers published, and what was trained for them."""

from __future__ import annotations

from dataclasses import dataclass

#: What stands here for the rows of Table 1.
CVAE, DCGAN, JPEG = "cvae:weights=paper:latent=float32", "dcgan:weights=paper:latent=float32", "jpeg:quality=85"


@dataclass(frozen=True)
class PaperRow:
    """A row of the student paper's Table 1: l1 and l2 as printed, where l1 is 10 x MAE and l2 is 100 x MSE.

    ``point`` is what stands for it here; ``face`` if it is the row "+Mask".
    """

    name: str
    point: str
    face: bool
    ssim: float
    ms_ssim: float
    l1: float
    l2: float


TABLE_1 = (
    PaperRow("CVAE", CVAE, False, 0.307, 0.067, 0.439, 0.475),
    PaperRow("CVAE+Mask", CVAE, True, 0.215, 0.045, 0.323, 0.559),
    PaperRow("DCGAN", DCGAN, False, 0.417, 0.150, 0.642, 0.943),
    PaperRow("DCGAN+Mask", DCGAN, True, 0.274, 0.090, 0.456, 1.050),
    PaperRow("JPEG", JPEG, False, 0.004, 0.000, 0.003, 0.000),
    PaperRow("JPEG+Mask", JPEG, True, 0.004, 0.000, 0.323, 0.559),
)
#: What it prints for JPEG's l1.
PAPER_JPEG_L1 = 0.003
#: About how many steps the papers took on CelebA: the student paper 10 and 30 epochs of 182,000 pictures in batches of
#: 100, Hou et al. 2017 five of 202,599 in batches of 64, Vahdat & Kautz 2020 ninety of 162,770 in batches of 8 x 16.
PAPER_STEPS = {
    **{"cvae": 18_200, "cvae-mask": 18_200, "dcgan": 54_700, "dcgan-mask": 54_700},
    **{"dfcvae": 15_800, "nvae": 114_400},
}


@dataclass(frozen=True)
class HypothesisRow:
    """A row of Table 2 (Toledo & Antonelo 2021): scores over the face, l1 = 10 x MAE, l2 = 10 x RMSE."""

    number: int
    loss: str
    masked: bool
    ssim: float
    ms_ssim: float
    lpips: float
    vif: float
    l1: float
    l2: float

    @property
    def scores(self) -> tuple[float, ...]:
        """The scores in the table's order: 1-SSIM, 1-MS-SSIM, LPIPS, 1-VIF, l1, l2."""
        return (self.ssim, self.ms_ssim, self.lpips, self.vif, self.l1, self.l2)

    @property
    def point(self) -> str:
        """What stands for it here."""
        return f"maskvae:weights=h{self.number}:latent=float32"


TABLE_2 = (
    HypothesisRow(1, "SSIM + l1", True, 0.311, 0.082, 0.145, 0.529, 0.508, 0.732),
    HypothesisRow(2, "SSIM + l1", False, 0.338, 0.090, 0.162, 0.560, 0.546, 0.781),
    HypothesisRow(3, "l1", True, 0.343, 0.095, 0.151, 0.541, 0.534, 0.774),
    HypothesisRow(4, "l1", False, 0.373, 0.103, 0.173, 0.574, 0.587, 0.826),
    HypothesisRow(5, "SSIM", True, 0.321, 0.093, 0.146, 0.537, 0.585, 0.836),
    HypothesisRow(6, "SSIM", False, 0.314, 0.085, 0.157, 0.550, 0.601, 0.852),
    HypothesisRow(7, "l2", True, 0.322, 0.082, 0.146, 0.527, 0.501, 0.694),
    HypothesisRow(8, "l2", False, 0.377, 0.100, 0.172, 0.572, 0.577, 0.797),
    HypothesisRow(9, "SSIM + l2", True, 0.307, 0.077, 0.143, 0.523, 0.487, 0.682),
    HypothesisRow(10, "SSIM + l2", False, 0.359, 0.095, 0.168, 0.566, 0.562, 0.782),
)

#: Steps of each of their hypotheses: 100 epochs of 4,000.
TOLEDO_STEPS = 400_000

#: The metrics that both papers have in common; all are better when lower.
METRICS = ("1-SSIM", "1-MS-SSIM", "L1", "L2")

#: The student paper's 1-SSIM of its CVAE, the quality that bytes are told for.
CVAE_QUALITY = 0.307
