from __future__ import annotations

import subprocess
import sys

import pytest

import stylefeatureeditor as sfe


@pytest.mark.parametrize("name", sfe.__all__)
def test_every_public_name_is_there(name):
    assert getattr(sfe, name).__name__ == name
    assert name in dir(sfe)


def test_public_errors_are_all_of_them():
    from stylefeatureeditor import errors

    assert {name for name in vars(errors) if name.endswith("Error")} <= set(sfe.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Editr'"):
        _ = sfe.Editr


def test_importing_the_package_imports_nothing_heavy():
    program = (
        "import sys, stylefeatureeditor\n"
        "print(sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))\n"
        "from stylefeatureeditor import Editor\n"
        "print('torch' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines() == ["[]", "True"]
