"""Draw results on a picture. May import unicodedata, numpy, Pillow, and from mien: types, geometry,
preprocess, wording.

Text is drawn once by Pillow's built-in font, kept as a mask, and blended in: in a video the same
few words come again and again. The font has the letters of English; others lose their accents, and
a name in another script gives way to a number.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import cycle
from typing import Final, NamedTuple

import numpy as np
from PIL import ImageDraw, ImageFont
from PIL.Image import new as new_picture

from mien.geometry import invert_transform, transform_points
from mien.preprocess import interpolate, resize
from mien.types import FaceResult, Float32Array, HeatMap, UInt8Array
from mien.wording import fitted

#: A colour per expression that stays apart for colour-blind eyes (Okabe & Ito, "Color Universal
#: Design", 2008), RGB.
COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "angry": (213, 94, 0),
    "disgust": (0, 158, 115),
    "fear": (204, 121, 167),
    "happy": (240, 228, 66),
    "sad": (0, 114, 178),
    "surprise": (86, 180, 233),
    "neutral": (200, 200, 200),
    "contempt": (230, 159, 0),
}
#: For other classes, in their order; with more of them these begin anew. Each is as far from those
#: before it, and from the above, as could be, for colour-blind eyes too (distances in CIELAB).
OTHER_COLOURS: Final = (
    (136, 0, 255), (119, 51, 17), (85, 68, 85), (0, 255, 136), (68, 51, 170), (187, 85, 255),
    (170, 153, 85), (187, 221, 255), (119, 34, 119), (68, 102, 68), (136, 238, 170),
)  # fmt: skip
_INK: Final = (20, 20, 20)
_PAPER: Final = (255, 255, 255)
_DARK: Final = 0.179  # luminance below which white is read better than ink (WCAG 2.2)
_TEXT_PX: Final = (11, 40)  # smallest and largest font
_BARS_FROM_PX: Final = 100  # faces at least this high get a bar for every class
_WARM: Final = (255, 80, 0)
_COLD: Final = (0, 110, 255)
_FULL: Final = 0.1  # what is coloured in full, where no place of the face matters more
_STRONG: Final = 0.65  # opacity of the strongest place of a heat map
_DIMMED: Final = 0.3  # what the bars' background keeps of the picture
_FAINT: Final = 0.45  # opacity of an uncertain face's box
_SQUARES: Final = 5  # along each side of a face that is made unrecognizable
_AROUND: Final = 0.2  # of a face's box that is hidden with it on every side
_NAME_CHARS: Final = 20  # of a person's name; of longer ones, the middle is left out
_MOST_NAMES: Final = 10_000  # are remembered; of a camera there is no end
#: What is read for letters that are none with an accent.
_PLAIN: Final = str.maketrans({
    "ß": "ss", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L",
    "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th",
    "\N{LATIN SMALL LETTER DOTLESS I}": "i",
})  # fmt: skip
_NO_LETTER: Final = "\U0010ffff"  # what is drawn for it is drawn for all that the font lacks

_stand_ins: dict[str, str] = {}  # by the name that cannot be written
_owners: dict[str, str] = {}  # whose name is written so


def annotate(image: UInt8Array, faces: Sequence[FaceResult]) -> UInt8Array:
    """A copy of an RGB picture `(H, W, 3)` with a box, a word and, on large faces, bars.

    Before the word stands the person, where it is known, or else the track's number.
    An uncertain answer has a fainter box and a question mark. Where a face has a heat map, warm
    places speak for the answer (or were looked at), cold ones against it.
    """
    drawn: UInt8Array = np.array(image, np.uint8)
    for face in faces:
        if face.heat is not None:
            _heat(drawn, face.heat)
    taken = [_Rectangle(*map(round, face.box)) for face in faces]
    for face in faces:
        colour = _colours(face.probs)[face.expression]
        x, y, w, h = face.box
        line_px = max(1, round(min(w, h) / 90))
        _outline(drawn, face, colour, line_px)
        text_px = int(np.clip(h / 9, *_TEXT_PX))
        mark = "?" if face.uncertain else ""
        text = f"{face.expression}{mark} {face.confidence:.0%}"
        whose: str | int | None = face.track_id
        if face.person:
            whose = stand_in(face.person) or fitted(face.person, _NAME_CHARS)
        if whose is not None:
            text = f"{whose}: {text}"
        _tag(drawn, text, (round(x), round(y)), text_px, colour)
        if h >= _BARS_FROM_PX:
            _bars(drawn, face, taken, line_px, max(_TEXT_PX[0], round(text_px * 0.8)))
    return drawn


def stand_in(name: str) -> str:
    """What copies call a person whose name the font cannot write, or writes as another's that it
    met before: `name 1`, `name 2`, … in the order in which this program met them. Empty where it
    can write the name, perhaps without accents or the middle of a long one.
    """
    written = _in_font(fitted(name, _NAME_CHARS))
    if written is not None and _owners.setdefault(written, name) == name:
        if len(_owners) > _MOST_NAMES:
            del _owners[next(iter(_owners))]
        return ""
    return _stand_ins.setdefault(name, f"name {len(_stand_ins) + 1}")


def anonymize(image: UInt8Array, faces: Sequence[FaceResult]) -> UInt8Array:
    """A copy of an RGB picture `(H, W, 3)` in which every face is a few flat squares.

    A face that was not found stays as it is: `mien.hiding` looks for more.
    """
    return hide_boxes(image, [face.box for face in faces])


def hide_boxes(image: UInt8Array, boxes: Iterable[Sequence[float]]) -> UInt8Array:
    """A copy of an RGB picture `(H, W, 3)` in which boxes `(x, y, w, h)` are a few flat squares.

    Means of large squares, unlike a blur, cannot be undone. Hair, clothes and surroundings stay.
    """
    hidden: UInt8Array = np.array(image, np.uint8)
    for x, y, w, h in boxes:
        across, down = (
            (x - _AROUND * w, x + w + _AROUND * w),
            (y - _AROUND * h, y + h + _AROUND * h),
        )
        left, right = (round(edge) for edge in np.clip(across, 0, hidden.shape[1]).tolist())
        top, bottom = (round(edge) for edge in np.clip(down, 0, hidden.shape[0]).tolist())
        part = hidden[top:bottom, left:right]
        if part.size:
            rows, columns = (min(_SQUARES, n) for n in part.shape[:2])
            for row in np.array_split(part, rows):
                for square in np.array_split(row, columns, axis=1):
                    square[:] = square.mean((0, 1)).round()
    return hidden


def css_colours(labels: Sequence[str]) -> list[str]:
    """The classes' colours as `#rrggbb`."""
    found = _colours(labels).values()
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in found]


