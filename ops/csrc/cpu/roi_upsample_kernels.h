// The inner loops, once per instruction set. The .cpp files of the instruction sets include nothing but this header
// and the two above: no inline function of a library may be compiled with instructions the machine might lack.
#pragma once

#include <cstddef>
#include <cstdint>

#include "roi_upsample_tables.h"

namespace aunet::cpu {

enum class Storage : int { kFloat64, kFloat32, kFloat16, kBFloat16 };

struct KernelSet {
  const char* name;
  ColumnLayout layout32, layout64;

  // out[d][*] (+)= sum over sources, for the destination rows in `rows`; only columns.count columns are touched.
  // scratch: scratch_elements(columns.sources) elements.
  void (*separable32)(
      const float* in, int64_t in_stride, float* out, int64_t out_stride, const Rows<float>& rows,
      const Columns<float>& columns, bool accumulate, float* scratch);
  void (*separable64)(
      const double* in, int64_t in_stride, double* out, int64_t out_stride, const Rows<double>& rows,
      const Columns<double>& columns, bool accumulate, double* scratch);

  // float16 / bfloat16 <-> float32, rounding to nearest even.
  void (*widen)(const void* in, Storage storage, float* out, size_t count);
  void (*narrow)(const float* in, void* out, Storage storage, size_t count);
};

constexpr int kRowsAtOnce = 4;
constexpr int kScratchPad = 32;

inline size_t scratch_elements(int sources) { return static_cast<size_t>(kRowsAtOnce) * (sources + kScratchPad); }

const KernelSet* baseline_kernels();
#ifdef __x86_64__
const KernelSet* avx2_kernels();
const KernelSet* avx512_kernels();
#endif

}  // namespace aunet::cpu
