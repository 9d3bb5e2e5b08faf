// RoIUpsample and its adjoint on CPU.
//
// Every element of the result has one owner, which adds the RoIs in ascending order: no atomics, and the same bits
// whatever the number of threads. float16 and bfloat16 are summed in float32 and rounded once.
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "roi_upsample_plan.h"

namespace aunet::cpu {
namespace {

Storage storage_of(ScalarType dtype) {
  switch (dtype) {
    case ScalarType::Double: return Storage::kFloat64;
    case ScalarType::Float: return Storage::kFloat32;
    case ScalarType::Half: return Storage::kFloat16;
    default: return Storage::kBFloat16;
  }
}

// Page faults of a fresh large result cost more than computing it: ask for huge pages, as the kernel's default mode
// (madvise) wants to be asked.
void advise_huge_pages(void* data, size_t bytes) {
#ifdef MADV_HUGEPAGE
  constexpr uintptr_t page = 1 << 21;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + bytes) / page * page;
  if (end > begin + page) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

void prefetch(const void* data, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(static_cast<const char*>(data) + i);
}

template <typename T>
void separable(
    const T* in, int64_t in_stride, T* out, int64_t out_stride, const Rows<T>& rows, const Columns<T>& columns,
    bool accumulate, T* scratch) {
  if constexpr (sizeof(T) == 4) {
    kernels().separable32(in, in_stride, out, out_stride, rows, columns, accumulate, scratch);
  } else {
    kernels().separable64(in, in_stride, out, out_stride, rows, columns, accumulate, scratch);
  }
}

// T: what is summed (float or double). The stored type is T, or 2 bytes wide where storage says so.
template <typename T>
void forward(const Problem& p, const Tensor& rois, const char* masks, char* out, Storage storage) {
  const Plan<T> plan = make_plan<T>(p, rois, false);
  const bool narrow = storage == Storage::kFloat16 || storage == Storage::kBFloat16;
  const size_t element = narrow ? 2 : sizeof(T);
  const int64_t planes = p.num_images * p.channels, threads = torch::stable::get_num_threads();
  // A plane is a task; few planes are cut into bands of rows so that every thread has some.
  const int64_t wanted = threads == 1 || planes >= 4 * threads ? 1 : (4 * threads + planes - 1) / planes;
  const int64_t bands = std::max<int64_t>(1, std::min(wanted, p.height / 8));
  advise_huge_pages(out, planes * p.plane_size() * element);

  // Two channels of an image share a task: their masks lie side by side and their tables are read once.
  const int64_t group = planes >= 8 * threads ? 2 : 1;
  const int64_t groups = (p.channels + group - 1) / group;
  torch::stable::parallel_for(0, p.num_images * groups * bands, 1, [&](int64_t begin, int64_t end) {
    std::vector<T> scratch(scratch_elements(p.num_bins));
    std::vector<T> wide_mask(narrow ? p.mask_size() : 0);
    std::vector<T> wide_band(narrow ? p.plane_size() * group : 0);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t band = task % bands, image = task / bands / groups, first_c = task / bands % groups * group;
      const int64_t num_c = std::min(group, p.channels - first_c);
      const int64_t top = p.height * band / bands, bottom = p.height * (band + 1) / bands;
      const int64_t size = (num_c - 1) * p.plane_size() + (bottom - top) * p.width;
      char* const to = out + ((image * p.channels + first_c) * p.plane_size() + top * p.width) * element;
      T* const sum = narrow ? wide_band.data() : reinterpret_cast<T*>(to);
      std::memset(sum, 0, size * sizeof(T));
      const int64_t last = plan.image_begin[image + 1];
      for (int64_t i = plan.image_begin[image]; i < last; ++i) {
        const auto mask_at = [&](int64_t at, int64_t c) {
          return masks + (plan.order[at] * p.channels + first_c + c) * p.mask_size() * element;
        };
        const RoiTables<T>& roi = plan.tables[plan.order[i]];
        const int64_t first_row = std::max<int64_t>(0, top - roi.hull_y);
        const int64_t last_row = std::min<int64_t>(roi.hull_height, bottom - roi.hull_y);
        if (first_row >= last_row) continue;
        const Rows<T> rows{
            static_cast<int>(last_row - first_row), roi.rows.taps, roi.rows.first + first_row, roi.rows.num + first_row,
            roi.rows.coef + first_row * roi.rows.taps};
        T* at = sum + (roi.hull_y + first_row - top) * p.width + roi.hull_x;
        for (int64_t c = 0; c < num_c; ++c, at += p.plane_size()) {
          if (bands == 1 && i + 1 < last) prefetch(mask_at(i + 1, c), p.mask_size() * element);
          const T* mask = reinterpret_cast<const T*>(mask_at(i, c));
          if constexpr (sizeof(T) == 4) {
            if (narrow) {
              kernels().widen(mask, storage, wide_mask.data(), p.mask_size());
              mask = wide_mask.data();
            }
          }
          separable(mask, p.num_bins, at, p.width, rows, roi.columns, true, scratch.data());
        }
      }
      if constexpr (sizeof(T) == 4) {
        if (narrow) kernels().narrow(sum, to, storage, size);
      }
    }
  });
}

template <typename T>
void backward(const Problem& p, const Tensor& rois, const char* grad, char* out, Storage storage) {
  const Plan<T> plan = make_plan<T>(p, rois, true);
  const bool narrow = storage == Storage::kFloat16 || storage == Storage::kBFloat16;
  const size_t element = narrow ? 2 : sizeof(T);
  const int64_t active = plan.order.size();
  const size_t roi_bytes = p.channels * p.mask_size() * element;
  advise_huge_pages(out, p.num_rois * roi_bytes);
  if (active < p.num_rois) {
    std::vector<bool> written(p.num_rois, false);
    for (const int k : plan.order) written[k] = true;
    for (int64_t k = 0; k < p.num_rois; ++k) {
      if (!written[k]) std::memset(out + k * roi_bytes, 0, roi_bytes);
    }
  }

  // Channel by channel, so that a plane stays in the cache for all of its RoIs.
  torch::stable::parallel_for(0, p.channels * active, 16, [&](int64_t begin, int64_t end) {
    std::vector<T> scratch(scratch_elements(p.width));
    std::vector<T> wide_mask(narrow ? p.mask_size() : 0);
    std::vector<T> wide_hull;
    for (int64_t task = begin; task < end; ++task) {
      const int64_t c = task / active, i = task % active, k = plan.order[i];
      const RoiTables<T>& roi = plan.tables[k];
      const int64_t corner = roi.hull_y * p.width + roi.hull_x;
      const char* from = grad + ((plan.image[i] * p.channels + c) * p.plane_size() + corner) * element;
      char* const to = out + (k * p.channels + c) * p.mask_size() * element;
      if (!narrow) {
        separable(
            reinterpret_cast<const T*>(from), p.width, reinterpret_cast<T*>(to), p.num_bins, roi.rows, roi.columns,
            false, scratch.data());
        continue;
      }
      if constexpr (sizeof(T) == 4) {
        wide_hull.resize(static_cast<size_t>(roi.hull_width) * roi.hull_height);
        for (int64_t y = 0; y < roi.hull_height; ++y) {
          kernels().widen(from + y * p.width * element, storage, wide_hull.data() + y * roi.hull_width, roi.hull_width);
        }
        separable(
            wide_hull.data(), roi.hull_width, wide_mask.data(), p.num_bins, roi.rows, roi.columns, false,
            scratch.data());
        kernels().narrow(wide_mask.data(), to, storage, p.mask_size());
      }
    }
  });
}

Tensor roi_upsample(
    Tensor masks, Tensor rois, std::vector<int64_t> output_size, double scale, int64_t ratio, bool aligned) {
  const Problem p = check_forward(masks, rois, output_size, scale, ratio, aligned);
  Tensor out = torch::stable::new_empty(masks, {p.num_images, p.channels, p.height, p.width});
  if (p.empty()) return torch::stable::zero_(out);
  masks = torch::stable::contiguous(masks);
  rois = torch::stable::contiguous(rois);
  const Storage storage = storage_of(masks.scalar_type());
  const char* from = static_cast<const char*>(masks.const_data_ptr());
  char* to = static_cast<char*>(out.mutable_data_ptr());
  if (storage == Storage::kFloat64) {
    forward<double>(p, rois, from, to, storage);
  } else {
    forward<float>(p, rois, from, to, storage);
  }
  return out;
}

Tensor roi_upsample_backward(Tensor grad, Tensor rois, int64_t num_bins, double scale, int64_t ratio, bool aligned) {
  const Problem p = check_backward(grad, rois, num_bins, scale, ratio, aligned);
  Tensor out = torch::stable::new_empty(grad, {p.num_rois, p.channels, p.num_bins, p.num_bins});
  if (p.empty()) return torch::stable::zero_(out);
  grad = torch::stable::contiguous(grad);
  rois = torch::stable::contiguous(rois);
  const Storage storage = storage_of(grad.scalar_type());
  const char* from = static_cast<const char*>(grad.const_data_ptr());
  char* to = static_cast<char*>(out.mutable_data_ptr());
  if (storage == Storage::kFloat64) {
    backward<double>(p, rois, from, to, storage);
  } else {
    backward<float>(p, rois, from, to, storage);
  }
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(aunet, CPU, library) {
  library.impl("roi_upsample", TORCH_BOX(&roi_upsample));
  library.impl("roi_upsample_backward", TORCH_BOX(&roi_upsample_backward));
}

}  // namespace aunet::cpu

// Which instruction set serves: for the kernel status.
extern "C" __attribute__((visibility("default"))) const char* aunet_ops_cpu_isa() { return aunet::cpu::kernels().name; }
