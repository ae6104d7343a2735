"""A job whose items are words, as a build's are photos: lists of them grow, shrink and change order."""

from dataclasses import replace

import numpy as np

from celebahq.jobs.task import Finished, Skipped, Task
from celebahq.pyramid import encode_image

SIDE = 32


class Words(Task):
    """Pictures that are known by a word, or, where that is a nickname, by what it stands for."""

    name = "draw"
    listing = ("words",)

    def __init__(self, words, strength=1):
        self.words, self.strength, self.done = words, strength, []

    def __len__(self):
        return len(self.words)

    def fingerprint(self):
        return {"words": self.words, "strength": self.strength}

    def key(self, index):
        return self.words[index]

    def content(self, index):
        return self.words[index].removeprefix("nick-")

    def recorded_content(self, meta):
        return meta["source_name"].removeprefix("nick-")

    def reuse(self, index, earlier):
        return replace(earlier, meta={**earlier.meta, **self.known(index)})

    def known(self, index):
        return {"source_name": self.words[index], "orig_idx": index}

    def process(self, index):
        word = self.words[index]
        self.done.append(word)
        if word.startswith("bad"):
            return Skipped("cannot be drawn")
        rng = np.random.default_rng(list(word.removeprefix("nick-").encode()))
        image = rng.integers(0, 256, (3, SIDE, SIDE), dtype=np.uint8)
        meta = {**self.known(index), "quad": rng.random((4, 2))}
        return Finished(encode_image(image, "gzip"), meta, score=float(rng.random()))


def words(count, of="word"):
    return [f"{of}{i:03d}" for i in range(count)]
