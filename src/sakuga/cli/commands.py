"""All commands, gathered from where they stand by part of the journey.

Each reads its options, makes one call of `sakuga.api`, and shows what came of it. Nothing heavy is imported before a
command runs.
"""

from . import (  # noqa: F401 (importing registers the commands)
    control,
    counting,
    dataset,
    enhance,
    footage,
    interop,
    lint,
    lora,
    made,
    models,
    project,
    review,
    suspects,
    training,
)  # fmt: skip
from .base import app

JOURNEY = (
    "new", "add", "shots", "pick", "export", "retouch", "adopt", "caption", "lint", "coverage", "opinion", "review",
    "captions", "tag", "masks", "weigh", "check", "plan", "cache", "train", "stop", "save", "suspects", "enhance",
    "generate", "show", "publish", "lora", "import", "export-config", "pack", "unpack", "status", "sigmas", "models",
    "doctor", "drops", "restore", "set", "settings", "demo",
)  # fmt: skip

# Help lists the commands in the order of the journey.
for place, name in enumerate(JOURNEY):
    app[name].sort_key = place
