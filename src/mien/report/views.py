"""Who reads a report, what is told to them, and in which words. Imports nothing.

A view is a list of sections and the words around them. What a section says is made of the same
figures in every view.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class View:
    """A way to tell the same figures.

    Attributes:
        name: what the command line calls it.
        title: above the report's heading.
        lead: what this page is, in a sentence or two.
        notices: what must be said before anything else.
        sections: names of sections, in order; those that have nothing to say are left out.
        asks_for: sections that say what is missing rather than being left out.
        anonymous: no names of recordings, no single faces, no pictures of them.
    """

    name: str
    title: str
    lead: str
    notices: tuple[str, ...]
    sections: tuple[str, ...]
    asks_for: tuple[str, ...] = ()
    anonymous: bool = False


_ALL: Final = (
    "summary",
    "shares",
    "timelines",
    "segments",
    "transitions",
    "reactions",
    "groups",
    "trends",
    "audience",
    "quality",
    "method",
)

_ACT: Final = (
    "Inferring the emotions of people at work or in education is prohibited in the European Union "
    "since 2 February 2025, medical and safety reasons excepted (AI Act, Regulation (EU) 2024/1689, "
    "Article 5(1)(f))."
)

#: By name, in the order in which they are offered.
VIEWS: Final[dict[str, View]] = {
    view.name: view
    for view in (
        View(
            "research",
            "Research report",
            "Everything that the tables hold about what faces showed, how sure that is, and how it "
            "was measured.",
            (),
            _ALL,
        ),
        View(
            "wellbeing",
            "Well-being over time",
            "How much a face showed from session to session. Each table is one session. Sessions "
            "with too little to read are shown as missing, not filled in.",
            (
                "This is no diagnosis, and no measure of mood, health or risk. Faces show less and "
                "other things than people feel; light, a camera, medication, tiredness, company and "
                "habit change them too. Changes are a reason to ask, by someone qualified to.",
            ),
            ("summary", "trends", "shares", "quality", "method"),
            asks_for=("trends",),
        ),
        View(
            "experience",
            "Customer experience",
            "What faces showed around moments of an experience, averaged over people. Nobody is "
            "named, singled out or pictured.",
            (),
            ("summary", "reactions", "audience", "groups", "shares", "quality", "method"),
            asks_for=("reactions",),
            anonymous=True,
        ),
        View(
            "entertainment",
            "Audience reaction",
            "What the faces of an audience showed during a film or a game, and the moments at which "
            "most of them showed something. All recordings are taken to begin together.",
            (),
            ("summary", "audience", "reactions", "segments", "groups", "shares", "quality", "method"),
            asks_for=("audience",),
        ),
        View(
            "learning",
            "Self-reflection and consented research",
            "A look back at what one's own face showed, for oneself or for a study whose "
            "participants have agreed to it.",
            (
                _ACT + " This page must not be used to watch, grade, compare or steer pupils, "
                "students, trainees or employees, with or without their consent. It is for looking "
                "at one's own recording, and for research outside of teaching and work.",
            ),
            ("summary", "timelines", "segments", "shares", "reactions", "quality", "method"),
        ),
    )
}

#: What holds for every report, in its last section.
LIMITS: Final = (
    "An expression is not a feeling. The model reads what a face shows at a moment; people smile "
    "without joy and feel without showing it. No line of this page says what anyone felt.",
    "The model's answers are wrong now and then, and more often for disgust, fear and sadness than "
    "for happiness and surprise. `mien models show` prints its card, with figures by class. The "
    "threshold of “uncertain” is set so that at least 85% of the other answers are right on the "
    "pictures that the model was calibrated with; in other recordings it may be fewer.",
    "The intervals say how much a figure would vary with other moments, recordings or people of the "
    "same kind. They do not hold the model's own errors.",
    "The shipped models learned from FER2013: pictures found on the web in 2013, whose labels are "
    "disputed (ten later annotators agree with them on 64%), without record of age, skin colour or "
    "origin. How accuracy differs between groups of people has not been measured: a difference "
    "between groups may be the model's.",
    "Turned or covered faces, strong side light and faces under about 24 pixels are read worse. "
    "Speaking moves a mouth, and looks like an expression.",
    "Not for diagnosis, lie detection, hiring, policing, or any decision about a person by itself. "
    + _ACT,
)
