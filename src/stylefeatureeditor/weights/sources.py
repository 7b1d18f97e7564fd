"""Where published files come from: address, size, licence, SHA-256.

A size or a hash is given where the publisher, or a page that shows the stored file, states it;
None means that nobody states it, so it cannot be checked. A licence of None means the same. The
hashes of the direction files were computed from the published files themselves.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from stylefeatureeditor.errors import WeightsError

_MODELS = "https://huggingface.co/AIRI-Institute/StyleFeatureEditor/resolve/main/pretrained_models/"
_EDITINGS = "https://raw.githubusercontent.com/{}/StyleFeatureEditor/main/editings/"
_LPIPS = (
    "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/"
)
_LPIPS_COPY = "https://huggingface.co/chaofengc/IQA-PyTorch-Weights/resolve/main/"
_TORCHVISION = "https://download.pytorch.org/models/"

_RELEASE = "MIT (the release); the generator's own licence also applies"
_NVIDIA = "NVIDIA Source Code License (non-commercial)"


@dataclass(frozen=True, kw_only=True)
class Source:
    """One published file.

    Attributes:
        name: what the command line calls it.
        file_name: its name in the cache.
        urls: its addresses, the publisher's first; the next is tried when one fails.
        size: bytes, or None if not stated.
        sha256: 64 hexadecimal digits, or None if not stated.
        licence: what the publisher states, or None.
        what: one line for a table.
        feeds: the part of the model, or the measurement, that needs it.
    """

    name: str
    file_name: str
    urls: tuple[str, ...]
    size: int | None = None
    sha256: str | None = None
    licence: str | None
    what: str
    feeds: str


DEFAULT_MODEL = "faces"  # the built-in one

GROUP_MODELS = {  # a group that makes a model: what it is made of
    "ffhq": {"sfe": "sfe-editor", "generator": "stylegan2-ffhq", "e4e": "e4e-ffhq"}
}


def _released(
    name: str,
    what: str,
    feeds: str,
    file_name: str,
    sha256: str | None = None,
    *,
    size: int | None = None,
    licence: str | None,
    copies: tuple[str, ...] = (),
) -> Source:
    """A file of the release's model repository."""
    return Source(
        name=name,
        file_name=file_name.rpartition("/")[2],
        urls=(_MODELS + file_name, *copies),
        size=size,
        sha256=sha256,
        licence=licence,
        what=what,
        feeds=feeds,
    )


def _direction(name: str, what: str, path: str, size: int | None, sha256: str | None) -> Source:
    """A file of the release's code repository, which has moved once."""
    return Source(
        name=name,
        file_name=path.rpartition("/")[2],
        urls=(_EDITINGS.format("ControlGenAI") + path, _EDITINGS.format("AIRI-Institute") + path),
        size=size,
        sha256=sha256,
        licence="MIT (the release)",
        what=what,
        feeds="directions",
    )


def _mapper(name: str) -> Source:
    return _released(
        f"mapper-{name}",
        f"StyleCLIP mapper: {name.replace('_', ' ')}",
        "directions",
        f"styleclip_mappers/{name}.pt",
        licence="MIT (the release)",
    )


