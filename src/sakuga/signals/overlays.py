"""Where words are burned into a film: subtitles, captions, credits, titles, found in its small pictures by their shape.

Letters are many thin strokes side by side, sharp and of strong contrast, in a low wide band with calm above or below
it. No letter is read, so any script will do. One picture alone can fool this (grass, a carved roof, rain): words are
what is found at the same place in picture after picture of a shot.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

# Of the picture's width: 9 pixels of 256
THICKEST = 0.035  # across a stroke: wider things are no letters
WORD_GAP = 0.035  # between the words of a line, over which letters are joined
SHORTEST_RUN = 0.035  # of joined letters in a row: crumbs are shorter, and so are tails by which two lines touch

# A line of letters, less what sticks out above and below small ones
NARROWEST = 0.12  # of the width: anything has two or three strokes side by side
LOWEST = 4  # pixels: letters that are lower have lost their shape
HIGHEST = 0.14  # of the height: the capitals of a title

# What tells letters from scenery; luma goes to 255
CONTRAST = 40  # of a stroke to what is beside it: thin white ones come out grey when a picture is made small
STEP_ALONG, STEP_UP = 24.0, 20.0  # the mean difference of neighbours: in texture it is smaller
STEEPER = 1.4  # times as much in half the picture, where every edge takes fewer pixels
CURVED = 0.5  # steps up, of those along: fences, piano keys and other bars have fewer
STRONGEST = 0.88  # of a line's pixels are weaker than the strokes that its others are held against
STROKES = 5.5  # cut by a row, on average: windows, trunks and the outlines of a figure come to 4
STROKES_PER_HEIGHT = (0.85, 2.7)  # along the line: a letter is about as wide as high and has one or two; rain has more
CALM = 0.3  # as many strokes beside the line, above or below, as in it: texture goes on both ways
BESIDE = 0.35  # of the line's height: how far is looked above and below, less than the way to the next line
TAILS = 0.3  # of the line's height: what d and g add to it above and below at most
TAIL_STROKES = 0.12  # of those of a line's middle row, that rows of tails have
SPACE, SHORT_WORD = (
    0.6,
    1.5,
)  # of the line's height: between two words, and how far outside of a line an I or a dash may be
UPRIGHT = 0.5  # of the line's height that such a word covers
OUTLINE = 0.05  # of the line's height, that the edge around letters takes

# One place in several pictures
ALIGNED = 0.02  # of the width: how near two left ends, middles or right ends are
SAME_HEIGHT = 0.6  # of the lower of two lines, beside the other one
ANCHORS = 256  # lines that all others are compared with, of however many: a place that lasts has one of them

# One line as long as it stands
STANDS = 0.6  # of two lines' common area that both cover, from one picture to the next
LOOKS = 3  # pictures that have it: half a second at 24 frames/s; what comes and goes sooner is scenery
MISSED = 2  # pictures in a row that may lack it


class Words(NamedTuple):
    """Where words stand, as shares 0..1 of the picture's width and height from its left upper corner."""

    left: float
    top: float
    right: float
    bottom: float


class Line(NamedTuple):
    """A line of letters from the first to the last picture that has it, and the share 0..1 of those between that do."""

    first: int
    last: int
    share: float
    words: Words


Box = tuple[int, int, int, int]  # left, top, width and height in pixels


def words_in(picture: np.ndarray) -> list[Words]:
    """The lines of letters, light ones and dark ones, in one small picture (about 256 wide): uint8 RGB [H, W, 3] or
    luma [H, W]."""
    luma = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    # the letters of a title are far apart and thick: in half the picture they are as others are
    half = cv2.resize(luma, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    found: list[Words] = []
    for seen, steeper in ((luma, 1.0), (half, STEEPER)):
        for hat in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT):
            # along the row alone: horizons and the edges of bars are no strokes then; the upright parts of letters stay
            strokes = cv2.morphologyEx(seen, hat, _row(THICKEST, luma))
            for box in _bands(strokes, _row(WORD_GAP, luma), _row(SHORTEST_RUN, luma)):
                if _is_text(seen, strokes, box, steeper):
                    _add(found, _words(_whole(strokes, box), seen))
    return found


