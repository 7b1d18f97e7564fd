"""The vision transformer of FaRL: CLIP's ViT, read at several depths.

Paper: Zheng et al., "General Facial Representation Learning in a Visual-Linguistic Manner" (FaRL),
CVPR 2022; the block is that of Radford et al. (CLIP), 2021. Facts from FacePerceiver/FaRL
(`farl/network/farl/model.py`, `transformers.py`; MIT).

    x <- x + attention(norm(x));  x <- x + narrow(gelu(widen(norm(x))))

Shapes: B batch, L tokens (1 class token + G x G patches), D width, S = G * patch input side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.errors import check_shape


class SelfAttention(nn.Module):
    """Multi-head self-attention, (B, L, D) -> (B, L, D); `qkv` stacks query, key and value."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Let every token look at every other."""
        batch, tokens, width = x.shape
        split = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each (B, heads, L, D / heads)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))


class TransformerBlock(nn.Module):
    """Pre-norm block of CLIP, whose GELU is the approximation x * sigmoid(1.702 x)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        x = x + self.attention(self.norm1(x))
        y = self.widen(self.norm2(x))
        return x + self.narrow(y * torch.sigmoid(1.702 * y))


class FarlTrunk(nn.Module):
    """ViT without CLIP's last norm and projection, which features for parsing do not pass.

    Args:
        input_size: S, a multiple of `patch`.
        patch: side of a patch in pixels.
        width: D.
        layers: number of blocks.
        heads: attention heads.
    """

    def __init__(self, input_size: int, patch: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.grid = input_size // patch
        self.patches = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.class_token = nn.Parameter(torch.zeros(width))
        self.positions = nn.Parameter(torch.randn(self.grid**2 + 1, width) * width**-0.5)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads) for _ in range(layers))

    def forward(self, x: Tensor, taps: tuple[int, ...]) -> list[Tensor]:
        """Return the patch tokens after the blocks `taps` (from 0, ascending), (B, D, G, G) each.

        Args:
            x: standardised pixels, (B, 3, S, S).
            taps: indices of blocks; the trunk stops after the last.

        Raises:
            ShapeError: `x` is not (B, 3, S, S).
        """
        check_shape("pixels", x, (None, 3, self.input_size, self.input_size))
        patches = self.patches(x).flatten(2).transpose(1, 2)  # (B, G * G, D)
        token = self.class_token.expand(len(x), 1, -1)
        x = self.norm(torch.cat([token, patches], dim=1) + self.positions)

        features = []
        for block in self.blocks[: taps[-1] + 1]:
            x = block(x)
            features.append(x)
        return [
            features[tap][:, 1:].transpose(1, 2).unflatten(2, (self.grid, self.grid))
            for tap in taps
        ]
