"""The objective, the distribution of noise levels, and randomness that is a pure function of its key."""

import hashlib
import statistics

import torch

from sakuga.core import noise
from sakuga.nn import flow


def test_noise_target_and_estimate_belong_together() -> None:
    x, e = torch.randn(2, 3, 2, 4, 4), torch.randn(2, 3, 2, 4, 4)
    t = torch.tensor([0.25, 1.0])
    x_t = flow.noise_latents(x, e, t)
    torch.testing.assert_close(x_t[0], 0.75 * x[0] + 0.25 * e[0])
    assert torch.equal(x_t[1], e[1])
    assert torch.equal(flow.noise_latents(x, e, 0.25)[0], x_t[0])
    torch.testing.assert_close(flow.denoised(x_t, flow.target(x, e), t), x)


def test_loss_is_a_mean_per_sample_in_fp32() -> None:
    predicted = torch.zeros(2, 3, 1, 2, 2, dtype=torch.bfloat16)
    wanted = torch.stack([torch.full((3, 1, 2, 2), 2.0), torch.full((3, 1, 2, 2), 3.0)])
    loss = flow.flow_loss(predicted, wanted)
    assert loss.dtype == torch.float32
    assert loss.tolist() == [4.0, 9.0]


def test_model_time() -> None:
    assert flow.model_time(0.875) == 875


def test_keys_are_stable_and_unambiguous() -> None:
    assert flow.key_seed(7, 0, "clip") == 2757055449730397855
    assert flow.key_seed("a", "bc") != flow.key_seed("ab", "c")
    assert flow.key_seed(1) != flow.key_seed("1")
    assert 0 <= flow.key_seed(-1) < 2**63


def test_noise_is_a_pure_function_of_its_key() -> None:
    torch.manual_seed(0)
    first = flow.noise_for((3, 50, 50), 1, 2, "x")
    torch.randn(9)
    state = torch.get_rng_state()
    assert torch.equal(flow.noise_for((3, 50, 50), 1, 2, "x"), first)
    assert torch.equal(torch.get_rng_state(), state), "the global generator was touched"
    assert not torch.equal(flow.noise_for((3, 50, 50), 1, 3, "x"), first)
    assert first.dtype == torch.float32
    assert abs(first.mean().item()) < 0.05
    assert abs(first.std().item() - 1) < 0.05


def test_order_is_a_stable_permutation() -> None:
    assert flow.order_for(8, 7, 0) == [3, 1, 5, 6, 7, 4, 2, 0]
    assert sorted(flow.order_for(1000, "a")) == list(range(1000))
    assert flow.order_for(1000, "a") != flow.order_for(1000, "b")
    assert flow.order_for(0, "a") == []
    firsts = [flow.order_for(4, i)[0] for i in range(2000)]
    assert all(abs(firsts.count(k) - 500) < 100 for k in range(4))


def test_stratified_draws_fall_one_to_a_stratum() -> None:
    count = 50
    draws = [flow.stratified_u(3, 1, i, count, "high") for i in range(count)]
    assert sorted(int(u * count) for u in draws) == list(range(count))
    assert draws != [flow.stratified_u(3, 2, i, count, "high") for i in range(count)]
    assert draws != [flow.stratified_u(3, 1, i, count, "low") for i in range(count)]
    assert draws[17] == flow.stratified_u(3, 1, 17, count, "high")
    assert statistics.pstdev(u * count % 1 for u in draws) > 0.2, "no jitter within the strata"


def test_the_epoch_of_draws_is_golden() -> None:
    """A change here changes every training: it must be meant."""
    draws = [noise.time_at(flow.stratified_u(0, 0, i, 20, "high"), "sigmoid", 12.0, t_min=0.875) for i in range(20)]
    digest = hashlib.sha256(" ".join(f"{t:.9f}" for t in draws).encode()).hexdigest()[:16]
    assert digest == "52d76f1467fe0b59"