_MODEL_FILES = (
    _released(
        "sfe-editor",
        "Inverter and Feature Editor, both phases, faces at 1024",
        "inverter, feature editor",
        "sfe_editor_light.pt",
        "ced3e79813ec6ff1418404576cc43e3c92849ab124ec87cd72be42dcb25311ea",
        licence=_RELEASE,
    ),
    _released(
        "sfe-inverter",
        "Inverter alone, after phase 1, faces at 1024",
        "inverter",
        "sfe_inverter_light.pt",
        "ebaeeef89569e5b7f34df2df733deb61f2031962e30d4d14e3dba147f208517a",
        licence=_RELEASE,
    ),
    _released(
        "stylegan2-ffhq",
        "StyleGAN2 generator, faces at 1024, rosinality layout",
        "generator",
        "stylegan2-ffhq-config-f.pt",
        licence=_NVIDIA,
    ),
    _released(
        "e4e-ffhq",
        "e4e encoder, faces",
        "e4e",
        "e4e_ffhq_encode.pt",
        licence="MIT",
    ),
    Source(
        name="nvidia-ffhq",
        file_name="ffhq.pkl",
        urls=("https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/ffhq.pkl",),
        licence=_NVIDIA,
        what="StyleGAN2 generator and discriminator, faces at 1024, NVIDIA's pickle",
        feeds="generator, discriminator",
    ),
    _released(
        "iresnet50",
        "ArcFace iresnet50",
        "training of the inverter",
        "iresnet50-7f187506.pth",
        "7f187506810d697785b8f0fa3fc22190c003aad3c0782513708efbe1ccd28b35",
        licence=None,
    ),
    _released(
        "ir-se50",
        "ArcFace IR-SE50",
        "identity loss and metric, training of e4e",
        "model_ir_se50.pth",
        "a035c768259b98ab1ce0e646312f48b9e1e218197a0f80ac6765e88f8b6ddf28",
        size=175_367_323,
        licence="MIT",
        copies=("https://huggingface.co/sj98/DiffuseIT/resolve/main/model_ir_se50.pth",),
    ),
    _released(
        "moco-v2",
        "MoCo v2 ResNet50",
        "identity loss of domains other than faces",
        "moco_v2_800ep_pretrain.pt",
        "5e4a3fd7178a95837c0ad71c265ed5f477d271e753ba505b6b6a5e86829eeb7e",
        licence=None,
    ),
    _released(
        "farl-lapa",
        "FaRL face parser, TorchScript",
        "edit mask",
        "face_parsing.farl.lapa.main_ema_136500_jit191.pt",
        "f5a874906795ef89fadd7cf3b5b218ed8550fa9dbb383b7c0f95726c3a352914",
        licence="MIT",
    ),
    _released(
        "bisenet",
        "BiSeNet face parser",
        "edit mask",
        "79999_iter.pth",
        "468e13ca13a9b43cc0881a9f99083a430e9c0a38abd935431d1c28ee94b26567",
        size=53_289_463,
        licence="MIT",
        copies=("https://huggingface.co/bes-dev/face_parsing/resolve/main/79999_iter.pth",),
    ),
    _released(
        "curricularface",
        "CurricularFace IR101",
        "identity metric",
        "CurricularFace_Backbone.pth",
        "031ea0f7ba5f46905980cc446f0bbf9539e361246bff95f7077efffe2f110e04",
        size=260_837_256,
        licence="MIT",
    ),
)

_DIRECTION_FILES = (
    _direction(
        "age",
        "InterFaceGAN: age",
        "interfacegan_directions/age.pt",
        2_808,
        "50074516b1629707d89b5e43d6b8abd1792212fa3b961a87a11323d6a5222ae0",
    ),
    _direction(
        "smile",
        "InterFaceGAN: smile",
        "interfacegan_directions/smile.pt",
        2_808,
        "817a7e732b59dee9eba862bec8bd7e8373568443bc9f9731a21cf9b0356f0653",
    ),
    _direction(
        "rotation",
        "InterFaceGAN: rotation",
        "interfacegan_directions/rotation.pt",
        2_808,
        "9ef9787ac6b7b37940e47fef22e78cbbe5aeae2e566c0b391bf279f3264b1d1c",
    ),
    _direction(
        "ffhq-pca",
        "GANSpace components, faces",
        "ganspace_pca/ffhq_pca.pt",
        167_562,
        "4d7f9df1c96180d9026b9cb8d04753579fbf385f321a9d0e263641601c5e5d36",
    ),
    _direction(
        "cars-pca",
        "GANSpace components, cars",
        "ganspace_pca/cars_pca.pt",
        167_562,
        "a5c3bae61ecd85de077fbbf103f5f30cf4b7676fe23a8508166eaf2ce73c8392",
    ),
    _direction(
        "fs-glasses",
        "boundary: eyeglasses",
        "bound/Eyeglasses_boundary.npy",
        36_992,
        "227c8edae45f8cf06a0578e8422ef2dc59de6fb741d55280746a63fd40d2936c",
    ),
    _direction(
        "fs-smiling",
        "boundary: smiling",
        "bound/Smiling_boundary.npy",
        36_992,
        "5782190b00340d58f8418885dc9ad9ab53462874d7a9a1b91241e76099c9fc22",
    ),
    _direction(
        "fs-makeup",
        "boundary: heavy makeup",
        "bound/Heavy_Makeup_boundary.npy",
        36_992,
        "dbd6336240825cf1a8077c5e40bde544ebd6b7c300ee76e28991e8e2d892030d",
    ),
    _direction(
        "styleclip-statistics",
        "StyleCLIP: channel statistics",
        "styleclip/global_mapper_data/S_mean_std",
        75_092,
        "d35879347e5df307287404d08b9166c4e304c544c07e5c0d345d346bde77656f",
    ),
    _direction(
        "styleclip-templates",
        "StyleCLIP: prompt templates",
        "styleclip/global_mapper_data/templates.txt",
        1_727,
        "9cf11dc6bfc24c775bd4a500a616fde36d9f19a7c61234bdd111606bd649a0ef",
    ),
    _direction(
        "styleclip-channels",
        "StyleCLIP: what each channel does in CLIP's space",
        "styleclip/global_mapper_data/delta_i_c.npy",
        None,
        None,
    ),
)

