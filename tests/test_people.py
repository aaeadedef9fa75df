"""Who is who, on descriptors that are made up: people, strangers, tracks that end and begin."""

from functools import cache
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.errors import ConfigError, SourceError
from mien.identity import SAME_PERSON, FaceEmbedder, Gallery, People, Recognizer, Sightings
from mien.identity.people import _MOST_SEEN, Unnamed, distance
from mien.types import Detections, Float32Array, Frame, UInt8Array

PICTURES = count()


@cache
def directions(person: int) -> tuple[Float32Array, Float32Array]:
    """Where a person's descriptors lie, and in which direction they change; both of length 1."""
    rows = np.random.default_rng(person).normal(size=(FaceEmbedder.SIZE, 2))
    usual, change = np.linalg.qr(rows)[0].T
    return usual.astype(np.float32), change.astype(np.float32)


def look(person: int, change: float = 0.0) -> Float32Array:
    """A descriptor of a person, `change` away from their usual one; people are about 1.4 apart."""
    usual, direction = directions(person)
    return np.asarray(usual + np.float32(change) * direction, np.float32)


def told(people: People, *rows: Float32Array) -> list[str | None]:
    """The names of the faces of one picture."""
    picture = next(PICTURES)
    found = people.assign([Unnamed((picture, i), row[None]) for i, row in enumerate(rows)])
    return [person.name if person else None for person, _ in found]


def test_strangers_are_counted_and_come_back() -> None:
    people = People()
    assert told(people, look(0), look(1)) == ["person-1", "person-2"]
    assert told(people, look(1, 0.3)) == ["person-2"]
    assert told(people, look(2), look(0)) == ["person-3", "person-1"]
    assert told(people) == []


def test_the_threshold_is_a_distance() -> None:
    for away, name in ((SAME_PERSON - 0.01, "person-1"), (SAME_PERSON + 0.01, "person-2")):
        people = People()
        told(people, look(0))
        assert told(people, look(0, away)) == [name]


def test_one_person_stands_in_a_picture_once() -> None:
    people = People(Gallery({"anna": look(0)[None]}))
    # Both look like her; the one who looks more so is.
    assert told(people, look(0, 0.3), look(0, 0.1)) == ["person-1", "anna"]


def test_names_of_the_gallery_stay_as_they_are() -> None:
    people = People(Gallery({"anna": np.stack([look(0), look(5)]), "person-1": look(1)[None]}))
    assert told(people, look(5, 0.2), look(1), look(2)) == ["anna", "person-1", "person-2"]
    for _ in range(5):  # seeing her change does not move what is known of her
        told(people, look(0, 0.45))
    assert told(people, look(0, 0.9)) == ["person-3"]


def test_a_similarity_is_one_less_the_distance() -> None:
    people = People(Gallery({"anna": look(0)[None]}))
    ((person, distance),) = people.assign([Unnamed("x", look(0, 0.25)[None])])
    assert person is not None
    assert distance == pytest.approx(0.25)
    ((_, distance),) = people.assign([Unnamed("y", look(1)[None])])
    assert distance == float("inf")  # met for the first time


def test_many_views_lie_as_far_apart_as_single_ones() -> None:
    rng = np.random.default_rng(0)
    views = [look(p) + 0.03 * rng.normal(size=(9, FaceEmbedder.SIZE)) for p in (0, 0, 1)]
    a, b, c = (rows.astype(np.float32) for rows in views)
    for one, other in ((a, b), (a, c), (a[:1], c), (a[:1], b[:1])):
        pairs = [float(np.linalg.norm(x - y)) for x in one for y in other]
        assert distance(one, other) == pytest.approx(np.sqrt(np.mean(np.square(pairs))), rel=1e-4)


