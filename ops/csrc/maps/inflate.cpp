#include "inflate.h"

#include <algorithm>
#include <cstring>

namespace aunet::maps {
namespace {

// An entry of a decoding table:
//   bits 0–4    length of the code that is left to consume
//   bits 5–7    kind
//   bits 8–15   extra bits that follow the code, or the bits that index a second table
//   bits 16–31  the literal, the base of a length or distance, or the start of a second table
using Entry = uint32_t;
enum Kind : uint32_t { kLiteral, kMatch, kEnd, kSecond, kInvalid };

constexpr Entry entry(uint32_t value, uint32_t extra, Kind kind) { return value << 16 | extra << 8 | kind << 5; }
constexpr Kind kind_of(Entry e) { return static_cast<Kind>(e >> 5 & 7); }
constexpr uint32_t code_bits(Entry e) { return e & 31; }
constexpr uint32_t extra_of(Entry e) { return e >> 8 & 255; }
constexpr uint32_t value_of(Entry e) { return e >> 16; }

constexpr int kMaxCode = 15;
constexpr int kLiteralBits = 11, kDistanceBits = 8, kLengthBits = 7;
constexpr int kLiterals = 288, kDistances = 32, kLengths = 19;

constexpr uint16_t kLengthBase[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                      31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
constexpr uint8_t kLengthExtra[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                      2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
constexpr uint16_t kDistanceBase[30] = {1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
                                        33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
                                        1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};

Entry literal_entry(int symbol) {
  if (symbol < 256) return entry(symbol, 0, kLiteral);
  if (symbol == 256) return entry(0, 0, kEnd);
  if (symbol > 285) return entry(0, 0, kInvalid);
  return entry(kLengthBase[symbol - 257], kLengthExtra[symbol - 257], kMatch);
}

Entry distance_entry(int symbol) {
  if (symbol > 29) return entry(0, 0, kInvalid);
  return entry(kDistanceBase[symbol], symbol < 4 ? 0 : symbol / 2 - 1, kMatch);
}

Entry length_entry(int symbol) { return entry(symbol, 0, kLiteral); }

uint32_t reversed(uint32_t code, int bits) {
  uint32_t result = 0;
  for (int i = 0; i < bits; ++i) result |= (code >> i & 1) << (bits - 1 - i);
  return result;
}

// The canonical code of some symbols as a table that is indexed by the next `Bits` bits; longer codes continue in a
// second table behind it. `Size` is enough for every valid code.
template <int Bits, int Symbols>
struct Table {
  static constexpr int kSecondBits = kMaxCode > Bits ? kMaxCode - Bits : 0;
  Entry entries[(1 << Bits) + (Symbols << kSecondBits)];

  // False where the lengths are not those of a complete code. A code of a single symbol, or of none, is accepted as
  // `allow_sparse` says: what it leaves out is invalid when met.
  bool build(const uint8_t* lengths, int count, Entry (*make)(int), bool allow_sparse) {
    uint32_t counts[kMaxCode + 1] = {}, next[kMaxCode + 2] = {};
    for (int s = 0; s < count; ++s) ++counts[lengths[s]];
    const uint32_t used = count - counts[0];
    counts[0] = 0;
    for (int bits = 1; bits <= kMaxCode; ++bits) {
      next[bits + 1] = (next[bits] + counts[bits]) << 1;
      if (next[bits] + counts[bits] > 1u << bits) return false;
    }
    const bool complete = next[kMaxCode] + counts[kMaxCode] == 1u << kMaxCode;
    if (!complete && !(allow_sparse && (used == 0 || (used == 1 && counts[1] == 1)))) return false;
    std::fill_n(entries, 1 << Bits, entry(0, 0, kInvalid));

    uint32_t end = 1 << Bits;
    for (int s = 0; s < count; ++s) {
      const int bits = lengths[s];
      if (bits == 0) continue;
      const uint32_t code = reversed(next[bits]++, bits);
      if (bits <= Bits) {
        for (uint32_t i = code; i < 1u << Bits; i += 1u << bits) entries[i] = make(s) | bits;
        continue;
      }
      Entry& first = entries[code & ((1u << Bits) - 1)];
      if (kind_of(first) != kSecond) {
        first = entry(end, kSecondBits, kSecond) | Bits;
        std::fill_n(entries + end, 1 << kSecondBits, entry(0, 0, kInvalid));
        end += 1u << kSecondBits;
      }
      for (uint32_t i = code >> Bits; i < 1u << kSecondBits; i += 1u << (bits - Bits)) {
        entries[value_of(first) + i] = make(s) | (bits - Bits);
      }
    }
    return true;
  }
};

// The input as a stream of bits, the lowest bit of a byte first.
class Bits {
 public:
  Bits(const uint8_t* in, size_t size) : at_(in), begin_(in), end_(in + size) {}

  // At least 56 bits are available after it. False where the input ended long ago.
  bool refill() {
    if (at_ > end_ + 8) return false;
    uint64_t word;
    std::memcpy(&word, at_, 8);
    bits_ |= word << count_;
    at_ += (63 - count_) >> 3;
    count_ |= 56;
    return true;
  }
  uint32_t peek(int count) const { return static_cast<uint32_t>(bits_ & ((uint64_t{1} << count) - 1)); }
  void skip(int count) {
    bits_ >>= count;
    count_ -= count;
  }
  uint32_t take(int count) {
    const uint32_t value = peek(count);
    skip(count);
    return value;
  }
  // The entry of the next code, which is consumed.
  template <int N, int Symbols>
  Entry decode(const Table<N, Symbols>& table) {
    Entry e = table.entries[peek(N)];
    if (kind_of(e) == kSecond) {
      skip(N);
      e = table.entries[value_of(e) + peek(extra_of(e))];
    }
    skip(code_bits(e));
    return e;
  }
  // Go to the start of the next whole byte and read on from there.
  const uint8_t* align() {
    at_ -= count_ >> 3;
    bits_ = count_ = 0;
    return at_;
  }
  void jump(const uint8_t* to) { at_ = to; }
  const uint8_t* end() const { return end_; }
  // Bytes that were touched; more than there are where the input is too short.
  size_t consumed() const { return at_ - begin_ - (count_ >> 3); }

 private:
  const uint8_t *at_, *begin_, *end_;
  uint64_t bits_ = 0;
  uint32_t count_ = 0;
};

struct Codes {
  Table<kLiteralBits, kLiterals> literals;
  Table<kDistanceBits, kDistances> distances;
};

bool read_fixed_codes(Codes& codes) {
  uint8_t lengths[kLiterals];
  for (int s = 0; s < kLiterals; ++s) lengths[s] = s < 144 ? 8 : s < 256 ? 9 : s < 280 ? 7 : 8;
  uint8_t distances[kDistances];
  std::fill_n(distances, kDistances, 5);
  return codes.literals.build(lengths, kLiterals, literal_entry, false) &&
         codes.distances.build(distances, kDistances, distance_entry, false);
}

bool read_dynamic_codes(Bits& bits, Codes& codes) {
  constexpr uint8_t order[kLengths] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
  const int num_literals = bits.take(5) + 257, num_distances = bits.take(5) + 1, num_lengths = bits.take(4) + 4;
  if (num_literals > 286 || num_distances > 30) return false;
  uint8_t own[kLengths] = {};
  for (int i = 0; i < num_lengths; ++i) {
    if (!bits.refill()) return false;
    own[order[i]] = bits.take(3);
  }
  Table<kLengthBits, kLengths> table;
  if (!table.build(own, kLengths, length_entry, false)) return false;
  uint8_t lengths[286 + 30 + 138];
  const int total = num_literals + num_distances;
  for (int n = 0; n < total;) {
    if (!bits.refill()) return false;
    const Entry e = bits.decode(table);
    if (kind_of(e) == kInvalid) return false;
    const uint32_t symbol = value_of(e);
    if (symbol < 16) {
      lengths[n++] = symbol;
      continue;
    }
    if (symbol == 16 && n == 0) return false;
    const uint8_t value = symbol == 16 ? lengths[n - 1] : 0;
    const int repeat = symbol == 16 ? 3 + bits.take(2) : symbol == 17 ? 3 + bits.take(3) : 11 + bits.take(7);
    if (n + repeat > total) return false;
    std::fill_n(lengths + n, repeat, value);
    n += repeat;
  }
  return lengths[256] != 0 && codes.literals.build(lengths, num_literals, literal_entry, false) &&
         codes.distances.build(lengths + num_literals, num_distances, distance_entry, true);
}

// Repeat what stands `distance` bytes back. Writes up to kPadding bytes more.
void copy_back(uint8_t* to, size_t distance, size_t length) {
  if (distance == 1) {
    std::memset(to, to[-1], length);
    return;
  }
  uint8_t* const end = to + length;
  if (distance < 16) {  // what repeats after n bytes also repeats after a multiple of n
    const size_t wide = (15 / distance + 1) * distance;
    for (size_t i = 0; i < wide; ++i) to[i] = to[i - distance];
    to += wide;
    distance = wide;
  }
  for (; to < end; to += 16) std::memcpy(to, to - distance, 16);
}

}  // namespace

size_t inflate(const uint8_t* in, size_t in_size, uint8_t* out, size_t out_size) {
  Bits bits(in, in_size);
  Codes codes;
  size_t n = 0;
  for (bool last = false; !last;) {
    if (!bits.refill()) return 0;
    last = bits.take(1);
    const uint32_t type = bits.take(2);
    if (type == 0) {
      const uint8_t* at = bits.align();
      if (bits.end() < at + 4) return 0;
      const size_t size = at[0] | at[1] << 8, inverse = at[2] | at[3] << 8;
      at += 4;
      if (size != (~inverse & 0xFFFF) || size > static_cast<size_t>(bits.end() - at) || size > out_size - n) return 0;
      std::memcpy(out + n, at, size);
      n += size;
      bits.jump(at + size);
      continue;
    }
    if (type == 3 || !(type == 1 ? read_fixed_codes(codes) : read_dynamic_codes(bits, codes))) return 0;
    for (;;) {
      if (!bits.refill()) return 0;
      Entry e = bits.decode(codes.literals);
      if (kind_of(e) == kLiteral) {
        if (n == out_size) return 0;
        out[n++] = value_of(e);
        continue;
      }
      if (kind_of(e) != kMatch) {
        if (kind_of(e) == kEnd) break;
        return 0;
      }
      const size_t length = value_of(e) + bits.take(extra_of(e));
      e = bits.decode(codes.distances);
      if (kind_of(e) != kMatch) return 0;
      const size_t distance = value_of(e) + bits.take(extra_of(e));
      if (distance > n || length > out_size - n) return 0;
      copy_back(out + n, distance, length);
      n += length;
    }
  }
  return n == out_size && bits.consumed() <= in_size ? bits.consumed() : 0;
}

}  // namespace aunet::maps
