"""What a labelling by workers takes away before it writes: what would stand beside maps that it does not describe."""

from __future__ import annotations

from pathlib import Path

from pipelines.measuring.label_job import begin
from pipelines.store.parts import PARTS, Parts
from pipelines.store.predictions_folder import PredictionsFolder


def test_what_others_have_left_goes(tmp_path: Path) -> None:
    """Segment ids are 1 … n in every map: those of another model would pass for those that the JSON means."""
    out = str(tmp_path)
    own, others = (Parts(str(tmp_path / PARTS / name), verb="predict") for name in ("own", "others"))
    document = Path(PredictionsFolder(out).document_uri)
    for _ in range(2):
        own.write(0, {})
        others.write(0, {})
        document.write_text("{}")
        begin(out, own)
        assert own.finished() == {0} and not others.exists() and not document.exists()
    begin(str(tmp_path / "new"), own)
