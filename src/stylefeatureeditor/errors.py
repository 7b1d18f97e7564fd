"""Errors a caller can act on. Everything else is a bug and is left to raise as itself.

Each message is one sentence: what was expected, what came, what to do. The command line prints it
and exits with 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor


LONGEST_MESSAGE = 2000  # signs; a name that a file brings may be of any length
MOST_LAYERS = 256  # of one kind in one network
WIDEST = 1 << 16  # channels, or values of a vector
LARGEST_SIDE = 1 << 14  # pixels of a generated picture


class SfeError(Exception):
    """Base of every error raised on purpose by this package.

    Its text is one line of signs that a terminal shows as they are, whatever names a file brought.
    """

    def __str__(self) -> str:
        text = "".join(sign if sign.isprintable() else " " for sign in super().__str__())
        if len(text) > LONGEST_MESSAGE:
            half = LONGEST_MESSAGE // 2
            text = f"{text[: half - 10]} [...] {text[-half:]}"
        return text


class ShapeError(SfeError, ValueError):
    """A tensor does not have the shape a stage asks for."""


class ConfigError(SfeError, ValueError):
    """A configuration value is out of range or contradicts another one."""


class PhotoError(SfeError, ValueError):
    """A picture cannot be read, is too large, or cannot be written."""


class FaceError(SfeError, ValueError):
    """No face was found, or not the one that was asked for."""


class MaskError(SfeError, ValueError):
    """An edit mask does not fit the photo."""


class DirectionError(SfeError, ValueError):
    """An edit direction is unknown, or does not fit the model's codes."""


class WeightsError(SfeError, ValueError):
    """A weight file is missing, damaged, of another layout, or tries to run code."""


class DownloadError(SfeError, OSError):
    """A file could not be fetched, or what came is not what was promised."""


class DependencyError(SfeError, ImportError):
    """An optional package is needed for what was asked."""


class VideoError(SfeError, ValueError):
    """A video cannot be read, shows nobody, or cannot be written."""


class TrainingError(SfeError, RuntimeError):
    """A training run cannot go on: it diverged, or its checkpoints cannot be read."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a GPU's memory is full: MPS has no class of its own for it."""
    return isinstance(error, RuntimeError) and "out of memory" in str(error)


def check_sizes(config: object, sizes: Iterable[int], most: int) -> None:
    """Raise ConfigError unless all `sizes` of a config lie in 1..most: files may ask for any."""
    for size in sizes:
        if not 1 <= size <= most:
            raise ConfigError(
                f"sizes must be at least 1 and at most {most}, got {size} in {config}"
            )


def check_side(size: int, least: int) -> None:
    """Raise ConfigError unless a picture's side is a power of two from `least` to LARGEST_SIDE."""
    if not least <= size <= LARGEST_SIDE or size & (size - 1):
        raise ConfigError(
            f"size must be a power of two of at least {least} and at most {LARGEST_SIDE}, "
            f"got {size}"
        )


def check_shape(name: str, tensor: Tensor, expected: tuple[int | None, ...]) -> None:
    """Raise ShapeError unless `tensor` has the `expected` shape; None matches any size."""
    actual = tuple(tensor.shape)
    fits = len(actual) == len(expected) and all(
        want is None or got == want for got, want in zip(actual, expected, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in expected)
        raise ShapeError(f"{name}: expected shape ({wanted}), got {actual}")
