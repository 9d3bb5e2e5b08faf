#include "png.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "checksums.h"
#include "inflate.h"

namespace aunet::maps {
namespace {

constexpr uint8_t kSignature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
constexpr size_t kMaxText = 1 << 16;  // bytes
constexpr size_t kMaxRatio = 1032;    // of deflate: 258 bytes from 2 bits
constexpr uint32_t kColor = 2, kColorAlpha = 6;

uint32_t big_endian(const uint8_t* at) { return static_cast<uint32_t>(at[0]) << 24 | at[1] << 16 | at[2] << 8 | at[3]; }

constexpr uint32_t chunk(const char (&name)[5]) {
  return static_cast<uint32_t>(name[0]) << 24 | name[1] << 16 | name[2] << 8 | name[3];
}

// Whether a chunk beside IHDR, IDAT and IEND changes no pixel and is well formed.
bool is_harmless(uint32_t type, size_t size) {
  switch (type) {
    case chunk("gAMA"): return size == 4;
    case chunk("sRGB"): return size == 1;
    case chunk("cHRM"): return size == 32;
    case chunk("pHYs"): return size == 9;
    case chunk("tIME"): return size == 7;
    case chunk("sBIT"): return size <= 4;
    case chunk("bKGD"): return size == 6;
    case chunk("tEXt"): return size <= kMaxText;
    default: return false;
  }
}

// Sums of the bytes of two pixels, each modulo 256.
uint32_t add(uint32_t a, uint32_t b) { return ((a & 0x7F7F7F) + (b & 0x7F7F7F)) ^ ((a ^ b) & 0x808080); }

uint32_t average(uint32_t a, uint32_t b) { return (a & b) + ((a ^ b) >> 1 & 0x7F7F7F); }

uint32_t paeth(uint32_t left, uint32_t up, uint32_t corner) {
  if (left == corner) return up;
  if (up == corner) return left;
  uint32_t result = 0;
  for (int shift = 0; shift < 24; shift += 8) {
    const int a = left >> shift & 255, b = up >> shift & 255, c = corner >> shift & 255;
    const int pa = std::abs(b - c), pb = std::abs(a - c), pc = std::abs(a + b - 2 * c);
    result |= static_cast<uint32_t>(pa <= pb && pa <= pc ? a : pb <= pc ? b : c) << shift;
  }
  return result;
}

// The filtered bytes of a row.
struct Filtered {
  const uint8_t* all;    // of all rows
  const uint64_t* used;  // blocks of them that are not all 0
  size_t begin;          // of the row

