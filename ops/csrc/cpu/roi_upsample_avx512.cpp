// x86-64 with AVX-512 (F, VL, BW, DQ). A permutation out of two registers reaches any of 32 neighbouring sources, so
// the second product costs its non-zeros only: one permutation and one multiply-add per tap for 16 destinations.
#include "roi_upsample_kernels.h"

#include <immintrin.h>

namespace aunet::cpu {
namespace {

constexpr int kBytes = 64;
#include "roi_upsample_loops.h"
#include "roi_upsample_f16c.h"

__mmask16 lanes_below(int count) {
  return count >= 16 ? 0xffff : count <= 0 ? 0 : static_cast<__mmask16>((1u << count) - 1);
}

template <bool accumulate>
void put(float* to, __mmask16 lanes, __m512 sum) {
  if (accumulate) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(lanes, to));
  _mm512_mask_storeu_ps(to, lanes, sum);
}

// A whole RoI with at most 32 sources in a row (16 unless `wide`), kept in registers together with all weights of the
// columns: `taps` of them in `blocks` blocks of 16 destinations.
template <bool accumulate, bool wide, int blocks, int taps>
void in_registers(
    const float* __restrict in, int64_t in_stride, float* __restrict out, int64_t out_stride, const Rows<float>& rows,
    const Columns<float>& columns) {
  const __mmask16 low_lanes = lanes_below(columns.sources), high_lanes = lanes_below(columns.sources - 16);
  const __mmask16 last_lanes = lanes_below(columns.count - (blocks - 1) * 16);
  const int row_taps = rows.taps, count = rows.count;
  const int *first = rows.first, *num = rows.num;
  const float* row_coef = rows.coef;
  __m512i index[blocks][taps];
  __m512 coef[blocks][taps];
#pragma GCC unroll 8
  for (int b = 0; b < blocks; ++b) {
#pragma GCC unroll 8
    for (int t = 0; t < taps; ++t) {
      index[b][t] = _mm512_add_epi32(_mm512_load_si512(columns.index + b * 16), _mm512_set1_epi32(t));
      coef[b][t] = _mm512_load_ps(columns.coef + (b * taps + t) * 16);
    }
  }
  for (int d = 0; d < count; ++d, row_coef += row_taps, out += out_stride) {
    if (accumulate && num[d] == 0) continue;
    const float* from = in + first[d] * in_stride;
    __m512 low = _mm512_setzero_ps(), high = _mm512_setzero_ps();
    for (int t = 0; t < num[d]; ++t, from += in_stride) {
      const __m512 weight = _mm512_set1_ps(row_coef[t]);
      low = _mm512_fmadd_ps(weight, _mm512_maskz_loadu_ps(low_lanes, from), low);
      if (wide) high = _mm512_fmadd_ps(weight, _mm512_maskz_loadu_ps(high_lanes, from + 16), high);
    }
#pragma GCC unroll 8
    for (int b = 0; b < blocks; ++b) {
      __m512 sum = _mm512_setzero_ps();
#pragma GCC unroll 8
      for (int t = 0; t < taps; ++t) {
        const __m512 source =
            wide ? _mm512_permutex2var_ps(low, index[b][t], high) : _mm512_permutexvar_ps(index[b][t], low);
        sum = _mm512_fmadd_ps(coef[b][t], source, sum);
      }
      put<accumulate>(out + b * 16, b + 1 < blocks ? 0xffff : last_lanes, sum);
    }
  }
}

// The same for any number of blocks, taps and sources, with the row in memory.
template <bool accumulate>
void in_memory(
    const float* in, int64_t in_stride, float* out, int64_t out_stride, const Rows<float>& rows,
    const Columns<float>& columns, float* scratch) {
  const __m512i one = _mm512_set1_epi32(1);
  for (int i = 0; i < kScratchPad; ++i) scratch[columns.sources + i] = 0;
  for (int d = 0; d < rows.count; ++d) {
    if (accumulate && rows.num[d] == 0) continue;
    combine_rows(
        in + rows.first[d] * in_stride, in_stride, rows.coef + static_cast<size_t>(d) * rows.taps, rows.num[d],
        columns.sources, scratch);
    for (int block = 0; block * 16 < columns.count; ++block) {
      const __m512 low = _mm512_loadu_ps(scratch + columns.first[block]);
      const __m512 high = _mm512_loadu_ps(scratch + columns.first[block] + 16);
      const float* coef = columns.coef + static_cast<size_t>(block) * columns.taps * 16;
      __m512i index = _mm512_load_si512(columns.index + block * 16);
      __m512 sum = _mm512_setzero_ps();
      for (int t = 0; t < columns.taps; ++t) {
        sum = _mm512_fmadd_ps(_mm512_load_ps(coef + t * 16), _mm512_permutex2var_ps(low, index, high), sum);
        index = _mm512_add_epi32(index, one);
      }
      put<accumulate>(out + d * out_stride + block * 16, lanes_below(columns.count - block * 16), sum);
    }
  }
}

template <bool accumulate, bool wide, int blocks>
bool in_registers_by_taps(
    const float* in, int64_t in_stride, float* out, int64_t out_stride, const Rows<float>& rows,
    const Columns<float>& columns) {
  switch (columns.taps) {
    case 2: in_registers<accumulate, wide, blocks, 2>(in, in_stride, out, out_stride, rows, columns); return true;
    case 3: in_registers<accumulate, wide, blocks, 3>(in, in_stride, out, out_stride, rows, columns); return true;
    case 4: in_registers<accumulate, wide, blocks, 4>(in, in_stride, out, out_stride, rows, columns); return true;
    case 5: in_registers<accumulate, wide, blocks, 5>(in, in_stride, out, out_stride, rows, columns); return true;
    case 6: in_registers<accumulate, wide, blocks, 6>(in, in_stride, out, out_stride, rows, columns); return true;
    default: return false;
  }
}

template <bool accumulate>
void permuted(
    const float* in, int64_t in_stride, float* out, int64_t out_stride, const Rows<float>& rows,
    const Columns<float>& columns, float* scratch) {
  bool done = false;
  if (columns.sources <= 16) {
    if (columns.count <= 16) {
      done = in_registers_by_taps<accumulate, false, 1>(in, in_stride, out, out_stride, rows, columns);
    } else if (columns.count <= 32) {
      done = in_registers_by_taps<accumulate, false, 2>(in, in_stride, out, out_stride, rows, columns);
    }
  } else if (columns.sources <= 32) {
    if (columns.count <= 16) {
      done = in_registers_by_taps<accumulate, true, 1>(in, in_stride, out, out_stride, rows, columns);
    } else if (columns.count <= 32) {
      done = in_registers_by_taps<accumulate, true, 2>(in, in_stride, out, out_stride, rows, columns);
    }
  }
  if (!done) in_memory<accumulate>(in, in_stride, out, out_stride, rows, columns, scratch);
}

void separable(
    const float* in, int64_t in_stride, float* out, int64_t out_stride, const Rows<float>& rows,
    const Columns<float>& columns, bool accumulate, float* scratch) {
  if (!columns.permute) {
    banded<float>(in, in_stride, out, out_stride, rows, columns, accumulate, scratch);
  } else if (accumulate) {
    permuted<true>(in, in_stride, out, out_stride, rows, columns, scratch);
  } else {
    permuted<false>(in, in_stride, out, out_stride, rows, columns, scratch);
  }
}

}  // namespace

const KernelSet* avx512_kernels() {
  static const KernelSet set{"avx512", {16, 32}, {8, 0}, separable, banded<double>, widen, narrow};
  return &set;
}

}  // namespace aunet::cpu
