"""The two sides of a comparison: what was measured of a run, of a model, or of a folder of predictions."""

from __future__ import annotations

from dataclasses import dataclass

from aunet.data.coco_json import read_panoptic_json
from aunet.errors import InputError
from pipelines.measuring.folders import score_folders
from pipelines.measuring.measured import Measured, read_measured, reports_with_outcomes
from pipelines.measuring.named_models import model_folder
from pipelines.measuring.outcome_table import Tags
from pipelines.store import storage
from pipelines.store.predictions_folder import DOCUMENT, PredictionsFolder
from pipelines.store.run_folder import ReportFolder, RunFolder
from pipelines.tracking.address import is_registered


@dataclass(frozen=True, slots=True)
class Contestant:
    """One side, before anything is read."""

    name: str
    """As the user calls it."""
    run: RunFolder | None
    """Where its reports are; None: it is a folder of predictions."""

    @classmethod
    def named(cls, name: str) -> Contestant:
        """What `name` stands for.

        Raises:
            InputError: nothing, or a model that is not in its run's folder.
        """
        if is_registered(name):
            return cls(name, RunFolder(storage.parent(model_folder(name))))
        uri = storage.absolute(name)
        if storage.exists(PredictionsFolder(uri).document_uri):
            return cls(name, None)
        try:
            return cls(name, RunFolder(storage.parent(model_folder(uri))))
        except InputError:
            if RunFolder(uri).is_begun():
                return cls(name, RunFolder(uri))
            raise InputError(
                f"{name}: neither a run, a model nor a folder of predictions ({DOCUMENT}); give one of these, or "
                "models:/NAME@ALIAS, models:/NAME/VERSION"
            ) from None


def find_pair(a: str, b: str, gt_json: str | None, gt_dir: str | None) -> tuple[Measured, Measured]:
    """What was measured of two sides, on the same validation split where both are runs or models.

    Args:
        gt_json: ground truth for folders of predictions.
        gt_dir: folder of its PNGs.

    Raises:
        InputError: a side does not exist or was not measured, they have no validation split in common, or the ground
            truth is missing.
    """
    one, other = Contestant.named(a), Contestant.named(b)
    if (one.run is None or other.run is None) and not (gt_json and gt_dir):
        name = (one if one.run is None else other).name
        raise InputError(f"{name}: predictions are compared by ground truth; give --gt-json and --gt-dir")
    reports = [_reports(side) for side in (one, other)]
    common = [split for split in reports[0] if split in reports[1]]
    if one.run and other.run and not common:
        first, second = (", ".join(some) for some in reports)
        raise InputError(
            f"{one.name} was measured on validation data {first}, {other.name} on {second}: none is the same; run "
            f"`evaluate PRESET --run {other.run.uri}` with the preset and the data of the other"
        )
    measured = [
        read_measured(own[common[0] if common else next(iter(own))])
        if own
        else _predictions(side.name, gt_json or "", gt_dir or "")
        for side, own in zip((one, other), reports, strict=True)
    ]
    return measured[0], measured[1]


def _reports(side: Contestant) -> dict[str, ReportFolder]:
    """The reports of a run by their validation splits; none of predictions."""
    if side.run is None:
        return {}
    if reports := reports_with_outcomes(side.run):
        return reports
    uri = side.run.uri
    cure = (
        f"run `evaluate PRESET --run {uri}` with the preset it was trained with"
        if side.run.exists() and side.run.is_begun()
        else "run `predict` with it, and compare the folders of predictions"
    )
    raise InputError(f"{side.name}: no outcomes of an evaluation in {uri}; {cure}")


def _predictions(folder: str, gt_json: str, gt_dir: str) -> Measured:
    predicted = PredictionsFolder(storage.absolute(folder))
    score = score_folders(gt_json, gt_dir, predicted.document_uri, predicted.panoptic_uri)
    return Measured(outcomes=score.outcomes, categories=score.categories, tags=_true_tags(gt_json))


def _true_tags(gt_json: str) -> Tags:
    """What the ground truth says of each image; nothing where its ids are texts."""
    annotations = read_panoptic_json(storage.read_bytes(gt_json), gt_json, strict=False)
    return {
        record.image_id: {"file_name": record.file_name, "height": str(record.height), "width": str(record.width)}
        for record in annotations.images
        if isinstance(record.image_id, int)
    }
