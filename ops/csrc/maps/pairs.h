// Counting of equal pairs of ids.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
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

// Call emit(begin, end) for every run of equal elements of n; differs(i): from element i - 1, i > 0.
template <typename Differs, typename Emit>
inline void for_each_run(int64_t n, Differs differs, Emit emit) {
  constexpr int kStep = 64;
  alignas(kStep) uint8_t begins[kStep];  // whether a run begins at i + k
  int64_t begin = 0, i = 1;
  for (; i + kStep <= n; i += kStep) {
    for (int k = 0; k < kStep; ++k) begins[k] = differs(i + k);
    for (int first = 0; first < kStep; first += 8) {
      uint64_t word;
      std::memcpy(&word, begins + first, 8);
      for (; word != 0; word &= word - 1) {
        const int64_t end = i + first + __builtin_ctzll(word) / 8;
        emit(begin, end);
        begin = end;
      }
    }
  }
  for (; i < n; ++i) {
    if (!differs(i)) continue;
    emit(begin, i);
    begin = i;
  }
  if (n > 0) emit(begin, n);
}

}  // namespace aunet::maps
