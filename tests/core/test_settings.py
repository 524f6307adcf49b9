"""Settings: one definition, and every fault one sentence that names the key."""

import re
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from sakuga.core.errors import SakugaError
from sakuga.core.family import MEMBERS, member
from sakuga.core.settings import (
    ELSEWHERE,
    CaptionSettings,
    CaptionWay,
    ExpertTrain,
    ExportSettings,
    GenerateSettings,
    ModelSettings,
    Phase,
    ProjectSettings,
    Section,
    Settings,
    ShotSettings,
    TrainSettings,
    change,
    describe,
    given,
    parse,
    parse_train,
)

AREA = {"resolution": [384, 384]}


def fault(values: dict[str, Any]) -> str:
    with pytest.raises(SakugaError) as caught:
        parse(values, "sakuga.toml")
    message = str(caught.value)
    assert message.startswith("sakuga.toml: ") and "\n" not in message
    return message.removeprefix("sakuga.toml: ")


@pytest.mark.parametrize(
    "values, sentence",
    [
        ({"modell": "tiny"}, "modell is not a setting; did you mean model?"),
        ({"shotz": {}}, "shotz is not a setting; did you mean shots?"),
        ({"shots": {"min_secs": 1}}, "shots.min_secs is not a setting; did you mean min_seconds?"),
        ({"train": {"learnin_rate": 1}}, "train.learnin_rate is not a setting; did you mean learning_rate?"),
        ({"sections": {"a": AREA | {"frame": [5]}}}, "sections.a.frame is not a setting; did you mean frames?"),
        # a section may bear the name of a setting
        ({"sections": {"train": AREA | {"frame": [5]}}}, "sections.train.frame is not a setting; did you mean frames?"),
        ({"shots": {"zzz": 1}}, "shots.zzz is not a setting (known: sensitivity, min_seconds, judge)"),
        ({"train": {"zzz": 1}}, "train.zzz is not a setting; `sakuga settings` lists them all"),
        ({"train": {"lr": 1}}, "train.lr is not a setting; did you mean learning_rate?"),
        ({"train": {"high": {"network_dim": 1}}}, "train.high.network_dim is not a setting; did you mean rank?"),
        ({"shots": {"lr": 1}}, "shots.lr is not a setting (known: sensitivity, min_seconds, judge)"),
    ],
)
def test_an_unknown_key_is_told_the_nearest(values: dict[str, Any], sentence: str) -> None:
    assert fault(values) == sentence


@pytest.mark.parametrize(
    "values, parts",
    [
        ({"model": "wan2.2-t2v-a14"}, ["model = 'wan2.2-t2v-a14'", "did you mean wan2.2-t2v-a14b?"]),
        ({"trigger": 5}, ["trigger = 5", "valid string"]),
        ({"workers": 0}, ["workers = 0", "greater than or equal to 1"]),
        ({"train": 5}, ["train = 5: this is a group of settings"]),
        ({"train": {"rank": 0}}, ["train.rank = 0", "greater than or equal to 1"]),
        ({"train": {"rank": "many"}}, ["train.rank = 'many'", "valid integer"]),
        ({"train": {"learning_rate": float("inf")}}, ["train.learning_rate = inf", "finite"]),
        ({"train": {"learning_rate": float("nan")}}, ["train.learning_rate = nan"]),
        ({"train": {"betas": [0.9, 1.0]}}, ["train.betas.1 = 1.0", "less than 1"]),
        ({"train": {"betas": [0.9]}}, ["train.betas = [0.9]: too few values"]),
        ({"train": {"seed": 2**63}}, ["train.seed = 9223372036854775808", "less than"]),
        ({"train": {"name": "../other"}}, ["train.name = '../other'", "'_other' would do"]),
        ({"train": {"time": "logit"}}, ["train.time = 'logit'", "'sigmoid' or 'uniform'"]),
        ({"generate": {"strength": float("nan")}}, ["generate.strength = nan", "finite"]),
        ({"plan": {"holdout": 0.6}}, ["plan.holdout = 0.6", "less than or equal to 0.5"]),
        ({"sections": {"a": {}}}, ["sections.a", "resolution needs a width and a height"]),
        ({"sections": {"a": AREA | {"frames": []}}}, ["sections.a", "frames needs at least one length"]),
        ({"sections": {"a": AREA | {"frames": [0]}}}, ["sections.a", "frames needs at least one length"]),
        ({"sections": {"a": AREA | {"rule": "heads"}}}, ["sections.a.rule = 'heads'", "'head', 'middle', 'chunk'"]),
        (
            {"sections": {"a": AREA | {"sizes": [[832, 0]]}}},
            ["sections.a", "sizes needs widths and heights above zero"],
        ),
        ({"sections": {"a": AREA | {"sizes": [[830, 480]]}}}, ["sections.a.sizes: 830x480 is no multiple of 16"]),
        (
            {"sections": {"a": AREA | {"sizes": [[832, 480]], "buckets": False}}},
            ["sections.a", "sizes are chosen among where buckets is true"],
        ),
        ({"sections": 3}, ["sections = 3"]),
    ],
)
def test_a_bad_value_is_one_sentence(values: dict[str, Any], parts: list[str]) -> None:
    message = fault(values)
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    "template, wrong",
    [("{shoot}", "{shoot} is not one of {trigger}, {shot}"), ("{}", "{}"), ("{0}", "{0}"), ("{", "'{'"), ("}", "'}'"),
     ("{trigger.x}", "{trigger.x}"), ("{trigger[x]}", "{trigger[x]}"), ("{seconds:.1f}", "{seconds}")],
)  # fmt: skip
def test_a_template_knows_its_fields(template: str, wrong: str) -> None:
    assert wrong in fault({"caption": {"template": template}})


