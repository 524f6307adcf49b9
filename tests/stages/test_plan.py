"""plan: what one epoch is, what is dropped and why, and what is held out."""

from pathlib import Path
from typing import Any

import pytest

import small
from sakuga import api
from sakuga.core import store
from sakuga.core.errors import SakugaError
from sakuga.core.project import Project
from sakuga.stages.plan.told import Cost

STILLS = {"items": "stills", "resolution": (96, 64)}


def with_sections(project: Project, **sections: dict[str, Any]) -> Project:
    """The project as if its sakuga.toml had these sections."""
    kinds = {name: type(project.settings.sections["clips"])(**values) for name, values in sections.items()}
    project.settings = project.settings.model_copy(update={"sections": kinds})
    return project


def test_an_epoch_is_counted_by_section_and_bucket(exported: Project) -> None:
    planned = api.plan(exported)
    assert planned.samples == 12
    assert planned.sections == {"stills": {"samples": 4}, "clips": {"samples": 8}}
    assert planned.buckets == {"96x64x9": 8, "96x64x1": 4}
    fit = {"crop_worst": 0.1111, "crop_mean": 0.1111, "upscale": 0.75}  # 128x96 onto 96x64: 8 of 72 rows go
    assert planned.fits == {"stills": fit, "clips": fit}
    clip = Cost("clips/film_000000", "clips", 96, 64, 2, 0.1111, 0.75)
    assert planned.costs[0] == clip and sum(cost.samples for cost in planned.costs) == planned.samples
    assert planned.sizes[-1] == (128, 96, 8 * 6, 8 * 6 * 3)
    assert planned.tokens == 4 * 24 + 8 * 3 * 24  # 12x8 latents are 6x4 tokens, 9 frames are 3 latent frames
    assert planned.dropped == []
    rows = exported.rows("SELECT key, start FROM sample WHERE item = 'clips/film_000000'")
    assert rows == [
        {"key": "clips/clips/film_000000@0:96x64x9", "start": 0}, {"key": "clips/clips/film_000000@4:96x64x9", "start": 4},
    ]  # fmt: skip


def test_repeats_count(exported: Project) -> None:
    planned = api.plan(with_sections(exported, stills=STILLS | {"repeats": 5}))
    assert planned.samples == 20 and planned.sections == {"stills": {"samples": 20}}


def test_what_gives_no_sample_or_fewer_is_listed_with_the_reason(exported: Project) -> None:
    exported.db.execute("UPDATE item SET frames = 5 WHERE name = 'clips/film_000024'")
    motion = {"items": "clips", "resolution": (96, 64), "frames": (9, 13)}
    planned = api.plan(with_sections(exported, motion=motion))
    assert planned.samples == 6
    assert planned.dropped[-1] == {
        "item": "clips/film_000024", "section": "motion", "reason": '5 frames at 16 fps, section "motion" needs 9 and 13',
    }  # fmt: skip
    assert [(d["item"], d["reason"]) for d in planned.dropped[:4]] == [
        (f"stills/{name}", "no section of sakuga.toml takes it")
        for name in ("film_000012", "film_000036", "film_000060", "film_000084")
    ]


def test_a_clip_and_the_still_of_its_shot_are_on_the_same_side(exported: Project) -> None:
    api.plan(exported)
    query = "SELECT DISTINCT shot, held_out FROM sample JOIN item ON item.name = item ORDER BY shot"
    sides = exported.rows(query)
    assert [row["shot"] for row in sides] == small.SHOTS  # one row for each: both its items are on one side
    assert sum(row["held_out"] for row in sides) == 1
    assert api.plan(exported).held_out == 3


def test_the_split_stays_when_the_dataset_grows(exported: Project) -> None:
    api.plan(exported)
    before = {row["item"] for row in exported.rows("SELECT item FROM sample WHERE held_out")}
    (clip,) = exported.rows("SELECT * FROM item WHERE name = 'clips/film_000000'")
    for n in range(40):
        name = f"clips/other_{n:06d}"
        store.insert(exported.db, "item", clip | {"name": name, "source": name, "shot": name})
    api.plan(exported)
    after = {row["item"] for row in exported.rows("SELECT item FROM sample WHERE held_out")}
    assert {item for item in after if "film" in item} <= before
    assert 1 <= len(after) <= 8  # about a twentieth


def test_nothing_is_held_out_where_it_is_not_wanted(exported: Project) -> None:
    exported.settings = exported.settings.model_copy(
        update={"plan": exported.settings.plan.model_copy(update={"holdout": 0.0})}
    )
    assert api.plan(exported).held_out == 0