_MAPPER_FILES = (
    _mapper("afro"),
    _mapper("angry"),
    _mapper("beyonce"),
    _mapper("bobcut"),
    _mapper("bowlcut"),
    _mapper("curly_hair"),
    _mapper("depp"),
    _mapper("hilary_clinton"),
    _mapper("mohawk"),
    _mapper("purple_hair"),
    _mapper("surprised"),
    _mapper("taylor_swift"),
    _mapper("trump"),
    _mapper("zuckerberg"),
)

_METRIC_FILES = (
    Source(
        name="lpips-alex-lin",
        file_name="lpips_alex.pth",
        urls=(_LPIPS + "alex.pth", _LPIPS_COPY + "LPIPS_v0.1_alex-df73285e.pth"),
        sha256="df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        licence="BSD-2-Clause",
        what="LPIPS 0.1 weights over AlexNet",
        feeds="LPIPS metric",
    ),
    Source(
        name="lpips-vgg-lin",
        file_name="lpips_vgg.pth",
        urls=(_LPIPS + "vgg.pth", _LPIPS_COPY + "LPIPS_v0.1_vgg-a78928a0.pth"),
        size=7_289,
        sha256="a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        licence="BSD-2-Clause",
        what="LPIPS 0.1 weights over VGG16",
        feeds="LPIPS loss and metric",
    ),
    Source(
        name="alexnet",
        file_name="alexnet-owt-7be5be79.pth",
        urls=(_TORCHVISION + "alexnet-owt-7be5be79.pth",),
        size=244_408_911,
        sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        licence="BSD-3-Clause",
        what="AlexNet, ImageNet",
        feeds="LPIPS metric",
    ),
    Source(
        name="vgg16",
        file_name="vgg16-397923af.pth",
        urls=(_TORCHVISION + "vgg16-397923af.pth",),
        size=553_433_881,
        sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        licence="BSD-3-Clause",
        what="VGG16, ImageNet",
        feeds="LPIPS loss and metric",
    ),
    Source(
        name="inception",
        file_name="pt_inception-2015-12-05-6726825d.pth",
        urls=(
            "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
            "pt_inception-2015-12-05-6726825d.pth",
        ),
        size=95_628_359,
        sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        licence="Apache-2.0",
        what="Inception v3 of 2015, as pytorch-fid stores it",
        feeds="FID",
    ),
)

SOURCES: dict[str, Source] = {
    source.name: source
    for source in (*_MODEL_FILES, *_DIRECTION_FILES, *_MAPPER_FILES, *_METRIC_FILES)
}

_LPIPS_ALEX = ("lpips-alex-lin", "alexnet")
_LPIPS_VGG = ("lpips-vgg-lin", "vgg16")

# What `sfe models pull NAME` needs.
GROUPS: dict[str, tuple[str, ...]] = {
    "ffhq": (
        "sfe-editor",
        "stylegan2-ffhq",
        "e4e-ffhq",
        "age",
        "smile",
        "rotation",
        "ffhq-pca",
        "fs-glasses",
        "fs-smiling",
        "fs-makeup",
    ),
    "mappers": tuple(source.name for source in _MAPPER_FILES),
    "styleclip": ("styleclip-statistics", "styleclip-templates", "styleclip-channels"),
    "mask": ("farl-lapa",),
    "lpips": (*_LPIPS_ALEX, *_LPIPS_VGG),
    "lpips-alex": _LPIPS_ALEX,
    "lpips-vgg": _LPIPS_VGG,
    "arcface": ("ir-se50",),
    "moco": ("moco-v2",),
    "metrics": (*_LPIPS_ALEX, *_LPIPS_VGG, "inception", "ir-se50", "curricularface"),
    "training": ("iresnet50", "ir-se50", *_LPIPS_VGG),
}


def find_sources(
    name: str,
    known: dict[str, Source] | None = None,
    groups: dict[str, tuple[str, ...]] | None = None,
) -> tuple[Source, ...]:
    """Return the files of a group, or the one file of that name; others than these if given.

    Raises:
        WeightsError: no file and no group is called so.
    """
    known, groups = SOURCES if known is None else known, GROUPS if groups is None else groups
    if name in groups:
        return tuple(known[member] for member in groups[name])
    if name in known:
        return (known[name],)
    near = difflib.get_close_matches(name, [*groups, *known], n=3) or list(groups)
    raise WeightsError(f"nothing published is called {name!r}: did you mean {', '.join(near)}?")