def test_a_good_template_and_its_braces() -> None:
    text = "{trigger}. {shot} {{{film}}} {seconds}"
    assert CaptionSettings(template=text).template.format(trigger="T", shot="s", film="f", seconds="1") == "T. s {f} 1"


def test_what_a_run_was_frozen_with_is_read_back() -> None:
    train = TrainSettings(steps=3, experts=("high",))
    assert parse_train(train.model_dump(mode="json"), "run x") == train
    with pytest.raises(SakugaError, match=r"run x: rankk is not a setting.*begun by another version"):
        parse_train({"rankk": 3}, "run x")


def test_what_cannot_change_a_result_is_outside_fingerprints() -> None:
    def matters(one: Settings, other: Settings) -> bool:
        return one.that_matter() != other.that_matter()

    assert not matters(TrainSettings(), TrainSettings(name="a", device="cpu", resume=False, checkpointing=True))
    assert matters(TrainSettings(), TrainSettings(rank=8))
    assert matters(ExportSettings(), ExportSettings(quality=9))
    assert TrainSettings(learning_rate=1).that_matter() == TrainSettings(learning_rate=1.0).that_matter()
    assert ModelSettings().that_matter() == {}  # files count by what is in them
    beside = {"device", "format", "handover", "out", "note", "stream", "vram", "compile"}
    assert set(GenerateSettings().that_matter()) == set(GenerateSettings.model_fields) - beside


def test_change_makes_a_changed_copy() -> None:
    before = ShotSettings(min_seconds=2)
    after = change(before, {"judge": "off"})
    assert (before.judge, after.judge, after.min_seconds) == ("auto", "off", 2)
    assert change(before, {}) is before
    with pytest.raises(SakugaError, match=r"^min_second is not a setting; did you mean min_seconds\?$"):
        change(before, {"min_second": 1})
    with pytest.raises(SakugaError, match=r"^min_seconds = -1: "):
        change(before, {"min_seconds": -1})
    with pytest.raises(ValidationError):
        before.judge = "off"  # type: ignore[misc]


def test_given_is_what_was_said_aloud() -> None:
    assert given(None) == {} == given(ShotSettings())
    assert given(ShotSettings(min_seconds=0.5, judge="off")) == {"min_seconds": 0.5, "judge": "off"}


def leaves(model: type[BaseModel], prefix: str = "") -> set[str]:
    keys = set()
    for name, field in model.model_fields.items():
        if name == "sections" and model is ProjectSettings:
            keys |= leaves(Section, "sections.NAME.")
        elif name == "phases":
            keys |= leaves(Phase, f"{prefix}{name}.")
        elif field.annotation is CaptionWay:  # the same settings again, for a kind
            keys.add(f"{prefix}{name}.KEY")
        elif isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            keys |= leaves(field.annotation, f"{prefix}{name}.")
        else:
            keys.add(prefix + name)
    return keys


