"""Foreign weight files: what they hold comes out right, and nothing in them runs."""

import argparse
import io
import pickle
import struct
import tarfile
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

import hostile
import nvidia_pickle
from hostile import Call
from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.weights import restricted
from stylefeatureeditor.weights.unpickle import (
    read_array,
    read_numpy_pickle,
    read_nvidia_pickle,
    read_torch,
)

CALLS = (
    "os.system",
    "builtins.eval",
    "builtins.exec",
    "nested reduce",
    "getattr",
    "partial",
    "open",
)
BY_HAND = (
    "dotted attribute",
    "dotted numpy",
    "other name of an allowed module",
    "numpy's own exec",
    "INST",
    "OBJ",
)
READERS = {"torch": read_torch, "nvidia": read_nvidia_pickle, "numpy": read_numpy_pickle}


@pytest.fixture
def mark(tmp_path):
    """A file that hostile pickles create when they run."""
    return tmp_path / "it_ran"


def refuses(reader, path, match=None):
    with pytest.raises(WeightsError, match=match) as caught:
        reader(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


# --- nothing runs -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", CALLS)
def test_the_payloads_do_run_in_pickle(name, mark):
    pickle.loads(hostile.pickles(mark)[name])
    assert mark.exists()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("name", CALLS + BY_HAND)
def test_no_bare_pickle_runs_code(reader, protocol, name, mark, tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(hostile.pickles(mark, protocol)[name])
    refuses(READERS[reader], path)
    assert not mark.exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", CALLS)
def test_no_checkpoint_runs_code(zipped, name, mark, tmp_path):
    path = tmp_path / "model.pt"
    content = {"weight": torch.ones(2), "extra": hostile.calls(mark)[name]}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    refuses(read_torch, path, "could run code")
    assert not mark.exists()


@pytest.mark.parametrize("name", CALLS)
def test_no_network_pickle_runs_code(name, mark, tmp_path):
    path = tmp_path / "model.pkl"
    generator = nvidia_pickle.Generator(z_dim=4)
    generator.extra = hostile.calls(mark)[name]
    path.write_bytes(nvidia_pickle.dump({"G_ema": generator}))
    refuses(read_nvidia_pickle, path, "could run code")
    assert not mark.exists()


def test_the_source_code_inside_a_network_pickle_is_not_executed(mark, tmp_path, monkeypatch):
    monkeypatch.setattr(nvidia_pickle.Persistent, "source", f"open({str(mark)!r}, 'w').close()")
    path = tmp_path / "model.pkl"
    path.write_bytes(nvidia_pickle.dump({"G_ema": nvidia_pickle.Generator(z_dim=4)}))
    assert str(mark).encode() in path.read_bytes()
    assert read_nvidia_pickle(path)["G_ema"].class_name == "Generator"
    assert not mark.exists()


@pytest.mark.parametrize("name", CALLS)
def test_a_checkpoint_inside_a_tensor_runs_no_code(name, mark, tmp_path):
    inner = io.BytesIO()
    torch.save(hostile.calls(mark)[name], inner, _use_new_zipfile_serialization=False)
    tensor = Call(torch.storage._load_from_bytes, inner.getvalue())
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"G_ema": tensor}))
    refuses(read_nvidia_pickle, path, "could run code")
    assert not mark.exists()


@pytest.mark.parametrize("name", CALLS + BY_HAND)
def test_no_torchscript_archive_runs_code(name, mark, tmp_path):
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/constants.pkl", hostile.pickles(mark)[name])
        archive.writestr("m/data.pkl", hostile.pickles(mark)[name])
        archive.writestr("m/code/__torch__.py", f"open({str(mark)!r}, 'w')")
    refuses(read_torch, path)
    assert not mark.exists()


def test_a_tar_checkpoint_is_refused(mark, tmp_path):
    path = tmp_path / "model.pt"
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            data = hostile.pickles(mark)["os.system"]
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    refuses(read_torch, path, "checkpoint of torch before")
    assert not mark.exists()


def _global(module, name):
    return f"c{module}\n{name}\n".encode()


