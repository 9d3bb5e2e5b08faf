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

struct Measures {
  PairTable ids;           // (id, 0) and its pixels
  std::vector<Box> boxes;  // of each
};

// Ids [height, width]; rows that are equal to the one above are counted together.
template <typename T>
Measures measure(const T* ids, int64_t height, int64_t width) {
  struct Run {
    int32_t slot;
    int64_t x1, x2;
  };
  Measures measures;
  std::vector<Run> runs;
  int64_t top = 0;
  const auto add_runs = [&](int64_t bottom) {
    for (const Run& run : runs) {
      measures.ids.pairs[run.slot].pixels += (run.x2 - run.x1) * (bottom - top);
      Box& box = measures.boxes[run.slot];
      box = {std::min(box.x1, run.x1), std::min(box.y1, top), std::max(box.x2, run.x2), std::max(box.y2, bottom)};
    }
    runs.clear();
    top = bottom;
  };
  for (int64_t y = 0; y < height; ++y) {
    const T* row = ids + y * width;
    if (y > 0 && std::memcmp(row, row - width, width * sizeof *row) == 0) continue;
    add_runs(y);
    for_each_run(row, row, width, [&](int64_t begin, int64_t end) {
      runs.push_back({measures.ids.slot(row[begin], 0), begin, end});
    });
    measures.boxes.resize(measures.ids.pairs.size(), {width, height, 0, 0});
  }
  add_runs(height);
  return measures;
}

}  // namespace aunet::maps
