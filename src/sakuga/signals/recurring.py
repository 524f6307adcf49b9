"""Parts that films share, an opening in every episode for one, told by one number for every frame or moment of sound.

A few of them a second are looked up in an index of all that the other film holds. Where they agree, they say how far
apart in time the two films run. What goes on agreeing for some seconds is followed to either side, frame by frame, for
as long as it does; that gives the part's ends. Pictures and sound differ only in how many bits of a copy may differ.
"""

from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import product
from typing import NamedTuple

import cv2
import numpy as np

# The hash of a picture that tells nothing: blank, black, one colour, a smooth gradient; of silence. Half the bits of any
# other are set, so that it is unlike them all.
PLAIN = 0

# the hash
EDGE = 1 / 8  # left out on each side: bars, crops, subtitles and logos differ between copies of one picture there
SHRUNK = 32  # pixels, both ways
QUIET = 0.015  # middle strength of the 64 waves: film grain and coding alone reach 0.006, pictures begin at 0.09


class Sense(NamedTuple):
    """In how many bits of 64 two hashes differ (unlike ones in about 32), and how long a part is at least."""

    same: int  # a held drawing, coded twice
    near: int  # one picture in two copies
    still: int  # a picture that stands still: two credits in white on black often differ in no more than 4
    at_least: float  # seconds


# coding 0-2, brighter by a fifth up to 10, cropped by 2 % up to 10
PICTURE = Sense(same=4, near=10, still=2, at_least=2.0)
# AAC at 64 kbit/s half a tick out of step: 10 at the median, 18 for one in twenty; 0.1 % of other music is under 15. A
# door that slams is one sound of a library in every film, a jingle lasts some seconds.
SOUND = Sense(same=4, near=16, still=4, at_least=4.0)

# seconds
STEP = 0.2  # between the hashes that are looked up: a part of 2 s still has ten to be found by
SLACK = 0.125  # that two films may be out of step: three frames, a drawing held "on threes"
VOTED = 2.0  # of a film that are asked together how far away the other is; much faster or slower ones still agree
GIVE_UP = 1.0  # of pictures that differ more than agree: the part is over
EDGE_OF_STILL = 0.2  # by when a still must have gone: two looks at one painted room last differently long
APART = 30.0  # from a part to its repeat in the same film: nearer, talk goes to and fro between two drawings
ROUND = 3.0  # from a picture to the same one, up to APART: it goes round and round; sooner, it stands or moves slowly
OUT_OF_STEP = 1.0  # from picture to sound of one part: the two may be muxed differently

# what a part is
EARLY, LATE = 0.25, 0.75  # of a film: the first and the last quarter
SONG = 29.0  # seconds that an opening or an ending lasts at least: 30, of which the ends may be told a little late
CARD = 15.0  # seconds that an eyecatch lasts at most
LOGO = 5.5  # seconds that a studio's logo lasts at most: five, of which the ends may be told a little late
OUTERMOST = 20.0  # seconds from a film's start by which a logo or a short opening begins, and from a logo to its end

FOLLOW = 0.25  # share of a lag that is made up at once; films sped up from 24 to 25 frames/s lag by 2 ms a frame
PLAIN_COUNTS = -0.1  # of agreeing: black may stand inside a part for some seconds, but is no part
AGREE = 0.7  # of a part's pictures that must be near
PICTURES = 3  # different ones; a stretch of fewer must also stand whole in both films, and be nearly the same there
COMMONPLACE = 900  # a picture that the other film has more often tells no place; a loop through an ending has 300
MOST = 200_000  # pairs of like pictures, the rarest first: what a minute and a half of looped animation comes to
TRIES = 5000  # places followed for each two films, the likeliest first
BANDS = (
    4  # of 16 bits, one of which must be the same to the bit; of 10 bits that differ all hit none in 1 of 4 pictures
)
AT_ONCE = 2_000_000  # pairs that are compared together: some 30 MB

