"""What every test runs under: a fixed seed, at most two threads, no network, an empty home."""

from __future__ import annotations

import os
import socket

import pytest
import torch

from stylefeatureeditor.weights import local_models

THREADS = 1 if "PYTEST_XDIST_WORKER" in os.environ else min(2, torch.get_num_threads())
torch.set_num_threads(THREADS)

_CONNECT = socket.socket.connect


@pytest.fixture(autouse=True)
def _fixed_seed():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def one_thread():
    """For tiny tensors: threads that wait for each other cost more than they bring."""
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(THREADS)


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory, monkeypatch):
    """Caches and settings live under the home folder; give each test an empty one."""
    home = tmp_path_factory.mktemp("home")
    for name in ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HF_HOME"):
        monkeypatch.setenv(name, str(home))


@pytest.fixture(autouse=True)
def _no_builtin_model(tmp_path_factory, monkeypatch):
    """Tests are about the models they make; `test_builtin_model.py` is about the one we ship."""
    empty = tmp_path_factory.mktemp("builtin")
    monkeypatch.setattr(local_models, "builtin_folder", lambda: empty)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    """Refuse every connection but those to this machine itself."""

    def connect(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = address[0]
            if host != "localhost" and host != "::1" and not host.startswith("127."):
                pytest.fail(f"a test tried to connect to {host}")
        return _CONNECT(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
