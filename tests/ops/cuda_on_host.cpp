// The device functions of csrc/cuda, compiled for the CPU and called warp by warp as the kernels call them.
#include "cuda_on_host.h"

#include "cuda/roi_upsample_backward.cuh"
#include "cuda/roi_upsample_forward.cuh"

using namespace aunet::cuda;

namespace {

// An array with a guard behind it: a write past a workspace's stated size is found.
template <typename E>
struct Guarded {
  static constexpr size_t kGuard = 64;
  std::vector<E> data;
  explicit Guarded(int64_t count) : data(count + kGuard) {
    std::memset(static_cast<void*>(data.data()), 0x5a, data.size() * sizeof(E));
  }
  bool intact() const {
    const char* guard = reinterpret_cast<const char*>(data.data() + data.size() - kGuard);
    for (size_t i = 0; i < kGuard * sizeof(E); ++i) {
      if (guard[i] != 0x5a) return false;
    }
    return true;
  }
};

template <typename T, typename R>
int run(const Arguments& a, const R* rois, const T* in, T* out, int channels_at_once) {
  const int64_t k = a.num_rois;
  Guarded<Box> box(k);
  Guarded<int> first_x(k * first_stride(a, a.width)), first_y(k * first_stride(a, a.height));
  Guarded<T> coef_x(k * coef_stride(a, a.width)), coef_y(k * coef_stride(a, a.height));
  const Workspace<T> work{
      box.data.data(), first_x.data.data(), first_y.data.data(), coef_x.data.data(), coef_y.data.data()};
  for (int64_t i = 0; i < k; ++i) {
    host::run_warp([&](int lane) { fill_tables(a, rois, work, i, lane); });
  }
  if (a.backward) {
    for (int64_t w = 0; w < backward_warps(a); ++w) {
      host::run_warp([&](int lane) { backward_warp(a, in, work, out, w, lane); });
    }
  } else if (channels_at_once == 1) {
    for (int64_t w = 0; w < forward_warps<1>(a); ++w) {
      host::run_warp([&](int lane) { forward_warp<1>(a, in, work, out, w, lane); });
    }
  } else {
    for (int64_t w = 0; w < forward_warps<4>(a); ++w) {
      host::run_warp([&](int lane) { forward_warp<4>(a, in, work, out, w, lane); });
    }
  }
  return box.intact() && first_x.intact() && first_y.intact() && coef_x.intact() && coef_y.intact() ? 0 : 1;
}

}  // namespace

// Returns 0, or 1 if a table outgrew its workspace.
extern "C" int run_on_host(
    int single, int backward, int channels_at_once, int num_rois, int64_t channels, int num_bins, int num_images,
    int height, int width, double scale, int ratio, int aligned, const double* rois, const void* in, void* out) {
  const Arguments a{num_rois, num_bins, ratio, num_images, height, width, channels, scale, aligned != 0, backward != 0};
  if (single) {
    return run(a, rois, static_cast<const float*>(in), static_cast<float*>(out), channels_at_once);
  }
  return run(a, rois, static_cast<const double*>(in), static_cast<double*>(out), channels_at_once);
}
