"""From a finished build to its report: counts, ranking, and the pictures to look at."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from celebahq.align.crop import align_face
from celebahq.build_index import Indexed
from celebahq.errors import ToolError
from celebahq.jobs.report import JobReport
from celebahq.pictures.decoding import load_photo
from celebahq.pyramid import PyramidReader
from celebahq.report import BuildReport, Ranking, Skip
from celebahq.report_page import TILE_PX, Tile, write_report
from celebahq.sources.duplicates import FACE_BITS, earlier_twin
from celebahq.sources.records import FaceRecord
from celebahq.sources.selection import LeftOut

BEST_TILES, WORST_TILES, SKIPPED_TILES, UNSURE_TILES = 48, 24, 24, 48


def report_build(
    out: Path, parameters: dict[str, Any], indexed: Indexed, job: JobReport, notices: Sequence[str]
) -> BuildReport:
    """Collect what a build did and write it beside `out`."""
    names = indexed.faces.names
    failed = [Skip(names[item], "build", reason, failure=True) for item, reason in job.skipped.items()]
    repeats = _repeats(out)
    if repeats:
        name, other = repeats[0]
        shown = f"{name} that in {other}{', ...' if len(repeats) > 1 else ''}"
        notices = [
            *notices,
            f"{len(repeats):,} images show a face again: {shown} (all in build-report.json; --exclude leaves "
            "out what a file names)",
        ]
    report = BuildReport(
        out=out,
        parameters=parameters,
        counts={
            **indexed.counts,
            "skipped_for_an_error": len(failed),
            "left_out_by_the_ranking": len(job.ranking) - len(job.kept),
            "kept": len(job.kept),
        },
        notices=notices,
        ranking=Ranking(names, job.scores, job.ranking, len(job.kept)),
        skipped=[*indexed.left_out, *failed],
        repeats=repeats,
        elapsed_sec=job.elapsed_sec,
        images_per_sec=job.items_per_sec,
    )
    found = [face for face in indexed.faces_left_out if face.score is not None]
    best, rejected = np.split(job.ranking, [len(job.kept)])
    evenly = np.linspace(0, len(best) - 1, min(BEST_TILES, len(best))).round().astype(int)
    sections = {
        "Kept, from the best to the worst": _image_tiles(out, job, names, best[evenly]),
        "The lowest scores among the kept": _image_tiles(out, job, names, best[: -WORST_TILES - 1 : -1]),
        "Left out by the ranking, the lowest scores first (not restored here)": [
            _face_tile(indexed.faces[int(item)], job.scores[item])
            for item in rejected[: -WORST_TILES - 1 : -1]
        ],
        "The faces that the detector is least sure of, among the kept": _least_sure(out),
        "Faces left out, the surest first": [
            _left_out_tile(indexed.faces.folder, face) for face in sorted(found, key=_surest)[:UNSURE_TILES]
        ],
        "Left out before the ranking": [
            _photo_tile(indexed.faces.folder, skip) for skip in _varied(report.skipped, SKIPPED_TILES)
        ],
    }
    write_report(report, sections)
    return report


def _image_tiles(out: Path, job: JobReport, names: Sequence[str], items: np.ndarray) -> list[Tile]:
    """Images of the file with their photo, rank and score."""
    reader = PyramidReader(out)
    positions = np.searchsorted(job.kept, items)
    images = reader.read(positions, min(TILE_PX, reader.resolution))  # [n, 3, r, r]
    return [
        Tile(
            image.transpose(1, 2, 0),
            names[item],
            f"rank {job.ranks[item]:,}, score {job.scores[item]:.3f}, image {position:,}",
        )
        for item, position, image in zip(items, positions, images, strict=True)
    ]


def _face_tile(face: FaceRecord, score: float) -> Tile:
    """A face that is not in the file, cropped anew."""
    try:
        picture = align_face(load_photo(face.path, orient=face.orient), face.landmarks, TILE_PX)
    except ToolError:  # the photo was readable before; the page can do without it
        picture = None
    return Tile(picture, face.name, f"score {score:.3f}")


def _repeats(out: Path) -> list[tuple[str, str]]:
    """Images whose face an earlier image of the file shows: the photos' names, the later first."""
    with PyramidReader(out) as reader:
        names, twins = reader.meta("source_name"), earlier_twin(list(reader.meta("face_hash")), FACE_BITS)
    return [(names[i], names[twin]) for i, twin in enumerate(twins) if twin is not None]


def _least_sure(out: Path) -> list[Tile]:
    """Images of the file; none where no detector was asked."""
    with PyramidReader(out) as reader:
        if "detector_score" not in reader.meta_names:
            return []
        scores = reader.meta("detector_score")
        order = np.argsort(scores, kind="stable")[:UNSURE_TILES]
        names = reader.meta("source_name")
        images = reader.read(order, min(TILE_PX, reader.resolution))  # [n, 3, r, r]
    return [
        Tile(image.transpose(1, 2, 0), names[i], f"detector's score {scores[i]:.2f}, image {i:,}")
        for i, image in zip(order, images, strict=True)
    ]


def _surest(face: LeftOut) -> float:
    assert face.score is not None
    return -face.score


def _left_out_tile(folder: Path, face: LeftOut) -> Tile:
    """A face that was found and not taken, cropped as it would have been."""
    assert face.landmarks is not None
    try:
        picture = align_face(load_photo(folder / face.name), face.landmarks, TILE_PX)
    except ToolError:
        picture = None
    return Tile(picture, face.name, f"detector's score {face.score:.2f}: {face.reason}")


def _photo_tile(folder: Path, skip: Skip) -> Tile:
    """The photo itself, where it can be read."""
    try:
        picture = load_photo(folder / skip.name)
    except ToolError:
        picture = None
    return Tile(picture, skip.name, skip.reason)


def _varied(skips: Sequence[Skip], most: int) -> list[Skip]:
    """Some of the skips, of every reason one before any has two."""
    seen: Counter[str] = Counter()
    turns = []
    for position, skip in enumerate(skips):
        turns.append((seen[skip.reason], position))
        seen[skip.reason] += 1
    return [skips[position] for _, position in sorted(turns)[:most]]
