// Any CPU GCC or clang knows; on x86-64 that is SSE2.
#include "roi_upsample_kernels.h"

namespace aunet::cpu {
namespace {

constexpr int kBytes = 16;
#include "roi_upsample_loops.h"

float widen_half(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = (half >> 10) & 0x1f, fraction = half & 0x3ff;
  if (exponent == 31) return from_bits(sign | 0x7f800000 | (fraction << 13));
  if (exponent != 0) return from_bits(sign | ((exponent + 112) << 23) | (fraction << 13));
  const float tiny = static_cast<float>(fraction) * from_bits(0x33800000);  // fraction * 2^-24
  return from_bits(sign | to_bits(tiny));
}

uint16_t narrow_half(float value) {
  const uint32_t bits = to_bits(value), sign = (bits >> 16) & 0x8000, size = bits & 0x7fffffff;
  if (size > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00);
  if (size >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7c00);
  if (size < 0x38800000) {  // subnormal: adding 0.5 leaves the rounded fraction in the last bits
    return static_cast<uint16_t>(sign | (to_bits(from_bits(size) + 0.5f) - to_bits(0.5f)));
  }
  return static_cast<uint16_t>(sign | ((size - 0x38000000 + 0xfff + ((size >> 13) & 1)) >> 13));
}

void widen(const void* in, Storage storage, float* out, size_t count) {
  const uint16_t* from = static_cast<const uint16_t*>(in);
  if (storage == Storage::kBFloat16) return widen_bfloat16(from, out, count);
  for (size_t i = 0; i < count; ++i) out[i] = widen_half(from[i]);
}

void narrow(const float* in, void* out, Storage storage, size_t count) {
  uint16_t* to = static_cast<uint16_t*>(out);
  if (storage == Storage::kBFloat16) return narrow_bfloat16(in, to, count);
  for (size_t i = 0; i < count; ++i) to[i] = narrow_half(in[i]);
}

}  // namespace

const KernelSet* baseline_kernels() {
  static const KernelSet set{"baseline", {4, 0}, {2, 0}, banded<float>, banded<double>, widen, narrow};
  return &set;
}

}  // namespace aunet::cpu
