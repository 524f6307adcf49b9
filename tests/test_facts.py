"""What is known of the Wan models stands in core/family.py and nowhere else in the code."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import sakuga
from sakuga.core.family import FAMILY, MEMBERS, TRAIN_TIMESTEPS

SRC = Path(sakuga.__file__).parent
WAN = [member for member in MEMBERS if not member.tiny]

# Numbers that mean nothing but Wan wherever they stand. Small ones are left to the words below.
ALONE: set[float] = {TRAIN_TIMESTEPS}
for _member in WAN:
    ALONE |= {_member.frames, *(side for size in _member.sizes for side in size)}
    ALONE |= {_member.transformer.dim, _member.transformer.ffn_dim, _member.transformer.text_dim}
    ALONE |= {_member.text.ffn_dim, _member.text.vocabulary, *map(abs, _member.vae.mean), *_member.vae.std}
    ALONE |= {_member.boundary} if _member.boundary else set()
# Numbers that are facts where they are given to something of this name.
WORDS: dict[str, set[float]] = {
    "shift": {member.shift for member in MEMBERS},
    "fps": {member.fps for member in MEMBERS},
    "guidance": {expert.guidance for member in MEMBERS for expert in member.experts},
    "boundary": {member.boundary for member in MEMBERS if member.boundary},
    "stride": {step for member in MEMBERS for step in member.vae.stride},
}
STRIDES = WORDS["stride"] - {1}  # pixels and frames to a latent: `(n - 1) // 4 * 4 + 1`, `n % 4 == 1`, `width // 8`

# (file, what, why it is another thing)
ALLOWED = {
    ("core/settings.py", "0.9", "a share of steps"),
    ("core/train_settings.py", "0.9", "a beta of AdamW"),
    ("core/cost.py", "0.9", "a share of the memory"),
    ("nn/stream.py", "4096", "bytes of a page"),
    ("nn/vae.py", "0.9", "a share of the memory"),
    ("nn/vae_network.py", "part // 4", "places in a square of two frames"),
    ("core/settings.py", str(TRAIN_TIMESTEPS), "the most sampling steps that are of any use"),
    ("core/lint/trigger.py", "0.9", "a likeness of words"),
    ("interop/ai_toolkit.py", str(TRAIN_TIMESTEPS), "checkpoints that it is to keep: all"),
    ("interop/ai_toolkit.py", "SHIFT = 3.0", "what its schedulers shift by"),
    ("interop/draft.py", "4096", "tokens, in the formula of another trainer"),
    ("interop/draft.py", "height // 16", "likewise"),
    ("interop/draft.py", "width // 16", "likewise"),
    ("interop/musubi_train.py", str(TRAIN_TIMESTEPS), "its time steps"),
    ("interop/optimizers.py", "0.9", "a beta of AdamW"),
    ("core/media/timing.py", str(TRAIN_TIMESTEPS), "the rate of NTSC is 1000/1001 of a whole number"),
    ("core/media/still.py", str(TRAIN_TIMESTEPS), "milliseconds in a second"),
    ("core/samples/sizes.py", "480", "sizes that people train any model at"),
    ("core/samples/sizes.py", "720", "likewise"),
    ("core/samples/sizes.py", "832", "likewise"),
    ("core/samples/sizes.py", "1280", "likewise"),
    ("signals/alike.py", "0.9", "a share of shots"),
    ("signals/cuts.py", "0.9", "a likeness of pictures"),
    ("signals/marks.py", "0.9", "a share of pictures"),
    ("signals/scores.py", "luma.shape[0] // 16", "rows that are looked at"),
    ("signals/sound.py", "3072", "the window of a spectrum"),
    ("signals/stills.py", "0.9", "a share of sharpness"),
    ("core/media/view.py", "720", "where players take a picture for HD"),
    ("core/media/view.py", "round(float(np.degrees(np.arctan2(b, a))) / 90) % 4", "quarter turns"),
    ("nn/lora_file.py", "-len(text) % 8", "the alignment of a safetensors header"),
}
NAMES_ALLOWED = {
    ("core/settings.py", "wan2.2-t2v-a14b"),  # the model of a new project
    ("cli/project.py", "wan2.2-t2v-a14b"),  # the same, shown by --help
    ("demo/run.py", "tiny"),
    ("cli/project.py", "tiny"),
    ("signals/look.py", "tiny"),  # the smallest pictures of a film
}


def facts_in(source: str) -> list[tuple[int, str]]:
    """(line, text) of every number in `source` that is a fact of the family."""
    module = ast.parse(source)
    found = {(n.lineno, str(n.value)) for n in _numbers(module) if n.value in ALONE}
    for name, value in _given(module):
        for word, facts in WORDS.items():
            if word in name.lower():
                found |= {(n.lineno, f"{name} = {n.value}") for n in _numbers(value) if n.value in facts}
    for node in ast.walk(module):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.FloorDiv | ast.Mod):
            strides = [n for n in (node.right,) if isinstance(n, ast.Constant) and n.value in STRIDES]
            found |= {(n.lineno, ast.unparse(node)) for n in strides}
    return sorted(found)


@dataclass(frozen=True)
class _Number:
    lineno: int
    value: float


def _numbers(tree: ast.AST) -> list[_Number]:
    constants = [n for n in ast.walk(tree) if isinstance(n, ast.Constant)]
    return [_Number(n.lineno, n.value) for n in constants if isinstance(n.value, int | float) and n.value is not True]


def _given(module: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Every (name, expression) where something of that name is given a value, a default, or is compared."""
    for node in ast.walk(module):
        if isinstance(node, ast.keyword) and node.arg:
            yield node.arg, node.value
        elif isinstance(node, ast.Assign):
            yield from ((ast.unparse(target), node.value) for target in node.targets)
        elif isinstance(node, ast.AnnAssign) and node.value:
            yield ast.unparse(node.target), node.value
        elif isinstance(node, ast.Compare):
            yield ast.unparse(node.left), ast.Tuple(node.comparators)
        elif isinstance(node, ast.arguments):
            places = [*node.posonlyargs, *node.args]
            yield from zip((a.arg for a in places[len(places) - len(node.defaults) :]), node.defaults, strict=True)
            yield from ((a.arg, d) for a, d in zip(node.kwonlyargs, node.kw_defaults, strict=True) if d)


