"""The models that the page offers: loaded when first used, the last few kept."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from stylefeatureeditor.editor import Editor
from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.files import readable_size
from stylefeatureeditor.weights.direction_files import is_usable
from stylefeatureeditor.weights.download import fetch
from stylefeatureeditor.weights.local_models import files_folder, find_model, local_models
from stylefeatureeditor.weights.sources import DEFAULT_MODEL, GROUP_MODELS, find_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stylefeatureeditor.editing.catalog import CatalogEntry

    Report = Callable[[str, int, int | None], None]  # file, bytes so far, bytes in all

LOADED = 2  # models kept in memory


class Models:
    """Names of models, and their editors."""

    def __init__(self, chosen: Sequence[str] = (), device: str = "auto") -> None:
        for name in chosen:
            find_model(name)
        self.chosen, self.device = tuple(chosen), device
        self._editors: OrderedDict[str, Editor] = OrderedDict()

    def names(self) -> list[str]:
        """Return what can be chosen: those of the command line, then those on this machine."""
        return list(dict.fromkeys([*self.chosen, *local_models()]))

    def first(self) -> str:
        """Return the model that the page starts with; empty if there is none."""
        names = self.names()
        if not self.chosen and DEFAULT_MODEL in names:
            return DEFAULT_MODEL
        return names[0] if names else ""

    def editor(self, name: str) -> Editor:
        """Return the editor of one of `names()`, loading it if need be."""
        if name not in self.names():
            raise WeightsError(
                "there is no model on this machine yet: get a published one below, or start the "
                "page with --model FOLDER"
                if not name
                else f"there is no model {name!r} here: choose one of the list"
            )
        if name not in self._editors:
            while len(self._editors) >= LOADED:
                self._editors.popitem(last=False)
            self._editors[name] = Editor.from_pretrained(name, device=self.device)
        self._editors.move_to_end(name)
        return self._editors[name]


def model_label(name: str) -> str:
    """Return what a model is called on the page: a name, or the last part of a folder."""
    return Path(name).name or name


def usable_groups(editor: Editor) -> dict[str, list[CatalogEntry]]:
    """Return the directions that need no missing file, under their headings."""
    folder = editor.folder or Path()
    headings = {
        heading: [entry for entry in entries if is_usable(entry, folder)]
        for heading, entries in editor.directions.groups().items()
    }
    return {heading: entries for heading, entries in headings.items() if entries}


def published_models() -> dict[str, str]:
    """Return name -> size and licence of the models that can be downloaded and are not here."""
    offers = {}
    for name in GROUP_MODELS:
        if name not in local_models():
            sources = find_sources(name)
            sizes = [source.size for source in sources]
            size = readable_size(None if None in sizes else sum(filter(None, sizes)))
            licences = dict.fromkeys(source.licence or "licence not stated" for source in sources)
            offers[name] = f"{len(sources)} files, {size}; licences: {'; '.join(licences)}"
    return offers


def pull_model(name: str, report: Report) -> None:
    """Download the files of a published model and convert them to a model of that name."""
    from stylefeatureeditor.methods.converting import convert_pulled

    if name not in GROUP_MODELS:
        raise WeightsError(f"no model called {name!r} is published")
    for source in find_sources(name):

        def tell(done: int, total: int | None, file: str = source.file_name) -> None:
            report(file, done, total)

        fetch(source, files_folder(), tell)
    convert_pulled(name, GROUP_MODELS[name])
