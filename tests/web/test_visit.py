import threading

import pytest

from page_pictures import png
from stylefeatureeditor.errors import ConfigError, DirectionError, PhotoError
from stylefeatureeditor.photo.session_file import save_session
from stylefeatureeditor.web import visit as visitors
from stylefeatureeditor.web.limits import Limits
from stylefeatureeditor.web.session import Session
from stylefeatureeditor.web.visit import Sessions, Visit


@pytest.fixture
def visit(both, pixels):
    """A visitor with two photos; the first is in hand."""
    visit = Visit(both, Limits())
    visit.open(png(pixels), "one.png")
    visit.open(png(pixels[:, ::-1]), "two.png")
    return visit


def test_photos_line_up_and_the_first_is_in_hand(visit):
    assert [session.name for session in visit.photos] == ["one.png", "two.png"]
    assert visit.photo.name == "one.png"
    assert (
        visit.photos[1].bytes() == visit.photos[1].file_bytes()
    )  # the rest keep their files alone


def test_each_photo_keeps_its_edits_and_a_new_one_starts_clean(visit):
    visit.photo.change(edits={"smile": 2.0})
    visit.select(visit.photos[1].number)
    assert visit.photo.settings.edited == {}
    visit.select(visit.photos[0].number)
    assert visit.photo.settings.of(1).edits == {"smile": 2.0}


def test_a_photo_that_comes_alone_is_taken_in_hand(visit, pixels):
    visit.open(png(pixels), "three.png", take=True)
    assert visit.photo.name == "three.png"
    assert visit.photos[0].bytes() == visit.photos[0].file_bytes()


def test_one_look_goes_to_all_photos_as_a_step_of_each(visit):
    with pytest.raises(DirectionError, match="move a slider first"):
        visit.copy_look()
    visit.photo.change(edits={"smile": 2.0})
    visit.copy_look()
    assert [session.settings.of(1).edits for session in visit.photos] == [{"smile": 2.0}] * 2
    visit.photos[1].go(-1)
    assert visit.photos[1].settings.edited == {}


def test_a_closed_photo_is_gone_and_its_neighbour_in_hand(visit):
    first, second = visit.photos
    visit.close(first.number)
    assert visit.photo is second
    with pytest.raises(PhotoError, match="not open any more"):
        visit.select(first.number)
    visit.close(second.number)
    with pytest.raises(PhotoError, match="open a photo first"):
        visit.photo  # noqa: B018


def test_a_session_brings_all_photos_back(visit, both, tmp_path):
    visit.photo.change(edits={"smile": 2.0})
    saved = [session.saved() for session in visit.photos]
    content = save_session(both.names()[1], saved, tmp_path / "a.sfe").read_bytes()
    again = Visit(both, Limits())
    again.open(content, "a.sfe")
    assert again.model == both.names()[1]
    assert [session.settings for session in again.photos] == [s.settings for s in visit.photos]
    visit.open(content, "a.sfe")  # beside photos of another model
    assert len(visit.photos) == 4
    assert "another model" in visit.warning


def test_there_is_room_for_so_many_photos(both, pixels):
    few = Visit(both, Limits(photos=1))
    few.open(png(pixels), "one.png")
    with pytest.raises(PhotoError, match="no room for two"):
        few.open(png(pixels), "two.png")
    assert len(few.photos) == 1


def test_a_session_of_too_many_photos_is_refused_before_one_is_read(
    visit, both, tmp_path, monkeypatch
):
    saved = [session.saved() for session in visit.photos]
    content = save_session(visit.model, saved, tmp_path / "a.sfe").read_bytes()
    monkeypatch.setattr(Session, "open_saved", None)
    with pytest.raises(PhotoError, match="no room for a"):
        Visit(both, Limits(photos=1)).open(content, "a.sfe")


def test_photos_of_a_session_let_their_pixels_go_as_they_come(visit, both, tmp_path, monkeypatch):
    saved = [visit.photo.saved()] * 3
    content = save_session(visit.model, saved, tmp_path / "a.sfe").read_bytes()
    opened, most, open_saved = [], [], Session.open_saved

    def watched(session, photo):
        open_saved(session, photo)
        opened.append(session)
        most.append(sum(one.bytes() > one.file_bytes() for one in opened))

    monkeypatch.setattr(Session, "open_saved", watched)
    Visit(both, Limits()).open(content, "a.sfe")
    assert most == [1, 2, 2]


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
