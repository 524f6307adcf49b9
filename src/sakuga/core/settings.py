"""Every setting, once: its help, unit, bounds and default. Python, sakuga.toml and the command line all read this.

A setting exists only where a person has a reason to choose it; None means "derived" and the help says from what.
What all settings share is in `setting`, what training has in `train_settings`.
"""

import re
from collections.abc import Iterator, Mapping
from string import Formatter
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from . import family
from .errors import SakugaError, nearest
from .setting import Hardware, extra_of, setting
from .setting import Settings as Settings
from .train_settings import ExpertTrain as ExpertTrain
from .train_settings import Phase as Phase
from .train_settings import TrainSettings as TrainSettings


class ModelSettings(Settings):
    """Where the model files are. What is not given is looked for in `folder`."""

    folder: str = setting("models", "Folder that holds model files (a ComfyUI models folder will do)", affects=False)
    transformer: str | None = setting(None, "Transformer of a model with one expert", affects=False)
    high: str | None = setting(None, "High-noise transformer", affects=False)
    low: str | None = setting(None, "Low-noise transformer", affects=False)
    vae: str | None = setting(None, "VAE", affects=False)
    text: str | None = setting(None, "UMT5 text encoder", affects=False)
    tokenizer: str | None = setting(None, "Folder of the UMT5 tokenizer", affects=False)
    clip: str | None = setting(None, "CLIP image encoder (Wan 2.1 I2V)", affects=False)


class ShotSettings(Settings):
    """Finding the shots of a film."""

    sensitivity: float = setting(
        0.5, "How readily a change counts as a cut: higher finds more, lower fewer that are none", ge=0.05, le=0.95
    )
    min_seconds: float = setting(0.5, "A shot is at least this long; shorter ones join the one before", unit="s", ge=0)
    judge: Literal["auto", "off"] = setting(
        "auto", "Let TransNetV2 look at what is doubtful: auto does where it is installed (sakuga[cuts])"
    )


class OverlaySettings(Settings):
    """What stands over the picture: logos, burned-in words."""

    read: bool = setting(False, "Read burned-in words by RapidOCR (sakuga[ocr]), in the film's full size")


ShotSize = Literal[
    "extreme close-up", "close-up", "medium close-up", "medium shot", "full shot", "long shot", "none"
]  # fmt: skip


class SubjectSettings(Settings):
    """Who is in a shot: how many people, how near, whether nude. A tag that by itself leaves nothing out."""

    read: Literal["off", "nudenet"] = setting(
        "off", "Look for faces and bodies by NudeNet (sakuga[subjects], AGPL-3.0), made for photographs"
    )


class AlikeSettings(Settings):
    """Telling which shots look alike."""

    model: str | None = setting(
        None,
        "Folder of a CLIP, SigLIP or DINOv2 (transformers) that tells it; the layout of light and colour by default",
    )
    near: float | None = setting(None, "How far apart shots of one group may be; derived from what tells it", gt=0)
    device: str | None = setting(None, "cpu, cuda or cuda:N; derived from what is there", affects=False)


