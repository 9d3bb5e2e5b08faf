// Forward on the GPU: a warp owns 32 columns x kRows rows x kChannels channels of the result and gathers the RoIs that
// touch them in ascending order. No atomics, no shared memory, no barrier: the same bits on every run.
#pragma once

#include "roi_upsample_tables.cuh"

namespace aunet::cuda {

constexpr int kRows = 4;
constexpr int kFastTaps = 8;

__device__ inline bool overlaps(const AxisTable& axis, int begin, int length) {
  return axis.low < begin + length && axis.low + axis.hull > begin;
}

// One RoI with at most 32 bins per side: lane j holds bin j of a row of the first product, the second product takes
// its bins from other lanes by shuffles.
template <int kChannels, typename S, typename T>
__device__ void add_by_shuffles(
    const Arguments& a, const Box& box, const int* first_x, const T* coef_x, const int* first_y, const T* coef_y,
    const S* mask, int num_channels, int column, int top, int lane, T (&sum)[kRows][kChannels]) {
  const int m = a.num_bins, mask_size = m * m, px = column - box.x.low;
  const bool inside = px >= 0 && px < box.x.hull;
  const int from_x = inside ? first_x[px] : 0;
  T weight_x[kFastTaps];
#pragma unroll
  for (int t = 0; t < kFastTaps; ++t) {
    weight_x[t] = inside && t < box.x.taps ? coef_x[t * box.x.hull + px] : T(0);
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const int py = top + r - box.y.low;
    if (py < 0 || py >= box.y.hull) continue;
    const S* row = mask + first_y[py] * m + lane;
    T value[kChannels] = {};
    for (int t = 0; t < box.y.taps; ++t, row += m) {
      const T weight = coef_y[t * box.y.hull + py];
#pragma unroll
      for (int c = 0; c < kChannels; ++c) {
        if (lane < m && c < num_channels) value[c] += weight * static_cast<T>(row[c * mask_size]);
      }
    }
#pragma unroll
    for (int t = 0; t < kFastTaps; ++t) {
      if (t >= box.x.taps) break;
#pragma unroll
      for (int c = 0; c < kChannels; ++c) {
        const T other = __shfl_sync(kAllLanes, value[c], from_x + t);
        if (inside) sum[r][c] += weight_x[t] * other;
      }
    }
  }
}

// Any number of bins and taps.
template <int kChannels, typename S, typename T>
__device__ void add_directly(
    const Arguments& a, const Box& box, const int* first_x, const T* coef_x, const int* first_y, const T* coef_y,
    const S* mask, int num_channels, int column, int top, T (&sum)[kRows][kChannels]) {
  const int m = a.num_bins, px = column - box.x.low;
  if (px < 0 || px >= box.x.hull) return;
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const int py = top + r - box.y.low;
    if (py < 0 || py >= box.y.hull) continue;
    const S* corner = mask + first_y[py] * m + first_x[px];
    for (int ty = 0; ty < box.y.taps; ++ty) {
      const T weight_y = coef_y[ty * box.y.hull + py];
      for (int tx = 0; tx < box.x.taps; ++tx) {
        const T weight = weight_y * coef_x[tx * box.x.hull + px];
#pragma unroll
        for (int c = 0; c < kChannels; ++c) {
          if (c < num_channels) {
            sum[r][c] += weight * static_cast<T>(corner[static_cast<int64_t>(c) * m * m + ty * m + tx]);
          }
        }
      }
    }
  }
}

// Warps of the whole result: channels run fastest, then columns, rows, images.
template <int kChannels>
AUNET_HOST_DEVICE int64_t forward_warps(const Arguments& a) {
  return (a.channels + kChannels - 1) / kChannels * ((a.width + kWarp - 1) / kWarp) *
         static_cast<int64_t>((a.height + kRows - 1) / kRows) * a.num_images;
}

template <int kChannels, typename S, typename T>
__device__ void forward_warp(const Arguments& a, const S* masks, Workspace<T> work, S* out, int64_t warp, int lane) {
  const int64_t chunks = (a.channels + kChannels - 1) / kChannels;
  const int across = (a.width + kWarp - 1) / kWarp, down = (a.height + kRows - 1) / kRows;
  const int64_t first_channel = warp % chunks * kChannels, tile = warp / chunks;
  const int left = static_cast<int>(tile % across) * kWarp, top = static_cast<int>(tile / across % down) * kRows;
  const int image = static_cast<int>(tile / across / down);
  const int64_t channels_left = a.channels - first_channel;
  const int num_channels = channels_left < kChannels ? static_cast<int>(channels_left) : kChannels;
  T sum[kRows][kChannels] = {};

  for (int base = 0; base < a.num_rois; base += kWarp) {
    bool touches = false;
    if (base + lane < a.num_rois) {
      const Box& box = work.box[base + lane];
      touches = box.image == image && overlaps(box.x, left, kWarp) && overlaps(box.y, top, kRows);
    }
    for (unsigned todo = __ballot_sync(kAllLanes, touches); todo != 0; todo &= todo - 1) {
      const int64_t k = base + __ffs(todo) - 1;
      const Box box = work.box[k];
      const int* first_x = work.first_x + k * first_stride(a, a.width);
      const int* first_y = work.first_y + k * first_stride(a, a.height);
      const T* coef_x = work.coef_x + k * coef_stride(a, a.width);
      const T* coef_y = work.coef_y + k * coef_stride(a, a.height);
      const S* mask = masks + (k * a.channels + first_channel) * a.num_bins * a.num_bins;
      if (a.num_bins <= kWarp && box.x.taps <= kFastTaps) {
        add_by_shuffles<kChannels>(
            a, box, first_x, coef_x, first_y, coef_y, mask, num_channels, left + lane, top, lane, sum);
      } else {
        add_directly<kChannels>(a, box, first_x, coef_x, first_y, coef_y, mask, num_channels, left + lane, top, sum);
      }
    }
  }

  if (left + lane >= a.width) return;
#pragma unroll
  for (int c = 0; c < kChannels; ++c) {
    if (c >= num_channels) break;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      if (top + r >= a.height) break;
      const int64_t plane = image * a.channels + first_channel + c;
      out[(plane * a.height + top + r) * a.width + left + lane] = static_cast<S>(sum[r][c]);
    }
  }
}

}  // namespace aunet::cuda
