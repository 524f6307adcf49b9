"""The shape of the code: which layer may import which, what each may not touch, and what `--help` must not load."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import sakuga

SRC = Path(sakuga.__file__).parent
FILES = {".".join(("sakuga", *p.relative_to(SRC).with_suffix("").parts)): p for p in sorted(SRC.rglob("*.py"))}
MODULES = {name.removesuffix(".__init__"): path for name, path in FILES.items()}
RANK = {"core": 0, "nn": 1, "signals": 1, "stages": 2}
SURFACE = 3  # cli, api, demo, __main__ and whatever else stands beside them


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def layer(name: str) -> str:
    return name.partition(".")[2].partition(".")[0]


def is_package(name: str) -> bool:
    return MODULES[name].name == "__init__.py"


def imports_of(name: str, node: ast.AST) -> Iterator[str]:
    """The modules that an import statement of module `name` names, as full names."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parts = name.split(".") if is_package(name) else name.split(".")[:-1]
            parts = parts[: len(parts) - node.level + 1]
            base = ".".join([*parts, *filter(None, [node.module])])
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            yield inner if inner in MODULES else base


def all_imports(name: str) -> set[str]:
    """Every import of a module, also those inside functions."""
    return {target for node in ast.walk(tree(name)) for target in imports_of(name, node)}


def first_imports(name: str) -> set[str]:
    """Imports that happen when the module is imported: not those in functions, nor those for the type checker."""
    found: set[str] = set()
    todo: list[ast.AST] = list(tree(name).body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
            continue
        found |= set(imports_of(name, node))
        todo += ast.iter_child_nodes(node)
    return found


def ours(names: set[str]) -> set[str]:
    return {name for name in names if name in MODULES}


def roots(name: str) -> set[str]:
    return {target.split(".")[0] for target in all_imports(name)}


def reached(name: str) -> set[str]:
    """Every module of ours that importing `name` brings in."""
    found: set[str] = set()
    todo = [name]
    while todo:
        for target in ours(first_imports(todo.pop())) - found:
            found.add(target)
            todo.append(target)
    return found


def test_the_reader_of_imports_sees_what_there_is() -> None:
    assert {"sakuga.core.errors", "sakuga.core.family", "sakuga.nn.flow"} <= all_imports("sakuga.stages.train.data")
    assert "sakuga.core.processes" in all_imports("sakuga.core.stage") - first_imports("sakuga.core.stage")
    assert "transformers" in roots("sakuga.nn.text")
    assert "sakuga.core.store" in reached("sakuga.core.captions")
    assert {"core", "nn", "signals", "stages", "cli", "api"} <= {layer(name) for name in MODULES}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_its_own_layer_and_those_below(name: str) -> None:
    for target in ours(all_imports(name)):
        mine, theirs = RANK.get(layer(name), SURFACE), RANK.get(layer(target), SURFACE)
        if name == "sakuga" or target == "sakuga":
            continue  # the package itself, which holds the version
        assert theirs <= mine, f"{name} imports {target}"
        assert theirs != mine or layer(name) == layer(target) or mine == SURFACE, f"{name} imports {target}"


@pytest.mark.parametrize("name", [n for n in MODULES if layer(n) == "stages" and n != "sakuga.stages"])
def test_stages_never_import_each_other(name: str) -> None:
    own = ".".join(name.split(".")[:3])
    others = {t for t in ours(all_imports(name)) if layer(t) == "stages" and not f"{t}.".startswith(f"{own}.")}
    assert not others, f"{name} imports {others}"


def test_only_stages_and_surfaces_know_the_store() -> None:
    for name in MODULES:
        if layer(name) in ("nn", "signals"):
            kept = {"sakuga.core.store", "sakuga.core.project"} & (reached(name) | all_imports(name))
            assert not kept and "sqlite3" not in roots(name), f"{name} reaches {kept}"


def test_torch_and_its_kin_stay_where_they_belong() -> None:
    homes = {
        "diffusers": set(),
        "transformers": {"sakuga.nn.clip", "sakuga.nn.text", "sakuga.nn.embed", "sakuga.nn.vision"},
        "peft": set(),
    }
    for name in MODULES:
        if layer(name) in ("core", "signals"):
            assert not roots(name) & {"torch", "safetensors", "diffusers", "transformers"}, name
        for package, home in homes.items():
            assert package not in roots(name) or name in home, f"{name} imports {package}"


def test_no_circle_of_imports() -> None:
    circles = [name for name in MODULES if name in reached(name)]
    assert not circles, f"these import themselves by a way round: {circles}"


def broad_handlers(module: ast.Module) -> list[int]:
    """Lines where every exception is caught and kept: `except:` and `except Exception` that do not raise again."""
    lines = []
    for node in ast.walk(module):
        if isinstance(node, ast.ExceptHandler):
            caught = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)} if node.type else {"Exception"}
            again = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            if caught & {"Exception", "BaseException"} and not again:
                lines.append(node.lineno)
    return lines


def test_one_place_catches_everything() -> None:
    sample = "try: f()\nexcept{}: pass\n"
    assert broad_handlers(ast.parse(sample.format("")))
    assert broad_handlers(ast.parse(sample.format(" (ValueError, Exception)")))
    assert not broad_handlers(ast.parse(sample.format(" OSError")))
    assert not broad_handlers(ast.parse("try: f()\nexcept BaseException:\n    g()\n    raise\n"))
    found = {name: lines for name in MODULES if (lines := broad_handlers(tree(name)))}
    assert list(found) == ["sakuga.core.stage"] and len(found["sakuga.core.stage"]) == 1, found


@pytest.mark.parametrize("name", [n for n in MODULES if layer(n) in RANK])
def test_nothing_below_the_surfaces_prints(name: str) -> None:
    calls = [n for n in ast.walk(tree(name)) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    assert not [c.lineno for c in calls if c.func.id == "print"], f"{name} prints"  # type: ignore[attr-defined]


HEAVY = ("torch", "numpy", "av", "cv2", "PIL", "scenedetect", "diffusers", "transformers", "safetensors")
LOADED = f"import sys; print([m for m in {HEAVY!r} if m in sys.modules], end='')"


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_import_and_help_load_nothing_heavy() -> None:
    assert python(f"import numpy; {LOADED}") == "['numpy']"
    assert python(f"import sakuga; {LOADED}") == "[]"
    assert python(f"import sakuga.api; {LOADED}") == "[]"
    assert python(f"import sakuga.cli\nassert sakuga.cli.run(['--help']) == 0\n{LOADED}").endswith("\n[]")


def test_help_comes_at_once() -> None:
    # processor time rather than the clock's, since other tests run beside this one
    code = "import sakuga.cli, sys, time\nsakuga.cli.run(['--help'])\nprint(time.process_time(), file=sys.stderr)"
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr)
        for _ in range(3)
    ]
    assert min(times) < 0.6, times