def test_a_face_is_compared_with_all_at_once_as_with_one_after_another() -> None:
    """Whatever is remembered of a person: several pictures, or tracks of any length."""
    rng = np.random.default_rng(0)

    def views(person: int, count: int) -> Float32Array:
        noise = 0.03 * rng.normal(size=(count, FaceEmbedder.SIZE))
        return np.asarray(look(person) + noise, np.float32)

    shown = {f"known {i}": views(i, 3) for i in range(20)}
    people = People(Gallery(shown))
    seen = {name: [row[None] for row in rows] for name, rows in shown.items()}
    for i in range(20, 40):
        for track in range(3):
            face = Unnamed((i, track), views(i, 1 + i % 4))
            ((person, _),) = people.assign([face])
            assert person is not None
            seen.setdefault(person.name, []).append(face.views)
    everybody = [*people._known, *people._strangers.values()]
    faces = [Unnamed(("new", i), views(i, 1 + i % 5), everybody[i]) for i in range(0, 41, 8)]

    def apart(a: Float32Array, b: Float32Array) -> float:
        away = a.mean(0) - b.mean(0)
        return float(np.sqrt((away**2).sum() + a.var(0).sum() + b.var(0).sum()))

    expected = np.full((len(faces), len(everybody)), np.inf)
    for row, face in enumerate(faces):
        for column, person in enumerate(everybody):
            least = min(apart(face.views, rows) for rows in seen[person.name])
            if least <= SAME_PERSON + 0.05 * (person is face.person):
                expected[row, column] = least
    found = people._distances(faces, everybody)
    assert found == pytest.approx(expected, rel=1e-4)
    assert np.isfinite(found).sum() >= 5


def test_a_face_that_may_not_be_new_waits() -> None:
    people = People(Gallery({"anna": look(0)[None]}))
    waiting = Unnamed("t", look(1)[None], may_be_new=False)
    assert people.assign([waiting]) == [(None, float("inf"))]
    waiting.may_be_new = True
    ((person, _),) = people.assign([waiting])
    assert person is not None
    assert person.name == "person-1"
    ((again, _),) = people.assign([waiting])
    assert again is person  # the same face, looked at again


def test_a_stranger_who_turns_out_to_be_known_leaves_nothing_behind() -> None:
    people = People()
    told(people, look(0))
    track = Unnamed("t", look(1)[None])  # a bad view at first
    ((person, _),) = people.assign([track])
    assert person is not None
    assert person.name == "person-2"
    track.views = look(0, 0.2)[None]
    ((person, _),) = people.assign([track])
    assert person is not None
    assert person.name == "person-1"
    assert told(people, look(1)) == ["person-3"]  # nobody looks like that bad view any more


def test_a_track_keeps_its_person_a_little_longer_and_yields_to_the_right_one() -> None:
    people = People(Gallery({"anna": look(0)[None]}))
    first = Unnamed("t", look(0, SAME_PERSON - 0.01)[None])
    people.assign([first])
    first.views = look(0, SAME_PERSON + 0.03)[None]
    ((person, _),) = people.assign([first])
    assert person is not None
    assert person.name == "anna"
    second = Unnamed("u", look(0, 0.1)[None])
    names = [person.name if person else None for person, _ in people.assign([first, second])]
    assert names == ["person-1", "anna"]


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(0, 12), max_size=5, unique=True), max_size=12), st.data())
def test_one_name_for_one_person_whatever_comes(
    pictures: list[list[int]], data: st.DataObject
) -> None:
    """Clusters far apart, any order: names and people correspond, and are counted without gaps."""
    people, names = People(), dict[int, str | None]()
    for picture in pictures:
        rows = [look(p, data.draw(st.floats(-0.2, 0.2))) for p in picture]
        for person, name in zip(picture, told(people, *rows), strict=True):
            assert names.setdefault(person, name) == name
    assert sorted(names.values(), key=str) == sorted(f"person-{i + 1}" for i in range(len(names)))


def test_memory_of_strangers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.identity.people._MOST_STRANGERS", 10)
    people = People()
    for i in range(3 * _MOST_SEEN):
        told(people, look(0, 0.01 * (i % 2)))
    (one,) = people._strangers.values()
    assert len(one.seen) == _MOST_SEEN
    for i in range(1, 10):
        told(people, look(i))
    assert told(people, look(0)) == ["person-1"]
    assert told(people, look(10)) == ["person-11"]
    assert len(people._strangers) == 10
    assert told(people, look(0)) == ["person-1"]  # was seen after the second, who is forgotten
    assert told(people, look(1)) == ["person-12"]