BAD_PROGRAMS = {
    "state for a function": _global("collections", "OrderedDict") + b"}b.",
    "state for a function's slots": _global("collections", "OrderedDict")
    + b"N}X\x01\0\0\0aK\1s\x86b.",
    "state for a list": b"]}b.",
    "call of a string": b"X\x06\0\0\0systemX\x02\0\0\0ls\x85R.",
    "call of a result": _global("collections", "OrderedDict") + b")R)R.",
    "append to a dictionary": b"}K\1a.",
    "append to an array": _global("numpy", "ndarray") + b")RK\1a.",
    "extension registry": b"\x80\x02\x82\x01.",
    "an object kept outside": b"X\x01\0\0\0aQ.",
    "a dtype of objects": _global("numpy", "dtype") + b"X\x01\0\0\0O\x85R.",
    "hostile encoding": _global("_codecs", "encode") + b"X\x01\0\0\0aX\x03\0\0\0hex\x86R.",
    "a scalar longer than its bytes": _global("numpy.core.multiarray", "scalar")
    + _global("numpy", "dtype")
    + b"X\x02\0\0\0f8\x85RC\x01a\x86R.",
    "a tuple of tuples as key": b"})\x85\x85K\1s.",
    "a set of tuples": b"\x80\x04\x8f()\x90.",
    "far memo slot": b"Nr\xff\xff\xff\x7f.",
    "negative memo slot": b"Np-1\n.",
    "unknown memo slot": b"h\x07.",
    "no end": b"N",
    "nothing": b"\x80\x04.",
    "too much": b"NN.",
    "open group": b"(N.",
    "claims more bytes than there are": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"a.",
    "claims more of an array than there is": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"a.",
    "claims a longer string than there is": b"X\xff\xff\xff\x7fa.",
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", BAD_PROGRAMS)
def test_tricks_of_the_pickle_machine_are_refused(reader, name, tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(BAD_PROGRAMS[name])
    refuses(READERS[reader], path)


@pytest.mark.parametrize("reader", [read_nvidia_pickle, read_numpy_pickle])
def test_refusing_leaves_the_allowed_names_as_they_were(reader, tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(BAD_PROGRAMS["state for a function's slots"])
    refuses(reader, path)
    assert not hasattr(OrderedDict, "a")
    path.write_bytes(pickle.dumps(OrderedDict(a=1), 2))
    assert read_numpy_pickle(path) == {"a": 1}


def test_lists_that_double_again_and_again_are_refused(tmp_path):
    content = [0]
    for _ in range(60):
        content = [content, content]
    path = tmp_path / "bomb.pkl"
    path.write_bytes(pickle.dumps(content))
    refuses(read_numpy_pickle, path, "endlessly")
    loop = []
    loop.append(loop)
    path.write_bytes(pickle.dumps(loop))
    refuses(read_numpy_pickle, path, "endlessly")


def test_networks_that_double_or_hold_themselves_are_refused(tmp_path):
    path = tmp_path / "bomb.pkl"
    module = nvidia_pickle.SynthesisLayer(1)
    for _ in range(40):
        outer = nvidia_pickle.Persistent()
        outer.a = outer.b = module
        module = outer
    path.write_bytes(nvidia_pickle.dump({"G": module}))
    refuses(read_nvidia_pickle, path, "endlessly")
    outer = nn.Sequential()
    outer._modules["self"] = outer
    path.write_bytes(nvidia_pickle.dump({"G": outer}))
    refuses(read_nvidia_pickle, path, "endlessly")


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (10**9, 10**9), (0, 0)),
        (0, (5,), (1,)),
        (3, (2,), (1,)),
        (0, (2,), (4,)),
        (-1, (2,), (1,)),
        (0, (-2,), (1,)),
        (0, (2, 2), (1,)),
        (0, ("2",), (1,)),
        (0, (True,), (1,)),
    ],
)
def test_a_tensor_beyond_its_memory_is_refused(offset, size, stride, tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(
        nvidia_pickle.dump({"G": nvidia_pickle.SynthesisLayer(1), "x": _view(2, (2,), (1,))})
    )
    assert list(read_nvidia_pickle(path)) == ["G"]
    path.write_bytes(
        nvidia_pickle.dump({"G": nvidia_pickle.SynthesisLayer(1), "x": _view(offset, size, stride)})
    )
    refuses(read_nvidia_pickle, path, "damaged")


def test_a_shared_argument_makes_no_copies_without_end(tmp_path):
    text = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20) + b"q\x000"
    name = _global("_codecs", "encode") + b"q\x010"
    path = tmp_path / "bomb.pkl"
    path.write_bytes(b"\x80\x02" + text + name + b"](" + b"h\x01h\x00\x85R" * 5_000 + b"e.")
    for reader in READERS.values():  # 5 GB
        refuses(reader, path, "more data than it holds")


