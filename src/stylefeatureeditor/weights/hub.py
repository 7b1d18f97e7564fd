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

    `name` is ORG/NAME or ORG/NAME@REVISION; `revision` is a branch, tag or commit, None the one in
    the name, or main. `token` and `cache_dir` None are huggingface_hub's own; `local_files_only`
    uses the cache alone. DownloadError if there is no such model, it may not be read, or the Hub
    does not answer; DependencyError without the extra `hub`.
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

    The folder replaces what was there. The repository, ORG/NAME, is made if needed, `private` or as
    the organisation has it; so is the branch `revision`, None being main. DownloadError if the Hub
    refuses or does not answer; DependencyError without the extra `hub`.
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

    `size` is the crops' side in pixels; `directions` are names of edits; `license` an identifier of
    the Hub, such as mit; `base_model` ORG/NAME of the model it was trained from; `measured` row ->
    metric -> value.
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