class PickSettings(Settings):
    """The rule that picks shots where no person has decided."""

    auto: bool = setting(False, "Let the rule pick; otherwise only shots that a person kept are exported")
    count: int | None = setting(
        None, "At most this many shots, as many of each film, those that stand for the most others; None takes all that pass",
        ge=1,
    )  # fmt: skip
    min_seconds: float = setting(0.0, "Leave out shots shorter than this", unit="s", ge=0)
    max_seconds: float | None = setting(None, "Leave out shots longer than this", unit="s", gt=0)
    min_brightness: float = setting(0.0, "Leave out shots darker than this (0 black, 1 white)", ge=0, le=1)
    max_brightness: float = setting(1.0, "Leave out shots brighter than this", ge=0, le=1)
    max_blank: float = setting(0.5, "Leave out shots of one colour for more of their time than this", ge=0, le=1)
    max_static: float = setting(1.0, "Leave out shots that stand still for more of their time than this", ge=0, le=1)
    max_camera: float | None = setting(None, "Leave out shots whose camera goes faster", unit="widths per second", ge=0)
    min_subject: float = setting(0.0, "Leave out shots whose subjects move less", unit="widths per second", ge=0)
    min_drawings: float = setting(0.0, "Leave out shots with fewer new drawings", unit="per second", ge=0)
    min_sharpness: float = setting(
        0.0, "Leave out shots blurred beyond this (0 blurred, 1 edges of one pixel)", ge=0, le=1
    )
    max_damage: float | None = setting(
        None, "Leave out shots with coding blocks beyond this (1 none, 2 to 4 usual, 10 ugly)", ge=1
    )
    max_outlier: float = setting(
        1.0, "Leave out shots whose style is further from the rest than that of this share of all: 0.95 leaves one in twenty",
        ge=0, le=1,
    )  # fmt: skip
    recurring: bool = setting(False, "Take also shots that stand in another film too, as an opening does")
    duplicates: bool = setting(True, "Take also a shot that is shown again, as a flashback does")
    max_words: float = setting(1.0, "Leave out shots with burned-in words for more of their time than this", ge=0, le=1)
    shot_sizes: tuple[ShotSize, ...] = setting(
        (), "Take only shots of these sizes, by subjects.read (none: without a face); all by default"
    )
    max_people: int | None = setting(None, "Leave out shots with more people at once, by subjects.read", ge=0)
    nudity: Literal["keep", "drop"] = setting("keep", "What becomes of shots with nudity, by subjects.read")


OverlayFate = Literal["keep", "drop", "crop", "inpaint", "mask"]
Take = Literal["head", "middle", "motion", "split"]


class ExportSettings(Settings):
    """Turning picks into clips and stills."""

    clips: bool = setting(True, "Write a clip of each picked shot")
    stills: int = setting(
        1, "Stills of each picked shot at most: the sharpest, and those most unlike each other", ge=0, le=20
    )
    stills_from: Literal["anywhere", "outside"] = setting(
        "anywhere", "Where stills are taken: anywhere in a shot, or outside of its clips, which show the others already"
    )
    max_seconds: float = setting(5.0, "A clip is at most this long, and one frame", unit="s", gt=0)
    max_frames: int | None = setting(
        None, "A clip has at most this many frames, at the model's rate; derived from max_seconds", unit="frames", ge=1
    )
    take: Take = setting(
        "head", "Which part of a long shot: its head, its middle, the stretch in which its subject moves most (motion), "
        "or one clip after the other (split)",
    )  # fmt: skip
    pieces: int = setting(4, "How many clips split may make of a shot", ge=1, le=100)
    one_shot: bool = setting(
        True, "Look at every finished clip again; one with a hidden cut, dissolve or fade is cut there, or dropped"
    )
    min_frames: int = setting(17, "A clip cut at a hidden break is dropped below this", unit="frames", ge=1)
    margin: int = setting(1, "Frames left out at either end of a shot, where a cut may be blended", unit="frames", ge=0)
    crop_borders: bool = setting(True, "Cut bars and rounded corners off")
    logos: OverlayFate = setting(
        "keep", "What becomes of a shot with a logo or watermark: keep it as it is, drop the shot, crop the strip with it off, "
        "inpaint it, or mask it, so that training does not look there",
    )  # fmt: skip
    words: OverlayFate = setting("keep", "What becomes of a shot with burned-in words, likewise")
    max_height: int = setting(1080, "Taller pictures are made smaller", unit="pixels", ge=64)
    quality: int = setting(8, "x264 quantiser of the clips: lower is better and larger", unit="crf", ge=0, le=30)
    lossless: bool = setting(False, "Write clips without any loss (FFV1 in MKV), several times larger")