def test_a_latent_frame_can_have_a_level_of_its_own() -> None:
    x, e = flow.noise_for((2, 3, 4, 2, 2), "x"), flow.noise_for((2, 3, 4, 2, 2), "e")
    t = torch.tensor([[0.0, 0.5, 0.5, 0.5], [0.25] * 4])
    noised = flow.noise_latents(x, e, t)
    assert torch.equal(noised[0, :, 0], x[0, :, 0])
    torch.testing.assert_close(noised[0, :, 1:], (x + e)[0, :, 1:] / 2)
    torch.testing.assert_close(noised[1], flow.noise_latents(x, e, 0.25)[1])
    losses = flow.flow_loss(x, e, t)
    square = (x - e).square()
    torch.testing.assert_close(losses, torch.stack((square[0, :, 1:].mean(), square[1].mean())))
    assert torch.equal(flow.flow_loss(x, e, t[:, 1]), flow.flow_loss(x, e))


def _some(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    velocity, wanted = (torch.randn(3, 4, 2, 3, 5, generator=generator) for _ in range(2))
    return velocity, wanted


LEVELS = torch.tensor([0.1, 0.5, 1.0])


def test_the_plain_loss_is_the_mse() -> None:
    velocity, wanted = _some()
    found = flow.losses(velocity, wanted, LEVELS)
    assert torch.equal(found.loss, found.mse)
    torch.testing.assert_close(found.mse, (velocity - wanted).square().mean((1, 2, 3, 4)))


def test_huber_is_that_of_torch() -> None:
    velocity, wanted = _some()
    for delta in (0.1, 1.0, 50.0):
        found = flow.losses(velocity, wanted, LEVELS, kind="huber", delta=delta)
        theirs = torch.nn.functional.huber_loss(velocity, wanted, reduction="none", delta=delta).mean((1, 2, 3, 4))
        torch.testing.assert_close(found.loss, theirs)
        torch.testing.assert_close(found.mse, flow.losses(velocity, wanted, LEVELS).mse)
    torch.testing.assert_close(found.loss, found.mse / 2)  # where nothing lies beyond delta


def test_levels_weigh_as_their_formulas_say() -> None:
    velocity, wanted = _some()
    plain = flow.losses(velocity, wanted, LEVELS).mse
    by_sigma = flow.losses(velocity, wanted, LEVELS, weighting="sigma_sqrt")
    torch.testing.assert_close(by_sigma.loss, plain * torch.tensor([100.0, 4.0, 1.0]))
    by_cosine = flow.losses(velocity, wanted, LEVELS, weighting="cosmap")
    torch.testing.assert_close(by_cosine.loss, plain * 2 / torch.pi / torch.tensor([0.82, 0.5, 1.0]))
    assert torch.equal(by_sigma.mse, plain)
    assert torch.equal(by_cosine.mse, plain)
    assert flow.sigma_sqrt(torch.tensor([1e-300])).isfinite().all()
    middles = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    assert abs(flow.cosmap(middles).mean().item() - 1) < 1e-6  # it is a density


def test_a_mask_says_what_counts() -> None:
    velocity, wanted = _some()
    mask = torch.zeros(3, 1, 2, 3, 5)
    mask[0, :, 0] = 1  # the first frame
    mask[1, :, :, 1, 2] = 0.5  # one place: how much it counts does not matter where it is alone
    error = (velocity - wanted).square()
    found = flow.losses(velocity, wanted, LEVELS, mask_B1FHW=mask).mse
    torch.testing.assert_close(
        found, torch.stack([error[0, :, 0].mean(), error[1, :, :, 1, 2].mean(), torch.tensor(0.0)])
    )
    whole = flow.losses(velocity, wanted, LEVELS, mask_B1FHW=torch.ones(3, 1, 2, 3, 5)).mse
    torch.testing.assert_close(whole, flow.losses(velocity, wanted, LEVELS).mse)


def test_frames_that_are_given_count_nowhere() -> None:
    velocity, wanted = _some()
    levels = LEVELS[:, None].repeat(1, 2)
    levels[1, 0] = 0
    error = (velocity - wanted).square()
    found = flow.losses(velocity, wanted, levels, weighting="sigma_sqrt")
    torch.testing.assert_close(found.mse, torch.stack([error[0].mean(), error[1, :, 1].mean(), error[2].mean()]))
    torch.testing.assert_close(found.loss, found.mse * torch.tensor([100.0, 4.0, 1.0]))
    torch.testing.assert_close(found.mse, flow.flow_loss(velocity, wanted, levels))
    mask = torch.ones(3, 1, 2, 3, 5)
    mask[1, :, :, 0] = 0
    masked = flow.losses(velocity, wanted, levels, mask_B1FHW=mask).mse
    torch.testing.assert_close(masked[1], error[1, :, 1, 1:].mean())
