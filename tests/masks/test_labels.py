"""Class names of the published parsers, and the regions made of them."""

import pytest

from stylefeatureeditor.errors import MaskError
from stylefeatureeditor.masks.labels import (
    CELEBAMASK_HQ,
    LAPA,
)


def test_published_indices_are_where_users_of_the_models_expect_them():
    assert CELEBAMASK_HQ.names.index("hair") == 17
    assert CELEBAMASK_HQ.names.index("hat") == 18
    assert CELEBAMASK_HQ.names.index("earrings") == 9
    assert LAPA.names.index("hair") == 10
    assert [len(labels.names) for labels in (CELEBAMASK_HQ, LAPA)] == [19, 11]


def test_a_group_is_the_union_of_its_classes():
    assert CELEBAMASK_HQ.indices(("mouth",)) == (11, 12, 13)
    assert CELEBAMASK_HQ.indices(("brows", "hair")) == (2, 3, 17)
    assert set(CELEBAMASK_HQ.indices(("face",))) < set(CELEBAMASK_HQ.indices(("head",)))


def test_a_group_leaves_out_what_the_parser_cannot_see():
    assert LAPA.indices(("head",)) == tuple(range(1, 11))


def test_every_offered_region_can_be_asked_for():
    for labels in (CELEBAMASK_HQ, LAPA):
        assert all(labels.indices((region,)) for region in labels.regions)


@pytest.mark.parametrize("region", ["hat", "ears", "beard"])
def test_an_unknown_region_is_answered_with_the_known_ones(region):
    with pytest.raises(MaskError, match=f"no region '{region}' .* choose from: background, skin"):
        LAPA.indices((region,))
