"""musubi-tuner's dataset file: a section for each entry, with its buckets and windows as they are there."""

from collections.abc import Mapping
from typing import Any

from ..core.errors import SakugaError, nearest
from ..core.samples.windows import RULES
from . import musubi_keys as keys
from .buckets import musubi_sizes
from .draft import Draft
from .reading import check_keys, last_part, want

RESOLUTION = [960, 544]  # where the file does not say
FULL_FRAMES = 129  # likewise, of frame_extraction full


def take_sections(draft: Draft, table: Mapping[str, Any], file: str) -> list[int]:
    """A section for each entry of [[datasets]]. Returns the batch sizes."""
    check_keys(table, ("general", "datasets"), file)
    general = want(table.get("general", {}), dict, "a table", f"{file}: general")
    entries = want(table["datasets"], list, "[[datasets]] tables", f"{file}: datasets")
    for key in general:
        if key in keys.DATASET_OWN:
            raise SakugaError(
                f"{file}: {key} stands in [general], where it is an error there too; move it to [[datasets]]"
            )
    check_keys(general, keys.DATASET_COMMON, f"{file}: [general]")
    if not entries:
        raise SakugaError(f"{file} has no [[datasets]] entry; add one for each folder")
    batches = []
    for number, entry in enumerate(entries, start=1):
        where = f"datasets {number}"
        own = want(entry, dict, "a table", f"{file}: {where}")
        check_keys(own, keys.DATASET_COMMON | keys.DATASET_OWN, f"{file}: {where}")
        batches.append(_Entry(draft, {**general, **own}, f"{file}: {where}", where).take())
    return batches


