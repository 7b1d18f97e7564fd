"""Names of the classes of published face parsers, and of the regions that users may choose.

Orders as published: BiSeNet's from zllrunning/face-parsing.PyTorch (face_dataset.py), FaRL's from
FacePerceiver/facer (masks/farl.py). "left" and "right" are as those files have them.
"""

from __future__ import annotations

from dataclasses import dataclass

from stylefeatureeditor.errors import MaskError

BACKGROUND = "background"
FOREGROUND = "foreground"
RELEASED_THRESHOLD = 0.995  # how sure of the background the released code is
NO_PARSER = (
    "this mask needs a face parser and none is on disk: `sfe models pull farl-lapa` (the "
    "release's) or `sfe models pull bisenet` fetches one; the mask 'face' needs none"
)

_BROWS = frozenset({"left_brow", "right_brow"})
_EYES = frozenset({"left_eye", "right_eye"})
_EARS = frozenset({"left_ear", "right_ear"})
_LIPS = frozenset({"upper_lip", "lower_lip"})
_MOUTH = _LIPS | {"inner_mouth"}
_FACE = _BROWS | _EYES | _MOUTH | {"skin", "nose", "glasses"}

GROUPS: dict[str, frozenset[str]] = {
    "brows": _BROWS,
    "eyes": _EYES,
    "ears": _EARS,
    "lips": _LIPS,
    "mouth": _MOUTH,
    "face": _FACE,
    "head": _FACE | _EARS | {"hair", "hat", "earrings"},
}


def foreground_threshold(mask: str) -> float | None:
    """Return the threshold of "foreground" or "foreground:0.9"; None for any other mask.

    MaskError if what follows the colon is no number between 0 and 1.
    """
    name, _, number = mask.partition(":")
    if name != FOREGROUND:
        return None
    try:
        threshold = float(number) if number else RELEASED_THRESHOLD
    except ValueError:
        threshold = -1.0
    if not 0 < threshold < 1:
        raise MaskError(f"the threshold of '{mask}' must be a number between 0 and 1")
    return threshold


@dataclass(frozen=True)
class FaceLabels:
    """The classes of one parser, in the order of its logits."""

    names: tuple[str, ...]

    @property
    def background(self) -> int:
        """Index of the background class."""
        return self.names.index(BACKGROUND)

    @property
    def regions(self) -> tuple[str, ...]:
        """Every name `indices` takes: the classes, and the groups with a class here."""
        groups = (name for name, members in GROUPS.items() if members & set(self.names))
        return (*self.names, *groups)

    def indices(self, regions: tuple[str, ...]) -> tuple[int, ...]:
        """Return the classes of all named regions together, ascending.

        A group means those of its classes that this parser has ("head" of a parser without hats is
        the head without a hat). MaskError if a name is neither a class nor a group of this parser.
        """
        wanted: set[str] = set()
        for region in regions:
            members = GROUPS.get(region, frozenset({region})) & set(self.names)
            if not members:
                known = ", ".join(self.regions)
                raise MaskError(f"no region {region!r} in this face parser, choose from: {known}")
            wanted |= members
        return tuple(index for index, name in enumerate(self.names) if name in wanted)


CELEBAMASK_HQ = FaceLabels(
    (
        *(BACKGROUND, "skin", "left_brow", "right_brow", "left_eye", "right_eye", "glasses"),
        *("left_ear", "right_ear", "earrings", "nose", "inner_mouth", "upper_lip", "lower_lip"),
        *("neck", "necklace", "clothes", "hair", "hat"),
    )
)
"""The 19 classes of BiSeNet (`79999_iter.pth`)."""

LAPA = FaceLabels(
    (
        *(BACKGROUND, "skin", "right_brow", "left_brow", "right_eye", "left_eye", "nose"),
        *("upper_lip", "inner_mouth", "lower_lip", "hair"),
    )
)
"""The 11 classes of FaRL trained on LaPa; ears, neck, hats and clothes count as background."""
