"""Writes docs/commands.md, docs/settings.md and docs/interop.md from the code. A test fails when they are out of date."""

import sys
from pathlib import Path

from sakuga.cli.reference import commands_page, settings_page
from sakuga.interop.reference import page as interop_page

DOCS = Path(__file__).parent.parent / "docs"

if __name__ == "__main__":
    pages = {"commands.md": commands_page(), "settings.md": settings_page(), "interop.md": interop_page()}
    for name, page in pages.items():
        (DOCS / name).write_text(page, encoding="utf-8", newline="\n")
        sys.stdout.write(f"wrote docs/{name}\n")