class _Entry:
    """One [[datasets]] entry, with what [general] says for it."""

    def __init__(self, draft: Draft, values: Mapping[str, Any], file: str, where: str) -> None:
        self.draft, self.values, self.file, self.where = draft, values, file, where
        self.section: dict[str, Any] = {}
        self.folder = ""

    def take(self) -> int:
        """Make the section; returns its batch size."""
        kind, key, self.folder = self._source()
        for name, value in self.values.items():
            fixed = (keys.DATASET_COMMON | keys.DATASET_OWN)[name]
            if fixed.kind is not None:
                self.say(fixed.kind, name, value, "", fixed.about)
        self._captions()
        (self._stills if kind == "stills" else self._clips)()
        self._put("num_repeats", "repeats", self.number("num_repeats", 1), 1)
        batch = self.number("batch_size", 1)
        self._put("batch_size", "batch", batch, 1)
        name = self.draft.section(kind, self.section, self.folder)
        self.say("exact", key, self.values[key], f"[sections.{name}]", "the folder is adopted as it is")
        return batch

    def say(self, kind: Any, key: str, value: Any, became: str = "", note: str = "") -> None:
        self.draft.report.add(kind, f"{self.where}: {key}", value, became, note)

    def number(self, key: str, default: int) -> int:
        found = want(self.values.get(key, default), int, "a whole number above zero", f"{self.file}: {key}")
        if found < 1:
            raise SakugaError(f"{self.file}: {key} = {found} is too small, it is a whole number above zero; correct it")
        return int(found)

    def yes(self, key: str) -> bool:
        return bool(want(self.values.get(key, False), bool, "true or false", f"{self.file}: {key}"))

    def _put(self, there: str, ours: str, value: Any, default: Any, note: str = "") -> None:
        """A value that came over as it is; one that is the default there and here is told only where it was given."""
        if there in self.values or value != default:
            self.section[ours] = value
            self.say("exact", there, self.values.get(there), f"{ours} = {value}", note)

    def _source(self) -> tuple[str, str, str]:
        """(clips or stills, the key, the folder)."""
        sources = {
            "image_directory": "stills", "video_directory": "clips", "image_jsonl_file": "stills", "video_jsonl_file": "clips",
        }  # fmt: skip
        named = [key for key in sources if key in self.values]
        if len(named) != 1:
            raise SakugaError(f"{self.file} needs one of {', '.join(sources)}, and no more; correct it")
        given = want(self.values[named[0]], str, "a path", f"{self.file}: {named[0]}")
        if named[0].endswith("_file"):
            note = "the folder of the list is adopted, with all that is in it, listed or not; its captions are read from the list"
            self.say("differs", named[0], given, "", note)
            given = given[: -len(last_part(given))].rstrip("/\\") or "."
        return sources[named[0]], named[0], given

    def _captions(self) -> None:
        suffix = self.values.get("caption_extension")
        if suffix == ".txt":
            note = "theirs skips pictures without a caption; here `sakuga check` names them"
            self.say("exact", "caption_extension", suffix, "captions are the .txt beside each file", note)
        elif suffix is not None:
            self.say("refused", "caption_extension", suffix, "", "captions are read from .txt files; rename them")

    def _resolution(self) -> list[int]:
        given = self.values.get("resolution", RESOLUTION)
        pair = [given, given] if isinstance(given, int) else given
        plausible = isinstance(pair, list) and len(pair) == 2 and all(type(side) is int and side > 0 for side in pair)
        want(given if plausible else str(given), (int, list), "a width and a height", f"{self.file}: resolution")
        note = "" if "resolution" in self.values else "not given: what holds there"
        self.section["resolution"] = list(pair)
        self.say("exact", "resolution", self.values.get("resolution"), f"resolution = {list(pair)}", note)
        return list(pair)

    def _buckets(self, pair: list[int], upscale: bool, note: str) -> None:
        step = self.draft.member.side_step
        sizes = musubi_sizes(pair[0], pair[1], step)
        self.section |= {"sizes": [list(size) for size in sizes], "nearest": "aspect", "upscale": upscale}
        became = f"sizes = their {len(sizes)} buckets, nearest = aspect, upscale = {str(upscale).lower()}"
        self.say("exact", "enable_bucket", self.values.get("enable_bucket"), became, note)

    def _stills(self) -> None:
        pair = self._resolution()
        if self.yes("enable_bucket"):
            self._buckets(pair, not self.yes("bucket_no_upscale"), "")
            self.say(
                "exact",
                "bucket_no_upscale",
                self.values.get("bucket_no_upscale"),
                f"upscale = {self.section['upscale']}",
            )
            return
        self.section |= {"buckets": False, "upscale": True}
        step = self.draft.member.side_step
        odd = any(side % step for side in pair)
        note = f"sides are rounded down to {step} here" if odd else "every picture has this very size"
        self.say(
            "differs" if odd else "exact", "enable_bucket", self.values.get("enable_bucket"), "buckets = false", note
        )
        if self.yes("bucket_no_upscale"):
            self.say(
                "ignored there", "bucket_no_upscale", True, "upscale = true", "without buckets it has no effect there"
            )

    def _clips(self) -> None:
        pair = self._resolution()
        for key in ("enable_bucket", "bucket_no_upscale"):
            self.yes(key)
        self._buckets(pair, True, "their cache of videos takes buckets and enlarges, whatever the file says")
        if "bucket_no_upscale" in self.values:
            note = "their cache of videos ignores it"
            self.say("ignored there", "bucket_no_upscale", self.values["bucket_no_upscale"], "upscale = true", note)
        self._windows()
        fps = self.values.get("source_fps")
        if fps is not None:
            want(fps, (int, float), "a number of frames a second", f"{self.file}: source_fps")
            note = f"time is read from each file, and brought to {self.draft.member.fps} fps once, without their jitter"
            self.say("differs", "source_fps", fps, "the rate of each file", note)
        else:
            note = (
                f"theirs takes frames as they are, Sakuga reads their time and brings it to {self.draft.member.fps} fps"
            )
            self.say("differs", "source_fps", None, "the rate of each file", note)
        self.draft.rates[self.folder] = float(fps) if fps is not None else float(self.draft.member.fps)

    def _windows(self) -> None:
        rule = self.values.get("frame_extraction", "head")
        theirs = [name for name in RULES if name != "middle"]
        if rule not in theirs:
            raise SakugaError(
                f"{self.file}: frame_extraction = {rule!r} is none there{nearest(str(rule), theirs)}; it is {', '.join(theirs)}"
            )
        count = self.number("frame_sample", 1)
        if rule == "uniform" and count == 1:
            self.say(
                "differs",
                "frame_extraction",
                rule,
                'rule = "head"',
                "uniform with frame_sample 1 is head there, silently",
            )
            rule = "head"
        else:
            self.say("exact", "frame_extraction", self.values.get("frame_extraction"), f'rule = "{rule}"')
        self.section["rule"] = rule
        if rule == "uniform":
            note = "where windows coincide theirs writes one file twice; here they are one sample, and the plan names the clip"
            self._put("frame_sample", "count", count, 1, note)
        elif rule == "slide":
            self._put("frame_stride", "stride", self.number("frame_stride", 1), 1)
        if rule == "full":
            self._put("max_frames", "max_frames", self.number("max_frames", FULL_FRAMES), None)
        else:
            self._lengths()
        used = {"uniform": "frame_sample", "slide": "frame_stride", "full": "max_frames"}
        for owner_rule, key in used.items():
            if key in self.values and owner_rule != rule:
                self.say(
                    "ignored there",
                    key,
                    self.values[key],
                    "",
                    f"it takes part with frame_extraction {owner_rule} alone",
                )
        if rule == "full" and "target_frames" in self.values:
            note = "frame_extraction full takes whole clips"
            self.say("ignored there", "target_frames", self.values["target_frames"], "", note)

    def _lengths(self) -> None:
        given = want(
            self.values.get("target_frames", [1]), list, "a list of frame counts", f"{self.file}: target_frames"
        )
        for frames in given:
            if type(frames) is not int or frames < 1:
                raise SakugaError(f"{self.file}: target_frames holds {frames!r}; each is a whole number above zero")
        floor = self.draft.member.floor_frames
        frames = sorted({floor(length) for length in given})
        self.section["frames"] = frames
        note = "rounded down to what the model takes, as there" if frames != sorted(set(given)) else ""
        self.say("exact", "target_frames", self.values.get("target_frames"), f"frames = {frames}", note)
