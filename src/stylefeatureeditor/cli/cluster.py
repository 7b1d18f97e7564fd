"""--ray: the jobs of a command through `cluster.spread`, in actors that run the same command."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from stylefeatureeditor.cli.batch import MISTAKE, Job, PhotoJobs, check_jobs
from stylefeatureeditor.cli.options import finite, positive, reader
from stylefeatureeditor.cli.output import Progress, say_error
from stylefeatureeditor.cluster import (
    FAILED,
    KEPT,
    MADE,
    MANIFESTS,
    REPORT,
    Work,
    read_manifest,
    spread,
)
from stylefeatureeditor.errors import ConfigError, SfeError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from stylefeatureeditor.cli.batch import Maker
    from stylefeatureeditor.cli.options import Args
    from stylefeatureeditor.cluster import Fate, Row

NAMED = 5  # of the photos that failed; the report has all
share = reader("a number of at least 0", r"(\d*\.?\d+)", finite)


def add_ray(parser: argparse.ArgumentParser) -> None:
    """Add --ray and what goes with it."""
    group = parser.add_argument_group("on a cluster")
    group.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="do a folder, or a manifest (.csv or .parquet with the columns photo and output), in "
        "actors of Ray: on the cluster at HOST:PORT or auto, on this machine if left out",
    )
    group.add_argument(
        "--actors",
        type=positive,
        metavar="N",
        help="models open at a time; one for each GPU if left out, else for each processor",
    )
    group.add_argument(
        "--gpus",
        type=share,
        metavar="N",
        help="of an actor; 0.25 lets four share one; 1 if left out and the cluster has any",
    )


def check_ray(args: Args) -> None:
    """Refuse what means nothing without --ray."""
    if not args.ray and (args.actors is not None or args.gpus is not None):
        raise ConfigError("--actors and --gpus go with --ray")


def run_on_ray(
    args: Args, plan: Callable[[], PhotoJobs], open_maker: Callable[[Args], Maker]
) -> int:
    """Run a command's jobs in actors of Ray; return the exit code.

    Args:
        args: of the command line; each actor gets them.
        plan: what the arguments ask for, unless they name a manifest.
        open_maker: opens the model on the machine of an actor.
    """
    if args.output is None:
        raise ConfigError("--ray writes to a folder: name it with -o")
    folder, named = Path(args.output), args.photos
    skipped: tuple[str, ...] = ()
    if len(named) == 1 and named[0].suffix.lower() in MANIFESTS:
        rows = read_manifest(named[0], folder)
        check_jobs([Job(Path(photo), Path(output)) for photo, output in rows], (".png",))
    else:
        if not (len(named) > 1 or named[0].is_dir()):
            raise ConfigError("--ray takes a folder, several photos or a manifest, not one photo")
        jobs = plan()
        rows = [(str(job.photo.absolute()), str(job.output.absolute())) for job in jobs.jobs]
        skipped = jobs.skipped
    for sentence in skipped:
        say_error(sentence)
    failures: list[str] = []
    with Progress("photos", len(rows)) as bar:

        def see(table: list[dict[str, str]]) -> None:
            bar.update(bar.done + len(table))
            for row in table:
                if row["status"] == FAILED and len(failures) < NAMED:
                    failures.append(f"{row['photo']}: {row['message']}")

        count = spread(
            rows,
            partial(open_work, args, open_maker),
            folder,
            address=args.ray,
            batch_size=args.batch_size,
            actors=args.actors,
            gpus=args.gpus,
            overwrite=args.overwrite,
            see=see,
        )
    print(f"{count[MADE]} made, {count[KEPT]} done before: {folder / REPORT}")
    if failures:
        failures.append(f"{count[FAILED]} of {len(rows)} photos failed: see {folder / REPORT}")
    for failure in failures:
        say_error(failure)
    return MISTAKE if failures else 0


def open_work(args: Args, open_maker: Callable[[Args], Maker]) -> Work:
    """Open a command's model in an actor.

    A batch with a photo that is left is done whole: results in the last digit depend on which
    photos pass the networks together, and what is done again must be the same bytes.
    """
    maker = open_maker(args)

    def make(rows: Sequence[Row]) -> list[Fate]:
        jobs = [Job(Path(photo), Path(output)) for photo, output in rows]
        fates = {job: _fate_before(job, maker, overwrite=args.overwrite) for job in jobs}
        if any(status == MADE for status, _ in fates.values()):
            again = [job for job, (status, _) in fates.items() if status != FAILED]
            for job, outcome in maker.make(again):
                fates[job] = (MADE, "") if isinstance(outcome, str) else (FAILED, str(outcome))
        return list(fates.values())

    return Work(maker.settings, make)


def _fate_before(job: Job, maker: Maker, *, overwrite: bool) -> Fate:
    """KEPT, FAILED where the output is another's, MADE where it is still to be made."""
    try:
        left = PhotoJobs((job,), several=True).left(maker.settings, overwrite=overwrite)
    except SfeError as error:
        return FAILED, str(error)
    return (MADE if left else KEPT), ""
