"""Which class of a model is which class of the data."""

from __future__ import annotations

import pytest

from rtx.errors import BadValue, UnknownName
from rtx.evaluation.models.class_names import distinct, mapping_text, match_names

COCO = ["__background__", "person", "airplane", "N/A", "dining table", "couch", "tv", "N/A (2)"]
VOC = ["aeroplane", "diningtable", "person", "sofa", "tvmonitor"]


def test_equal_names_go_before_similar_ones_and_given_ones_before_both() -> None:
    assert match_names(["Dog", "dog"], ["dog", "cat"], {}) == {"dog": "dog"}
    assert match_names(COCO, VOC, {}) == {"person": "person", "dining table": "diningtable"}
    assert match_names(COCO, VOC, {"couch": "sofa"})["couch"] == "sofa"
    assert match_names(["a", "b"], ["a", "c"], {"b": "a"}) == {"b": "a"}
    assert match_names(["car", "truck", "bus"], ["vehicle"], {"car": "vehicle", "truck": "vehicle"}) == {
        "car": "vehicle",
        "truck": "vehicle",
    }


def test_each_side_is_shown() -> None:
    text = mapping_text(COCO, VOC, match_names(COCO, VOC, {"couch": "sofa"}))
    first, *rest = text.splitlines()
    assert first == "classes: 3 of the data's 5 are matched by name"
    assert rest[0].split(maxsplit=2)[2].startswith("couch -> sofa") or "couch -> sofa" in rest[0]
    assert "airplane, tv:" in rest[1] and "N/A" not in text and "background" not in text
    assert "aeroplane (near: airplane), tvmonitor:" in rest[2] and "score 0" in rest[2]
    assert mapping_text(["a"], ["a"], {"a": "a"}) == "classes: 1 of the data's 1 are matched by name"


def test_names_that_come_twice_stay_apart() -> None:
    assert distinct(["N/A", "crane", "N/A", "crane", "N/A"]) == ("N/A", "crane", "N/A (2)", "crane (2)", "N/A (3)")


def test_what_cannot_be() -> None:
    with pytest.raises(BadValue, match=r"no class of the model \(cat\) is one of the data's \(dog\).*--model-classes"):
        match_names(["cat"], ["dog"], {})
    with pytest.raises(BadValue, match=r"'T-V' and 'tv set\.' of the model are both|'T-V' and 't v'"):
        match_names(["T-V", "t v"], ["tv"], {})
    with pytest.raises(UnknownName, match=r"'sopha' is not in the data's classes.*did you mean 'sofa'"):
        match_names(COCO, VOC, {"couch": "sopha"})
    with pytest.raises(UnknownName, match="'cuoch' is not in the model's classes"):
        match_names(COCO, VOC, {"cuoch": "sofa"})
