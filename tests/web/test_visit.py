import pytest

from page_pictures import png
from stylefeatureeditor.errors import DirectionError, PhotoError
from stylefeatureeditor.photo.session_file import save_session
from stylefeatureeditor.web.opened import Limits
from stylefeatureeditor.web.session import Session
from stylefeatureeditor.web.visit import Visit


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