class ServerWay(Settings):
    """An OpenAI-compatible server, and how it is asked."""

    model: str = setting("", "The name of the model at the server")
    url: str = setting("http://localhost:8000/v1", "Address of the server", affects=False)
    key_variable: str = setting(
        "", "Environment variable that holds the server's key; the key itself belongs into no file", affects=False
    )
    max_tokens: int = setting(512, "Longest answer; one that is cut off there is set aside", unit="tokens", ge=16)
    temperature: float | None = setting(
        None, "How freely words are drawn; a server's own by default, the likeliest words of a model here", ge=0, le=2
    )
    seed: int | None = setting(None, "Seed of the words, where the server takes one", ge=0, lt=2**63)
    extra: dict[str, Any] = setting({}, "More keys for the body of a request to the server, as its manual names them")
    per_minute: float | None = setting(None, "Requests in a minute at most", gt=0, affects=False)
    timeout: float = setting(180.0, "How long an answer may take", unit="s", gt=0, affects=False)
    price_in: float | None = setting(
        None, "Price of a million tokens read, so that the cost is told", ge=0, affects=False
    )
    price_out: float | None = setting(None, "Price of a million tokens written", ge=0, affects=False)

    @field_validator("url")
    @classmethod
    def _plain_address(cls, url: str) -> str:
        if not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s@?#]*)?", url):
            raise ValueError(
                "an address is like http://localhost:8000/v1, without a name, a key or a question mark in it"
            )
        return url

    @field_validator("key_variable")
    @classmethod
    def _names_a_variable(cls, name: str) -> str:
        if name and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError("a variable's name has letters, digits and underscores; a key itself never stands here")
        return name


class CaptionWay(ServerWay):
    """How captions are written: by what, what it is shown, and what it is asked."""

    backend: Literal["template", "describer", "server", "model", "command"] = setting(
        "template", "What writes captions: template (light and motion, as measured), describer (of the demo's world), server "
        "(OpenAI-compatible), model (on this machine, by transformers) or command (a program of yours)",
    )  # fmt: skip
    template: str = setting(
        "{trigger}. {shot}", "What a caption of template or describer is made of: {trigger}, {shot} (what it tells), {film}, "
        "{seconds}",
    )  # fmt: skip
    model: str = setting(
        "", "The name of the model at the server; for `model` its folder, or its name at the Hugging Face hub"
    )
    command: tuple[str, ...] = setting(
        (), "The program and its arguments; {frames} (a folder of PNG), {file} and {prompt} stand for what it is given, and "
        "it reads the prompt from standard input too",
    )  # fmt: skip
    frames: int = setting(8, "Pictures shown of a clip, evenly over its length", ge=1, le=256)
    size: int = setting(768, "Longest side of a picture that is shown", unit="pixels", ge=32, le=4000)
    video: bool = setting(False, "Show a clip as video, where the server takes it, in place of its pictures")
    hints: bool = setting(True, "Tell what was measured of the shot, so that no moving camera is called static")
    concurrency: int | None = setting(
        None, "Questions, or commands, at once; 4 for a server by default, else 1", ge=1, le=256, affects=False
    )
    device: str | None = setting(None, "cpu, cuda or cuda:N; derived from what is there", affects=False)
    precision: Literal["bf16", "fp16", "fp32"] | None = setting(
        None, "Precision of a model here; bf16 on a GPU, fp32 on a CPU"
    )

    @field_validator("template")
    @classmethod
    def _known_fields(cls, template: str) -> str:
        known = ("trigger", "shot", "film", "seconds")
        for _, name, form, conversion in Formatter().parse(template):  # its ValueError tells of a lone brace
            if name is not None and (name not in known or form or conversion):
                raise ValueError(f"{{{name}}} is not one of {', '.join(f'{{{k}}}' for k in known)}")
        return template


class CaptionSettings(CaptionWay):
    """Writing a caption for every item that has none from a person."""

    clips: CaptionWay = Field(CaptionWay(), description="Any of the settings of caption, for clips alone")
    stills: CaptionWay = Field(CaptionWay(), description="Any of the settings of caption, for stills alone")

    def way(self, kind: Literal["clip", "still"]) -> CaptionWay:
        """What holds for clips, or for stills: what their own group says, else what is said for both."""
        both = CaptionWay.model_validate(self.model_dump(exclude_unset=True, include=set(CaptionWay.model_fields)))
        return change(both, given(self.clips if kind == "clip" else self.stills))

    def asked(self, changes: Mapping[str, Any]) -> Self:
        """These with the changes of a call, which hold for both kinds, also where one has its own: the nearer word counts."""
        values = self.model_dump(exclude_unset=True)
        for group in ("clips", "stills"):
            values[group] = {name: value for name, value in values.get(group, {}).items() if name not in changes}
        return change(type(self).model_validate(values), changes)

    def that_matter(self) -> dict[str, Any]:
        """Nothing for all items alike: each holds in its content what matters for its own kind and backend."""
        return {}


