"""Makes a .pkl as stylegan2-ada-pytorch does: each network carries its source and its state.

The two modules that such a pickle names exist only while it is written.
"""

from __future__ import annotations

import pickle
import sys
from types import ModuleType
from typing import Any

import torch
from torch import nn


class EasyDict(dict):
    __module__ = "dnnlib.util"


def _reconstruct_persistent_obj(*_: Any) -> None:
    raise AssertionError("a pickle under test must not be loaded by pickle")


_reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
MODULES = {
    "dnnlib": {"EasyDict": EasyDict},
    "dnnlib.util": {"EasyDict": EasyDict},
    "torch_utils": {},
    "torch_utils.persistence": {"_reconstruct_persistent_obj": _reconstruct_persistent_obj},
}


class Persistent(nn.Module):
    """A network that pickles itself with `source`, which the original loader would execute."""

    source = "import torch"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        self._init_args = ()
        self._init_kwargs = EasyDict(kwargs)

    def __reduce__(self) -> Any:
        meta = EasyDict(
            type="class",
            version=6,
            module_src=self.source,
            class_name=type(self).__name__,
            state=self.__dict__,
        )
        return _reconstruct_persistent_obj, (meta,), None, None, None


class SynthesisLayer(Persistent):
    def __init__(self, channels: int) -> None:
        super().__init__(channels=channels)
        self.weight = nn.Parameter(torch.randn(channels, channels, 3, 3))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", torch.randn(4, 4))
        self.register_buffer("scratch", torch.randn(2), persistent=False)
        self.register_parameter("bias", None)


class Generator(Persistent):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.z_dim = kwargs["z_dim"]
        self.first = SynthesisLayer(3)
        self.blocks = nn.ModuleList([SynthesisLayer(2), nn.Linear(2, 3).half()])
        self.tied = self.blocks[0]


def dump(content: Any, protocol: int = pickle.DEFAULT_PROTOCOL) -> bytes:
    saved = {name: sys.modules.get(name) for name in MODULES}
    try:
        for name, members in MODULES.items():
            sys.modules[name] = ModuleType(name)
            vars(sys.modules[name]).update(members)
        return pickle.dumps(content, protocol)
    finally:
        for name, module in saved.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module
