#include "checksums.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace aunet::maps {
namespace {

// tables[k][byte]: what a byte adds to the CRC when k more bytes follow it.
constexpr auto kTables = [] {
  std::array<std::array<uint32_t, 256>, 8> tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    tables[0][byte] = crc;
  }
  for (int k = 1; k < 8; ++k) {
    for (uint32_t byte = 0; byte < 256; ++byte) {
      tables[k][byte] = tables[k - 1][byte] >> 8 ^ tables[0][tables[k - 1][byte] & 255];
    }
  }
  return tables;
}();

constexpr uint32_t kModulus = 65521;
constexpr size_t kBlocks = 80;  // between two divisions: sums stay below 2^32

}  // namespace

uint32_t crc32(const uint8_t* data, size_t size) {
  uint32_t crc = ~0u;
  for (; size >= 8; data += 8, size -= 8) {
    uint32_t low, high;
    std::memcpy(&low, data, 4);
    std::memcpy(&high, data + 4, 4);
    low ^= crc;
    crc = kTables[7][low & 255] ^ kTables[6][low >> 8 & 255] ^ kTables[5][low >> 16 & 255] ^ kTables[4][low >> 24] ^
          kTables[3][high & 255] ^ kTables[2][high >> 8 & 255] ^ kTables[1][high >> 16 & 255] ^ kTables[0][high >> 24];
  }
  for (; size > 0; ++data, --size) crc = crc >> 8 ^ kTables[0][(crc ^ *data) & 255];
  return ~crc;
}

uint32_t adler32(const uint8_t* data, size_t size, uint64_t* used) {
  uint32_t a = 1, b = 0;
  const size_t whole = size / kBlock;
  std::fill_n(used, whole / 64 + 1, 0);
  for (size_t first = 0; first < whole; first += kBlocks) {
    const size_t last = std::min(whole, first + kBlocks);
    for (size_t block = first; block < last; ++block) {
      const uint8_t* bytes = data + block * kBlock;
      uint64_t words[kBlock / 8];
      std::memcpy(words, bytes, kBlock);
      uint64_t any = 0;
      for (const uint64_t word : words) any |= word;
      b += kBlock * a;
      if (any == 0) continue;
      used[block / 64] |= uint64_t{1} << block % 64;
      uint32_t sum = 0, weighted = 0;
      for (uint32_t i = 0; i < kBlock; ++i) {
        sum += bytes[i];
        weighted += (kBlock - i) * bytes[i];
      }
      a += sum;
      b += weighted;
    }
    a %= kModulus;
    b %= kModulus;
  }
  for (size_t i = whole * kBlock; i < size; ++i) {
    a += data[i];
    b += a;
  }
  used[whole / 64] |= uint64_t{1} << whole % 64;
  return b % kModulus << 16 | a % kModulus;
}

}  // namespace aunet::maps
