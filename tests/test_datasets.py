"""Every layout gives the same rows; broken ones say what is wrong."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from mien.comparison import compare
from mien.datasets import (
    EVERY_SPLIT,
    FERPLUS_COLUMNS,
    NO_SPLIT,
    SPLITS,
    FaceCrops,
    Row,
    load_clips,
    load_crops,
    load_pictures,
    load_training,
    read_rows,
    subject_folds,
)
from mien.errors import ConfigError, DatasetError
from mien.models import find_model
from mien.training.recipe import load_recipe
from mien.types import EXPRESSIONS, UInt8Array

USAGES = ("Training", "Training", "PublicTest", "PrivateTest")


def images() -> UInt8Array:
    return np.random.default_rng(0).integers(0, 256, (4, 48, 48), np.uint8)


def write_parquet(path: Path, *, votes: bool = True) -> Path:
    columns: dict[str, list[object]] = {
        "usage": list(USAGES),
        "emotion": [0, 3, 6, 2],
        "png": [cv2.imencode(".png", image)[1].tobytes() for image in images()],
    }
    if votes:
        columns |= {name: [i, 0, 1, None] for i, name in enumerate(FERPLUS_COLUMNS)}
    parquet.write_table(pyarrow.table(columns), path)
    return path


def write_csv(path: Path) -> Path:
    rows = ["emotion,pixels,Usage"]
    for label, image, usage in zip((0, 3, 6, 2), images(), USAGES, strict=True):
        rows.append(f"{label},{' '.join(map(str, image.ravel()))},{usage}")
    path.write_text("\n".join(rows) + "\n")
    return path


def write_folders(path: Path) -> Path:
    for i, (label, image, usage) in enumerate(zip((0, 3, 6, 2), images(), USAGES, strict=True)):
        part = "train" if usage == "Training" else "test"
        folder = path / part / EXPRESSIONS[label]
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{usage}_{i}.png"), image)
    return path


def test_three_layouts_one_result(tmp_path: Path) -> None:
    layouts = [
        write_parquet(tmp_path / "fer2013.parquet"),
        write_csv(tmp_path / "fer2013.csv"),
        write_folders(tmp_path / "folders"),
    ]
    for split, n in (("Training", 2), ("PublicTest", 1), ("PrivateTest", 1), ("all", 4)):
        sets = [load_crops(layout, split) for layout in layouts]
        for crops in sets:
            assert len(crops) == n
            order = np.argsort(crops.labels)
            expected = np.argsort(sets[0].labels)
            assert (crops.labels[order] == sets[0].labels[expected]).all()
            assert (crops.images[order] == sets[0].images[expected]).all()
    assert load_crops(layouts[0], "Training").fingerprint() == (
        load_crops(layouts[1], "Training").fingerprint()
    )


def test_a_folder_with_a_known_file_in_it(tmp_path: Path) -> None:
    write_parquet(tmp_path / "fer2013.parquet")
    assert len(load_crops(tmp_path, "all")) == 4


def test_votes(tmp_path: Path) -> None:
    crops = load_crops(write_parquet(tmp_path / "a.parquet"), "Training")
    assert crops.votes is not None
    assert crops.votes[0].tolist() == list(range(10))
    assert load_crops(write_parquet(tmp_path / "b.parquet", votes=False), "all").votes is None
    nobody = parquet.read_table(tmp_path / "a.parquet").slice(3)
    parquet.write_table(nobody, tmp_path / "c.parquet")
    unvoted = load_crops(tmp_path / "c.parquet", "all")
    assert (len(unvoted), unvoted.votes) == (1, None)


def test_a_folder_per_class_with_other_names(tmp_path: Path) -> None:
    for name, label in (("Anger", 0), ("HAPPINESS", 3), ("surprised", 5), ("notes", None)):
        (tmp_path / name).mkdir()
        if label is not None:
            colour = np.full((90, 70, 3), 40 * label, np.uint8)
            cv2.imwrite(str(tmp_path / name / "x.jpg"), colour)
    crops = load_crops(tmp_path, "all")
    assert crops.labels.tolist() == [0, 3, 5]
    assert crops.images.shape == (3, 48, 48)
    assert [p.label for p in load_pictures(tmp_path)] == [0, 3, 5]


def test_hidden_files_are_no_pictures_and_linked_folders_are_followed(tmp_path: Path) -> None:
    shown = tmp_path / "set" / "happy" / "12_3.jpg"
    save(shown, 1)
    save(tmp_path / "elsewhere" / "9_1.png", 2)
    (tmp_path / "set" / "sad").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "again").symlink_to(tmp_path / "set")  # which would have no end
    hidden = ("happy/._12_3.jpg", "__MACOSX/happy/._12_3.jpg", ".cache/happy/a.jpg")
    for name in (*hidden, "happy/._1001_DFA_ANG_XX.flv", "happy/film.mp4"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(b"x")
    rows = [(row.expression, row.name) for row in read_rows(tmp_path / "set")]
    assert rows == [("happy", str(shown)), ("sad", str(tmp_path / "set" / "sad" / "9_1.png"))]
    assert [clip.path.name for clip in load_clips(tmp_path / "set")] == ["film.mp4"]


def test_ckplus_layout(tmp_path: Path) -> None:
    for name, code in (("S001/002", 1), ("S001/003", 2), ("S002/001", 7)):
        frame = f"{name.replace('/', '_')}_00000009"
        label = tmp_path / "Emotion" / name
        label.mkdir(parents=True)
        (label / f"{frame}_emotion.txt").write_text(f"   {code:.7e}\n")
        pictures = tmp_path / "cohn-kanade-images" / name
        pictures.mkdir(parents=True)
        suffix = "jpg" if code == 1 else "png"
        cv2.imwrite(str(pictures / f"{frame}.{suffix}"), np.zeros((9, 9), np.uint8))
    found = load_pictures(tmp_path)
    assert [(p.label, p.group) for p in found] == [(0, "S001"), (5, "S002")]  # no contempt
    found[0].path.unlink()
    with pytest.raises(DatasetError, match="lacks the frame S001_002"):
        load_pictures(tmp_path)


def test_splits_have_other_names_too(tmp_path: Path) -> None:
    csv = write_csv(tmp_path / "x.csv")
    assert len(load_crops(csv, "train")) == 2
    assert len(load_crops(csv, "val")) == len(load_crops(csv, "test")) == 1
    for part in ("train", "valid", "test"):
        save(tmp_path / "set" / part / "happy" / "a.jpg")
    for split in SPLITS:
        assert len(load_crops(tmp_path / "set", split)) == 1
    save(tmp_path / "set" / "test" / "sad" / "b.jpg")
    assert load_crops(tmp_path / "set", "test").labels.tolist() == [3, 4]


def save(file: Path, value: int = 90) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), np.full((100, 100, 3), value, np.uint8))


def test_ferplus_votes_follow_the_csv(tmp_path: Path) -> None:
    csv = write_csv(tmp_path / "fer2013.csv")
    votes = tmp_path / "fer2013new.csv"
    header = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt"
    rows = [f"{usage},fer000000{i}.png,{i},0,0,0,0,0,0,0,1,2" for i, usage in enumerate(USAGES)]
    votes.write_text("\n".join([f"{header},unknown,NF", *rows]) + "\n")
    crops = load_crops(csv, "all")
    assert crops.votes is not None
    assert crops.votes[:, [0, 8, 9]].tolist() == [[i, 1, 2] for i in range(4)]
    votes.write_text("\n".join([f"{header},unknown,NF", *rows[:2]]) + "\n")
    with pytest.raises(DatasetError, match="has 2 rows, fewer than"):
        load_crops(csv, "all")
    # Rows were taken out of the pictures alone: each after them would get another one's votes.
    votes.write_text("\n".join([f"{header},unknown,NF", *rows, rows[3]]) + "\n")
    with pytest.raises(DatasetError, match=r"has 5 rows, more than the 4 of fer2013\.csv"):
        load_crops(csv, "Training")
    votes.write_text("\n".join([f"{header},unknown,NF", *rows[1:], rows[3]]) + "\n")
    with pytest.raises(DatasetError, match="row 2 is of PublicTest, not of Training as in fer"):
        load_crops(csv, "Training")
    votes.write_text("a,b\n")
    with pytest.raises(DatasetError, match=r"expected FER\+'s columns"):
        load_crops(csv, "all")


def test_a_table_that_is_none_is_named(tmp_path: Path) -> None:
    csv = write_csv(tmp_path / "fer2013.csv")
    text = csv.read_text()
    csv.write_text(text, encoding="utf-8-sig")  # as spreadsheets save it
    assert len(load_crops(csv, "all")) == 4
    csv.write_bytes(text.encode() + b"\xff\n")
    with pytest.raises(DatasetError, match=r"fer2013\.csv: not a readable CSV file in UTF-8"):
        load_crops(csv, "all")
    csv.write_text(text)
    header = "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    (tmp_path / "fer2013new.csv").write_text(f"{header}\n{'many,' * 10}\n")
    with pytest.raises(DatasetError, match=r"fer2013new\.csv: not a readable CSV file .*'many'"):
        load_crops(csv, "all")


def test_a_set_is_read_once_for_all_of_its_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row of FER2013's table is two thousand numbers in words."""
    csv, read = write_csv(tmp_path / "fer2013.csv"), []

    def counted(path: Path) -> Iterator[Row]:
        read.append(path)
        return read_rows(path)

    monkeypatch.setattr("mien.datasets.crops.read_rows", counted)
    monkeypatch.setattr("mien.comparison.read_rows", counted)
    learned, watched = load_training(csv)
    assert (len(learned), len(watched)) == (2, 1)
    assert learned.fingerprint() == load_crops(csv, "Training").fingerprint()
    assert read == [csv] * 2
    assert len(compare(["mien-s"], csv).models[0].accuracy) == 3
    assert read == [csv] * 3


