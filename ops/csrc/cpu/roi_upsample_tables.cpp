#include "roi_upsample_tables.h"

#include <algorithm>
#include <cstring>

#include "../roi_geometry.h"

namespace aunet::cpu {
namespace {

constexpr size_t kAlign = 64;

size_t padded(size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

int blocks_of(int count, int lanes) { return (count + lanes - 1) / lanes; }

template <typename E>
E* take(char*& memory, size_t count) {
  E* result = reinterpret_cast<E*>(memory);
  memory += padded(count * sizeof(E));
  return result;
}

// Grid points computed side by side: the loop of grid_point without its exit, for points that are kept.
constexpr int kPointsAtOnce = 64;

struct GridPoints {
  int low[kPointsAtOnce];
  double weight_low[kPointsAtOnce], weight_high[kPointsAtOnce];
};

void compute_points(double start, double step, int begin, int count, double last_pixel, double ratio, GridPoints& g) {
  for (int i = 0; i < count; ++i) {
    double x = add(start, mul(begin + i + 0.5, step));
    x = x < 0 ? 0 : x;
    x = x > last_pixel ? last_pixel : x;
    const int low = static_cast<int>(x);
    const double f = x - low;
    const double share = 1 / mul(add(mul(f, f), mul(1 - f, 1 - f)), ratio);
    g.low[i] = low;
    g.weight_low[i] = mul(1 - f, share);
    g.weight_high[i] = mul(f, share);
  }
}

// Calls put(destination, source, weight) for every non-zero, grid points in ascending order.
template <typename Put>
void for_each_weight(double start, double length, int size, const AxisPlan& plan, const Shape& shape, Put put) {
  const double step = length / (shape.num_bins * shape.ratio);
  int bin = plan.begin / shape.ratio;
  int in_bin = plan.begin % shape.ratio;
  GridPoints points;
  for (int begin = plan.begin; begin < plan.end; begin += kPointsAtOnce) {
    const int count = std::min(kPointsAtOnce, plan.end - begin);
    compute_points(start, step, begin, count, size - 1, shape.ratio, points);
    for (int i = 0; i < count; ++i) {
      const int pixel = points.low[i] - plan.low;
      if (shape.backward) {
        put(bin, pixel, points.weight_low[i]);
        if (points.weight_high[i] != 0) put(bin, pixel + 1, points.weight_high[i]);
      } else {
        put(pixel, bin, points.weight_low[i]);
        if (points.weight_high[i] != 0) put(pixel + 1, bin, points.weight_high[i]);
      }
      if (++in_bin == shape.ratio) {
        in_bin = 0;
        ++bin;
      }
    }
  }
}

}  // namespace

AxisPlan plan_axis(double start, double length, int size, const Shape& shape, ColumnLayout layout, size_t element) {
  const int points = shape.num_bins * shape.ratio;
  const double step = length / points, bin = step * shape.ratio;
  const AxisExtent extent = axis_extent(start, step, points, size);
  AxisPlan plan{extent.begin, extent.end, extent.low, extent.hull, 0, 0, false};
  if (plan.hull == 0) return plan;
  const double slack = position_slack(start, length, size);
  const int lanes = std::min(layout.lanes, shape.backward ? shape.num_bins : plan.hull);
  int window;
  if (shape.backward) {
    plan.row_taps = pixels_under(1, bin, step, slack, plan.hull);
    window = pixels_under(lanes, bin, step, slack, plan.hull);
  } else {
    plan.row_taps = bins_over(1, bin, slack, shape.num_bins);
    window = bins_over(lanes, bin, slack, shape.num_bins);
  }
  plan.permute = element == 4 && window <= layout.permute && 2 * plan.row_taps <= window + 2;
  plan.column_taps = plan.permute ? plan.row_taps : window;
  return plan;
}

template <typename T>
size_t table_bytes(const AxisPlan& x, const AxisPlan& y, const Shape& shape, ColumnLayout layout) {
  if (x.hull == 0 || y.hull == 0) return 0;
  const size_t rows = shape.backward ? shape.num_bins : y.hull;
  const size_t blocks = blocks_of(shape.backward ? shape.num_bins : x.hull, layout.lanes);
  return 2 * padded(rows * sizeof(int)) + padded(rows * y.row_taps * sizeof(T)) + 2 * padded(blocks * sizeof(int)) +
         padded(blocks * layout.lanes * sizeof(int)) + padded(blocks * layout.lanes * x.column_taps * sizeof(T));
}

template <typename T>
RoiTables<T> fill_tables(
    double x_start, double x_length, double y_start, double y_length, const AxisPlan& x, const AxisPlan& y,
    const Shape& shape, ColumnLayout layout, char* memory) {
  RoiTables<T> tables{};
  if (x.hull == 0 || y.hull == 0) return tables;
  tables.hull_x = x.low;
  tables.hull_y = y.low;
  tables.hull_width = x.hull;
  tables.hull_height = y.hull;
  std::memset(memory, 0, table_bytes<T>(x, y, shape, layout));

  const int rows = shape.backward ? shape.num_bins : y.hull;
  const int row_sources = shape.backward ? y.hull : shape.num_bins;
  int* first = take<int>(memory, rows);
  int* num = take<int>(memory, rows);
  T* coef = take<T>(memory, static_cast<size_t>(rows) * y.row_taps);
  for_each_weight(y_start, y_length, shape.height, y, shape, [&](int destination, int source, double weight) {
    if (num[destination] == 0) first[destination] = std::min(source, row_sources - y.row_taps);
    num[destination] = y.row_taps;
    const int tap = std::min(source - first[destination], y.row_taps - 1);
    coef[static_cast<size_t>(destination) * y.row_taps + tap] += static_cast<T>(weight);
  });
  tables.rows = {rows, y.row_taps, first, num, coef};

  const int count = shape.backward ? shape.num_bins : x.hull;
  const int sources = shape.backward ? x.hull : shape.num_bins;
  const int lanes = layout.lanes, blocks = blocks_of(count, lanes);
  const int shift = __builtin_ctz(lanes);
  int* block_first = take<int>(memory, blocks);
  int* block_num = take<int>(memory, blocks);
  int* index = take<int>(memory, static_cast<size_t>(blocks) * lanes);
  T* block_coef = take<T>(memory, static_cast<size_t>(blocks) * lanes * x.column_taps);
  std::fill(index, index + static_cast<size_t>(blocks) * lanes, -1);
  for_each_weight(x_start, x_length, shape.width, x, shape, [&](int destination, int source, double weight) {
    const int block = destination >> shift, lane = destination & (lanes - 1);
    if (block_num[block] == 0) block_first[block] = source;
    if (index[destination] < 0) index[destination] = source;
    const int tap = std::min(source - (x.permute ? index[destination] : block_first[block]), x.column_taps - 1);
    block_num[block] = x.permute ? x.column_taps : std::max(block_num[block], tap + 1);
    block_coef[(static_cast<size_t>(block) * x.column_taps + tap) * lanes + lane] += static_cast<T>(weight);
  });
  const bool from_start = sources <= layout.permute;  // the kernel then keeps the whole row in two registers
  for (int block = 0; x.permute && block < blocks; ++block) {
    if (from_start) block_first[block] = 0;
    for (int i = block * lanes; i < (block + 1) * lanes; ++i) index[i] = std::max(0, index[i] - block_first[block]);
  }
  tables.columns = {count, sources, x.column_taps, x.permute, block_first, block_num, index, block_coef};
  return tables;
}

template size_t table_bytes<float>(const AxisPlan&, const AxisPlan&, const Shape&, ColumnLayout);
template size_t table_bytes<double>(const AxisPlan&, const AxisPlan&, const Shape&, ColumnLayout);
template RoiTables<float> fill_tables(
    double, double, double, double, const AxisPlan&, const AxisPlan&, const Shape&, ColumnLayout, char*);
template RoiTables<double> fill_tables(
    double, double, double, double, const AxisPlan&, const AxisPlan&, const Shape&, ColumnLayout, char*);

}  // namespace aunet::cpu
