// PNGs with three or four channels of 8 bits, not interlaced: what panoptic maps and most pictures are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace aunet::maps {

enum class Status : int32_t {
  kOk = 0,
  kUnusual = 1,  // a valid PNG perhaps, of a kind that another reader must read
  kDamaged = 2,  // cut short, a wrong checksum, or not a PNG
  kSizes = 3,    // not of the size that was asked for, or two maps of different sizes
  kMemory = 4,
};

// One PNG, row after row. A pixel is R + 256·G + 65536·B, which is the id in a panoptic map; alpha is dropped.
class Png {
 public:
  // Read the header and compare all checksums, of the content too. `data` is not needed afterwards.
  Status open(const uint8_t* data, size_t size, int64_t max_pixels);

  int64_t width() const { return width_; }
  int64_t height() const { return height_; }
  // Of its buffers.
  size_t bytes() const { return compressed_.capacity() + filtered_.capacity(); }

  // Turn `row` [width], which holds the row above (zeros before the first), into the next row. The positions of pixels
  // that differ from those above go to `changes` [width + 1].
  //
  // Returns how many differ, or -1 where the row is damaged.
  int64_t next(uint32_t* row, int32_t* changes);

 private:
  Status read_chunks(const uint8_t* data, size_t size, int64_t max_pixels);

  int64_t width_ = 0, height_ = 0, at_ = 0;
  int channels_ = 0;
  std::vector<uint8_t> compressed_, filtered_;
  std::vector<uint64_t> used_;  // see adler32
};

}  // namespace aunet::maps
