"""The optimizers by their names: each learns, gets what it takes of the settings, and says what it does not take."""

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sakuga.core.errors import SakugaError
from sakuga.core.settings import TrainSettings
from sakuga.nn.automagic import Automagic
from sakuga.nn.lora import LoraSet, inject
from sakuga.nn.optimizers import KNOWN, make_optimizer, rate_of, set_rates


def adapters() -> tuple[nn.Module, LoraSet]:
    model = nn.Module()
    model.blocks = nn.ModuleList([nn.Module()])
    model.blocks[0].ffn = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 8))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 3)
    return model, inject(model, 2, 2, seed=0)


def loss_of(model: nn.Module) -> Tensor:
    x = torch.linspace(-1, 1, 64).reshape(8, 8)
    return (model.blocks[0].ffn(x) - x.flip(0)).square().mean()  # type: ignore[index, operator, union-attr]


def learn(lora: LoraSet, model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    losses = []
    for _ in range(steps):
        loss = loss_of(model)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def sentence(**settings: Any) -> str:
    with pytest.raises(SakugaError) as raised:
        make_optimizer(adapters()[1], TrainSettings(**settings))
    return str(raised.value)


@pytest.mark.parametrize("name", [*KNOWN, "torch.optim.RAdam", "torch.optim.Adafactor"])
def test_every_optimizer_learns(name: str) -> None:
    model, lora = adapters()
    args = {"d0": 1e-3} if name == "prodigy" else {}  # fifty steps are short to find a rate from 1e-6
    rate = 0.5 if name == "torch.optim.Adafactor" else 0.01  # times the size of what it moves
    optimizer = make_optimizer(lora, TrainSettings(optimizer=name, learning_rate=rate, optimizer_args=args))
    losses = learn(lora, model, optimizer, 50)
    assert losses[-1] < 0.8 * losses[0], losses


def test_the_settings_reach_the_class_as_far_as_it_takes_them() -> None:
    lora = adapters()[1]
    own = {"learning_rate": 1e-3, "betas": (0.8, 0.9), "eps": 1e-5, "weight_decay": 0.25}
    group = make_optimizer(lora, TrainSettings(**own)).param_groups[0]
    assert {k: group[k] for k in ("lr", "betas", "eps", "weight_decay")} == {
        "lr": 1e-3, "betas": (0.8, 0.9), "eps": 1e-5, "weight_decay": 0.25,
    }  # fmt: skip
    group = make_optimizer(lora, TrainSettings(**own, optimizer="adamw-kahan")).param_groups[0]
    assert (group["beta1"], group["beta2"], group["kahan_sum"]) == (0.8, 0.9, True)
    group = make_optimizer(lora, TrainSettings(**own, optimizer="adafactor")).param_groups[0]
    assert (group["lr"], group["weight_decay"], group["relative_step"]) == (1e-3, 0.25, False)
    assert group["eps"] == (1e-30, 1e-3)  # two numbers of another meaning than ours
    group = make_optimizer(lora, TrainSettings(**own, optimizer_args={"betas": (0.5, 0.6)})).param_groups[0]
    assert group["betas"] == (0.5, 0.6)


def test_lora_plus_gives_B_its_own_rate() -> None:
    lora = adapters()[1]
    optimizer = make_optimizer(lora, TrainSettings(learning_rate=1e-4, lora_plus=16))
    set_rates(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5e-4, 8e-4]
    slow, fast = (group["params"] for group in optimizer.param_groups)
    assert all(p.shape[0] == 2 for p in slow) and all(p.shape[1] == 2 for p in fast)
    assert {id(p) for p in (*slow, *fast)} == {id(p) for p in lora.parameters()}
    assert sentence(optimizer="prodigy", lora_plus=2) == (
        "prodigy finds one rate for all that it trains; set train.lora_plus to 1"
    )


def test_prodigy_keeps_its_own_rate_under_the_schedule() -> None:
    model, lora = adapters()
    optimizer = make_optimizer(lora, TrainSettings(optimizer="prodigy", learning_rate=2e-5))
    assert optimizer.param_groups[0]["lr"] == 1.0
    learn(lora, model, optimizer, 20)
    set_rates(optimizer, 0.25)
    assert optimizer.param_groups[0]["lr"] == 0.25
    assert rate_of(optimizer) == 0.25 * optimizer.param_groups[0]["d"] > 0


def test_automagic_speeds_up_what_goes_one_way_and_slows_what_turns() -> None:
    steady, turning = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(3))
    optimizer = Automagic([steady, turning], lr=0.1, bump=2.0, low=0.25, high=4.0)
    for n in range(5):
        steady.grad, turning.grad = torch.ones(2, 2), torch.ones(3) * (-1) ** n
        optimizer.step()
    assert optimizer.state[steady]["factor"].unique().tolist() == [4.0]
    assert optimizer.state[turning]["factor"].unique().tolist() == [0.25]
    torch.testing.assert_close(steady.detach(), torch.full((2, 2), -0.1 * (1 + 2 + 4 + 4 + 4)))
    with pytest.raises(ValueError, match="bump is at least 1, low at most 1"):
        Automagic([steady], bump=0.5)


def test_a_name_that_is_none() -> None:
    assert sentence(optimizer="adamw8").startswith("there is no optimizer 'adamw8'; did you mean adamw")
    assert sentence(optimizer="torch.optim.Nothing").startswith(
        "train.optimizer 'torch.optim.Nothing' cannot be imported ("
    )
    assert sentence(optimizer="no.such.module").endswith("; install it or mend the name")
    for name in ("math.pi", "collections.OrderedDict", "torch.nn.Linear"):
        assert sentence(optimizer=name) == (
            f"train.optimizer '{name}' is no optimizer of torch; name a class made from torch.optim.Optimizer"
        )


def test_an_optimizer_that_wants_to_compute_the_loss_itself() -> None:
    assert sentence(optimizer="torch.optim.LBFGS") == (
        "train.optimizer 'torch.optim.LBFGS' computes the loss several times a step, which no training here does; choose another"
    )


def test_arguments_that_are_none() -> None:
    said = sentence(optimizer_args={"beta": 1})
    assert said.startswith("adamw has no argument 'beta' (train.optimizer_args); did you mean betas")
    assert "; it takes amsgrad, betas, capturable" in said
    assert sentence(optimizer_args={"betas": (1.5, 0.9)}) == (
        "adamw cannot be made with these train.optimizer_args (Invalid beta parameter at index 0: 1.5); change them"
    )
    assert sentence(optimizer_args={"params": 1}).startswith("adamw has no argument 'params'")


@pytest.mark.parametrize(
    ("name", "package", "module"),
    [
        ("adamw8bit", "bitsandbytes", "bitsandbytes"),
        ("adamw-kahan", "torch-optimi", "optimi"),
        ("prodigy", "prodigyopt", "prodigyopt"),
    ],
)
def test_a_package_that_is_missing(name: str, package: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for loaded in [m for m in sys.modules if m.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module, None)  # as python has it of a module that is not there
    assert sentence(optimizer=name) == f"{name} needs {package}; run pip install 'sakuga[optimizers]'"


def test_the_table_loads_nothing_before_it_is_asked() -> None:
    code = "import sys, sakuga.nn.optimizers; print({'optimi', 'bitsandbytes', 'prodigyopt'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