@pytest.mark.parametrize(
    ("settings", "steps", "seen"),
    [
        ({"epochs": 3}, 27, 27),  # 9 samples to train on
        ({"epochs": 3, "accumulation": 4}, 7, 27),  # the last step has 3
        ({"steps": 10, "accumulation": 4}, 10, 40),
    ],
)
def test_steps_follow_from_epochs_and_accumulation(
    exported: Project, settings: dict[str, Any], steps: int, seen: int
) -> None:
    planned = api.plan(exported, **settings)
    assert (planned.steps, planned.experts, planned.epochs) == (steps, {"full": seen}, seen / 9)


def test_an_expert_that_the_model_lacks_is_refused(exported: Project) -> None:
    with pytest.raises(SakugaError, match="tiny has no expert 'high', it has full"):
        api.plan(exported, experts=["high"])


def test_a_plan_follows_its_dataset(exported: Project) -> None:
    assert api.plan(exported).samples == 12
    api.pick(exported, drop=["film_000000"], auto=True)
    api.export(exported)
    assert api.plan(exported).samples == 9


def test_noise_levels_are_shared_as_they_are_drawn(exported: Project) -> None:
    for shift, high in ((3.0, 0.198), (12.0, 0.705)):
        told = api.plan_with(exported, toml(exported, f'model = "wan2.2-t2v-a14b"\n[train]\nshift = {shift}'))
        assert told.shares["high"] == pytest.approx(high, abs=1e-3)
        assert sum(told.shares.values()) == pytest.approx(1)


def toml(project: Project, text: str) -> Path:
    path = project.folder / "other.toml"
    path.write_text(text, "utf-8")
    return path


def test_what_the_cache_will_hold_is_what_it_holds(cached: Project) -> None:
    planned = api.plan(cached)
    held = cached.rows("SELECT kind, sum(bytes) AS bytes, count(*) AS n FROM cache_entry GROUP BY kind ORDER BY kind")
    latents, texts = held
    assert planned.cache["latents"] < latents["bytes"] < planned.cache["latents"] + 400 * latents["n"]  # headers
    assert planned.cache["texts"] > 0 and texts["n"] > 1


def test_hours_and_memory_are_those_of_the_card(exported: Project) -> None:
    other = toml(
        exported, 'model = "wan2.1-t2v-14b"\n[sections.s]\nresolution = [384, 208]\nframes = [9]\nupscale = true'
    )
    slow, fast = api.plan_with(exported, other, card="RTX 3090"), api.plan_with(exported, other, card="H100")
    (bucket,) = slow.bucket_costs
    assert bucket.seconds == pytest.approx(bucket.petaflop * 1e15 / (71e12 * 0.4))
    assert slow.hours["full"] == pytest.approx(bucket.seconds * slow.experts["full"] / 3600, abs=0.01)
    assert fast.bucket_costs[0].seconds == pytest.approx(bucket.seconds * 71 / 989.4)
    assert slow.memory is not None and fast.memory is not None
    assert (slow.memory.fits, fast.memory.fits) == (False, True) and slow.memory.total == fast.memory.total
    assert slow.advice is not None and slow.advice.fits is False and fast.advice is not None and fast.advice.fits
    with pytest.raises(SakugaError, match="'RTX 9090' is no card that plans know"):
        api.plan(exported, card="RTX 9090")


def test_lengths_tell_how_many_clips_have_them(exported: Project) -> None:
    exported.db.execute("UPDATE item SET frames = 8 WHERE name = 'clips/film_000024'")
    clips = exported.rows("SELECT frames FROM item WHERE kind = 'clip'")
    planned = api.plan(exported)
    assert [(length.frames, length.clips) for length in planned.lengths] == [(5, 4), (9, 3)]
    short, asked = planned.lengths
    total = sum(row["frames"] for row in clips)
    assert (short.share, asked.share, asked.asked, short.asked) == (1.0, 0.75, True, False)
    assert asked.one_window == pytest.approx(9 * 3 / total, abs=1e-4)
    ends = sum(row["frames"] // 5 * 5 for row in clips)
    assert short.end_to_end == pytest.approx(ends / total, abs=1e-4)
    assert planned.advice is not None and planned.advice.frames == 5


def test_another_file_of_settings_is_planned_beside_and_changes_nothing(exported: Project) -> None:
    before = api.plan(exported)
    other = toml(exported, "[sections.big]\nresolution = 128\nitems = 'all'\nupscale = true\n[train]\nepochs = 3\n")
    told = api.plan_with(exported, other)
    assert told.sections == {"big": {"samples": 8}} and told.epochs == 3
    assert api.plan(exported) == before
    rows = {what: (a, b) for what, a, b in api.plan_differences(before, told)}
    assert rows["samples an epoch"] == (12, 8) and rows["samples of section big"] == ("", 8)
    page = api.plan_report(exported, before, told, "other.toml").read_text("utf-8")
    assert "Side by side" in page and "<b>8</b>" in page and "96x64x9" in page
    with pytest.raises(SakugaError, match=r"other.toml: sections.big.frame is not a setting; did you mean frames"):
        api.plan_with(exported, toml(exported, "[sections.big]\nresolution = 128\nframe = [1]"))
