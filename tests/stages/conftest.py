"""The small project that the tests of stages start from."""

from small_fixtures import cached, cached_root, empty, empty_root, experts, experts_root, exported, exported_root

__all__ = ["cached", "cached_root", "empty", "empty_root", "experts", "experts_root", "exported", "exported_root"]
