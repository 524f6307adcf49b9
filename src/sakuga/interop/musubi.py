"""Reading musubi-tuner's dataset file and training commands, key by key.

What holds there where a key is not given is written out. Facts are those of its release 0.3.4.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import SakugaError, nearest
from . import musubi_keys as keys
from .commands import Command, command_of, commands_in
from .draft import Draft, expert_named, take_file
from .musubi_dataset import take_sections
from .musubi_train import Training
from .reading import another, check_keys, locate, owner, read_table
from .report import SECRET

TRAINER = "musubi-tuner"


def read_musubi(
    dataset: Path, words: Sequence[str], maps: Sequence[tuple[str, str]], model: str | None = None
) -> Draft:
    """The draft of a dataset file and the commands of its training: a file of them, or the arguments themselves.

    `model` goes before what the commands say. Raises SakugaError for what is not musubi-tuner's, for unknown keys, and for
    a training that Sakuga has no model for.
    """
    table = read_table(dataset)
    if not str(owner(table) or "").startswith("a dataset file of musubi"):
        raise another(dataset, table, "a dataset file of musubi-tuner, which has [[datasets]]")
    draft = Draft(TRAINER, model, dataset.stem)
    arguments = _arguments(draft, words, dataset)
    task = arguments.get("task")  # of a training; the commands that fill caches have none
    draft.model = model or _member(draft, task)
    batches = take_sections(draft, table, dataset.name)
    _paths(draft, arguments, maps, dataset.parent)
    if task:
        Training(draft, arguments).take(batches)
    return draft


# The commands


def _arguments(draft: Draft, words: Sequence[str], dataset: Path) -> dict[str, Any]:
    """The arguments of the training command, with those of the cache commands that it lacks."""
    found: dict[str, Any] = {}
    for command in _commands(draft, words, dataset):
        known = keys.SCRIPTS.get(command.script)
        if known is None:
            raise SakugaError(
                f"{command.script} is for a model that Sakuga does not know; it imports {', '.join(keys.SCRIPTS)}"
            )
        given = _parsed(command.arguments, known, command.script)
        training = known is keys.TRAIN
        if training:
            given |= _launched(draft, command.before, given) | _from_file(given, dataset)
            given.setdefault("task", "t2v-14B")
            if "task" in found:
                _second(draft, found, given, words[0])
                continue
        for key, value in given.items():
            where = "train" if training else command.script
            if known[key].kind is not None:
                shown = SECRET if key in keys.SECRETS else value
                draft.report.add(known[key].kind or "exact", f"{where}: {key}", shown, "", known[key].about)
        found = {**found, **given} if training else {**_models_of(given), **found}
    return found


def _second(draft: Draft, first: dict[str, Any], second: Mapping[str, Any], file: str) -> None:
    """Take a second training as that of the other expert; its noise levels are those that the model gives it.

    Raises SakugaError where it is another training altogether.
    """
    two = "A14B" in first["task"] and first["task"] == second["task"]
    names = [_expert(given) for given in (first, second)]
    if not two or set(names) != {"high", "low"} or draft.pair:
        raise SakugaError(
            f"{file} holds two trainings that are not of two experts; import each into a project of its own"
        )
    draft.pair = {str(name): str(given.get("dit", "")) for name, given in zip(names, (first, second), strict=True)}
    for key in keys.OF_AN_EXPERT:
        first.pop(key, None)
    for key in second:
        if key not in keys.OF_AN_EXPERT and key not in keys.NAMES and second[key] != first.get(key):
            note = f"the trainings differ in it, and here one setting holds for both experts: {first.get(key)!r}"
            draft.report.add("refused", f"second training: {key}", second[key], "", note)


def _expert(given: Mapping[str, Any]) -> str | None:
    """Which expert a training is of: by its noise levels, else by the name of its weights."""
    if "min_timestep" in given or "max_timestep" in given:
        return "high" if float(given.get("min_timestep", 0)) > 0 else "low"
    return expert_named(given.get("dit"))


def _models_of(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: given[key] for key in ("vae", "t5", "clip") if key in given}


def _commands(draft: Draft, words: Sequence[str], dataset: Path) -> list[Command]:
    if not words:
        return []
    if not words[0].startswith("-") and command_of(list(words)) is None:
        if len(words) > 1:
            raise SakugaError(
                f"{words[1]!r} is one too many: a dataset file, then a file of commands or -- and arguments"
            )
        return _in_file(draft, Path(words[0]))
    return [command_of(list(words)) or Command("wan_train_network", (), tuple(words))]


def _in_file(draft: Draft, path: Path) -> list[Command]:
    if path.suffix.lower() == ".toml":
        return [Command("wan_train_network", (), ("--config_file", str(path)))]
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SakugaError(f"the file of commands {path} cannot be read: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise SakugaError(f"the file of commands {path} is not UTF-8 text; save it as UTF-8 in an editor") from error
    commands, others = commands_in(text)
    if not commands:
        raise SakugaError(
            f"{path.name} calls no script of musubi-tuner; name the file with `wan_train_network.py` in it"
        )
    for line in others:
        draft.report.add("ignored there", "command", line, "", "it is no command of musubi-tuner's, and was left aside")
    return commands


def _parsed(words: Sequence[str], known: Mapping[str, keys.Key], script: str) -> dict[str, Any]:
    """Arguments as they stand, by key: True for those that take nothing, a list for those that take many."""
    found: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        key, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--"):
            raise SakugaError(f"{script}: {word!r} belongs to no argument; quote values that hold spaces")
        check_keys({key: 0}, known, script)
        if known[key].takes == "nothing":
            found[key] = True
        elif known[key].takes == "many":
            end = next((n for n, later in enumerate(rest) if later.startswith("--")), len(rest))
            found[key] = ([value] if equals else []) + rest[:end]
            rest = rest[end:]
        elif not equals and (not rest or rest[0].startswith("--")):
            raise SakugaError(f"{script}: --{key} has no value; give it one, or leave it out")
        else:
            found[key] = value if equals else rest.pop(0)
    return found


def _launched(draft: Draft, before: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """What `accelerate launch` was told that matters: the precision, where the script's own arguments do not say it."""
    found: dict[str, Any] = {}
    for place, word in enumerate(before):
        if word == "--mixed_precision" and place + 1 < len(before) and "mixed_precision" not in given:
            found["mixed_precision"] = before[place + 1]
        elif word.startswith("--"):
            value = before[place + 1] if place + 1 < len(before) else ""
            draft.report.add("exact", f"accelerate: {word.lstrip('-')}", value, "", keys.LAUNCH)
    return found


