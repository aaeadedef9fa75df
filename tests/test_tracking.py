"""Tracks on drawn faces: who is who after a crossing, an occlusion, a jump, an uneven clock."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mien.alignment import nose_offset
from mien.detection import FaceDetector
from mien.pipeline import Analyzer
from mien.sources import first_frame
from mien.tracking import FaceTracker, looks_of
from mien.types import Detections, Float32Array, Frame, UInt8Array
from tests.films import write_film

RNG = np.random.default_rng(0)
#: Two people in miniature.
SIDE = 12
ANNA, BERT = RNG.integers(0, 256, (2, SIDE, SIDE), np.uint8)


def at(*places: tuple[float, float], side: float = 40) -> Detections:
    """Faces with these centres."""
    boxes = [[x - side / 2, y - side / 2, x + side / 2, y + side / 2] for x, y in places]
    n = len(places)
    landmarks = np.repeat(np.array(places, np.float32).reshape(n, 1, 2), 5, axis=1)
    return Detections(
        np.array(boxes, np.float32).reshape(n, 4), np.full(n, 0.9, np.float32), landmarks
    )


def looks(*people: UInt8Array) -> Float32Array:
    noise = RNG.normal(0, 20, (len(people), SIDE, SIDE))
    noisy = (np.stack(people) + noise).clip(0, 255) if people else np.zeros((0, SIDE, SIDE))
    return looks_of(noisy.astype(np.uint8))


def test_a_face_keeps_its_number_and_a_new_one_gets_the_next() -> None:
    tracker = FaceTracker()
    for i in range(20):
        places = [(100 + 4 * i, 80.0)] + ([(300.0, 80.0)] if i >= 5 else [])
        people = [ANNA, BERT][: len(places)]
        numbers, _ = tracker.update(at(*places), looks(*people), i / 25)
        assert numbers == [1, 2][: len(places)]


@pytest.mark.parametrize("speed", [4, 12])
def test_people_who_cross_keep_their_numbers(speed: float) -> None:
    tracker = FaceTracker()
    frames = round(400 / speed)
    for i in range(frames):
        anna, bert = (100 + speed * i, 100.0), (500 - speed * i, 104.0)
        hidden = abs(anna[0] - bert[0]) < 30  # Anna walks behind Bert
        order = [bert] if hidden else [bert, anna]
        people = [BERT] if hidden else [BERT, ANNA]
        numbers, _ = tracker.update(at(*order), looks(*people), i / 25)
        assert numbers == ([1] if hidden else [1, 2]), i


def test_a_face_that_comes_back_in_time_keeps_its_number() -> None:
    tracker = FaceTracker()
    assert tracker.update(at((100, 100)), looks(ANNA), 0.0)[0] == [1]
    assert tracker.update(at(), looks(), 0.5)[0] == []
    assert tracker.update(at((110, 100)), looks(ANNA), 1.2)[0] == [1]
    assert tracker.update(at(), looks(), 2.0)[0] == []
    assert tracker.update(at((110, 100)), looks(ANNA), 2.9)[0] == [2]  # too late


@pytest.mark.parametrize("step_s", [1.0, 2.0, 10.0])
def test_faces_keep_their_numbers_where_frames_come_seldom(step_s: float) -> None:
    """Also where one frame misses a face; not where another sits there then."""
    tracker = FaceTracker()
    for i in range(12):
        seen = i != 6
        found = tracker.update(
            at((100, 100)) if seen else at(), looks(ANNA) if seen else looks(), i * step_s
        )[0]
        assert found == ([1] if seen else [])
    assert tracker.update(at((100, 100)), looks(BERT), 12 * step_s)[0] == [2]


def test_after_a_gap_somebody_else_in_the_same_place_is_somebody_else() -> None:
    tracker = FaceTracker()
    assert tracker.update(at((100, 100)), looks(ANNA), 0.0)[0] == [1]
    assert tracker.update(at((100, 100)), looks(BERT), 1.0)[0] == [2]


def test_after_a_cut_only_looks_tell_who_is_who() -> None:
    """As when two people who talk are filmed in turn."""
    tracker = FaceTracker()
    for i, (person, number) in enumerate([(ANNA, 1), (BERT, 2), (ANNA, 1), (ANNA, 1), (BERT, 2)]):
        for k in range(6):
            if k == 0 and i:
                tracker.doubt()
                assert tracker.coasting(i / 4)[0] == []
            found = tracker.update(at((100, 100)), looks(person), i / 4 + k / 25)[0]
            assert found == [number], (i, k)


def test_nobody_jumps_across_the_picture_or_grows_at_once() -> None:
    tracker = FaceTracker()
    assert tracker.update(at((100, 100)), looks(ANNA), 0.0)[0] == [1]
    assert tracker.update(at((300, 100)), looks(ANNA), 0.04)[0] == [2]
    assert tracker.update(at((300, 100), side=90), looks(ANNA), 0.08)[0] == [3]


def test_boxes_are_steadied_and_still_follow() -> None:
    tracker = FaceTracker()
    rng = np.random.default_rng(1)
    raw: list[tuple[float, float]] = []
    steady: list[tuple[float, float]] = []
    truth = []
    for i in range(100):
        x, side = 100 + 3 * i, 40 * np.exp(rng.normal(0, 0.05))
        faces = at((x + rng.normal(0, 1), 100.0), side=side)
        _, smooth = tracker.update(faces, looks(ANNA), i / 30)
        for values, found in ((raw, faces), (steady, smooth)):
            (x0, _, x1, _) = found.boxes[0]
            values.append(((x0 + x1) / 2, x1 - x0))
        truth.append((x, 40))
    errors = [np.abs(np.array(v[20:]) - truth[20:]).mean(0) for v in (raw, steady)]
    assert errors[1][1] < 0.6 * errors[0][1]  # the size trembles less
    assert errors[1][0] < 1.5  # the place does not lag: 3 pixels a frame are 90 a second


def test_expected_boxes_are_those_of_the_last_frame() -> None:
    tracker = FaceTracker()
    for i in range(10):
        tracker.update(at((100 + 5 * i, 100)), looks(ANNA), i / 25)
    (box,) = tracker.expected(10 / 25)
    assert box == pytest.approx([130, 80, 170, 120], abs=2.5)
    tracker.update(at(), looks(), 11 / 25)
    assert tracker.expected(12 / 25).shape == (0, 4)


def walked(tracker: FaceTracker, steps: int, *others: tuple[float, float]) -> None:
    """Anna walks 100 pixels a second, seen 25 times a second; others stand and look like Bert."""
    for i in range(steps):
        tracker.update(at((100 + 4 * i, 100), *others), looks(ANNA, *[BERT] * len(others)), i / 25)


def test_coasting_goes_on_as_a_face_moved() -> None:
    tracker = FaceTracker()
    walked(tracker, 20, (400, 100))
    for i in (20, 21, 22):
        numbers, faces = tracker.coasting(i / 25)
        assert numbers == [1, 2]
        assert faces.boxes[:, 0] == pytest.approx([80 + 4 * i, 380], abs=2)
        assert faces.landmarks[0, 0] == pytest.approx([100 + 4 * i, 100], abs=2)
        assert faces.scores == pytest.approx([0.9, 0.9])
        assert tracker.look_right(numbers, looks(ANNA, BERT)).tolist() == [True, True]
        assert tracker.look_right(numbers, looks(ANNA, ANNA)).tolist() == [True, False]
    assert tracker.coasting(24 / 25)[0] == []  # too long ago


def test_who_is_new_lost_or_near_another_is_looked_for() -> None:
    assert FaceTracker().coasting(0)[0] == []
    new = FaceTracker()
    walked(new, 4)
    assert new.coasting(4 / 25)[0] == []
    meeting = FaceTracker()
    walked(meeting, 20, (210, 100), (400, 100))
    assert meeting.coasting(20 / 25)[0] == [3]
    lost = FaceTracker()
    walked(lost, 20, (400, 100))
    lost.update(at((180, 100)), looks(ANNA), 20 / 25)
    assert lost.coasting(21 / 25)[0] == [1]


def test_who_comes_back_is_looked_for_until_it_is_known_where_to() -> None:
    tracker = FaceTracker()
    walked(tracker, 20)
    tracker.update(at(), looks(), 20 / 25)
    for i in (35, 36, 37):
        assert tracker.update(at((170, 100)), looks(ANNA), i / 25)[0] == [1]
        assert tracker.coasting(i / 25 + 0.02)[0] == []


def test_who_coasts_is_not_missed() -> None:
    tracker = FaceTracker()
    walked(tracker, 20, (400, 100))
    numbers, faces = tracker.update(at((180, 100)), looks(ANNA), 20 / 25, coasting=[2])
    assert numbers == [1]
    assert len(faces) == 1
    assert len(tracker.expected(21 / 25)) == 2
    assert tracker.expected(21 / 25, but=[1])[0] == pytest.approx([380, 80, 420, 120], abs=2)
    # Also somebody else who comes to where one is coasting is not taken for that one.
    numbers, _ = tracker.update(
        at((184, 100), (400, 100)), looks(ANNA, BERT), 21 / 25, coasting=[2]
    )
    assert numbers == [1, 3]


def test_most_frames_of_a_video_need_no_look(
    portrait: UInt8Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyzer, looked = Analyzer(), []
    following, near = analyzer.following(), FaceDetector.detect_near

    def counted(
        self: FaceDetector, frame: Frame, boxes: Float32Array
    ) -> tuple[Detections, list[int]]:
        looked.append(frame.index)
        return near(self, frame, boxes)

    monkeypatch.setattr(FaceDetector, "detect_near", counted)
    for i in range(60):
        image = np.roll(portrait, 2 * i, axis=1) if i != 50 else np.zeros_like(portrait)
        result = analyzer.analyze_frame(Frame(image, "v", i, i / 30), following=following)
        assert len(result.faces) == (i != 50)
    assert len(looked) < 30
    assert 50 in looked


@given(
    st.lists(
        st.lists(st.tuples(st.floats(0, 500), st.floats(0, 500)), max_size=4),
        min_size=1,
        max_size=12,
    ),
    st.lists(st.floats(0, 2), min_size=12, max_size=12),
)
@example([[(0.0, 0.0)], [(0.0, 2.0)]], [0.0, 1.1125369292536007e-308])  # all but the same moment
def test_numbers_are_never_shared_and_rise(
    frames: Sequence[Sequence[tuple[float, float]]], gaps: Sequence[float]
) -> None:
    tracker, highest, now_s = FaceTracker(), 0, 0.0
    for places, gap_s in zip(frames, gaps, strict=False):
        now_s += gap_s
        numbers, faces = tracker.update(at(*places), looks(*[ANNA] * len(places)), now_s)
        assert len(set(numbers)) == len(numbers) == len(faces)
        new = [number for number in numbers if number > highest]
        assert new == list(range(highest + 1, highest + 1 + len(new)))
        highest += len(new)
        assert np.isfinite(faces.boxes).all()


def test_looks_by_hand() -> None:
    (same, bright, other) = looks_of(np.stack([ANNA // 2, ANNA // 2 + 100, BERT]))
    assert same @ bright == pytest.approx(1, abs=1e-3)
    assert abs(same @ other) < 0.4
    assert looks().shape == (0, SIDE**2)
    (large,) = looks_of(BERT.repeat(4, 0).repeat(4, 1)[None])
    assert large @ other == pytest.approx(1, abs=1e-3)
    assert np.isfinite(looks_of(np.zeros((1, SIDE, SIDE), np.uint8))).all()


def test_looking_near_a_face_finds_what_the_search_finds(portrait: UInt8Array) -> None:
    detector, frame = FaceDetector(), Frame(portrait)
    found = detector.detect(frame)
    shifted = found.boxes + np.array([[12, -8, 12, -8]], np.float32)
    elsewhere = np.array([[400, 400, 480, 500], [-90, -90, -10, -10]], np.float32)
    near, owners = detector.detect_near(frame, np.concatenate([elsewhere, shifted]))
    assert owners == [2]
    assert near.boxes[0] == pytest.approx(found.boxes[0], abs=8)
    assert near.landmarks[0] == pytest.approx(found.landmarks[0], abs=5)
    assert detector.detect_near(frame, np.zeros((0, 4), np.float32))[1] == []


def searched(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A list to which the time of every search is added from now on."""
    times: list[float] = []
    original = FaceDetector.search

    def counted(self: FaceDetector, frame: Frame, *, long_side_px: int) -> Detections:
        times.append(frame.time_s)
        return original(self, frame, long_side_px=long_side_px)

    monkeypatch.setattr(FaceDetector, "search", counted)
    return times


