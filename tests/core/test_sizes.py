"""Sizes suggested for footage, and what an item loses at one."""

import pytest

from sakuga.core.family import FAMILY, member
from sakuga.core.samples.sizes import cropped, enlarged, suggested


@pytest.mark.parametrize("name", sorted(FAMILY))
def test_suggested_sizes_are_what_the_model_takes_and_no_larger_than_the_footage(name: str) -> None:
    wan = member(name)
    for size in suggested(1440, 1080, wan):
        assert size.width % wan.side_step == size.height % wan.side_step == 0
        assert size.width <= 1440 and size.height <= 1080
        assert size.still_tokens == wan.tokens(size.width, size.height, 1) < size.clip_tokens


def test_the_sizes_of_a_four_to_three_film() -> None:
    sizes = suggested(1440, 1080, member("wan2.2-t2v-a14b"))
    assert [(s.width, s.height) for s in sizes][:2] == [(288, 224), (432, 336)]
    assert (sizes[0].still_tokens, sizes[0].clip_tokens) == (18 * 14, 18 * 14 * 21)
    assert all(s.width % 32 == 0 for s in suggested(1440, 1080, member("wan2.2-ti2v-5b")))


def test_what_covering_a_size_costs() -> None:
    assert enlarged(640, 480, 320, 240) == 0.5 and cropped(640, 480, 320, 240) == 0
    assert enlarged(640, 480, 1280, 720) == 2 and cropped(640, 480, 1280, 720) == 0.25
    assert cropped(400, 400, 200, 100) == 0.5
