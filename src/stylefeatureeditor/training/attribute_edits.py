"""A loss by an attribute classifier A on edited photos; not in the paper, off by default.

Where the generator's own edits (Eq. 7) are faint, as those of a small G, they teach H little. The
edit of a photo itself, X' = G(H(F_k, Delta), w'), shall then show its attribute j:

    L_attr = softplus(m - t A_j(V(X')))          m = reach (2 |s| / |s_end| - 1),  t = sign of s
           + others  mean_j'(p_j'(V(X')) - p_j'(V(X)))^2   p = sigmoid(A), less for kin of j
           + near    (|X' - X| + 2 |pool(X' - X)| + 2 |c(X' - X)|)
           + realism softplus(-D(X'))                         where D takes part, which sees X' too

A's answer shall flip half-way along the range, and little else shall change: pixels, light (pool,
cells of S / 4) or tint (c, a pixel's colour without its grey). V varies what A sees, else H would
rather tint a face than change it.

Shapes: B photos of side S, J attributes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from stylefeatureeditor.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from stylefeatureeditor.metrics.attribute_classifier import AttributeClassifier

MOST_SHIFTED = 3  # pixels, by V
GREY = 0.75  # share of images that lose colour, some of it or all
GAIN, OFFSET = 0.2, 0.1  # deviations of a channel's factor and of its offset
GRAIN = 0.05  # deviation of a pixel's noise
CELLS = 4  # per side, of a picture's light
NO_CLASSIFIER = (
    "attributes.weight, or a weight for attribute_features, needs a classifier: pass the one that "
    "`sfe train attributes` makes with --attributes, or set it to 0"
)


@dataclass(frozen=True, kw_only=True)
class AttributeEditConfig:
    """Weights of L_attr in L_H.

    Attributes:
        weight: of L_attr; 0, the paper's, leaves it out.
        reach: logit wanted at the far end of a direction's range.
        others: of the other attributes, within L_attr.
        near: of what changes in the picture, within L_attr.
        realism: of what the phase's D says of X', within L_attr.
    """

    weight: float = 0.0
    reach: float = 2.0
    others: float = 5.0
    near: float = 10.0
    realism: float = 0.0

    def __post_init__(self) -> None:
        if min(self.weight, self.others, self.near, self.realism) < 0 or self.reach <= 0:
            raise ConfigError(f"weights cannot be negative and reach must be above 0, got {self}")


class AttributeEditLoss(nn.Module):
    """L_attr by a classifier A, which stays as it is."""

    def __init__(self, config: AttributeEditConfig, classifier: AttributeClassifier) -> None:
        super().__init__()
        self.config = config
        self.classifier = classifier.requires_grad_(requires_grad=False).eval()

    def forward(
        self, edited: Tensor, photos: Tensor, attribute: str, share: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of X' and X, (B, 3, S, S), without weight and D's part, and its terms.

        Positive strengths add `attribute`, and remove "-Young"; `share`, in [-1, 1], is the edit's
        part of the range.
        """
        config = self.config
        column, sign = find_attribute(self.classifier, attribute)
        towards = sign if share > 0 else -sign
        seen, plain = varied(inside(edited), photos)
        said = self.classifier(seen)
        with torch.no_grad():
            before = self.classifier(plain)
        flip = functional.softplus(
            config.reach * (2 * abs(share) - 1) - towards * said[:, column]
        ).mean()
        others = others_moved(said, before, column)
        near = change(edited - photos)
        total = flip + config.others * others + config.near * near
        terms = {"flip": flip, "others": others, "near": near}
        return total, {name: term.detach() for name, term in terms.items()}


def find_attribute(classifier: AttributeClassifier, attribute: str) -> tuple[int, int]:
    """Return the column of an attribute, and -1 if its absence is meant ("-Young"), else 1.

    ConfigError if the classifier does not know it.
    """
    name = attribute.removeprefix("-")
    return classifier.column(name), 1 if name == attribute else -1


def others_moved(after: Tensor, before: Tensor, column: int) -> Tensor:
    """Return how far the scores of other attributes than `column` moved, mean square.

    Logits are (B, J). Attributes that go with that one in these images, as lipstick with make-up,
    count less.
    """
    scores = before.detach() - before.detach().mean(dim=0)
    along = scores[:, column]
    kinship = (scores.T @ along) / (scores.norm(dim=0) * along.norm()).clamp(min=1e-6)  # (J,)
    moved = (torch.sigmoid(after) - torch.sigmoid(before)).square().mean(dim=0)
    weights = (1 - kinship.abs()).clamp(min=0)
    weights[column] = 0
    return (weights * moved).mean()


def change(difference: Tensor) -> Tensor:
    """Return the size of a change (B, 3, S, S): its pixels, its light and its tint."""
    light = functional.adaptive_avg_pool2d(difference, CELLS)
    tint = difference - difference.mean(dim=1, keepdim=True)
    return difference.abs().mean() + 2 * light.abs().mean() + 2 * tint.abs().mean()


def inside(images: Tensor) -> Tensor:
    """Clamp to [-1, 1], as a file would; the gradient passes."""
    return images + (images.clamp(-1, 1) - images).detach()


def varied(*versions: Tensor) -> list[Tensor]:
    """Return V(X): mirrored, shifted, greyer, of another light, grainy; by torch's own draw.

    All versions of the same images, (B, 3, S, S) each, are varied alike.
    """
    images = versions[0]
    mirrored = bool(torch.rand(()) < 0.5)
    shift = torch.randint(-MOST_SHIFTED, MOST_SHIFTED + 1, (2,)).tolist()
    each = torch.ones_like(images[:, :1, :1, :1])
    channel = torch.ones_like(images[:, :, :1, :1])
    loses = (torch.rand_like(each) < GREY) * torch.rand_like(each)
    gain, offset = 1 + GAIN * torch.randn_like(channel), OFFSET * torch.randn_like(channel)
    grain = GRAIN * torch.randn_like(images)

    def vary(version: Tensor) -> Tensor:
        moved = torch.roll(version.flip(3) if mirrored else version, shift, dims=(2, 3))
        grey = moved.mean(dim=1, keepdim=True)
        return (moved + loses * (grey - moved)) * gain + offset + grain

    return [vary(version) for version in versions]
