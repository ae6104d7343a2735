"""The ways into swd and trainer, where another project of that name is installed too."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import celebahq
from celebahq import entry

ROOT = Path(celebahq.__file__).parents[1]
OTHERS_INIT = '"""Another project."""\nimport a_package_that_nobody_has\n'


@pytest.fixture
def overwritten(tmp_path: Path) -> Path:
    """A folder with another project's `trainer`, and the record that it is installed."""
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "__init__.py").write_text(OTHERS_INIT)
    record = tmp_path / "trainer-0.0.36.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: trainer\nVersion: 0.0.36\n")
    return tmp_path


def run(code: str, *folders: Path) -> subprocess.CompletedProcess[str]:
    paths = [str(folder) for folder in (*folders, ROOT)]
    # An editable installation finds modules wherever they lie; an installed wheel does not.
    plain = "sys.meta_path = [f for f in sys.meta_path if 'ditable' not in repr(f)]"
    code = f"import sys; {plain}; sys.path[:0] = {paths}; {code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_another_projects_files_are_named_with_the_remedy(overwritten):
    result = run("from celebahq.entry import run_trainer; run_trainer()", overwritten)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: the package trainer: holds another project's files")
    assert "pip uninstall trainer" in line


def test_the_alias_refuses_another_projects_files(overwritten):
    result = run("from celebahq import trainer", overwritten)
    assert "ToolError: the package trainer: holds another project's files" in result.stderr


def test_files_that_an_uninstallation_took_are_named(tmp_path):
    package = tmp_path / "trainer"
    package.mkdir()
    (package / "__init__.py").write_text((ROOT / "trainer" / "__init__.py").read_text())
    (package / "__init__.pyi").write_text("")
    result = run("from celebahq.entry import run_trainer; run_trainer()", tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("Error: the package trainer: lacks files; pip install --force-reinstall")


def test_where_ours_came_last_the_command_works_and_says_what_to_know(overwritten):
    (overwritten / "trainer" / "__init__.py").unlink()
    (overwritten / "trainer").rmdir()
    ask = "sys.argv = ['trainer', '--help']"
    result = run(f"{ask}; from celebahq.entry import run_trainer; run_trainer()", overwritten)
    assert result.returncode == 0
    assert "Usage:" in result.stdout
    assert "another project named trainer (0.0.36) is installed too" in result.stderr


@pytest.mark.parametrize("name", ["swd", "trainer"])
def test_aliases_are_the_packages(name):
    result = run(f"from celebahq import {name} as alias; import {name}; assert alias is {name}")
    assert result.returncode == 0, result.stderr


def test_every_console_script_leads_to_a_function():
    scripts = metadata.entry_points(group="console_scripts")
    ours = [script for script in scripts if script.value.startswith(("celebahq.", "swd.", "trainer."))]
    assert ours
    assert all(callable(script.load()) for script in ours)
    assert callable(entry.run_swd)
