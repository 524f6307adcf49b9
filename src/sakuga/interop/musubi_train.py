"""The arguments of musubi-tuner's training, as settings of ours."""

import ast
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.errors import SakugaError
from . import musubi_keys as keys
from .draft import Draft, Later, expert_named, flux_shift, put_factor, rank_setting, take_range, whole_name
from .optimizers import take_optimizer

# What holds there where nothing is said.
LEARNING_RATE, RANK, ALPHA, STEPS = 2e-6, 4, 1.0, 1600
TIME_STEPS = 1000  # their time steps are a thousand times the noise level
PREVIEWS = (
    "theirs previews at 256x256, one frame, shift 14.5 and 24 fps where a line does not say; ours at the largest bucket"
)
SIGMA = "their default mode, sigma: uniform noise levels, whatever the shift"
WRONG_WAY = "their sigma mode trains the wrong noise range: min {0:g} max {1:g} trains t {2:.3f}-{3:.3f}"
QUIET = {"verbose"}  # of network_args: they change no result


class Training:
    """The arguments of the training command."""

    def __init__(self, draft: Draft, arguments: Mapping[str, Any]) -> None:
        self.draft, self.arguments = draft, arguments

    def take(self, batches: Sequence[int]) -> None:
        self._network()
        self._optimizer()
        self._schedule()
        self._steps(batches)
        self._noise()
        self._experts()
        self._keeping()
        self._rest()
        self._untold()

    def _untold(self) -> None:
        """What was given and has said nothing yet: files that were read, and what takes no part here."""
        told = {later.there.removeprefix("train: ") for later in self.draft.later}
        for key in self.arguments:
            if key in told or self.draft.report.tells("train: ", key):
                continue
            read = key in ("dataset_config", "config_file", "optimizer_args")
            self.say("exact" if read else "ignored there", key, "", keys.TRAIN[key].about)

    def value(self, key: str, kind: type, default: Any = None) -> Any:
        """An argument as a number; a word where none is wanted is a fault."""
        given = self.arguments.get(key, default)
        try:
            return None if given is None else kind(given)
        except (TypeError, ValueError) as error:
            wanted = "a whole number" if kind is int else "a number"
            raise SakugaError(f"wan_train_network: --{key} takes {wanted}, not {given!r}; correct it") from error

    def put(self, kind: Any, key: str, setting: str, own: Any, note: str = "") -> None:
        unsaid = "" if key in self.arguments else "not given: what holds there; "
        self.draft.put(kind, f"train: {key}", self.arguments.get(key), setting, own, (unsaid + note).rstrip("; "))

    def say(self, kind: Any, key: str, became: str = "", note: str = "") -> None:
        self.draft.report.add(kind, f"train: {key}", self.arguments.get(key), became, note)

    def _network(self) -> None:
        module = str(self.arguments.get("network_module", "networks.lora_wan"))
        if module == "networks.lokr":
            self.put("exact", "network_module", "train.adapter", "lokr")
        elif module != "networks.lora_wan":
            self.say(
                "refused",
                "network_module",
                "a LoRA",
                f"{module} is not there; Sakuga trains LoRA, LoKr and DoRA of the linear layers",
            )
        elif "network_module" in self.arguments:
            self.say("exact", "network_module", "a LoRA of the same layers")
        rank = self.value("network_dim", int, RANK)
        self.put("exact", "network_dim", *rank_setting(self.draft, rank))
        alpha = self.value("network_alpha", float, ALPHA)
        scale = f"the LoRA is scaled by alpha / rank = {alpha / max(rank, 1):g}"
        weak = (
            ", which makes it learn slowly; it was not chosen but left out"
            if "network_alpha" not in self.arguments
            else ""
        )
        self.put("exact", "network_alpha", "train.alpha", alpha, scale + weak)
        if dropout := self.value("network_dropout", float):
            note = "theirs zeroes what comes between A and B, Sakuga what goes into A"
            self.put("differs", "network_dropout", "train.dropout", dropout, note)
        self._layers()

    def _layers(self) -> None:
        """The arguments of the network itself: which layers it has, and how fast B learns."""
        words = dict(argument.partition("=")[::2] for argument in self.arguments.get("network_args", []))
        for key, text in words.items():
            there = f"train: network_args.{key}"
            if key in QUIET:
                self.draft.report.add("exact", there, text, "", "it changes no result")
            elif key == "loraplus_lr_ratio":
                self.draft.put("exact", there, text, "train.lora_plus", _literal(there, text, float))
            elif key == "factor":
                put_factor(self.draft, there, _literal(there, text, int))
            elif key == "exclude_patterns":
                rescued = "".join(
                    f"(?!{whole_name(p)})" for p in _literal(there, words.get("include_patterns", "[]"), list)
                )
                patterns = [
                    f"{rescued}{whole_name(p)}" if rescued else whole_name(p) for p in _literal(there, text, list)
                ]
                self.draft.put("exact", there, text, "train.exclude", patterns, "they match whole names there")
            elif key == "include_patterns":
                note = "they only bring back what exclude_patterns leaves out, and are written into train.exclude"
                kind: Any = "exact" if "exclude_patterns" in words else "ignored there"
                self.draft.report.add(kind, there, text, "", note)
            else:
                note = "this part of its LoRA is not there in Sakuga"
                self.draft.report.add("refused", there, text, "", note)

    def _optimizer(self) -> None:
        values: dict[str, Any] = {}
        for argument in self.arguments.get("optimizer_args", []):
            key, _, text = argument.partition("=")
            try:
                values[key] = ast.literal_eval(text)
            except (ValueError, SyntaxError) as error:
                raise SakugaError(f"--optimizer_args {argument!r} is not of the form key=value; correct it") from error
        rate = self.value("learning_rate", float, LEARNING_RATE)
        name = str(self.arguments.get("optimizer_type", ""))
        if take_optimizer(self.draft, "train: optimizer_type", name, values, rate):
            if "learning_rate" not in self.arguments:
                self.say("exact", "learning_rate", f"train.learning_rate = {rate:g}", "not given: what holds there")
        else:
            self.say("refused", "learning_rate", "", "it was chosen for another optimizer; Sakuga's own stands")
        self.put("exact", "max_grad_norm", "train.max_norm", self.value("max_grad_norm", float, 1.0))

    def _schedule(self) -> None:
        name = str(self.arguments.get("lr_scheduler", "constant"))
        ours = {"constant": "constant", "constant_with_warmup": "constant", "cosine": "cosine", "linear": "linear"}
        if name in ours:
            self.put("exact", "lr_scheduler", "train.schedule", ours[name])
        elif name == "warmup_stable_decay":
            self._stable()
        else:
            self.put(
                "refused",
                "lr_scheduler",
                "train.schedule",
                "constant",
                f"{name} is not there; choose constant, cosine, linear or wsd",
            )
        warmup = self.value("lr_warmup_steps", float, 0)
        if not warmup:
            return
        if name == "constant":
            self.say(
                "ignored there", "lr_warmup_steps", "", "constant has no warmup there; set train.warmup if it was meant"
            )
        elif warmup < 1:
            self.draft.later.append(Later("train.warmup", "train: lr_warmup_steps", "share", warmup))
        else:
            self.put("exact", "lr_warmup_steps", "train.warmup", int(warmup))

    def _stable(self) -> None:
        """Warm-up, stable, decay: the decay is steps or a share of all there, and a share here."""
        self.put(
            "differs", "lr_scheduler", "train.schedule", "wsd", "theirs falls along half a cosine, Sakuga along a line"
        )
        decay = self.value("lr_decay_steps", float, 0)
        steps = None if "max_train_epochs" in self.arguments else self.value("max_train_steps", int, STEPS)
        if 0 < decay < 1:
            self.put("exact", "lr_decay_steps", "train.decay", decay)
        elif decay and steps:
            self.put("exact", "lr_decay_steps", "train.decay", min(1.0, round(decay / steps, 6)), f"of {steps} steps")
        else:
            note = (
                "set train.decay to its share of all steps"
                if decay
                else "without it the rate never falls there; set constant"
            )
            self.say("refused", "lr_decay_steps", "", note)

    def _steps(self, batches: Sequence[int]) -> None:
        most, own = max(batches), self.value("gradient_accumulation_steps", int, 1)
        note = (
            "a step mixes samples of all buckets, and no partial batch counts as a whole one" if most * own > 1 else ""
        )
        note += "; the batch sizes differ there, the largest was taken" if len(set(batches)) > 1 else ""
        kind = "differs" if most > 1 else "exact"
        self.put(kind, "gradient_accumulation_steps", "train.accumulation", most * own, note)
        both = "each expert sees that many; theirs shares them among both" if "dit_high_noise" in self.arguments else ""
        if (epochs := self.value("max_train_epochs", int)) is not None:
            self.put("differs" if both else "exact", "max_train_epochs", "train.epochs", epochs, both)
            if "max_train_steps" in self.arguments:
                self.say("ignored there", "max_train_steps", "", "max_train_epochs goes before it")
        else:
            steps = self.value("max_train_steps", int, STEPS)
            self.put("differs" if both else "exact", "max_train_steps", "train.steps", steps, both)

    def _noise(self) -> None:
        """How noise levels are drawn. x = sigmoid(z) or uniform, then t = S x / (1 + (S - 1) x)."""
        way = str(self.arguments.get("timestep_sampling", "sigma"))
        shift = self.value("discrete_flow_shift", float, 1.0)
        times = {
            "shift": "sigmoid",
            "sigmoid": "sigmoid",
            "uniform": "uniform",
            "flux_shift": "sigmoid",
            "logsnr": "sigmoid",
        }
        self._weighting(way)
        if way == "sigma":
            self._sigma()
        elif way in times:
            self.put("exact", "timestep_sampling", "train.time", times[way])
        else:
            self.put(
                "refused",
                "timestep_sampling",
                "train.time",
                "sigmoid",
                f"{way} is not there; shift {shift:g} stands for it",
            )
        if way == "flux_shift":
            self._spread()
            self._by_size()
            return
        held = shift if way == "shift" or way not in (*times, "sigma") else 1.0
        ignored = held != shift
        note = f"{way} ignores it" if ignored else ""
        self.put("ignored there" if ignored else "exact", "discrete_flow_shift", "train.shift", held, note)
        if way == "logsnr":
            self._normal(-0.5, "t = sigmoid(-z / 2) of their normal z")
        elif times.get(way) == "sigmoid":
            self._spread()

    def _spread(self) -> None:
        if "sigmoid_scale" in self.arguments:
            self.put("exact", "sigmoid_scale", "train.time_scale", self.value("sigmoid_scale", float))

    def _normal(self, factor: float, note: str) -> None:
        """Their logit_mean and logit_std as those of logit(t), which is their normal variable times `factor`."""
        mean, spread = self.value("logit_mean", float, 0.0), self.value("logit_std", float, 1.0)
        self.put("exact", "logit_mean", "train.time_mean", factor * mean + 0.0, note)
        self.put("exact", "logit_std", "train.time_scale", abs(factor) * spread, note)

    def _sigma(self) -> None:
        scheme = str(self.arguments.get("weighting_scheme", "none"))
        if scheme == "logit_normal":
            self.put("exact", "timestep_sampling", "train.time", "sigmoid", f"{SIGMA}; logit_normal draws them")
            self._normal(-1.0, "t = 1 - sigmoid(z) there: their table of levels descends")
            return
        self.put("exact", "timestep_sampling", "train.time", "uniform", SIGMA)
        if scheme == "mode":
            self.say("refused", "weighting_scheme", "", "mode is not there; the noise levels are uniform")

    def _weighting(self, way: str) -> None:
        """The weight of a noise level; logit_normal and mode say how sigma draws them, and nothing elsewhere."""
        scheme = str(self.arguments.get("weighting_scheme", "none"))
        if scheme in ("none", "sigma_sqrt", "cosmap"):
            if "weighting_scheme" in self.arguments:
                self.put("exact", "weighting_scheme", "train.weighting", scheme)
        elif way != "sigma":
            self.say("ignored there", "weighting_scheme", "", f"{scheme} takes part with sigma alone")

    def _by_size(self) -> None:
        """A shift that depends on the size: written out for the first section, told for the others."""
        shifts = {name: round(flux_shift(*s["resolution"]), 4) for name, s in self.draft.sections.items()}
        told = ", ".join(f"{name} {shift:g}" for name, shift in shifts.items())
        first = next(iter(shifts.values()))
        note = f"theirs depends on the size ({told}); here one shift holds for all sections"
        self.draft.put("differs", "train: timestep_sampling", "flux_shift", "train.shift", first, note)

    def _experts(self) -> None:
        member, way = self.draft.member, str(self.arguments.get("timestep_sampling", "sigma"))
        self._boundary()
        if self.draft.pair:
            names = [expert.name for expert in member.experts]
            self.put("exact", "dit", "train.experts", names, "two trainings there, one for each expert, as here")
            return
        if "dit_high_noise" in self.arguments:
            note = "theirs trains one LoRA for both, at random; here each expert has its own, one after the other"
            names = [expert.name for expert in member.experts]
            self.put("differs", "dit_high_noise", "train.experts", names, note)
            return
        low = self.value("min_timestep", int, 0)
        high = self.value("max_timestep", int, TIME_STEPS)
        t_min, t_max = low / TIME_STEPS, high / TIME_STEPS
        ranged = "min_timestep" in self.arguments or "max_timestep" in self.arguments
        if ranged and way == "sigma":
            wrong = WRONG_WAY.format(low, high, 1 - t_max, 1 - t_min)
            note = f"{wrong}; here the range that was meant is trained"
            self.draft.report.add("differs", "train: min_timestep, max_timestep", [low, high], "", note)
        if ranged:
            # a part of uniform levels is uniform, squeezed or cut off
            squeezed = "preserve_distribution_shape" not in self.arguments and way not in ("sigma", "uniform")
            take_range(self.draft, "train: min_timestep, max_timestep", t_min, t_max, squeezed)
        if "train.experts" not in self.draft.settings and len(member.experts) > 1:
            named = expert_named(self.arguments.get("dit"))
            note = "theirs trains these weights on all noise levels; here an expert sees its own"
            note += "" if named else "; which expert they are is not to be seen, so that both are trained"
            names = [named] if named else [expert.name for expert in member.experts]
            self.put("differs", "dit", "train.experts", names, note)
        if "preserve_distribution_shape" in self.arguments:
            kind = "exact" if ranged and way != "sigma" else "ignored there"
            self.say(kind, "preserve_distribution_shape", "", "Sakuga never squeezes the distribution into a range")

    def _boundary(self) -> None:
        given = self.value("timestep_boundary", float)
        if given is None:
            return
        level = given / TIME_STEPS if given > 1 else given
        own = self.draft.member.boundary
        if own is not None and math.isclose(level, own, abs_tol=1e-6):
            self.say("exact", "timestep_boundary", "a fact of the model")
        else:
            self.say(
                "refused",
                "timestep_boundary",
                "",
                f"the boundary of {self.draft.member.title} is {own}; it is not chosen",
            )

    def _keeping(self) -> None:
        """How often checkpoints and previews are made."""
        for setting, what in (("train.save_every", "save"), ("train.preview_every", "sample")):
            epochs, steps = f"{what}_every_n_epochs", f"{what}_every_n_steps"
            if (number := self.value(steps, int)) is not None:
                self.put("exact", steps, setting, number)
            elif (number := self.value(epochs, int)) is not None:
                self.draft.later.append(Later(setting, f"train: {epochs}", "epochs", number))
        if self.draft.prompts:
            note = f"the file is copied into the project; {PREVIEWS}"
            self.put("differs", "sample_prompts", "train.prompts", "prompts.txt", note)

    def _rest(self) -> None:
        if (seed := self.value("seed", int)) is not None:
            note = "order and noise are Sakuga's own, so that the same seed draws others"
            self.put("differs", "seed", "train.seed", seed, note)
        else:
            self.say("differs", "seed", "train.seed = 1", "theirs draws one by chance; Sakuga's runs can be made again")
        if self.arguments.get("gradient_checkpointing"):
            self.put("exact", "gradient_checkpointing", "train.checkpointing", True)
        else:
            self.put("exact", "gradient_checkpointing", "train.checkpointing", False)
        self._precision()
        plain_settings = {
            "metadata_title": "title", "metadata_author": "author", "metadata_license": "licence",
            "metadata_description": "description",
        }  # fmt: skip
        for key, own in plain_settings.items():
            if key in self.arguments:
                self.put("exact", key, f"publish.{own}", str(self.arguments[key]))
        if "output_name" in self.arguments:
            self.draft.name = str(self.arguments["output_name"])
            self.say("exact", "output_name", "the project's name", "where --into gives none")
        held = "nothing is held out there; a share above 0 gives a validation loss"
        self.draft.put("exact", "(no validation)", None, "plan.holdout", 0.0, held)

    def _precision(self) -> None:
        known = {"bf16": "bf16", "no": "fp32", "fp32": "fp32", "float32": "fp32", "bfloat16": "bf16", "fp16": "fp16",
                 "float16": "fp16", "float": "fp32"}  # fmt: skip
        precision = known.get(str(self.arguments.get("mixed_precision", "")))
        if precision in ("bf16", "fp32"):
            self.put("exact", "mixed_precision", "train.precision", precision)
        elif "mixed_precision" in self.arguments:
            self.say("refused", "mixed_precision", "", "Sakuga computes in bf16 or fp32, and chooses by the device")
        saved = known.get(str(self.arguments.get("save_precision", "")))
        if saved is not None:
            self.put(
                "exact", "save_precision", "publish.precision", saved, "checkpoints of a run are kept in full precision"
            )
        elif "save_precision" in self.arguments:
            self.say("refused", "save_precision", "", "published files are bf16, fp16 or fp32")


def _literal(there: str, text: str, kind: type) -> Any:
    """A value as Python writes it, of a kind."""
    try:
        return kind(ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError) as error:
        wanted = "a list of patterns, ['...']" if kind is list else "a number"
        raise SakugaError(f"{there} takes {wanted}, not {text!r}; correct it") from error
