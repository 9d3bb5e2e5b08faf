// The C interface of the library, for ctypes. No exception leaves it, and nothing is kept between calls but buffers.
#include <algorithm>
#include <bit>
#include <cstring>
#include <exception>
#include <tuple>

#include "measures.h"
#include "pairs.h"
#include "png.h"

static_assert(std::endian::native == std::endian::little, "pixels are read as little-endian words");

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace aunet::maps {
namespace {

constexpr size_t kKeptBytes = 1 << 25;

// Buffers of a thread, reused from call to call so that their memory is touched once; large ones are given back.
struct Map {
  Png png;
  std::vector<uint32_t> row;
  std::vector<int32_t> changes;

  void start() {
    row.assign(png.width(), 0);
    changes.resize(png.width() + 1);
  }
  int64_t next() { return png.next(row.data(), changes.data()); }
};

struct Buffers {
  Map first, second;
};

thread_local Buffers buffers;

template <typename Work>
int64_t guarded(Work work) {
  int64_t result = 0;
  try {
    result = work();
  } catch (const std::exception&) {
    result = -static_cast<int64_t>(Status::kMemory);
  }
  if (buffers.first.png.bytes() + buffers.second.png.bytes() > kKeptBytes) buffers = Buffers();
  return result;
}

int64_t failure(Status status) { return -static_cast<int64_t>(status); }

// Open a PNG of known size and call write(y, row) for every row.
template <typename Write>
int64_t read_rows(const uint8_t* data, int64_t size, int64_t width, int64_t height, Write write) {
  Map& map = buffers.first;
  const Status status = map.png.open(data, size, width * height);
  if (status != Status::kOk) return failure(status);
  if (map.png.width() != width || map.png.height() != height) return failure(Status::kSizes);
  map.start();
  for (int64_t y = 0; y < height; ++y) {
    if (map.next() < 0) return failure(Status::kDamaged);
    write(y, map.row.data());
  }
  return 0;
}

// At most `capacity` pairs go to `out` [3, capacity]; returns how many there are.
int64_t give(const PairTable& table, int64_t capacity, int64_t* out) {
  const int64_t count = table.pairs.size();
  if (count > capacity) return count;
  for (int64_t i = 0; i < count; ++i) {
    out[i] = table.pairs[i].first;
    out[capacity + i] = table.pairs[i].second;
    out[2 * capacity + i] = table.pairs[i].pixels;
  }
  return count;
}

template <typename T>
int64_t count_pairs(const T* first, const T* second, int64_t size, int64_t capacity, int64_t* out) {
  PairTable table;
  for_each_run(first, second, size, [&](int64_t begin, int64_t end) {
    table.pairs[table.slot(first[begin], second[begin])].pixels += end - begin;
  });
  return give(table, capacity, out);
}

// At most `capacity` ids go to `out` [6, capacity]; returns how many there are.
template <typename T>
int64_t measure_ids(const T* ids, int64_t height, int64_t width, int64_t capacity, int64_t* out) {
  const Measures measures = measure(ids, height, width);
  const int64_t count = measures.boxes.size();
  if (count > capacity) return count;
  for (int64_t i = 0; i < count; ++i) {
    const Pair& id = measures.ids.pairs[i];
    const Box& box = measures.boxes[i];
    const int64_t row[6] = {id.first, id.pixels, box.x1, box.y1, box.x2, box.y2};
    for (int64_t k = 0; k < 6; ++k) out[k * capacity + i] = row[k];
  }
  return count;
}

// Only where a pixel changes from a row to the next, a run of equal pairs may begin or no longer begin.
int64_t read_pairs(int64_t capacity, int64_t* out) {
  struct Run {
    int32_t slot, pixels;
  };
  Map &a = buffers.first, &b = buffers.second;
  const int64_t width = a.png.width(), height = a.png.height();
  a.start();
  b.start();
  PairTable table;
  std::vector<Run> runs;
  std::vector<uint64_t> begins(width / 64 + 1);  // bit x % 64 of begins[x / 64]: a run begins at x > 0
  int64_t repeats = 0;
  const auto update = [&](int64_t x) {
    if (x == 0 || x == width) return;
    const uint64_t differs = ((a.row[x] ^ a.row[x - 1]) | (b.row[x] ^ b.row[x - 1])) != 0;
    begins[x / 64] = (begins[x / 64] & ~(uint64_t{1} << x % 64)) | differs << x % 64;
  };
  const auto add_runs = [&] {
    for (const Run& run : runs) table.pairs[run.slot].pixels += run.pixels * repeats;
    runs.clear();
    repeats = 0;
  };
  for (int64_t y = 0; y < height; ++y, ++repeats) {
    const int64_t counts[2] = {a.next(), b.next()};
    if (counts[0] < 0 || counts[1] < 0) return failure(Status::kDamaged);
    if (counts[0] + counts[1] == 0 && y > 0) continue;
    for (int64_t i = 0; i < counts[0]; ++i) update(a.changes[i]), update(a.changes[i] + 1);
    for (int64_t i = 0; i < counts[1]; ++i) update(b.changes[i]), update(b.changes[i] + 1);
    add_runs();
    int64_t begin = 0;
    const auto end_at = [&](int64_t end) {
      runs.push_back({table.slot(a.row[begin], b.row[begin]), static_cast<int32_t>(end - begin)});
      begin = end;
    };
    for (size_t i = 0; i < begins.size(); ++i) {
      for (uint64_t word = begins[i]; word != 0; word &= word - 1) end_at(64 * i + __builtin_ctzll(word));
    }
    end_at(width);
  }
  add_runs();
  return give(table, capacity, out);
}

}  // namespace
}  // namespace aunet::maps

