"""Edits as typed."""

from __future__ import annotations

import pytest

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.evaluation.edit_words import parse_edit, resolve_edit
from tiny import tiny_editor

ATTRIBUTES = ("Smiling", "Young", "No_Beard", "smile")


@pytest.fixture(scope="module")
def editor():
    return tiny_editor()


def resolve(text, editor, attributes=ATTRIBUTES):
    return resolve_edit(parse_edit(text), editor, attributes)


def test_a_sign_takes_half_of_the_useful_range(editor):
    task = resolve("smile=-", editor)
    assert (task.name, task.strength, task.attribute, task.target) == (
        "smile-",
        -1.5,
        "Smiling",
        -1,
    )


def test_a_number_is_the_strength(editor):
    assert resolve("smile=0.5", editor).strength == 0.5


def test_adding_age_removes_youth(editor):
    task = resolve("age=3", editor)
    assert (task.name, task.attribute, task.target) == ("old+", "Young", -1)


def test_an_attribute_may_be_named_and_turned_round(editor):
    task = resolve("smile:-No_Beard=2", editor)
    assert (task.attribute, task.target, task.name) == ("No_Beard", -1, "beard+")


@pytest.mark.parametrize(
    "text", ["smile", "smile=", "=3", "smile=x", "smile=0", "smile:=3", "a=inf"]
)
def test_what_is_no_edit_is_one_sentence(text):
    with pytest.raises(ConfigError, match="expected DIRECTION=STRENGTH"):
        parse_edit(text)


def test_a_missing_attribute_is_named(editor):
    with pytest.raises(ConfigError, match="no 'Smiling'; did you mean Smile"):
        resolve("smile=-", editor, ("Smile_", "Young"))
