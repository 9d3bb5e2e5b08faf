// What the CPU and the CUDA side share: the operator's arguments, checked once at the front.
//
// Shape letters: K RoIs, C channels, m bins per side, N images, H x W the map.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <cstdint>
#include <vector>

namespace aunet {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

struct Problem {
  int64_t num_rois, channels, num_bins, num_images, height, width;
  double scale;
  int64_t ratio;
  bool aligned;

  int64_t mask_size() const { return num_bins * num_bins; }
  int64_t plane_size() const { return height * width; }
  bool empty() const { return num_rois * channels * num_bins == 0 || num_images * height * width == 0; }
};

// masks [K, C, m, m], rois [K, 5], output_size (N, H, W).
Problem check_forward(
    const Tensor& masks, const Tensor& rois, const std::vector<int64_t>& output_size, double scale, int64_t ratio,
    bool aligned);

// grad [N, C, H, W], rois [K, 5], m.
Problem check_backward(
    const Tensor& grad, const Tensor& rois, int64_t num_bins, double scale, int64_t ratio, bool aligned);

}  // namespace aunet
