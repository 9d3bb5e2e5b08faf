// Tables of one RoI: which sources make up each destination, on either axis.
//
// Forward: destinations are the pixels the RoI touches (its hull), sources are the bins. Backward: the other way
// round. Both are the same operation, so one kernel serves both:
//     out[dy][dx] = sum_sy sum_sx  rows(dy, sy) * columns(dx, sx) * in[sy][sx]
#pragma once

#include <cstddef>
#include <cstdint>

namespace aunet::cpu {

// How the vector kernel of this machine wants the columns: `lanes` destinations side by side.
struct ColumnLayout {
  int lanes;    // a power of two
  int permute;  // width of a two-register permutation in elements, 0 if the kernel has none
};

// Destination d has num[d] sources from first[d] on, with weights coef[d * taps + t]. num is 0 or taps: equal trip
// counts spare the branch predictor more than the zeros cost.
template <typename T>
struct Rows {
  int count, taps;
  const int* first;
  const int* num;
  const T* coef;
};

// Block b holds the destinations b * lanes .. b * lanes + lanes - 1, weights coef[(b * taps + t) * lanes + lane].
//   banded:  every lane takes source first[b] + t, t < num[b]
//   permute: lane takes source first[b] + index[b * lanes + lane] + t, t < num[b], all within `permute` of first[b]
template <typename T>
struct Columns {
  int count, sources, taps;
  bool permute;
  const int* first;
  const int* num;
  const int* index;
  const T* coef;
};

template <typename T>
struct RoiTables {
  int hull_x, hull_y, hull_width, hull_height;
  Rows<T> rows;
  Columns<T> columns;
};

// Extent and table size of one axis, known before the table is filled.
struct AxisPlan {
  int begin, end;  // grid points that are kept
  int low, hull;   // first pixel touched, number of pixels touched (0: nothing)
  int row_taps, column_taps;
  bool permute;
};

// What the tables need to know besides the RoI.
struct Shape {
  int num_bins, ratio, height, width;
  bool backward;
};

AxisPlan plan_axis(double start, double length, int size, const Shape& shape, ColumnLayout layout, size_t element);

template <typename T>
size_t table_bytes(const AxisPlan& x, const AxisPlan& y, const Shape& shape, ColumnLayout layout);

// Fills `memory` (table_bytes of it, aligned to 64) and returns the tables that point into it.
template <typename T>
RoiTables<T> fill_tables(
    double x_start, double x_length, double y_start, double y_length, const AxisPlan& x, const AxisPlan& y,
    const Shape& shape, ColumnLayout layout, char* memory);

}  // namespace aunet::cpu
