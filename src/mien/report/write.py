"""Builds a report out of tables: `write_report`. Imports the siblings, and from mien: annotate,
companions, errors, types, whole, wording.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Final, Literal, get_args

from mien.annotate import css_colours
from mien.companions import Marker, Member, last_part, names_of, read_groups, read_markers
from mien.errors import ConfigError, MienError, SinkError, SourceError
from mien.report import comparisons, grounds, sections, timelines, words
from mien.report.figures import figures_of
from mien.report.findings import told_by
from mien.report.intake import take_in
from mien.report.material import Material
from mien.report.page import Html, document, join, tag
from mien.report.recording import Recording, timed
from mien.report.thumbnails import Thumbnail, cut_out, find_videos
from mien.report.views import VIEWS, View
from mien.types import EXPRESSIONS, require_one_of
from mien.whole import whole
from mien.wording import counted, told_apart

Faces = Literal["show", "blur", "hide"]

_SECTIONS: Final[dict[str, tuple[str, Callable[[Material], Iterator[Html]]]]] = {
    "summary": ("In short", sections.summary),
    "shares": ("How much", sections.how_much),
    "timelines": ("Over time", timelines.timelines),
    "segments": ("Strongest moments", sections.strongest),
    "transitions": ("What followed what", sections.followed),
    "reactions": ("Reactions", comparisons.responses),
    "groups": ("Groups", comparisons.groups),
    "trends": ("Sessions", comparisons.over_sessions),
    "audience": ("Everybody", timelines.everybody),
    "quality": ("Quality", grounds.quality),
    "method": ("Method and limits", grounds.method),
}


@dataclass(frozen=True)
class Outcome:
    """What became of a report.

    Attributes:
        failures: tables that could not be read, and why; the report names them too.
        notes: what else is missing from it, a line each.
    """

    failures: tuple[tuple[Path, MienError], ...] = ()
    notes: tuple[str, ...] = ()


def write_report(
    tables: Sequence[Path],
    out: Path | Sequence[Path],
    *,
    view: str = "research",
    markers: Path | None = None,
    groups: Path | None = None,
    purpose: str = "",
    faces: Faces = "hide",
    videos: Sequence[Path] = (),
    called: Sequence[str] = (),
    most: float = inf,
) -> Outcome:
    """Write one page about what tables of results hold, complete in itself, or its figures.

    The page runs no script and loads nothing. When a file is complete it replaces what is at `out`.

    Args:
        tables: what `mien analyze --out` wrote: `.jsonl .json .csv .parquet`.
        out: the page, `.html`, or its figures, `.json`; or several of these.
        view: one of `VIEWS`: which sections, in which words.
        markers: CSV with time_s, label and perhaps source: moments to look at more closely.
        groups: CSV with source, group and perhaps person and date.
        purpose: what the report is for; printed on it, and asked for on it where it is missing.
        faces: pictures of the strongest moments: as they are, with faces made unrecognizable, or
            none. For the first two, the video files that the tables name as their sources are
            opened: ask for them only with tables that you trust.
        videos: where the recordings are, if not where the tables say. Found by how their paths end.
        called: what the page and errors call the tables, one each; else the page calls them as
            their files, and errors name their paths.
        most: how many recordings and faces the tables may hold together; one that holds more than
            those before it have left room for cannot be read.

    Raises:
        SourceError: none of the tables can be read.
        ConfigError: no such view, markers or groups that cannot be read, or a video of no table or
            of nobody knows which.
        SinkError: a file cannot be written.
        ValueError: `faces` is none of these.
    """
    require_one_of("faces", faces, get_args(Faces))
    if view not in VIEWS:
        raise ConfigError(f"view {view}: expected one of {', '.join(VIEWS)}")
    if not tables:
        raise ConfigError("no table: expected at least one that `mien analyze --out` wrote")
    outs = [out] if isinstance(out, Path) else out
    pages = [file for file in outs if file.suffix.lower() != ".json"]
    marked = read_markers(markers) if markers else []
    members = read_groups(groups) if groups else []
    name_of = dict(zip(tables, called, strict=True)) if called else {}
    distinct = list({table.resolve(): table for table in tables}.values())
    # Folders are nobody's business.
    names = told_apart([name_of.get(table, table.name) for table in distinct])
    shown = dict(zip(distinct, names, strict=True))
    recordings, failures = _read(distinct, marked, shown, name_of, most)
    problems = [_said(error, table, shown[table]) for table, error in failures]
    notes = [*_twice(tables, recordings), *_seen_again(recordings, members)]
    if groups:
        notes += _at_odds(recordings, members, groups)
    if markers:
        notes += _elsewhere(recordings, marked, markers)
    notes += _unused(VIEWS[view], outs, pages, faces, markers, videos)
    thumbnails: list[Thumbnail] = []
    if pages and faces != "hide" and _pictured(VIEWS[view]):
        found, unclear = find_videos(recordings, videos)
        thumbnails, missing = cut_out(recordings, found, blur=faces == "blur")
        notes += [*unclear, *missing]
    labels = next((r.labels for r in recordings if r.labels), EXPRESSIONS)
    material = Material(
        view=VIEWS[view],
        recordings=tuple(recordings),
        labels=labels,
        markers=tuple(marked),
        members=tuple(members),
        thumbnails=tuple(thumbnails),
        problems=(*problems, *notes),
        blurred=faces == "blur",
    )
    for file in outs:
        if file in pages:
            page = document(_title(material), css_colours(labels), _body(material, purpose))
            _save(page, file)
        else:
            _save(json.dumps(figures_of(material), ensure_ascii=False, indent=1) + "\n", file)
    return Outcome(tuple(failures), tuple(notes))


def _twice(given: Sequence[Path], recordings: Sequence[Recording]) -> Iterator[str]:
    """What was given more than once: it would weigh more than it says."""
    files = Counter(table.resolve() for table in given)
    for file, count in files.items():
        if count > 1:
            yield f"{file.name}: given {count} times, counts once"
    standing = Counter((r.table_name, r.source) for r in recordings)
    repeated: dict[str, list[str]] = {}
    for (name, source), count in standing.items():
        if count > 1:
            repeated.setdefault(name, []).append(source)
    for name, again in repeated.items():
        yield (
            f"{name}: holds {_some(again)} more than once, counted as recordings of their own. "
            "If the table was sorted by face, sort it by frame"
        )
    holders: dict[tuple[object, ...], Path] = {}
    alike: dict[tuple[Path, Path], list[str]] = {}
    for r in recordings:
        key = (r.source, r.start_s, r.end_s, r.quality.frames, r.quality.face_s)
        before = holders.setdefault(key, r.table)
        if before != r.table:
            alike.setdefault((before, r.table), []).append(r.name)
    name_of = {r.table: r.table_name for r in recordings}
    for (before, table), sources in alike.items():
        yield (
            f"{name_of[table]}: holds {_some(sources)}, with as many frames and faces as in "
            f"{name_of[before]}. Both count: leave one out if they are the same"
        )


def _seen_again(recordings: Sequence[Recording], members: Sequence[Member]) -> Iterator[str]:
    """Whom faces' names show in several recordings, where nobody says whose these are."""
    if any(member.person for member in members):
        return
    seen: dict[tuple[str, Path | None], int] = {}
    for recording in timed(recordings):
        for name in {track.person for track in recording.tracks if track.person}:
            # Strangers are numbered anew in each table; a gallery's names are the same in all.
            table = recording.table if re.fullmatch(r"person-\d+", name) else None
            seen[name, table] = seen.get((name, table), 0) + 1
    again = sorted(name for (name, _), count in seen.items() if count > 1)
    if again:
        yield (
            f"several recordings show {_some(again)}. Each recording counts as if it were another "
            "person's: say in --groups (source,person) whose it is"
        )