  // The first byte from `at` to `end` (offsets in `all`) that is not 0; `end` where there is none.
  size_t next_used(size_t at, size_t end) const {
    while (at < end) {
      const size_t block = at / kBlock;
      const uint64_t rest = used[block / 64] >> block % 64;
      if (rest == 0) {
        at = (block / 64 + 1) * 64 * kBlock;
        continue;
      }
      if ((rest & 1) == 0) {
        at = (block + __builtin_ctzll(rest)) * kBlock;
        continue;
      }
      const size_t stop = std::min(end, (block + 1) * kBlock);
      for (; at + 8 <= stop; at += 8) {
        uint64_t word;
        std::memcpy(&word, all + at, 8);
        if (word) return at + __builtin_ctzll(word) / 8;
      }
      for (; at < stop; ++at) {
        if (all[at]) return at;
      }
    }
    return end;
  }
};

// Undo the filter of a row in place: where the filtered bytes are 0, most of it already stands in `row`.
// Reads one byte after the last pixel.
template <int C>
int64_t unfilter(int filter, const Filtered& bytes, uint32_t* row, int64_t width, int32_t* changes) {
  const uint8_t* own = bytes.all + bytes.begin;
  const auto pixel = [own](int64_t x) {
    uint32_t value;
    std::memcpy(&value, own + x * C, 4);
    return value & 0xFFFFFF;
  };
  // The first pixel at or after `x` whose filtered bytes are not all 0.
  const auto next_change = [&](int64_t x) -> int64_t {
    const size_t end = bytes.begin + width * C;
    const size_t at = bytes.next_used(bytes.begin + x * C, end);
    return at < end ? (at - bytes.begin) / C : width;
  };
  uint32_t left = 0, corner = 0;
  int64_t count = 0;
  const auto put = [&](int64_t x, uint32_t value) {
    changes[count] = static_cast<int32_t>(x);
    count += value != row[x];
    row[x] = value;
  };
  switch (filter) {
    case 0:  // as it is
      for (int64_t x = 0; x < width; ++x) put(x, pixel(x));
      break;
    case 1:  // difference to the left
      for (int64_t x = 0; x < width; ++x) put(x, left = add(left, pixel(x)));
      break;
    case 2:  // difference to above
      for (int64_t x = next_change(0); x < width; x = next_change(x + 1)) put(x, add(row[x], pixel(x)));
      break;
    case 3:  // difference to the mean of both
      for (int64_t x = 0; x < width; ++x) put(x, left = add(average(left, row[x]), pixel(x)));
      break;
    case 4:  // difference to left, above or the corner between them; 0 after equal left and corner means above
      for (int64_t x = 0; x < width; ++x) {
        if (left == corner && pixel(x) == 0) {
          const int64_t next = next_change(x);
          if (next == width) break;
          if (next > x) left = corner = row[next - 1];  // else only alpha changes here
          x = next;
        }
        const uint32_t up = row[x];
        put(x, left = add(paeth(left, up, corner), pixel(x)));
        corner = up;
      }
      break;
    default: return -1;
  }
  return count;
}

}  // namespace

Status Png::open(const uint8_t* data, size_t size, int64_t max_pixels) {
  const Status status = read_chunks(data, size, max_pixels);
  if (status != Status::kOk) return status;
  const size_t stream = compressed_.size();
  if (stream < 6) return Status::kDamaged;
  compressed_.resize(stream + kPadding);
  const uint8_t *head = compressed_.data(), *tail = head + stream - 4;
  const bool is_deflate = (head[0] & 15) == 8 && head[0] >> 4 <= 7 && (head[0] << 8 | head[1]) % 31 == 0;
  if (!is_deflate || head[1] & 32) return Status::kDamaged;
  const size_t filtered = height_ * (1 + width_ * channels_);
  if (filtered / kMaxRatio > stream) return Status::kDamaged;
  filtered_.resize(filtered + kPadding);
  if (inflate(head + 2, stream - 6, filtered_.data(), filtered) != stream - 6) return Status::kDamaged;
  used_.resize(filtered / kBlock / 64 + 1);
  if (adler32(filtered_.data(), filtered, used_.data()) != big_endian(tail)) return Status::kDamaged;
  at_ = 0;
  return Status::kOk;
}

Status Png::read_chunks(const uint8_t* data, size_t size, int64_t max_pixels) {
  if (size < sizeof kSignature || std::memcmp(data, kSignature, sizeof kSignature) != 0) return Status::kDamaged;
  compressed_.clear();
  bool has_header = false, is_behind_content = false;
  for (size_t at = sizeof kSignature;;) {
    if (size - at < 12) return Status::kDamaged;
    const size_t length = big_endian(data + at);
    if (length > size - at - 12) return Status::kDamaged;
    const uint8_t* content = data + at + 8;
    const uint32_t type = big_endian(data + at + 4);
    if (crc32(data + at + 4, length + 4) != big_endian(content + length)) return Status::kDamaged;
    at += length + 12;
    if (!has_header) {
      if (type != chunk("IHDR") || length != 13) return Status::kDamaged;
      has_header = true;
      width_ = big_endian(content), height_ = big_endian(content + 4);
      const bool is_usual = content[8] == 8 && (content[9] == kColor || content[9] == kColorAlpha) &&
                            content[10] == 0 && content[11] == 0 && content[12] == 0;
      if (!is_usual || width_ == 0 || height_ == 0 || width_ > max_pixels / height_) return Status::kUnusual;
      channels_ = content[9] == kColor ? 3 : 4;
    } else if (type == chunk("IDAT")) {
      if (is_behind_content) return Status::kDamaged;
      compressed_.insert(compressed_.end(), content, content + length);
    } else if (type == chunk("IEND")) {
      return length == 0 ? Status::kOk : Status::kDamaged;
    } else {
      if (!is_harmless(type, length)) return Status::kUnusual;
      is_behind_content = !compressed_.empty();
    }
  }
}

int64_t Png::next(uint32_t* row, int32_t* changes) {
  const size_t begin = at_++ * (1 + width_ * channels_);
  const Filtered bytes{filtered_.data(), used_.data(), begin + 1};
  const int filter = filtered_[begin];
  return channels_ == 3 ? unfilter<3>(filter, bytes, row, width_, changes)
                        : unfilter<4>(filter, bytes, row, width_, changes);
}

}  // namespace aunet::maps