def test_a_search_finds_what_the_exact_detector_finds(portrait: UInt8Array) -> None:
    detector, frame = FaceDetector(), Frame(portrait)
    exact = detector.detect(frame, long_side_px=480)
    quick = detector.search(frame, long_side_px=480)
    assert len(quick) == len(exact) == 1
    assert quick.scores[0] != exact.scores[0]  # else it would be the same network
    assert quick.boxes[0] == pytest.approx(exact.boxes[0], abs=5)
    assert quick.landmarks[0] == pytest.approx(exact.landmarks[0], abs=3)


def test_a_still_video_is_searched_once_a_second_and_when_somebody_comes(
    portrait: UInt8Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches = searched(monkeypatch)
    analyzer = Analyzer()
    following = analyzer.following()
    rng = np.random.default_rng(0)
    alone = np.full((512, 1024, 3), 120, np.uint8)
    alone[:, 512:] = portrait[:, ::-1]
    both = alone.copy()
    both[:, :512] = portrait
    seen = []
    for i in range(75):
        image = alone if i < 50 else both
        noisy = (image + rng.normal(0, 4, image.shape)).clip(0, 255).astype(np.uint8)
        result = analyzer.analyze_frame(Frame(noisy, "v", i, i / 30), following=following)
        seen.append(len(result.faces))
    # Up to four frames in a row are not looked at.
    assert seen[:50] == [1] * 50
    assert seen[54:] == [2] * 21
    # A second after the last and as somebody comes, or in the next frame that is looked at.
    assert searches == pytest.approx([0, 1, 50 / 30], abs=0.14)


def test_a_video_is_searched_now_and_then_and_followed_in_between(
    portrait: UInt8Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches = searched(monkeypatch)
    analyzer = Analyzer()
    following = analyzer.following()
    empty = np.zeros_like(portrait)
    for i in range(30):
        gone = 12 <= i < 15
        image = empty if gone else np.roll(portrait, 2 * i, axis=1)
        result = analyzer.analyze_frame(Frame(image, "v", i, i / 30), following=following)
        assert [face.track_id for face in result.faces] == ([] if gone else [1])
        if not gone:
            x, _, w, _ = result.faces[0].box
            assert x + w / 2 == pytest.approx(226 + 2 * i, abs=8)
    # Every fifth frame, and while the face is gone, each.
    assert 7 <= len(searches) <= 11


def test_the_clips_of_one_person_have_one_track(data: Path, analyzer: Analyzer) -> None:
    clips = data / "clips"
    if not clips.is_dir():
        pytest.skip("needs the clips of MIEN_DATA")
    for name in ("1001_DFA_FEA_XX.flv", "single_face.mp4", "noface_face.mov"):
        numbers = [
            face.track_id for result in analyzer.stream(clips / name) for face in result.faces
        ]
        assert set(numbers) == {1}, name


def front_view(analyzer: Analyzer, kdef: Path, session: str) -> UInt8Array:
    """KDEF's picture of a person from the front."""
    frames = [first_frame(file) for file in sorted(kdef.glob(f"{session}_*.jpg"))]
    turned = [abs(nose_offset(analyzer.detector.find(f).landmarks)[0]) for f in frames]
    return frames[int(np.argmin(turned))].image


def test_a_cut_from_one_person_to_another_gives_another_number(data: Path) -> None:
    """Also where the other sits in the same place; a cut back gives the number back."""
    kdef = data / "kdef" / "neutral"
    if not kdef.is_dir():
        pytest.skip("needs KDEF in MIEN_DATA")
    analyzer = Analyzer()
    views = [front_view(analyzer, kdef, session) for session in "09"]
    following, numbers = analyzer.following(), []
    for i in range(40):
        frame = Frame(views[i // 10 % 2], "v", i, i / 25)
        faces = analyzer.analyze_frame(frame, following=following).faces
        numbers.append([face.track_id for face in faces])
    assert numbers == [[1 + i // 10 % 2] for i in range(40)]


@pytest.mark.parametrize(
    ("name", "first_s", "last_s"), [("face_noface", 0.0, 2.367), ("noface_face", 3.945, 6.311)]
)
def test_a_track_begins_and_ends_with_its_face(
    data: Path, analyzer: Analyzer, name: str, first_s: float, last_s: float
) -> None:
    """Two clips that are cut to a landscape and from one: the cuts were found by eye."""
    clip = data / "clips" / f"{name}.mov"
    if not clip.is_file():
        pytest.skip("needs the clips of MIEN_DATA")
    results = list(analyzer.stream(clip))
    assert [result.frame for result in results] == list(range(169))  # with a face or without
    seen = [result.time_s for result in results if result.faces]
    assert seen[0] == pytest.approx(first_s, abs=0.2)
    assert seen[-1] == pytest.approx(last_s, abs=0.2)


def test_pictures_have_no_tracks_and_videos_have(
    portrait: UInt8Array, analyzer: Analyzer, tmp_path: Path
) -> None:
    write_film(tmp_path / "v.mp4", [portrait] * 3, fps=10)
    assert analyzer.analyze_frame(Frame(portrait)).faces[0].track_id is None
    results = list(analyzer.stream(tmp_path / "v.mp4"))
    assert [[face.track_id for face in result.faces] for result in results] == [[1]] * 3
