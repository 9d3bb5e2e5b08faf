// Inner loops on GCC vectors of kBytes bytes. Include inside a namespace of its own, after defining kBytes.

template <typename T>
struct VectorOf {
  typedef T type __attribute__((vector_size(kBytes)));
  typedef T loose __attribute__((vector_size(kBytes), aligned(sizeof(T)), may_alias));
  static constexpr int lanes = kBytes / sizeof(T);
};

template <typename T>
typename VectorOf<T>::type load(const T* from) {
  return *reinterpret_cast<const typename VectorOf<T>::loose*>(from);
}

template <typename T>
void store(T* to, typename VectorOf<T>::type value) {
  *reinterpret_cast<typename VectorOf<T>::loose*>(to) = value;
}

// One destination row of the first product: to[s] = sum_t coef[t] * in[t][s], s < sources.
template <typename T>
void combine_rows(const T* in, int64_t stride, const T* coef, int num, int sources, T* to) {
  constexpr int lanes = VectorOf<T>::lanes;
  if (sources < lanes) {
    for (int s = 0; s < sources; ++s) {
      T sum = 0;
      for (int t = 0; t < num; ++t) sum += coef[t] * in[t * stride + s];
      to[s] = sum;
    }
    return;
  }
  for (int s = 0;;) {
    typename VectorOf<T>::type sum = {};
    for (int t = 0; t < num; ++t) sum += coef[t] * load(in + t * stride + s);
    store(to + s, sum);
    if (s + lanes >= sources) break;
    s = s + 2 * lanes <= sources ? s + lanes : sources - lanes;  // the last vector overlaps the one before
  }
}

template <typename T, int num_rows>
void banded_rows(
    const T* row, int64_t row_stride, T* out, int64_t out_stride, const Columns<T>& columns, bool accumulate) {
  constexpr int lanes = VectorOf<T>::lanes;
  for (int block = 0; block * lanes < columns.count; ++block) {
    typename VectorOf<T>::type sum[num_rows] = {};
    const T* coef = columns.coef + static_cast<size_t>(block) * columns.taps * lanes;
    const T* source = row + columns.first[block];
    for (int t = 0; t < columns.num[block]; ++t) {
      const typename VectorOf<T>::type weights = load(coef + static_cast<size_t>(t) * lanes);
      for (int r = 0; r < num_rows; ++r) sum[r] += weights * source[r * row_stride + t];
    }
    const int left = columns.count - block * lanes;
    for (int r = 0; r < num_rows; ++r) {
      T* to = out + r * out_stride + block * lanes;
      if (left >= lanes) {
        store(to, accumulate ? load(to) + sum[r] : sum[r]);
      } else {
        for (int i = 0; i < left; ++i) to[i] = accumulate ? to[i] + sum[r][i] : sum[r][i];
      }
    }
  }
}

template <typename T>
void banded(
    const T* in, int64_t in_stride, T* out, int64_t out_stride, const Rows<T>& rows, const Columns<T>& columns,
    bool accumulate, T* scratch) {
  const int64_t row_stride = columns.sources + kScratchPad;
  for (int d = 0; d < rows.count; d += kRowsAtOnce) {
    const int num_rows = rows.count - d < kRowsAtOnce ? rows.count - d : kRowsAtOnce;
    int touched = 0;
    for (int r = 0; r < num_rows; ++r) {
      combine_rows(
          in + rows.first[d + r] * in_stride, in_stride, rows.coef + static_cast<size_t>(d + r) * rows.taps,
          rows.num[d + r], columns.sources, scratch + r * row_stride);
      touched |= rows.num[d + r];
    }
    T* to = out + d * out_stride;
    if (accumulate && touched == 0) continue;
    if (num_rows == kRowsAtOnce) {
      banded_rows<T, kRowsAtOnce>(scratch, row_stride, to, out_stride, columns, accumulate);
    } else {
      for (int r = 0; r < num_rows; ++r) {
        banded_rows<T, 1>(scratch + r * row_stride, row_stride, to + r * out_stride, out_stride, columns, accumulate);
      }
    }
  }
}

inline float from_bits(uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof(value));
  return value;
}

inline uint32_t to_bits(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof(bits));
  return bits;
}

inline void widen_bfloat16(const uint16_t* in, float* out, size_t count) {
  for (size_t i = 0; i < count; ++i) out[i] = from_bits(static_cast<uint32_t>(in[i]) << 16);
}

inline void narrow_bfloat16(const float* in, uint16_t* out, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const uint32_t bits = to_bits(in[i]);
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    const bool is_nan = (bits & 0x7fffffff) > 0x7f800000;
    out[i] = static_cast<uint16_t>(is_nan ? (bits >> 16) | 0x40 : rounded);
  }
}