# --- tracks --------------------------------------------------------------------------------------


class Described(FaceEmbedder):
    """Describes whoever is said to stand there; counts how often."""

    def __init__(self) -> None:
        self.now: list[int] = []
        self.asked = 0

    def describe(self, frame: Frame, faces: Detections) -> Float32Array:
        self.asked += len(faces)
        # The tests' faces carry their person in their score.
        people = [round(float(score) * 1000) for score in faces.scores]
        return np.stack([look(p) for p in people]) if people else np.zeros((0, 128), np.float32)


@pytest.fixture
def recognizer(monkeypatch: pytest.MonkeyPatch) -> Recognizer:
    monkeypatch.setattr("mien.identity.recognizer.FaceEmbedder", lambda **how: Described())
    return Recognizer()


POINTS = np.array([[47, 47], [100, 47], [74, 77], [50, 103], [98, 103]], np.float32)
CROP: UInt8Array = np.indices((24, 24)).sum(0).astype(np.uint8)


def follow(
    recognizer: Recognizer,
    sightings: Sightings,
    time_s: float,
    tracks: dict[int, int],
) -> dict[int, str | None]:
    """Who is said to be on each track, where `tracks` says who really is (from 500)."""
    n = len(tracks)
    faces = Detections(
        np.tile(np.array([20, 20, 130, 130], np.float32), (n, 1)),
        np.array([person / 1000 for person in tracks.values()], np.float32),
        np.tile(POINTS, (n, 1, 1)),
    )
    frame = Frame(np.zeros((150, 150, 3), np.uint8), time_s=time_s)
    crops = np.tile(CROP, (n, 1, 1))
    found = recognizer.follow(frame, faces, crops, list(tracks), sightings)
    return dict(zip(tracks, [identity.person for identity in found], strict=True))


def test_who_leaves_and_returns_keeps_the_name(recognizer: Recognizer) -> None:
    sightings = Sightings()
    said: dict[int, list[str | None]] = {}
    plan = [(0.0, 2.0, {1: 500, 2: 501}), (2.0, 4.0, {1: 500}), (6.0, 8.0, {3: 501, 4: 500})]
    for begin_s, end_s, tracks in plan:
        for time_s in np.arange(begin_s, end_s, 0.04):
            for track, name in follow(recognizer, sightings, float(time_s), tracks).items():
                said.setdefault(track, []).append(name)
    assert {track: names[-1] for track, names in said.items()} == {
        1: "person-1", 2: "person-2", 3: "person-2", 4: "person-1"
    }  # fmt: skip
    assert said[1][0] is None  # too little was seen of a new face
    assert said[1].count(None) <= 0.5 / 0.04 + 1
    assert None not in said[3]  # a known one is recognized at once
    for names in said.values():
        assert len(set(names) - {None}) == 1


def test_people_are_remembered_from_one_video_to_the_next(recognizer: Recognizer) -> None:
    for order in ({1: 500, 2: 501}, {1: 501, 2: 500}):
        sightings = Sightings()
        for time_s in np.arange(0, 1, 0.1):
            names = follow(recognizer, sightings, float(time_s), order)
        persons = {order[track]: name for track, name in names.items()}
        assert persons == {500: "person-1", 501: "person-2"}
    recognizer.forget_strangers()
    sightings = Sightings()
    for time_s in np.arange(0, 1, 0.1):
        names = follow(recognizer, sightings, float(time_s), {1: 501})
    assert names == {1: "person-1"}


def test_few_views_of_a_track_are_described(recognizer: Recognizer) -> None:
    embedder = recognizer.embedder
    assert isinstance(embedder, Described)
    sightings = Sightings()
    for i in range(600):  # 20 s
        follow(recognizer, sightings, i / 30, {1: 500})
    assert 5 <= embedder.asked <= 15
    embedder.asked = 0
    follow(recognizer, Sightings(), 0.0, {n: 500 + n for n in range(40)})
    assert embedder.asked <= 4  # the others have to wait


