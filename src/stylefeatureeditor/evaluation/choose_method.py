"""Methods by the words a user types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.methods.evaluated import E4eMethod, Method, Sfe, SfeWithoutH
from stylefeatureeditor.methods.pivotal_tuning import PivotalTuning, PivotalTuningConfig
from stylefeatureeditor.methods.w_optimisation import WOptimisation, WOptimisationConfig
from stylefeatureeditor.metrics.perceptual_vector import (
    PerceptualVector,
    classifier_vector,
    lpips_vector,
    pixel_vector,
)

if TYPE_CHECKING:
    from stylefeatureeditor.evaluation.measures import Networks
    from stylefeatureeditor.metrics.attribute_classifier import AttributeClassifier
    from stylefeatureeditor.model import Model

METHODS = ("sfe", "sfe-without-h", "e4e", "w+", "pti")
FITTED = ("w+", "pti")  # these optimise for each photo, against a perceptual distance


def make_method(
    word: str,
    model: Model,
    perceptual: PerceptualVector,
    *,
    steps: int | None = None,
    label: str = "",
) -> Method[Any]:
    """Return a method of a model.

    Args:
        word: one of METHODS.
        model: on its device.
        perceptual: what W+ optimisation and PTI optimise.
        steps: of W+ optimisation, and of each of PTI's stages; None takes their own schedules.
        label: put behind the name, where several models are compared.

    Raises:
        ConfigError: there is no such method.
    """
    behind = f" {label}" if label else ""
    if word == "sfe":
        return Sfe(model, f"SFE{behind}")
    if word == "sfe-without-h":
        return SfeWithoutH(model, f"SFE without H{behind}")
    if word == "e4e":
        return E4eMethod(model, f"e4e{behind}")
    if word == "w+":
        schedule = WOptimisationConfig() if steps is None else WOptimisationConfig(steps=steps)
        name = f"W+ optimisation, {schedule.steps} steps{behind}"
        return WOptimisation(model, perceptual, schedule, name)
    if word == "pti":
        tuning = PivotalTuningConfig()
        if steps is not None:
            tuning = PivotalTuningConfig(projection_steps=steps, tuning_steps=steps)
        name = f"PTI, {tuning.projection_steps} + {tuning.tuning_steps} steps{behind}"
        return PivotalTuning(model, perceptual, perceptual, tuning, name)
    raise ConfigError(f"there is no method {word!r}; there are {', '.join(METHODS)}")


def choose_perceptual(
    networks: Networks, classifier: AttributeClassifier | None
) -> tuple[PerceptualVector, str]:
    """Return the best perceptual distance there is, and a sentence that says which.

    Args:
        networks: those on disk.
        classifier: stands in where LPIPS is missing.
    """
    if networks.lpips is not None:
        return lpips_vector(networks.lpips), "W+ optimisation and PTI optimise LPIPS of AlexNet."
    if classifier is not None:
        return classifier_vector(classifier), (
            "W+ optimisation and PTI optimise features of the attribute classifier, because the "
            "weights of LPIPS are not on disk; their rows are not the published methods'."
        )
    return pixel_vector(), (
        "W+ optimisation and PTI optimise pixels alone, because no perceptual network is on disk; "
        "their rows are not the published methods'."
    )