class OpinionSettings(CaptionSettings):
    """What another captioner is asked about the captions; nothing is asked until its backend is named."""

    ask: Literal["caption", "claims"] = setting(
        "caption", "What it is asked: for a caption of its own, or whether each claim of a caption holds (claims)"
    )


class LintSettings(Settings):
    """Rules that captions are held to."""

    off: tuple[str, ...] = setting((), "Rules that are not asked; `sakuga lint --rules` lists them")
    words: tuple[str, ...] = setting((), "More words that name the style, of this project")
    allow: tuple[str, ...] = setting((), "Words that are well as they are: what is found within them is not told")


class CheckSettings(Settings):
    """Looking for what is wrong with the dataset."""

    min_words: int = setting(3, "A caption with fewer words is reported", ge=0)


Pair = tuple[int, int]


class Section(Settings):
    """A part of the dataset with its own resolution and frame rule. In sakuga.toml: [sections.NAME]."""

    items: Literal["clips", "stills", "all"] = setting("clips", "Which items it takes")
    tags: tuple[str, ...] = setting((), "Only items that bear one of these tags; all by default")
    folders: tuple[str, ...] = setting((), "Only items of these adopted folders; all by default")
    resolution: Pair = setting(
        (0, 0), "Width and height whose area each sample has at most; one number is the side of a square", unit="pixels"
    )
    buckets: bool = setting(True, "Keep the aspect of the picture; otherwise every sample has this very resolution")
    sizes: tuple[Pair, ...] = setting(
        (), "The sizes to choose among; derived from the resolution's area by default", unit="pixels"
    )
    nearest: Literal["log-aspect", "aspect"] = setting(
        "log-aspect", "By what the nearest of `sizes` is chosen: by the ratio of the aspects, or by their difference"
    )
    upscale: bool = setting(False, "Enlarge pictures that are smaller than the resolution")
    rule: Literal["head", "middle", "chunk", "slide", "uniform", "full"] = setting("head", "Where windows are cut")
    frames: tuple[int, ...] = setting((1,), "Lengths of the windows, rounded down to what the model takes")
    lengths: Literal["all", "longest"] = setting(
        "all", "Which of the lengths a clip serves: all that fit, or the longest of them alone"
    )
    stride: int = setting(1, "Frames from one window to the next (rule slide)", unit="frames", ge=1)
    count: int = setting(1, "Windows of each length (rule uniform)", ge=1)
    max_frames: int | None = setting(None, "Longest window (rule full); None takes the frames of the model", ge=1)
    repeats: int = setting(1, "How often an epoch shows each sample", ge=1)
    batch: int | None = setting(
        None, "Samples that are computed at once, where they are of one bucket; train.batch by default", ge=1
    )
    caption_dropout: float | None = setting(None, "As train.caption_dropout, for this section alone", ge=0, lt=1)
    weight: float = setting(1.0, "How much the loss of its samples counts", gt=0)

    @field_validator("resolution", mode="before")
    @classmethod
    def _side_or_pair(cls, value: Any) -> Any:
        return (value, value) if isinstance(value, int) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _plausible(self) -> Self:
        if min(self.resolution) < 1:
            raise ValueError("resolution needs a width and a height above zero, [384, 384] for instance")
        if not self.frames or min(self.frames) < 1:
            raise ValueError("frames needs at least one length of 1 or more")
        if self.sizes and min(min(size) for size in self.sizes) < 1:
            raise ValueError("sizes needs widths and heights above zero, [[832, 480], [480, 832]] for instance")
        if self.sizes and not self.buckets:
            raise ValueError("sizes are chosen among where buckets is true; leave out one of the two")
        return self


class PlanSettings(Settings):
    """Counting what one epoch will be."""

    holdout: float = setting(0.05, "Share of the items kept out of training, for the validation loss", ge=0, le=0.5)