def _at_odds(
    recordings: Sequence[Recording], members: Sequence[Member], groups: Path
) -> Iterator[str]:
    """What the groups name and is not here, and what is here and they do not name."""
    said_of = told_by(members)
    known = {name for r in recordings for name in (*names_of(r.source), *names_of(str(r.table)))}
    nowhere = [m.source for m in members if m.source not in known]
    if nowhere:
        yield f"{groups.name}: no recording and no table here is called {_some(nowhere)}"
    dated = any(member.day for member in members)
    unnamed, nobodys, undated = [], [], []
    for recording in recordings:
        member = said_of(recording)
        if member == Member(recording.source):
            unnamed.append(recording.name)
        elif dated and not member.day:
            undated.append(recording.name)
        if not member.person:
            nobodys.append(recording.name)
    if nobodys and any(member.person for member in members):
        yield (
            f"{groups.name}: says for {_some(nobodys)} no person: each counts as a person of its "
            "own"
        )
    if unnamed:
        yield (
            f"{groups.name}: says nothing of {_some(unnamed)}: no group, no person, "
            + ("and for a date the day on which the table was last changed" if dated else "no date")
        )
    if undated:
        yield (f"{groups.name}: says for {_some(undated)} no date: {words.SAVED_ON}")


def _elsewhere(
    recordings: Sequence[Recording], marked: Sequence[Marker], markers: Path
) -> Iterator[str]:
    """What the markers name and is not here."""
    known = {name for recording in recordings for name in names_of(recording.source)}
    nowhere = sorted({m.source for m in marked if m.source} - known)
    if nowhere:
        yield f"{markers.name}: no recording here is called {_some(nowhere)}"