@pytest.mark.parametrize("name", ["x.csv", "x.parquet"])
def test_tables_name_splits_as_folders_do(tmp_path: Path, name: str) -> None:
    usages = ["train", " Validation ", "test", "  ", "extra"]
    pixels = " ".join(["7"] * 9)
    if name == "x.csv":
        rows = [f"3,{pixels},{usage}" for usage in usages]
        (tmp_path / name).write_text("\n".join(["emotion,pixels,Usage", *rows]))
    else:
        png = cv2.imencode(".png", np.full((3, 3), 7, np.uint8))[1].tobytes()
        table = pyarrow.table({"usage": usages, "emotion": [3] * 5, "png": [png] * 5})
        parquet.write_table(table, tmp_path / name)
    found = [row.split for row in read_rows(tmp_path / name)]
    assert found == [*SPLITS, NO_SPLIT, "extra"]


@pytest.mark.parametrize("aligned", [True, False])
def test_rafdb_layout(tmp_path: Path, aligned: bool) -> None:
    lines = [f"train_0000{code}.jpg {code}" for code in range(1, 8)] + ["test_0001.jpg 4"]
    listing = tmp_path / "basic" / "EmoLabel" / "list_patition_label.txt"
    listing.parent.mkdir(parents=True)
    listing.write_text("\n".join(lines) + "\n")
    for line in lines:
        name = line.split()[0]
        folder = tmp_path / "basic" / "Image" / ("aligned" if aligned else "original")
        save(folder / (name.replace(".jpg", "_aligned.jpg") if aligned else name))
    expected = ["surprise", "fear", "disgust", "happy", "sad", "angry", "neutral"]
    training = load_crops(tmp_path, "train")
    assert [EXPRESSIONS[label] for label in training.labels] == expected
    assert load_crops(tmp_path, "test").labels.tolist() == [3]
    listing.write_text("train_00001.jpg 9\n")
    with pytest.raises(DatasetError, match=r"label\.txt:1: expected .* class from 1 to 7"):
        load_crops(tmp_path, "all")


