// Decompression of deflate (RFC 1951) into a buffer whose size is known.
#pragma once

#include <cstddef>
#include <cstdint>

namespace aunet::maps {

// Bytes that must be readable after the input and writable after the output; their content does not matter.
constexpr size_t kPadding = 64;

// Decompress one stream that fills `out` exactly.
//
// Returns the number of bytes of `in` that belong to the stream, or 0 where it is damaged, too short or too long.
size_t inflate(const uint8_t* in, size_t in_size, uint8_t* out, size_t out_size);

}  // namespace aunet::maps
