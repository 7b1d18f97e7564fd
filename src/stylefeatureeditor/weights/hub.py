"""Models on the Hugging Face Hub, by ORG/NAME or ORG/NAME@REVISION.

Only safetensors and JSON are fetched, so nothing of it can run. Cache, token and working
offline are those of huggingface_hub: HF_HOME, HF_TOKEN, HF_HUB_OFFLINE.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylefeatureeditor.errors import DependencyError, DownloadError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FILES = ["*.safetensors", "*.json"]
CARD = "README.md"
CARD_TEXT = """---
{fields}
---

# {name}

{method} at {size} x {size} pixels: it edits real photos through StyleGAN2.

```python
import stylefeatureeditor as sfe  # pip install 'stylefeatureeditor[faces,hub]'

editor = sfe.Editor.from_pretrained("{repository}")
editor.edit("photo.jpg", {{"{edit}": 1.0}}).photo.save("edited.png")
```
"""
REPOSITORY = re.compile(r"(\w[\w.-]*)/(\w[\w.-]*)(?:@([\w./-]+))?")


def names_repository(name: str | Path) -> bool:
    """Return whether a model's name means the Hub: ORG/NAME, and there is no folder ORG here."""
    match = REPOSITORY.fullmatch(name) if isinstance(name, str) else None
    return match is not None and not Path(match[1]).is_dir()


@cache
def pull(
    name: str,
    *,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: Path | None = None,
    local_files_only: bool = False,
) -> Path:
    """Return the folder of a model of the Hub, fetched unless it is in the cache; once a process.

    Args:
        name: ORG/NAME or ORG/NAME@REVISION.
        revision: a branch, tag or commit; None takes the one in the name, or main.
        token: None takes the one that the user has logged in with, if any.
        cache_dir: None means huggingface_hub's own.
        local_files_only: use the cache alone.

    Raises:
        DownloadError: there is no such model, it may not be read, or the Hub does not answer.
        DependencyError: the extra `hub` is not installed.
    """
    repository, _, named = name.partition("@")
    with _hub(f"there is no folder {name} here, and {repository} cannot be fetched") as hub:
        folder = hub.snapshot_download(
            repository,
            revision=revision or named or None,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            allow_patterns=FILES,
            library_name="stylefeatureeditor",
        )
    return Path(folder)


def push(
    folder: Path,
    repository: str,
    *,
    revision: str | None = None,
    token: str | None = None,
    private: bool | None = None,
    message: str | None = None,
) -> str:
    """Upload a model folder and its card as one commit, and return the commit's address.

    Args:
        folder: with config.json, safetensors and the card; it replaces what was there.
        repository: ORG/NAME; made if it is not there, `private` or as the organisation has it.
        revision: a branch, made if it is not there; None is main.
        token: as in `pull`.
        private: who may see a new repository.
        message: of the commit.

    Raises:
        DownloadError: the Hub refuses, or does not answer.
        DependencyError: the extra `hub` is not installed.
    """
    with _hub(f"the model cannot be pushed to {repository}") as hub:
        api = hub.HfApi(token=token)
        api.create_repo(repository, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repository, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            revision=revision,
            commit_message=message or "Upload a model of StyleFeatureEditor",
            allow_patterns=[*FILES, CARD],
            delete_patterns=FILES,
        )
    return str(commit.commit_url)


def card(
    repository: str,
    *,
    size: int,
    method: str,
    directions: Sequence[str] = (),
    license: str | None = None,  # noqa: A002  # the Hub's word
    base_model: str | None = None,
    measured: Mapping[str, Mapping[str, float]] | None = None,
) -> str:
    """Return a model card: the Hub's fields, what the model is, how to run it, what was measured.

    Args:
        repository: ORG/NAME.
        size: side of the crops in pixels.
        method: its title.
        directions: names of the edits it knows.
        license: an identifier of the Hub, such as mit; None leaves it out.
        base_model: ORG/NAME of the model that this one was trained from.
        measured: row -> metric -> value.
    """
    with _hub(f"the card of {repository} cannot be written") as hub:
        fields = hub.ModelCardData(
            library_name="stylefeatureeditor",
            pipeline_tag="image-to-image",
            license=license,
            base_model=base_model,
            tags=["gan-inversion", "image-editing", "stylegan2"],
        ).to_yaml()
    edits = ", ".join(f"`{name}`" for name in directions)
    text = CARD_TEXT.format(
        fields=fields,
        repository=repository,
        name=repository.partition("/")[2],
        method=method,
        size=size,
        edit=next(iter(directions), "smile"),
    )
    if edits:
        text += f"\n## Edits\n\n{edits}\n"
    return text + (f"\n## Measured\n\n{_table(measured)}\n" if measured else "")


def _table(measured: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown of row -> metric -> value; what a row lacks is left empty."""
    metrics = list(dict.fromkeys(metric for row in measured.values() for metric in row))
    cells = [["", *metrics], ["---"] * (1 + len(metrics))]
    for name, row in measured.items():
        cells.append([name, *(f"{row[m]:.4g}" if m in row else "" for m in metrics)])
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


@contextmanager
def _hub(refusal: str) -> Iterator[Any]:
    """huggingface_hub; its errors, and its absence, become one sentence."""
    try:
        import huggingface_hub as hub
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise DependencyError(
            f"{refusal}: install `pip install 'stylefeatureeditor[hub]'`"
        ) from error
    any_http: Any = HfHubHTTPError.__base__  # the client's own, which connections fail with
    try:
        yield hub
    except (OSError, ValueError, any_http) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise DownloadError(f"{refusal}: {reason[0]}") from error