def _unused(
    view: View,
    outs: Sequence[Path],
    pages: Sequence[Path],
    faces: Faces,
    markers: Path | None,
    videos: Sequence[Path],
) -> Iterator[str]:
    """What was given and is nowhere to be seen: a wrong path would not be noticed."""
    if markers and len(pages) == len(outs) and "reactions" not in view.sections:
        yield (
            f"{markers.name}: the view {view.name} shows no reactions to moments. Other views do, "
            "and so do figures (.json)"
        )
    if videos and not pages:
        yield "the videos that were given are not opened: figures (.json) hold no pictures"
    elif videos and not _pictured(view):
        yield f"the videos that were given are not opened: the view {view.name} shows no faces"
    elif videos and faces == "hide":
        yield "the videos that were given are not opened: pictures of faces are left out"


def _some(sources: Sequence[str]) -> str:
    """Sources by their last parts, and of many only the first."""
    last = [last_part(source) or source for source in sources]
    return ", ".join(last[:3]) + (f" and {len(last) - 3:,} more" if len(last) > 3 else "")


def _pictured(view: View) -> bool:
    return not view.anonymous and "segments" in view.sections


def _read(
    tables: Sequence[Path],
    markers: Sequence[Marker],
    shown: Mapping[Path, str],
    name_of: Mapping[Path, str],
    most: float,
) -> tuple[list[Recording], list[tuple[Path, MienError]]]:
    """All tables that can be read, of one model's classes, as they are shown; and the others."""
    recordings: list[Recording] = []
    failures: list[tuple[Path, MienError]] = []
    labels: tuple[str, ...] = ()
    for table in tables:
        try:
            found = take_in(table, markers, name=shown[table], most=most)
            expected = labels or next((r.labels for r in found if r.labels), ())
            other = next((r.labels for r in found if r.labels not in ((), expected)), None)
            if other:
                raise SourceError(
                    f"{table}: has the classes {', '.join(other)}, and recordings before it "
                    f"{', '.join(expected)}. Report on tables of one model"
                )
        except MienError as error:
            failures.append((table, error))
            continue
        labels = expected
        recordings += found
        most -= sum(1 + len(recording.tracks) for recording in found)
    if not recordings:
        reasons = [_said(error, table, name_of.get(table)) for table, error in failures]
        if len(failures) == 1:
            raise type(failures[0][1])(reasons[0]) from failures[0][1]
        raise SourceError(f"none of {len(tables)} tables can be read: {'; '.join(reasons)}")
    return recordings, failures


def _said(error: MienError, table: Path, name: str | None) -> str:
    """What an error says about a table, by another name than its path: messages begin with that."""
    return str(error) if name is None else name + str(error).removeprefix(str(table))


def _title(material: Material) -> str:
    if len(material.recordings) == 1 and not material.view.anonymous:
        return material.recordings[0].name
    videos = len(material.videos)
    pictures = len(material.recordings) - videos
    parts = (counted(videos, "recording"), counted(pictures, "picture"))
    return " and ".join(part for part, n in zip(parts, (videos, pictures), strict=True) if n)


def _body(material: Material, purpose: str) -> Iterator[Html]:
    view = material.view
    written = {name: join(_SECTIONS[name][1](material)) for name in view.sections}
    written = {name: content for name, content in written.items() if content}
    yield tag("a", "Skip to the summary", href="#summary", class_="skip")
    links = (tag("li", tag("a", _SECTIONS[name][0], href=f"#{name}")) for name in written)
    facts = [("Purpose", purpose.strip()) if purpose.strip() else ("Purpose", "not stated")]
    facts.append(("Tables", counted(len({r.table for r in material.recordings}), "table")))
    facts.append(("Written", f"{datetime.now(UTC).astimezone().date().isoformat()}, by mien"))
    about = (part for name, text in facts for part in (tag("dt", name), tag("dd", text)))
    yield tag(
        "header",
        tag("p", view.title, class_="kicker"),
        tag("h1", _title(material)),
        tag("p", view.lead, class_="lead"),
        tag("dl", *about, class_="about"),
        *_notices(material, purpose),
        tag("nav", tag("ul", *links), aria_label="Sections"),
    )
    yield tag("main", *written.values())
    yield tag(
        "footer",
        tag("p", "Expressions that faces showed, not feelings that people had. A person decides "
            "what follows from this page. It holds no script and loads nothing.", class_="quiet"),
    )  # fmt: skip


def _notices(material: Material, purpose: str) -> Iterator[Html]:
    if not purpose.strip():
        yield tag("p", tag("strong", "Purpose not stated. "), words.NO_PURPOSE, class_="notice")
    for notice in material.view.notices:
        yield tag("p", notice, class_="notice")


def _save(text: str, out: Path) -> None:
    try:
        with whole(out) as partial:
            # File names may hold what no text can; the file then shows a mark in its place.
            partial.write_text(text, encoding="utf-8", errors="replace", newline="\n")
    except OSError as error:
        raise SinkError(
            f"{out}: cannot be written ({error.strerror}). Check the folder and the disk's space"
        ) from error