class CacheSettings(Settings):
    """Encoding samples and captions once."""

    processes: int | None = setting(
        None, "Processes that encode, each with encoders of its own; derived: one for each card", ge=1, affects=False
    )
    device: str | None = setting(None, "cpu, cuda or cuda:N; derived from what is there", affects=False)


class GenerateSettings(Hardware):
    """Making a video from a prompt. What is None is the model's own."""

    lora: tuple[str, ...] | None = setting(
        None,
        "LoRA files or runs, as FILE, FILE:0.8 or FILE:0.8:high; the newest checkpoints of the last run by default, "
        "'none' for none",
    )
    strength: float = setting(1.0, "Strength of those LoRAs that have none of their own")
    merge: bool = setting(False, "Fold the LoRAs into the weights: faster steps, and what rounding costs is told")
    negative: str = setting(family.NEGATIVE_PROMPT, "What should not be seen")
    anti_3d: bool = setting(False, "Nor should 3D rendering: words for it are added to the negative prompt")
    image: str | None = setting(None, "A picture that the video starts from; its shape gives width and height")
    width: int | None = setting(None, "Width", unit="pixels", ge=16)
    height: int | None = setting(None, "Height", unit="pixels", ge=16)
    frames: int | None = setting(None, "Frames, rounded down to what the model takes", unit="frames", ge=1)
    few_steps: bool = setting(
        False, "Sample as models taught to need few steps want it: 4 steps, guidance 1, shift 5, euler; what is given goes "
        "before",
    )  # fmt: skip
    steps: int | None = setting(None, "Sampling steps", ge=1, le=1000)
    shift: float | None = setting(None, "Shift of the noise levels", gt=0)
    guidance: tuple[Annotated[float, Field(ge=0)], ...] | None = setting(
        None, "Guidance: one number for every expert, or one for each, the high one first", min_length=1
    )
    sampler: Literal["unipc", "dpm++", "dpm++sde", "euler"] | None = setting(None, "Sampler; unipc by default")
    split: int | None = setting(
        None,
        "How many steps the high expert takes; by the model's boundary by default (`sakuga sigmas` shows it)",
        ge=0,
    )
    batched: bool = setting(False, "Both passes of guidance at once: faster for small videos, and takes more memory")
    cfg_zero: bool = setting(False, "CFG-Zero*: guidance measured from the fitting negative, and no first step")
    skip_layers: tuple[Annotated[int, Field(ge=0)], ...] = setting(
        (), "Layers that the negative pass leaves out (skip-layer guidance), as 9 of 30 or 40"
    )
    skip_from: float = setting(0.1, "From which share of the steps on they are left out", ge=0, le=1)
    skip_to: float = setting(0.9, "Up to which share of the steps", ge=0, le=1)
    enhance_video: float = setting(
        0.0, "Enhance-A-Video: weight of what stands in other frames, 1 to 4 where wanted", ge=0
    )
    reuse: float = setting(
        0.0,
        "EasyCache: steps take an earlier velocity again until it may be off by this share; 0.05 where wanted",
        ge=0,
    )
    attention: Literal["torch", "sage"] = setting(
        "torch", "What computes attention: sage is SageAttention, where installed"
    )
    seed: int = setting(1, "Seed of the noise", ge=0)
    handover: bool = setting(
        True, "With two experts, also save what the high one had in mind when the low one took over", affects=False
    )
    format: Literal["mp4", "webp", "png"] | None = setting(
        None, "What is written: by the ending of out, else mp4, and png of a single frame; png of more is a folder of them",
        affects=False,
    )  # fmt: skip
    out: str | None = setting(None, "Where the video goes; derived from the prompt", affects=False)
    note: str = setting("", "Words of yours that stand in the video's file beside its recipe", affects=False)

    @field_validator("lora", "guidance", "skip_layers", mode="before")
    @classmethod
    def _one_or_several(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str | int | float) else given


class EnhanceSettings(ServerWay):
    """Making a prompt of a wish of a few words, by an OpenAI-compatible server."""

    style: str = setting("", "What belongs to the style (light, colour, movement), so that a prompt fits it")


