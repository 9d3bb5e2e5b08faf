#include "pairs.h"

namespace aunet::maps {

int32_t PairTable::add(int64_t first, int64_t second) {
  const int32_t slot = static_cast<int32_t>(pairs.size());
  pairs.push_back({first, second, 0});
  if (2 * pairs.size() > buckets_.size()) {
    buckets_.assign(2 * buckets_.size(), -1);
    for (int32_t old = 0; old <= slot; ++old) insert(old);
  } else {
    insert(slot);
  }
  return slot;
}

void PairTable::insert(int32_t slot) {
  const size_t mask = buckets_.size() - 1;
  size_t i = hash(pairs[slot].first, pairs[slot].second) & mask;
  while (buckets_[i] >= 0) i = (i + 1) & mask;
  buckets_[i] = slot;
}

}  // namespace aunet::maps
