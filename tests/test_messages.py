"""Every sentence that tells a person what is wrong stands in a test: three words in a row that no other sentence has.

What is read: the words of each error that the code makes, and of the functions that give reasons in another way
(`REASONS`). An error that only hands on another's words has none of its own and is named in `HANDED_ON`.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import sakuga

SRC = Path(sakuga.__file__).parent
TESTS = Path(__file__).parent

# Calls that make an error, and which of their arguments is the sentence.
ERRORS = {"SakugaError": 0, "Halt": 0, "_Passing": 0, "ValueError": 0, "_unreadable": 1, "DoesNotFit": 0}
UNTOLD = {"nn/pickles.py"}  # of its ValueErrors nobody hears: one sentence stands for all of them

# Functions and constants that say otherwise why something is set aside, left out or reported: every text of three words
# counts.
REASONS = {
    "cli/__init__.py": ("run", "_sentence"),
    "core/listings.py": ("read_listing", "_whole", "_lines", "_parsed"),
    "core/media/decoding.py": ("told",),
    "core/media/film.py": ("_why", "_first_frame"),
    "core/models.py": ("find",),
    "core/processes.py": ("_alone",),
    "core/samples/enumeration.py": ("_why_fewer",),
    "core/samples/windows.py": ("why_none",),
    "core/settings.py": ("explain",),
    "core/stage.py": ("attempt", "STOPPED"),
    "core/stale.py": ("stale", "_why", "_changes"),
    "nn/vision.py": ("_too_large",),
    "doctor.py": ("_python", "_packages", "_torch", "_codec", "_disk", "_project", "_servers"),
    "stages/adopt.py": ("_look", "_away", "_item", "_findings"),
    "stages/check.py": ("_work", "_file_findings", "_caption_findings"),
    "stages/export.py": ("_reason", "_stills"),
    "stages/pick.py": ("_fault", "_unlike_wanted", "_wrong_people", "_work"),
    "stages/plan.py": ("_work",),
}

# Errors without words of their own, as file and expression.
HANDED_ON = {
    "core/media/film.py: 'none of its pictures can be decoded' if told else 'it has no frames'",
    "core/media/film.py: _why(error)",
    "core/prompts.py: f\"line {number}: --{name} ({flag.field}) takes {flag.wants}, not '{value}'\"",
    "core/prompts.py: f'{path}: {error}'",
    "stages/train/data.py: f'{draw.sample.item}: {error}'",
    "core/server.py: f'it answered {status} {said}'.rstrip()",
    "core/settings.py: f'{origin}: {explain(error, ProjectSettings)}'",
    "core/settings.py: explain(error, type(settings))",
    "doctor.py: f'{errors[0].check}: {errors[0].found}; {errors[0].remedy}'",
    "nn/weights.py: mistaken(path, role, facts) or str(error)",
    "nn/vision.py: _too_large(source, dtype, chosen)",
    "stages/adopt.py: facts['fault']",
    "stages/cache.py: next(iter(faults.values()))",
}

Sentence = tuple[str, ...]  # its pieces, between what is filled in


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def pieces(node: ast.AST) -> Sentence:
    """The literal words of an expression, without what is filled in."""
    if isinstance(node, ast.Constant):
        return (node.value,) if isinstance(node.value, str) else ()
    if isinstance(node, ast.JoinedStr | ast.BinOp):
        return tuple(piece for inner in ast.iter_child_nodes(node) for piece in pieces(inner))
    return ()


def runs(sentence: Sentence) -> set[str]:
    """Every three words in a row; a shorter piece counts whole where it is long enough to mean something."""
    split = [piece.split() for piece in sentence]
    found = {" ".join(words[n : n + 3]) for words in split for n in range(max(1, len(words) - 2))}
    return {bare for run in found if len(bare := run.strip(" ;,:.'()")) >= 10}


def errors_in(module: ast.Module, name: str = "") -> Iterator[tuple[int, ast.expr]]:
    """The line and the sentence of every error that a module makes."""
    told = ERRORS.keys() - ({"ValueError"} if name in UNTOLD else set())
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in told and node.args:
            yield node.lineno, node.args[ERRORS[node.func.id]]


def reasons_in(module: ast.Module, name: str) -> Iterator[tuple[int, Sentence]]:
    """Every text of a function or a constant that holds three words in a row, but its docstring and its queries."""
    todo: list[ast.AST] = []
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            todo += [n for n in node.body if not isinstance(n, ast.Expr) or not pieces(n.value)]
        elif isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]:
            todo.append(node.value)
    assert todo, f"there is no {name} any more"
    while todo:
        node = todo.pop()
        words = pieces(node)
        if any(len(piece.split()) >= 3 for piece in words) and not words[0].startswith(("SELECT ", "PRAGMA ")):
            yield node.lineno, words  # type: ignore[attr-defined]
        elif not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in ERRORS:
            todo += ast.iter_child_nodes(node)


def sentences_in(module: ast.Module, name: str, reasons: Iterable[str] = ()) -> list[tuple[int, Sentence]]:
    """Line and words of all that a module says is wrong."""
    said = [(line, pieces(node)) for line, node in errors_in(module, name)]
    said += [found for reason in reasons for found in reasons_in(module, reason)]
    return [(line, words) for line, words in said if runs(words)]


def texts_in(module: ast.Module) -> Iterator[str]:
    """The texts of a test file but its docstrings; patterns without their backslashes."""
    statements = {id(n.value) for n in ast.walk(module) if isinstance(n, ast.Expr)}
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in statements:
            yield " ".join(re.sub(r"\\(.)", r"\1", node.value).split())


def untested(said: Iterable[Sentence], tested: Iterable[str]) -> set[Sentence]:
    """The sentences that the tests lack. One that stands in the code twice must stand in the tests twice."""
    often = Counter(said)
    owners = Counter(run for sentence in often for run in runs(sentence))
    lines = list(tested)
    missing = set()
    for sentence, times in often.items():
        marks = {run for run in runs(sentence) if owners[run] == 1} or {" ".join(max(sentence, key=len).split())}
        if sum(any(mark in line for mark in marks) for line in lines) < times:
            missing.add(sentence)
    return missing


def test_the_comparison_sees_what_is_missing() -> None:
    lines = [
        "def f(x):",
        "  'a b c'",
        "  if x: raise SakugaError(f'{x} is not there; look again')",
        "  return 'too dark a scene'",
    ]
    said = [words for _, words in sentences_in(ast.parse("\n".join(lines)), "a.py", ["f"])]
    assert said == [(" is not there; look again",), ("too dark a scene",)]
    assert untested(said, ["it is too dark a", "it is not there; look"]) == set()
    assert untested(said, ["dark a scene", "not there"]) == {said[0]}
    assert untested([*said, *said], ["dark a scene"] * 2 + ["there; look again"]) == {said[0]}
    alike = [("this or that is lost",), ("or that is lost",)]
    assert untested(alike, ["this or that is lost"]) == set()
    assert untested(alike, ["or that is gone"]) == set(alike)
    assert list(texts_in(ast.parse("'what this is for'\nmatch(r'not\\(a\\)  b')"))) == ["not(a) b"]


def test_every_sentence_for_people_is_tested() -> None:
    places: dict[Sentence, list[str]] = {}
    for path in SRC.rglob("*.py"):
        name = path.relative_to(SRC).as_posix()
        for line, words in sentences_in(tree(path), name, REASONS.get(name, ())):
            places.setdefault(words, []).append(f"{name}:{line}")
    assert len(places) > 150
    tests = [tree(path) for path in TESTS.rglob("*.py") if path != Path(__file__)]
    missing = untested([w for w in places for _ in places[w]], [text for test in tests for text in texts_in(test)])
    told = sorted(f"{', '.join(places[words])}: {' ... '.join(words)}" for words in missing)
    assert not told, "no test expects these sentences:\n" + "\n".join(told)


def test_what_is_handed_on_is_known() -> None:
    """An error whose words come from elsewhere: there they must be read, by a name in REASONS."""
    found = {
        f"{name}: {ast.unparse(node)}"
        for name, path in {path.relative_to(SRC).as_posix(): path for path in SRC.rglob("*.py")}.items()
        for _, node in errors_in(tree(path), name)
        if not runs(pieces(node))
    }
    assert found == HANDED_ON
