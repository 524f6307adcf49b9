"""Reading diffusion-pipe's main configuration and the dataset file that it names, key by key.

It has no schema there: what stands in the wrong place, or is not known, is passed over without a word. Here what it is known
to pass over is told, and what nobody knows is an error.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import SakugaError, nearest
from ..core.family import FAMILY
from . import diffusion_pipe_keys as keys
from .diffusion_pipe_dataset import DatasetFile
from .draft import Draft, Later, expert_named, flux_shift, put_factor, rank_setting, take_file, take_range, whole_name
from .optimizers import take_optimizer
from .reading import another, check_keys, last_part, locate, read_table, want
from .report import SECRET

TRAINER = "diffusion-pipe"
_NAMES = (  # of official folders: what the path says, and which model it is
    (r"2\.?2.*ti2v.*5b|ti2v.*5b", "wan2.2-ti2v-5b"),
    (r"2\.?2.*i2v", "wan2.2-i2v-a14b"),
    (r"2\.?2.*t2v", "wan2.2-t2v-a14b"),
    (r"t2v.*1\.?3b", "wan2.1-t2v-1.3b"),
    (r"i2v.*14b", "wan2.1-i2v-14b"),
    (r"t2v.*14b", "wan2.1-t2v-14b"),
)
_OTHERS = re.compile(r"flf2v|vace|fun|skyreels|s2v|animate", re.IGNORECASE)


def read_diffusion_pipe(
    config: Path, words: Sequence[str], maps: Sequence[tuple[str, str]], model: str | None = None
) -> Draft:
    """The draft of a main configuration; `words` may name its dataset file where it lies elsewhere now.

    `model` goes before what the paths say. Raises SakugaError for what is not diffusion-pipe's, for unknown keys, and for a
    training that Sakuga has no model for.
    """
    table = read_table(config)
    if not isinstance(table.get("model"), dict) and not isinstance(table.get("adapter"), dict):
        raise another(config, table, "a configuration of diffusion-pipe, which has [model]")
    check_keys(table, [*keys.TOP, *keys.TABLES], config.name)
    for name, known in keys.TABLES.items():
        where = f"{config.name}: [{name}]"
        group = want(table.get(name, {}), dict, "a table", where)
        if name not in keys.OPEN:
            check_keys(group, known, where)
    draft = Draft(TRAINER, None, config.stem.removesuffix(".diffusion-pipe"))
    draft.model = model or _member(table.get("model", {}), config.name)
    draft.report.add("exact", "model: ckpt_path", table.get("model", {}).get("ckpt_path"), f'model = "{draft.model}"')
    dataset = _dataset(table, words, maps, config)
    if dataset is not None:
        DatasetFile(
            draft,
            dataset[1],
            dataset[0].name,
            (maps, dataset[0].parent),
            str(table.get("video_clip_mode", "single_beginning")),
        ).take()
    _Main(draft, table, config, maps).take()
    return draft


def _member(model: Mapping[str, Any], file: str) -> str:
    kind = model.get("type", "wan")
    if kind != "wan":
        raise SakugaError(f"{file} trains a model of type {kind!r}, and Sakuga the Wan models alone")
    said = f"{model.get('ckpt_path', '')} {model.get('transformer_path', '')}"
    if not _OTHERS.search(said):
        for pattern, name in _NAMES:
            if re.search(pattern, said, re.IGNORECASE):
                return name
    raise SakugaError(
        f"{file}: which model ckpt_path = {model.get('ckpt_path')!r} holds is not to be seen from its name; say --model, one of "
        f"{', '.join(name for name, member in FAMILY.items() if not member.tiny)}"
    )


def _dataset(
    table: Mapping[str, Any], words: Sequence[str], maps: Sequence[tuple[str, str]], config: Path
) -> tuple[Path, dict[str, Any]] | None:
    """The dataset file and what it says; None where none is named."""
    if not words and "dataset" not in table:
        return None
    given = words[0] if words else str(table["dataset"])
    path = locate(given, maps, (config.parent,)) or locate(last_part(given), (), (config.parent,))
    if path is None or not path.is_file():
        raise SakugaError(
            f"{config.name} names the dataset file {given}, which is not there; name its path after that of {config.name}"
        )
    found = read_table(path)
    if "directory" not in found:
        raise another(path, found, "a dataset file of diffusion-pipe, which has [[directory]]")
    return path, found


class _Main:
    """The main configuration."""

    def __init__(self, draft: Draft, table: Mapping[str, Any], config: Path, maps: Sequence[tuple[str, str]]) -> None:
        self.draft, self.table, self.config, self.maps = draft, table, config, maps
        self.model: Mapping[str, Any] = table.get("model", {})

    def take(self) -> None:
        self._fixed()
        self._models()
        self._adapter()
        self._optimizer()
        self._schedule()
        self._steps()
        self._noise()
        self._range()
        self._keeping()
        self._rest()
        self._untold()
        self._missing()

    def _untold(self) -> None:
        """What was given and has said nothing yet."""
        told = {later.there for later in self.draft.later}
        for group in ("", "model", "adapter"):
            where = f"{group}." if group else ""
            for key, value in (self.table.get(group, {}) if group else self.table).items():
                if key in keys.TABLES or key in told or self.draft.report.tells(where, key):
                    continue
                read = key in ("dataset", "type", "dropout", "sigmoid_scale", "uncond_fraction")
                note = "" if read else "it takes no part beside the other keys"
                self.say("exact" if read else "ignored there", f"{where}{key}", value, "", note)

    def say(self, kind: Any, key: str, value: Any, became: str = "", note: str = "") -> None:
        self.draft.report.add(kind, key, value, became, note)

    def put(self, kind: Any, key: str, setting: str, own: Any, note: str = "") -> None:
        group, _, name = key.rpartition(".")
        table = self.table.get(group, {}) if group else self.table
        unsaid = "" if name in table else "not given: what holds there; "
        self.draft.put(kind, key, table.get(name), setting, own, (unsaid + note).rstrip("; "))

    def number(
        self, key: str, default: Any = None, *, whole: bool = True, table: Mapping[str, Any] | None = None
    ) -> Any:
        value = (self.table if table is None else table).get(key, default)
        if value is None:
            return None
        kind: Any = int if whole else (int, float)
        return want(value, kind, "a whole number" if whole else "a number", f"{self.config.name}: {key}")

    def _fixed(self) -> None:
        """Keys whose fate is one whatever they say."""
        for group, known in (("", keys.TOP), *keys.TABLES.items()):
            table = self.table.get(group, {}) if group else self.table
            for key, value in table.items() if isinstance(table, dict) else ():
                fate = known.get(key)
                if fate is not None and fate.kind is not None:
                    shown = SECRET if key in keys.SECRETS else value
                    self.say(fate.kind, f"{group}.{key}" if group else key, shown, "", fate.about)
        for key in keys.MISPLACED & self.table.keys():
            note = "passed over there, since it stands outside [model]; refused here too: move it into [model] if it was meant"
            self.say("ignored there", key, self.table[key], "", note)

    def _models(self) -> None:
        member, beside = self.draft.member, self.config.parent
        if "transformer_path" in self.model:
            expert = expert_named(self.model.get("transformer_path"))
            role = "transformer" if len(member.experts) == 1 else expert or "low"
            given = str(self.model["transformer_path"])
            take_file(self.draft, "model.transformer_path", given, f"models.{role}", self.maps, beside)
        if "llm_path" in self.model:
            take_file(self.draft, "model.llm_path", str(self.model["llm_path"]), "models.text", self.maps, beside)
        if "ckpt_path" in self.model and "transformer_path" not in self.model:
            take_file(self.draft, "model.ckpt_path", str(self.model["ckpt_path"]), "models.folder", self.maps, beside)

    def _adapter(self) -> None:
        adapter = self.table.get("adapter")
        if adapter is None:
            return
        kind = adapter.get("type", "lora")
        if kind == "lora":
            self.say("exact", "adapter.type", kind, "a LoRA of the same layers")
        elif kind == "lokr":
            self.put("exact", "adapter.type", "train.adapter", "lokr")
            put_factor(self.draft, "adapter.decompose_factor", self.number("decompose_factor", -1, table=adapter))
        else:
            self.say(
                "refused",
                "adapter.type",
                kind,
                "a LoRA",
                f"{kind} is not there; Sakuga trains LoRA, LoKr and DoRA of the linear layers",
            )
        rank = self.number("rank", table=adapter)
        if rank is not None:
            self.put("exact", "adapter.rank", *rank_setting(self.draft, rank))
            self.draft.put(
                "exact", "adapter: (alpha)", None, "train.alpha", float(rank), "alpha is the rank there: scale 1"
            )
        if adapter.get("dropout"):
            dropout = float(self.number("dropout", whole=False, table=adapter))
            self.put("exact", "adapter.dropout", "train.dropout", dropout)
        if "exclude_modules" in adapter:
            self._excluded(adapter["exclude_modules"])
        if "init_from_existing" in adapter:
            given = str(adapter["init_from_existing"])
            take_file(
                self.draft, "adapter.init_from_existing", given, "train.start_from", self.maps, self.config.parent
            )

    def _excluded(self, given: Any) -> None:
        """Layers that are left out: a pattern of whole names, or a list of names or their ends, as peft has it."""
        patterns = (
            [whole_name(given)] if isinstance(given, str) else [rf"(?:^|\.){re.escape(str(end))}$" for end in given]
        )
        self.put("exact", "adapter.exclude_modules", "train.exclude", patterns)

    def _optimizer(self) -> None:
        table = self.table.get("optimizer")
        if table is None:
            return
        values = {key: value for key, value in table.items() if key not in ("type", "gradient_release")}
        given = values.get("lr")
        if given is None and "type" in table:
            values.pop("lr", None)
        take_optimizer(self.draft, "optimizer.type", str(table.get("type", "adamw")), values, None)

    def _schedule(self) -> None:
        clipping = self.number("gradient_clipping", 1.0, whole=False)
        if clipping:
            self.put("exact", "gradient_clipping", "train.max_norm", float(clipping))
        else:
            self.say(
                "refused",
                "gradient_clipping",
                clipping,
                "",
                "gradients are always clipped here; set train.max_norm high",
            )
        name = str(self.table.get("lr_scheduler", "constant"))
        if name == "constant":
            self.put("exact", "lr_scheduler", "train.schedule", name)
        elif name == "cosine":
            self.put("differs", "lr_scheduler", "train.schedule", name, "theirs ends at 1e-6, Sakuga's at nothing")
        elif name == "linear":
            capped = "max_steps" in self.table
            note = "theirs would end after all epochs, Sakuga's ends at train.steps" if capped else ""
            self.put("differs" if capped else "exact", "lr_scheduler", "train.schedule", name, note)
        else:
            self.put(
                "refused",
                "lr_scheduler",
                "train.schedule",
                "constant",
                f"{name} is not there; choose constant, cosine, linear or wsd",
            )
        self.put("exact", "warmup_steps", "train.warmup", self.number("warmup_steps", 0))
        self._loss()

    def _loss(self) -> None:
        for key, kind, note in (
            ("huber_delta", "exact", ""),
            (
                "smooth_l1_beta",
                "differs",
                "theirs is Huber's loss over beta, which scales the gradients before they are clipped",
            ),
        ):
            if (delta := self.number(key, whole=False)) is not None and float(delta) > 0:
                self.draft.settings["train.loss"] = "huber"
                self.put(kind, key, "train.huber_delta", float(delta), note)

    def _steps(self) -> None:
        if "epochs" in self.table:
            self.put("exact", "epochs", "train.epochs", self.number("epochs"))
        if "max_steps" in self.table:
            note = "it ends the training whatever the epochs say; there, what comes first"
            self.put(
                "differs" if "epochs" in self.table else "exact",
                "max_steps",
                "train.steps",
                self.number("max_steps"),
                note,
            )
        micro, least = self._micro("micro_batch_size_per_gpu", 1)
        grown = self.number("gradient_accumulation_steps", 1)
        note = "a step mixes samples of all buckets, and what does not fill a batch is trained too; theirs drops it"
        note += "; the batch depends on the size there, the largest was taken for the step" if micro != least else ""
        kind = "differs" if micro * grown > 1 else "exact"
        self.put(
            kind, "gradient_accumulation_steps", "train.accumulation", micro * grown, note if kind == "differs" else ""
        )
        self.put("exact", "micro_batch_size_per_gpu", "train.batch", least)
        pictures, _ = self._micro("image_micro_batch_size_per_gpu", micro)
        if "image_micro_batch_size_per_gpu" in self.table:
            names = [name for name, section in self.draft.sections.items() if section["items"] == "stills"]
            for name in names:
                self.draft.sections[name]["batch"] = pictures
            self.say("differs", "image_micro_batch_size_per_gpu", self.table["image_micro_batch_size_per_gpu"],
                     f"batch = {pictures} of {', '.join(names) or 'no section'}", "what is computed at once; a step has as many "
                     "samples for all sections")  # fmt: skip

    def _micro(self, key: str, default: int) -> tuple[int, int]:
        """The largest and the least batch: one number, or [[resolution, batch], ...]."""
        given = self.table.get(key, default)
        sizes = (
            [pair[1] if isinstance(pair, list) and len(pair) == 2 else pair for pair in given]
            if isinstance(given, list)
            else [given]
        )
        for size in sizes:
            want(size, int, "a number, or [[resolution, batch], ...]", f"{self.config.name}: {key}")
        return max(sizes), min(sizes)

    def _noise(self) -> None:
        if not self.model:
            return
        way = str(self.model.get("timestep_sample_method", "logit_normal"))
        times = {"logit_normal": "sigmoid", "uniform": "uniform"}
        if way not in times:
            raise SakugaError(
                f"{self.config.name}: timestep_sample_method = {way!r} is none there{nearest(way, list(times))}"
            )
        self.put("exact", "model.timestep_sample_method", "train.time", times[way])
        if way == "logit_normal" and "sigmoid_scale" in self.model:
            scale = float(self.number("sigmoid_scale", whole=False, table=self.model))
            self.put("exact", "model.sigmoid_scale", "train.time_scale", scale)
        if "shift" in self.model or not self.model.get("flux_shift"):
            note = "" if "shift" in self.model else "no shift: composition and motion are hardly trained"
            shift = float(self.number("shift", 1.0, whole=False, table=self.model))
            self.put("exact", "model.shift", "train.shift", shift, note)
            if self.model.get("flux_shift"):
                self.say("ignored there", "model.flux_shift", True, "", "shift goes before it")
            return
        shifts = {name: round(flux_shift(*s["resolution"]), 4) for name, s in self.draft.sections.items()}
        told = ", ".join(f"{name} {shift:g}" for name, shift in shifts.items()) or "no section to count it for"
        first = next(iter(shifts.values()), 1.0)
        self.put(
            "differs",
            "model.flux_shift",
            "train.shift",
            first,
            f"theirs depends on the size ({told}); here one shift holds",
        )

    def _range(self) -> None:
        member = self.draft.member
        low = self.number("min_t", 0.0, whole=False, table=self.model)
        high = self.number("max_t", 1.0, whole=False, table=self.model)
        if "min_t" in self.model or "max_t" in self.model:
            take_range(self.draft, "model.min_t, max_t", float(low), float(high), squeezed=False)
            if "train.experts" not in self.draft.settings and len(member.experts) == 1 and (low, high) == (0, 1):
                self.say("exact", "model.min_t, max_t", [low, high], "", "all noise levels")
        if "train.experts" not in self.draft.settings and len(member.experts) > 1 and self.model:
            named = expert_named(self.model.get("transformer_path"))
            names = [named] if named else [expert.name for expert in member.experts]
            note = "theirs trains this expert on all noise levels; here it sees its own"
            note = note if named else "which expert is not said; both are trained, each on its own noise levels"
            self.draft.put(
                "differs", "model.transformer_path", self.model.get("transformer_path"), "train.experts", names, note
            )

    def _keeping(self) -> None:
        """How often checkpoints and validations are made: in epochs, steps or examples."""
        for setting, what in (("train.save_every", "save"), ("train.validate_every", "eval")):
            steps, epochs, examples = (f"{what}_every_n_{unit}" for unit in ("steps", "epochs", "examples"))
            if (number := self.number(steps)) is not None:
                self.put("exact", steps, setting, number)
            elif (number := self.number(examples)) is not None:
                own = max(1, number // int(self.draft.settings.get("train.accumulation", 1)))
                self.put("exact", examples, setting, own, "in steps of so many samples")
            elif (number := self.number(epochs, whole=False)) is not None:
                self.draft.later.append(Later(setting, epochs, "epochs", float(number)))

    def _rest(self) -> None:
        checkpointing = self.table.get("activation_checkpointing", False)
        note = "what it moves to memory, Sakuga does not yet" if checkpointing == "unsloth" else ""
        kind = "differs" if note else "exact"
        if self._whole():
            self.put(kind, "activation_checkpointing", "train.checkpointing", bool(checkpointing), note)
        if (dropout := self.number("uncond_fraction", whole=False)) is not None:
            note = "theirs shows an empty caption, Sakuga the negative prompt"
            self.put("differs", "uncond_fraction", "train.caption_dropout", float(dropout), note)
        kinds = {"bfloat16": "bf16", "float32": "fp32"}
        precision = self.model.get("dtype")
        if precision in kinds:
            self.put("exact", "model.dtype", "train.precision", kinds[precision])
        elif precision is not None:
            self.say(
                "refused", "model.dtype", precision, "", "Sakuga computes in bf16 or fp32, and chooses by the device"
            )
        if "save_dtype" in self.table:
            saved = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}.get(str(self.table["save_dtype"]))
            if saved:
                self.put(
                    "exact", "save_dtype", "publish.precision", saved, "checkpoints of a run are kept in full precision"
                )
            else:
                self.say(
                    "refused", "save_dtype", self.table["save_dtype"], "", "published files are bf16, fp16 or fp32"
                )
        if "eval_datasets" in self.table:
            note = "Sakuga holds a share of the items out instead; the folders for evaluation are not adopted"
            self.put("differs", "eval_datasets", "plan.holdout", 0.05, note)
        elif self._whole():
            self.draft.put("exact", "(no evaluation)", None, "plan.holdout", 0.0, "nothing is held out there")
        self.say(
            "differs",
            "(seed)",
            None,
            "train.seed = 1",
            "theirs draws noise without a seed; Sakuga's runs can be made again",
        )

    def _whole(self) -> bool:
        """Whether this is a configuration rather than a part of one."""
        return "dataset" in self.table or "epochs" in self.table

    def _missing(self) -> None:
        for key, holds in keys.REQUIRED.items():
            group, _, name = key.rpartition(".")
            table = self.table.get(group, {}) if group else self.table
            there = name in table or (key == "dataset" and self.draft.sections)
            if not there and not (key in keys.SAVING and keys.SAVING & self.table.keys()):
                self.say("differs", key, None, holds, "it is missing from the file")
