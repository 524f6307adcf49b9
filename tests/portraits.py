"""People in soft light, enough like a photograph that a network made for photographs sees their faces."""

from collections.abc import Sequence

import numpy as np

SKIN, SHADE, HAIR, CLOTH, WALL = (222, 172, 146), (180, 130, 110), (60, 42, 32), (50, 60, 95), (110, 120, 125)
FACE = 0.39  # from hairline to chin, of the square that a person is drawn in

# Centre, radii, colour, softness, strength of each spot, from back to front.
SPOTS = [
    ((0.5, 0.40), (0.235, 0.30), HAIR, 0.06, 1.0),
    ((0.5, 1.02), (0.42, 0.27), CLOTH, 0.06, 1.0),
    ((0.5, 0.72), (0.095, 0.17), (190, 140, 115), 0.06, 1.0),
    ((0.5, 0.46), (0.18, 0.25), SKIN, 0.08, 1.0),
    ((0.5, 0.33), (0.13, 0.08), (236, 190, 165), 1.0, 0.7),
    ((0.64, 0.48), (0.06, 0.2), SHADE, 1.2, 0.6),
    ((0.5, 0.50), (0.022, 0.07), (238, 192, 168), 1.0, 0.8),
    ((0.5, 0.555), (0.035, 0.018), (200, 145, 120), 0.8, 0.8),
    ((0.5, 0.622), (0.055, 0.016), (185, 95, 90), 0.5, 1.0),
    ((0.5, 0.62), (0.052, 0.004), (120, 60, 58), 0.8, 1.0),
    ((0.5, 0.27), (0.19, 0.10), HAIR, 0.4, 0.9),
]
for _x, _nostril in ((0.425, 0.487), (0.575, 0.513)):
    SPOTS += [
        ((_x, 0.43), (0.052, 0.03), SHADE, 0.8, 0.7),
        ((_x, 0.435), (0.035, 0.015), (238, 232, 228), 0.2, 1.0),
        ((_x, 0.435), (0.016, 0.016), (70, 48, 35), 0.2, 1.0),
        ((_x, 0.435), (0.007, 0.007), (10, 10, 10), 0.3, 1.0),
        ((_x, 0.422), (0.04, 0.006), (60, 40, 35), 0.6, 1.0),
        ((_x, 0.385), (0.05, 0.011), (75, 50, 40), 0.7, 1.0),
        ((_nostril, 0.562), (0.009, 0.006), (120, 75, 62), 0.8, 1.0),
    ]


def portrait(size: tuple[int, int], faces: Sequence[tuple[float, float, float]]) -> np.ndarray:
    """RGB uint8 of (width, height) before a wall, with the head and shoulders of somebody for each of `faces`: the middle of
    the face across and down, in shares of the width and height, and its height from hairline to chin, of the height."""
    width, height = size
    picture = np.full((height, width, 3), WALL, np.float64)
    down, across = np.mgrid[:height, :width]
    for x, y, share in faces:
        scale = share / FACE * height
        u, v = (across - x * width) / scale + 0.5, (down - y * height) / scale + 0.515
        for (cx, cy), (rx, ry), colour, soft, strength in SPOTS:
            away = np.hypot((u - cx) / rx, (v - cy) / ry)
            mask = strength * np.clip((1 - away) / soft + 0.5, 0, 1)[..., None]
            picture = picture * (1 - mask) + np.array(colour) * mask
    grain = np.random.default_rng(0).normal(0, 3, picture.shape)
    return np.clip(picture + grain, 0, 255).astype(np.uint8)
