"""The table of who reads which weight file is up to date, and Sakuga reads every form in it but GGUF."""

import weight_readers as readers


def test_the_page_is_what_the_readers_do() -> None:
    page = readers.page()
    assert readers.PAGE.read_text(encoding="utf-8") == page, "run: python tests/weight_readers.py"
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 25 and {row[2] for row in rows if row[0] != "GGUF"} == {"yes"}
    assert next(row[2] for row in rows if row[0] == "GGUF") == "no"
