"""The small project that the tests of the pages start from."""

from small_fixtures import empty, empty_root, exported_root

__all__ = ["empty", "empty_root", "exported_root"]