def lasting(found: Sequence[list[Words]]) -> tuple[float, Words | None]:
    """The share 0..1 of a shot's pictures that have words at one place, and the union of the lines there.

    `found` is what `words_in` says of each picture looked at. The place is the one with the most pictures; (0.0, None)
    when there are no words at all. Lines that follow each other count as one place where they share their left ends,
    middles or right ends, as those of a dialogue do.
    """
    boxes = np.array([words for lines in found for words in lines])
    if not boxes.size:
        return 0.0, None
    pictures = np.array([index for index, lines in enumerate(found) for _ in lines])
    # in no order: every n-th might be the same line of each picture, and not the one that lasts
    anchors = np.random.default_rng(0).permutation(boxes)[:ANCHORS]
    places = [_at_one_place(anchor, boxes) for anchor in anchors]
    count, place = max(((np.unique(pictures[there]).size, there) for there in places), key=lambda pair: pair[0])
    low, high = boxes[place].min(axis=0).tolist(), boxes[place].max(axis=0).tolist()
    return count / len(found), Words(low[0], low[1], high[2], high[3])


def standing(found: Sequence[list[Words]]) -> list[Line]:
    """The lines that stand for a while, in the order in which they come, from what `words_in` says of each picture in
    turn. Lines of a dialogue at one place are told apart by their ends."""
    open_lines: list[list[tuple[int, Words]]] = []
    ended: list[list[tuple[int, Words]]] = []
    for index, lines in enumerate(found):
        ended += [line for line in open_lines if index - line[-1][0] > MISSED + 1]
        open_lines = [line for line in open_lines if index - line[-1][0] <= MISSED + 1]
        for words in lines:
            same = [line for line in open_lines if line[-1][0] < index and _covered(line[-1][1], words) >= STANDS]
            if same:
                max(same, key=lambda line: _covered(line[-1][1], words)).append((index, words))
            else:
                open_lines.append([(index, words)])
    told = [_told(line) for line in (*ended, *open_lines) if len(line) >= LOOKS]
    return sorted(told, key=lambda line: (line.first, line.words.top))


def _told(line: list[tuple[int, Words]]) -> Line:
    """A line from the pictures that have it; its box is the median of theirs."""
    first, last = line[0][0], line[-1][0]
    box = np.median([words for _, words in line], axis=0).tolist()
    return Line(first, last, len(line) / (last - first + 1), Words(*box))


def _covered(one: Words, other: Words) -> float:
    """Intersection over union of two lines."""
    across = min(one.right, other.right) - max(one.left, other.left)
    down = min(one.bottom, other.bottom) - max(one.top, other.top)
    if across <= 0 or down <= 0:
        return 0.0
    areas = [(words.right - words.left) * (words.bottom - words.top) for words in (one, other)]
    return across * down / (sum(areas) - across * down)


def _row(share: float, luma: np.ndarray) -> np.ndarray:
    """A kernel of one row, this share of the picture's width long."""
    return np.ones((1, max(3, round(share * luma.shape[1]))), np.uint8)


def _bands(strokes: np.ndarray, gap: np.ndarray, run: np.ndarray) -> list[Box]:
    """What has the size of a line when strokes [H, W] are joined along the row."""
    height, width = strokes.shape
    joined = cv2.threshold(strokes, CONTRAST, 1, cv2.THRESH_BINARY)[1]
    joined = cv2.morphologyEx(joined, cv2.MORPH_CLOSE, gap)
    joined = cv2.morphologyEx(joined, cv2.MORPH_OPEN, np.repeat(run, 2, axis=0))
    parts = cv2.connectedComponentsWithStats(joined, connectivity=4)[2][1:]  # the first is what is around them
    return [
        (x, y, w, h) for x, y, w, h, _ in parts.tolist() if w >= NARROWEST * width and LOWEST <= h <= HIGHEST * height
    ]


