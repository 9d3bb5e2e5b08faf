// RoIUpsample and its adjoint on CUDA: two launches each, tables and gather. Nothing waits for the device.
#include <cuda_runtime.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/macros.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include "../roi_upsample.h"
#include "roi_upsample_backward.cuh"
#include "roi_upsample_forward.cuh"

namespace aunet::cuda {
namespace {

constexpr int kThreads = 256;

template <typename R, typename T>
__global__ void __launch_bounds__(kThreads) tables_kernel(Arguments a, const R* rois, Workspace<T> work) {
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread / kWarp < a.num_rois) fill_tables(a, rois, work, thread / kWarp, threadIdx.x % kWarp);
}

template <int kChannels, typename S, typename T>
__global__ void __launch_bounds__(kThreads) forward_kernel(Arguments a, const S* masks, Workspace<T> work, S* out) {
  const int64_t warp = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarp;
  if (warp < forward_warps<kChannels>(a)) {
    forward_warp<kChannels>(a, masks, work, out, warp, threadIdx.x % kWarp);
  }
}

template <typename S, typename T>
__global__ void __launch_bounds__(kThreads) backward_kernel(Arguments a, const S* grad, Workspace<T> work, S* out) {
  const int64_t warp = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarp;
  if (warp < backward_warps(a)) backward_warp(a, grad, work, out, warp, threadIdx.x % kWarp);
}

unsigned blocks_for(int64_t warps) {
  const int64_t blocks = (warps * kWarp + kThreads - 1) / kThreads;
  STD_TORCH_CHECK(blocks < (1LL << 31), "too large for one CUDA launch: ", warps, " warps");
  return static_cast<unsigned>(blocks);
}

cudaStream_t current_stream(const Tensor& tensor) {
  void* stream = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(tensor.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

Arguments arguments_of(const Problem& p, bool backward) {
  return {
      static_cast<int>(p.num_rois),
      static_cast<int>(p.num_bins),
      static_cast<int>(p.ratio),
      static_cast<int>(p.num_images),
      static_cast<int>(p.height),
      static_cast<int>(p.width),
      p.channels,
      p.scale,
      p.aligned,
      backward};
}

// The memory behind a workspace comes from PyTorch's allocator.
template <typename T>
Workspace<T> make_workspace(const Arguments& a, const Tensor& like, Tensor& memory) {
  const auto padded = [](int64_t bytes) { return (bytes + 255) / 256 * 256; };
  const int64_t k = a.num_rois;
  const int64_t box = padded(k * sizeof(Box));
  const int64_t first_x = padded(k * first_stride(a, a.width) * sizeof(int));
  const int64_t first_y = padded(k * first_stride(a, a.height) * sizeof(int));
  const int64_t coef_x = padded(k * coef_stride(a, a.width) * sizeof(T));
  const int64_t coef_y = padded(k * coef_stride(a, a.height) * sizeof(T));
  memory = torch::stable::new_empty(like, {box + first_x + first_y + coef_x + coef_y}, ScalarType::Byte);
  char* at = static_cast<char*>(memory.mutable_data_ptr());
  Workspace<T> work;
  work.box = reinterpret_cast<Box*>(at);
  work.first_x = reinterpret_cast<int*>(at += box);
  work.first_y = reinterpret_cast<int*>(at += first_x);
  work.coef_x = reinterpret_cast<T*>(at += first_y);
  work.coef_y = reinterpret_cast<T*>(at += coef_x);
  return work;
}

template <typename T>
void launch_tables(const Arguments& a, const Tensor& rois, const Workspace<T>& work, cudaStream_t stream) {
  const unsigned blocks = blocks_for(a.num_rois);
  if (rois.scalar_type() == ScalarType::Double) {
    tables_kernel<<<blocks, kThreads, 0, stream>>>(a, rois.const_data_ptr<double>(), work);
  } else {
    tables_kernel<<<blocks, kThreads, 0, stream>>>(a, rois.const_data_ptr<float>(), work);
  }
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

// S: what is stored, T: what is summed.
template <typename S, typename T>
void launch_forward(const Arguments& a, const Tensor& masks, const Tensor& rois, const Tensor& out) {
  const cudaStream_t stream = current_stream(masks);
  Tensor memory;
  const Workspace<T> work = make_workspace<T>(a, masks, memory);
  launch_tables(a, rois, work, stream);
  const S* from = static_cast<const S*>(masks.const_data_ptr());
  S* to = static_cast<S*>(out.mutable_data_ptr());
  if (a.channels == 1) {
    forward_kernel<1><<<blocks_for(forward_warps<1>(a)), kThreads, 0, stream>>>(a, from, work, to);
  } else {
    forward_kernel<4><<<blocks_for(forward_warps<4>(a)), kThreads, 0, stream>>>(a, from, work, to);
  }
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename S, typename T>
void launch_backward(const Arguments& a, const Tensor& grad, const Tensor& rois, const Tensor& out) {
  const cudaStream_t stream = current_stream(grad);
  Tensor memory;
  const Workspace<T> work = make_workspace<T>(a, grad, memory);
  launch_tables(a, rois, work, stream);
  const S* from = static_cast<const S*>(grad.const_data_ptr());
  S* to = static_cast<S*>(out.mutable_data_ptr());
  backward_kernel<<<blocks_for(backward_warps(a)), kThreads, 0, stream>>>(a, from, work, to);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

Tensor roi_upsample(
    Tensor masks, Tensor rois, std::vector<int64_t> output_size, double scale, int64_t ratio, bool aligned) {
  const Problem p = check_forward(masks, rois, output_size, scale, ratio, aligned);
  const torch::stable::accelerator::DeviceGuard guard(masks.get_device_index());
  Tensor out = torch::stable::new_empty(masks, {p.num_images, p.channels, p.height, p.width});
  if (p.empty()) return torch::stable::zero_(out);
  masks = torch::stable::contiguous(masks);
  rois = torch::stable::contiguous(rois);
  const Arguments a = arguments_of(p, false);
  switch (masks.scalar_type()) {
    case ScalarType::Double: launch_forward<double, double>(a, masks, rois, out); break;
    case ScalarType::Float: launch_forward<float, float>(a, masks, rois, out); break;
    case ScalarType::Half: launch_forward<c10::Half, float>(a, masks, rois, out); break;
    default: launch_forward<c10::BFloat16, float>(a, masks, rois, out); break;
  }
  return out;
}

Tensor roi_upsample_backward(Tensor grad, Tensor rois, int64_t num_bins, double scale, int64_t ratio, bool aligned) {
  const Problem p = check_backward(grad, rois, num_bins, scale, ratio, aligned);
  const torch::stable::accelerator::DeviceGuard guard(grad.get_device_index());
  Tensor out = torch::stable::new_empty(grad, {p.num_rois, p.channels, p.num_bins, p.num_bins});
  if (p.empty()) return torch::stable::zero_(out);
  grad = torch::stable::contiguous(grad);
  rois = torch::stable::contiguous(rois);
  const Arguments a = arguments_of(p, true);
  switch (grad.scalar_type()) {
    case ScalarType::Double: launch_backward<double, double>(a, grad, rois, out); break;
    case ScalarType::Float: launch_backward<float, float>(a, grad, rois, out); break;
    case ScalarType::Half: launch_backward<c10::Half, float>(a, grad, rois, out); break;
    default: launch_backward<c10::BFloat16, float>(a, grad, rois, out); break;
  }
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(aunet, CUDA, library) {
  library.impl("roi_upsample", TORCH_BOX(&roi_upsample));
  library.impl("roi_upsample_backward", TORCH_BOX(&roi_upsample_backward));
}

}  // namespace aunet::cuda
