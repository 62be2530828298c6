// Where a kernel is: blocks of channels, pixels, words. Included inside an anonymous namespace, as
// epilogue.h explains.

#define BNNZOO_INLINE inline __attribute__((always_inline))
#define BNNZOO_NOINLINE __attribute__((noinline))

// Which block of which pixel; `channels` of the block exist, all of them but in the last block.
struct Place {
  int64_t y, x;
  int32_t block, channels;
};

BNNZOO_INLINE int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }
BNNZOO_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
BNNZOO_INLINE int32_t larger(int32_t a, int32_t b) { return a > b ? a : b; }

BNNZOO_INLINE int64_t blocks_of(int64_t channels) { return (channels + kBlock - 1) / kBlock; }

BNNZOO_INLINE Place place_of(int64_t pixel, int32_t columns, int32_t block, int32_t channels) {
  return {pixel / columns, pixel % columns, block, smaller(channels - block * kBlock, kBlock)};
}

BNNZOO_INLINE void advance(Place& at, int pixels, int32_t columns) {
  for (at.x += pixels; at.x >= columns; at.x -= columns) ++at.y;
}

// A pointer that follows the pixels of an output through a view with strides of its own.
template <typename T>
struct Walk {
  T* at;
  int64_t pixel;  // to the next pixel of the row
  int64_t wrap;   // from the last pixel of a row to the first one of the next
  int64_t x;
  int32_t columns;
};

template <typename T>
BNNZOO_INLINE Walk<T> walk(T* first, int64_t row, int64_t pixel, const Place& at, int32_t columns) {
  return {first + at.y * row + at.x * pixel, pixel, row - (columns - 1) * pixel, at.x, columns};
}

template <typename T>
BNNZOO_INLINE void advance(Walk<T>& walk) {
  if (++walk.x == walk.columns) {
    walk.x = 0;
    walk.at += walk.wrap;
  } else {
    walk.at += walk.pixel;
  }
}

// Pixels of the next tile: `left` of them in tiles of about equal size, none larger than `most`.
BNNZOO_INLINE int next_tile(int64_t left, int most) {
  const int64_t tiles = (left + most - 1) / most;
  return static_cast<int>((left + tiles - 1) / tiles);
}

BNNZOO_INLINE uint64_t load_word(const uint8_t* from) {
  uint64_t word;
  __builtin_memcpy(&word, from, sizeof word);
  return word;
}

BNNZOO_INLINE void store_word(uint8_t* to, uint64_t word) {
  __builtin_memcpy(to, &word, sizeof word);
}
