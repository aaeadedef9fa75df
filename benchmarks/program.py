"""Runs one Python program over frames that are decoded already: what peers.py starts.

    PYTHON program.py NAME TASK STARTED

Runs in the environment of the program, and needs nothing but it and what it brings. TASK is the
JSON file that `peers.write_task` wrote; STARTED the time (of `time.time`) at which the process was
started. Prints one JSON object, the fields of `peers.Answer`. frames.mjs does the same for node.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib import import_module
from importlib.metadata import version
from types import ModuleType, SimpleNamespace
from typing import Any

del sys.path[0]  # this folder: its files are named like other people's modules

Face = tuple[list[float], str]  # x, y, width, height, and the class
Read = Callable[[Iterable[Any]], Iterator[list[Face]]]
Opened = tuple[Callable[[], Read], list[str]]  # opens the models; packages whose version matters


def mien(task: dict[str, Any], model: str | None = None) -> Opened:
    """`Analyzer(model)`: a video as a video, pictures one by one."""
    package = import_module("mien")
    types, sources = import_module("mien.types"), import_module("mien.sources")
    import_module("mien.pipeline")  # `import mien` loads nothing

    def open_models() -> Read:
        analyzer = package.Analyzer(model)

        def read(images: Iterable[Any]) -> Iterator[list[Face]]:
            frames = (types.Frame(im, "", i, i / task["fps"]) for i, im in enumerate(images))
            if task["is_video"]:
                source = sources.Source("", frames, is_video=True, frame_count=None)
                with source:
                    for _, result in analyzer.run(source):
                        yield [(list(face.box), face.expression) for face in result.faces]
            else:
                for frame in frames:
                    result = analyzer.analyze_frame(frame)
                    yield [(list(face.box), face.expression) for face in result.faces]

        return read

    return open_models, ["mien", "onnxruntime"]


def fer(_task: dict[str, Any]) -> Opened:
    """`FER().detect_emotions(frame)`, as documented: a Haar cascade finds the faces."""
    _lite_instead_of_tensorflow()
    cv2, package = import_module("cv2"), import_module("fer.fer")

    def open_models() -> Read:
        detector = package.FER()

        def read(images: Iterable[Any]) -> Iterator[list[Face]]:
            for image in images:
                found = detector.detect_emotions(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
                yield [(_numbers(face["box"]), _best(face["emotions"])) for face in found]

        return read

    return open_models, ["fer", "ai-edge-litert", "opencv-contrib-python"]


def fer_classifier(task: dict[str, Any]) -> Opened:
    """The classifier of fer alone: `FER(offsets=…).detect_emotions(frame, [box])`.

    The task brings one box a frame, and how far fer should reach beyond it (its own default is 10
    pixels). The class is that of fer's unrounded scores; `detect_emotions` rounds them.
    """
    _lite_instead_of_tensorflow()
    cv2, package = import_module("cv2"), import_module("fer.fer")

    def open_models() -> Read:
        class Recording(package.FER):  # type: ignore[misc,name-defined]
            def _classify_emotions(self, gray_faces: Any) -> Any:
                self.scores = super()._classify_emotions(gray_faces)
                return self.scores

        reader = Recording(offsets=(task["reach"], task["reach"]))
        labels = reader._get_labels()

        def read(images: Iterable[Any]) -> Iterator[list[Face]]:
            for image, box in zip(images, task["boxes"], strict=False):
                (face,) = reader.detect_emotions(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [box])
                yield [(_numbers(face["box"]), labels[int(reader.scores[0].argmax())])]

        return read

    return open_models, ["fer", "ai-edge-litert", "opencv-contrib-python"]


def facex(_task: dict[str, Any]) -> Opened:
    """`PoolManager().predict(frame)`, as its documentation shows: a Haar cascade, too."""
    _lite_instead_of_tensorflow()
    cv2, package = import_module("cv2"), import_module("facex")

    def open_models() -> Read:
        pool = package.PoolManager(pool_size=3)

        def read(images: Iterable[Any]) -> Iterator[list[Face]]:
            for image in images:
                found = pool.predict(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
                yield [(_numbers(face["bbox"]), _best(face["emot"])) for face in found]

        return read

    return open_models, ["facex", "ai-edge-litert", "opencv-contrib-python"]


def _lite_instead_of_tensorflow() -> None:
    """All that both use of TensorFlow is its interpreter of small models: LiteRT, by that name."""
    lite = SimpleNamespace(Interpreter=import_module("ai_edge_litert.interpreter").Interpreter)
    names = ("tensorflow", "tensorflow.keras", "tensorflow.keras.models")
    tensorflow, keras, models = (ModuleType(name) for name in names)
    tensorflow.__dict__["lite"], models.__dict__["load_model"] = lite, None
    sys.modules.update(zip(names, (tensorflow, keras, models), strict=True))


def _numbers(box: Iterable[Any]) -> list[float]:
    return [float(value) for value in box]


def _best(scores: dict[str, Any]) -> str:
    return max(scores, key=lambda name: float(scores[name]))


PROGRAMS: dict[str, Callable[[dict[str, Any]], Opened]] = {
    "mien": mien,
    "mien-int8": partial(mien, model="mien-s-int8"),
    "fer": fer,
    "fer-classifier": fer_classifier,
    "facex": facex,
}


def frames_of(task: dict[str, Any]) -> Iterator[Any]:
    """The task's frames, RGB `uint8 (H, W, 3)`."""
    numpy = import_module("numpy")
    with open(task["raw"], "rb") as file:
        for width, height in task["sizes"]:
            data = file.read(3 * width * height)
            yield numpy.frombuffer(data, numpy.uint8).reshape(height, width, 3)


def peak_mb() -> float:
    """The most memory this process has held, in 10^6 bytes."""
    with open("/proc/self/status", encoding="utf-8") as status:
        (line,) = (line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


def main() -> None:
    """Read the first frame to warm up, then all of them by the clock."""
    _, name, file, started = sys.argv
    with open(file, encoding="utf-8") as text:
        task = json.load(text)
    began = time.perf_counter()
    open_models, packages = PROGRAMS[name](task)
    import_s = time.perf_counter() - began
    read = open_models()
    first = frames_of(task)
    list(read([next(first)]))
    first.close()  # type: ignore[attr-defined]
    first_s = time.time() - float(started)
    found: list[list[Face]] = []
    began = time.perf_counter()
    for faces in read(frames_of(task)):
        found.append(faces)
        if time.perf_counter() - began > task["limit_s"]:
            break
    took_s = time.perf_counter() - began
    answer = {
        "rate": len(found) / took_s,
        "faces": found,
        "import_s": import_s,
        "first_s": first_s,
        "peak_mb": peak_mb(),
        "versions": {package: version(package) for package in packages},
    }
    print("\n" + json.dumps(answer), flush=True)
    os._exit(0)  # a pool of threads that was not shut down would wait


if __name__ == "__main__":
    main()
