// Where the grid points of a RoI lie and how each is written (Eq. 5 and 6): the one text both devices compile.
//
// Everything is computed in double, in a fixed order and without fused multiply-add, so that CPU and CUDA build the
// same tables. Compile host code that includes this with -ffp-contract=off.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define AUNET_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define AUNET_HOST_DEVICE inline
#endif

namespace aunet {

#ifdef __CUDA_ARCH__
AUNET_HOST_DEVICE double add(double a, double b) { return __dadd_rn(a, b); }
AUNET_HOST_DEVICE double mul(double a, double b) { return __dmul_rn(a, b); }
#else
AUNET_HOST_DEVICE double add(double a, double b) { return a + b; }
AUNET_HOST_DEVICE double mul(double a, double b) { return a * b; }
#endif

// One RoI on the map, in pixels of the map. image < 0: inactive, contributes nothing.
struct RoiGeometry {
  int64_t image;
  double x, y, width, height;
};

AUNET_HOST_DEVICE bool is_finite(double value) { return value - value == 0; }

// roi: (image index, x1, y1, x2, y2). Inactive: a negative or NaN index, an index not below num_images, a NaN or
// infinite coordinate, or (aligned) no area. Not aligned: at least one pixel on either side, as in the first RoIAlign.
template <typename R>
AUNET_HOST_DEVICE RoiGeometry roi_geometry(const R* roi, double scale, bool aligned, int64_t num_images) {
  const double offset = aligned ? 0.5 : 0.0;
  RoiGeometry g;
  g.x = add(mul(roi[1], scale), -offset);
  g.y = add(mul(roi[2], scale), -offset);
  g.width = add(add(mul(roi[3], scale), -offset), -g.x);
  g.height = add(add(mul(roi[4], scale), -offset), -g.y);
  if (!aligned) {
    g.width = g.width < 1 ? 1 : g.width;
    g.height = g.height < 1 ? 1 : g.height;
  }
  const double index = roi[0];
  const bool active = index >= 0 && index < static_cast<double>(num_images) && is_finite(g.x) && is_finite(g.y) &&
                      is_finite(g.width) && is_finite(g.height) && g.width > 0 && g.height > 0;
  g.image = active ? static_cast<int64_t>(index) : -1;
  return g;
}

// One grid point on one axis: written on pixel `low` with weight_low and on low + 1 with weight_high.
struct GridPoint {
  int low = 0;
  double weight_low = 0, weight_high = 0;
};

// Grid point t = 0 .. points - 1 of a RoI that starts at `start` with `step` pixels between points. `ratio` points
// share a bin, each carries 1 / ratio of it on this axis. RoIAlign's border rule: points up to one pixel outside move
// to the border, points farther outside are dropped (false). weight_high is 0 whenever low + 1 is outside.
AUNET_HOST_DEVICE bool grid_point(double start, double step, int t, int size, double ratio, GridPoint* point) {
  double x = add(start, mul(t + 0.5, step));
  if (!(x >= -1 && x <= size)) return false;
  x = x < 0 ? 0 : x;
  x = x > size - 1 ? size - 1 : x;
  const int low = static_cast<int>(x);
  const double f = x - low;
  const double value = add(mul(f, f), mul(1 - f, 1 - f));
  const double share = 1 / mul(value, ratio);
  point->low = low;
  point->weight_low = mul(1 - f, share);
  point->weight_high = mul(f, share);
  return true;
}

// The grid points of one axis that are kept, begin <= t < end, and the pixels they are written on: `hull` pixels from
// `low` on (0: none).
struct AxisExtent {
  int begin = 0, end = 0;
  int low = 0, hull = 0;
};

AUNET_HOST_DEVICE double clamp_above(double value, double limit) {
  return value > 0 ? (value < limit ? value : limit) : 0;  // NaN gives 0
}

AUNET_HOST_DEVICE AxisExtent axis_extent(double start, double step, int points, int size) {
  // A guess by division, mended by comparing positions as grid_point computes them.
  AxisExtent extent;
  int begin = static_cast<int>(clamp_above((-1 - start) / step, points));
  while (begin > 0 && add(start, mul(begin - 0.5, step)) >= -1) --begin;
  while (begin < points && add(start, mul(begin + 0.5, step)) < -1) ++begin;
  int end = static_cast<int>(clamp_above((size - start) / step, points));
  while (end < points && add(start, mul(end + 0.5, step)) <= size) ++end;
  while (end > begin && add(start, mul(end - 0.5, step)) > size) --end;
  if (begin >= end) return extent;
  GridPoint first, last;
  grid_point(start, step, begin, size, 1, &first);
  grid_point(start, step, end - 1, size, 1, &last);
  extent.begin = begin;
  extent.end = end;
  extent.low = first.low;
  extent.hull = last.low + (last.weight_high != 0 ? 2 : 1) - first.low;
  return extent;
}

// Room for the rounding of positions, in pixels.
AUNET_HOST_DEVICE double position_slack(double start, double length, int size) {
  return 1e-12 * (size + (start < 0 ? -start : start) + length);
}

// Most bins that share `pixels` neighbouring pixels: their grid points lie within pixels + 1.
AUNET_HOST_DEVICE int bins_over(int pixels, double bin, double slack, int num_bins) {
  return static_cast<int>(clamp_above((pixels + 1 + slack) / bin + 2, num_bins));
}

// Most pixels that `bins` neighbouring bins are written on: their outermost grid points are bins * bin - step apart.
AUNET_HOST_DEVICE int pixels_under(int bins, double bin, double step, double slack, int hull) {
  return static_cast<int>(clamp_above(bins * bin - step + slack + 3, hull));
}

}  // namespace aunet
