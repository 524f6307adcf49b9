"""Counts over a set of captions: what is left out, what always comes together, look-alikes that share no word."""

from sakuga.core.coverage.counts import Bound, Captioned, Unsaid, camera_words, cover


def captioned(*texts: str, **of_all: str) -> list[Captioned]:
    return [Captioned(f"c{n:02}", text, **of_all) for n, text in enumerate(texts)]


def test_everybody_got_the_studded_belt() -> None:
    """It stands in 34 pictures and 2 captions."""
    items = [
        Captioned(
            f"c{n:02}", "A girl with a studded belt runs." if n < 2 else f"A girl runs past a {'gate' if n % 2 else 'tree'}.",
            second="A girl in a black dress and a studded belt." if n < 34 else "A girl in a black dress.",
        )
        for n in range(40)
    ]  # fmt: skip
    told = cover(items)
    assert told.captions == told.seconds == 40
    assert told.phrases["girl"] == 40 and told.phrases["studded belt"] == 2
    left_out = {one.phrase: one for one in told.unsaid}
    assert (left_out["studded belt"].first, left_out["studded belt"].second) == (2, 34)
    assert left_out["studded belt"].items == tuple(f"c{n:02}" for n in range(2, 34))
    assert told.unsaid[0] == Unsaid("black dress", 0, 40, tuple(f"c{n:02}" for n in range(40)))
    assert left_out.keys() == {"black dress", "studded belt"}  # the girl both name
    assert cover(captioned("A girl runs.")).unsaid == []


def test_what_half_of_the_captions_say_is_not_left_out() -> None:
    def left_out(said: int) -> list[str]:
        texts = [f"A {'hat' if n < said else 'bell'}." for n in range(10)]
        return [
            one.phrase
            for one in cover([Captioned(f"c{n}", text, second="A hat.") for n, text in enumerate(texts)]).unsaid
        ]

    assert (left_out(4), left_out(5), left_out(9)) == (["hat"], [], [])


def test_an_attribute_that_is_never_alone() -> None:
    """One character with red hair and a ponytail is the only red hair in the set."""
    girl = "A girl with red hair and a ponytail {}."
    texts = [girl.format(does) for does in ("runs", "sits", "waits by a gate")]
    texts += [
        "A boy with black hair sits by a gate.",
        "A boy with black hair runs.",
        "A man with black hair and a ponytail.",
    ]
    texts += [f"An empty street with a {thing}." for thing in ("lamp", "car", "dog", "tree", "cart", "bench")]
    assert cover(captioned(*texts)).bound == [Bound(("red hair",), ("girl", "ponytail"), 3, ("c00", "c01", "c02"))]
    more = captioned(*texts, "A woman with red hair.")
    assert cover(more).bound == []  # now red hair stands without it


def test_an_attribute_of_one_group_of_look_alikes() -> None:
    items = [
        Captioned(f"a{n}", f"Near a {thing} a blue flag.", cluster="shot-1")
        for n, thing in enumerate(("well", "hut", "car"))
    ]
    items += [
        Captioned(f"b{n}", f"There is a {thing}.", cluster="shot-2")
        for n, thing in enumerate(("cat", "dog", "cow", "pig"))
    ]
    told = cover(items)
    assert [(one.phrases, one.always) for one in told.bound] == [(("blue flag",), ("flag",))] or \
        [(one.phrases, one.always) for one in told.bound] == [(("blue flag",), ("the look of a0",))]  # fmt: skip
    assert told.strangers == {"shot-2": ["b0", "b1", "b2", "b3"]}


def test_camera_words_are_counted_once_a_caption() -> None:
    texts = (
        "Extreme close-up, low angle. Static shot.",
        "Close-up of a hand.",
        "Wide shot, camera pans left.",
        "A frying pan.",
    )
    told = camera_words([*captioned(*texts), Captioned("s", "Medium shot, static.", kind="still")])
    assert told["size"] == {"extreme close-up": 1, "close-up": 1, "wide shot": 1, "": 1, "medium shot": 1}
    assert told["angle"] == {"": 4, "low angle": 1}
    assert told["movement"] == {"": 2, "static": 1, "pan": 1}  # a still has none
