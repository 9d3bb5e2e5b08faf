// Just enough of CUDA to run warps on the CPU: every lane is a fibre, and shuffles and ballots are meeting points.
// All lanes of a warp must meet at the same call; a lane that does not is an error, as it would hang or be undefined
// on a GPU. Races between warps and wrong launch parameters are not found here: the kernels share nothing.
#pragma once

#include <ucontext.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#define __device__

namespace host {

constexpr int kLanes = 32;

struct Warp {
  ucontext_t scheduler, lane[kLanes];
  std::vector<char> stack[kLanes];
  bool done[kLanes];
  long meetings[kLanes];     // how often each lane has met the others
  int kind[kLanes];          // at which call
  uint64_t slot[2][kLanes];  // what the lanes brought, by parity of the meeting
  int current = 0;
  std::function<void(int)> body;
};

inline Warp warp;

inline void enter() {
  warp.body(warp.current);
  warp.done[warp.current] = true;
}

// Brings a value to the meeting and returns when every lane has come.
inline const uint64_t* meet(int kind, uint64_t value) {
  const int lane = warp.current;
  const int parity = static_cast<int>(warp.meetings[lane]++ % 2);
  warp.kind[lane] = kind;
  warp.slot[parity][lane] = value;
  swapcontext(&warp.lane[lane], &warp.scheduler);
  return warp.slot[parity];
}

inline void run_warp(const std::function<void(int)>& body) {
  warp.body = body;
  for (int i = 0; i < kLanes; ++i) {
    warp.stack[i].resize(1 << 16);
    warp.done[i] = false;
    warp.meetings[i] = 0;
    getcontext(&warp.lane[i]);
    warp.lane[i].uc_stack.ss_sp = warp.stack[i].data();
    warp.lane[i].uc_stack.ss_size = warp.stack[i].size();
    warp.lane[i].uc_link = &warp.scheduler;
    makecontext(&warp.lane[i], enter, 0);
  }
  for (;;) {
    for (int i = 0; i < kLanes; ++i) {
      if (warp.done[i]) continue;
      warp.current = i;
      swapcontext(&warp.scheduler, &warp.lane[i]);
    }
    for (int i = 1; i < kLanes; ++i) {
      if (warp.done[i] != warp.done[0] || warp.meetings[i] != warp.meetings[0] || warp.kind[i] != warp.kind[0]) {
        std::fprintf(stderr, "lane %d does not meet lane 0\n", i);
        std::abort();
      }
    }
    if (warp.done[0]) return;
  }
}

}  // namespace host

template <typename T>
T __shfl_sync(unsigned lanes, T value, int source) {
  if (lanes != 0xffffffffu) std::abort();
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  std::memcpy(&value, host::meet(1, bits) + (source & 31), sizeof(T));
  return value;
}

inline unsigned __ballot_sync(unsigned lanes, bool vote) {
  if (lanes != 0xffffffffu) std::abort();
  const uint64_t* votes = host::meet(2, vote);
  unsigned result = 0;
  for (int i = 0; i < host::kLanes; ++i) result |= static_cast<unsigned>(votes[i] != 0) << i;
  return result;
}

inline int __ffs(unsigned bits) { return __builtin_ffs(static_cast<int>(bits)); }
