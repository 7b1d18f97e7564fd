"""The GPU that is not there refuses and counts what a real one would."""

import pytest
import torch
from torch.nn import functional

from fake_gpu import FakeGpu

KINDS = pytest.mark.parametrize("kind", ["cuda", "mps"])


@KINDS
def test_tensors_of_two_devices_do_not_mix(kind):
    with FakeGpu(kind):
        there, here = torch.ones(2, device=kind), torch.ones(2)
        assert there.device == torch.device(kind, 0)
        assert (2 * there + torch.tensor(1.0)).device.type == kind  # a number of the CPU passes
        for mix in (
            lambda: there + here,
            lambda: torch.cat([there, here]),
            lambda: here[there > 0],
        ):
            with pytest.raises(RuntimeError, match="on the CPU"):
                mix()
        with pytest.raises(TypeError):
            there.numpy()
        assert there.cpu().numpy().tolist() == [1.0, 1.0]
        assert (there.to("cpu") + here).device.type == "cpu"


def test_reading_and_copying_are_waits():
    with FakeGpu("cuda") as gpu:
        x = torch.arange(4.0, device="cuda")
        with gpu.counting() as waits:
            y = (x * 2).sum() + x[:2].mean()
        assert waits.total() == 0
        for wait in (
            lambda: y.item(),
            lambda: bool(y > 0),
            lambda: x.cpu(),
            lambda: x[x > 1],
            lambda: x[[0, 1]],
            lambda: torch.ones(2).to("cuda"),
            lambda: torch.tensor([1.0], device="cuda"),
            lambda: x.new_tensor([1.0]),
        ):
            with gpu.counting() as waits:
                wait()
            assert waits.total() == 1
        with gpu.counting() as waits:
            assert torch.ones(2).pin_memory().to("cuda", non_blocking=True).is_cuda
        assert waits.total() == 0


def test_mps_lacks_what_it_lacks():
    with FakeGpu("mps"):
        x = torch.rand(1, 1, 8, 8, device="mps")
        for lacking in (
            lambda: x.double(),
            lambda: functional.adaptive_avg_pool2d(x, 3),
            lambda: functional.grid_sample(x.requires_grad_(), x.new_zeros(1, 2, 2, 2)),
        ):
            with pytest.raises((TypeError, NotImplementedError)):
                lacking()
        assert functional.adaptive_avg_pool2d(x, 4).shape[-1] == 4


def test_gradients_are_where_their_parameters_are():
    with FakeGpu("cuda"):
        network = torch.nn.Linear(2, 2).to("cuda")
        network(torch.ones(1, 2, device="cuda")).sum().backward()
        torch.optim.Adam(network.parameters()).step()
        assert network.weight.grad.device.type == "cuda"
