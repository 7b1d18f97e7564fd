"""Where the compared methods publish their weights, and under which licence.

Sizes and hashes are not stated by the publishers, so they are None. A licence of None means that
the repository has no licence file: all rights reserved by default. Every generator among these is
NVIDIA's FFHQ model, whose own licence (non-commercial) also applies.
"""

from __future__ import annotations

from stylefeatureeditor.methods.methods import METHODS
from stylefeatureeditor.weights import sources
from stylefeatureeditor.weights.sources import Source

_DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="
_NON_COMMERCIAL_GENERATOR = "; G is NVIDIA's, non-commercial"
MIT = f"MIT{_NON_COMMERCIAL_GENERATOR}"
INTERDIGITAL = f"InterDigital (evaluation and research only){_NON_COMMERCIAL_GENERATOR}"
VINAI = f"VinAI (like BSD-3){_NON_COMMERCIAL_GENERATOR}"
NVIDIA = "NVIDIA Source Code License (non-commercial)"


def _source(name: str, file_name: str, drive: str, licence: str | None, what: str) -> Source:
    return Source(
        name=name,
        file_name=file_name,
        urls=(_DRIVE + drive,),
        licence=licence,
        what=what,
        feeds="comparisons",
    )


COMPARISON_SOURCES = (
    _source(
        "psp-ffhq",
        "psp_ffhq_encode.pt",
        "1bMTNWkh5LArlaWSc_wa8VKyq2V42T2z0",
        MIT,
        "pSp, faces; its generator serves Feature-Style too",
    ),
    _source(
        "restyle-psp-ffhq",
        "restyle_psp_ffhq_encode.pt",
        "1sw6I2lRIB0MpuJkpc8F5BJiSZrc0hjfE",
        MIT,
        "ReStyle over pSp, faces",
    ),
    _source(
        "restyle-e4e-ffhq",
        "restyle_e4e_ffhq_encode.pt",
        "1e2oXVeBPXMQoUoC_4TNwAWpOPpSEhE_e",
        MIT,
        "ReStyle over e4e, faces",
    ),
    _source(
        "feature-style-ffhq",
        "143_enc.pth",
        "1RnnBL77j_Can0dY1KOiXHvG224MxjvzC",
        INTERDIGITAL,
        "Feature-Style encoder, faces; needs psp-ffhq",
    ),
    _source(
        "style-transformer-ffhq",
        "style_transformer_ffhq.pt",
        "1XJWP712o-wWZrfzXJ07vc3dHjJF8CanT",
        None,
        "Style Transformer, faces, inversion",
    ),
    _source(
        "hfgi-ffhq",
        "hfgi_ckpt.pt",
        "19y6pxOiJWB0NoG3fAZO9Eab66zkN9XIL",
        None,
        "HFGI, faces",
    ),
    _source(
        "styleres-ffhq",
        "styleres_ffhq.pth",
        "1SXNe_txGQaGQg3AthSdwlBAlDPjlzFet",
        NVIDIA,
        "StyleRes, faces",
    ),
    _source(
        "w-encoder-ffhq",
        "faces_w_encoder.pt",
        "1M-hsL3W_cJKs77xM1mwq2e9-J0_m7rHP",
        MIT,
        "encoder to W of HyperStyle, faces",
    ),
    _source(
        "hyperstyle-ffhq",
        "hyperstyle_ffhq.pt",
        "1C3dEIIH1y8w1-zQMCyx7rDF0ndswSXh4",
        MIT,
        "HyperStyle, faces; needs w-encoder-ffhq",
    ),
    _source(
        "hyperinverter-ffhq",
        "hyperinverter_ffhq.pt",
        "1DdYBgo66NmiuM9lVkuTeRZf7spdQAS79",
        VINAI,
        "HyperInverter, faces, of the paper; needs nvidia-ffhq and its encoder to W",
    ),
    _source(
        "hyperinverter-light-ffhq",
        "hyperinverter_light_ffhq.pt",
        "15PV54F5q-5fotw156ZxO04mxvg-nfq3k",
        VINAI,
        "HyperInverter, faces, half as wide; needs the same",
    ),
    _source(
        "hyperinverter-w-encoder-ffhq",
        "hyperinverter_w_encoder_ffhq.pt",
        "1lVSrMHLHBwEUt0j_p5nGgWrYDffyGhgW",
        VINAI,
        "encoder to W of HyperInverter, faces",
    ),
)


def published_files() -> dict[str, Source]:
    """Return name -> file of everything that `sfe models pull` can fetch."""
    return {**sources.SOURCES, **{source.name: source for source in COMPARISON_SOURCES}}


def published_groups() -> dict[str, tuple[str, ...]]:
    """Return group -> names of its files; a method is a group of the files it is made of."""
    return {**sources.GROUPS, **{kind.word: kind.sources for kind in METHODS if kind.sources}}


def find_published(name: str) -> tuple[Source, ...]:
    """Return the files of a group or method, or the one file of that name.

    Raises:
        WeightsError: nothing is called so.
    """
    return sources.find_sources(name, published_files(), published_groups())


def licence_text(source: Source) -> str:
    """Return what a user has to know of the licence before a download."""
    return source.licence or "none stated: all rights reserved, ask its authors"
