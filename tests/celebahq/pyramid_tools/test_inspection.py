import h5py
import numpy as np

from celebahq.pyramid import PyramidWriter
from celebahq.pyramid_tools.inspection import describe_pyramid, render_facts


def test_a_file_is_described(rng, tmp_path):
    path = tmp_path / "a.h5"
    images = rng.integers(0, 256, (5, 3, 32, 32), dtype=np.uint8) // 8
    with PyramidWriter(path, 32, provenance={"source": "noise"}) as writer:
        writer.append(images, labels=np.eye(5), meta={"name": list("abcde"), "landmarks": np.ones((5, 5, 2))})
    facts = describe_pyramid(path)
    assert (facts.images, facts.resolution, facts.channels, facts.labels) == (5, 32, 3, 5)
    assert facts.format == "celebahq-pyramid 2"
    assert facts.meta == {"landmarks": "float64 5x2", "name": "text"}
    assert facts.provenance == {"source": "noise"}
    assert facts.file_bytes == path.stat().st_size
    assert [level.resolution for level in facts.levels] == [32, 16, 8, 4, 2, 1]
    assert [level.images_per_chunk for level in facts.levels] == [1, 16, 64, 256, 1024, 4096]
    assert {level.codec for level in facts.levels} == {"gzip"}
    assert facts.levels[0].raw_bytes == images.nbytes
    assert 0 < facts.levels[0].stored_bytes < images.nbytes
    assert all(len(level.crc32) == 8 for level in facts.levels)
    text = render_facts(facts)
    assert "5 images 32x32 RGB, 5 label columns" in text
    assert "source: noise" in text


def test_facts_are_told_in_words(rng, tmp_path):
    provenance = {
        "model": {"name": "jpeg", "sha256": "4f2e"},
        "kinds": ["a", "b"],
        "strict": True,
        "keep": None,
    }
    with PyramidWriter(tmp_path / "a.h5", 4, provenance=provenance) as writer:
        writer.append(rng.integers(0, 256, (1, 3, 4, 4), dtype=np.uint8))
    lines = render_facts(describe_pyramid(tmp_path / "a.h5")).splitlines()
    assert sorted(lines[-4:]) == [
        "    keep: none",
        "    kinds: a, b",
        "    model: name jpeg, sha256 4f2e",
        "    strict: yes",
    ]


def test_the_originals_layout_is_described(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for r in (2, 1):
            file[f"data{r}x{r}"] = np.zeros((4, 1, r, r), np.uint8)
    facts = describe_pyramid(tmp_path / "a.h5")
    assert facts.format == "original layout"
    assert [(level.codec, level.images_per_chunk, level.crc32) for level in facts.levels] == [
        ("none", None, None)
    ] * 2
    assert "4 images 2x2 grey, no labels" in render_facts(facts)


def test_escapes_in_a_file_do_not_reach_the_terminal(rng, tmp_path):
    images = rng.integers(0, 256, (1, 3, 4, 4), dtype=np.uint8)
    with PyramidWriter(tmp_path / "a.h5", 4, provenance={"source\x1b[2J": "\x1b]0;title\x07"}) as writer:
        writer.append(images, meta={"name\x1b[31m": ["a"]})
    text = render_facts(describe_pyramid(tmp_path / "a.h5"))
    assert "\x1b" not in text
    assert r"name\x1b[31m: text" in text
