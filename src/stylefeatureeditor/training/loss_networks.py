"""The frozen networks of image losses, from published files and the user's own.

Only what a loss has a weight for is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stylefeatureeditor.errors import ConfigError, WeightsError
from stylefeatureeditor.metrics.attribute_classifier import AttributeClassifier
from stylefeatureeditor.metrics.dlib_identity import load_dlib_identity
from stylefeatureeditor.metrics.efficientnet_lite import load_efficientnet_lite
from stylefeatureeditor.metrics.perceptual import (
    ArcFaceConfig,
    ArcFaceFeatures,
    FeatureNetwork,
    Lpips,
    MocoFeatures,
    ResNetConfig,
    load_lpips,
)
from stylefeatureeditor.training.attribute_edits import NO_CLASSIFIER
from stylefeatureeditor.training.image_losses import LossNetworks
from stylefeatureeditor.weights.checkpoint import assign_state
from stylefeatureeditor.weights.local_models import files_folder, local_models
from stylefeatureeditor.weights.released import arcface_state, moco_state
from stylefeatureeditor.weights.sources import SOURCES
from stylefeatureeditor.weights.unpickle import read_torch

if TYPE_CHECKING:
    from pathlib import Path

    from stylefeatureeditor.training.image_losses import Identity, ImageLossConfig

ATTRIBUTES = "attributes.safetensors"


def load_loss_networks(
    losses: tuple[ImageLossConfig, ...],
    attributes: Path | None,
    folder: Path | None = None,
    *,
    asks_classifier: bool = False,
) -> LossNetworks:
    """Read the networks that the losses need.

    `attributes` is the user's classifier: a file, the folder of its run or a model's name.
    Published files lie in `folder`, None where `sfe models pull` puts them. `asks_classifier` if
    the phase itself needs the classifier. ConfigError if the losses name different identity
    features; WeightsError if a file is missing or damaged; DependencyError if a package is missing.
    """
    folder = files_folder() if folder is None else folder
    perceptual = _lpips(folder) if any(loss.lpips or loss.lpips_scale for loss in losses) else None
    kinds = {loss.identity_features for loss in losses if loss.identity}
    if len(kinds) > 1:
        raise ConfigError("the losses of one run share their identity_features: set them alike")
    classifier = None
    if asks_classifier or any(loss.attribute_features for loss in losses):
        if attributes is None:
            raise WeightsError(NO_CLASSIFIER)
        classifier = load_classifier(attributes)
    identity = _identity(folder, kinds.pop()) if kinds else None
    lite = load_efficientnet_lite() if any(loss.efficientnet_lite for loss in losses) else None
    return LossNetworks(perceptual, identity, classifier, lite)


PULLED_AS = {  # file: the name under which `sfe models pull` brings all that the loss needs
    "vgg16": "lpips-vgg",
    "lpips-vgg-lin": "lpips-vgg",
    "ir-se50": "arcface",
    "moco-v2": "moco",
}


def load_classifier(path: Path) -> AttributeClassifier:
    """Read a classifier from its file, a model's or run's folder, or by name; else WeightsError."""
    named = () if path.exists() else (local_models().get(str(path), path) / ATTRIBUTES,)
    for file in (path, path / ATTRIBUTES, path / "model" / ATTRIBUTES, *named):
        if file.is_file():
            return AttributeClassifier.load(file)
    raise WeightsError(f"{path} holds no {ATTRIBUTES}: `sfe train attributes` makes one")


def _lpips(folder: Path) -> Lpips:
    for name in ("vgg16", "lpips-vgg-lin"):
        _file(folder, name, "lpips")
    return load_lpips(folder, "vgg")


def _identity(folder: Path, kind: Identity) -> FeatureNetwork:
    if kind == "dlib":
        return load_dlib_identity()
    network: FeatureNetwork
    if kind == "arcface":
        network = ArcFaceFeatures(ArcFaceConfig())
        state = arcface_state(read_torch(_file(folder, "ir-se50", "identity")))
    else:
        network = MocoFeatures(ResNetConfig())
        content = read_torch(_file(folder, "moco-v2", "identity"))
        state = moco_state(content.get("state_dict", content))
    assign_state(network, state, str(folder))
    network.freeze()
    return network


def _file(folder: Path, name: str, weight: str) -> Path:
    source = SOURCES[name]
    file = folder / source.file_name
    if not file.is_file():
        raise WeightsError(
            f"the loss has a weight for {weight}, which needs {source.file_name}: run `sfe models "
            f"pull {PULLED_AS[name]}`, put the file into {folder}, or use --preset small, which "
            "needs none"
        )
    return file