def test_a_pickle_of_endlessly_many_steps_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(restricted, "MAX_STEPS", 1_000)
    path = tmp_path / "bomb.pkl"
    path.write_bytes(b"\x80\x04" + b"\x8f" * 2_000 + b".")
    for reader in READERS.values():
        refuses(reader, path, "too long")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_number_too_long_to_be_printed_is_refused(zipped, tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"conv_clamp": 10**400}, path, _use_new_zipfile_serialization=zipped)
    refuses(read_torch, path, "too many digits")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.eye(3).to_sparse(),
        lambda: torch.eye(3).to_sparse_csr(),
        lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        lambda: torch.ones(3, device="meta"),
        lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        lambda: torch.ones(1).expand(1 << 40),
        lambda: torch.ones(3, dtype=torch.complex64),
    ],
)
def test_a_tensor_that_is_not_dense_is_refused(make, zipped, tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"weight": make()}, path, _use_new_zipfile_serialization=zipped)
    refuses(read_torch, path)


@pytest.mark.parametrize("zipped", [True, False])
def test_every_dtype_and_shared_memory_come_out_as_torch_reads_them(zipped, tmp_path):
    base = torch.randn(4, 6)
    content = {"a": base, "b": base[1:, ::2], "c": base.t(), "p": nn.Parameter(base)}
    kinds = (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16)
    for kind in (*kinds, torch.int8, torch.uint8, torch.bool):
        content[str(kind)] = base.to(kind)
    content["empty"], content["number"] = torch.empty(0, 3), torch.tensor(2.5)
    path = tmp_path / "model.pt"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    read = read_torch(path)
    for name, want in content.items():
        torch.testing.assert_close(read[name], want.data, rtol=0, atol=0, check_stride=True)
    assert read["a"].data_ptr() == read["c"].data_ptr()
    assert read["a"].data_ptr() % 64 == 0
    read["a"].zero_()
    torch.testing.assert_close(read_torch(path)["a"], base, rtol=0, atol=0)


def test_what_one_directory_of_a_zip_hides_is_not_read_by_another(tmp_path):
    """The end of a file decides; a directory in front of it stands for nothing."""
    path = tmp_path / "model.pt"
    torch.save({"weight": torch.ones(3)}, path)
    hidden = io.BytesIO()
    with zipfile.ZipFile(hidden, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"weight": [0] * 100_000}))
    path.write_bytes(hidden.getvalue() + path.read_bytes())
    assert read_torch(path)["weight"].tolist() == [1, 1, 1]
    path.write_bytes(path.read_bytes() + hidden.getvalue())
    refuses(read_torch, path, "compressed")


def _view(offset, size, stride):
    memory = torch.storage.TypedStorage(
        wrap_storage=torch.ones(4).untyped_storage(), dtype=torch.float32, _internal=True
    )
    rebuild = torch._utils._rebuild_tensor_v2
    return Call(rebuild, memory, offset, size, stride, False, OrderedDict())


# --- what good files hold ---------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_networks_come_out_with_their_state_dict(protocol, tmp_path):
    generator = nvidia_pickle.Generator(z_dim=4, layers={"sizes": [4, 8]})
    content = nvidia_pickle.EasyDict(
        G=generator,
        G_ema=generator,
        training_set_kwargs=nvidia_pickle.EasyDict(),
        augment_pipe=None,
    )
    path = tmp_path / "model.pkl"
    path.write_bytes(nvidia_pickle.dump(content, protocol))
    networks = read_nvidia_pickle(path)
    assert list(networks) == ["G", "G_ema"]
    assert networks["G"].class_name == "Generator"
    assert networks["G"].init_kwargs == {"z_dim": 4, "layers": {"sizes": [4, 8]}}
    expected = generator.state_dict()
    assert set(networks["G"].tensors) == set(expected)
    for name, tensor in networks["G"].tensors.items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0)
        assert tensor.dtype == expected[name].dtype
    assert not any("scratch" in name for name in networks["G"].tensors)


def test_a_tensorflow_network_is_named_as_such(tmp_path):
    path = tmp_path / "stylegan2-ffhq-config-f.pkl"
    path.write_bytes(b"\x80\x03cdnnlib.tflib.network\nNetwork\n)\x81}b.")
    refuses(read_nvidia_pickle, path, "TensorFlow")


@pytest.mark.parametrize("content", [{"G": 1}, [1], {"G": torch.ones(2)}])
def test_a_pickle_without_networks_is_refused(content, tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(content))
    refuses(read_nvidia_pickle, path, "networks")


@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoints_of_tensors_and_plain_data_are_read(zipped, tmp_path):
    content = {
        "g_ema": OrderedDict(w=torch.randn(3, 2), b=nn.Parameter(torch.ones(2))),
        "args": argparse.Namespace(size=64),
        "opts": {"stylegan_size": 1024, "names": ["a", None, 1.5]},
    }
    path = tmp_path / "model.pt"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    read = read_torch(path)
    torch.testing.assert_close(read["g_ema"]["w"], content["g_ema"]["w"], rtol=0, atol=0)
    assert read["args"].size == 64
    assert read["opts"] == content["opts"]


