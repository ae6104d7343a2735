"""`--retry-skipped` on a finished job: what is in its file is taken from there, and the rest is done."""

import json
from pathlib import Path
from typing import Any

from celebahq.errors import ToolError
from celebahq.jobs.task import Finished, Skipped, Task
from celebahq.pyramid import PyramidReader, encode_image


class Again(Task):
    """A task whose finished images are in a file already."""

    def __init__(self, task: Task, out: Path, codec: str, provenance: dict[str, Any]) -> None:
        """Args: `provenance` as the job would write it.

        Raises:
            ToolError: The file was made with other parameters, or of other items, or lacks none.
        """
        self.name, self._task, self._codec = task.name, task, codec
        self._file = PyramidReader(out)
        require_same(self._file, provenance)
        places = {_key(self._meta(place), task): place for place in range(len(self._file))}
        known = [_key(task.known(item), task) for item in range(len(task))]
        self._places = [places.pop(key, None) for key in known]
        if places or len(set(known)) != len(known):
            raise ToolError(
                out, f"{len(places):,} of its images are of no item that is there now; build anew"
            )
        if None not in self._places:
            raise ToolError(out, "nothing was left out: there is nothing to try again")

    def __len__(self) -> int:
        return len(self._task)

    def fingerprint(self) -> dict[str, Any]:
        """That of the task: the results are the same."""
        return self._task.fingerprint()

    def start(self) -> None:
        """Start the task."""
        self._task.start()

    def item_name(self, index: int) -> str:
        """As the task calls it."""
        return self._task.item_name(index)

    def known(self, index: int) -> dict[str, Any]:
        """What the task knows."""
        return self._task.known(index)

    def process(self, index: int) -> Finished | Skipped:
        """The image in the file, or the task's."""
        place = self._places[index]
        if place is None:
            return self._task.process(index)
        meta = self._meta(place)
        score = meta.pop("quality_score", None)
        meta.pop("quality_rank", None)
        labels = self._file.labels
        return Finished(
            encode_image(self._file.read([place])[0], self._codec),
            {**self._task.known(index), **meta, **self._task.known(index)},
            None if labels is None else labels[place],
            score,
        )

    def _meta(self, place: int) -> dict[str, Any]:
        return {name: column[place] for name, column in self._columns().items()}

    def _columns(self) -> dict[str, Any]:
        """All facts of the file; read once in each process."""
        if not hasattr(self, "_read"):
            self._read = {name: self._file.meta(name) for name in self._file.meta_names}
        return self._read

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_read"}


def require_same(file: PyramidReader, provenance: dict[str, Any]) -> None:
    """Hold the parameters of a job, as far as they are known, against those that made a file.

    Raises:
        ToolError: They differ.
    """
    made_with = file.provenance
    if any(made_with.get(name) != value for name, value in json.loads(json.dumps(provenance)).items()):
        raise ToolError(file.path, "made with other parameters: --retry-skipped needs the same command")


def _key(facts: dict[str, Any], task: Task) -> str:
    """What tells an item from others, wherever it stands among them."""
    names = [name for name in task.known(0) if name != "orig_idx" or not task.may_move]
    return json.dumps([getattr(facts[name], "tolist", lambda value=facts[name]: value)() for name in names])
