"""Segments as COCO writes them."""

from __future__ import annotations

from aunet.segments import Segment


def test_a_segment_as_json() -> None:
    stuff = Segment(7, 21, False, 120, is_crowd=False)
    assert stuff.to_json() == {"id": 7, "category_id": 21, "isthing": 0, "iscrowd": 0, "area": 120}
    crowd, car = Segment(8, 1, True, 9, is_crowd=True), Segment(9, 3, True, 40, score=0.876543)
    assert crowd.to_json()["iscrowd"] == 1 and "score" not in crowd.to_json()
    assert car.to_json()["score"] == 0.8765
