"""The table of published files."""

from __future__ import annotations

from stylefeatureeditor.methods.published import COMPARISON_SOURCES


def test_every_published_file_has_its_own_name_and_address():
    for attribute in ("name", "file_name", "urls"):
        assert len({getattr(source, attribute) for source in COMPARISON_SOURCES}) == 12
    unlicensed = {source.name for source in COMPARISON_SOURCES if source.licence is None}
    assert unlicensed == {"style-transformer-ffhq", "hfgi-ffhq"}
