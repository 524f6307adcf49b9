"""TransNetV2 from its package: blocks of a film are answered for as in the whole film, and nothing else is touched."""

import os
import random
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from sakuga.nn.transnet import BLOCK, MPS, PACKAGE, block_probabilities, load_transnet

pytestmark = pytest.mark.skipif(find_spec(PACKAGE) is None, reason="sakuga[cuts] is not installed")


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return load_transnet(torch.device("cpu"))


def film(*lengths: int) -> np.ndarray:
    """[F, 27, 48, 3]: shots of soft blobs that drift to the side."""
    shots = []
    for seed, length in enumerate(lengths):
        blobs = np.random.default_rng(seed).integers(0, 256, (3, 6, 3)).repeat(9, 0).repeat(8, 1)
        shots += [np.roll(blobs, n // 4, 1) for n in range(length)]
    return np.stack(shots).astype(np.uint8)


def answers(network: torch.nn.Module, frames: np.ndarray, blocks: list[int]) -> dict[int, np.ndarray]:
    return dict(block_probabilities(network, iter(frames), blocks, len(frames)))


def test_a_cut_is_at_the_last_frame_of_a_shot(network: torch.nn.Module) -> None:
    told = answers(network, film(30, 40, 45), [0, 1, 2])
    assert [len(told[block]) for block in (0, 1, 2)] == [50, 50, 15]
    assert np.flatnonzero(np.concatenate(list(told.values())) > 0.5).tolist() == [29, 69]


def test_a_block_alone_is_told_what_it_is_told_in_the_film(network: torch.nn.Module) -> None:
    frames = film(30, 40, 45, 60)
    told = answers(network, frames, [1, 3])
    assert list(told) == [1, 3]
    theirs = network.predict_frames(torch.from_numpy(frames), quiet=True)[0].numpy()  # type: ignore[operator]
    for block, probabilities in told.items():
        np.testing.assert_allclose(probabilities, theirs[BLOCK * block :][:BLOCK], atol=1e-5)


def test_a_film_of_one_frame_is_answered_for(network: torch.nn.Module) -> None:
    (told,) = answers(network, film(1), [0]).values()
    assert told.shape == (1,) and told[0] < 0.5


def test_loading_it_leaves_the_process_as_it_was() -> None:
    torch.manual_seed(7)
    np.random.seed(7)
    random.seed(7)
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # type: ignore[index, union-attr]
    load_transnet(torch.device("cpu"))
    assert not torch.are_deterministic_algorithms_enabled() and MPS not in os.environ
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1]) and random.getstate() == before[2]  # type: ignore[index]
