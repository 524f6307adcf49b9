"""Which shots are alike: the same one twice, groups that look alike, those whose style stands out, and a few that stand
for all.

Distances are computed block by block, so memory grows with the number of shots and not with its square.
"""

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .recurring import PICTURE, PLAIN
from .scores import new_drawings, pictures_of

if TYPE_CHECKING:
    from .look import Look

# the same shot twice
SAMPLED = 0.2  # seconds from one frame by which a shot is looked up to the next
BANDS = 4  # parts of a hash of 16 bits; two pictures meet where one part is the same: surely up to three bits apart
CROWD = 200  # pictures with one part in common; more of them are commonplace and tell no place
ENOUGH = 8  # pictures met by that part; an opening of 300 films need not meet itself 45,000 times
VOTE = 0.25  # seconds that pictures of one shot may disagree on how far apart two shots run
LAGS = 6  # frames to either side by which the offset is mended
SLACK = 3  # frames that two copies may be out of step, as at 24 and 25 frames a second over 3 s
SHARE = 0.8  # of the shorter shot's frames that the longer one must show; one picture in common is no flashback
IN_STEP = 0.6  # correlation of when the two change: another take of the same set-up moves at other moments
LAYOUT_NEAR = 6.0  # levels: of standing shots, which cannot be told by when they change
CERTAIN = 0.95  # of a shot's frames found in one other: none that has more is looked for
TRIED = 4  # others that a shot is held against where one was found: all hundred copies show it as well
AS_LONG = 0.9  # of the longer one's length: then the earlier is the original

# what shots look like
CHROMA_COUNTS = 1.5  # chroma varies less than luma, and is seen as much
LOOKS_ALIKE = 12.0  # levels, between the layouts of two shots; another place or another light is 20 and more apart
BLOCK = 512  # shots whose distances to all others are held at once
REFERENCES = 1024  # shots of a film that a choice is to stand for; of more, evenly many
FAINT = 1e-3  # of the range: less grain than this is none
RARE_COUNTS = (
    4  # power of distances; 1 serves what is common, a high one what is odd: 4 reaches most kinds, and is near to all
)
EXTREME = 10.0  # deviations; beyond, a measure says no more


class Seen(NamedTuple):
    """A shot as it is compared, frame by frame [N]."""

    rate: float  # frames a second
    hashes: np.ndarray  # uint64, `recurring.picture_hash`
    local: np.ndarray  # change in the part that changes most, 0..1; that of the first frame counts for nothing
    layout: np.ndarray  # [D], `layout` of the whole shot


class Twin(NamedTuple):
    """Shot `shot` is shown again as, or within, shot `original`; `share` of its frames are the same (0..1)."""

    shot: int
    original: int
    share: float


def layout(tiny: np.ndarray, tint: np.ndarray) -> np.ndarray:
    """What a shot looks like, float32 [72]: where it is how light and of which colour, on average over its frames.

    `tiny` [N, 12, 16] and `tint` [N, 2, 6, 8] as `Look` has them. The distance of two is in levels of 255 a pixel.
    """
    luma = tiny.mean(axis=0).reshape(6, 2, 8, 2).mean(axis=(1, 3)).ravel()
    chroma = tint.mean(axis=0).reshape(2, 3, 2, 4, 2).mean(axis=(2, 4)).ravel()
    parts = (luma / np.sqrt(luma.size), CHROMA_COUNTS * chroma / np.sqrt(chroma.size))
    return np.concatenate(parts).astype(np.float32)


def twins(shots: Sequence[Seen]) -> list[Twin]:
    """The shots that are shown elsewhere too, each with the one that has most of its frames, or nearly all.

    Of two the longer is the original; of two about as long, the earlier in the list. Raises nothing; shots without
    pictures (of one colour) are nobody's twin.
    """
    best: dict[int, Twin] = {}
    tried: Counter[int] = Counter()
    for one, two, offset in _candidates(shots):
        shot, original = _younger(shots, one, two)
        if shot in best and (best[shot].share >= CERTAIN or tried[shot] >= TRIED):
            continue
        tried[shot] += 1
        share = shared(shots[one], shots[two], offset)
        if share >= SHARE and (shot not in best or share > best[shot].share):
            best[shot] = Twin(shot, original, share)
    return [best[shot] for shot in sorted(best)]


