"""Draws docs/images/roi_upsample.png from the operator's real output: ``python docs/figures/roi_upsample.py``."""

from pathlib import Path

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from aunet_ops import roi_upsample

matplotlib.use("Agg")

from matplotlib import pyplot as plt

TARGET = Path(__file__).parent.parent / "images" / "roi_upsample.png"
COLORS = "viridis"


def show(axes: Axes, values: Tensor, title: str, top: float | None = None) -> None:
    """One map, pixels as squares, with its scale beside it."""
    picture = axes.imshow(values, cmap=COLORS, vmin=0, vmax=top)
    axes.set_title(title, fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.figure.colorbar(picture, ax=axes, fraction=0.046, pad=0.03).ax.tick_params(labelsize=7)


def outline(axes: Axes, roi: list[float], m: int) -> None:
    """The RoI, its bins and the four grid points of each, on a map drawn with pixel centres at whole numbers."""
    x1, y1, x2, y2 = (v - 0.5 for v in roi)
    for i in range(m):
        for j in range(m):
            corner = (x1 + j * (x2 - x1) / m, y1 + i * (y2 - y1) / m)
            axes.add_patch(Rectangle(corner, (x2 - x1) / m, (y2 - y1) / m, fill=False, color="white", lw=1.2))
    for t in range(2 * m):
        x = x1 + (t + 0.5) * (x2 - x1) / (2 * m)
        ys = [y1 + (s + 0.5) * (y2 - y1) / (2 * m) for s in range(2 * m)]
        axes.plot([x] * len(ys), ys, "o", color="#ff6b4a", ms=3.5, mec="white", mew=0.5)


def figure_mask(m: int) -> Tensor:
    """A ring-shaped mask, ``Tensor[1, 1, m, m]``."""
    t = (torch.arange(m) + 0.5) / m * 2 - 1
    radius = (t[:, None] ** 2 + t[None, :] ** 2).sqrt()
    return ((radius < 0.95) & (radius > 0.4)).float()[None, None]


def main() -> None:
    """Write the picture."""
    figure, rows = plt.subplots(2, 3, figsize=(9.6, 6), constrained_layout=True)

    mask = torch.tensor([[[[1.0, 0.4], [0.7, 0.1]]]])
    roi = [1.8, 1.4, 8.9, 7.9]
    show(rows[0, 0], mask[0, 0], "a mask, m = 2", 1)
    written = roi_upsample(mask, torch.tensor([[0.0, *roi]]), (1, 9, 11), 1.0)[0, 0]
    show(rows[0, 1], written, "RoIUpsample: four points per bin,\neach on four pixels (Eq. 5)")
    outline(rows[0, 1], roi, 2)
    ones = roi_upsample(torch.ones_like(mask), torch.tensor([[0.0, *roi]]), (1, 9, 11), 1.0)[0, 0]
    show(rows[0, 2], ones, "the same for a mask of ones:\nthe coverage")
    outline(rows[0, 2], roi, 2)

    mask = figure_mask(28)
    rois = torch.tensor([[0.0, 3, 4, 17.5, 19], [0.0, 12, 9, 39, 38]])
    show(rows[1, 0], mask[0, 0], "a mask, m = 28", 1)
    masks = mask.expand(2, -1, -1, -1)
    raw = roi_upsample(masks, rois, (1, 42, 42), 1.0)[0, 0]
    show(rows[1, 1], raw, "two RoIs, 14 and 28 cells:\nsummed, as in the paper")
    covered = roi_upsample(masks, rois, (1, 42, 42), 1.0, normalize="coverage")[0, 0]
    show(rows[1, 2], covered, 'the same with\nnormalize="coverage"', 1)

    TARGET.parent.mkdir(exist_ok=True)
    figure.savefig(TARGET, dpi=110)
    print(f"written: {TARGET.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
