"""Command lines as people keep them."""

import pytest

from sakuga.interop.commands import Command, commands_in


def arguments(text: str) -> list[tuple[str, ...]]:
    return [command.arguments for command in commands_in(text)[0]]


@pytest.mark.parametrize("more", ["^", "\\", "`"])
def test_lines_are_continued_as_each_shell_does(more: str) -> None:
    text = f"accelerate launch --mixed_precision bf16 wan_train_network.py {more}\n  --task t2v-14B {more}\n  --sdpa\npause"
    commands, others = commands_in(text)
    before = ("accelerate", "launch", "--mixed_precision", "bf16")
    assert commands == [Command("wan_train_network", before, ("--task", "t2v-14B", "--sdpa"))]
    assert others == ["pause"]


def test_paths_and_quotes() -> None:
    text = r"""python C:\m\wan_train_network.py --dit "D:\my models\a b.safetensors" --vae 'x y' --output_dir G:\out\
--task=t2v-14B"""
    assert arguments(text) == [
        ("--dit", r"D:\my models\a b.safetensors", "--vae", "x y", "--output_dir", "G:\\out\\", "--task=t2v-14B")
    ]


def test_comments_are_left_out() -> None:
    text = "# a training\nREM old: python wan_train_network.py --sdpa\n:: no\n"
    text += "python a/wan_train_network.py \\\n# the rank\n--network_dim 8 # small\n"
    assert arguments(text) == [("--network_dim", "8")]


def test_several_commands_in_a_line_and_modules() -> None:
    text = "cd x && python wan_cache_latents.py --vae v && python -m musubi_tuner.wan_train_network --sdpa"
    commands, others = commands_in(text)
    assert [(c.script, c.arguments) for c in commands] == [
        ("wan_cache_latents", ("--vae", "v")),
        ("wan_train_network", ("--sdpa",)),
    ]
    assert others == ["cd x"]


@pytest.mark.parametrize(
    ("set_", "use"),
    [("set VAE=D:/v", "%VAE%"), ("VAE=D:/v", "$VAE"), ('export VAE="D:/v"', "${VAE}"), ('$VAE = "D:/v"', "$VAE"),
     ('set "VAE=D:/v"', "%vae%")],
)  # fmt: skip
def test_variables_that_are_set_above(set_: str, use: str) -> None:
    assert arguments(f"{set_}\npython wan_cache_latents.py --vae {use}") == [("--vae", "D:/v")]


def test_an_unknown_variable_stays() -> None:
    assert arguments("python wan_cache_latents.py --vae %VAE%") == [("--vae", "%VAE%")]