def _younger(shots: Sequence[Seen], one: int, two: int) -> tuple[int, int]:
    """(the copy, the original) of two shots, `one` before `two` in the list."""
    first, second = (len(shots[n].hashes) / shots[n].rate for n in (one, two))
    return (one, two) if first < AS_LONG * second else (two, one)


def _candidates(shots: Sequence[Seen]) -> Iterator[tuple[int, int, float]]:
    """Pairs of shots that share a picture, and by how much later (s) `two` shows it than `one`, each from its start."""
    owner, time, hashes = _sampled(shots)
    i, j = _meeting(hashes, owner)
    if not len(i):
        return
    swap = owner[i] > owner[j]
    i, j = np.where(swap, j, i), np.where(swap, i, j)
    pair = owner[i].astype(np.int64) * len(shots) + owner[j]
    apart = time[j] - time[i]
    order = np.argsort(pair, kind="stable")
    pair, apart = pair[order], apart[order]
    starts = np.flatnonzero(np.r_[True, pair[1:] != pair[:-1]])
    for start, end in zip(starts, [*starts[1:], len(pair)], strict=True):
        one, two = divmod(int(pair[start]), len(shots))
        yield one, two, _voted(apart[start:end])


def _sampled(shots: Sequence[Seen]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Some pictures of every shot, unlike their neighbours: whose they are [M], when (s) [M], their hashes [M]."""
    owners, times, hashes = [np.empty(0, np.intp)], [np.empty(0)], [np.empty(0, np.uint64)]
    for number, shot in enumerate(shots):
        at = np.arange(0, len(shot.hashes), max(1, round(SAMPLED * shot.rate)))
        now = shot.hashes[at]
        fresh = np.r_[True, np.bitwise_count(now[1:] ^ now[:-1]) > PICTURE.same] & (now != PLAIN)
        owners.append(np.full(int(fresh.sum()), number))
        times.append(at[fresh] / shot.rate)
        hashes.append(now[fresh])
    return np.concatenate(owners), np.concatenate(times), np.concatenate(hashes)


def _meeting(hashes: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of pictures [P], [P] of different shots that are near each other and have a quarter of their hash in common."""
    left, right = [np.empty(0, np.intp)], [np.empty(0, np.intp)]
    for band in range(BANDS):
        part = (hashes >> np.uint64(16 * band)).astype(np.uint16)
        order = np.argsort(part, kind="stable")
        ordered = part[order]
        asking, met = np.arange(len(order)), np.zeros(len(order), np.int16)
        for step in range(1, CROWD):
            asking = asking[: np.searchsorted(asking, len(order) - step)]
            asking = asking[(ordered[asking + step] == ordered[asking]) & (met[asking] < ENOUGH)]
            if not len(asking):
                break
            i, j = order[asking], order[asking + step]
            near = (np.bitwise_count(hashes[i] ^ hashes[j]) <= PICTURE.near) & (owner[i] != owner[j])
            met[asking[near]] += 1
            left.append(i[near])
            right.append(j[near])
    return np.concatenate(left), np.concatenate(right)


def _voted(apart: np.ndarray) -> float:
    """The offset (s) that most agree on within `VOTE`, the smallest where several are as common."""
    apart = np.sort(apart)
    votes = np.searchsorted(apart, apart + VOTE, side="right") - np.arange(len(apart))
    best = np.flatnonzero(votes == votes.max())
    start = best[np.abs(apart[best]).argmin()]
    return float(np.median(apart[start : start + votes[start]]))


def shared(one: Seen, two: Seen, offset: float) -> float:
    """The share of the shorter shot's frames that the other shows too, 0..1; 0 where they change at other moments.

    `offset`: how much later than `one` (s, each from its start) `two` shows the same, about. Films of two rates may show
    the same at the same time, or frame by frame, as one that was sped up from 24 to 25 frames a second.
    """
    if len(one.hashes) / one.rate > len(two.hashes) / two.rate:
        one, two, offset = two, one, -offset
    return max(_shared(one, two, offset, rate) for rate in {one.rate, two.rate})


def _shared(one: Seen, two: Seen, offset: float, rate: float) -> float:
    """As `shared`, with `two` taken to run at `rate`."""
    wanted = np.flatnonzero(one.hashes != PLAIN)
    if len(wanted) < len(one.hashes) / 2:
        return 0.0
    there = np.rint(wanted / one.rate * rate + offset * two.rate).astype(np.intp)
    bits = {lag: _bits(one.hashes[wanted], two.hashes, there + lag) for lag in range(-LAGS - SLACK, LAGS + SLACK + 1)}
    lag = min(range(-LAGS, LAGS + 1), key=lambda n: (bits[n].sum(), abs(n)))
    near = np.min([bits[lag + n] for n in range(-SLACK, SLACK + 1)], axis=0) <= PICTURE.near
    share = float(near.sum()) / len(one.hashes)
    return share if share >= SHARE and _in_step(one, two, wanted, there + lag) else 0.0


def _bits(wanted: np.ndarray, hashes: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Bits in which hashes differ from those at indices `at`; 64 for what lies outside."""
    inside = (at >= 0) & (at < len(hashes))
    bits = np.bitwise_count(wanted ^ hashes[at.clip(0, len(hashes) - 1)])
    return np.where(inside, bits, 64).astype(np.int64)


def _in_step(one: Seen, two: Seen, here: np.ndarray, there: np.ndarray) -> bool:
    """Whether two shots change at the same moments; where neither changes, whether they look the same."""
    inside = (there >= 1) & (there < len(two.local) - 1)  # for `there` is tried a frame to either side
    here, there = here[inside], there[inside]
    drawn = [bool(new_drawings(shot.local[at][1:]).sum() > 1) for shot, at in ((one, here), (two, there))]
    if not any(drawn):
        return float(np.linalg.norm(one.layout - two.layout)) <= LAYOUT_NEAR
    change = _between(one, here)
    return all(drawn) and max(_correlation(change, _between(two, there + n)) for n in (-1, 0, 1)) >= IN_STEP


def _between(shot: Seen, at: np.ndarray) -> np.ndarray:
    """What changes from each of the frames `at` [N] to the next [N-1], so that films of other rates compare."""
    return np.diff(np.cumsum(shot.local, dtype=np.float64)[at])


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    if len(a) < 3 or a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def clusters(features: np.ndarray, near: float) -> np.ndarray:
    """For each row of `features` [N, D] the row that stands for its group [N]; no member is further from it than `near`.

    Groups are made after Butina (1999): the one with most neighbours and all of them, then the same among the rest.
    """
    if not len(features):
        return np.empty(0, np.intp)
    features = features - features.mean(axis=0)
    neighbours = np.concatenate([(d <= near).sum(axis=1) for d in _distances(features)])
    leader = np.full(len(features), -1)
    for row in np.argsort(-neighbours, kind="stable"):
        if leader[row] >= 0:
            continue
        leader[row] = row
        if neighbours[row] > 1:
            free = np.flatnonzero(leader < 0)
            leader[free[np.linalg.norm(features[free] - features[row], axis=1) <= near]] = row
    return leader


def _distances(features: np.ndarray) -> Iterator[np.ndarray]:
    """The distances of `BLOCK` rows at a time to all rows [BLOCK, N]."""
    lengths = (features**2).sum(axis=1)
    for start in range(0, len(features), BLOCK):
        rows = slice(start, start + BLOCK)
        squares = lengths[rows, None] + lengths - 2 * (features[rows] @ features.T)
        yield np.sqrt(squares.clip(0))


def cover(features: np.ndarray, count: int, chosen: np.ndarray | None = None) -> list[int]:
    """`count` rows of `features` [N, D] that stand for all of them best, in the order in which they were taken.

    Each next one takes most off the distances from all rows to the nearest that is taken, each to the power `RARE_COUNTS`;
    `chosen` [M, D] are taken already. The same rows give the same choice.
    """
    every = max(1, -(-len(features) // REFERENCES))
    references = features[::every]
    far = 2 * float(np.linalg.norm(features - features.mean(axis=0), axis=1).max()) if len(features) else 0.0
    nearest = np.full(len(references), far**RARE_COUNTS)
    for row in chosen if chosen is not None else ():
        nearest = np.minimum(nearest, np.linalg.norm(references - row, axis=1) ** RARE_COUNTS)
    # a gain only shrinks as others are taken, so that the old one of most rows is proof enough against them
    waiting = [(-np.inf, n) for n in range(len(features))]
    taken: list[int] = []
    while waiting and len(taken) < count:
        _, row = heapq.heappop(waiting)
        apart = np.linalg.norm(references - features[row], axis=1) ** RARE_COUNTS
        gain = float((nearest - apart).clip(0).sum())
        if waiting and (-gain, row) > waiting[0]:
            heapq.heappush(waiting, (-gain, row))
            continue
        taken.append(row)
        nearest = np.minimum(nearest, apart)
    return taken


class Outliers(NamedTuple):
    """How far each shot's style is from that of the rest: in deviations [N], as the share of shots that are nearer [N],
    and in what most [N]."""

    score: np.ndarray
    rank: np.ndarray
    why: list[str]


def outliers(groups: Mapping[str, np.ndarray]) -> Outliers:
    """Which shots stand out; `groups`: name -> measures [N, P], as of palette, edges, texture.

    Each measure is held against its median in deviations (told from the median distance to it, so that what stands out
    has no say); a group is the mean square of its measures, the score the mean square of the groups.
    """
    told = np.stack([np.sqrt((_deviations(m) ** 2).mean(axis=1)) for m in groups.values()], axis=1)
    score = np.sqrt((told**2).mean(axis=1))
    order = np.argsort(score, kind="stable")
    rank = np.empty(len(score))
    rank[order] = np.arange(len(score)) / max(1, len(score))
    names = list(groups)
    return Outliers(score, rank, [names[n] for n in told.argmax(axis=1)])


def _deviations(measures: np.ndarray) -> np.ndarray:
    away = measures - np.median(measures, axis=0)
    typical = 1.4826 * np.median(np.abs(away), axis=0)  # a deviation, were they normal
    floor = 0.1 * measures.std(axis=0) + 1e-6  # more than half of them may be the very same
    return (away / np.maximum(typical, floor)).clip(-EXTREME, EXTREME)


def style(look: "Look", first: int, last: int) -> dict[str, np.ndarray]:
    """The measures of a shot (frames first..last, both in it) by which `outliers` tells its style: name -> [P]."""
    span, inside = slice(first, last + 1), slice(first + 1, last + 1)
    blue, red = (look.tint[span, n].astype(np.float32) / 255 for n in (0, 1))
    spread = float(look.spread[span].mean())
    sharp = float(look.sharp[span].mean())
    fresh = new_drawings(look.local[inside])
    held = look.change[inside][~fresh] if not fresh.all() else look.change[inside]
    grain = float(np.median(held)) if len(held) else 0.0
    drawn = (1 + float(fresh.sum())) / (last - first + 1)
    told = {
        "palette": (look.luma[span].mean(), spread, look.chroma[span].mean(), blue.mean(), red.mean(),
                    blue.std(), red.std()),
        "edges": (sharp, sharp / (spread + FAINT), look.fine[pictures_of(look.kept, first, last)].mean()),
        "texture": (np.log(grain + FAINT),),
        "animation": (drawn,),
    }  # fmt: skip
    return {name: np.array(values, np.float64) for name, values in told.items()}
