"""What a report stands on: the quality of the recordings, the method and its limits. Imports the
siblings `charts`, `findings`, `intake`, `material`, `page`, `recording` and `words`; types and
wording.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mien.report.charts import clock, legend, plot, strip
from mien.report.findings import total_quality
from mien.report.intake import GAP_S, GAP_STEPS, SMALL_PX, TURNED_DEG
from mien.report.material import Material
from mien.report.page import Html, quiet, section, table, tag
from mien.report.recording import Quality
from mien.report.words import LIMITS, METHOD, NO_MODEL, NO_SHAPE
from mien.types import QUALITY_REASONS
from mien.wording import counted, percent

_ROWS: Final = 60


def quality(material: Material) -> Iterator[Html]:
    """How much could be used, and why the rest could not."""
    content: list[Html] = []
    pictures = [recording for recording in material.recordings if not recording.is_video]
    for recordings, timed in ((material.videos, True), (pictures, False)):
        total = total_quality(recordings)
        if total.recorded_s > 0:
            content += [_usable(total), _amounts(total, timed=timed)]
            if total.face_s > 0 and total.shape_s <= 0:
                content.append(quiet(NO_SHAPE))
    if material.videos and not material.view.anonymous:
        content.append(_recordings(material))
    if material.problems:
        content.append(tag("h3", "Left out or doubtful"))
        if material.view.anonymous:
            content.append(tag("p", counted(len(material.problems), "input") + "."))
        else:
            content.append(tag("ul", *(tag("li", problem) for problem in material.problems)))
    yield section("quality", f"How good the {material.each}s are", *content)


def _parts(total: Quality) -> list[tuple[str, float, str]]:
    """Shares of the recorded time: read, not read, nobody there."""
    with_face = total.with_face_s / max(total.recorded_s, 1e-12)
    unsure = total.uncertain_s / max(total.face_s, 1e-12)
    return [
        ("read with a sure answer", with_face * (1 - unsure), "ca"),
        ("in sight, but uncertain", with_face * unsure, "cu"),
        ("no face in sight", 1 - with_face, "cn"),
    ]


def _usable(total: Quality) -> Html:
    bars, edge = [], 0.0
    for name, share, mark in _parts(total):
        bars.append((edge, edge + share, mark, f"{name} {percent(share)}"))
        edge += share
    said = ", ".join(words for *_, words in bars)
    chart = plot(strip(bars, (0, 1), label=f"Usable: {said}"), ())
    return tag("figure", legend([(words, mark) for *_, mark, words in bars]), chart, class_="flat")


def _amounts(total: Quality, *, timed: bool) -> Html:
    def row(name: str, part: float, whole: float, of: str) -> tuple[str, str, str]:
        amount = clock(part, fine=part < 60) if timed else f"{part:,.0f}"
        return name, amount, f"{percent(part / whole)} {of}" if whole > 0 else ""

    of_all = "of the time" if timed else "of the pictures"
    of_faces = "of the time in sight" if timed else "of the faces"
    nobody = total.recorded_s - total.with_face_s
    face_s, small, turned = total.face_s, f"{SMALL_PX:g} pixels", f"{TURNED_DEG:g} degrees"
    rows = [
        row("recorded" if timed else "pictures", total.recorded_s, 0, ""),
        row("no face in sight", nobody, total.recorded_s, of_all),
        row("in sight, all faces added up" if timed else "faces", face_s, 0, ""),
        row("read with a sure answer", face_s - total.uncertain_s, face_s, of_faces),
        row("uncertain", total.uncertain_s, face_s, of_faces),
        row(f"smaller than {small}", total.small_s, face_s, of_faces),
        row(f"uncertain and smaller than {small}", total.uncertain_small_s, face_s, of_faces),
    ]
    if total.shape_s > 0:  # some tables may say it, and others not
        both, of_posed = total.uncertain_turned_s, (total.shape_s, f"{of_faces} with a known pose")
        rows.append(row(f"turned by more than {turned}", total.turned_s, *of_posed))
        rows.append(row(f"uncertain and turned by more than {turned}", both, *of_posed))
    if total.rated_s > 0:
        of_rated = total.rated_s, f"{of_faces} with a known quality"
        rows.append(row("hard to read, of that:", total.poor_s, *of_rated))
        reasons = zip(QUALITY_REASONS, total.reasons_s, strict=True)
        rows += [row(reason, float(part), *of_rated) for reason, part in reasons if part > 0]
    if timed:
        together = f", {clock(total.gap_s, fine=True)} together" if total.gaps else ""
        breaks = f"{total.gaps:,}{together}"
        steps = f"{GAP_S:g} s and {GAP_STEPS:g} usual steps"
        rows.append((f"breaks between frames of more than {steps}", breaks, ""))
        rows.append(("longest step between frames", f"{total.longest_step_s:.2f} s", ""))
    caption = "How much could be used, and why not"
    return table(("what", "how much", "share"), rows, caption=caption)


def _recordings(material: Material) -> Html:
    rows = []
    for video in material.videos[:_ROWS]:
        found = video.quality
        rate = f"{found.frames / found.recorded_s:.1f}" if found.recorded_s > 0 else ""
        counts = rate, f"{found.gaps}", str(len(video.tracks))
        shares = [percent(share) for _, share, _ in _parts(found)]
        rows.append((material.title(video), clock(found.recorded_s), *counts, *shares))
    counts = "frames a second", "breaks", "faces"
    heads = ("recording", "length", *counts, "sure", "uncertain", "no face")
    many = len(material.videos)
    more = f", {_ROWS} of {many}" if many > _ROWS else ""
    return table(heads, rows, caption=f"Recording by recording{more}", class_="names")


def _models(material: Material) -> str:
    """Whose answers they are."""
    named = {model: None for recording in material.recordings for model in recording.models}
    said = [f"{', '.join(named)}: name @ how its file's SHA-256 begins."] if named else []
    if not all(recording.models for recording in material.recordings):
        said.append(NO_MODEL)
    return " ".join(said)


def method(material: Material) -> Iterator[Html]:
    """How the figures came about, and what they cannot say."""
    frames = counted(sum(recording.quality.frames for recording in material.recordings), "frame")
    answers = (
        f"For each face of {frames}: probabilities of {', '.join(material.labels)}. The largest is "
        "the answer, or “uncertain” where it is below the model's threshold, or where the face is "
        "badly lit or covered. The probabilities of single pictures are calibrated; those of "
        "videos, which also go by the frames before, are not."
    )
    given = {
        "reactions": bool(material.markers),
        "groups": any(member.group for member in material.members),
        "trends": material.over_time,
    }
    listing = [
        tag("dt", "Answers"),
        tag("dd", answers),
        tag("dt", "Model"),
        tag("dd", _models(material)),
    ]
    for heading, needed_by, text in METHOD:
        said = not needed_by or needed_by in material.view.sections
        if said and given.get(needed_by, True):
            listing += [tag("dt", heading), tag("dd", text)]
    yield section(
        "method",
        "Method and limits",
        tag("dl", *listing, class_="about"),
        tag("h3", "What these figures cannot say"),
        tag("ul", *(tag("li", text) for text in LIMITS)),
    )
