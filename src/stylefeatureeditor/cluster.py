"""Rows (photo, output) through a Ray cluster: actors that open a model once, and a report.

    rows -> blocks -> actors: photo -> output -> status rows -> report.parquet

An actor that dies is started again and its rows with it, so work has to write the same bytes each
time, and a file whole or not at all. Work that looks at what is there (`sfe edit` does) is not done
twice.
"""

from __future__ import annotations

import csv
import json
import logging
import os
import platform
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.errors import ConfigError, DependencyError, PhotoError, SfeError
from stylefeatureeditor.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    Row = tuple[str, str]  # photo, output
    Fate = tuple[str, str]  # MADE, KEPT or FAILED, and what there is to say

MADE, KEPT, FAILED = "made", "kept", "failed"
REPORT = "report.parquet"
COLUMNS = ("photo", "output", "status", "message", "seconds")
SETTINGS, LOCK = ".settings.json", ".lock"  # beside the report
MANIFESTS = (".csv", ".parquet")
BLOCKS_PER_ACTOR = 4  # at least, so that the last actor does not work alone for long
OBJECTS = 1 << 28  # bytes of memory that Ray shares where it is started: no pixels pass there
BATCHES_PER_BLOCK = 16  # at most: what is done again where an actor dies


@dataclass(frozen=True)
class Work:
    """What an actor does once it is open.

    Attributes:
        settings: what decides how outputs look, for JSON; it must be the same on all machines.
        make: gets rows of photo and output and returns, for each, `MADE`, `KEPT` or `FAILED`, and
            a sentence. It gets at most a batch. What it raises fails all of them.
    """

    settings: Mapping[str, Any]
    make: Callable[[Sequence[Row]], Iterable[Fate]]


class Worker:
    """The actor of Ray Data's `map_batches`: columns photo and output in, the report's out."""

    def __init__(self, open_work: Callable[[], Work], settings: str) -> None:
        self.work = open_work()
        if json.dumps(self.work.settings, sort_keys=True) != settings:
            raise ConfigError(
                f"{platform.node()} has another model or other files than the machine that "
                "began: install the same on all"
            )

    def __call__(self, batch: Mapping[str, Iterable[Any]]) -> dict[str, list[Any]]:
        """Return the rows of the report; `seconds` is each photo's share of its batch."""
        rows = [(str(a), str(b)) for a, b in zip(batch["photo"], batch["output"], strict=True)]
        start = time.perf_counter()
        fates: dict[Row, Fate] = {}
        with TemporaryDirectory() as folder:
            here: dict[Row, Row] = {}
            for number, row in enumerate(rows):
                try:
                    here[row] = _fetched(row[0], Path(folder, str(number))), row[1]
                except Exception as error:  # noqa: BLE001, PERF203 (each file system has its own)
                    fates[row] = FAILED, f"{row[0]} cannot be read: {error}"
            try:
                fates |= zip(here, self.work.make(list(here.values())), strict=True)
            except Exception as error:  # noqa: BLE001 (a million others wait for this batch)
                said = str(error) if isinstance(error, SfeError) else repr(error)
                fates |= dict.fromkeys(here, (FAILED, said))
        share = (time.perf_counter() - start) / max(1, len(rows))
        columns = ((*row, *fates[row], share) for row in rows)
        return dict(zip(COLUMNS, map(list, zip(*columns, strict=True)), strict=True))


def read_manifest(path: Path, folder: Path) -> list[Row]:
    """Return the rows of a CSV or Parquet file with the columns photo and output.

    Args:
        path: a photo is a path, from the manifest's folder if it is relative, or an address that
            fsspec reads, such as s3://bucket/photo.jpg.
        folder: where outputs go; they are relative to it.

    Raises:
        PhotoError: the file cannot be read, has no such columns or no rows, names an output twice
            or one outside `folder`.
    """
    try:
        if path.suffix.lower() == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as file:
                read = [(row["photo"], row["output"]) for row in csv.DictReader(file)]
        else:
            table = _pyarrow().parquet.read_table(path, columns=["photo", "output"]).to_pydict()
            read = list(zip(table["photo"], table["output"], strict=True))
    except KeyError as error:
        raise PhotoError(f"the manifest {path} has no column {error}") from error
    except (OSError, ValueError, csv.Error) as error:
        raise PhotoError(f"the manifest {path} cannot be read: {error}") from error
    if not read or not all(photo and output for photo, output in read):
        raise PhotoError(f"the manifest {path} must name a photo and an output in each row")
    outputs = Counter(os.path.normpath(output) for _, output in read)
    for output, count in outputs.items():
        if count > 1:
            raise PhotoError(f"the manifest {path} names the output {output} twice")
        if Path(output).is_absolute() or ".." in Path(output).parts:
            raise PhotoError(f"outputs of {path} are relative to --output, {output} is outside")
    place = path.parent.absolute()
    return [(a if "://" in a else str(place / a), str(folder.absolute() / b)) for a, b in read]


