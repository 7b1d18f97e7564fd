"""`sfe edit`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stylefeatureeditor.app.cli.options import Commands


def add_to(commands: Commands) -> None:
    """Add the command."""