@pytest.mark.parametrize(
    "source",
    [
        "boundary = 0.875", "if t >= 0.9: pass", "f(81)", "FRAMES = 121", "size = (832, 480)", "w, h = 1280, 704",
        "x = 720", "Linear(5120, 13824)", "sample(shift=12.0)", "def f(shift: float = 5.0): ...", "fps = 16",
        "def f(*, fps=24): ...", "n = (n - 1) // 4 * 4 + 1", "assert n % 4 == 1", "width // 8", "t * 1000",
        "self.shift = 3.0", "vocabulary = 256384", "if model.shift == 12.0: pass", "mean = [-0.7571]",
    ],
)  # fmt: skip
def test_the_search_finds_a_fact(source: str) -> None:
    assert facts_in(source)


@pytest.mark.parametrize(
    "source",
    [
        "x = 5.0",
        "seconds = 16",
        '"""81 frames of 832x480"""',
        "n // 2",
        "beats = 12.0  # shift",
        "f(fps=25)",
        "a[4] + 8",
    ],
)
def test_the_search_leaves_other_numbers_alone(source: str) -> None:
    assert not facts_in(source)


def test_no_fact_stands_outside_the_table() -> None:
    found = set()
    for path in sorted(SRC.rglob("*.py")):
        file = path.relative_to(SRC).as_posix()
        if file != "core/family.py":
            found |= {(file, text, line) for line, text in facts_in(path.read_text(encoding="utf-8"))}
    allowed = {(file, what) for file, what, _ in ALLOWED}
    strange = [f"{file}:{line}: {what}" for file, what, line in sorted(found) if (file, what) not in allowed]
    assert not strange, "facts of the family outside core/family.py: " + "; ".join(strange)
    gone = allowed - {(file, what) for file, what, _ in found}
    assert not gone, f"allowed, and not there any more: {gone}"


def test_no_code_asks_for_a_member_by_name() -> None:
    found = set()
    for path in sorted(SRC.rglob("*.py")):
        file = path.relative_to(SRC).as_posix()
        if file != "core/family.py":
            module = ast.parse(path.read_text(encoding="utf-8"))
            found |= {(file, n.value) for n in ast.walk(module) if isinstance(n, ast.Constant) and n.value in FAMILY}
    found = {(file, name) for file, name in found if not file.startswith("interop/")}  # what other trainers call them
    assert found <= NAMES_ALLOWED, f"members are rows, never branches: {found - NAMES_ALLOWED}"
