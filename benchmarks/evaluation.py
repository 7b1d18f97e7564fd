"""Memory that an evaluation needs on top of its networks.

    python -m benchmarks.evaluation DATA... [--count 30000] [--size 64]

Images are compared with each other, as those of another tool would be, and described by random
projections of FID's width. What is left is the evaluation's own: reading ahead, rows, feature
vectors, FID and KID, intervals, pictures and the page. Linux only.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from stylefeatureeditor.data.image_sources import open_sources
from stylefeatureeditor.data.images import ImageSet
from stylefeatureeditor.evaluation.inversion import evaluate_images
from stylefeatureeditor.evaluation.measures import FeatureExtractor, Networks, Suite, standard_suite
from stylefeatureeditor.evaluation.peak_memory import read_peak_memory, record_peak_memory
from stylefeatureeditor.evaluation.report import write_report
from stylefeatureeditor.evaluation.report_tables import Report
from stylefeatureeditor.evaluation.runner import Evaluation
from stylefeatureeditor.metrics.inception import WIDTH

GRID = 8  # side of the picture that is projected


def main() -> None:
    """Measure, and print a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+")
    parser.add_argument("--count", type=int, default=30_000)
    parser.add_argument("--size", type=int, default=64)
    given = parser.parse_args()
    projections = torch.randn(3 * GRID**2, WIDTH, generator=torch.Generator().manual_seed(0))

    def describe(pixels: Tensor) -> Tensor:
        return functional.adaptive_avg_pool2d(pixels, GRID).flatten(1) @ projections

    measures = standard_suite(given.size, Networks()).measures
    extractors = [FeatureExtractor(name, WIDTH, describe) for name in ("fid", "clean_fid")]
    suite = Suite(measures, tuple(extractors))
    start, before = time.perf_counter(), _held_mib()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        places = [(one, i) for one in open_sources(given.data) for i in range(len(one.entries))]
        places = places[: given.count]
        names = [one.entries[i].name for one, i in places]
        photos = ImageSet(places, names, given.size)
        evaluation = Evaluation(folder=folder, photos=photos, suite=suite)
        with record_peak_memory(folder, "cpu"):
            others = ImageSet(places[::-1], names[::-1], given.size)
            result = evaluate_images("others", others, evaluation)
            write_report(Report("Memory", "benchmarks.evaluation", (result,)), folder)
        peaks = [read_peak_memory(path) or 0.0 for path in (folder, *folder.iterdir())]
    seconds = time.perf_counter() - start
    print(
        f"{result.count} images of {given.size} px: {max(peaks) - before:.0f} MiB on top of "
        f"{before:.0f}, {seconds:.0f} s"
    )


def _held_mib() -> float:
    """Memory of this process now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (held,) = (int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return held / 1024


if __name__ == "__main__":
    main()
