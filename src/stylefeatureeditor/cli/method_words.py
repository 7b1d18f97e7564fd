"""What the words for models and methods mean: --model, --method, and the entries of a comparison.

sfe, sfe-without-h, e4e, w+, pti   on the networks of --model, or of METHOD@MODEL
psp, hfgi, ...                     a model folder that says so, here or as METHOD@FOLDER
NAME or FOLDER                     a model; what it holds says the method
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.cli.output import Progress
from stylefeatureeditor.device import find_device
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.evaluation.choose_method import (
    FITTED,
    METHODS,
    choose_perceptual,
    make_method,
)
from stylefeatureeditor.evaluation.measures import Networks, find_networks
from stylefeatureeditor.methods.editor import MethodEditor, open_editor
from stylefeatureeditor.methods.folder import find_method, local_methods, method_of
from stylefeatureeditor.methods.methods import KINDS
from stylefeatureeditor.weights.local_models import files_folder, find_model, local_models, model_at
from stylefeatureeditor.weights.sources import DEFAULT_MODEL

if TYPE_CHECKING:
    from stylefeatureeditor.editor import Editor
    from stylefeatureeditor.methods.method import Method
    from stylefeatureeditor.metrics.attribute_classifier import AttributeClassifier

OWN = ("sfe", "e4e")  # rows of `all` on the networks of --model; the others are named


class Shelf:
    """Editors and methods by the words of a user, each model loaded once.

    Args:
        model: --model, for words that name none.
        device: where they run.
        networks: those on disk, for methods that optimise; None looks when one is asked for.
        classifier: stands in for LPIPS in these.
        steps: of these, for each or by word; what is left out takes its own schedule.
    """

    def __init__(
        self,
        model: str,
        device: str,
        *,
        networks: Networks | None = None,
        classifier: AttributeClassifier | None = None,
        steps: int | Mapping[str, int] | None = None,
    ) -> None:
        self.model, self.device, self.steps = model, device, steps
        self.networks, self.classifier = networks, classifier
        self.editors: dict[str, Editor] = {}
        self.notes: list[str] = []

    def editor(self, model: str) -> Editor:
        """Return the editor of a model, ours or a method's.

        Raises:
            WeightsError: there is none, or it is damaged.
        """
        if model not in self.editors:
            with Progress(f"loading {model}"):
                self.editors[model] = open_editor(model, self.device)
        return self.editors[model]

    def method(self, word: str | None, model: str | None = None) -> tuple[Method[Any], Editor]:
        """Return a method and the editor of its model.

        Args:
            word: as in the table above; None means the method that the model holds.
            model: name or folder; None means --model, or what is on this machine.

        Raises:
            ConfigError: there is no such method, or the model holds another.
            WeightsError: there is no such model.
        """
        if word in KINDS and model is None and self._holds(self.model) != word:
            if self.model != DEFAULT_MODEL:
                raise ConfigError(
                    f"{self.model} does not hold the method {word}: leave out --model to take the "
                    "one on this machine, or name its folder"
                )
            model = str(find_method(word))
        elif word is not None and word not in (*METHODS, *KINDS):
            raise ConfigError(
                f"there is no method {word!r}; there are {', '.join((*METHODS, *KINDS))}"
            )
        named = self.model if model is None else model
        editor = self.editor(named)
        if isinstance(editor, MethodEditor):
            held = editor.networks.config.method
            if word not in (None, held):
                raise ConfigError(f"{named} holds the method {held}, not {word}")
            return editor.method, editor
        if word in KINDS:
            raise ConfigError(f"{named} holds StyleFeatureEditor's networks, not {word}'s")
        label = f"({Path(named).name})" if named != self.model else ""
        return self._own(word or "sfe", editor, label), editor

    def method_editor(self, word: str | None, model: str | None = None) -> Editor:
        """Return an editor that works by a method; arguments and errors as `method`."""
        method, editor = self.method(word, model)
        if isinstance(editor, MethodEditor) or word in (None, "sfe"):
            return editor
        return MethodEditor.around(method, editor, word)

    def entry(self, word: str) -> tuple[Method[Any], Editor] | None:
        """Return what an entry of a comparison means; None if it is neither method nor model."""
        method, at, model = word.partition("@")
        if at and method in (*METHODS, *KINDS):
            return self.method(method, model)
        if word in KINDS and self._holds(self.model) != word:
            return self.method(word, str(find_method(word)))
        if word in (*METHODS, *KINDS):
            return self.method(word)
        if _is_here(word):
            return self.method(None, word)
        return None

    def everything(self) -> list[str]:
        """Return the words of all methods that are on this machine and need not optimise."""
        here = local_methods()
        words: list[str] = []
        if _is_here(self.model):
            words = list(OWN) if self._holds(self.model) is None else [self.model]
        for name in local_models():
            if name not in here and name != self.model:
                words += [f"{own}@{name}" for own in OWN]
        for kind in KINDS:
            words += [name for name, held in here.items() if held == kind and name not in words]
        return words

    def base(self) -> Editor | None:
        """Return the editor of --model; None if there is none of that name."""
        return self.editor(self.model) if _is_here(self.model) else None

    def keep_only(self, model: str) -> None:
        """Let the memory of every other model go."""
        self.editors = {name: known for name, known in self.editors.items() if name == model}

    def _holds(self, model: str) -> str | None:
        """The method of a model's folder; None for ours, and for one that is not there."""
        return method_of(find_model(model)) if _is_here(model) else None

    def _own(self, word: str, editor: Editor, label: str) -> Method[Any]:
        """A method on our own networks."""
        if word in FITTED and self.networks is None:
            self.networks = find_networks(files_folder(), find_device(self.device))
        perceptual, note = choose_perceptual(self.networks or Networks(), self.classifier)
        if word in FITTED and note not in self.notes:
            self.notes.append(note)
        steps = self.steps.get(word) if isinstance(self.steps, Mapping) else self.steps
        return make_method(word, editor.model, perceptual, steps=steps, label=label)


def _is_here(model: str) -> bool:
    """Whether a word names a model, or a folder of one."""
    return model in local_models() or model_at(Path(model)) is not None
