"""Burned-in words read, by RapidOCR where it is installed: what they say, and whether they are words at all."""

from collections.abc import Callable

import numpy as np

from ..core.errors import SakugaError

SURE = 0.6  # of a line's letters, as RapidOCR rates itself: of grass and fences it is less so


def words_reader() -> Callable[[np.ndarray], str]:
    """A function that gives the words of an RGB picture [H, W, 3], lines apart by line breaks, '' where it reads none.

    Raises SakugaError where RapidOCR is missing.
    """
    try:
        from rapidocr import RapidOCR
    except ImportError as error:
        raise SakugaError(
            f"burned-in words cannot be read without RapidOCR ({error}); `pip install 'sakuga[ocr]'`, "
            "or set overlays.read to false"
        ) from error
    engine = RapidOCR(params={"Global.log_level": "critical", "Global.use_det": False, "Global.use_cls": False})

    def read(rgb: np.ndarray) -> str:
        told = engine(np.ascontiguousarray(rgb[..., ::-1]))
        lines = zip(told.txts or (), told.scores or (), strict=True)
        return "\n".join(text for text, score in lines if score >= SURE and any(c.isalnum() for c in text))

    return read
