"""Words that Wan was trained to follow for shot, angle, camera and light: to choose from, so that all captions use the same.

The terms are those of Wan's own guides to prompts and of its prompt extension. Words of colour grading and genre, which
those guides list too, are left out: in a style's captions they would take from the style what it is to learn.
"""

SHOTS = (
    "extreme close-up", "close-up", "medium close-up", "medium shot", "medium wide shot", "wide shot", "extreme wide shot",
    "establishing shot", "single shot of one person", "two-shot", "three-shot", "group shot",
)  # fmt: skip

ANGLES = (
    "eye-level", "low angle", "high angle", "Dutch angle", "over-the-shoulder", "aerial", "overhead", "point of view",
    "from behind", "in profile",
)  # fmt: skip

CAMERA = (
    "static camera", "camera pans left", "camera pans right", "camera tilts up", "camera tilts down", "camera pushes in",
    "camera pulls back", "camera zooms in", "camera zooms out", "tracking shot", "camera follows the subject", "arc shot",
    "crane shot", "handheld camera", "whip pan",
)  # fmt: skip

LIGHT = (
    "daylight", "sunny", "overcast", "dawn", "sunrise", "sunset", "dusk", "night", "moonlight", "firelight", "lamplight",
    "artificial light", "fluorescent light", "mixed light", "soft light", "hard light", "top light", "side light",
    "backlight", "underlight", "rim light", "silhouette", "low contrast", "high contrast",
)  # fmt: skip
