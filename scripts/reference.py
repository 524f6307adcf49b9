"""Writes docs/commands.md and docs/settings.md from the code. A test fails when they are out of date."""

import sys
from pathlib import Path

from sakuga.cli.reference import commands_page, settings_page

DOCS = Path(__file__).parent.parent / "docs"

if __name__ == "__main__":
    for name, page in (("commands.md", commands_page()), ("settings.md", settings_page())):
        (DOCS / name).write_text(page, encoding="utf-8", newline="\n")
        sys.stdout.write(f"wrote docs/{name}\n")
