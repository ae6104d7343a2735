import tomllib

import pytest
from floors import PYPROJECT, floors


def test_every_dependency_and_extra_states_a_floor():
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    pins = list(floors(project))
    assert any(pin.startswith("torch==") for pin in pins)
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    assert len(pins) == sum(map(len, groups)) - 1  # less `test`, which takes in the other extras
    assert len({pin.split("==")[0] for pin in pins}) == len(pins)


@pytest.mark.parametrize("requirement", ["numpy", "numpy<3", "numpy>=2,<3"])
def test_a_requirement_without_a_plain_floor_is_refused(requirement: str):
    with pytest.raises(ValueError, match=requirement):
        list(floors({"name": "x", "dependencies": [requirement], "optional-dependencies": {}}))
