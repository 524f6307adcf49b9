"""The small project that the tests of the command line start from."""

from small_fixtures import cached, cached_root, empty, empty_root, exported, exported_root

__all__ = ["cached", "cached_root", "empty", "empty_root", "exported", "exported_root"]
