"""Who reads a report, what is told to them, and in which words. Imports the sibling `words`.

A view is a list of sections and the words around them. What a section says is made of the same
figures in every view.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mien.report.words import ACT


@dataclass(frozen=True)
class View:
    """A way to tell the same figures.

    Attributes:
        name: what the command line calls it.
        title: above the report's heading.
        lead: what this page is, in a sentence or two.
        sections: names of sections, in order; those that have nothing to say are left out.
        asks_for: sections that say what is missing rather than being left out.
        notices: what must be said before anything else.
        anonymous: no names of recordings, no single faces, no pictures of them.
    """

    name: str
    title: str
    lead: str
    sections: tuple[str, ...]
    asks_for: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    anonymous: bool = False


_VIEWS: Final = (
    View(
        "research",
        "Research report",
        "Everything that the tables hold about what faces showed, how sure that is, and how it "
        "was measured.",
        (
            "summary", "shares", "timelines", "segments", "transitions", "reactions", "groups",
            "trends", "audience", "quality", "method",
        ),
    ),
    View(
        "wellbeing",
        "Well-being over time",
        "How much a face showed from session to session. Each table is one session. Sessions "
        "with too little to read are shown as missing, not filled in.",
        ("summary", "trends", "shares", "quality", "method"),
        asks_for=("trends",),
        notices=(
            "This is no diagnosis, and no measure of mood, health or risk. Faces show less than "
            "people feel, and other things; light, a camera, medication, tiredness, company and "
            "habit change them too. A change is a reason for someone qualified to ask.",
        ),
    ),
    View(
        "experience",
        "Customer experience",
        "What faces showed around moments of an experience, averaged over people. Nobody is "
        "named, singled out or pictured.",
        ("summary", "reactions", "audience", "groups", "shares", "quality", "method"),
        asks_for=("reactions", "audience"),
        anonymous=True,
    ),
    View(
        "entertainment",
        "Audience reaction",
        "What the faces of an audience showed during a film or a game, and the moments at which "
        "most of them showed something.",
        ("summary", "audience", "reactions", "segments", "groups", "shares", "quality", "method"),
        asks_for=("audience",),
    ),
    View(
        "learning",
        "Self-reflection and consented research",
        "A look back at what one's own face showed, for oneself or for a study whose "
        "participants have agreed to it.",
        ("summary", "timelines", "segments", "shares", "reactions", "quality", "method"),
        notices=(
            ACT + " This page must not be used to watch, grade, compare or steer pupils, "
            "students, trainees or employees, with or without their consent.",
        ),
    ),
)  # fmt: skip

#: By name, in the order in which they are offered.
VIEWS: Final[dict[str, View]] = {view.name: view for view in _VIEWS}