def test_a_track_whose_face_was_exchanged_finds_its_way_back(recognizer: Recognizer) -> None:
    sightings = Sightings()
    for i in range(60):
        names = follow(recognizer, sightings, i / 10, {1: 500, 2: 501})
    assert names == {1: "person-1", 2: "person-2"}
    for i in range(60, 100):
        names = follow(recognizer, sightings, i / 10, {1: 501, 2: 500})
    assert names == {1: "person-2", 2: "person-1"}


def test_a_track_that_comes_back_with_another_face_is_not_believed(recognizer: Recognizer) -> None:
    sightings = Sightings()
    for i in range(30):
        follow(recognizer, sightings, i / 10, {1: 500})
    follow(recognizer, sightings, 3.0, {})
    said = [follow(recognizer, sightings, 3.9 + i / 10, {1: 501})[1] for i in range(10)]
    assert said[0] is None
    assert said[-1] == "person-2"
    follow(recognizer, sightings, 5.0, {})
    assert follow(recognizer, sightings, 5.8, {1: 500}) == {1: "person-1"}


def test_lost_tracks_are_forgotten(recognizer: Recognizer) -> None:
    sightings = Sightings()
    for i in range(200):
        follow(recognizer, sightings, float(i), {i: 500})
    assert len(sightings.tracks) <= 11


# --- galleries -----------------------------------------------------------------------------------


def read(folder: Path) -> Gallery:
    """A gallery of made-up pictures: a file's text says who is in it."""

    def describe(picture: Path) -> Float32Array:
        text = picture.read_text("utf-8")
        if text == "damaged":
            raise SourceError(f"{picture}: damaged picture")
        return np.array([look(int(word)) for word in text.split()]).reshape(-1, FaceEmbedder.SIZE)

    return Gallery.from_folder(folder, describe)


def put(folder: Path, **files: str) -> None:
    for name, text in files.items():
        file = folder / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.with_suffix(".png").write_text(text, "utf-8")


def test_a_folder_for_each_or_a_picture(tmp_path: Path) -> None:
    put(tmp_path, anna__one="0", anna__two="1", bob="2", anna="3")
    gallery = read(tmp_path)
    assert {name: len(rows) for name, rows in gallery.people.items()} == {"anna": 3, "bob": 1}
    assert gallery.people["bob"].shape == (1, FaceEmbedder.SIZE)
    assert gallery.problems == ()


def test_bad_pictures_cost_one_line_each_and_nothing_else(tmp_path: Path) -> None:
    put(tmp_path, anna__good="0", anna__bad="damaged", anna__two="1 2", bob="", eve="3")
    (tmp_path / "empty").mkdir()
    (tmp_path / ".hidden.png").write_text("5", "utf-8")
    (tmp_path / "notes.txt").write_text("mine", "utf-8")
    gallery = read(tmp_path)
    assert set(gallery.people) == {"anna", "eve"}
    assert len(gallery.people["anna"]) == 1
    lines = "\n".join(gallery.problems)
    for said in (
        "bad.png: damaged picture", "two.png: shows 2 faces", "bob.png: no face found",
        "no usable picture of bob", "empty: holds no picture",
    ):  # fmt: skip
        assert said in lines
    assert len(gallery.problems) == 5


def test_a_gallery_without_anybody_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no usable picture"):
        read(tmp_path)
    put(tmp_path, bob="damaged")
    with pytest.raises(ConfigError, match=r"the first problem: .*bob.png"):
        read(tmp_path)
    with pytest.raises(ConfigError, match="is no folder"):
        read(tmp_path / "bob.png")


def test_names_stay_on_one_line(tmp_path: Path) -> None:
    put(tmp_path, **{"anna\nlena": "0", "Zoe\u0308  B": "1", "\x07": "2"})
    assert set(read(tmp_path).people) == {"anna lena", "Zo\u00eb B", "unnamed"}
