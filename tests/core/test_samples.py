"""The enumeration of an epoch, checked against the arithmetic of a published recipe."""

from sakuga.core.family import member
from sakuga.core.samples.enumeration import ItemFacts, enumerate_samples
from sakuga.core.settings import Section

WAN = member("wan2.1-t2v-14b")
SECTIONS = {
    "stills": Section(items="stills", resolution=(768, 768)),
    "first": Section(resolution=(768, 416), rule="head", frames=(1, 21)),
    "motion": Section(resolution=(384, 208), rule="uniform", frames=(45,), count=2),
}


def section(**values: object) -> dict[str, Section]:
    """One section named "s" over all items at 832x480."""
    return {"s": Section.model_validate({"items": "all", "resolution": (832, 480)} | values)}


def dataset(*lengths: int) -> list[ItemFacts]:
    """120 stills and 240 clips, the first of which have these lengths and the others the longest."""
    stills = [ItemFacts(n, f"still{n:03}.png", "still", 1920, 1040, 1) for n in range(120)]
    clips = [
        ItemFacts(n + 120, f"clip{n:03}.mp4", "clip", 1920, 1040, lengths[n] if n < len(lengths) else WAN.frames)
        for n in range(240)
    ]
    return stills + clips


def test_the_recipe_has_1080_samples() -> None:
    samples, drops = enumerate_samples(dataset(), SECTIONS, WAN)
    assert sum(s.repeats for s in samples) == len(samples) == 120 + 240 + 240 + 2 * 240 == 1080
    assert drops == []
    assert len({s.section + s.key for s in samples}) == 1080
    by = {(s.section, s.bucket) for s in samples}
    assert ("motion", (384, 208, 45)) in by and ("first", (768, 416, 1)) in by and ("first", (768, 416, 21)) in by


def test_two_clips_of_exactly_45_give_one_window_each() -> None:
    samples, drops = enumerate_samples(dataset(45, 45), SECTIONS, WAN)
    assert sum(s.repeats for s in samples) == 1078
    assert [(d.item.name, d.section, d.given) for d in drops] == [
        ("clip000.mp4", "motion", 1),
        ("clip001.mp4", "motion", 1),
    ]
    assert drops[0].reason == '45 frames at 16 fps, section "motion" asks for 2 windows of 45 and finds 1 distinct'


def test_two_clips_of_44_give_none() -> None:
    samples, drops = enumerate_samples(dataset(44, 44), SECTIONS, WAN)
    assert sum(s.repeats for s in samples) == 1076
    assert [(d.item.name, d.section, d.given) for d in drops] == [
        ("clip000.mp4", "motion", 0),
        ("clip001.mp4", "motion", 0),
    ]
    assert {d.reason for d in drops} == {'44 frames at 16 fps, section "motion" needs 45'}
    assert not [s for s in samples if s.item.name == "clip000.mp4" and s.section == "motion"]


def test_the_order_of_the_items_does_not_matter() -> None:
    items = dataset(44, 45)
    assert enumerate_samples(items[::-1], SECTIONS, WAN) == enumerate_samples(items, SECTIONS, WAN)


def test_keys_name_item_window_and_bucket() -> None:
    clip = ItemFacts(7, "a.mp4", "clip", 1920, 1080, 30)
    (sample,), _ = enumerate_samples([clip], section(rule="middle", frames=(21,)), WAN)
    assert sample.key == "a.mp4@4:832x480x21"
    assert (sample.width, sample.height, sample.frames) == (832, 480, 21)


def test_repeats_are_counted() -> None:
    clip = ItemFacts(7, "a.mp4", "clip", 1920, 1080, 30)
    samples, _ = enumerate_samples([clip], section(frames=(1, 5), repeats=3), WAN)
    assert len(samples) == 2 and sum(s.repeats for s in samples) == 6


def test_a_section_takes_the_items_of_its_kind_and_tags() -> None:
    items = [
        ItemFacts(1, "a.mp4", "clip", 640, 480, 30, ("faces",)),
        ItemFacts(2, "b.png", "still", 640, 480, 1, ("faces", "night")),
        ItemFacts(3, "c.mp4", "clip", 640, 480, 30),
    ]

    def names(**values: object) -> list[str]:
        return [s.item.name for s in enumerate_samples(items, section(**values), WAN)[0]]

    assert names() == ["a.mp4", "b.png", "c.mp4"]
    assert names(items="stills") == ["b.png"]
    assert names(items="clips") == ["a.mp4", "c.mp4"]
    assert names(tags=("faces",)) == ["a.mp4", "b.png"]
    assert names(tags=("faces",), items="clips") == ["a.mp4"]


def test_sizes_follow_the_section() -> None:
    still = ItemFacts(1, "a.png", "still", 640, 480, 1)

    def size(**more: bool) -> tuple[int, int]:
        (sample,), _ = enumerate_samples([still], section(**more), WAN)
        return sample.width, sample.height

    assert size() == (640, 480)
    assert size(upscale=True) == (720, 544)
    assert size(upscale=True, buckets=False) == (832, 480)
    assert size(buckets=False) == (640, 480)


def test_a_clip_without_frames_is_named() -> None:
    clip = ItemFacts(1, "a.mp4", "clip", 640, 480, 0)
    samples, (drop,) = enumerate_samples([clip], section(rule="full"), WAN)
    assert samples == [] and drop.reason == '0 frames at 16 fps, section "s" needs 1'


def test_a_section_takes_the_items_of_its_folders() -> None:
    items = [ItemFacts(n, f"{folder}/a", "clip", 640, 480, 30, (), folder) for n, folder in enumerate("xy")]
    items.append(ItemFacts(2, "own", "clip", 640, 480, 30))
    samples, _ = enumerate_samples(items, section(folders=("y",)), WAN)
    assert [sample.item.name for sample in samples] == ["y/a"]


def test_a_clip_may_serve_the_longest_length_that_fits_alone() -> None:
    items = [ItemFacts(n, f"{n}", "clip", 1920, 1080, frames) for n, frames in enumerate((4, 30, 60))]
    samples, drops = enumerate_samples(items, section(frames=(5, 21, 45), lengths="longest"), WAN)
    assert [(s.item.name, s.frames) for s in samples] == [("1", 21), ("2", 45)]
    assert [(d.item.name, d.reason) for d in drops] == [("0", '4 frames at 16 fps, section "s" needs 5, 21 and 45')]


def test_listed_sizes_are_those_that_samples_have() -> None:
    items = [ItemFacts(0, "wide", "clip", 1920, 800, 30), ItemFacts(1, "tall", "still", 1080, 1920, 1)]
    samples, _ = enumerate_samples(items, section(sizes=((832, 480), (480, 832)), frames=(5,)), WAN)
    assert [(s.width, s.height) for s in samples] == [(480, 832), (832, 480)]
