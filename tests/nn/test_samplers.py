"""Schedules and steps against the official Wan schedulers, on a velocity that depends on x, t and nothing random."""

import pytest
import torch
from torch import Tensor

from official_parts import official_scheduler
from sakuga.core.errors import SakugaError
from sakuga.core.family import FAMILY
from sakuga.nn import samplers
from sampled import walk

SETTINGS = [(1, 5.0), (2, 5.0), (3, 1.0), (6, 5.0), (14, 8.0), (15, 3.0), (20, 7.0), (40, 12.0), (50, 5.0)]


def velocity(x: Tensor, t: float, step: int = 0) -> Tensor:
    return torch.tanh(1.7 * x + t / 300) - 0.3 * x.flip(-1)


@pytest.mark.parametrize(("steps", "shift"), SETTINGS)
@pytest.mark.parametrize("name", ["unipc", "dpm++"])
def test_schedule_equals_the_official_one(name: str, steps: int, shift: float) -> None:
    theirs = official_scheduler(name, steps, shift)
    assert torch.equal(torch.tensor(samplers.sigmas(name, steps, shift)), theirs.sigmas)
    assert samplers.timesteps(name, steps, shift) == theirs.timesteps.tolist()


@pytest.mark.parametrize(("steps", "shift"), SETTINGS)
@pytest.mark.parametrize("name", ["unipc", "dpm++"])
def test_every_step_equals_the_official_one(name: str, steps: int, shift: float) -> None:
    x = torch.randn(1, 4, 3, 6, 8, generator=torch.Generator().manual_seed(1))
    theirs = official_scheduler(name, steps, shift)
    expected, y = [], x
    for t in theirs.timesteps:
        y = theirs.step(velocity(y, float(t)), t, y, return_dict=False)[0]
        expected.append(y)
    schedule = samplers.sigmas(name, steps, shift), samplers.timesteps(name, steps, shift)
    ours = walk(name, velocity, x, *schedule)
    for step, (a, b) in enumerate(zip(ours, expected, strict=True)):
        assert torch.equal(a, b), f"step {step} differs by {(a - b).abs().max():.1e}"


@pytest.mark.parametrize(("steps", "shift"), SETTINGS)
def test_the_stochastic_sampler_equals_the_official_one_given_the_same_noise(steps: int, shift: float) -> None:
    generator = torch.Generator().manual_seed(1)
    x, *noise = torch.randn(steps + 1, 1, 4, 3, 6, 8, generator=generator)
    theirs = official_scheduler("dpm++sde", steps, shift)
    schedule = samplers.sigmas("dpm++sde", steps, shift), samplers.timesteps("dpm++sde", steps, shift)
    assert schedule[1] == theirs.timesteps.tolist()
    ours, y = walk("dpm++sde", velocity, x, *schedule, noise.__getitem__), x
    for t, fresh, found in zip(theirs.timesteps, noise, ours, strict=True):
        y = theirs.step(velocity(y, float(t)), t, y, variance_noise=fresh, return_dict=False)[0]
        torch.testing.assert_close(found, y, atol=2e-6, rtol=2e-6)
    assert steps == 1 or not torch.equal(
        ours[-1], walk("dpm++sde", velocity, x, *schedule, noise[::-1].__getitem__)[-1]
    )


def test_six_steps_at_shift_five() -> None:
    assert samplers.timesteps("unipc", 6, 5) == [999, 961, 908, 833, 713, 499]
    assert samplers.timesteps("dpm++", 6, 5) == [1000, 961, 909, 833, 714, 500]


@pytest.mark.parametrize("name", list(samplers.SAMPLERS))
def test_a_straight_flow_is_followed_exactly(name: str) -> None:
    """To one clean x every velocity is (y - x) / sigma: every sampler must end on x."""
    x, e = torch.randn(2, 8), torch.randn(2, 8)
    schedule = samplers.sigmas(name, 7, 5), samplers.timesteps(name, 7, 5)
    first = schedule[0][0]
    *_, end = walk(
        name, lambda y, t, i: (y - x) / schedule[0][i], (1 - first) * x + first * e, *schedule, lambda i: e.flip(0)
    )  # fmt: skip
    torch.testing.assert_close(end, x, atol=1e-5, rtol=0)


def test_euler_schedule() -> None:
    """ComfyUI's euler/simple at shift 8 in 20 steps hands over at step 10, sigma .889; timesteps are not truncated."""
    sigmas = samplers.sigmas("euler", 20, 8)
    assert sigmas[0] == 1
    assert sigmas[-1] == 0
    assert round(sigmas[10], 3) == 0.889
    assert samplers.timesteps("euler", 20, 8)[10] == pytest.approx(1000 * 8 / 9)


def test_euler_steps() -> None:
    x = torch.ones(1, 2)
    *_, end = walk("euler", lambda x, t, i: x * t, x, [1.0, 0.5, 0.0], [1.0, 0.5])
    assert end.tolist() == [[0.375, 0.375]]  # 1 - .5 * 1 = .5; .5 - .5 * .25 = .375


@pytest.mark.parametrize(("name", "high", "low"), [("wan2.2-t2v-a14b", 26, 14), ("wan2.2-i2v-a14b", 15, 25)])
def test_split_of_the_official_forty_steps(name: str, high: int, low: int) -> None:
    member = FAMILY[name]
    assert member.steps == 40
    steps = samplers.timesteps("unipc", member.steps, member.shift)
    assert samplers.split(steps, member) == ["high"] * high + ["low"] * low


def test_split_is_inclusive_at_the_boundary() -> None:
    assert samplers.split([876, 875, 874], FAMILY["wan2.2-t2v-a14b"]) == ["high", "high", "low"]
    assert samplers.split([900, 899], FAMILY["wan2.2-i2v-a14b"]) == ["high", "low"]
    assert samplers.split([999, 1], FAMILY["wan2.1-t2v-14b"]) == ["full", "full"]


def test_a_four_two_split_runs_the_high_expert_outside_its_range() -> None:
    member = FAMILY["wan2.2-t2v-a14b"]
    steps = samplers.timesteps("unipc", 6, 5)
    assert samplers.split(steps, member) == ["high"] * 3 + ["low"] * 3
    assert samplers.outside(steps, samplers.split(steps, member), member) == []
    assert samplers.outside(steps, ["high"] * 4 + ["low"] * 2, member) == [3]
    assert samplers.outside(steps, ["high"] * 2 + ["low"] * 4, member) == [2]


def test_errors_name_the_remedy() -> None:
    with pytest.raises(SakugaError, match="'unpic' is not a sampler; did you mean unipc"):
        samplers.sigmas("unpic", 6, 5)
    with pytest.raises(SakugaError, match="at least 1 step, not 0"):
        samplers.timesteps("euler", 0, 5)
