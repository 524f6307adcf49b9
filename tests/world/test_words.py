"""A caption says every fact, and nothing that is not so."""

import numpy as np

from sakuga_world.scene import COLOURS, SUBJECTS, random_scene
from sakuga_world.words import CAMERA, MOST_WORDS, PLACE, TIME, VERBS, WAY, caption

RNG = np.random.default_rng(5)
SAID = [(scene, caption(scene, RNG)) for scene in (random_scene(RNG) for _ in range(800))]


def named(table: dict[str, tuple[str, ...]], text: str) -> list[str]:
    return [fact for fact, phrases in table.items() if any(phrase in text for phrase in phrases)]


def test_every_caption_says_the_five_facts_and_no_other() -> None:
    for scene, text in SAID:
        words = text.replace(",", "").split()
        assert [c for c in COLOURS if c in words] == [scene.colour]
        assert [s for s in SUBJECTS if s in words] == [scene.subject]
        assert named(TIME, text) == [scene.time]
        assert named(PLACE, text) == [scene.place]
        assert named(WAY, text) == [scene.direction]
        assert any(verb in text for verb in VERBS[scene.subject])
        assert named(CAMERA, text) in ([], [scene.camera])
        assert len(words) <= MOST_WORDS == 18


def test_the_camera_is_named_about_half_the_time() -> None:
    assert 0.42 < np.mean([bool(named(CAMERA, text)) for _, text in SAID]) < 0.58


def test_one_scene_has_many_captions_and_a_generator_repeats_them() -> None:
    scene = SAID[0][0]
    assert len({caption(scene, RNG) for _ in range(60)}) > 30
    assert caption(scene, np.random.default_rng(1)) == caption(scene, np.random.default_rng(1))
