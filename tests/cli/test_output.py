from __future__ import annotations

import io
import sys
import time

from stylefeatureeditor.cli import output
from stylefeatureeditor.cli.output import Progress, print_table, warn
from stylefeatureeditor.files import readable_size


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_sizes_are_readable():
    sizes = [0, 999, 1000, 2_808, 99_693_937, 2_500_000_000, 1_500_000_000_000, None]
    assert [readable_size(size) for size in sizes] == [
        "0 B",
        "999 B",
        "1 kB",
        "2.81 kB",
        "99.7 MB",
        "2.5 GB",
        "1500 GB",
        "size not stated",
    ]


def test_tables_line_up(capsys):
    print_table([("a", "long", "x"), ("bcd", "e", "")], "  ")
    assert capsys.readouterr().out == "  a    long  x\n  bcd  e\n"


def test_warnings_are_one_line_on_stderr(capsys):
    warn("two\nlines")
    assert capsys.readouterr() == ("", "sfe: warning: two lines\n")


def test_a_bar_shows_how_far_it_is():
    bar = Progress("photos", 4)
    bar.update(1)
    assert bar.line() == "photos  [######..................] 1 of 4  0 s"
    bar = Progress("file", in_bytes=True)
    bar.update(1_500_000)
    assert bar.line() == "file  1.5 MB  0 s"
    bar.update(1_500_000, 3_000_000)
    assert bar.line() == "file  [############............] 1.5 MB of 3 MB  0 s"


def test_short_work_shows_no_bar(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress("photos", 4) as bar:
        bar.update(4)
    assert terminal.getvalue() == ""


def test_long_work_shows_a_bar_and_wipes_it(monkeypatch, capsys):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(output, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(output, "TICK_SECONDS", 0.01)
    with Progress("photos", 4) as bar:
        deadline = time.monotonic() + 20
        while "0 of 4" not in terminal.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert "0 of 4" in terminal.getvalue()
        bar.say("one.png")
    assert capsys.readouterr().out == "one.png\n"
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_a_pipe_gets_no_bar(capsys, monkeypatch):
    monkeypatch.setattr(output, "QUIET_SECONDS", 0.0)
    with Progress("photos", 4) as bar:
        assert bar._thread is None
    assert capsys.readouterr().err == ""
