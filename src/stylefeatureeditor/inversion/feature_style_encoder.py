"""Feature-Style encoder I_fse: a photo becomes a W+ code and a first guess of its features.

    (w, F_pred) = I_fse(X)                                                     (Eq. 1, Fig. 8)

    X -> iresnet -> four stage outputs, each pooled to 3x3 -> one linear map per style -> w
                    stage 3 -> BN, conv, BN, PReLU, conv, BN                           -> F_pred

After Xuyao et al., "Feature-Style Encoder" (2022), with stage 3 kept at full side.
Shapes: B batch, N styles, D style width, S side of the photo as the encoder sees it (256),
C and S_F channels and side of F_k (512 x 64 x 64).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from stylefeatureeditor.backbones.iresnet import IResNetConfig, IResNetTrunk
from stylefeatureeditor.device import average_pool
from stylefeatureeditor.errors import MOST_LAYERS, WIDEST, check_shape, check_sizes

POOLED_SIDE = 3


@dataclass(frozen=True, kw_only=True)
class FeatureStyleEncoderConfig:
    """Size of I_fse; the defaults are the released face model."""

    num_styles: int = 18  # N
    style_dim: int = 512  # D
    feature_channels: int = 512  # C of F_k
    trunk: IResNetConfig = field(default_factory=IResNetConfig)

    def __post_init__(self) -> None:
        check_sizes(self, (self.style_dim, self.feature_channels), WIDEST)
        check_sizes(self, (self.num_styles,), MOST_LAYERS)


class FeatureStyleEncoder(nn.Module):
    """I_fse of Eq. 1."""

    def __init__(self, config: FeatureStyleEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = IResNetTrunk(config.trunk)
        middle, channels = config.trunk.channels[2], config.feature_channels
        self.content = nn.Sequential(
            nn.BatchNorm2d(middle),
            nn.Conv2d(middle, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.PReLU(channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        pooled = sum(config.trunk.channels) * POOLED_SIDE**2
        self.styles = nn.ModuleList(
            nn.Linear(pooled, config.style_dim) for _ in range(config.num_styles)
        )

    def forward(self, photos: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) in [-1, 1] -> offset of w, (B, N, D), and F_pred, (B, C, S_F, S_F)."""
        check_shape("photos", photos, (None, 3, None, None))
        stages = self.trunk(photos)
        pooled = [average_pool(stage, POOLED_SIDE) for stage in stages]
        flat = torch.cat(pooled, dim=1).flatten(1)  # (B, 960 * 9)
        offsets = torch.stack([style(flat) for style in self.styles], dim=1)
        return offsets, self.content(stages[2])
