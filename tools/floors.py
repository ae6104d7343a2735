"""The lowest versions that pyproject.toml allows, for `make check-floors`: NAME==VERSION, one a line.

    python tools/floors.py > floors.txt
    pip install --constraint floors.txt --editable '.[test]'

What the dependencies themselves depend on is not held down: pip takes the newest, as it does for a user.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)>=(?P<floor>[\d.]+)")


def floors(project: dict[str, object]) -> Iterator[str]:
    """The pins of a project's own dependencies and of all its extras.

    Raises:
        ValueError: A requirement is not of the form NAME>=VERSION.
    """
    extras = project["optional-dependencies"]
    assert isinstance(extras, dict)
    for group in (project["dependencies"], *extras.values()):
        for requirement in group:
            if requirement.startswith(f"{project['name']}["):  # an extra that takes in others
                continue
            stated = REQUIREMENT.fullmatch(requirement)
            if stated is None:
                raise ValueError(f"{requirement}: not of the form NAME>=VERSION")
            yield f"{stated['name']}=={stated['floor']}"


if __name__ == "__main__":
    for pin in floors(tomllib.loads(PYPROJECT.read_text())["project"]):
        print(pin)
