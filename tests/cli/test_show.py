"""What the command line shows of long work where no bar can be drawn, and how it writes times, paces and tables."""

from io import StringIO

import pytest
from rich.console import Console

from sakuga.cli import show


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (10, "0:10"), (65.4, "1:05"), (3599.6, "1:00:00"), (7384, "2:03:04")],
)
def test_a_duration(seconds: float, text: str) -> None:
    assert show.duration(seconds) == text


@pytest.mark.parametrize(("rate", "text"), [(12.34, "12.3 steps/s"), (1, "1.0 steps/s"), (0.25, "4.0 s/step")])
def test_a_pace(rate: float, text: str) -> None:
    assert show.pace(rate, "steps") == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (512, "512 B"), (999.6, "1 kB"), (3_400_000, "3.4 MB"), (1.25e9, "1.25 GB"), (2.5e12, "2.5e+03 GB")],
)
def test_a_size(count: float, text: str) -> None:
    assert show.size(count) == text


def test_lines_tell_of_long_work_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr(show.time, "monotonic", lambda: clock[0])
    lines = show.Lines()
    lines.start("export", 3, "shots")
    for now, note in ((6, "a_000000"), (12, "a_[1]" * 20), (18, "a_000002")):
        clock[0] = now
        lines.advance(1, note)
    lines.advance(0, "validating")  # the end is told once
    lines.start("pick", 1, "choices")
    lines.advance(1, "all")  # in no time: nothing to tell
    lines.start("shots", None, "frames")
    clock[0] = 30
    lines.advance(24)
    lines.say("done [bold]")
    assert capsys.readouterr().err.splitlines() == [
        "export: 2/3 shots, 6.0 s/shot, 6.0 s left " + "a_[1]" * 20,
        "export: 3/3 shots, 6.0 s/shot, in 0:18",
        "shots: 24 frames, 2.0 frames/s, 0:12",
        "done [bold]",
    ]


def test_what_goes_on_tells_all_of_it_and_its_own_pace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr(show.time, "monotonic", lambda: clock[0])
    lines = show.Lines()
    lines.start("train low", 30, "steps", 10)
    clock[0] = 10
    lines.advance(5, "loss 1")
    assert capsys.readouterr().err == "train low: 15/30 steps, 2.0 s/step, 0:30 left loss 1\n"


def test_turns_are_one_bar_each_and_a_line_fits_a_terminal_of_80(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(force_terminal=True, width=80, file=StringIO())
    monkeypatch.setattr(show, "errors", console)
    with show.progress() as shown:
        assert isinstance(shown, show.Shown)
        for done in (0, 500):
            for expert in ("high", "low"):
                shown.start(f"train {expert}", 12000, "steps", done)
                shown.advance(500, "loss 0.0931, rate 2e-05, 1000 samples")
        assert [(task.description, task.completed) for task in shown.bars.tasks] == [
            ("train high", 1000),
            ("train low", 1000),
        ]
        console.print(shown.bars)
    last = console.file.getvalue().splitlines()[-2]
    assert "train low" in last and "1000/12000" in last and "loss 0.0931, rate 2e-05" in last


def test_a_row_is_a_line_where_output_is_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    show.table(("name", "count "), [("a name [with] brackets " * 9, 5), ("b", 12)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["name", "a", "b"]
    assert lines[1].endswith("brackets       5") and lines[2].endswith("   12")
