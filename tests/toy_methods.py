"""Methods without networks, photos and feature extractors for tests of the evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from seeded import seeded_image
from stylefeatureeditor.editing.direction import EditDirection
from stylefeatureeditor.evaluation.measures import FeatureExtractor, Measure, Suite
from stylefeatureeditor.evaluation.runner import Evaluation
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.inversion.record import Inversion
from stylefeatureeditor.methods.method import Method, MethodConfig
from stylefeatureeditor.metrics.pixel import l2, psnr
from stylefeatureeditor.photo.image import to_uint8
from stylefeatureeditor.records import Codes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SIDE = 8
BRIGHTER = EditDirection.linear(torch.ones(1), "brighter")


TOY = GeneratorConfig(size=SIDE, style_dim=1, mapping_layers=1, channel_base=SIDE, channel_max=1)


class Darker(Method):
    """Redraws a photo at a share of its brightness; an edit adds to every pixel.

    It counts its calls, and may stop as a killed process does.
    """

    def __init__(self, share: float = 0.9, stop_after: int | None = None) -> None:
        super().__init__(MethodConfig(generator=TOY), name=f"darker {share}")
        self.share, self.stop_after, self.identity = share, stop_after, f"darker {share}"
        self.calls = 0

    def encode(self, photos: Tensor) -> Inversion:
        if self.calls == self.stop_after:
            raise KeyboardInterrupt
        self.calls += 1
        return Inversion(Codes(photos.new_zeros(len(photos), 1, 1)), kept=photos * self.share)

    def draw(self, codes: Codes, kept: Tensor) -> Tensor:
        return kept + codes.wplus[..., None]


class MemoryPhotos:
    """Images, (n, 3, S, S) in [-1, 1], as a set: they count as rounded to 8 bits."""

    def __init__(self, pixels: Tensor, names: Sequence[str]) -> None:
        self.size, self.names = pixels.shape[-1], tuple(names)
        self._levels = torch.from_numpy(to_uint8(pixels)).permute(0, 3, 1, 2)

    def __len__(self) -> int:
        return len(self.names)

    def image(self, index: int) -> Tensor:
        return self._levels[index].contiguous()

    def content(self, index: int) -> bytes:
        return self.image(index).numpy().tobytes()


def toy_photos(count: int = 10, name: str = "toy.photo") -> MemoryPhotos:
    """Return photos of 8 x 8 that fill the range."""
    return MemoryPhotos(seeded_image(name, SIDE, count), [f"{i:03d}.png" for i in range(count)])


def toy_suite() -> Suite:
    """Return two measures and one extractor of width 12: the mean of each quarter."""
    extractor = FeatureExtractor(
        "fid", 12, lambda pixels: torch.nn.functional.avg_pool2d(pixels, SIDE // 2).flatten(1)
    )
    return Suite((Measure("l2", l2), Measure("psnr", psnr)), (extractor,))


def toy_evaluation(folder: Path, **changes: object) -> Evaluation:
    """Return an evaluation on ten toy photos in batches of three."""
    values = {"photos": toy_photos(), "suite": toy_suite(), "batch_size": 3, "pictures": 2}
    return Evaluation(folder=folder, **(values | changes))  # type: ignore[arg-type]


def write_photos(folder: Path, photos: MemoryPhotos, share: float = 1.0) -> Path:
    """Write photos, darkened, as PNG files under their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(photos.names):
        pixels = (photos.image(index).float() / 127.5 - 1) * share
        Image.fromarray(to_uint8(pixels[None])[0]).save(folder / name)
    return folder
