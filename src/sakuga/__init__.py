"""Sakuga: from films to a style LoRA for the Wan video models. `sakuga.api` lists the calls; they stand here too."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = [
    "Project", "SakugaError", "add", "adopt", "cache", "caption", "check", "export", "generate", "generate_all", "new",
    "open_project", "pick", "plan", "publish", "read_prompts", "shots", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """The calls of `sakuga.api`, imported when they are first used: `import sakuga` alone costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'sakuga' has no attribute '{name}'")
    return getattr(import_module(".api", __name__), name)