def test_affectnet_layout(tmp_path: Path) -> None:
    for part, codes in (("train_set", range(11)), ("val_set", (6,))):
        for code in codes:
            save(tmp_path / part / "images" / f"{code}.jpg")
            (tmp_path / part / "annotations").mkdir(exist_ok=True)
            np.save(tmp_path / part / "annotations" / f"{code}_exp.npy", np.array(str(code)))
    training = load_crops(tmp_path, "Training", classes=(*EXPRESSIONS, "contempt"))
    assert sorted(training.names) == sorted(
        str(tmp_path / "train_set" / "images" / f"{code}.jpg") for code in range(8)
    )
    named = zip(training.names, training.labels, strict=True)
    by_code = {Path(name).stem: (*EXPRESSIONS, "contempt")[label] for name, label in named}
    assert by_code["0"] == "neutral"
    assert by_code["7"] == "contempt"
    assert by_code["4"] == "fear"
    assert by_code["6"] == "angry"
    assert load_crops(tmp_path, "val").labels.tolist() == [0]
    (tmp_path / "val_set" / "annotations" / "6_exp.npy").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"6_exp\.npy: expected a class's number"):
        load_crops(tmp_path, "val")
    *_, row = read_rows(tmp_path, broken=True)
    assert (row.expression, row.split) == ("?", "PublicTest")