def spread(
    rows: Sequence[Row],
    open_work: Callable[[], Work],
    folder: Path,
    *,
    address: str = "local",
    batch_size: int = 4,
    actors: int | None = None,
    gpus: float | None = None,
    overwrite: bool = False,
    see: Callable[[list[dict[str, Any]]], None] = lambda _: None,
) -> Counter[str]:
    """Do work on rows with Ray and write what has become of each to `folder`/report.parquet.

    The report's columns are photo, output, status ("made", "kept" or "failed"), message and
    seconds, in the order in which rows were done.

    Args:
        rows: photo and output; all machines must see both. A photo may be an address of fsspec.
        open_work: called once in each actor; Ray must be able to pickle it.
        folder: made if it is not there. It keeps the settings of its job.
        address: "local" starts Ray on this machine; "auto" or HOST:PORT joins a cluster.
        batch_size: rows that `Work.make` gets at a time.
        actors: how many models are open at a time; None: one for each GPU, else each processor.
        gpus: of an actor; 0.25 lets four share one. None: 1 where the cluster has any, else 0.
        overwrite: take the folder of a job with other settings.
        see: gets rows of the report as they come.

    Returns:
        How many rows have each status.

    Raises:
        DependencyError: the extra `ray` is not installed.
        ConfigError: another job writes to the folder, or one of other settings has; the cluster is
            not there, or has no GPU.
        SfeError: what `open_work` raises.
    """
    pyarrow = _pyarrow()
    schema = pyarrow.schema([(name, pyarrow.string()) for name in COLUMNS[:4]])
    schema = schema.append(pyarrow.field("seconds", pyarrow.float64()))
    count: Counter[str] = Counter()
    with _cluster(folder, address) as ray:
        has = ray.cluster_resources()
        gpus = float(has.get("GPU", 0) > 0) if gpus is None else gpus
        if gpus > has.get("GPU", 0):
            raise ConfigError(f"an actor wants {gpus:g} GPUs, Ray finds {has.get('GPU', 0):g}")
        actors = actors or max(1, int(has["GPU"] / gpus if gpus else has.get("CPU", 1)))
        settings = ray.get(ray.remote(num_gpus=gpus)(_settings).remote(open_work))
        _keep(folder, settings, overwrite=overwrite)
        batches = -(-len(rows) // batch_size)
        block = batch_size * max(1, min(BATCHES_PER_BLOCK, batches // (actors * BLOCKS_PER_ACTOR)))
        tables = [
            pyarrow.Table.from_pylist([{"photo": a, "output": b} for a, b in rows[at : at + block]])
            for at in range(0, len(rows), block)
        ]
        done = ray.data.from_arrow(tables).map_batches(
            Worker,
            fn_constructor_args=(open_work, settings),
            compute=ray.data.ActorPoolStrategy(size=actors),
            batch_size=batch_size,
            num_cpus=1,
            num_gpus=gpus,
        )
        with (
            atomic_path(folder / REPORT) as path,
            pyarrow.parquet.ParquetWriter(path, schema) as writer,
        ):
            for table in done.iter_batches(batch_size=None, batch_format="pyarrow"):
                writer.write_table(table.select(list(COLUMNS)).cast(schema))
                count.update(table["status"].to_pylist())
                see(table.to_pylist())
    return count


@contextmanager
def _cluster(folder: Path, address: str) -> Iterator[Any]:
    """Give the block `ray`, joined, while no other job writes to `folder`."""
    import ray
    import ray.data
    from filelock import FileLock, Timeout  # brings asyncio, for which no refusal should wait

    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK, timeout=0):
            joined = ray.is_initialized()
            if not joined:
                _join(ray, address)
            try:
                yield ray
            except ray.exceptions.RayError as error:
                raise _cause(error) from error
            finally:
                if not joined:
                    ray.shutdown()
    except Timeout:
        raise ConfigError(f"another job writes to {folder}: wait for it, or name another") from None


def _join(ray: Any, address: str) -> None:
    """Start or join a cluster that says nothing on our streams, and nothing to its makers."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    new = {"include_dashboard": False, "object_store_memory": OBJECTS} if address == "local" else {}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **new)
    except Exception as error:  # of no common class
        raise ConfigError(f"Ray does not start, or is not there, at {address}: {error}") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False


def _settings(open_work: Callable[[], Work]) -> str:
    return json.dumps(open_work().settings, sort_keys=True)


def _keep(folder: Path, settings: str, *, overwrite: bool) -> None:
    """Write the settings of a job beside its report, or refuse those that differ from before."""
    file = folder / SETTINGS
    if file.exists() and not overwrite and file.read_text("utf-8") != settings:
        raise ConfigError(
            f"{folder} was made with other settings ({SETTINGS} there): name another folder, or "
            "replace with --overwrite"
        )
    with atomic_path(file) as path:
        path.write_text(settings, "utf-8")


def _cause(error: BaseException) -> BaseException:
    """What our own code raised on another machine, or else the last line of Ray's error."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, SfeError) and not hasattr(inner, "cause"):
            return inner
        inner = getattr(inner, "cause", None) or inner.__cause__
    said = str(error).strip().splitlines()
    return ConfigError(f"Ray ended the job: {said[-1] if said else type(error).__name__}")


def _fetched(photo: str, folder: Path) -> str:
    """A photo's path on this machine: what an address of fsspec leads to is copied to `folder`."""
    if "://" not in photo:
        return photo
    import fsspec

    folder.mkdir()
    copy = folder / (PurePosixPath(photo).name or "photo")
    with fsspec.open(photo) as file:
        copy.write_bytes(file.read())
    return str(copy)


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
        import ray  # noqa: F401
    except ImportError as error:
        raise DependencyError(
            'a cluster needs Ray: `pip install "stylefeatureeditor[ray]"`'
        ) from error
    return pyarrow
