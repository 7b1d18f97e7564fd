"""What mkdocs cannot know: pages that lie at the root, and pages that scripts have yet to make."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
AT_ROOT = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
MADE_BY_SCRIPTS = ("RESULTS.md", "PERFORMANCE.md", "RELIABILITY.md")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Leave pages out of the navigation that no script has made yet."""
    docs = Path(config.docs_dir)
    missing = {name for name in MADE_BY_SCRIPTS if not (docs / name).is_file()}
    config.nav = _without(config.nav, missing)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the repository's root, their links counted from docs/."""
    for source, page in AT_ROOT.items():
        text = (ROOT / source).read_text("utf-8").replace("](docs/", "](")
        for other, its_page in AT_ROOT.items():
            text = text.replace(f"]({other})", f"]({its_page})")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Keep the words of a link that leaves the site for the repository, or to an unmade page."""
    unmade = [name for name in MADE_BY_SCRIPTS if not (ROOT / "docs" / name).is_file()]

    def kept(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(page.file.src_uri, "..", link[2]))
        return link[1] if target.startswith("../") or target in unmade else link[0]

    return re.sub(r"\[([^\]]+)\]\(([^)#\s]+)[^)]*\)", kept, markdown)


def _without(nav: Any, missing: set[str]) -> Any:
    """Return a navigation tree without the pages in `missing`."""
    if isinstance(nav, list):
        return [kept for kept in (_without(entry, missing) for entry in nav) if kept is not None]
    if isinstance(nav, dict):
        kept = {title: _without(entry, missing) for title, entry in nav.items()}
        return kept if all(entry is not None for entry in kept.values()) else None
    return None if nav in missing else nav