def test_a_folder_of_affectnets_name_is_not_affectnet(tmp_path: Path) -> None:
    save(tmp_path / "val_set" / "happy" / "a.jpg")
    assert load_crops(tmp_path, "all").labels.tolist() == [3]


def test_kdef_names_and_ck48(tmp_path: Path) -> None:
    for name in ("AF01ANS", "BF01HAHL", "AM12AFFR"):
        save(tmp_path / "kdef" / name[:4] / f"{name}.JPG")
    kdef = load_crops(tmp_path / "kdef", "all")
    assert [EXPRESSIONS[x] for x in kdef.labels] == ["angry", "fear", "happy"]
    assert kdef.groups == ("F01", "M12", "F01")  # both sessions of a person are one group
    views = {p.path.stem: p.view for p in load_pictures(tmp_path / "kdef")}
    assert views == {"AF01ANS": "front", "BF01HAHL": "half left", "AM12AFFR": "full right"}
    for name in ("contempt/S138_008_00000007.png", "anger/S010_004_00000017.png"):
        save(tmp_path / "ck48" / name)
    assert load_crops(tmp_path / "ck48", "all").groups == ("S010",)
    kept = load_crops(tmp_path / "ck48", "all", classes=(*EXPRESSIONS, "contempt"))
    assert kept.groups == ("S010", "S138")
    assert {p.view for p in load_pictures(tmp_path / "ck48")} == {""}
    assert kept.labels.tolist() == [0, 7]


def test_a_network_gets_the_detail_that_it_wants_and_there_is(tmp_path: Path) -> None:
    fine = np.zeros((96, 96), np.uint8)
    fine[:, ::2] = 255
    (tmp_path / "set" / "happy").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "set" / "happy" / "a.png"), fine)
    save(tmp_path / "set" / "happy" / "b.png")  # 100 px
    for size, side in ((44, 48), (48, 48), (64, 64), (96, 96), (200, 100)):
        assert load_crops(tmp_path / "set", "all", size_px=size).images.shape == (2, side, side)
    assert (load_crops(tmp_path / "set", "all", size_px=96).images[0] == fine).all()
    csv = write_csv(tmp_path / "fer2013.csv")  # has no more than 48 pixels, whoever asks
    for part in zip(load_training(csv, size_px=96), load_training(csv), strict=True):
        assert part[0].fingerprint() == part[1].fingerprint()


def test_own_classes(tmp_path: Path) -> None:
    for name in ("bored", "focused"):
        save(tmp_path / name / "x.png")
    crops = load_crops(tmp_path, "all", classes=("focused", "bored"))
    assert crops.labels.tolist() == [1, 0]
    assert crops.classes == ("focused", "bored")


def test_accents_are_of_one_form(tmp_path: Path) -> None:
    """Macs write a letter and its accent, keyboards one sign."""
    typed, copied = "m\u00fcde", "mu\u0308de"
    save(tmp_path / copied / "x.png")
    save(tmp_path / "calm" / "y.png")
    for name in (typed, copied):
        recipe = load_recipe("fine-tune", [f'data.classes=["{name}", "calm"]'])
        crops = load_crops(tmp_path, "all", classes=recipe.data.classes)
        assert (crops.labels.tolist(), crops.classes) == ([1, 0], (typed, "calm"))
        spec = replace(find_model("mien-s").spec(), labels=(name, "calm"), class_shares=())
        assert spec.labels == (typed, "calm")


