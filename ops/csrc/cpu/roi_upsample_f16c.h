// float16 by the F16C instructions; include after roi_upsample_loops.h.

inline void widen(const void* in, Storage storage, float* out, size_t count) {
  const uint16_t* from = static_cast<const uint16_t*>(in);
  if (storage == Storage::kBFloat16) return widen_bfloat16(from, out, count);
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i))));
  }
  for (; i < count; ++i) out[i] = _cvtsh_ss(from[i]);
}

inline void narrow(const float* in, void* out, Storage storage, size_t count) {
  uint16_t* to = static_cast<uint16_t*>(out);
  if (storage == Storage::kBFloat16) return narrow_bfloat16(in, to, count);
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i), _mm256_cvtps_ph(_mm256_loadu_ps(in + i), 0));
  }
  for (; i < count; ++i) to[i] = _cvtss_sh(in[i], 0);
}
