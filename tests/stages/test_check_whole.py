"""check, between items: doubles, strays and names; and advice on what a dataset holds too much or too little of."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sakuga import api
from sakuga.core.media.picture import write_png
from sakuga.core.project import Project
from sakuga.stages.check.each import Facts
from sakuga.stages.check.whole import DATASET, Whole, advice, findings_of_all

WHOLE = Whole("wan2.2-t2v-a14b", 2, 16, {}, {}, {}, {}, None, None)
WORDS = "A woman walks along the sea wall. An empty street lies in the sun. Medium shot."


def item(number: int, kind: str = "clip", **values: object) -> Facts:
    name = f"{kind}s/a_{number:03}"
    facts = Facts(
        name, kind, f"dataset/{name}.mp4", "", None, f"sha{number}{kind}", f"sha{number}{kind}", 45, "16", f"s{number}", 0,
        66, f"{WORDS if number % 3 else 'An empty street lies in the sun. Wide shot.'} {number}", "", "", [], (512, 288, 45), [],
    )  # fmt: skip
    return replace(facts, **values)  # type: ignore[arg-type]


CLIPS = [item(n) for n in range(24)]


def rules(items: list[Facts], **values: object) -> dict[str, tuple[str, str]]:
    """rule -> (item, reason) of what is found."""
    found = findings_of_all(items, replace(WHOLE, **values))  # type: ignore[arg-type]
    assert len({rule for _, _, rule, _ in found}) == len(found)
    return {rule: (item, reason) for item, _, rule, reason in found}


def test_a_balanced_dataset_is_silent() -> None:
    films = {f"s{n}": f"film{n % 3}" for n in range(24)}
    assert (
        rules(CLIPS, films=films, clusters={f"s{n}": f"s{n % 8}" for n in range(24)}, gigabytes=20.0, card=("A", 24.0))
        == {}
    )
    assert rules(CLIPS) == {}


def test_the_same_file_twice_is_told_of_the_second() -> None:
    twin = item(50, now=CLIPS[3].now, file="dataset/clips/other.mp4")
    assert rules([*CLIPS, twin]) == {
        "twice": ("clips/a_050", "it is the same file as clips/a_003; leave one of them out")
    }


def test_a_mask_that_leaves_next_to_nothing_is_told() -> None:
    told = rules(CLIPS, masks={"clips/a_003": 0.012, "clips/a_004": 0.06, "gone": 0.0})
    why = "its mask leaves 1.2% of the picture to learn from; is it black where it should be white?"
    assert told == {"small-mask": ("clips/a_003", why)}


def test_names_that_other_trainers_take_for_one_are_told() -> None:
    other = item(50, file="elsewhere/A_003.mkv")
    told = rules([*CLIPS, other])["same-name"]
    assert told[0] == "clips/a_050" and "its file is named as that of clips/a_003" in told[1]


def test_rates_that_are_not_the_models_are_told_once() -> None:
    clips = [replace(clip, fps="24") if n in (4, 9) else clip for n, clip in enumerate(CLIPS)]
    who, why = rules(clips)["rate"]
    assert who == DATASET and why.startswith(
        "clips of another rate than 16 fps: 2, the first is clips/a_004; they are read at 16"
    )


def test_a_still_of_a_clip_is_told_where_it_is_no_larger() -> None:
    inside = item(3, "still", first=12, last=12, largest=(512, 288, 1), frames=1, fps="0")
    outside = item(4, "still", first=80, last=80, largest=(512, 288, 1), frames=1, fps="0")
    larger = item(5, "still", first=12, last=12, largest=(1024, 576, 1), frames=1, fps="0")
    who, why = rules([*CLIPS, inside, outside, larger])["still-in-clip"]
    assert who == DATASET and why.startswith(
        "stills that show what a clip shows already, and no larger: 1, the first is stills/a_003;"
    )


def test_a_set_without_clips_is_told_where_two_experts_learn_motion() -> None:
    stills = [item(n, "still", fps="0", frames=1) for n in range(24)]
    assert "movement of Wan 2.2 stiff" in rules(stills)["no-clips"][1]
    assert rules(stills, experts=1) == {}


def test_what_dominates_is_told_with_its_count() -> None:
    films = {f"s{n}": "one" if n < 15 else "two" for n in range(24)}
    assert rules(CLIPS, films=films)["one-film"][1].startswith("one gives 15 of the 24 items:")
    assert rules(CLIPS, films={f"s{n}": "one" for n in range(24)}) == {}  # a dataset of one film is that
    looks = {f"s{n}": "s0" if n < 13 else f"s{n}" for n in range(24)}
    assert rules(CLIPS, clusters=looks)["one-look"][1].startswith("13 of the 24 items look alike (as s0 does):")


def test_a_set_without_empty_scenes_is_told() -> None:
    people = [replace(clip, caption=f"Two men talk in a bar. Medium shot {n}.") for n, clip in enumerate(CLIPS)]
    assert list(rules(people)) == ["no-empty-scenes"]
    people[7] = replace(people[7], caption="A lamp swings over a table.")
    assert rules(people) == {}


def test_a_set_of_close_ups_is_told() -> None:
    close = [replace(clip, caption=f"Rain on a window. Close-up {n}.") for n, clip in enumerate(CLIPS)]
    assert rules(close)["all-close"][1].startswith("24 of the 24 captions that name a shot size say close-up")
    wide = [replace(clip, caption="Rain on a roof. Wide shot.") if n < 5 else clip for n, clip in enumerate(close)]
    assert rules(wide) == {}


def test_words_that_all_captions_begin_with_are_told_where_no_trigger_is_set() -> None:
    alike = [replace(clip, caption=f"Studio Ghibli style. {clip.caption}") for clip in CLIPS]
    why = rules(alike)["trigger-unset"][1]
    assert why.startswith(
        "24 of 24 captions begin with 'Studio Ghibli style'; `sakuga set trigger \"Studio Ghibli style\"`"
    )
    assert rules([replace(clip, trigger="Studio Ghibli style") for clip in alike]) == {}
    assert rules(alike[:15] + CLIPS[15:]) == {}


@pytest.mark.parametrize(
    ("gigabytes", "rule", "words"),
    [
        (35.0, "short-memory", "35.0 GB and the RTX 3090 has 25.8"),
        (9.0, "spare-memory", "9.0 of the 25.8 GB"),
        (20.0, "", ""),
    ],
)
def test_short_and_spare_memory_is_told(gigabytes: float, rule: str, words: str) -> None:
    found = {row[2]: row[3] for row in advice(CLIPS, replace(WHOLE, gigabytes=gigabytes, card=("RTX 3090", 25.8)))}
    assert list(found) == ([rule] if rule else []) and words in found.get(rule, "")


def test_strays_and_doubles_are_found_in_a_persons_folder(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "b").mkdir(parents=True)
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 255, (48, 64, 3), np.uint8)
    write_png(folder / "one.png", picture)
    write_png(folder / "b" / "one.png", picture)
    (folder / "one.txt").write_text("rain falls on a red roof", "utf-8")
    (folder / "b" / "one.txt").write_text("rain falls on a blue roof", "utf-8")
    (folder / "b" / "onne.txt").write_text("rain falls on a green roof", "utf-8")
    with api.new(tmp_path / "p", "tiny") as project:
        api.adopt(project, [folder])
        found = {(f["item"], f["severity"], f["rule"]): f["reason"] for f in api.check(project)}
        dataset = project.folder / "dataset" / "clips"
        dataset.mkdir(parents=True)
        (dataset / "gone.txt").write_text("a boat", "utf-8")
        later = {f["item"]: f["reason"] for f in api.check(project) if f["rule"] == "caption-orphan"}
    assert found[("mine/one", "warning", "twice")] == "it is the same file as mine/b/one; leave one of them out"
    assert ("mine/one", "advice", "same-name") in found
    stray = found[("mine", "warning", "caption-orphan")]
    assert stray.startswith("a caption file has no clip or picture beside, the first is b/onne.txt;")
    assert later["dataset"].endswith("the first is clips/gone.txt; is the name misspelt, or the media gone?")


def test_the_worst_is_told_first(exported: Project) -> None:
    (exported.folder / "dataset" / "clips" / "film_000024.mp4").unlink()
    (exported.folder / "dataset" / "clips" / "film_000000.txt").write_text("MyStyle", "utf-8")
    assert [f["severity"] for f in api.check(exported)] == ["error", "warning", "advice"]