def test_rows_to_watch_are_held_out(tmp_path: Path) -> None:
    train, watched = load_training(write_csv(tmp_path / "x.csv"))
    assert (len(train), len(watched)) == (2, 1)  # the set's own splits
    for i in range(10):
        for name in ("happy", "sad"):
            save(tmp_path / "plain" / name / f"{name}-{i}.png", 10 + i)
    train, watched = load_training(tmp_path / "plain", holdout=0.3)
    assert np.bincount(watched.labels, minlength=7).tolist() == [0, 0, 0, 3, 3, 0, 0]
    assert not set(train.names) & set(watched.names)
    assert (train.split, watched.split) == ("none", "held out")
    again, _ = load_training(tmp_path / "plain", holdout=0.3)
    assert again.names == train.names
    for subject in range(6):
        for i in range(3):
            save(tmp_path / "subjects" / "happy" / f"S{subject:03}_001_{i:08}.png")
    for folder in ("plain", "subjects"):
        with pytest.raises(ConfigError, match=r"data\.holdout: expected a share between 0 and 1"):
            load_training(tmp_path / folder, holdout=0.0)
    train, watched = load_training(tmp_path / "subjects")
    assert not set(train.groups) & set(watched.groups)
    assert len(set(watched.groups)) in (1, 2)
    save(tmp_path / "one" / "happy" / "x.png")
    with pytest.raises(DatasetError, match="too few"):
        load_training(tmp_path / "one")


def test_rows_of_a_split_that_none_is_called_by_are_named(tmp_path: Path) -> None:
    """`validate` is no `val`: rows are held out of `train` then, and these are not used."""
    lines: list[str] = []
    for part, n in (("train", 10), ("validate", 3), ("more/dev", 2), ("test", 4), ("", 1)):
        for i in range(n):
            save(tmp_path / "mine" / part / "happy" / f"{part[:1]}-{i}.png", 10 + i)
            save(tmp_path / "mine" / part / "hapy" / f"{part[:1]}-{i}.png", 10 + i)
    train, watched = load_training(tmp_path / "mine", note=lines.append)
    assert (len(train), len(watched), watched.split) == (8, 2, "held out")
    (line,) = lines
    assert ": 6 rows are not used, as they belong to none of train, val and test: " in line
    assert line.endswith(": happy (1), more/dev (2), validate (3)")
    shutil.rmtree(tmp_path / "mine" / "train")  # then they are what is learned from
    lines.clear()
    load_training(tmp_path / "mine", note=lines.append)
    pixels = " ".join(["9"] * 4)
    usages = ["Training", "PublicTest", "dev", "dev", ""]
    csv = "\n".join(["emotion,pixels,Usage", *(f"3,{pixels},{usage}" for usage in usages)])
    (tmp_path / "x.csv").write_text(csv)
    load_training(tmp_path / "x.csv", note=lines.append)
    (line,) = lines
    assert line.endswith(": dev (2), none (1)")


def test_the_date_of_a_picture_is_nobody(tmp_path: Path) -> None:
    """Who shot one class in a day and another in the next is not told to watch one of them."""
    for i in range(10):
        save(tmp_path / "days" / "sad" / f"20240105_12{i:04}.jpg", i)
        save(tmp_path / "days" / "happy" / f"20240106_12{i:04}.jpg", 20 + i)
    train, watched = load_training(tmp_path / "days")
    assert np.bincount(watched.labels).tolist() == [0, 0, 0, 2, 2]
    assert {*train.groups, *watched.groups} == {""}
    save(tmp_path / "kdef" / "sad" / "12_3.jpg")
    assert load_crops(tmp_path / "kdef", "all").groups == ("12",)


@pytest.mark.parametrize("both", [1, 2, 3])
def test_what_is_watched_is_learned(tmp_path: Path, both: int) -> None:
    for person, name in ((1, "sad"), (2, "sad"), (3, "sad"), (both, "happy")):
        save(tmp_path / "set" / name / f"{person}_1.png", 10 * person)
    train, watched = load_training(tmp_path / "set")
    assert set(watched.labels) <= set(train.labels)
    save(tmp_path / "one" / "sad" / "1_1.png")
    save(tmp_path / "one" / "happy" / "2_1.png")
    with pytest.raises(
        DatasetError, match=r"of (sad|happy), 1 to watch and none .* All show [12],"
    ):
        load_training(tmp_path / "one")