using namespace aunet::maps;

// A PNG of the given size → ids [height, width]. Returns 0, or the status as a negative number.
EXPORT int64_t aunet_maps_read_ids(const uint8_t* png, int64_t size, int64_t width, int64_t height, int32_t* ids) {
  return guarded([&] {
    return read_rows(png, size, width, height, [&](int64_t y, const uint32_t* row) {
      std::memcpy(ids + y * width, row, width * sizeof *row);
    });
  });
}

// A PNG of the given size → rgb [height, width, 3]. Returns as `aunet_maps_read_ids`.
EXPORT int64_t aunet_maps_read_rgb(const uint8_t* png, int64_t size, int64_t width, int64_t height, uint8_t* rgb) {
  return guarded([&] {
    return read_rows(png, size, width, height, [&](int64_t y, const uint32_t* row) {
      uint8_t* to = rgb + y * width * 3;
      for (int64_t x = 0; x < width; ++x, to += 3) {
        to[0] = row[x], to[1] = row[x] >> 8, to[2] = row[x] >> 16;
      }
    });
  });
}

// Two PNGs of one size → how many pixels each pair of ids shares: out [3, capacity] of first id, second id, pixels.
//
// Returns the number of pairs, nothing being written where it exceeds the capacity; or the status as a negative number.
EXPORT int64_t aunet_maps_read_pairs(
    const uint8_t* first, int64_t first_size, const uint8_t* second, int64_t second_size, int64_t max_pixels,
    int64_t capacity, int64_t* out) {
  return guarded([&] {
    for (const auto& [map, data, size] :
         {std::tuple(&buffers.first.png, first, first_size), {&buffers.second.png, second, second_size}}) {
      const Status status = map->open(data, size, max_pixels);
      if (status != Status::kOk) return failure(status);
    }
    const bool fits = buffers.first.png.width() == buffers.second.png.width() &&
                      buffers.first.png.height() == buffers.second.png.height();
    return fits ? read_pairs(capacity, out) : failure(Status::kSizes);
  });
}

// Ids [size] of two maps → as `aunet_maps_read_pairs`.
EXPORT int64_t
aunet_maps_count_pairs_32(const int32_t* first, const int32_t* second, int64_t size, int64_t capacity, int64_t* out) {
  return guarded([&] { return count_pairs(first, second, size, capacity, out); });
}

EXPORT int64_t
aunet_maps_count_pairs_64(const int64_t* first, const int64_t* second, int64_t size, int64_t capacity, int64_t* out) {
  return guarded([&] { return count_pairs(first, second, size, capacity, out); });
}

// Ids [height, width] → out [6, capacity] of id, pixels, and its box: x1, y1, x2, y2. Returns as
// `aunet_maps_read_pairs`.
EXPORT int64_t
aunet_maps_measure_32(const int32_t* ids, int64_t height, int64_t width, int64_t capacity, int64_t* out) {
  return guarded([&] { return measure_ids(ids, height, width, capacity, out); });
}

EXPORT int64_t
aunet_maps_measure_64(const int64_t* ids, int64_t height, int64_t width, int64_t capacity, int64_t* out) {
  return guarded([&] { return measure_ids(ids, height, width, capacity, out); });
}