class PublishSettings(Settings):
    """Writing the LoRA file that other programs load."""

    run: str | None = setting(None, "Which run; the last by default")
    step: int | None = setting(None, "Which step's checkpoint; the last by default", ge=1)
    title: str | None = setting(None, "Title in the file; the project's name by default")
    author: str = setting("", "Author in the file")
    licence: str = setting("", "Licence in the file")
    description: str = setting("", "Description in the file")
    precision: Literal["bf16", "fp16", "fp32"] = setting("bf16", "Precision of the tensors")
    out: str | None = setting(None, "Folder the files go to; `published` in the project by default", affects=False)
    link: str | None = setting(
        None, "Folder that is to have the files too, by links (copies where there are none): ComfyUI's, or its loras",
        affects=False,
    )  # fmt: skip


class ProjectSettings(Settings):
    """All of sakuga.toml."""

    model: str = setting("wan2.2-t2v-a14b", "The model the LoRA is for")
    trigger: str = setting("", "The word that calls the style; captions start with it")
    workers: int | None = setting(None, "Processes for footage work; derived from the cores", ge=1, affects=False)
    models: ModelSettings = ModelSettings()
    shots: ShotSettings = ShotSettings()
    overlays: OverlaySettings = OverlaySettings()
    alike: AlikeSettings = AlikeSettings()
    subjects: SubjectSettings = SubjectSettings()
    pick: PickSettings = PickSettings()
    export: ExportSettings = ExportSettings()
    caption: CaptionSettings = CaptionSettings()
    opinion: OpinionSettings = OpinionSettings()
    triggers: dict[str, str] = setting(
        {},
        "A further trigger by tag (a character's name): it stands behind the trigger in the captions of items with that tag",
    )
    lint: LintSettings = LintSettings()
    check: CheckSettings = CheckSettings()
    sections: dict[str, Section] = Field(default_factory=dict, description="Parts of the dataset")
    plan: PlanSettings = PlanSettings()
    cache: CacheSettings = CacheSettings()
    train: TrainSettings = TrainSettings()
    generate: GenerateSettings = GenerateSettings()
    enhance: EnhanceSettings = EnhanceSettings()
    publish: PublishSettings = PublishSettings()

    @field_validator("model")
    @classmethod
    def _known_model(cls, name: str) -> str:
        if name not in family.FAMILY:
            raise ValueError(f"'{name}' is not a model Sakuga knows{nearest(name, list(family.FAMILY))}")
        return name

    @model_validator(mode="after")
    def _sizes_the_model_takes(self) -> Self:
        step = self.member.side_step
        for name, section in self.sections.items():
            for width, height in section.sizes:
                if width % step or height % step:
                    raise ValueError(
                        f"sections.{name}.sizes: {width}x{height} is no multiple of {step}, as {self.model} needs"
                    )
        return self

    @property
    def member(self) -> family.Member:
        return family.member(self.model)


def parse(values: Mapping[str, Any], origin: str) -> ProjectSettings:
    """The settings of a project from plain values; a fault is one sentence that names the key and `origin`."""
    try:
        return ProjectSettings.model_validate(dict(values))
    except ValidationError as error:
        raise SakugaError(f"{origin}: {explain(error, ProjectSettings)}") from error


def parse_train(values: Mapping[str, Any], origin: str) -> TrainSettings:
    """The settings that a run was frozen with."""
    try:
        return TrainSettings.model_validate(dict(values))
    except ValidationError as error:
        raise SakugaError(f"{origin}: {explain(error, TrainSettings)}; it was begun by another version") from error


S = TypeVar("S", bound=Settings)


def change(settings: S, changes: Mapping[str, Any]) -> S:
    """`settings` with `changes` made; an unknown key or a bad value is one sentence."""
    if not changes:
        return settings
    values = settings.model_dump(exclude_unset=True)  # so that what is given stays known from what is not
    for name, value in changes.items():
        mine = getattr(settings, name, None)
        values[name] = change(mine, value) if isinstance(mine, Settings) and isinstance(value, Mapping) else value
    try:
        return type(settings).model_validate(values)
    except ValidationError as error:
        raise SakugaError(explain(error, type(settings))) from error


