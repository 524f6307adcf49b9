"""The settings of training: of the run, of an expert where it has its own, and of the phases that change them on the way."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from .adapters import MOST_RANK, Kind
from .errors import SakugaError
from .family import Expert, Member
from .files import safe_stem
from .setting import Hardware, Settings, setting

Fraction = Annotated[float, Field(ge=0, lt=1)]
Level = Annotated[float, Field(ge=0, le=1)]
Shift = Annotated[float, Field(gt=0)] | Literal["tokens"]


class ExpertTrain(Settings):
    """What one expert has of its own; what is not set is that of the run."""

    rank: int | None = setting(None, "Rank of its LoRA", ge=1, le=MOST_RANK)
    alpha: float | None = setting(None, "Scale of its LoRA is alpha / rank", gt=0)
    learning_rate: float | None = setting(None, "Its learning rate", gt=0)
    steps: int | None = setting(None, "Its optimizer steps", ge=1)
    epochs: int | None = setting(None, "Times that it sees every sample", ge=1)
    shift: Shift | None = setting(None, "Shift of its noise levels, or tokens")
    min_t: Level | None = setting(
        None, "It is trained at noise levels from this on; by the model's boundary by default"
    )
    max_t: Level | None = setting(None, "It is trained at noise levels up to this")


class Phase(Settings):
    """What changes from a step on; what is not set stays as the phase before had it."""

    from_step: int = setting(1, "The first step of the phase, of every expert", unit="steps", ge=1)
    sections: tuple[str, ...] | None = setting(None, "Sections that are trained on; each has its own resolution")
    learning_rate: float | None = setting(None, "Learning rate", gt=0)
    min_t: Level | None = setting(None, "Noise levels from this on, within those of the expert")
    max_t: Level | None = setting(None, "Noise levels up to this")


class TrainSettings(Hardware):
    """One training. `steps` are optimizer steps of each expert."""

    name: str | None = setting(None, "Name of the run; derived as run-1, run-2 ...", affects=False)
    resume: bool = setting(True, "Go on with the named run where it stopped", affects=False)
    start_from: str | None = setting(None, "A LoRA file (of a pair either) or a run whose LoRA it begins with")

    experts: tuple[str, ...] | None = setting(None, "Which experts are trained; all of the model by default")
    high: ExpertTrain = ExpertTrain()
    low: ExpertTrain = ExpertTrain()
    turns: int | None = setting(
        None, "With two experts: steps that one trains before the other takes its turn; one after the other by default",
        unit="steps", ge=1,
    )  # fmt: skip
    low_full_range: bool = setting(
        False, "Train the low expert at all noise levels, as few-step sampling wants it, which hands over late"
    )

    steps: int | None = setting(None, "Optimizer steps; derived from epochs", ge=1)
    epochs: int = setting(30, "Times that every sample is seen", ge=1)
    accumulation: int = setting(1, "Samples to an optimizer step", ge=1)
    batch: int = setting(1, "Samples of a step that are computed at once, where they are of one bucket", ge=1)
    phases: tuple[Phase, ...] = setting(
        (), "From given steps on: other sections, rate or noise levels ([[train.phases]])"
    )
    seed: int = setting(1, "Seed of order, noise and noise levels", ge=0, lt=2**63)

    adapter: Literal["lora", "lokr", "dora"] = setting(
        "lora", "What is learnt beside a weight: lora, lokr (a Kronecker product), dora (LoRA and lengths of rows)"
    )
    rank: int = setting(32, "Rank of the LoRA", ge=1, le=MOST_RANK)
    alpha: float | None = setting(None, "Scale of the LoRA is alpha / rank; rank by default", gt=0)
    factor: int | None = setting(
        None, "LoKr: the smaller factor of a weight's sides; by default the two factors are as near as can be", ge=1
    )
    full_matrix: bool = setting(False, "LoKr: the larger factor is a whole matrix, whatever the rank")
    rslora: bool = setting(
        False, "Scale by alpha / sqrt(rank) instead (rsLoRA); written so that other programs need not know"
    )
    dropout: Fraction = setting(0.0, "Share of the LoRA's inputs that are zeroed in training")
    include: tuple[str, ...] = setting(
        (), "Only layers whose name one of these patterns finds (blocks.0.self_attn.q ...)"
    )
    exclude: tuple[str, ...] = setting((), "No layers whose name one of these patterns finds")
    ranks: dict[str, Annotated[int, Field(ge=1, le=MOST_RANK)]] = setting(
        {}, "Other ranks, by pattern of the layers' names"
    )
    ema: Fraction = setting(
        0.0, "Save and preview the running mean of the LoRA, of this decay a step; 0.99 where wanted"
    )

    optimizer: str = setting(
        "adamw", "adamw, adamw8bit, adamw-kahan, adafactor, prodigy, automagic, or a class by its dotted name"
    )
    optimizer_args: dict[str, Any] = setting({}, "More arguments of the optimizer, by name")
    learning_rate: float = setting(2e-5, "Learning rate", gt=0)
    lora_plus: float = setting(
        1.0, "What begins at zero (B, of LoKr w2) learns so many times as fast (LoRA+), 16 where wanted", gt=0
    )
    betas: tuple[Fraction, Fraction] = setting((0.9, 0.99), "Betas of AdamW and its kin")
    weight_decay: float = setting(0.01, "Weight decay of AdamW and its kin", ge=0)
    eps: float = setting(1e-8, "Epsilon of AdamW and its kin", gt=0)
    max_norm: float = setting(1.0, "Gradients are clipped to this norm", gt=0)
    warmup: int = setting(0, "Steps over which the rate rises to its full value", unit="steps", ge=0)
    schedule: Literal["constant", "cosine", "linear", "wsd"] = setting(
        "constant", "The rate after the rise: constant, or falling to nothing by the last step: along a half cosine, a line, "
        "or (wsd) a line over the last part alone",
    )  # fmt: skip
    decay: float = setting(0.2, "The last part of wsd, as a share of all steps", gt=0, le=1)

    time: Literal["sigmoid", "uniform"] = setting("sigmoid", "How noise levels are drawn before the shift")
    time_mean: float = setting(0.0, "Mean of the normal variable that sigmoid draws from", ge=-10, le=10)
    time_scale: float = setting(1.0, "Its deviation", gt=0, le=10)
    shift: Shift | None = setting(
        None, "Shift of the noise levels, or tokens: the model's own times the root of a sample's tokens over those of the "
        "model's default video; the model's own by default",
    )  # fmt: skip
    min_t: Level | None = setting(None, "Noise levels from this on, within those of the expert")
    max_t: Level | None = setting(None, "Noise levels up to this")
    loss: Literal["mse", "huber"] = setting("mse", "Squared error, or Huber's: squared below huber_delta, linear above")
    huber_delta: float = setting(0.1, "Where Huber's loss becomes linear", gt=0)
    weighting: Literal["none", "sigma_sqrt", "cosmap"] = setting(
        "none", "Weight by noise level t: none, sigma_sqrt (1 / t^2), cosmap (2 / pi (1 - 2 t + 2 t^2))"
    )
    masks: bool = setting(True, "What masks and transparency leave out of a picture does not count in the loss")
    mask_floor: Fraction = setting(0.0, "How much it counts nevertheless, as a share of the rest")
    caption_dropout: Fraction = setting(
        0.0,
        "Share of the draws that see the negative prompt in place of their caption, so that guidance keeps the style",
    )
    first_frame: float = setting(
        0.0, "Share of clips that see their first frame clean, for models that take words or a picture", ge=0, le=1
    )

    checkpointing: bool | None = setting(None, "Recompute blocks in the backward pass; on with a GPU", affects=False)
    save_every: int = setting(250, "Steps between checkpoints", unit="steps", ge=1, affects=False)
    save_minutes: float | None = setting(None, "Also save when so long ago", unit="minutes", gt=0, affects=False)
    keep: int | None = setting(
        None, "Keep this many checkpoints of an expert, the newest; all by default", ge=1, affects=False
    )
    keep_every: int | None = setting(
        None, "Of older ones keep also those at multiples of this", unit="steps", ge=1, affects=False
    )
    validate_every: int = setting(
        250, "Steps between validations; one before the first step", unit="steps", ge=1, affects=False
    )
    preview_every: int = setting(500, "Steps between previews", unit="steps", ge=1, affects=False)
    prompts: str | None = setting(
        None, "File of preview prompts (a line each, options as --w --h --f --d --s at its end)", affects=False
    )
    preview_lora: str | None = setting(
        None, "A few-step LoRA that previews wear besides (lightning): 4 steps, guidance 1", affects=False
    )
    loaders: int = setting(2, "Threads that read samples ahead", ge=1, le=64, affects=False)
    patience: int = setting(3, "Steps in a row whose loss is no number before training stops", ge=1, affects=False)
    wandb: str | None = setting(None, "Project at Weights & Biases that the curves go to as well", affects=False)

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str | None) -> str | None:
        if name is not None and name != safe_stem(name):
            raise ValueError(f"the run's folder cannot be named so; '{safe_stem(name)}' would do")
        return name

    @field_validator("phases")
    @classmethod
    def _in_order(cls, phases: Sequence[Phase]) -> Sequence[Phase]:
        starts = [phase.from_step for phase in phases]
        if starts != sorted(set(starts)):
            raise ValueError("phases stand in the order of their from_step, each with another one")
        return phases

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        parts: tuple[TrainSettings | ExpertTrain | Phase, ...] = (self, self.high, self.low, *self.phases)
        for part in parts:
            if part.min_t is not None and part.max_t is not None and part.min_t >= part.max_t:
                raise ValueError(f"min_t ({part.min_t:g}) is to be below max_t ({part.max_t:g})")
        return self

    @property
    def kind(self) -> Kind:
        """The adapter that is trained."""
        return Kind(self.adapter, self.factor, self.full_matrix)

    def check(self, member: Member) -> None:
        """Raises SakugaError for what cannot be, or would say nothing, with this model: at planning, before hours of work."""
        names = [expert.name for expert in member.experts]
        for name in ("high", "low"):
            if name not in names and getattr(self, name) != ExpertTrain():
                raise SakugaError(
                    f"train.{name} is for models of two experts, and {member.title} is one; set it for the run itself"
                )
        for name in self.experts or names:
            if self.phases and self.of(member.expert(name)).steps is None:
                raise SakugaError("with phases give train.steps too: an epoch is another length in each of them")

    def of(self, expert: Expert) -> "TrainSettings":
        """The settings as this expert has them."""
        own = getattr(self, expert.name, None)
        changed = own.model_dump(exclude_none=True) if isinstance(own, ExpertTrain) else {}
        if "epochs" in changed and "steps" not in changed:
            changed["steps"] = None
        return self.model_copy(update=changed)

    def levels(self, expert: Expert) -> tuple[float, float]:
        """The noise levels that an expert is trained at: its own, narrowed or replaced by what is set."""
        mine = self.of(expert)
        low, high = (0.0, 1.0) if self.low_full_range and expert.name == "low" else (expert.t_min, expert.t_max)
        return low if mine.min_t is None else mine.min_t, high if mine.max_t is None else mine.max_t

    def total_steps(self, samples: int) -> int:
        """Optimizer steps of a training over `samples` an epoch: no remainder is dropped."""
        return self.steps if self.steps is not None else -(-self.epochs * samples // self.accumulation)
