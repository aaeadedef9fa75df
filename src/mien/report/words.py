"""The sentences of a report that are the same for every reader. Imports nothing.

They say "showed", never "felt": a report is about faces.
"""

from __future__ import annotations

from typing import Final

ACT: Final = (
    "Inferring the emotions of people at work or in education is prohibited in the European "
    "Union since 2 February 2025, medical and safety reasons excepted (AI Act, Regulation (EU) "
    "2024/1689, Article 5(1)(f))."
)

NOT_FEELINGS: Final = (
    "These are expressions as a model read them from faces. They are not feelings, and nothing "
    "here says what anyone felt."
)

NO_PURPOSE: Final = (
    "Say what this report is for, and with whose consent: --purpose TEXT. Whoever reads faces "
    "should be able to say why."
)

SURE: Final = (
    "Sure answers are not always right. The shipped models' threshold was chosen on single "
    "pictures, so that at least 85% of the answers given there are; elsewhere it may be fewer, and "
    "for videos none was chosen."
)

SHARES: Final = (
    "“Sure answers” are shares of {sight}, and with “uncertain” they sum to 100%. "
    "“Weighted” is the mean probability of each expression over all answers, sure or not."
)

#: After SHARES, where there are videos.
NOT_CALIBRATED: Final = (
    " Probabilities in videos are not calibrated: they serve to compare, not as chances."
)

PICTURES_APART: Final = (
    "These figures are of the recordings alone. Pictures have no time, and are counted only under "
    "quality; a report on tables of pictures shows what they show."
)

TIMELINES: Final = (
    "The areas show the probability of each expression. The bar below shows segments: an "
    "expression that led with at least 50% and lasted a quarter of a second or longer. Where "
    "the areas have a gap, the face was out of sight."
)

TRANSITIONS: Final = (
    "Of the segments of the expression on the left that were followed by another within two "
    "seconds, on the same face, how many were followed by the one above"
)

REACTIONS: Final = (
    "The change of each expression's probability, against its mean in the second before the "
    "moment. The dashed line is the moment; the band is a 95% interval for the mean. Answers "
    "in videos look back over the recent past, which delays them by one or two tenths of a second."
)

#: Why a moment says nothing about a recording, after "2 occurrences".
MISSED: Final = {
    "beginning": "where a recording begins, with no second before to compare with",
    "outside": "before a recording begins or after it ends",
    "nobody": "with no face in sight both in the second before and afterwards",
}

ONE_AUDIENCE: Final = (
    "They saw the same showing together, and laughter is catching: the interval is for other faces "
    "of this audience, not for another showing. For those, give several recordings."
)

RETURNED: Final = (
    "A face that left and came back is another one here. No more than {n} are surely different "
    "people, and the interval counts no more (mien analyze --identity knows who comes back)."
)

NO_MARKERS: Final = (
    "No moments were given. A table of them (time_s, label and perhaps source) shows what faces "
    "did around each: --markers markers.csv."
)

GROUPS: Final = (
    "Each person counts once, or each {each} where no persons are named. Hedges' g is the "
    "difference in standard deviations; Cliff's delta says how much more often one of the second "
    "group lies above one of the first than below."
)

IN_BOTH: Final = (
    "The intervals allow for that: what one person shows in both belongs together. The effect "
    "sizes are the same as for groups of different people."
)

ONE_SESSION: Final = (
    "There is one session. Give a table for each of several sessions, and their dates with "
    "--groups groups.csv (source, date), to see how they differ."
)

ONE_PERSON: Final = (
    "All sessions are taken for one person's. Where they are of several, name them with --groups "
    "groups.csv (source, person, date): then each has a trend."
)

SAVED_ON: Final = "the day on which the table was last changed stands for it."

EACH_PERSON: Final = "Each person has a trend of their own."

NO_AUDIENCE: Final = "No face was seen in a video, and so there is no course of time to show."