@pytest.mark.parametrize("subjects", [1, 5])
def test_known_subjects_are_not_cut_by_pictures_of_nobody(tmp_path: Path, subjects: int) -> None:
    """A set of several origins: of some pictures the name says whom they show, of others not."""
    for i in range(20):
        save(tmp_path / ("happy", "sad")[i % 2] / f"mine{i}.png", i)
    for subject in range(subjects):
        for i in range(6):
            save(tmp_path / "happy" / f"S{subject:03}_001_{i:08}.png", 30 + 6 * subject + i)
    train, watched = load_training(tmp_path)
    assert not set(train.groups) & set(watched.groups) - {""}
    assert watched.groups.count("") == 4
    assert len(watched) - 4 == (6 if subjects > 1 else 0)


def test_rows_of_no_split_are_not_all_rows(tmp_path: Path) -> None:
    save(tmp_path / "happy" / "mine.png")
    save(tmp_path / "test" / "happy" / "theirs.png")
    named = {
        split: [Path(name).stem for name in load_crops(tmp_path, split).names]
        for split in (EVERY_SPLIT, NO_SPLIT, "test")
    }
    assert named == {EVERY_SPLIT: ["mine", "theirs"], NO_SPLIT: ["mine"], "test": ["theirs"]}


@pytest.mark.parametrize("name", ["x.png", "AF01HAS.JPG"])  # of no set, and of KDEF
def test_the_nearest_folder_within_the_set_names_the_split(tmp_path: Path, name: str) -> None:
    places = {
        "alice/happy": NO_SPLIT,
        "train/happy": "Training",
        "test/alice/happy": "PrivateTest",
        "test/group/carol/happy": "PrivateTest",
        "test/dave/train/happy": "Training",
    }
    root = tmp_path / "test"  # what the set itself is called says nothing of its rows
    for i, place in enumerate(places):
        save(root / place / name, 10 + i)
    found = {str(Path(row.name).parent.relative_to(root)): row.split for row in read_rows(root)}
    assert found == places


def test_clips(tmp_path: Path) -> None:
    names = {
        "1001_DFA_ANG_XX.flv": (0, "1001"),
        "1040_ITH_SAD_X.flv": (4, "1040"),  # as it is called there
        "mead_W036_level_3_happy_007.mp4": (3, "W036"),
        "mead_M003_level_1_contempt_015.mp4": None,
        "Sadness/mine.avi": (4, ""),
        "other.mp4": None,
    }
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = {str(c.path.relative_to(tmp_path)): (c.label, c.group) for c in load_clips(tmp_path)}
    assert found == {name: value for name, value in names.items() if value}
    (tmp_path / "bare").mkdir()
    with pytest.raises(DatasetError, match="no labelled video"):
        load_clips(tmp_path / "bare")


@given(
    sizes=st.lists(st.integers(1, 9), min_size=4, max_size=30),
    folds=st.integers(2, 4),
    seed=st.integers(0, 5),
)
def test_folds_never_cut_a_subject(sizes: list[int], folds: int, seed: int) -> None:
    groups = [f"S{i}" for i, size in enumerate(sizes) for _ in range(size)]
    fold = subject_folds(groups, folds, seed=seed)
    for subject in set(groups):
        assert len({f for f, g in zip(fold, groups, strict=True) if g == subject}) == 1
    counts = np.bincount(fold, minlength=folds)
    assert counts.min() > 0
    assert counts.max() - counts.min() <= max(sizes)
    assert (fold == subject_folds(groups, folds, seed=seed)).all()