def _from_file(given: Mapping[str, Any], dataset: Path) -> dict[str, Any]:
    """The arguments of --config_file; those of the command line go before them."""
    if "config_file" not in given:
        return {}
    path = locate(str(given["config_file"]), (), (dataset.parent,))
    if path is None:
        raise SakugaError(f"the file of arguments {given['config_file']} is not there; correct its path in the command")
    found: dict[str, Any] = {}
    for key, value in read_table(path).items():
        found |= value if isinstance(value, dict) else {key: value}
    check_keys(found, keys.TRAIN, path.name)
    return {key: value for key, value in found.items() if key not in given and value is not False}


def _member(draft: Draft, task: str | None) -> str:
    if task is None:
        default = "wan2.2-t2v-a14b"
        note = "no training command was given, and a dataset file does not say the model; --model chooses another"
        draft.report.add("differs", "train: task", None, f'model = "{default}"', note)
        return default
    if task in keys.TASKS:
        note = "single pictures of the text-to-video model" if task == "t2i-14B" else ""
        draft.report.add("exact", "train: task", task, f'model = "{keys.TASKS[task]}"', note)
        return keys.TASKS[task]
    if task in keys.OTHER_TASKS:
        raise SakugaError(f"--task {task} trains a model that Sakuga does not have; it has {', '.join(keys.TASKS)}")
    raise SakugaError(f"--task {task} is no task of musubi-tuner{nearest(task, list(keys.TASKS))}; correct it")


# The models


def _paths(draft: Draft, arguments: Mapping[str, Any], maps: Sequence[tuple[str, str]], beside: Path) -> None:
    """The model files that are on this machine, and the file of preview prompts."""
    two = len(draft.member.experts) > 1
    roles = {"vae": "vae", "t5": "text", "clip": "clip", "dit_high_noise": "high"}
    roles["dit"] = (
        "transformer"
        if not two
        else "low"
        if "dit_high_noise" in arguments
        else expert_named(arguments.get("dit")) or "low"
    )
    for expert, given in (draft.pair or {}).items():
        take_file(draft, "train: dit", given, f"models.{expert}", maps, beside)
    for key, role in roles.items():
        if key in arguments:
            take_file(draft, f"train: {key}", str(arguments[key]), f"models.{role}", maps, beside)
    if "network_weights" in arguments and not draft.pair:
        take_file(draft, "train: network_weights", str(arguments["network_weights"]), "train.start_from", maps, beside)
    if "sample_prompts" in arguments:
        given = str(arguments["sample_prompts"])
        path = locate(given, maps, (beside,))
        draft.prompts = str(path) if path else None
        if path is None:
            note = "it is not on this machine; copy it into the project and set train.prompts, or say --map"
            draft.report.add("differs", "train: sample_prompts", given, "", note)