def given(settings: Settings | None) -> dict[str, Any]:
    """Only what was given explicitly when `settings` was made: a command line's options."""
    return {} if settings is None else settings.model_dump(exclude_unset=True)


UNION = ("constrained-", "literal[", "function-")  # what pydantic calls the kinds that a value may have


def explain(error: ValidationError, root: type[BaseModel]) -> str:
    """The first fault of a validation as one sentence: which key, what is wrong, and the nearest key or the bound."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if not str(part).startswith(UNION))
    if first["type"] == "extra_forbidden":
        return f"{where} is not a setting{_meant(str(first['loc'][-1]), _fields_at(root, first['loc'][:-1]))}"
    if first["type"] == "missing":  # of settings, only the values of a list can be
        return f"{where.rpartition('.')[0]} = {first['input']!r}: too few values"
    if first["type"] == "model_type":
        return f"{where} = {first['input']!r}: this is a group of settings, not one of them"
    message = first["msg"].removeprefix("Value error, ").replace("valid tuple", "list")
    if not where:  # of several settings together
        return message
    return f"{where} = {first['input']!r}: {message[0].lower()}{message[1:]}"


# What other trainers call some of ours.
ELSEWHERE = {
    "lr": "learning_rate", "optimizer_type": "optimizer", "lr_scheduler": "schedule", "lr_warmup_steps": "warmup",
    "warmup_steps": "warmup", "batch_size": "batch", "micro_batch_size_per_gpu": "batch", "num_repeats": "repeats",
    "gradient_accumulation_steps": "accumulation", "max_train_epochs": "epochs", "max_train_steps": "steps",
    "network_dim": "rank", "dim": "rank", "linear": "rank", "network_alpha": "alpha", "linear_alpha": "alpha",
    "network_module": "adapter", "network_weights": "start_from", "blocks_to_swap": "stream", "fp8_base": "weights",
    "timestep_sampling": "time", "discrete_flow_shift": "shift", "loss_type": "loss", "max_grad_norm": "max_norm",
    "gradient_checkpointing": "checkpointing", "mixed_precision": "precision", "save_every_n_steps": "save_every",
    "sample_every_n_steps": "preview_every", "sample_prompts": "prompts", "output_name": "name", "ema_decay": "ema",
}  # fmt: skip
FEW = 12  # names that one can take in


def _meant(word: str, known: list[str]) -> str:
    """What to say of a key that there is none of: the one that is meant, or those that there are."""
    if ELSEWHERE.get(word) in known:
        return f"; did you mean {ELSEWHERE[word]}?"
    listed = f" (known: {', '.join(known)})" if len(known) <= FEW else "; `sakuga settings` lists them all"
    return nearest(word, known) or listed


def _fields_at(root: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The names of the settings at `path` below `root`; the name of a section counts as a step."""
    model = root
    for part in path:
        field = model.model_fields.get(str(part))
        if field is None:
            continue  # the name that a person gave a section
        found = [t for t in (field.annotation, *getattr(field.annotation, "__args__", ())) if isinstance(t, type)]
        model = next((t for t in found if issubclass(t, BaseModel)), model)
    return list(model.model_fields)


def describe(root: type[BaseModel] = ProjectSettings, prefix: str = "") -> Iterator[dict[str, Any]]:
    """Every setting as {key, default, help, unit}: for the reference, the web form and `sakuga settings`."""
    for name, field in root.model_fields.items():
        kinds = [t for t in (field.annotation, *getattr(field.annotation, "__args__", ())) if isinstance(t, type)]
        group = next((t for t in kinds if issubclass(t, Settings)), None)
        if group is not None and issubclass(root, group):  # what is said once may be said anew for a part
            yield {"key": f"{prefix}{name}.KEY", "default": None, "help": field.description, "unit": ""}
        elif group is not None:
            yield from describe(group, f"{prefix}{name}.NAME." if group is Section else f"{prefix}{name}.")
        else:
            unit = extra_of(field).get("unit", "")
            yield {"key": prefix + name, "default": field.default, "help": field.description, "unit": unit}