def test_folds_need_subjects() -> None:
    with pytest.raises(DatasetError, match="too few"):
        subject_folds(["a", "b"], 3)
    with pytest.raises(DatasetError, match="do not say"):
        subject_folds(["a", ""], 2)


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file"):
        load_crops(tmp_path / "nowhere", "all")
    with pytest.raises(DatasetError, match="folder per class"):
        load_crops(tmp_path, "all")
    with pytest.raises(DatasetError, match="no such folder"):
        load_pictures(tmp_path / "nowhere")
    csv = write_csv(tmp_path / "x.csv")
    with pytest.raises(DatasetError, match="no picture of the split 'holdout'"):
        load_crops(csv, "holdout")
    csv.write_text("emotion,pixels,Usage\n9,0 1 2 3,Training\n")
    with pytest.raises(DatasetError, match=r"x\.csv:1: expected a label from 0 to 6, found 9"):
        load_crops(csv, "all")
    csv.write_text("emotion,pixels,Usage\n1,0 1 2,Training\n")
    with pytest.raises(DatasetError, match=r"x\.csv:1: not a square"):
        load_crops(csv, "all")
    csv.write_text("emotion,pixels,Usage\n1,,Training\n")
    with pytest.raises(DatasetError, match=r"x\.csv:1: not a square grey picture .*no pixels"):
        load_crops(csv, "all")
    csv.write_text("emotion,pixels,Usage\n1\n")  # cut off
    with pytest.raises(DatasetError, match=r"x\.csv:1: not a square"):
        load_crops(csv, "all")
    csv.write_text("a,b\n1,2\n")
    with pytest.raises(DatasetError, match="expected columns emotion, pixels, Usage"):
        load_crops(csv, "all")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no PAR1")
    with pytest.raises(DatasetError, match="not a readable Parquet"):
        load_crops(tmp_path / "x.parquet", "all")
    for emotion, png in ((None, b"png"), ("3", b"png"), (3, None)):
        table = pyarrow.table({"usage": ["Training"], "emotion": [emotion], "png": [png]})
        parquet.write_table(table, tmp_path / "x.parquet")
        with pytest.raises(DatasetError, match=r"x\.parquet:1: expected an integer"):
            load_crops(tmp_path / "x.parquet", "all")
    (tmp_path / "happy").mkdir()
    (tmp_path / "happy" / "broken.jpg").write_text("text")
    with pytest.raises(DatasetError, match=r"broken\.jpg: not a picture that can be read"):
        load_crops(tmp_path, "all")
    (tmp_path / "y.txt").write_text("")
    with pytest.raises(DatasetError, match=r"expected a \.parquet"):
        load_crops(tmp_path / "y.txt", "all")


def test_shapes_are_checked() -> None:
    labels = np.zeros(4, np.int64)
    with pytest.raises(ValueError, match="labels and names"):
        FaceCrops(images(), labels, None, ("one",))
    with pytest.raises(ValueError, match="votes"):
        FaceCrops(images(), labels, np.zeros((4, 3), np.uint8), tuple("abcd"))
    crops = FaceCrops(images(), labels, None, tuple("abcd"))
    half = crops.select(np.array([True, False, True, False]))
    assert half.names == ("a", "c")
    assert half.fingerprint() != crops.fingerprint()
    assert half.pixel_hashes() == crops.pixel_hashes()[::2]


def test_fer2013_is_what_everybody_has(data: Path) -> None:
    """Counts by class of the challenge's own description."""
    training = load_crops(data / "fer2013", "Training")
    public = load_crops(data / "fer2013", "PublicTest")
    assert np.bincount(training.labels).tolist() == [3995, 436, 4097, 7215, 4830, 3171, 4965]
    assert np.bincount(public.labels).tolist() == [467, 56, 496, 895, 653, 415, 607]
    known = set(training.pixel_hashes())
    assert sum(digest in known for digest in public.pixel_hashes()) == 280


def test_test_rows_are_never_learned_from(tmp_path: Path) -> None:
    """Where there is no `train` folder, what lies outside of `val` and `test` is learned from."""
    for i in range(5):
        for place in ("happy", "sad", "test/happy", "test/sad"):
            save(tmp_path / place / f"{i}.png", 10 + i)
    train, watched = load_training(tmp_path)
    names = {*train.names, *watched.names}
    assert len(names) == 10
    assert not any(Path(name).parent.parent.name == "test" for name in names)
    save(tmp_path / "val" / "happy" / "0.png")
    train, watched = load_training(tmp_path)
    assert len(train) == 10
    assert [Path(name).parent.parent.name for name in watched.names] == ["val"]
    for place in ("happy", "sad"):
        shutil.rmtree(tmp_path / place)
    with pytest.raises(DatasetError, match="no picture outside of val and test"):
        load_training(tmp_path)


def test_a_picture_too_large_is_refused_without_an_option_that_does_not_exist(
    tmp_path: Path,
) -> None:
    file = tmp_path / "happy" / "huge.png"
    file.parent.mkdir()
    file.write_bytes(b"P5 20000 20000 255\n")
    with pytest.raises(DatasetError, match=r"the limit of 100,000,000\. Make it smaller$"):
        next(read_rows(tmp_path)).gray()
