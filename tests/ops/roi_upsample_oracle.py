"""RoIUpsample written as plain loops over Eq. 5 in float64, and the geometries the tests share.

Nothing here is shared with the code under test: not the tables, not the separable form.
"""

import math

import numpy as np
import torch
from torch import Tensor


def axis_points(start: float, length: float, num_points: int, size: int) -> list[tuple[int, int, float, float]]:
    """``(low, high, weight on low, weight on high)`` of each grid point of one axis; weights 0 if dropped."""
    points = []
    for t in range(num_points):
        x = start + (t + 0.5) * (length / num_points)
        if x < -1 or x > size:
            points.append((0, 0, 0.0, 0.0))
            continue
        x = min(max(x, 0.0), size - 1.0)
        low = math.floor(x)
        f = x - low
        value = f * f + (1 - f) * (1 - f)
        points.append((low, min(low + 1, size - 1), (1 - f) / value, f / value))
    return points


def weights(
    roi: np.ndarray, m: int, height: int, width: int, scale: float, ratio: int, aligned: bool
) -> list[tuple[int, int, int, int, float]]:
    """Every ``(bin row, bin column, y, x, weight)`` of one RoI, one entry per grid point and pixel."""
    if not all(math.isfinite(v * scale) for v in roi[1:]) or not roi[0] >= 0:
        return []
    offset = 0.5 if aligned else 0.0
    x1, y1, x2, y2 = (float(v) * scale - offset for v in roi[1:])
    roi_width, roi_height = x2 - x1, y2 - y1
    if not aligned:
        roi_width, roi_height = max(roi_width, 1.0), max(roi_height, 1.0)
    if roi_width <= 0 or roi_height <= 0:
        return []
    xs = axis_points(x1, roi_width, m * ratio, width)
    ys = axis_points(y1, roi_height, m * ratio, height)
    entries = []
    for ty, (y_low, y_high, wy_low, wy_high) in enumerate(ys):
        for tx, (x_low, x_high, wx_low, wx_high) in enumerate(xs):
            for y, wy in ((y_low, wy_low), (y_high, wy_high)):
                for x, wx in ((x_low, wx_low), (x_high, wx_high)):
                    if wy * wx:
                        entries.append((ty // ratio, tx // ratio, y, x, wy * wx / ratio**2))
    return entries


def forward(
    masks: Tensor, rois: Tensor, output_size: tuple[int, int, int], scale: float, ratio: int = 2, aligned: bool = True
) -> Tensor:
    """``Tensor[K, C, m, m]`` -> ``Tensor[N, C, H, W]`` in float64."""
    num_images, height, width = output_size
    out = np.zeros((num_images, masks.shape[1], height, width))
    values, boxes = masks.detach().double().numpy(), rois.double().numpy()
    for k in range(len(boxes)):
        for i, j, y, x, weight in weights(boxes[k], masks.shape[2], height, width, scale, ratio, aligned):
            out[int(boxes[k, 0]), :, y, x] += weight * values[k, :, i, j]
    return torch.from_numpy(out)


def backward(grad: Tensor, rois: Tensor, m: int, scale: float, ratio: int = 2, aligned: bool = True) -> Tensor:
    """``Tensor[N, C, H, W]`` -> ``Tensor[K, C, m, m]`` in float64, the transpose of :func:`forward`."""
    _, channels, height, width = grad.shape
    out = np.zeros((len(rois), channels, m, m))
    values, boxes = grad.detach().double().numpy(), rois.double().numpy()
    for k in range(len(boxes)):
        for i, j, y, x, weight in weights(boxes[k], m, height, width, scale, ratio, aligned):
            out[k, :, i, j] += weight * values[int(boxes[k, 0]), :, y, x]
    return torch.from_numpy(out)


def random_rois(
    num_rois: int, num_images: int, height: int, width: int, low: float, high: float, scale: float, seed: int = 0
) -> Tensor:
    """``Tensor[K, 5]`` float64 with sides between ``low`` and ``high`` cells, some across every border."""
    g = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=g, dtype=torch.float64)

    side = low * (high / low) ** uniform(num_rois, 2)
    center = uniform(num_rois, 2) * torch.tensor([width + 4.0, height + 4.0]) - 2
    index = torch.randint(0, max(num_images, 1), (num_rois, 1), generator=g).double()
    return torch.cat([index, (center - side / 2) / scale, (center + side / 2) / scale], 1)


# (K, C, m, N, H, W, smallest side, largest side in cells): single pixels, rows, tiny, huge, odd, many bins
SHAPES = [
    (3, 2, 2, 2, 9, 11, 2.0, 9.0),
    (4, 1, 7, 1, 1, 23, 1.0, 30.0),
    (4, 3, 5, 2, 19, 1, 1.0, 30.0),
    (5, 2, 1, 1, 8, 9, 0.5, 12.0),
    (4, 2, 14, 2, 17, 40, 0.01, 3.0),
    (3, 5, 14, 1, 40, 33, 14.0, 28.0),
    (2, 1, 28, 1, 31, 64, 14.0, 70.0),
    (1, 1, 40, 1, 45, 50, 20.0, 90.0),
    (1, 2, 17, 1, 4, 4, 100.0, 3000.0),
]
