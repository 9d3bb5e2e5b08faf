// Tables of the RoIs on the GPU: the same numbers, added in the same order, as on the CPU.
//
// The workspace has a size known from the shapes alone, so nothing waits for the device. Forward, per axis and RoI:
// pixel p of the hull has the bins first[p] .. first[p] + taps - 1 with weights coef[t * hull + p]. Backward: bin j has
// `taps` entries, pixel first[q * m + j] of the hull with weight coef[q * m + j].
#pragma once

#include "../roi_geometry.h"

namespace aunet::cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

struct AxisTable {
  int low, hull, taps;
};

struct Box {
  int image;  // -1: inactive, or touches nothing
  AxisTable x, y;
};

// Shape letters as in roi_upsample.h.
struct Arguments {
  int num_rois, num_bins, ratio, num_images, height, width;
  int64_t channels;
  double scale;
  bool aligned, backward;
};

// Elements of one axis of one RoI. Forward: hull * taps, where (length + 2) * (2 m / length + 2) is the largest for a
// RoI as long as the map or one pixel long, and hull <= 3 below that.
AUNET_HOST_DEVICE int64_t coef_stride(const Arguments& a, int size) {
  return a.backward ? 2LL * a.ratio * a.num_bins : 6LL * a.num_bins + 4LL * size + 16;
}

AUNET_HOST_DEVICE int64_t first_stride(const Arguments& a, int size) {
  return a.backward ? 2LL * a.ratio * a.num_bins : size;
}

template <typename T>
struct Workspace {
  Box* box;                // [K]
  int *first_x, *first_y;  // [K, first_stride]
  T *coef_x, *coef_y;      // [K, coef_stride]
};

// Lanes share the pixels of the hull.
template <typename T>
__device__ void fill_forward_axis(
    double start, double step, const AxisExtent& extent, int size, int taps, const Arguments& a, int lane, int* first,
    T* coef) {
  for (int p = lane; p < extent.hull; p += kWarp) {
    for (int t = 0; t < taps; ++t) coef[t * extent.hull + p] = 0;
    const int pixel = extent.low + p;
    // The first grid point behind pixel - 1, found as axis_extent finds the first of all.
    int point = static_cast<int>(clamp_above((pixel - 1 - start) / step, extent.end));
    point = point < extent.begin ? extent.begin : point;
    while (point > extent.begin && add(start, mul(point - 0.5, step)) >= pixel - 1) --point;
    int from = -1;
    for (; point < extent.end; ++point) {
      GridPoint g;
      grid_point(start, step, point, size, a.ratio, &g);
      if (g.low > pixel) break;
      const double weight = g.low == pixel ? g.weight_low : g.low + 1 == pixel ? g.weight_high : 0;
      if (weight == 0) continue;
      const int bin = point / a.ratio;
      if (from < 0) from = bin < a.num_bins - taps ? bin : a.num_bins - taps;
      const int tap = bin - from < taps - 1 ? bin - from : taps - 1;
      coef[tap * extent.hull + p] += static_cast<T>(weight);
    }
    first[p] = from < 0 ? 0 : from;
  }
}

// Lanes share the bins.
template <typename T>
__device__ void fill_backward_axis(
    double start, double step, const AxisExtent& extent, int size, int taps, const Arguments& a, int lane, int* first,
    T* coef) {
  for (int bin = lane; bin < a.num_bins; bin += kWarp) {
    int used = 0;
    for (int point = bin * a.ratio; point < (bin + 1) * a.ratio; ++point) {
      if (point < extent.begin || point >= extent.end) continue;
      GridPoint g;
      grid_point(start, step, point, size, a.ratio, &g);
      for (int side = 0; side < 2; ++side) {
        const double weight = side == 0 ? g.weight_low : g.weight_high;
        if (weight == 0) continue;
        const int pixel = g.low + side - extent.low;
        int q = used > 1 ? used - 2 : 0;  // a point meets the last two pixels of the one before, at most
        while (q < used && first[q * a.num_bins + bin] != pixel) ++q;
        if (q == used) {
          if (used < taps) ++used;
          q = used - 1;
          first[q * a.num_bins + bin] = pixel;
          coef[q * a.num_bins + bin] = 0;
        }
        coef[q * a.num_bins + bin] += static_cast<T>(weight);
      }
    }
    for (int q = used; q < taps; ++q) {
      first[q * a.num_bins + bin] = 0;
      coef[q * a.num_bins + bin] = 0;
    }
  }
}

template <typename T>
__device__ AxisTable
fill_axis(double start, double length, int size, const Arguments& a, int lane, int* first, T* coef) {
  const int points = a.num_bins * a.ratio;
  const double step = length / points, bin = mul(step, a.ratio);
  const AxisExtent extent = axis_extent(start, step, points, size);
  if (extent.hull == 0) return {0, 0, 0};
  const double slack = position_slack(start, length, size);
  if (a.backward) {
    const int taps = pixels_under(1, bin, step, slack, 2 * a.ratio);
    fill_backward_axis(start, step, extent, size, taps, a, lane, first, coef);
    return {extent.low, extent.hull, taps};
  }
  const int taps = bins_over(1, bin, slack, a.num_bins);
  fill_forward_axis(start, step, extent, size, taps, a, lane, first, coef);
  return {extent.low, extent.hull, taps};
}

// One warp per RoI.
template <typename R, typename T>
__device__ void fill_tables(const Arguments& a, const R* rois, Workspace<T> work, int64_t k, int lane) {
  const RoiGeometry roi = roi_geometry(rois + k * 5, a.scale, a.aligned, a.num_images);
  Box box{-1, {0, 0, 0}, {0, 0, 0}};
  if (roi.image >= 0) {
    box.x = fill_axis(
        roi.x, roi.width, a.width, a, lane, work.first_x + k * first_stride(a, a.width),
        work.coef_x + k * coef_stride(a, a.width));
    box.y = fill_axis(
        roi.y, roi.height, a.height, a, lane, work.first_y + k * first_stride(a, a.height),
        work.coef_y + k * coef_stride(a, a.height));
    if (box.x.hull > 0 && box.y.hull > 0) box.image = static_cast<int>(roi.image);
  }
  if (lane == 0) work.box[k] = box;
}

}  // namespace aunet::cuda
