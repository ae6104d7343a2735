"""Imports point one way, trainer -> swd -> celebahq, and asking for help is quick."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHARED = {
    f"celebahq.{name}"
    for name in (
        *(
            "arguments",
            "errors",
            "console",
            "files",
            "processes",
            "pyramid",
            "randomness",
            "terminal",
            "threads",
        ),
        *("jobs.locks", "jobs.progress", "readers.npy", "readers.pickles", "readers.zips"),
        *("pictures.decoding", "pictures.encoding", "pictures.files", "pictures.grids", "pictures.suffixes"),
    )
}
LOWER = {"celebahq": set(), "swd": {"celebahq"}, "trainer": {"celebahq", "swd"}}


def imported_modules(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            # `from celebahq import pyramid` names a module; `from celebahq.pyramid import X` a member.
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            modules |= inner if node.module in LOWER else {node.module}
    return modules


@pytest.mark.parametrize("package", LOWER)
def test_a_package_imports_only_those_below_it(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        for module in imported_modules(path):
            top = module.split(".")[0]
            if top not in LOWER or top == package:
                continue
            assert top in LOWER[package], f"{path} imports {module}"
            if top == "celebahq":
                assert module in SHARED, f"{path} imports {module}, which is not shared"


def test_the_file_format_has_one_door():
    inside = {ROOT / "celebahq" / "pyramid.py", *(ROOT / "celebahq" / "formats").glob("*.py")}
    outside = {path for package in LOWER for path in (ROOT / package).rglob("*.py")} - inside
    assert outside
    for path in outside:
        behind = {module for module in imported_modules(path) if module.startswith("celebahq.formats")}
        assert not behind, f"{path} imports {behind}; celebahq.pyramid is the door"


@pytest.mark.parametrize("package", LOWER)
def test_help_does_not_import_torch(package):
    code = (
        f"import sys; from {package}.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'cv2', 'h5py', 'scipy', 'dlib', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "Usage:" in result.stdout


FLOORS = {
    "swd": ["kernels", "method", "pipeline"],
    "trainer": ["configuration", "networks", "storage", "use", "legacy", "training"],
}


@pytest.mark.parametrize("package", FLOORS)
def test_a_room_imports_only_from_rooms_below_it(package):
    floors = FLOORS[package]
    for height, room in enumerate(floors):
        allowed = {f"{package}.{lower}" for lower in floors[: height + 1]}
        for path in (ROOT / package / room).glob("*.py"):
            rooms = {".".join(module.split(".")[:2]) for module in imported_modules(path)}
            forbidden = rooms & {f"{package}.{other}" for other in floors} - allowed
            assert not forbidden, f"{path} imports {forbidden}"


def test_the_metrics_mathematics_needs_tensors_alone():
    allowed = {
        "torch",
        "numpy",
        "threadpoolctl",
        "celebahq.randomness",
        "celebahq.threads",
        "swd.kernels.planes",
    }
    for path in (ROOT / "swd" / "method").glob("*.py"):
        for module in imported_modules(path):
            top = module.split(".")[0]
            known = top in sys.stdlib_module_names or module.startswith("swd.method")
            assert known or top in allowed or module in allowed, f"{path} imports {module}"


@pytest.mark.parametrize("package", FLOORS)
def test_a_room_does_not_import_what_the_user_meets(package):
    above = {f"{package}.{path.stem}" for path in (ROOT / package).glob("*.py")} - {f"{package}.randomness"}
    for room in FLOORS[package]:
        for path in (ROOT / package / room).glob("*.py"):
            assert not imported_modules(path) & above, f"{path} imports {imported_modules(path) & above}"