def _colours(labels: Iterable[str]) -> dict[str, tuple[int, int, int]]:
    """By class: its own colour, or the next of those for others."""
    others = cycle(OTHER_COLOURS)
    return {label: COLOURS.get(label) or next(others) for label in labels}


def contact_sheet(
    images: Sequence[UInt8Array], titles: Sequence[str], *, columns: int, cell_px: int = 96
) -> UInt8Array:
    """Pictures in a grid with a title under each: RGB `uint8 (H, W, 3)`.

    Args:
        images: grey `(H, W)` or RGB `(H, W, 3)`, of any size; each fills a square cell.
        titles: a line for each; what does not fit is cut off.
        columns: cells in a row.
        cell_px: side of a cell.
    """
    text_px = max(_TEXT_PX[0], cell_px // 8)
    line_px = _written("X", text_px).shape[0]
    gap = max(2, cell_px // 24)
    step_x, step_y = cell_px + gap, cell_px + line_px + gap
    rows = -(-len(images) // columns)
    sheet = np.full((rows * step_y + gap, columns * step_x + gap, 3), 255, np.uint8)
    for i, (image, title) in enumerate(zip(images, titles, strict=True)):
        x, y = gap + i % columns * step_x, gap + i // columns * step_y
        cell = resize(image, cell_px, cell_px)
        _part(sheet, x, y, cell_px, cell_px)[:] = cell if cell.ndim == 3 else cell[:, :, None]
        _blend(sheet, x, y + cell_px, _written(title, text_px)[:, :cell_px], _INK)
    return sheet


def _heat(image: UInt8Array, heat: HeatMap) -> None:
    """Colour the places that matter, the stronger the more they do."""
    rows, columns = heat.values.shape
    edges = np.array([[x, y] for x in (-0.5, columns - 0.5) for y in (-0.5, rows - 0.5)])
    reach = transform_points(heat.to_frame, edges)
    left, top = np.floor(reach.min(0)).astype(int).clip(0)
    right, bottom = np.ceil(reach.max(0)).astype(int) + 1
    part = _part(image, left, top, right - left, bottom - top)
    if not part.size:
        return
    y, x = np.indices(part.shape[:2])
    pixels = np.stack([x.ravel() + left, y.ravel() + top], 1).astype(np.float64)
    points = transform_points(invert_transform(heat.to_frame), pixels)
    inside = ((points >= -0.5) & (points <= np.array([columns, rows]) - 0.5)).all(1)
    values = (
        interpolate(heat.values, points) * inside / max(float(np.abs(heat.values).max()), _FULL)
    )
    for colour, weight in ((_WARM, values), (_COLD, -values)):
        opacity = _STRONG * weight.clip(0).reshape(part.shape[:2]).astype(np.float32)
        _blend(image, int(left), int(top), opacity, colour)


def _outline(
    image: UInt8Array, face: FaceResult, colour: tuple[int, int, int], line_px: int
) -> None:
    """Four strips centred on the box's edges; the upright ones between the level ones."""
    x, y, w, h = (round(value) for value in face.box)
    x, y, w, h = x - line_px // 2, y - line_px // 2, w + line_px, h + line_px
    inner = h - 2 * line_px
    strips = (
        (x, y, w, line_px),
        (x, y + h - line_px, w, line_px),
        (x, y + line_px, line_px, inner),
        (x + w - line_px, y + line_px, line_px, inner),
    )
    opacity = _FAINT if face.uncertain else 1.0
    for left, top, width, height in strips:
        strip = np.full((max(0, height), max(0, width)), opacity, np.float32)
        _blend(image, left, top, strip, colour)


def _tag(
    image: UInt8Array,
    text: str,
    corner: tuple[int, int],
    text_px: int,
    colour: tuple[int, int, int],
) -> None:
    """A filled label that sits on the box, or inside it at the top of the picture."""
    mask = _written(text, text_px)
    height, width = mask.shape
    x = max(0, min(corner[0], image.shape[1] - width))
    y = corner[1] - height if corner[1] >= height else corner[1]
    _fill(image, x, y, width, height, colour)
    _blend(image, x, y, mask, _ink_on(colour))


def _ink_on(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """Ink or white, whichever is read better on a colour; as `inkOn` of the server's page."""
    values = np.array(colour) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return _INK if linear @ (0.2126, 0.7152, 0.0722) > _DARK else _PAPER


class _Rectangle(NamedTuple):
    """Part of a picture, in pixels."""

    x: int
    y: int
    width: int
    height: int

    def fits_into(self, other: _Rectangle) -> bool:
        return (
            self.x >= other.x
            and self.y >= other.y
            and self.x + self.width <= other.x + other.width
            and self.y + self.height <= other.y + other.height
        )

    def meets(self, other: _Rectangle) -> bool:
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )


def _bars(
    image: UInt8Array, face: FaceResult, taken: list[_Rectangle], gap_px: int, text_px: int
) -> None:
    """One row per class: name, bar, per cent. Below the face, or beside it where there is no room;
    smaller where there is none either, and left out before it would cover a face or other bars.

    `taken` is what must not be covered; the place of these bars is added to it.
    """
    names = {name: _written(name, text_px) for name in face.probs}
    row_px = max(mask.shape[0] for mask in names.values())
    name_px = max(mask.shape[1] for mask in names.values())
    number_px = _written("100%", text_px).shape[1]
    own = _Rectangle(*map(round, face.box))
    least = name_px + number_px + 6 * text_px
    height = row_px * len(names)
    lowest = max(0, min(own.y, image.shape[0] - height))
    wide = max(own.width, least)
    below = max(0, min(own.x, image.shape[1] - wide))
    whole = _Rectangle(0, 0, image.shape[1], image.shape[0])
    for place in (
        _Rectangle(below, own.y + own.height + gap_px, wide, height),
        _Rectangle(own.x + own.width + gap_px, lowest, least, height),
        _Rectangle(own.x - gap_px - least, lowest, least, height),
    ):
        if place.fits_into(whole) and not any(place.meets(other) for other in taken):
            break
    else:
        if text_px > _TEXT_PX[0]:
            _bars(image, face, taken, gap_px, max(_TEXT_PX[0], round(text_px * 0.7)))
        return
    taken.append(place)
    x, y, width, _ = place
    panel = _part(image, x, y, width, height)
    panel[:] = (panel * _DIMMED).astype(np.uint8)
    room = width - name_px - number_px - text_px // 2
    colours = _colours(face.probs)
    for row, (name, p) in enumerate(face.probs.items()):
        top = y + row * row_px
        _blend(image, x, top, names[name], _PAPER)
        gap = max(1, row_px // 5)
        _fill(image, x + name_px, top + gap, round(room * p), row_px - 2 * gap, colours[name])
        number = _written(f"{p:.0%}", text_px)
        _blend(image, x + width - number.shape[1], top, number, _PAPER)


def _fill(
    image: UInt8Array, x: int, y: int, width: int, height: int, colour: tuple[int, int, int]
) -> None:
    _part(image, x, y, width, height)[:] = colour


def _part(image: UInt8Array, x: int, y: int, width: int, height: int) -> UInt8Array:
    """A view of the rectangle, clipped to the picture; empty where they do not meet."""
    return image[max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)]


def _blend(
    image: UInt8Array, x: int, y: int, mask: Float32Array, colour: tuple[int, int, int]
) -> None:
    """Lay `colour` over the picture with the opacity of `mask (h, w)`, clipped to the picture."""
    part = _part(image, x, y, mask.shape[1], mask.shape[0])
    opacity = mask[max(0, -y) :, max(0, -x) :][: part.shape[0], : part.shape[1], None]
    ink = np.array(colour, np.float32)
    part[:] = (part + opacity * (ink - part)).round().astype(np.uint8)


@lru_cache(maxsize=512)
def _in_font(text: str) -> str | None:
    """A text in letters that the font has, where it must be without accents; None if it lacks some
    even so.
    """
    if all(map(_has, text)):
        return text
    letters = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return plain if plain and all(map(_has, plain)) else None


@lru_cache(maxsize=1024)
def _has(letter: str) -> bool:
    return not np.array_equal(_mask(letter, _TEXT_PX[1]), _mask(_NO_LETTER, _TEXT_PX[1]))


@lru_cache(maxsize=512)
def _written(text: str, text_px: int) -> Float32Array:
    """A word as opacity `float32 (h, w)` in 0..1, with a margin of a quarter of its height."""
    return _mask(_in_font(text) or text, text_px)


def _mask(text: str, text_px: int) -> Float32Array:
    font = ImageFont.load_default(size=text_px)
    margin = max(2, text_px // 4)
    width = round(font.getlength(text)) + 2 * margin
    height = round(text_px * 1.2) + margin
    canvas = new_picture("L", (width, height))
    ImageDraw.Draw(canvas).text((margin, height / 2), text, fill=255, font=font, anchor="lm")
    return np.asarray(canvas, np.float32) / np.float32(255)
