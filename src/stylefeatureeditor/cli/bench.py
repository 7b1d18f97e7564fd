"""What the commands of `sfe evaluate` share: photos, networks, models, and the report."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from stylefeatureeditor.cli.output import Progress, warn
from stylefeatureeditor.errors import ConfigError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from stylefeatureeditor.editor import Editor
    from stylefeatureeditor.evaluation.edit_words import EditWords
    from stylefeatureeditor.evaluation.editing import EditTask
    from stylefeatureeditor.evaluation.measures import Networks
    from stylefeatureeditor.evaluation.photo_sets import PhotoSet
    from stylefeatureeditor.evaluation.results import MethodResult, Plan
    from stylefeatureeditor.evaluation.runner import Team
    from stylefeatureeditor.methods.method import Method
    from stylefeatureeditor.metrics.attribute_classifier import AttributeClassifier


class Bench:
    """What the three commands share: photos, networks, models, and the report at the end."""

    def __init__(self, args: argparse.Namespace) -> None:
        from stylefeatureeditor.evaluation.measures import find_networks
        from stylefeatureeditor.evaluation.runner import Team
        from stylefeatureeditor.methods.loader import MethodLoader
        from stylefeatureeditor.metrics.attribute_classifier import AttributeClassifier
        from stylefeatureeditor.weights.local_models import files_folder

        self.args = args
        self.team: Team = Team.of_accelerate(cpu=args.device == "cpu")
        self.device = args.device
        if args.device == "auto":
            from stylefeatureeditor.device import best_device

            self.device = self.team.device or best_device()
        self.networks: Networks = find_networks(files_folder(), self.device)
        self.classifier: AttributeClassifier | None = None
        if args.classifier is not None:
            self.classifier = AttributeClassifier.load(args.classifier).to(self.device)
        self.loader = MethodLoader(
            args.model,
            str(self.device),
            lpips=self.networks.lpips,
            classifier=self.classifier,
            steps={word: count for given in args.steps for word, count in given.items()},
            progress=Progress,
        )
        self.notes = self.loader.notes
        self._plan: Plan | None = None

    @property
    def plan(self) -> Plan:
        """The settings, once it is known how large the photos are."""
        from stylefeatureeditor.evaluation.measures import standard_suite
        from stylefeatureeditor.evaluation.results import Plan

        if self._plan is None:
            size = self._size()
            self._plan = Plan(
                folder=self.args.output,
                photos=self._photos(size),
                suite=standard_suite(size, self.networks, self.classifier),
                batch_size=self.args.batch_size,
                device=self.device,
                team=self.team,
                seed=self.args.seed,
            )
        return self._plan

    def methods(self, words: Sequence[str] | None) -> list[tuple[Method, Editor]]:
        """Return methods by their words; None means the one that --model holds."""
        from stylefeatureeditor.editor import Editor

        found = map(self.loader.method, dict.fromkeys(words or (None,)))
        return [(method, Editor(method)) for method in found]

    def entries(
        self, words: Sequence[str]
    ) -> tuple[list[tuple[Method, Editor]], list[tuple[str, Path]]]:
        """Return the methods and the named folders that the entries of `compare` mean."""
        from stylefeatureeditor.editor import Editor
        from stylefeatureeditor.weights.local_models import find_model

        methods: list[tuple[Method, Editor]] = []
        folders: list[tuple[str, Path]] = []
        for word in words:
            label, equals, place = word.partition("=")
            found = None if equals else self.loader.entry(word)
            if found is not None:
                methods.append((found, Editor(found)))
            elif equals:
                folders.append((label, Path(place)))
            elif Path(word).exists():
                folders.append((Path(word).name, Path(word)))
            else:
                find_model(word)  # its error names what there is
        names = [method.name for method, _ in methods] + [name for name, _ in folders]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"two entries are called {twice[0]}; write LABEL=FOLDER for one")
        return methods, folders

    def inversions(self, methods: Sequence[tuple[Method, Editor]]) -> list[MethodResult]:
        """Measure how methods redraw the photos."""
        from stylefeatureeditor.evaluation.inversion import evaluate_inversion

        return [
            self._with_progress(method.name, partial(evaluate_inversion, method))
            for method, _ in methods
        ]

    def tasks(
        self, methods: Sequence[tuple[Method, Editor]], words: Sequence[EditWords]
    ) -> list[tuple[Method, EditTask, Tensor | None]]:
        """Return every edit of every method with its photos' attribute; mistakes show here."""
        from stylefeatureeditor.data.attribute_table import read_attribute_table
        from stylefeatureeditor.evaluation.edit_words import RANDOM_HALVES, resolve_edit
        from stylefeatureeditor.evaluation.editing import split_by_attribute

        table = None
        needed = any(w.attribute or w.direction not in RANDOM_HALVES for w in words)
        if self.args.attributes is not None or needed:
            source = self.args.attributes or self.args.data
            table = read_attribute_table(source).align(self.plan.photos.names)
        found: list[tuple[Method, EditTask, Tensor | None]] = []
        for method, editor in methods:
            for word in words:
                task = resolve_edit(word, editor, () if table is None else table.attributes)
                values = None
                if task.attribute is not None and table is not None:
                    values = table.column(task.attribute)
                    split_by_attribute(task, values)
                self.notes.append(f"{task.name}: {word.direction} at strength {task.strength:g}.")
                found.append((method, task, values))
        return found

    def edits(self, tasks: Sequence[tuple[Method, EditTask, Tensor | None]]) -> list[MethodResult]:
        """Measure edits."""
        from stylefeatureeditor.evaluation.editing import Judge, evaluate_edit

        judge = None
        if self.classifier is not None:
            judge = Judge(self.classifier.config.attributes, self.classifier)
        return [
            self._with_progress(
                f"{method.name} {task.name}",
                partial(evaluate_edit, method, task, values=values, judge=judge),
            )
            for method, task, values in tasks
        ]

    def finish(self, results: Sequence[MethodResult], title: str) -> int:
        """Write the report and show its table."""
        from stylefeatureeditor.evaluation.measures import protocol_notes
        from stylefeatureeditor.evaluation.report import beside_paper, merge, write_report
        from stylefeatureeditor.evaluation.report_tables import Report, to_json, to_markdown

        if self.team.rank != 0:
            return 0
        plan = self.plan
        rows = merge(results)
        report = Report(
            f"{title}: {len(plan.photos)} photos of {plan.photos.size} px",
            shlex.join(["sfe", *sys.argv[1:]]),
            rows,
            notes=(
                *protocol_notes(_smallest_set(rows)),
                self._costs(),
                *dict.fromkeys(self.notes),
                *plan.suite.left_out,
            ),
        )
        if self.args.paper != "none":
            report = beside_paper(report, self.args.paper)
        written = write_report(report, self.args.output)
        for sentence in plan.suite.left_out:
            warn(sentence)
        for row in rows:
            if row.errors:
                warn(f"{row.method}: {len(row.errors)} not measured, first: {row.errors[0]}")
        if self.args.json:
            print(to_json(report), end="")
        else:
            print(to_markdown(report))
            print(f"{written['html']}")
        return 0

    def _costs(self) -> str:
        """Say where time and memory were measured."""
        import torch

        threads = torch.get_num_threads()
        where = f"on the CPU with {threads} thread{'s' if threads > 1 else ''}"
        if torch.device(self.device).type == "cuda":
            where = f"on {torch.cuda.get_device_name(self.device)}"
        return (
            f"Seconds are per photo, in batches of {self.args.batch_size}, {where}; peak memory is "
            "the GPU's, on a CPU that of the process with all it has loaded."
        )

    def _with_progress(self, what: str, work: Callable[[Plan], MethodResult]) -> MethodResult:
        with Progress(what) as bar:
            plan = replace(self.plan, progress=lambda _, done, total: bar.update(done, total))
            return work(plan)

    def _size(self) -> int:
        given = getattr(self.args, "size", None)
        if given is not None:
            return given
        sizes = self.loader.sizes()
        if len(sizes) > 1:
            raise ConfigError(
                f"the models draw {' and '.join(map(str, sorted(sizes)))} px; compare models of "
                "one size"
            )
        return sizes.pop() if sizes else 1024

    def _photos(self, size: int) -> PhotoSet:
        from stylefeatureeditor.data.images import open_images
        from stylefeatureeditor.evaluation.photo_sets import SomePhotos

        photos = open_images(self.args.data, size, dict(self.args.where), memory_gib=0)
        if self.args.limit is None or self.args.limit >= len(photos):
            return photos
        return SomePhotos(photos, range(self.args.limit))


def _smallest_set(rows: Sequence[MethodResult]) -> int | None:
    """The images of the smallest set that a distance was taken of."""
    from stylefeatureeditor.evaluation.report_tables import is_set_distance

    sizes = [m.count for row in rows for name, m in row.values.items() if is_set_distance(name)]
    return min(sizes, default=None)
