"""A pytest plugin: the tests' arithmetic runs on a GPU, whatever device their tensors say.

    SFE_TEST_DEVICE=cuda SFE_TEST_LOG=log.jsonl PYTHONPATH=tests pytest -p on_device tests/methods

Every operation that returns new tensors gets its arguments there and gives its results back, so
that tests written for the CPU compare a GPU's kernels with the golden numbers. Views, operations in
place and random draws stay. Each test leaves a line: its name, its outcome, and the largest
difference that `assert_close` saw, in units of the golden tensor's standard deviation.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

import released
from stylefeatureeditor.device import set_arithmetic

DEVICE = torch.device(os.environ.get("SFE_TEST_DEVICE", "cpu"))
STAY = {"_to_copy", "clone", "_local_scalar_dense", "lift_fresh", "equal"}
PLAIN = ("convolution.is_plain_cpu", "quick.is_plain_cpu")  # what rearranges the sums on CPUs


class OnDevice(TorchDispatchMode):
    """Operations on CPU tensors, computed on another device.

    Attributes:
        calls: how many operations went there.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device, self.calls = device, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run one operation."""
        del types
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        stays = (
            func._schema.is_mutable
            or any(result.alias_info for result in func._schema.returns)
            or torch.Tag.nondeterministic_seeded in func.tags
            or func.overloadpacket.__name__ in STAY
            or "device" in kwargs
            or not any(tensor.is_floating_point() for tensor in tensors)
            or any(tensor.device.type != "cpu" for tensor in tensors)
        )
        if stays:
            return func(*args, **kwargs)
        self.calls += 1
        there, options = tree_map_only(Tensor, lambda t: t.to(self.device), (args, kwargs))
        return tree_map_only(Tensor, Tensor.cpu, func(*there, **options))


class Plugin:
    """What the tests run under, and the log of how they went."""

    def __init__(self, log: Path | None) -> None:
        self.log, self.worst = log, 0.0
        self.compare = released.assert_close

    def close(
        self, actual: Tensor, expected: Any, std: Any = None, tolerance: float = released.TOLERANCE
    ) -> None:
        """`released.assert_close`, which keeps the largest difference."""
        golden = torch.as_tensor(expected).double()
        if actual.shape == golden.shape:
            spread = float(golden.std()) if std is None else float(std)
            self.worst = max(self.worst, float((actual.double() - golden).abs().max()) / spread)
        self.compare(actual, expected, std, tolerance)

    @pytest.fixture(autouse=True)
    def _difference(self, record_property):
        self.worst = 0.0
        yield
        record_property("worst", self.worst)

    def pytest_runtest_logreport(self, report):
        """Write a line for each test that ran or could not begin."""
        if self.log is None or not (report.when == "teardown" or report.failed):
            return
        line = {"test": report.nodeid, "failed": report.failed, **dict(report.user_properties)}
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def pytest_configure(config):
    """Begin; test modules, which are imported later, get the comparison that keeps notes."""
    is_worker = hasattr(config, "workerinput")
    log = os.environ.get("SFE_TEST_LOG")
    plugin = Plugin(Path(log) if log and not is_worker else None)
    config.pluginmanager.register(plugin)
    released.assert_close = plugin.close
    for name in PLAIN:
        mock.patch(f"stylefeatureeditor.runtimes.{name}", return_value=False).start()
    set_arithmetic(DEVICE, quick=False)
    OnDevice(DEVICE).__enter__()
