"""A script: every published layout as a file, converted, loaded again, against its golden numbers.

    python tests/released_end_to_end.py [--seed WORD] [METHOD ...]

The tests load the same checkpoints from memory; this takes the way of a user, with files of 1 GB
and more, `sfe models convert` and a model folder in between. It prints the largest deviation of a
picture, in standard deviations of the released one; 1e-4 is allowed. Weights of another seed have
no released numbers: there the files themselves, loaded and computed in float64, stand for them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch.nn.functional import adaptive_avg_pool2d

import seeded
from nvidia_pickle import Persistent, dump
from released import golden
from released_comparisons import STRENGTH, direction
from seeded import seeded_image
from seeded_comparisons import (
    comparison_latent_avg,
    comparison_state,
    part,
    repeated_latent_avg,
    with_aliases,
)
from stylefeatureeditor.cli.main import main
from stylefeatureeditor.generator.layers import ModulatedConv
from stylefeatureeditor.methods.folder import load_method
from stylefeatureeditor.methods.load import KINDS

# word: the golden set, and its cases of inversion and edit
CASES = {
    "psp": ("psp", "inversion", "edit_w"),
    "feature-style": ("fse", "inversion", "edit"),
    "restyle-psp": ("restyle_psp", "iter5", "edit_w"),
    "restyle-e4e": ("restyle_e4e", "iter5", "edit_w"),
    "styleres": ("styleres", "inversion", "edit"),
    "hyperstyle": ("hyperstyle", "iter5", "edit"),
    "hfgi": ("hfgi", "inversion", "edit"),
    "hyperinverter": ("hyperinverter", "inversion", "edit"),
    "style-transformer": ("style_transformer", "inversion", "edit_w"),
    "padinv": ("padinv", "inversion", "edit"),
}
FLAVOURS = {"restyle-psp": "BackboneEncoder", "restyle-e4e": "ProgressiveBackboneEncoder"}
ALLOWED = 1e-4
# of inversion and edit: means over 16 x 16 blocks, and the standard deviation of all pixels
Expected = list[tuple[torch.Tensor, float]]


def checkpoints(word: str) -> list[object]:
    """The contents of the files that a method is published as."""
    seed = CASES[word][0]
    state, mean = comparison_state(seed), repeated_latent_avg(seed)
    if word == "feature-style":
        decoder = {key: value for key, value in state.items() if key.startswith("decoder.")}
        return [part(state, "enc."), {"state_dict": decoder, "latent_avg": mean}]
    if word == "styleres":
        tables = {name: part(state, f"{name}.") for name in ("e4e", "generator_smooth")}
        return [{**tables, "latent_avg": mean}]
    if word == "padinv":
        generator = {**part(state, "generator."), "w_avg": comparison_latent_avg(seed)}
        return [{"models": {"encoder": part(state, "encoder."), "generator_smooth": generator}}]
    if word == "hyperstyle":
        encoder = {f"encoder.{key}": value for key, value in part(state, "w_encoder.").items()}
        whole = {key: value for key, value in with_aliases(state).items() if key[:2] != "w_"}
        return [{"state_dict": whole, "latent_avg": mean}, {"state_dict": encoder}]
    if word == "hyperinverter":
        encoder = {f"encoder.{key}": value for key, value in part(state, "w_encoder.").items()}
        own = {key: state[key] for key in state if key.startswith(("hypernet.", "w_bar_encoder."))}
        generator = dump({"G_ema": persistent(part(state, "decoder."))})
        return [{"state_dict": own}, generator, {"state_dict": encoder}]
    if word == "style-transformer":
        mean = comparison_latent_avg(seed)[None]
    return [{"state_dict": state, "latent_avg": mean, "opts": {"encoder_type": FLAVOURS.get(word)}}]


def persistent(state: dict[str, torch.Tensor]) -> Persistent:
    """A network as NVIDIA pickles them, of the names and tensors of a state."""
    root = Persistent()
    for key, value in state.items():
        *path, leaf = key.split(".")
        place: torch.nn.Module = root
        for name in path:
            if name not in place._modules:
                place.add_module(name, Persistent())
            place = place.get_submodule(name)
        place.register_buffer(leaf, value)
    return root


def pictures(network: torch.nn.Module, photo: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A photo's inversion and edit."""
    inversion = network.invert(photo)
    return network.reconstruct(inversion), network.edit(inversion, {direction(): STRENGTH})


def released(word: str) -> Expected:
    """What the release drew."""
    name, *cases = CASES[word]
    numbers = golden(f"cmp_{name}")
    return [
        (torch.as_tensor(numbers[f"{case}/pool16"]), float(numbers[f"{case}/stats"][1]))
        for case in cases
    ]


def in_double(word: str, files: list[Path], photo: torch.Tensor) -> Expected:
    """What the files draw in float64, without a model folder in between."""
    network = KINDS[word].load(*files).double()
    for module in network.modules():
        if isinstance(module, ModulatedConv):
            module.reset_constants()
    drawn = pictures(network, photo.double())
    return [(adaptive_avg_pool2d(pixels, 16), float(pixels.std())) for pixels in drawn]


@torch.no_grad()
def check(word: str) -> bool:
    """Take one method all the way; say what came of it."""
    started = time.process_time()
    with tempfile.TemporaryDirectory() as place:
        files = []
        for number, content in enumerate(checkpoints(word)):
            is_pickle = isinstance(content, bytes)
            files.append(Path(place) / f"{number}{'.pkl' if is_pickle else '.pt'}")
            if is_pickle:
                files[-1].write_bytes(content)
            else:
                torch.save(content, files[-1])
        del content
        words = ["models", "convert", "--method", word, *map(str, files), "-o", f"{place}/model"]
        if main(words) != 0:
            return False
        side = 1024 if word in ("feature-style", "hyperinverter") else 256
        photo = seeded_image("cmp.x1024" if side == 1024 else "cmp.x", side)
        drawn = pictures(load_method(Path(place) / "model").network, photo)
        expected = in_double(word, files, photo) if seeded.SEED else released(word)
    off = [
        float((adaptive_avg_pool2d(pixels, 16) - blocks).abs().max()) / std
        for pixels, (blocks, std) in zip(drawn, expected, strict=True)
    ]
    took = time.process_time() - started
    sys.stdout.write(f"{word}: {off[0]:.1e} {off[1]:.1e} in {took:.0f} CPU s\n")
    return max(off) <= ALLOWED


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", default="")
    parser.add_argument("methods", nargs="*", metavar="METHOD", default=list(CASES))
    options = parser.parse_args()
    seeded.SEED = options.seed
    passed = [check(word) for word in options.methods]
    sys.exit(not all(passed))
