"""From words to methods: --model, --method, and the entries of a comparison.

sfe, sfe-without-h, e4e, w+, pti   on the networks of --model, or of METHOD@MODEL
psp, hfgi, ...                     a model folder that says so, here or as METHOD@FOLDER
NAME, FOLDER or ORG/NAME           a model; its config says the method
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from stylefeatureeditor.device import find_device
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.methods.e4e import E4eMethod
from stylefeatureeditor.methods.folder import (
    find_method,
    load_method,
    local_methods,
    method_of,
)
from stylefeatureeditor.methods.load import KINDS
from stylefeatureeditor.methods.sfe import Sfe, SfeWithoutH
from stylefeatureeditor.runtimes.choose import open_model
from stylefeatureeditor.weights.hub import names_repository
from stylefeatureeditor.weights.local_models import files_folder, find_model, local_models, model_at
from stylefeatureeditor.weights.sources import DEFAULT_MODEL, find_sources
from stylefeatureeditor.weights.trained import need_trained, read_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from stylefeatureeditor.methods.method import Method
    from stylefeatureeditor.metrics.attribute_classifier import AttributeClassifier
    from stylefeatureeditor.metrics.perceptual import Lpips
    from stylefeatureeditor.metrics.perceptual_vector import PerceptualVector
    from stylefeatureeditor.model import Model
    from stylefeatureeditor.runtimes.choose import Backend, Precision

FITTED = ("w+", "pti")  # these optimise for each photo, against a perceptual distance
ON_MODEL = {kind.word: kind for kind in (Sfe, SfeWithoutH, E4eMethod)}
OWN = (*ON_MODEL, *FITTED)  # on our own networks
QUICK = ("sfe", "e4e")  # rows of `all` on the networks of --model; the others are named


def open_method(
    name: str | Path = DEFAULT_MODEL,
    *,
    device: str = "auto",
    method: str | None = None,
    backend: Backend = "torch",
    precision: Precision = "float32",
    compiled: bool = False,
) -> Method:
    """Return a method, ready to run.

    Raises:
        WeightsError: there is no such model, or its files are damaged, or not exported.
        ConfigError: there is no such method, the model holds another, the device is not there, or
            the choices do not agree.
        DependencyError: the backend is not installed.
    """
    if (backend, precision, compiled) == ("torch", "float32", False):
        return MethodLoader(name, device).method(method)
    folder = find_model(name)
    for word in (method_of(folder), method):
        if word not in (None, "sfe"):
            raise ConfigError(f"the method {word} runs on the backend torch in float32 alone")
    need_trained(folder, read_record(folder), Sfe.needs)
    model = open_model(folder, device, backend=backend, precision=precision, compiled=compiled)
    ours = Sfe(model)
    ours.folder, ours.engine = folder, f"{backend} {precision}"
    return ours


class MethodLoader:
    """Methods by the words of a user, each model loaded once.

    Args:
        model: --model, for words that name none.
        device: where they run.
        lpips: for methods that optimise; None reads it from disk when needed.
        classifier: replaces LPIPS there.
        steps: of these methods, for all or by word; others keep their own schedule.
        progress: gives the context in which a model of that name is loaded.

    Attributes:
        notes: sentences about the methods that were asked for.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        device: str = "auto",
        *,
        lpips: Lpips | None = None,
        classifier: AttributeClassifier | None = None,
        steps: int | Mapping[str, int] | None = None,
        progress: Callable[[str], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.model, self.device, self.steps = str(model), device, steps
        self.lpips, self.classifier, self.progress = lpips, classifier, progress
        self.notes: list[str] = []
        self._opened: dict[str, Method] = {}

    def method(self, word: str | None = None, model: str | None = None) -> Method:
        """Return a method; its `folder` has the directions that it knows.

        `word` is as in the table above, None the method that the model holds; `model` is a name or
        folder, None is --model, or what is on this machine. ConfigError if there is no such method,
        or the model holds another; WeightsError if there is no such model.
        """
        if word in KINDS and model is None and self._holds(self.model) != word:
            if self.model != DEFAULT_MODEL:
                raise ConfigError(
                    f"{self.model} does not hold the method {word}: leave out --model to take the "
                    "one on this machine, or name its folder"
                )
            model = str(find_method(word))
        elif word is not None and word not in (*OWN, *KINDS):
            raise ConfigError(f"there is no method {word!r}; there are {', '.join((*OWN, *KINDS))}")
        named = self.model if model is None else model
        held = self._open(named)
        if not isinstance(held, Sfe):
            if word not in (None, held.config.method):
                raise ConfigError(f"{named} holds the method {held.config.method}, not {word}")
            return held
        if word in KINDS:
            raise ConfigError(f"{named} holds StyleFeatureEditor's networks, not {word}'s")
        folder = find_model(named)
        kind = ON_MODEL.get(word or "sfe")
        need_trained(folder, read_record(folder), kind.needs if kind else ())
        method = held if word in (None, "sfe") else self._own(word, held.model)
        if method is not held:
            method.folder = held.folder
            method.name += _label(named, self.model)
        return method

    def entry(self, word: str) -> Method | None:
        """Return what an entry of a comparison means; None if it is neither method nor model."""
        method, at, model = word.partition("@")
        if at and method in (*OWN, *KINDS):
            return self.method(method, model)
        if word in KINDS and self._holds(self.model) != word:
            return self.method(word, str(find_method(word)))
        if word in (*OWN, *KINDS):
            return self.method(word)
        return self.method(None, word) if _is_here(word) else None

    def everything(self) -> list[str]:
        """Return the words of all methods that are on this machine and need not optimise."""
        here = local_methods()
        words: list[str] = []
        if _is_here(self.model):
            words = _trained(self.model) if self._holds(self.model) is None else [self.model]
        for name in local_models():
            if name not in here and name != self.model:
                words += [f"{own}@{name}" for own in _trained(name)]
        for kind in KINDS:
            words += [name for name, held in here.items() if held == kind and name not in words]
        return words

    def base(self) -> Method | None:
        """Return the method of --model; None if there is no such model."""
        return self._open(self.model) if _is_here(self.model) else None

    def sizes(self) -> set[int]:
        """Return the sides of the photos that the loaded models take."""
        return {method.size for method in self._opened.values()}

    def keep_only(self, model: str) -> None:
        """Release all models but one."""
        self._opened = {name: known for name, known in self._opened.items() if name == model}

    def _open(self, named: str) -> Method:
        """The method of a model, loaded once."""
        if named not in self._opened:
            folder, device = find_model(named), find_device(self.device)
            with self.progress(f"loading {named}"):
                held = method_of(folder)
                method = Sfe(open_model(folder, device)) if held is None else load_method(folder)
            method.to(device)
            method.folder = folder
            if folder.name != held:
                method.name += _label(named, self.model)
            self._opened[named] = method
        return self._opened[named]

    def _holds(self, model: str) -> str | None:
        """The method of a model's folder; None for ours, and for one that is not there."""
        return method_of(find_model(model)) if _is_here(model) else None

    def _own(self, word: str, model: Model) -> Method:
        if word in ON_MODEL:
            return ON_MODEL[word](model)
        perceptual, note = self._perceptual()
        if note not in self.notes:
            self.notes.append(note)
        steps = self.steps.get(word) if isinstance(self.steps, Mapping) else self.steps
        return fitted(word, model, perceptual, steps)

    def _perceptual(self) -> tuple[PerceptualVector, str]:
        """The best perceptual distance at hand, and a sentence that names it."""
        from stylefeatureeditor.metrics import perceptual_vector as vectors
        from stylefeatureeditor.metrics.perceptual import load_lpips

        places = (files_folder() / source.file_name for source in find_sources("lpips-alex"))
        if self.lpips is None and all(place.is_file() for place in places):
            self.lpips = load_lpips(files_folder(), "alex").to(find_device(self.device))
        if self.lpips is not None:
            note = "W+ optimisation and PTI optimise LPIPS of AlexNet."
            return vectors.lpips_vector(self.lpips), note
        others = "their rows are not the published methods'."
        if self.classifier is not None:
            return vectors.classifier_vector(self.classifier), (
                "W+ optimisation and PTI optimise features of the attribute classifier, because "
                f"the weights of LPIPS are not on disk; {others}"
            )
        return vectors.pixel_vector(), (
            "W+ optimisation and PTI optimise pixels alone, because no perceptual network is on "
            f"disk; {others}"
        )


def fitted(word: str, model: Model, perceptual: PerceptualVector, steps: int | None) -> Method:
    """Return W+ optimisation or PTI on a model."""
    from stylefeatureeditor.methods.optimisation import WOptimisation, WOptimisationConfig
    from stylefeatureeditor.methods.pti import PivotalTuning, PivotalTuningConfig

    if word == "w+":
        own = None if steps is None else WOptimisationConfig(steps=steps)
        return WOptimisation(model, perceptual, own)
    both = PivotalTuningConfig(projection_steps=steps, tuning_steps=steps) if steps else None
    return PivotalTuning(model, perceptual, perceptual, both)


def _label(named: str, model: str) -> str:
    """The model in a row's name, unless it is --model's."""
    return "" if named == model else f" ({Path(named).name})"


def _trained(model: str) -> list[str]:
    """Return the words among QUICK whose networks a model has."""
    record = read_record(find_model(model))
    return [word for word in QUICK if record.keys() >= set(ON_MODEL[word].needs)]


def _is_here(model: str) -> bool:
    """Whether a word names a model, a folder of one, or one of the Hub."""
    return model in local_models() or model_at(Path(model)) is not None or names_repository(model)