def _is_text(luma: np.ndarray, strokes: np.ndarray, box: Box, steeper: float) -> bool:
    """Whether a band of strokes is as sharp, as dense and as set apart as letters are."""
    x, y, w, h = box
    inside = luma[y : y + h, x : x + w].astype(np.int16)
    along, up = (float(np.abs(np.diff(inside, axis=axis)).mean()) for axis in (1, 0))
    if along < steeper * STEP_ALONG or up < max(steeper * STEP_UP, CURVED * along):
        return False
    # half of what this line's own strongest strokes have: what lies behind letters is weaker
    level = np.quantile(strokes[y : y + h, x : x + w], STRONGEST) / 2
    beside = max(1, round(BESIDE * h))
    above = min(y, beside)
    band = strokes[y - above : y + h + beside, x : x + w] > level
    line = band[above : above + h]
    per_row = (np.count_nonzero(line[:, 1:] & ~line[:, :-1]) + np.count_nonzero(line[:, 0])) / h
    least, most = STROKES_PER_HEIGHT
    if per_row < STROKES or not least * w <= per_row * h <= most * w:
        return False
    around = [float(part.mean()) for part in (band[:above], band[above + h :]) if part.size]
    return min(around) < CALM * float(line.mean())  # a line is lower than the picture: there is always one side


def _whole(strokes: np.ndarray, box: Box) -> Box:
    """A band with what sticks out of it: the tails of d and g, a short word before the others."""
    x, y, w, h = box
    level = np.quantile(strokes[y : y + h, x : x + w], STRONGEST) / 2
    above, below = max(0, y - max(1, round(TAILS * h))), y + h + max(1, round(TAILS * h))
    rows = np.count_nonzero(strokes[above:below, x : x + w] > level, axis=1)
    top, bottom = _grown(rows >= TAIL_STROKES * np.median(rows[y - above :][:h]), y - above, y - above + h, 0)
    top, bottom = above + top, above + bottom
    reach = round(SHORT_WORD * h)
    before, after = max(0, x - reach), x + w + reach
    columns = np.count_nonzero(strokes[y : y + h, before:after] > level, axis=0)
    left, right = _grown(columns >= UPRIGHT * h, x - before, x - before + w, round(SPACE * h))
    return before + left, top, right - left, bottom - top


def _grown(there: np.ndarray, first: int, after: int, gap: int) -> tuple[int, int]:
    """A stretch first..after-1 of bool [N], grown at both ends over what is there, no more than `gap` apart."""
    while (more := np.flatnonzero(there[max(0, first - 1 - gap) : first])).size:
        first = max(0, first - 1 - gap) + int(more[0])
    while (more := np.flatnonzero(there[after : after + 1 + gap])).size:
        after += int(more[-1]) + 1
    return first, after


def _words(box: Box, luma: np.ndarray) -> Words:
    """A line in pixels as words, with room for their outline."""
    x, y, w, h = box
    height, width = luma.shape
    top, bottom = max(0.0, y - OUTLINE * h), min(float(height), y + h + OUTLINE * h)
    return Words(x / width, top / height, (x + w) / width, bottom / height)


def _add(found: list[Words], words: Words) -> None:
    """Add a line, made one with those it lies on: outlined letters are found twice, large ones in parts."""
    same = [other for other in found if _overlap(words, other)]
    found[:] = [other for other in found if other not in same]
    lefts, tops, rights, bottoms = zip(words, *same, strict=True)
    found.append(Words(min(lefts), min(tops), max(rights), max(bottoms)))


def _overlap(one: Words, other: Words) -> bool:
    """Whether two lines share more than half of the smaller one's area."""
    across = min(one.right, other.right) - max(one.left, other.left)
    down = min(one.bottom, other.bottom) - max(one.top, other.top)
    smaller = min((words.right - words.left) * (words.bottom - words.top) for words in (one, other))
    return across > 0 and down > 0 and across * down > smaller / 2


def _at_one_place(anchor: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Which of the boxes [N, 4] are at the place of the anchor [4]: [N], bool."""
    down = np.minimum(anchor[3], boxes[:, 3]) - np.maximum(anchor[1], boxes[:, 1])
    lower = np.minimum(anchor[3] - anchor[1], boxes[:, 3] - boxes[:, 1])
    left, right = boxes[:, 0] - anchor[0], boxes[:, 2] - anchor[2]
    off = np.minimum(np.minimum(abs(left), abs(right)), abs(left + right) / 2)
    return (down >= SAME_HEIGHT * lower) & (off <= ALIGNED)
