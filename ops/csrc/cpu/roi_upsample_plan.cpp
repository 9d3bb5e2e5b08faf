#include "roi_upsample_plan.h"

#include <cstdlib>
#include <string>

#include "../roi_geometry.h"

namespace aunet::cpu {
namespace {

const KernelSet* choose_kernels() {
  const char* wanted = std::getenv("AUNET_OPS_ISA");
  const std::string name = wanted == nullptr ? "" : wanted;
  const KernelSet* best = baseline_kernels();
  if (name == best->name) return best;
#ifdef __x86_64__
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")) {
    best = avx2_kernels();
    if (name == best->name) return best;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq")) {
      best = avx512_kernels();
    }
  }
#endif
  return best;
}

template <typename R>
void read_geometry(const Problem& problem, const Tensor& rois, std::vector<RoiGeometry>& geometry) {
  const R* data = rois.const_data_ptr<R>();
  for (int64_t k = 0; k < problem.num_rois; ++k) {
    STD_TORCH_CHECK(
        !(data[k * 5] >= static_cast<R>(problem.num_images)), "rois[", k, "] has image index ", data[k * 5],
        ", expected below N = ", problem.num_images);
    geometry[k] = roi_geometry(data + k * 5, problem.scale, problem.aligned, problem.num_images);
  }
}

}  // namespace

const KernelSet& kernels() {
  static const KernelSet* const chosen = choose_kernels();
  return *chosen;
}

template <typename T>
Plan<T> make_plan(const Problem& problem, const Tensor& rois, bool backward) {
  const int64_t num_rois = problem.num_rois;
  const ColumnLayout layout = sizeof(T) == 4 ? kernels().layout32 : kernels().layout64;
  const Shape shape{
      static_cast<int>(problem.num_bins), static_cast<int>(problem.ratio), static_cast<int>(problem.height),
      static_cast<int>(problem.width), backward};
  std::vector<RoiGeometry> geometry(num_rois);
  if (rois.scalar_type() == ScalarType::Double) {
    read_geometry<double>(problem, rois, geometry);
  } else {
    read_geometry<float>(problem, rois, geometry);
  }

  std::vector<AxisPlan> x(num_rois), y(num_rois);
  std::vector<size_t> offset(num_rois + 1, 0);
  Plan<T> plan;
  plan.image_begin.assign(problem.num_images + 1, 0);
  for (int64_t k = 0; k < num_rois; ++k) {
    offset[k + 1] = offset[k];
    RoiGeometry& roi = geometry[k];
    if (roi.image < 0) continue;
    x[k] = plan_axis(roi.x, roi.width, shape.width, shape, layout, sizeof(T));
    y[k] = plan_axis(roi.y, roi.height, shape.height, shape, layout, sizeof(T));
    if (x[k].hull == 0 || y[k].hull == 0) {
      roi.image = -1;
      continue;
    }
    offset[k + 1] += table_bytes<T>(x[k], y[k], shape, layout);
    ++plan.image_begin[roi.image + 1];
  }
  for (int64_t n = 0; n < problem.num_images; ++n) plan.image_begin[n + 1] += plan.image_begin[n];
  plan.order.resize(plan.image_begin.back());
  plan.image.resize(plan.order.size());
  std::vector<int64_t> next(plan.image_begin.begin(), plan.image_begin.end() - 1);
  for (int64_t k = 0; k < num_rois; ++k) {
    if (geometry[k].image < 0) continue;
    const int64_t at = next[geometry[k].image]++;
    plan.order[at] = static_cast<int>(k);
    plan.image[at] = static_cast<int>(geometry[k].image);
  }

  plan.tables.resize(num_rois);
  plan.memory.reset(new char[offset[num_rois] + 64]);
  char* base = plan.memory.get() + (64 - reinterpret_cast<uintptr_t>(plan.memory.get()) % 64) % 64;
  torch::stable::parallel_for(0, num_rois, 64, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const RoiGeometry& roi = geometry[k];
      if (roi.image < 0) continue;
      plan.tables[k] = fill_tables<T>(roi.x, roi.width, roi.y, roi.height, x[k], y[k], shape, layout, base + offset[k]);
    }
  });
  return plan;
}

template Plan<float> make_plan(const Problem&, const Tensor&, bool);
template Plan<double> make_plan(const Problem&, const Tensor&, bool);

}  // namespace aunet::cpu
