"""How far drawn faces are from photos: the Frechet distance of small generators, a row each.

    python runs/generator_distance.py ZIP FILE... [--size 64] [--count 2000] [--split train]

FILE is a compact checkpoint (`average.*` among its tensors) or a model's generator.safetensors.
Features are those of the built-in attribute classifier and of EfficientNet-Lite0 (320 numbers),
which no generator is trained on. The first row compares two halves of the photos: no generator
can be expected below it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from stylefeatureeditor.data.images import open_images
from stylefeatureeditor.generator.stylegan2 import Generator, GeneratorConfig
from stylefeatureeditor.metrics.efficientnet_lite import load_efficientnet_lite
from stylefeatureeditor.metrics.frechet import frechet_inception_distance, statistics
from stylefeatureeditor.training.loss_networks import load_classifier
from stylefeatureeditor.weights.storage import load_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

    Features = dict[str, Callable[[Tensor], Tensor]]

BATCH = 50
UNROTATED = "<=0.05"  # of black corners


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("zip")
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--count", type=int, default=2000, help="images of each side")
    parser.add_argument("--split", default="train")
    args = parser.parse_args()
    classifier, lite = load_classifier(Path("faces")), load_efficientnet_lite()
    features: Features = {
        "attributes": lambda x: classifier.features(x)[-1].mean(dim=(2, 3)),
        "efficientnet-lite0": lite.vector,
    }
    where = {"split": args.split, "black_frac": UNROTATED}
    photos = open_images((args.zip,), args.size, where)
    order = torch.randperm(len(photos), generator=torch.Generator().manual_seed(0)).tolist()
    halves = order[: args.count], order[args.count : 2 * args.count]
    real, other = (described(features, map(photos.photos, in_batches(half))) for half in halves)
    say("", *features)
    say(*["---"] * (1 + len(features)))
    say("two halves of the photos", *distances(real, other))
    for file in args.files:
        drawn = described(features, draw(open_generator(file, args.size), args.count))
        say(file.name, *distances(real, drawn))


def in_batches(places: list[int]) -> list[list[int]]:
    """Return the places of images, BATCH at a time."""
    return [places[start : start + BATCH] for start in range(0, len(places), BATCH)]


def open_generator(file: Path, size: int) -> Generator:
    """Return a generator of the small model's widths with the weights of a file."""
    config = GeneratorConfig(
        size=size, style_dim=256, mapping_layers=4, channel_base=2048, channel_max=128
    )
    state = {key.removeprefix("average."): t.float() for key, t in load_tensors(file)[0].items()}
    generator = Generator(config).eval()
    generator.load_state_dict({key: state[key] for key in generator.state_dict()})
    return generator


def draw(generator: Generator, count: int) -> Iterable[Tensor]:
    """Yield `count` drawn images in batches, the same ones for every generator."""
    dice = torch.Generator().manual_seed(7)
    for _ in range(0, count, BATCH):
        z = torch.randn(BATCH, generator.config.style_dim, generator=dice)
        yield generator.synthesize(generator.map(z)).clamp(-1, 1)


@torch.no_grad()
def described(features: Features, batches: Iterable[Tensor]) -> list[Tensor]:
    """Return the vectors of images, one tensor per kind of feature."""
    parts = [[look(batch) for look in features.values()] for batch in batches]
    return [torch.cat(kind) for kind in zip(*parts, strict=True)]


def distances(real: list[Tensor], drawn: list[Tensor]) -> list[str]:
    """Return the distance for each kind of feature."""
    return [
        f"{frechet_inception_distance(statistics(one), statistics(two)):.2f}"
        for one, two in zip(real, drawn, strict=True)
    ]


def say(*cells: str) -> None:
    """Write a line of the table."""
    sys.stdout.write(f"| {' | '.join(cells)} |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