# before a place is followed, all at once
PROBE = 0.25  # seconds from one look to the next
PROBED = 0.6  # of the looks, over the shortest part, that must agree; less than AGREE, as a few are not enough to tell
NOT_PLAIN = 0.25  # of the looks


class Recurrence(NamedTuple):
    """A part of a film, from its first frame to its last (both in it), that stands elsewhere too. Seconds."""

    first: float  # when the first frame is shown
    last: float  # when the last frame is shown
    other_first: float  # where the same part begins in the other film, or earlier in this one
    other_last: float


class Track:
    """What a film shows or sounds like: `times` [N] (s, ascending) and a hash for each, `hashes` [N] uint64.

    It is made once for each film. `changes` are indices of frames, one for every new picture, `keys` a few a second of
    them; `index` holds for each band of the changes' hashes what it is, in order, and whose.
    """

    def __init__(self, times: np.ndarray, hashes: np.ndarray, sense: Sense = PICTURE) -> None:
        self.times, self.hashes, self.sense = times, hashes, sense
        changes: list[int] = []
        keys: list[int] = []
        shown, seen = times.tolist(), hashes.tolist()
        for index, (time, now) in enumerate(zip(shown, seen, strict=True)):
            if now == PLAIN:
                continue
            if not changes or (now ^ seen[changes[-1]]).bit_count() > sense.same:
                changes.append(index)
            if not keys or (time - shown[keys[-1]] >= STEP and (now ^ seen[keys[-1]]).bit_count() > sense.same):
                keys.append(index)
        self.changes, self.keys = np.array(changes, dtype=np.intp), np.array(keys, dtype=np.intp)

    @cached_property
    def plain(self) -> "_Film":
        return _Film(self.times.tolist(), self.hashes.tolist(), self.sense)

    @cached_property
    def index(self) -> list[tuple[np.ndarray, np.ndarray]]:
        bands = _bands(self.hashes[self.changes])
        orders = [np.argsort(band, kind="stable") for band in bands]
        return [(band[order], order.astype(np.int32)) for band, order in zip(bands, orders, strict=True)]

    def at(self, times: np.ndarray) -> np.ndarray:
        """The hashes shown at `times`; PLAIN before the film and after it."""
        frames = np.searchsorted(self.times, times + 1e-6, side="right") - 1
        inside = (frames >= 0) & (times <= self.times[-1] + SLACK)
        return np.where(inside, self.hashes[np.maximum(frames, 0)], np.uint64(PLAIN))


class _Film(NamedTuple):
    """Frames as plain numbers, which a loop reads faster than arrays."""

    times: list[float]
    hashes: list[int]
    sense: Sense


class _Match(NamedTuple):
    """Frames first..last of one film (both in it) and those of another that show the same."""

    first: int
    last: int
    other_first: int
    other_last: int


class _Side(NamedTuple):
    """What following two films to one side gave: pairs of frames up to the last that agrees, and the bits they differ in.

    A difference of None: both are plain.
    """

    pairs: list[tuple[int, int]]
    bits: list[int | None]


def picture_hash(luma: np.ndarray) -> int:
    """64 bits that stay nearly the same when a picture [H, W] (luma 0..1) is coded anew, brightened, cropped a little.

    Each bit says whether one of 64 slow waves (DCT, both ways at least half a period) is above their median, after
    pHash (Zauner, 2010). 0 (`PLAIN`) for a picture that tells nothing.
    """
    return int(hashes_of(slow_waves(luma)[None])[0])