MOMENTS: Final = (
    "The moments at which most faces showed something other than neutral, the strongest first, "
    "at least 5 s apart"
)

NO_SHAPE: Final = (
    "How faces were turned is not known: these tables have no shape columns (mien analyze --shape)."
)

NO_MODEL: Final = (
    "Not all tables say which model answered. mien models list shows what is installed."
)

#: How figures come about: a heading, the section that needs it (empty: all), and what is done.
METHOD: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "Smoothing",
        "",
        "Answers in videos look back over a face's recent past: by a temporal model, where the "
        "model's name above ends in one (… + …); else as averages, over 0.2 seconds if not said "
        "otherwise (mien analyze --smooth; tables do not say how long).",
    ),
    (
        "Faces",
        "",
        "A face keeps its number while it is in sight, and up to 1.5 seconds out of it. Then it "
        "counts as another, though it may be the same person's. Where tables name people "
        "(mien analyze --identity), all faces of one name in a recording are one.",
    ),
    (
        "Time",
        "",
        "A frame counts until the next one, by the recording's own clock. After a break longer "
        "than half a second and four usual steps it counts for a usual step.",
    ),
    (
        "Shares",
        "shares",
        "Seconds with a sure answer over seconds in sight; of pictures, faces over faces. One "
        "recording: Wilson's interval at an effective number of looks, from the integrated "
        "autocorrelation time of each expression's own course (Sokal 1997) and Student's quantile. "
        "Several: the mean over recordings, pictures or people, with their spread and Student's "
        "quantile (Korn and Graubard 1998).",
    ),
    (
        "Segments",
        "timelines",
        "An expression begins a segment when it leads with at least 50%, and ends it below 35% "
        "or when another takes over; half a second out of sight (where frames are rare, two and a "
        "half of the usual steps between them) is bridged, and less than a quarter of a second is "
        "dropped. A face that is badly lit or covered counts as out of sight; an answer that is "
        "uncertain for another reason counts, so that a segment may hold some.",
    ),
    (
        "Reactions",
        "reactions",
        "Mean probability of each face in quarters of a second, minus its own mean of the second "
        "before. Student's interval over people where they are named, else over recordings; within "
        "one recording over its faces, of which it counts as many as are surely different people, "
        "or with one face over occurrences.",
    ),
    (
        "Groups",
        "groups",
        "Hedges' g (1981) and Cliff's delta (1993) over people or recordings, never over "
        "frames; percentile bootstrap, 2,000 drawings of each group from its own members; people "
        "in both groups are drawn for both at once.",
    ),
    (
        "Trends",
        "trends",
        "Median of the slopes between all pairs of a person's sessions (Theil 1950, Sen 1968); "
        "percentile bootstrap over sessions, from five on.",
    ),
)

#: What holds for every report.
LIMITS: Final = (
    "An expression is not a feeling. The model reads what a face shows at a moment; people smile "
    "without joy and feel without showing it.",
    "The model's answers are wrong now and then, and more often for disgust, fear and sadness "
    "than for happiness and surprise. mien models show prints its card, with figures by class.",
    SURE,
    "The intervals say how much a figure would vary with other moments, recordings or people of "
    "the same kind. They do not hold the model's own errors.",
    "The shipped models learned from FER2013: pictures found on the web in 2013, whose labels "
    "are disputed (the majority of ten later annotators agrees with them on 63% of those in which "
    "it sees an expression), without record of age, skin colour or origin. Temporal models learned "
    "also from posed expressions before a camera (KDEF, CK+). How accuracy differs between groups "
    "of people has not been measured: a difference between groups may be the model's.",
    "Turned or covered faces, strong side light and faces under about 24 pixels are read worse. "
    "Speaking moves a mouth, and looks like an expression.",
    "Not for diagnosis, lie detection, hiring, policing, or any decision about a person by "
    "itself. " + ACT,
)
