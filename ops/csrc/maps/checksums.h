// The two checksums of a PNG.
#pragma once

#include <cstddef>
#include <cstdint>

namespace aunet::maps {

// CRC-32 of a chunk's type and content.
uint32_t crc32(const uint8_t* data, size_t size);

constexpr size_t kBlock = 64;  // bytes

// Adler-32 of uncompressed bytes. Fast where most of them are 0, as in a segment map.
//
// On the way it notes which blocks of kBlock bytes are not all 0: bit i % 64 of used[i / 64] for block i, the last of
// which may be cut short. `used` has room for all blocks.
uint32_t adler32(const uint8_t* data, size_t size, uint64_t* used);

}  // namespace aunet::maps
