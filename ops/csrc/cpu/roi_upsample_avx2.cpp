// x86-64 with AVX2, FMA and F16C; compiled with -mavx2 -mfma -mf16c.
#include "roi_upsample_kernels.h"

#include <immintrin.h>

namespace aunet::cpu {
namespace {

constexpr int kBytes = 32;
#include "roi_upsample_loops.h"
#include "roi_upsample_f16c.h"

}  // namespace

const KernelSet* avx2_kernels() {
  static const KernelSet set{"avx2", {8, 0}, {4, 0}, banded<float>, banded<double>, widen, narrow};
  return &set;
}

}  // namespace aunet::cpu
