"""Measures of each image: the metrics of the tables, with their protocols.

A `Measure` compares a drawn image with its photo and gives one number per pair. A
`FeatureExtractor` turns an image into a vector, and sets are compared by those
(`metrics/frechet.py`). Which there are depends on the image size and on the networks on disk; the
report names those left out, with the reason.

| column    | range    | better | protocol                                                        |
|-----------|----------|--------|-----------------------------------------------------------------|
| lpips     | [0, oo)  | lower  | AlexNet, at 256 pixels                                          |
| lpips_vgg | [0, oo)  | lower  | VGG16, at 256 pixels                                            |
| l2        | [0, 4]   | lower  | mean squared error on [-1, 1], at 256 pixels                    |
| psnr      | (0, oo]  | higher | dB, full size; equal images, which have oo, are left out        |
| ssim      | [-1, 1]  | higher | full size, pixels on [0, 1]                                     |
| ms_ssim   | [0, 1]   | higher | the same; from 161 pixels on                                    |
| identity  | [-1, 1]  | higher | cosine of CurricularFace features (IR-101) of the aligned crop  |
| arcface   | [-1, 1]  | higher | the same with ArcFace (IR-SE50), which the model was trained on |
| fid       | [0, oo)  | lower  | 2048-d Inception, resize of pytorch-fid                         |
| clean_fid | [0, oo)  | lower  | the same network, resize of clean-fid                           |
| kid       | (-oo, oo)| lower  | cubic kernel on features of fid; clean_kid on clean_fid's       |

Images smaller than 256 pixels are compared as they are. Larger ones are brought to 256 by a
bilinear filter with antialiasing. Both images are rounded to 8 bits first: the numbers are those of
lossless files.

The paper's ID crops the face again by MTCNN; here both networks look at a fixed middle of the
aligned crop, as the identity loss does, so no detector can fail on an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stylefeatureeditor.data.images import to_photos
from stylefeatureeditor.errors import ConfigError, WeightsError
from stylefeatureeditor.metrics.frechet import KID_SUBSET_SIZE
from stylefeatureeditor.metrics.inception import (
    WIDTH,
    Inception,
    clean_fid_input,
    fid_input,
    load_inception,
)
from stylefeatureeditor.metrics.perceptual import (
    SMALLEST_SIDE,
    ArcFaceConfig,
    ArcFaceFeatures,
    FeatureNetwork,
    Lpips,
    curricularface,
    load_lpips,
)
from stylefeatureeditor.metrics.pixel import MS_SSIM_SMALLEST, l2, ms_ssim, psnr, ssim
from stylefeatureeditor.model import network_fingerprint
from stylefeatureeditor.photo.image import to_uint8
from stylefeatureeditor.runtimes.quick import quicken
from stylefeatureeditor.weights.checkpoint import assign_state
from stylefeatureeditor.weights.released import arcface_state
from stylefeatureeditor.weights.sources import SOURCES, find_sources
from stylefeatureeditor.weights.unpickle import read_torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from stylefeatureeditor.metrics.attribute_classifier import AttributeClassifier

PAPER_SIDE = 256


@dataclass(frozen=True)
class Measure:
    """A number per pair of images.

    Attributes:
        name: column of the row files.
        compare: photos and drawn images, both (B, 3, S, S) in [-1, 1], to (B,).
    """

    name: str
    compare: Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class FeatureExtractor:
    """A feature vector per image.

    Attributes:
        name: column of the distance made of it.
        width: D.
        extract: (B, 3, S, S) in [-1, 1] to (B, D).
    """

    name: str
    width: int
    extract: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Networks:
    """Pretrained networks for measuring; None where the file is not on disk."""

    lpips: Lpips | None = None
    lpips_vgg: Lpips | None = None
    inception: Inception | None = None
    identity: FeatureNetwork | None = None
    arcface: FeatureNetwork | None = None
    missing: tuple[str, ...] = ()


def find_networks(folder: Path, device: torch.device | str = "cpu") -> Networks:
    """Load the networks whose files are in `folder`; WeightsError if one is damaged."""

    def file(source: str) -> Path:
        return folder / SOURCES[source].file_name

    def face(source: str, config: ArcFaceConfig) -> ArcFaceFeatures:
        return _face_network(file(source), config)

    loaders: dict[str, tuple[str, str, Callable[[], nn.Module]]] = {
        "lpips": ("LPIPS", "lpips-alex", lambda: load_lpips(folder, "alex")),
        "lpips_vgg": ("LPIPS with VGG", "lpips-vgg", lambda: load_lpips(folder, "vgg")),
        "inception": ("FID", "inception", lambda: load_inception(file("inception"))),
        "identity": (
            "Identity by CurricularFace",
            "curricularface",
            lambda: face("curricularface", curricularface()),
        ),
        "arcface": ("Identity by ArcFace", "arcface", lambda: face("ir-se50", ArcFaceConfig())),
    }
    found: dict[str, Any] = {}
    missing = []
    for field, (what, pulled_as, load) in loaders.items():
        needed = {source.file_name: source.urls[0] for source in find_sources(pulled_as)}
        lacking = {n: url for n, url in needed.items() if not (folder / n).is_file()}
        if lacking:
            files = " and ".join(f"download {url} to {folder / n}" for n, url in lacking.items())
            missing.append(
                f"{what} is left out, because {' and '.join(lacking)} "
                f"{'are' if len(lacking) > 1 else 'is'} not on disk: `sfe models pull "
                f"{pulled_as}`, or {files}"
            )
        else:
            found[field] = load().to(device)
    return Networks(**found, missing=tuple(missing))


@dataclass(frozen=True)
class Suite:
    """Everything an evaluation measures."""

    measures: tuple[Measure, ...]  # per pair of images
    extractors: tuple[FeatureExtractor, ...]  # per image, for distances of sets
    # a sentence for each number that cannot be measured, with the reason
    left_out: tuple[str, ...] = ()
    fingerprint: str = ""  # hex digits that change with the networks that measure


def standard_suite(
    size: int, networks: Networks, classifier: AttributeClassifier | None = None
) -> Suite:
    """Return what can be measured at a size with the networks there are.

    Args:
        size: side of the images.
        networks: from `find_networks`.
        classifier: its features give `fid_attributes`, a set distance of our own; it stands beside
            FID where Inception is missing, and compares with no published number.
    """
    measures = [Measure("l2", _at_paper_side(l2)), Measure("psnr", psnr)]
    left_out = list(networks.missing)
    lpips = (("lpips", networks.lpips), ("lpips_vgg", networks.lpips_vgg))
    if size >= SMALLEST_SIDE:
        measures += [Measure(n, _at_paper_side(net)) for n, net in lpips if net]
    else:
        left_out.append(f"LPIPS needs images of at least {SMALLEST_SIDE} pixels a side, not {size}")
    measures.append(Measure("ssim", ssim))
    if size >= MS_SSIM_SMALLEST:
        measures.append(Measure("ms_ssim", ms_ssim))
    else:
        left_out.append(
            f"MS-SSIM needs images of at least {MS_SSIM_SMALLEST} pixels a side, not {size}"
        )
    for name, network in (("identity", networks.identity), ("arcface", networks.arcface)):
        if network is not None:
            measures.append(Measure(name, network.similarity))
    extractors = []
    if (inception := networks.inception) is not None:
        extractors += [
            FeatureExtractor("fid", WIDTH, lambda pixels: inception(fid_input(pixels))),
            FeatureExtractor("clean_fid", WIDTH, lambda pixels: inception(clean_fid_input(pixels))),
        ]
    if classifier is not None:
        width = classifier.config.channels[-1]
        pooled = lambda pixels: classifier.features(pixels)[-1].mean(dim=(2, 3))  # noqa: E731
        extractors.append(FeatureExtractor("fid_attributes", width, pooled))
    used = [value for value in vars(networks).values() if isinstance(value, nn.Module)]
    used += [] if classifier is None else [classifier]
    known = " ".join(network_fingerprint(network) for network in used)
    return Suite(tuple(measures), tuple(extractors), tuple(left_out), known)


def named_alone(suite: Suite, names: Sequence[str] | None) -> Suite:
    """Return a suite with the metrics of some names, None for all.

    `id` is identity, KID comes with its FID, and lec is no matter of the suite.

    Raises:
        ConfigError: one of them cannot be measured here.
    """
    if names is None:
        return suite
    names = ["identity" if name == "id" else name for name in names if name != "lec"]
    known = [each.name for each in suite.measures] + [each.name for each in suite.extractors]
    for name in names:
        if name not in known:
            why = "; ".join(suite.left_out)
            raise ConfigError(
                f"{name} cannot be measured here: there are {', '.join(known)}. {why}".strip()
            )
    return replace(
        suite,
        measures=tuple(measure for measure in suite.measures if measure.name in names),
        extractors=tuple(each for each in suite.extractors if each.name in names),
        left_out=(),
    )


def kid_name(extractor: str) -> str:
    """Return the column of KID over the features of an FID: fid -> kid, clean_fid -> clean_kid."""
    return extractor.replace("fid", "kid")


def as_saved(pixels: Tensor) -> Tensor:
    """Return pixels as a lossless 8-bit file would give them back, on the same device."""
    levels = torch.from_numpy(to_uint8(pixels)).permute(0, 3, 1, 2).contiguous()
    return to_photos(levels).to(pixels.device)


def protocol_notes(fewest: int | None) -> tuple[str, ...]:
    """Return the sentences that belong under every table."""
    notes = [
        "Images are rounded to 8 bits and measured as lossless files would be; JPEG is not used.",
        "Intervals are 95 % percentile bootstraps over images.",
    ]
    if fewest is not None and fewest < WIDTH:
        notes.append(
            f"FID of few images (here from {fewest} on) is biased upwards: it compares only with "
            "FID of as many images."
        )
    if fewest is not None and fewest < KID_SUBSET_SIZE:
        notes.append(
            f"KID subsets hold {KID_SUBSET_SIZE} images of each side, or as many as the smaller "
            "side has."
        )
    return tuple(notes)


def _face_network(path: Path, config: ArcFaceConfig) -> ArcFaceFeatures:
    content = read_torch(path)
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds no table of tensors, so no face network")
    with torch.device("meta"):
        network = ArcFaceFeatures(config)
    assign_state(network, arcface_state(content), str(path))
    network.freeze()
    return quicken(network)


def _at_paper_side(compare: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda first, second: compare(_shrunk(first), _shrunk(second))


def _shrunk(pixels: Tensor) -> Tensor:
    if pixels.shape[-1] <= PAPER_SIDE:
        return pixels
    return functional.interpolate(
        pixels, (PAPER_SIDE, PAPER_SIDE), mode="bilinear", align_corners=False, antialias=True
    )
