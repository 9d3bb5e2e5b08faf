#include "roi_upsample.h"

#include <climits>

namespace aunet {
namespace {

void check_common(const Tensor& values, const char* name, const Tensor& rois, const Problem& problem) {
  const ScalarType dtype = values.scalar_type();
  STD_TORCH_CHECK(
      dtype == ScalarType::Double || dtype == ScalarType::Float || dtype == ScalarType::Half ||
          dtype == ScalarType::BFloat16,
      name, " must be float64, float32, float16 or bfloat16, got ", torch::headeronly::toString(dtype));
  STD_TORCH_CHECK(
      rois.dim() == 2 && rois.size(1) == 5, "rois must have shape [K, 5], got ", rois.dim(), " dimensions of size ",
      rois.dim() == 2 ? rois.size(1) : -1);
  STD_TORCH_CHECK(
      rois.scalar_type() == ScalarType::Float || rois.scalar_type() == ScalarType::Double,
      "rois must be float32 or float64, got ", torch::headeronly::toString(rois.scalar_type()));
  STD_TORCH_CHECK(values.device() == rois.device(), name, " and rois must be on one device");
  STD_TORCH_CHECK(
      problem.num_images >= 0 && problem.height >= 0 && problem.width >= 0 && problem.num_bins >= 0,
      "sizes must not be negative, got N = ", problem.num_images, ", H = ", problem.height, ", W = ", problem.width,
      ", m = ", problem.num_bins);
  STD_TORCH_CHECK(
      problem.height <= INT_MAX && problem.width <= INT_MAX && problem.height * problem.width <= INT_MAX,
      "one map must have fewer than 2^31 pixels, got ", problem.height, " x ", problem.width);
  STD_TORCH_CHECK(problem.ratio >= 1, "sampling_ratio must be at least 1, got ", problem.ratio);
  STD_TORCH_CHECK(
      problem.ratio <= 1024 && problem.num_bins <= 32768, "at most 1024 points per bin and 32768 bins, got ",
      problem.ratio, " and ", problem.num_bins);
  STD_TORCH_CHECK(problem.num_rois <= INT_MAX, "at most 2^31 - 1 RoIs, got ", problem.num_rois);
}

}  // namespace

Problem check_forward(
    const Tensor& masks, const Tensor& rois, const std::vector<int64_t>& output_size, double scale, int64_t ratio,
    bool aligned) {
  STD_TORCH_CHECK(masks.dim() == 4, "masks must have 4 dimensions [K, C, m, m], got ", masks.dim());
  STD_TORCH_CHECK(masks.size(2) == masks.size(3), "masks must be square, got ", masks.size(2), " x ", masks.size(3));
  STD_TORCH_CHECK(output_size.size() == 3, "output_size must be (N, H, W), got ", output_size.size(), " numbers");
  const Problem problem{masks.size(0),  masks.size(1), masks.size(2), output_size[0], output_size[1],
                        output_size[2], scale,         ratio,         aligned};
  check_common(masks, "masks", rois, problem);
  STD_TORCH_CHECK(
      rois.size(0) == problem.num_rois, "masks and rois must agree on K, got ", problem.num_rois, " and ",
      rois.size(0));
  return problem;
}

Problem check_backward(
    const Tensor& grad, const Tensor& rois, int64_t num_bins, double scale, int64_t ratio, bool aligned) {
  STD_TORCH_CHECK(grad.dim() == 4, "grad must have 4 dimensions [N, C, H, W], got ", grad.dim());
  const int64_t num_rois = rois.dim() == 2 ? rois.size(0) : -1;
  const Problem problem{num_rois,     grad.size(1), num_bins, grad.size(0), grad.size(2),
                        grad.size(3), scale,        ratio,    aligned};
  check_common(grad, "grad", rois, problem);
  return problem;
}

}  // namespace aunet
