// Counting of equal pairs of ids.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace aunet::maps {

struct Pair {
  int64_t first, second, pixels;
};

// Pairs of ids in the order in which they were met, each once.
class PairTable {
 public:
  PairTable() : buckets_(64, -1) {}

  // The number of a pair in `pairs`.
  int32_t slot(int64_t first, int64_t second) {
    const size_t mask = buckets_.size() - 1;
    for (size_t i = hash(first, second) & mask;; i = (i + 1) & mask) {
      const int32_t slot = buckets_[i];
      if (slot < 0) return add(first, second);
      if (pairs[slot].first == first && pairs[slot].second == second) return slot;
    }
  }

  std::vector<Pair> pairs;

 private:
  static size_t hash(int64_t first, int64_t second) {
    uint64_t h =
        static_cast<uint64_t>(first) * 0x9E3779B97F4A7C15u ^ static_cast<uint64_t>(second) * 0xC2B2AE3D27D4EB4Fu;
    return h ^ h >> 32;
  }
  int32_t add(int64_t first, int64_t second);
  void insert(int32_t slot);

  std::vector<int32_t> buckets_;
};

// Call emit(begin, end) for every run of equal pairs (a[i], b[i]), i < n.
template <typename T, typename Emit>
inline void for_each_run(const T* a, const T* b, int64_t n, Emit emit) {
  constexpr int kStep = 16;
  int64_t begin = 0, i = 1;
  const auto differs = [a, b](int64_t k) { return (a[k] ^ a[k - 1]) | (b[k] ^ b[k - 1]); };
  for (; i + kStep <= n; i += kStep) {
    T any = 0;
    for (int k = 0; k < kStep; ++k) any |= differs(i + k);
    if (any == 0) continue;
    for (int k = 0; k < kStep; ++k) {
      if (differs(i + k) == 0) continue;
      emit(begin, i + k);
      begin = i + k;
    }
  }
  for (; i < n; ++i) {
    if (differs(i) == 0) continue;
    emit(begin, i);
    begin = i;
  }
  if (n > 0) emit(begin, n);
}

}  // namespace aunet::maps
