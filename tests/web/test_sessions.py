import threading

import pytest

from stylefeatureeditor.errors import ConfigError, PhotoError
from stylefeatureeditor.web.opened import Limits
from stylefeatureeditor.web.sessions import Sessions


def open_for(sessions: Sessions, visitor: str, pixels) -> None:
    with sessions.use(visitor) as session:
        session.open(pixels, f"{visitor}.png")
        session.change(edits={"smile": 1.0})
        session.draw(64)


def test_visitors_do_not_see_each_other(both, pixels):
    sessions = Sessions(both, Limits())
    open_for(sessions, "ann", pixels)
    with sessions.use("bob") as bob:
        assert bob.opened is None
        assert bob.settings.edits == {}
    with sessions.use("ann") as ann:
        assert ann.opened.name == "ann.png"


def test_memory_stays_within_its_bound(both, pixels):
    free = Sessions(both, Limits())
    open_for(free, "ann", pixels)
    bound = int(free.bytes() * 2.5)
    sessions = Sessions(both, Limits(memory_bytes=bound))
    for number in range(8):
        open_for(sessions, f"visitor{number}", pixels)
        assert sessions.bytes() <= bound


def test_an_inversion_that_was_let_go_is_made_again(both, pixels):
    free = Sessions(both, Limits())
    open_for(free, "ann", pixels)
    sessions = Sessions(both, Limits(memory_bytes=free.bytes() + pixels.nbytes + 1000))
    open_for(sessions, "ann", pixels)
    open_for(sessions, "bob", pixels)
    with sessions.use("ann") as ann:
        assert ann.opened is not None
        assert ann.bytes() < 2 * pixels.nbytes  # the photo alone
        assert ann.draw(64).after.size == (64, 59)


def test_a_photo_that_was_let_go_is_asked_for_again(both, pixels):
    sessions = Sessions(both, Limits(memory_bytes=1))
    open_for(sessions, "ann", pixels)
    open_for(sessions, "bob", pixels)
    with (
        pytest.raises(PhotoError, match="open it again"),
        sessions.use("ann") as ann,
    ):
        ann.draw(64)


def test_the_longest_idle_visitor_is_forgotten_first(both):
    sessions = Sessions(both, Limits(sessions=2))
    for visitor in ("ann", "bob", "ann", "cleo"):
        with sessions.use(visitor) as session:
            session.number += 1
    assert len(sessions) == 2
    with sessions.use("ann") as ann:
        assert ann.number == 2


def test_a_visitor_who_left_is_forgotten(both, pixels):
    sessions = Sessions(both, Limits())
    open_for(sessions, "ann", pixels)
    sessions.close("ann")
    sessions.close("nobody")
    assert (len(sessions), sessions.bytes()) == (0, 0)


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
