"""diffusion-pipe's dataset file: a section for each directory, resolution and kind of item."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import SakugaError, nearest
from . import diffusion_pipe_keys as keys
from .buckets import aspect_sizes, aspects
from .draft import Draft
from .reading import check_keys, kinds_in, locate, want


class DatasetFile:
    """The dataset file: a section for each directory, resolution and kind of item."""

    def __init__(
        self, draft: Draft, table: Mapping[str, Any], file: str, here: tuple[Sequence[tuple[str, str]], Path], mode: str
    ) -> None:
        self.draft, self.table, self.file, self.maps, self.beside, self.mode = draft, table, file, *here, mode
        self.where = "dataset"
        self.values: dict[str, Any] = {}

    def take(self) -> None:
        check_keys(self.table, [*keys.DATASET, "directory"], self.file)
        entries = want(self.table["directory"], list, "[[directory]] tables", f"{self.file}: directory")
        common = {key: value for key, value in self.table.items() if key != "directory"}
        for number, entry in enumerate(entries, start=1):
            self.where = f"directory {number}"
            own = want(entry, dict, "a table", f"{self.file}: {self.where}")
            check_keys(own, keys.DATASET | keys.DIRECTORY, f"{self.file}: {self.where}")
            self.values = {**common, **own}
            self._directory()

    def say(self, kind: Any, key: str, value: Any, became: str = "", note: str = "") -> None:
        self.draft.report.add(kind, f"{self.where}: {key}", value, became, note)

    def _directory(self) -> None:
        folder = want(self.values.get("path"), str, "a path", f"{self.file}: {self.where}: path")
        for name, value in self.values.items():
            fixed = (keys.DATASET | keys.DIRECTORY)[name]
            if fixed.kind is not None:
                used = value not in (False, 0, "", None)
                self.say(fixed.kind if used else "exact", name, value, "", fixed.about if used else "it is not used")
        self._prefix()
        self._masks(folder)
        stills, clips = self._kinds(folder)
        repeats = self._repeats()
        for base in self._sizes():
            section = base | ({"repeats": repeats} if repeats != 1 else {})
            if stills:
                self.draft.section("stills", dict(section), folder)
            if clips and (windows := self._windows()):
                self.draft.section("clips", section | windows, folder)
        self.say("exact", "path", folder, "", "the folder is adopted as it is")
        for key, value in self.values.items():
            if not self.draft.report.tells(f"{self.where}: ", key):
                self.say("ignored there", key, value, "", "it takes no part beside the other keys")

    def _kinds(self, folder: str) -> tuple[bool, bool]:
        """Whether the directory holds stills and clips; both where it cannot be looked into."""
        place = locate(folder, self.maps, (self.beside,))
        stills, clips = kinds_in(place) if place is not None and place.is_dir() else (True, True)
        if stills and self.draft.member.task == "i2v":
            self.say(
                "refused",
                "path",
                folder,
                "",
                "an image-to-video model learns nothing from stills; theirs ends with an error",
            )
            stills = False
        return stills, clips

    def _prefix(self) -> None:
        prefix = str(self.values.get("caption_prefix", ""))
        if prefix:
            trigger = prefix.strip().rstrip(".,;:")
            note = "captions stay as their person wrote them; `sakuga check` names those that do not start with it"
            self.draft.put("differs", f"{self.where}: caption_prefix", prefix, "trigger", trigger, note)

    def _masks(self, folder: str) -> None:
        """Those of items by name come first: the default is for what then has none."""
        for key in ("mask_path", "default_mask_file"):
            if given := want(self.values.get(key, ""), str, "a path", f"{self.file}: {self.where}: {key}"):
                self.draft.masks.append((folder, given))
                note = "theirs takes the mean of the loss over the whole picture, Sakuga over what counts"
                self.say("differs", key, given, f"masks of {folder}", note)

    def _repeats(self) -> int:
        given = want(
            self.values.get("num_repeats", 1), (int, float), "a number above zero", f"{self.file}: num_repeats"
        )
        whole = max(1, round(given))
        if whole != given:
            self.say(
                "differs",
                "num_repeats",
                given,
                f"repeats = {whole}",
                "theirs takes a part of the items, here all or none repeat",
            )
        elif "num_repeats" in self.values:
            self.say("exact", "num_repeats", given, f"repeats = {whole}")
        return whole

    def _sizes(self) -> list[dict[str, Any]]:
        """The size settings of each resolution."""
        if "size_buckets" in self.values:
            return [self._size_buckets()]
        given = want(
            self.values.get("resolutions"), list, "a list of side lengths or [w, h]", f"{self.file}: resolutions"
        )
        sides = [(r[0] * r[1]) ** 0.5 if isinstance(r, list) and len(r) == 2 else r for r in given]
        for side, told in zip(sides, given, strict=True):
            want(side if side else told, (int, float), "side lengths or [w, h]", f"{self.file}: resolutions")
        note = "every item is trained at every resolution: a section for each" if len(sides) > 1 else ""
        self.say("exact", "resolutions", given, f"{len(sides)} sections for each kind of item", note)
        return [self._resolution(round(float(side), 3)) for side in dict.fromkeys(sides)]

    def _resolution(self, side: float) -> dict[str, Any]:
        step = self.draft.member.side_step
        if not self.values.get("enable_ar_bucket", False):
            square = list(aspect_sizes(side, [1.0], step)[0])
            self.say("exact", "enable_ar_bucket", self.values.get("enable_ar_bucket"), f"resolution = {square}, buckets = false",
                     "every picture is cropped to a square, as there")  # fmt: skip
            return {"resolution": square, "buckets": False, "upscale": True}
        sizes = [list(size) for size in aspect_sizes(side, self._aspects(), step)]
        note = "the nearest is that of the rounded size here, that of the aspect before rounding there: rarely another"
        self.say("differs", "enable_ar_bucket", True, f"sizes = {sizes}", note)
        area = [round(side), round(side)]
        return {"resolution": area, "sizes": sizes, "nearest": "log-aspect", "upscale": True}

    def _aspects(self) -> list[float]:
        if "ar_buckets" in self.values:
            given = want(self.values["ar_buckets"], list, "a list of aspects or [w, h]", f"{self.file}: ar_buckets")
            self.say("exact", "ar_buckets", given)
            return [float(r[0] / r[1]) if isinstance(r, list) else float(r) for r in given]
        numbers = {"min_ar": (int, float), "max_ar": (int, float), "num_ar_buckets": (int,)}
        for key, kind in numbers.items():
            want(self.values.get(key), kind, "a number, where ar_buckets are not given", f"{self.file}: {key}")
            self.say("exact", key, self.values[key])
        return aspects(float(self.values["min_ar"]), float(self.values["max_ar"]), self.values["num_ar_buckets"])

    def _size_buckets(self) -> dict[str, Any]:
        given = want(self.values["size_buckets"], list, "a list of [w, h, frames]", f"{self.file}: size_buckets")
        for bucket in given:
            right = isinstance(bucket, list) and len(bucket) == 3 and all(type(n) is int and n > 0 for n in bucket)
            want(bucket if right else None, list, "[w, h, frames]", f"{self.file}: size_buckets")
        lengths: dict[tuple[int, int], set[int]] = {}
        for width, height, frames in given:
            lengths.setdefault((width, height), set()).add(frames)
        self.values = {**self.values, "frame_buckets": sorted(set().union(*lengths.values()))}
        alike = len({frozenset(found) for found in lengths.values()}) == 1
        note = "" if alike else "lengths that only some sizes have are taken at every size here"
        self.say(
            "exact" if alike else "differs", "size_buckets", given, f"sizes = {[list(size) for size in lengths]}", note
        )
        sizes = [list(size) for size in lengths]
        return {
            "resolution": max(sizes, key=lambda size: size[0] * size[1]),
            "sizes": sizes,
            "nearest": "log-aspect",
            "upscale": True,
        }

    def _windows(self) -> dict[str, Any]:
        """Lengths above one: a video never goes to the bucket of single frames there."""
        rules = {"single_beginning": "head", "single_middle": "middle"}
        if self.mode not in rules:
            names = list(rules)
            raise SakugaError(
                f"video_clip_mode = {self.mode!r} is none any more{nearest(self.mode, names)}; it is {' or '.join(names)}"
            )
        given = want(
            self.values.get("frame_buckets", [1]), list, "a list of frame counts", f"{self.file}: frame_buckets"
        )
        floor = self.draft.member.floor_frames
        longer = sorted(want(n, int, "whole numbers", f"{self.file}: frame_buckets") for n in given if n != 1)
        frames = sorted({floor(n) for n in longer})
        if not frames:
            note = "theirs drops every video, since it has no bucket of more than one frame; set frame_buckets"
            self.say("ignored there", "frame_buckets", given, "", note)
            return {}
        odd = [n for n in longer if floor(n) != n]
        note = (
            f"{odd} are rounded down, so that a clip just long enough for the rounded length is taken here"
            if odd
            else ""
        )
        self.say("differs" if odd else "exact", "frame_buckets", given, f'frames = {frames}, lengths = "longest"', note)
        self.say("exact", "video_clip_mode", self.mode, f'rule = "{rules[self.mode]}"')
        return {"rule": rules[self.mode], "frames": frames, "lengths": "longest"}
