"""A photo to try the page with: NASA's portrait of Eileen Collins, public domain.

scikit-image brings it; without that package the page offers no sample.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from stylefeatureeditor.errors import DependencyError

if TYPE_CHECKING:
    import numpy as np

SAMPLE_NAME = "astronaut.png"


def has_sample() -> bool:
    """Return whether there is a sample."""
    return importlib.util.find_spec("skimage") is not None


def sample_pixels() -> np.ndarray:
    """Return the sample, (512, 512, 3) uint8.

    Raises:
        DependencyError: scikit-image is not installed.
    """
    try:
        from skimage.data import astronaut
    except ImportError as error:
        raise DependencyError(
            'the sample comes with scikit-image: run `pip install "stylefeatureeditor[demo]"`'
        ) from error
    return astronaut()
