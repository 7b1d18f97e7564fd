import threading

import pytest

from page_pictures import png
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.web import sessions as visitors
from stylefeatureeditor.web.opened import Limits
from stylefeatureeditor.web.sessions import Sessions


def open_for(sessions: Sessions, visitor: str, pixels) -> None:
    with sessions.use(visitor) as visit:
        visit.open(png(pixels), f"{visitor}.png")
        visit.photo.change(edits={"smile": 1.0})
        visit.photo.draw(64)


def test_visitors_do_not_see_each_other(both, pixels):
    sessions = Sessions(both, Limits())
    open_for(sessions, "ann", pixels)
    with sessions.use("bob") as bob:
        assert bob.photos == []
    with sessions.use("ann") as ann:
        assert ann.photo.name == "ann.png"


def test_memory_stays_within_its_bound(both, pixels):
    free = Sessions(both, Limits())
    open_for(free, "ann", pixels)
    bound = int(free.bytes() * 2.5)
    sessions = Sessions(both, Limits(memory_bytes=bound))
    for number in range(8):
        open_for(sessions, f"visitor{number}", pixels)
        assert sessions.bytes() <= bound


def test_twenty_visitors_and_five_hundred_edits_take_no_more_memory(both, pixels):
    sessions, most = Sessions(both, Limits(memory_bytes=8_000_000)), 0
    for step in range(500):
        with sessions.use(f"visitor {step % 20}") as visit:
            if not visit.photos:
                visit.open(png(pixels), "a.png")
            visit.photo.change(moved={"smile": float(step % 7)})
            visit.photo.draw(32)
        most = max(most, sessions.bytes())
    assert most <= 8_000_000
    assert len(sessions) == 20


def test_pixels_that_were_let_go_are_made_again_from_the_file(both, pixels):
    content = png(pixels)
    free = Sessions(both, Limits())
    open_for(free, "ann", pixels)
    sessions = Sessions(both, Limits(memory_bytes=free.bytes() + len(content) + 1000))
    open_for(sessions, "ann", pixels)
    open_for(sessions, "bob", pixels)
    with sessions.use("ann") as ann:
        assert ann.bytes() == len(content)
        assert ann.photo.settings.of(1).edits == {"smile": 1.0}
        assert ann.photo.draw(64).after.size == (64, 59)


def test_when_files_alone_are_too_many_the_longest_idle_goes(both, pixels):
    sessions = Sessions(both, Limits(memory_bytes=1))
    open_for(sessions, "ann", pixels)
    open_for(sessions, "bob", pixels)
    assert len(sessions) == 1
    with sessions.use("ann") as ann:
        assert ann.photos == []


def test_the_longest_idle_visitor_is_forgotten_first(both):
    sessions = Sessions(both, Limits(sessions=2))
    for visitor in ("ann", "bob", "ann", "cleo"):
        with sessions.use(visitor) as visit:
            visit.warning += "seen "
    assert len(sessions) == 2
    with sessions.use("ann") as ann:
        assert ann.warning == "seen seen "


def test_a_visitor_who_was_away_for_long_is_forgotten(both, monkeypatch):
    sessions, now = Sessions(both, Limits(idle_seconds=10)), [0.0]
    monkeypatch.setattr(visitors.time, "monotonic", lambda: now[0])
    for visitor, when in (("ann", 0), ("bob", 9), ("bob", 11)):
        now[0] = when
        with sessions.use(visitor):
            pass
    assert len(sessions) == 1


def test_one_step_at_a_time(both):
    sessions = Sessions(both, Limits())
    inside, most = 0, 0

    def step(visitor: str) -> None:
        nonlocal inside, most
        with sessions.use(visitor):
            inside += 1
            most = max(most, inside)
            threading.Event().wait(0.01)
            inside -= 1

    threads = [threading.Thread(target=step, args=(f"v{i % 3}",)) for i in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_limit_below_one_is_refused():
    with pytest.raises(ConfigError, match="at least 1"):
        Limits(sessions=0)
