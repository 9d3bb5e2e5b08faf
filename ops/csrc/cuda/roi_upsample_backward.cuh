// The adjoint on the GPU: a warp owns one channel of one RoI and gathers from the gradient of the map. No atomics.
#pragma once

#include "roi_upsample_forward.cuh"

namespace aunet::cuda {

// A RoI with at most 32 bins per side and at most 32 columns: lane x holds column x of a row of the first product.
template <typename S, typename T>
__device__ void read_by_shuffles(
    const Arguments& a, const Box& box, const int* first_x, const T* coef_x, const int* first_y, const T* coef_y,
    const S* corner, S* out, int lane) {
  const int m = a.num_bins;
  int source[kFastTaps];
  T weight_x[kFastTaps];
#pragma unroll
  for (int q = 0; q < kFastTaps; ++q) {
    const bool valid = lane < m && q < box.x.taps;
    source[q] = valid ? first_x[q * m + lane] : 0;
    weight_x[q] = valid ? coef_x[q * m + lane] : T(0);
  }
  for (int i = 0; i < m; ++i) {
    T value = 0;
    for (int q = 0; q < box.y.taps; ++q) {
      const T weight = coef_y[q * m + i];
      if (weight != 0 && lane < box.x.hull) {
        value += weight * static_cast<T>(corner[static_cast<int64_t>(first_y[q * m + i]) * a.width + lane]);
      }
    }
    T sum = 0;
#pragma unroll
    for (int q = 0; q < kFastTaps; ++q) {
      if (q >= box.x.taps) break;
      const T other = __shfl_sync(kAllLanes, value, source[q]);
      if (weight_x[q] != 0) sum += weight_x[q] * other;
    }
    if (lane < m) out[i * m + lane] = static_cast<S>(sum);
  }
}

// Any size: lanes share the bins.
template <typename S, typename T>
__device__ void read_directly(
    const Arguments& a, const Box& box, const int* first_x, const T* coef_x, const int* first_y, const T* coef_y,
    const S* corner, S* out, int lane) {
  const int m = a.num_bins;
  for (int bin = lane; bin < m * m; bin += kWarp) {
    const int i = bin / m, j = bin % m;
    T sum = 0;
    for (int qy = 0; qy < box.y.taps; ++qy) {
      const T weight_y = coef_y[qy * m + i];
      if (weight_y == 0) continue;
      const S* row = corner + static_cast<int64_t>(first_y[qy * m + i]) * a.width;
      for (int qx = 0; qx < box.x.taps; ++qx) {
        const T weight = weight_y * coef_x[qx * m + j];
        if (weight != 0) sum += weight * static_cast<T>(row[first_x[qx * m + j]]);
      }
    }
    out[bin] = static_cast<S>(sum);
  }
}

// Warps of the whole result: channels run fastest.
AUNET_HOST_DEVICE int64_t backward_warps(const Arguments& a) { return a.num_rois * a.channels; }

template <typename S, typename T>
__device__ void backward_warp(const Arguments& a, const S* grad, Workspace<T> work, S* out, int64_t warp, int lane) {
  const int64_t k = warp / a.channels, channel = warp % a.channels, mask_size = a.num_bins * a.num_bins;
  const Box box = work.box[k];
  S* to = out + warp * mask_size;
  if (box.image < 0) {
    for (int bin = lane; bin < mask_size; bin += kWarp) to[bin] = static_cast<S>(T(0));
    return;
  }
  const int* first_x = work.first_x + k * first_stride(a, a.width);
  const int* first_y = work.first_y + k * first_stride(a, a.height);
  const T* coef_x = work.coef_x + k * coef_stride(a, a.width);
  const T* coef_y = work.coef_y + k * coef_stride(a, a.height);
  const int64_t plane = box.image * a.channels + channel;
  const S* corner = grad + (plane * a.height + box.y.low) * a.width + box.x.low;
  if (a.num_bins <= kWarp && box.x.hull <= kWarp && box.x.taps <= kFastTaps) {
    read_by_shuffles(a, box, first_x, coef_x, first_y, coef_y, corner, to, lane);
  } else {
    read_directly(a, box, first_x, coef_x, first_y, coef_y, corner, to, lane);
  }
}

}  // namespace aunet::cuda
