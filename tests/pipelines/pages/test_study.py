"""The page of a study: every trial in every panel, marked for what became of it."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

import pytest

from aunet.config import LossWeights
from pipelines.pages.study import render_study
from pipelines.presets import shapes_smoke
from pipelines.settings.run_config import to_json
from pipelines.study.search import known_points, weights_of


def trial(number: int, state: str, pq: float, epoch: int, origin: str, point: dict[str, float]) -> dict[str, Any]:
    return {
        "number": number,
        "origin": origin,
        "weights": asdict(weights_of(point)),
        "state": state,
        "epoch": epoch,
        "PQ": pq,
        "results": {"1": pq / 2, str(epoch): pq},
        "error": "",
    }


@pytest.fixture
def document() -> dict[str, Any]:
    (first, one), (second, two), *_ = known_points(LossWeights(semantic=0.01), 100)
    trials = [
        trial(0, "finished", 21.5, 4, first, one),
        trial(1, "stopped", 9.0, 2, second, two),
        trial(2, "finished", 33.25, 4, "", {"box": 1.0, "mask": -2.0, "semantic": 0.5}),
        trial(3, "stopped", 4.0, 1, "", {"box": -1.0, "mask": 2.0, "semantic": -0.5}),
    ]
    confirmed = {
        "best": {"weights": trials[2]["weights"], "PQ": 32.0, "sd": 0.75, "seeds": [31.5, 32.5]},
        "preset": {"weights": trials[0]["weights"], "PQ": 20.0, "sd": 1.5, "seeds": [19.0, 21.0]},
    }
    return {
        "study": "shapes-0123",
        "val_slice": "abcd",
        "val_images": 32,
        "data_fingerprint": "ef",
        "mlflow_run_id": "run",
        "trials": trials,
        "best": trials[2],
        "confirmed": confirmed,
        "overrides": {"loss.rpn": 1.25},
        "config": to_json(shapes_smoke()),
    }


def test_every_panel_has_every_trial(document: dict[str, Any]) -> None:
    panels = re.findall(r"<figure.*?</figure>", render_study(document))
    assert len(panels) == 4
    for panel in panels:
        assert re.findall(r'<(circle|rect) [^>]*class="([a-z ]+)"', panel) == [
            ("rect", "finished"),
            ("rect", "stopped"),
            ("circle", "stopped"),
            ("circle", "finished best"),
        ]
        places = [float(x) for x in re.findall(r'cx="([\d.]+)"', panel)]
        assert all(44 <= x <= 406 for x in places)


def test_it_says_what_was_found(document: dict[str, Any]) -> None:
    page = render_study(document)
    for words in ("abcd (32 images)", "2 finished · 2 stopped", "32.0 ± 0.8", "20.0 ± 1.5", "paper, COCO", "loss.rpn"):
        assert words in page
    assert "<script" not in page and "http" not in page.replace("http-equiv", "")


def test_text_is_escaped(document: dict[str, Any]) -> None:
    document["trials"][3] |= {"state": "failed", "error": "loss <nan> & more"}
    page = render_study(document)
    assert "loss &lt;nan&gt; &amp; more" in page and "1 failed" in page


def test_a_study_in_which_nothing_was_learned(document: dict[str, Any]) -> None:
    one = document["trials"][0] | {"PQ": 0.0}
    page = render_study(document | {"trials": [one], "best": one, "confirmed": {}})
    assert len(re.findall(r"<figure.*?</figure>", page)) == 4 and "nan" not in page
