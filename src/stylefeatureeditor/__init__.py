"""StyleFeatureEditor: edit real photos through StyleGAN2 and keep their detail.

    import stylefeatureeditor as sfe

    editor = sfe.Editor.from_pretrained("faces")
    result = editor.edit("portrait.jpg", {"smile": 2.0}, mask="face")
    result.save("out.png")

A name is imported when it is first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stylefeatureeditor.editing.catalog import Catalog, CatalogEntry
    from stylefeatureeditor.editing.direction import EditDirection
    from stylefeatureeditor.editor import Editor, MethodEditor, align
    from stylefeatureeditor.errors import (
        ConfigError,
        DependencyError,
        DirectionError,
        DownloadError,
        FaceError,
        MaskError,
        PhotoError,
        SfeError,
        ShapeError,
        TrainingError,
        VideoError,
        WeightsError,
    )
    from stylefeatureeditor.inversion.record import Inversion
    from stylefeatureeditor.model import Model, ModelConfig
    from stylefeatureeditor.photo.image import read_photo, save_photo
    from stylefeatureeditor.photo.result import EditResult
    from stylefeatureeditor.photo.session_file import load_session
    from stylefeatureeditor.preview import Preview
    from stylefeatureeditor.records import AlignedFace, Codes, FaceBox, Photo
    from stylefeatureeditor.video.editing import edit_video
    from stylefeatureeditor.weights.inversion_file import load_inversion, save_inversion

__version__ = "0.1.0"

# torch reads this once: large tensors then come in large pages (docs/LOG.md).
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__all__ = [
    "AlignedFace",
    "Catalog",
    "CatalogEntry",
    "Codes",
    "ConfigError",
    "DependencyError",
    "DirectionError",
    "DownloadError",
    "EditDirection",
    "EditResult",
    "Editor",
    "FaceBox",
    "FaceError",
    "Inversion",
    "MaskError",
    "MethodEditor",
    "Model",
    "ModelConfig",
    "Photo",
    "PhotoError",
    "Preview",
    "SfeError",
    "ShapeError",
    "TrainingError",
    "VideoError",
    "WeightsError",
    "align",
    "edit_video",
    "load_inversion",
    "load_session",
    "read_photo",
    "save_inversion",
    "save_photo",
]

_HOMES = {
    "editing.catalog": ("Catalog", "CatalogEntry"),
    "editing.direction": ("EditDirection",),
    "editor": ("Editor", "MethodEditor", "align"),
    "errors": tuple(name for name in __all__ if name.endswith("Error")),
    "inversion.record": ("Inversion",),
    "video.editing": ("edit_video",),
    "weights.inversion_file": ("load_inversion", "save_inversion"),
    "model": ("Model", "ModelConfig"),
    "photo.image": ("read_photo", "save_photo"),
    "preview": ("Preview",),
    "records": ("AlignedFace", "Codes", "FaceBox", "Photo"),
    "photo.result": ("EditResult",),
    "photo.session_file": ("load_session",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value  # found at once from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
