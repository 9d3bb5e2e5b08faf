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
  const auto differs = [=](int64_t i) { return ((first[i] ^ first[i - 1]) | (second[i] ^ second[i - 1])) != 0; };
  for_each_run(size, differs, [&](int64_t begin, int64_t end) {
    table.pairs[table.slot(first[begin], second[begin])].pixels += end - begin;
  });
  return give(table, capacity, out);
}

// At most `capacity` ids go to `out` [6, capacity]; returns how many there are.
int64_t give(const Measures& measures, int64_t capacity, int64_t* out) {
  const int64_t count = measures.boxes.size();
  if (count > capacity) return count;
  for (int64_t i = 0; i < count; ++i) {
    const Pair& id = measures.ids.pairs[i];
    const Box& box = measures.boxes[i];
    const int64_t column[6] = {id.first, id.pixels, box.x1, box.y1, box.x2, box.y2};
    for (int64_t k = 0; k < 6; ++k) out[k * capacity + i] = column[k];
  }
  return count;
}

// Read maps of one size, row after row: of each band of rows that are equal in all maps, first add_run(x1, x2) for
// every run of equal pixels, while the maps hold the row; then end_band(top, bottom).
//
// Only where a pixel changes from a row to the next, a run may begin or no longer begin.
template <size_t N, typename AddRun, typename EndBand>
Status for_each_band(Map* const (&maps)[N], AddRun add_run, EndBand end_band) {
  const int64_t width = maps[0]->png.width(), height = maps[0]->png.height();
  for (Map* map : maps) map->start();
  std::vector<uint64_t> begins(width / 64 + 1);  // bit x % 64 of begins[x / 64]: a run begins at x > 0
  const auto update = [&](int64_t x) {
    if (x == 0 || x == width) return;
    uint32_t change = 0;
    for (const Map* map : maps) change |= map->row[x] ^ map->row[x - 1];
    begins[x / 64] = (begins[x / 64] & ~(uint64_t{1} << x % 64)) | uint64_t{change != 0} << x % 64;
  };
  int64_t top = 0;
  for (int64_t y = 0; y < height; ++y) {
    int64_t counts[N], total = 0;
    for (size_t n = 0; n < N; ++n) {
      counts[n] = maps[n]->next();
      if (counts[n] < 0) return Status::kDamaged;
      total += counts[n];
    }
    if (total == 0 && y > 0) continue;
    for (size_t n = 0; n < N; ++n) {
      for (int64_t i = 0; i < counts[n]; ++i) update(maps[n]->changes[i]), update(maps[n]->changes[i] + 1);
    }
    if (y > 0) end_band(top, y);
    top = y;
    int64_t begin = 0;
    for (size_t i = 0; i < begins.size(); ++i) {
      for (uint64_t word = begins[i]; word != 0; word &= word - 1) {
        const int64_t end = 64 * i + __builtin_ctzll(word);
        add_run(begin, end);
        begin = end;
      }
    }
    add_run(begin, width);
  }
  end_band(top, height);
  return Status::kOk;
}

int64_t read_pairs(int64_t capacity, int64_t* out) {
  struct Run {
    int32_t slot, pixels;
  };
  Map &a = buffers.first, &b = buffers.second;
  PairTable table;
  std::vector<Run> runs;
  const Status status = for_each_band(
      {&a, &b},
      [&](int64_t x1, int64_t x2) {
        runs.push_back({table.slot(a.row[x1], b.row[x1]), static_cast<int32_t>(x2 - x1)});
      },
      [&](int64_t top, int64_t bottom) {
        for (const Run& run : runs) table.pairs[run.slot].pixels += run.pixels * (bottom - top);
        runs.clear();
      });
  return status == Status::kOk ? give(table, capacity, out) : failure(status);
}

int64_t read_measures(int64_t capacity, int64_t* out) {
  Map& map = buffers.first;
  Measures measures;
  const Status status = for_each_band(
      {&map}, [&](int64_t x1, int64_t x2) { measures.add_run(map.row[x1], x1, x2); },
      [&](int64_t top, int64_t bottom) { measures.end_band(top, bottom); });
  return status == Status::kOk ? give(measures, capacity, out) : failure(status);
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

// A PNG → out [6, capacity] of id, pixels, and the box around them: x1, y1, x2, y2. Returns as `aunet_maps_read_pairs`.
EXPORT int64_t
aunet_maps_read_measures(const uint8_t* png, int64_t size, int64_t max_pixels, int64_t capacity, int64_t* out) {
  return guarded([&] {
    const Status status = buffers.first.png.open(png, size, max_pixels);
    return status == Status::kOk ? read_measures(capacity, out) : failure(status);
  });
}

// Ids [height, width] → as `aunet_maps_read_measures`.
EXPORT int64_t
aunet_maps_measure_32(const int32_t* ids, int64_t height, int64_t width, int64_t capacity, int64_t* out) {
  return guarded([&] { return give(measure(ids, height, width), capacity, out); });
}

EXPORT int64_t
aunet_maps_measure_64(const int64_t* ids, int64_t height, int64_t width, int64_t capacity, int64_t* out) {
  return guarded([&] { return give(measure(ids, height, width), capacity, out); });
}