def slow_waves(luma: np.ndarray) -> np.ndarray:
    """The 64 waves [64] that a picture's hash is made of."""
    height, width = luma.shape
    top, left = round(height * EDGE), round(width * EDGE)
    inner = np.ascontiguousarray(luma[top : height - top, left : width - left], dtype=np.float32)
    while min(inner.shape) >= 4 * SHRUNK:  # averaging two by two is many times faster than over areas of any size
        inner = cv2.resize(inner, (inner.shape[1] // 2, inner.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return cv2.dct(cv2.resize(inner, (SHRUNK, SHRUNK), interpolation=cv2.INTER_AREA))[1:9, 1:9].ravel()


def hashes_of(waves: np.ndarray) -> np.ndarray:
    """The hashes [N], uint64, of the waves [N, 64] of many pictures."""
    bits = np.packbits(waves > np.median(waves, axis=1, keepdims=True), axis=1)
    told = np.median(np.abs(waves), axis=1) >= QUIET
    return np.where(told, bits.view(">u8")[:, 0].astype(np.uint64), np.uint64(PLAIN))


def shared(one: Track, two: Track) -> tuple[list[Recurrence], list[Recurrence]]:
    """The stretches that two films have in common: those of `one`, and those of `two`, in the order of time.

    A stretch is listed once, where it matches longest. Films may differ in rate, and one may run a few per cent faster
    than the other (pictures only: sound changes its pitch).
    """
    matches = _matches(one, two, *_near(one, two))
    turned = [_Match(m.other_first, m.other_last, m.first, m.last) for m in matches]
    return _told(matches, one, two), _told(turned, two, one)


def again(film: Track) -> list[Recurrence]:
    """The stretches that a film has shown before, at least APART s earlier, each of PICTURES different pictures.

    Stills are left out, as talk goes back to the drawing of who speaks, and so is what goes round and round.
    """
    mine, theirs, bits = _near(film, film)
    lead = film.times[theirs] - film.times[mine]
    round_and_round = np.unique(mine[(lead >= ROUND) & (lead < APART)])
    far = lead >= APART
    repeats = []
    for m in _matches(film, film, mine[far], theirs[far], bits[far], stills=False):
        keys = film.keys[(film.keys >= m.first) & (film.keys <= m.last)]
        if m.last < m.other_first and 2 * np.isin(keys, round_and_round).sum() < len(keys):
            repeats.append(_Match(m.other_first, m.other_last, m.first, m.last))
    return _told(repeats, film, film)


def together(pictures: Sequence[Recurrence], sounds: Sequence[Recurrence]) -> list[tuple[Recurrence, str]]:
    """The parts of a film that another has by picture and by sound, as parts told by "picture", "sound" or "both".

    Sound that goes with pictures confirms them; what of it stands over other pictures is a part of its own.
    """
    told = []
    for part in pictures:
        heard = sum(_overlap(part, sound) for sound in sounds if _in_step(part, sound))
        told.append((part, "both" if 2 * heard > part.last - part.first else "picture"))
    for sound in sounds:
        seen = [part for part in pictures if _in_step(part, sound) and _overlap(part, sound) > 0]
        told += [(part, "sound") for part in _without(sound, seen) if part.last - part.first >= SOUND.at_least]
    return sorted(told)


def _overlap(one: Recurrence, two: Recurrence) -> float:
    return max(0.0, min(one.last, two.last) - max(one.first, two.first))


def _in_step(one: Recurrence, two: Recurrence) -> bool:
    return abs((one.other_first - one.first) - (two.other_first - two.first)) < OUT_OF_STEP


def _without(sound: Recurrence, seen: Sequence[Recurrence]) -> list[Recurrence]:
    """What is left of a part before, between and after others, which are in the order of time."""
    lead = sound.other_first - sound.first
    begins = [sound.first, *(part.last for part in seen)]
    ends = [*(part.first for part in seen), sound.last]
    return [Recurrence(b, e, b + lead, e + lead) for b, e in zip(begins, ends, strict=True) if b < e]


def kind_of(part: Recurrence, whole: float, other_whole: float) -> str:
    """What a part that two films of these lengths (s) share is by its places, as a guess: opening, ending, logo,
    eyecatch, recap; empty where nothing is likely.

    At the very start what lasts up to `LOGO` is a studio's logo, anything longer an opening; later in the first quarter an
    opening is as long as a song. An ending is too; up to `LOGO` at the very end is a logo. Short and in the middle of both
    films is an eyecatch; what moved from elsewhere into the first quarter is a recap.
    """
    length = part.last - part.first
    early, other_early = part.first < EARLY * whole, part.other_first < EARLY * other_whole
    late, other_late = part.last > LATE * whole, part.other_last > LATE * other_whole
    if early and other_early and max(part.first, part.other_first) < OUTERMOST:
        return "logo" if length <= LOGO else "opening"
    if early and other_early:
        return "opening" if length >= SONG else ""
    if late and other_late:
        left = max(whole - part.last, other_whole - part.other_last)
        return "ending" if length >= SONG else "logo" if length <= LOGO and left < OUTERMOST else ""
    if early:
        return "recap"
    middle = not (late or other_early or other_late)
    return "eyecatch" if middle and length <= CARD else ""


def _told(matches: list[_Match], one: Track, two: Track) -> list[Recurrence]:
    here, there = one.times, two.times
    ends = [(here[m.first], here[m.last], there[m.other_first], there[m.other_last]) for m in _longest(matches, here)]
    return sorted(Recurrence(*map(float, times)) for times in ends)


def _bands(hashes: np.ndarray) -> list[np.ndarray]:
    """The 64 bits of each hash [N] as BANDS numbers of 16, uint16."""
    return [(hashes >> np.uint64(16 * band)).astype(np.uint16) for band in range(BANDS)]


def _near(one: Track, two: Track) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keys of one film and changes of another that agree: their frames [P], [P], and in how many bits they differ [P]."""
    mine, theirs = one.hashes[one.keys], two.hashes[two.changes]
    found = [np.empty(0, np.intp)]
    for band, (values, whose) in zip(_bands(mine), two.index, strict=True):
        start, end = np.searchsorted(values, band, "left"), np.searchsorted(values, band, "right")
        for rows in _portions(end - start):
            row = np.repeat(rows, (end - start)[rows])
            column = whose[_ranges(start[rows], end[rows])]
            near = np.bitwise_count(mine[row] ^ theirs[column]) <= one.sense.near
            found.append(row[near] * len(theirs) + column[near])
    row, column = np.divmod(np.unique(np.concatenate(found)), max(1, len(theirs)))
    often = np.bincount(row, minlength=len(mine))[row]
    rarest = np.argsort(often, kind="stable")
    rarest = rarest[often[rarest] <= COMMONPLACE][:MOST]
    row, column = row[rarest], column[rarest]
    return one.keys[row], two.changes[column], np.bitwise_count(mine[row] ^ theirs[column]).astype(np.intp)


def _portions(counts: np.ndarray) -> list[np.ndarray]:
    """Indices of `counts` in groups whose sum is about AT_ONCE."""
    groups = np.cumsum(counts) // AT_ONCE
    return np.split(np.arange(len(counts)), np.flatnonzero(np.diff(groups)) + 1)


def _ranges(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """All of start..end (without it), one range after the other."""
    lengths = ends - starts
    return np.arange(lengths.sum()) + np.repeat(starts - np.cumsum(lengths) + lengths, lengths)


def _matches(
    one: Track, two: Track, mine: np.ndarray, theirs: np.ndarray, bits: np.ndarray, stills: bool = True
) -> list[_Match]:
    """The parts that the like pairs of frames mine [P], theirs [P] lead to."""
    if len(mine):
        likely = _goes_on(one, two, mine, theirs)
        mine, theirs, bits = mine[likely], theirs[likely], bits[likely]
    if not len(mine):
        return []
    films = (one.plain, two.plain)
    at = one.times[mine]
    lead = two.times[theirs] - at
    left = np.ones(len(mine), dtype=bool)
    matches: list[_Match] = []
    tries = 0
    for n in _by_votes(at, lead, bits, one.sense.near):
        if not left[n]:
            continue
        if tries == TRIES:
            break
        tries += 1
        match, whole = _follow(films[0], films[1], int(mine[n]), int(theirs[n]), stills)
        inside = (mine >= match.first) & (mine <= match.last)
        if whole:
            matches.append(match)
            left &= ~(inside & (theirs >= match.other_first) & (theirs <= match.other_last))
        else:
            left &= ~(inside & (np.abs(lead - lead[n]) < SLACK))
        left[n] = False
    return matches


def _goes_on(one: Track, two: Track, mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Whether the films agree around each like pair of frames for about as long as the shortest part lasts [P]."""
    looks = round(one.sense.at_least / PROBE)
    agree, plain = (np.zeros((2 * looks + 1, len(mine)), bool) for _ in range(2))
    for row, away in enumerate(np.arange(-looks, looks + 1) * PROBE):
        now = one.at(one.times[mine] + away)
        there = [two.at(two.times[theirs] + away + late) for late in (-SLACK, 0, SLACK)]
        bits = np.min([np.bitwise_count(now ^ hashes) for hashes in there], axis=0)
        plain[row] = (now == PLAIN) & (there[1] == PLAIN)
        agree[row] = (bits <= one.sense.near) & ~plain[row]
    agreed, told = (_sums(what, looks) for what in (agree, ~plain))
    enough: np.ndarray = (agreed >= PROBED * told) & (told >= NOT_PLAIN * looks)
    return np.asarray(enough.any(axis=0))


def _sums(what: np.ndarray, length: int) -> np.ndarray:
    """How many of each `length` rows in turn are true."""
    total = np.cumsum(np.pad(what, ((1, 0), (0, 0))), axis=0)
    return total[length:] - total[:-length]


def _by_votes(at: np.ndarray, lead: np.ndarray, bits: np.ndarray, near: int) -> np.ndarray:
    """The order in which to try pairs: first those that most others nearby agree with on how far apart the films run.

    `at`: when, `lead`: how far (both s), `bits`: in how many bits the pair differs (all [P]).
    """
    when, how_far = (at // VOTED).astype(np.int64), (lead // SLACK).astype(np.int64)
    row = 2**32  # more than there are leads
    cells, cell = np.unique(when * row + how_far, return_inverse=True)
    votes = np.bincount(cell, weights=near + 1 - bits)
    weight = np.zeros(len(cells))
    for step in (t * row + d for t, d in product((-1, 0, 1), repeat=2)):
        there = np.minimum(np.searchsorted(cells, cells + step), len(cells) - 1)
        weight += np.where(cells[there] == cells + step, votes[there], 0)
    return np.argsort(-weight[cell], kind="stable")


def _follow(one: _Film, two: _Film, i: int, j: int, stills: bool) -> tuple[_Match, bool]:
    """The stretch around two frames in which both films agree, and whether it is a part that they share."""
    after = _side(one, two, i, two.times[j] - one.times[i], 1)
    before = _side(one, two, i, two.times[j] - one.times[i], -1)
    pairs = [*before.pairs[::-1], (i, j), *after.pairs]
    bits = [*before.bits[::-1], (one.hashes[i] ^ two.hashes[j]).bit_count(), *after.bits]
    match = _Match(pairs[0][0], pairs[-1][0], pairs[0][1], pairs[-1][1])
    pictures = [(frame, b) for (frame, _), b in zip(pairs, bits, strict=True) if b is not None]
    near = [b for _, b in pictures if b <= one.sense.near]
    seconds = one.times[match.last] - one.times[match.first]
    seconds += 1.01 * seconds / max(1, match.last - match.first)  # the last frame is shown for a while too
    if seconds < one.sense.at_least or len(near) < AGREE * len(pictures):
        return match, False
    seen = _unlike([one.hashes[frame] for frame, b in pictures if b <= one.sense.near], one.sense.near)
    if len(seen) == PICTURES or not stills:
        return match, len(seen) == PICTURES
    gone = [(one, match.first, -1), (one, match.last, 1), (two, match.other_first, -1), (two, match.other_last, 1)]
    return match, sum(near) <= one.sense.still * len(near) and all(_are_gone(seen, *edge) for edge in gone)


def _side(one: _Film, two: _Film, i: int, apart: float, step: int) -> _Side:
    """Go through `one` beyond frame `i`, forward (step 1) or back (-1), for as long as `two`, `apart` s on, agrees."""
    side = _Side([], [])
    score = best = 0.0
    kept, time = 0, one.times[i]
    i += step
    while 0 <= i < len(one.times) and score > best - GIVE_UP:
        passed, time = abs(one.times[i] - time), one.times[i]
        if not two.times[0] - SLACK <= time + apart <= two.times[-1] + SLACK:
            break
        j, bits, lag = _shown_there(two, time + apart, one.hashes[i])
        if bits <= one.sense.near:  # of unlike pictures one is always a little more like
            apart += FOLLOW * lag
        plain = one.hashes[i] == two.hashes[j] == PLAIN
        side.pairs.append((i, j))
        side.bits.append(None if plain else bits)
        score += passed * (PLAIN_COUNTS if plain else 1.0 if bits <= one.sense.near else -1.0)
        if score > best:
            best, kept = score, len(side.pairs)
        i += step
    return _Side(side.pairs[:kept], side.bits[:kept])


def _shown_there(film: _Film, time: float, wanted: int) -> tuple[int, int, float]:
    """The frame shown at `time`, or one close by that is clearly more like `wanted`; the bits it differs in; how much
    later it is shown (s, 0 for the frame shown at `time`)."""
    at = max(0, bisect_right(film.times, time + 1e-6) - 1)
    bits = (film.hashes[at] ^ wanted).bit_count()
    if bits <= film.sense.same:  # none is clearly more like
        return at, bits, 0.0
    chosen, fewest, lag = at, bits, 0.0
    for step in (1, -1):
        j = at + step
        while 0 <= j < len(film.times) and abs(film.times[j] - time) <= SLACK:
            other = (film.hashes[j] ^ wanted).bit_count()
            later = film.times[j] - time
            if other < bits - film.sense.same and (other, abs(later)) < (fewest, abs(lag)):
                chosen, fewest, lag = j, other, later
            j += step
    return chosen, fewest, lag


def _unlike(hashes: Sequence[int], near: int) -> list[int]:
    """The pictures that are unlike all before them: the first PICTURES of them, as no more are needed."""
    seen: list[int] = []
    for now in hashes:
        if all((now ^ known).bit_count() > near for known in seen):
            seen.append(now)
            if len(seen) == PICTURES:
                break
    return seen


def _are_gone(seen: list[int], film: _Film, frame: int, step: int) -> bool:
    """Does the film show none of these pictures EDGE_OF_STILL after `frame` (step 1) or before it (-1), or end there?"""
    time = film.times[frame] + step * EDGE_OF_STILL
    if not film.times[0] <= time <= film.times[-1]:
        return True
    now = film.hashes[bisect_right(film.times, time) - 1]
    return all((now ^ known).bit_count() > film.sense.near for known in seen)


def _longest(matches: list[_Match], times: np.ndarray) -> list[_Match]:
    """Of matches that lie on each other by more than half of the shorter, the longest."""
    kept: list[_Match] = []
    for match in sorted(matches, key=lambda m: times[m.first] - times[m.last]):
        first, last = times[match.first], times[match.last]
        shared = (min(last, times[k.last]) - max(first, times[k.first]) for k in kept)
        if all(s <= (last - first) / 2 for s in shared):
            kept.append(match)
    return kept
