// How many pixels each id of a map has, and where.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "pairs.h"

namespace aunet::maps {

// Half-open: x1 <= x < x2, y1 <= y < y2.
struct Box {
  int64_t x1, y1, x2, y2;
};

// Adds up bands of equal rows: first the runs of one of them, then the rows that it stands for.
class Measures {
 public:
  PairTable ids;           // (id, 0) and its pixels
  std::vector<Box> boxes;  // of each

  void add_run(int64_t id, int64_t x1, int64_t x2) {
    runs_.push_back({ids.slot(id, 0), x1, x2});
    if (boxes.size() < ids.pairs.size()) boxes.push_back({x1, INT64_MAX, x2, 0});
  }

  void end_band(int64_t top, int64_t bottom) {
    for (const Run& run : runs_) {
      ids.pairs[run.slot].pixels += (run.x2 - run.x1) * (bottom - top);
      Box& box = boxes[run.slot];
      box = {std::min(box.x1, run.x1), std::min(box.y1, top), std::max(box.x2, run.x2), std::max(box.y2, bottom)};
    }
    runs_.clear();
  }

 private:
  struct Run {
    int32_t slot;
    int64_t x1, x2;
  };
  std::vector<Run> runs_;
};

// Ids [height, width].
template <typename T>
Measures measure(const T* ids, int64_t height, int64_t width) {
  Measures measures;
  int64_t top = 0;
  for (int64_t y = 0; y < height; ++y) {
    const T* row = ids + y * width;
    if (y > 0 && std::memcmp(row, row - width, width * sizeof *row) == 0) continue;
    measures.end_band(top, y);
    top = y;
    const auto differs = [row](int64_t x) { return row[x] != row[x - 1]; };
    for_each_run(width, differs, [&](int64_t x1, int64_t x2) { measures.add_run(row[x1], x1, x2); });
  }
  measures.end_band(top, height);
  return measures;
}

}  // namespace aunet::maps