class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 3))
        self.register_buffer("steps", torch.arange(3))

    def forward(self, x):
        return x @ self.weight + self.steps


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([Inner(), nn.Linear(3, 3, bias=False).half()])
        self.empty = nn.Parameter(torch.empty(0))
        self.sizes = [1, 2]
        self.table = {"a": 1.0}

    def forward(self, x):
        for layer in self.layers:
            x = layer(x) + self.sizes[0] + self.table["a"]
        return x


def _torchscript(path):
    module = Outer()
    torch.jit.script(module).save(str(path))
    return module


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_archive_gives_its_state_dict(tmp_path):
    path = tmp_path / "model.pt"
    expected = _torchscript(path).state_dict()
    read = read_torch(path)
    assert set(read) == set(expected)
    for name, tensor in read.items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("ending", "damage"),
    [
        ("/data/1", lambda data: data[:-1]),
        ("/data/1", lambda _: None),
        ("/data.pkl", lambda _: None),
        ("/data.pkl", lambda data: data[:90]),
        ("/byteorder", lambda _: b"big"),
    ],
)
def test_a_damaged_torchscript_archive_is_refused(ending, damage, tmp_path):
    path, damaged = tmp_path / "model.pt", tmp_path / "damaged.pt"
    _torchscript(path)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(damaged, "w") as target:
        members = {name: source.read(name) for name in source.namelist()}
        (name,) = [name for name in members if name.endswith(ending)]
        members[name] = damage(members[name])
        for name, data in members.items():
            if data is not None:
                target.writestr(name, data)
    refuses(read_torch, damaged)


@pytest.mark.parametrize("reader", [*READERS.values(), read_array])
@pytest.mark.parametrize("content", [b"", b"hello\n", b"PK\x03\x04nonsense", bytes(range(256)) * 9])
def test_a_file_of_another_kind_is_refused(reader, content, tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    refuses(reader, path)


@pytest.mark.parametrize("reader", [*READERS.values(), read_array])
def test_a_missing_file_or_a_folder_is_refused(reader, tmp_path):
    refuses(reader, tmp_path / "missing.pt")
    refuses(reader, tmp_path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_checkpoint_is_refused(zipped, tmp_path):
    whole, path = tmp_path / "whole.pt", tmp_path / "model.pt"
    torch.save({"w": torch.randn(100)}, whole, _use_new_zipfile_serialization=zipped)
    data = whole.read_bytes()
    for length in (3, 20, len(data) // 2, len(data) - 30):
        path.write_bytes(data[:length])
        refuses(read_torch, path)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_numpy_arrays_of_every_layout_are_read(protocol, tmp_path):
    content = [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array([1, 2], dtype=">i4"),
        np.array(True),
        {"a": (np.zeros((0, 3)), 1, "x", None, b"y"), "scalar": np.float64(0.5)},
    ]
    path = tmp_path / "statistics"
    path.write_bytes(pickle.dumps(content, protocol))
    read = read_numpy_pickle(path)
    for got, want in zip(read[:4], pickle.loads(path.read_bytes())[:4], strict=True):
        np.testing.assert_array_equal(got, want)
        assert got.shape == want.shape
        assert got.dtype == want.dtype
    assert read[4]["a"][0].shape == (0, 3)
    assert read[4]["a"][1:] == (1, "x", None, b"y")
    assert read[4]["scalar"] == 0.5


def test_pickles_of_numpy_1_and_2_are_both_read(tmp_path):
    path = tmp_path / "statistics"
    data = pickle.dumps([np.arange(3.0)], 3)
    old, new = b"numpy.core.multiarray", b"numpy._core.multiarray"
    for version in (data.replace(new, old), data.replace(old, new).replace(new, new)):
        path.write_bytes(version)
        np.testing.assert_array_equal(read_numpy_pickle(path)[0], np.arange(3.0))


def test_arrays_of_objects_are_refused(tmp_path, mark):
    objects = np.array([hostile.calls(mark)["os.system"]], dtype=object)
    path = tmp_path / "statistics"
    path.write_bytes(pickle.dumps(objects))
    refuses(read_numpy_pickle, path)
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)
    refuses(read_array, tmp_path / "a.npy")
    assert not mark.exists()


def test_an_array_file_is_read_and_anything_else_refused(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(read_array(path), np.arange(6.0).reshape(2, 3))
    path.write_bytes(path.read_bytes()[:-8])
    refuses(read_array, path)
    np.save(path, np.array(["text"]))
    refuses(read_array, path)
    np.savez(tmp_path / "a.npz", a=np.ones(2))
    refuses(read_array, tmp_path / "a.npz")