def test_every_setting_is_described() -> None:
    rows = {row["key"]: row for row in describe()}
    assert set(rows) == leaves(ProjectSettings) and len(rows) > 70
    for key, row in rows.items():
        assert row["help"] and len(row["help"]) > 2, key
        assert not row["unit"] or row["help"].endswith(f"[{row['unit']}]"), key
    assert rows["sections.NAME.stride"]["unit"] == "frames" and rows["shots.min_seconds"]["default"] == 0.5


def test_every_numeric_setting_has_bounds() -> None:
    loose = {"train.betas", "generate.strength", "sections.NAME.resolution", "sections.NAME.frames"}  # bound otherwise
    schema = ProjectSettings.model_json_schema()

    def walk(node: dict[str, Any], prefix: str) -> None:
        for name, field in node.get("properties", {}).items():
            key = f"{prefix}{name}"
            if "$ref" in field:
                walk(schema["$defs"][field["$ref"].rpartition("/")[2]], f"{key}.")
            elif name == "sections":
                walk(schema["$defs"]["Section"], "sections.NAME.")
            else:
                kinds = [field, *field.get("anyOf", [])]
                numbers = [k for k in kinds if k.get("type") in ("integer", "number")]
                bound = any(re.search("imum", word) for k in numbers for word in k)
                assert not numbers or bound or key in loose, f"{key} has no bounds"

    walk(schema, "")


@pytest.mark.parametrize(
    ("train", "words"),
    [
        (
            {"shift": "token"},
            "x.toml: train.shift = 'token': input should be a valid number, unable to parse string as a number",
        ),
        ({"include": "self_attn"}, "x.toml: train.include = 'self_attn': input should be a list"),
    ],
)
def test_a_wrong_kind_is_told_in_words_of_the_file(train: dict[str, Any], words: str) -> None:
    with pytest.raises(SakugaError) as error:
        parse({"model": "tiny", "train": train}, "x.toml")
    assert str(error.value) == words


def test_what_a_model_has_no_use_for_is_refused_before_it_is_planned() -> None:
    phased = TrainSettings(phases=(Phase(from_step=2),), high=ExpertTrain(steps=4, rank=2))
    with pytest.raises(SakugaError, match="with phases give train.steps too"):
        phased.check(member("tiny-experts"))
    phased.model_copy(update={"steps": 3}).check(member("tiny-experts"))
    with pytest.raises(SakugaError, match="train.high is for models of two experts, and Tiny Wan is one"):
        phased.check(member("tiny"))


def test_steps_are_derived_from_epochs_without_a_remainder_dropped() -> None:
    assert TrainSettings(epochs=3, accumulation=4).total_steps(10) == 8
    assert TrainSettings(epochs=3).total_steps(10) == 30
    assert TrainSettings(steps=7).total_steps(10) == 7


def test_defaults_are_valid_for_every_model() -> None:
    for row in MEMBERS:
        assert parse({"model": row.name}, "test").trigger == ""


def test_one_number_is_the_side_of_a_square() -> None:
    settings = parse({"sections": {"a": {"resolution": 512}}}, "sakuga.toml")
    assert settings.sections["a"].resolution == (512, 512)


def test_a_kind_has_caption_settings_of_its_own_where_it_says_so() -> None:
    caption = parse({"caption": {"backend": "server", "frames": 4, "stills": {"backend": "model"}}}, "x").caption
    assert (caption.way("still").backend, caption.way("still").frames) == ("model", 4)
    assert (caption.way("clip").backend, caption.way("clip").size) == ("server", 768)
    changed = change(caption, {"size": 100, "stills": {"frames": 2}})
    assert changed.way("still") == change(CaptionWay(), {"backend": "model", "frames": 2, "size": 100})
    assert changed.way("clip") == change(CaptionWay(), {"backend": "server", "frames": 4, "size": 100})
    asked = caption.asked({"backend": "command", "stills": {"frames": 1}})
    assert (asked.way("still").backend, asked.way("still").frames, asked.way("clip").backend) == (
        "command",
        1,
        "command",
    )
    with pytest.raises(SakugaError, match="frame is not a setting; did you mean frames?"):
        change(caption, {"stills": {"frame": 2}})


def test_what_other_trainers_call_a_setting_is_one_of_ours() -> None:
    ours = TrainSettings.model_fields.keys() | Section.model_fields.keys()
    assert set(ELSEWHERE.values()) <= ours and not ELSEWHERE.keys() & TrainSettings.model_fields.keys()
