// All RoIs of one call: their tables, and the order in which they are added.
#pragma once

#include <memory>
#include <vector>

#include "../roi_upsample.h"
#include "roi_upsample_kernels.h"

namespace aunet::cpu {

// The kernels this machine can run, or those that AUNET_OPS_ISA names (baseline, avx2, avx512) if it can run them.
const KernelSet& kernels();

template <typename T>
struct Plan {
  std::vector<RoiTables<T>> tables;  // [K]
  std::vector<int> order;            // active RoIs that touch the map, by image, then by position
  std::vector<int> image;            // [active], image of order[i]
  std::vector<int64_t> image_begin;  // [N + 1], range of each image in order
  std::unique_ptr<char[]> memory;
};

template <typename T>
Plan<T> make_plan(const Problem& problem, const Tensor& rois, bool backward);

}  // namespace aunet::cpu
