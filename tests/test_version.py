from importlib import import_module
from importlib.metadata import version

import pytest


@pytest.mark.parametrize("package", ["celebahq", "swd", "trainer"])
def test_every_package_knows_its_version(package):
    assert import_module(package).__version__ == version("celebahq-toolkit")
