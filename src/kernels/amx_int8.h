// Convolutions in 8 bits by AMX, whose instruction multiplies tiles: 16 pixels of up to 16 quads by
// as many quads of 16 channels. Included after int8_kernels.h; levels and weights are those of VNNI,
// and so are the sums, to the integer.
//
// Tiles 0 to 3 are the sums of a block of channels. Tiles 4 and 5 take 16 quads of levels and of
// weights, 6 and 7 the quads that a run has beyond a multiple of 16.

constexpr int kTileQuads = 16;

// As `ldtilecfg` reads it.
struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

BNNZOO_INLINE void shape_tiles(int run_length) {
  TileShapes shapes;
  for (int tile = 0; tile < 6; ++tile) {
    shapes.rows[tile] = kTile;
    shapes.row_bytes[tile] = 64;
  }
  const int rest = run_length % kTileQuads;
  if (rest > 0) {
    shapes.rows[6] = kTile;
    shapes.row_bytes[6] = static_cast<uint16_t>(4 * rest);
    shapes.rows[7] = static_cast<uint8_t>(rest);
    shapes.row_bytes[7] = 64;
  }
  // Not _tile_loadconfig: GCC 12's hides from the optimizer that all of the shapes are read.
  __asm__ volatile("ldtilecfg %0" : : "m"(shapes));
}

struct TileProducts : Int8Products {
  BNNZOO_INLINE explicit TileProducts(const Op& conv) : Int8Products(conv) {}

  BNNZOO_INLINE static int tile(int64_t left) {
    return left >= kTile ? kTile : Int8Products::tile(left);
  }
};

// One product of tiles for each 16 channels of a pass or a block; numbers of tiles are literals.
#define BNNZOO_MULTIPLY_TILES(LEVELS, WEIGHTS)                                  \
  do {                                                                          \
    _tile_loadd(LEVELS, from, op.pixel);                                        \
    _tile_loadd(WEIGHTS, weights, kPassBytes);                                  \
    _tile_dpbusd(0, LEVELS, WEIGHTS);                                           \
    if constexpr (vectors > 1) {                                                \
      _tile_loadd(WEIGHTS, weights + Vector::lanes, kPassBytes);                \
      _tile_dpbusd(1, LEVELS, WEIGHTS);                                         \
    }                                                                           \
    if constexpr (vectors > 2) {                                                \
      _tile_loadd(WEIGHTS, weights + pass_weights, kPassBytes);                 \
      _tile_dpbusd(2, LEVELS, WEIGHTS);                                         \
    }                                                                           \
    if constexpr (vectors > 3) {                                                \
      _tile_loadd(WEIGHTS, weights + pass_weights + Vector::lanes, kPassBytes); \
      _tile_dpbusd(3, LEVELS, WEIGHTS);                                         \
    }                                                                           \
  } while (false)

// values (kTile, kBlock) of `vectors` vectors of a block.
template <int vectors>
BNNZOO_NOINLINE void multiply_tiles(const TileProducts& products, const uint8_t* input,
                                    const int32_t* weights, int64_t channel, float* values) {
  const Int8Conv2d& op = products.op;
  constexpr int64_t kPassBytes = kPass * sizeof(int32_t), kRowBytes = kBlock * sizeof(float);
  const int64_t pass_weights = int64_t{op.runs} * op.run_length * kPass;
  _tile_zero(0);
  if constexpr (vectors > 1) _tile_zero(1);
  if constexpr (vectors > 2) _tile_zero(2);
  if constexpr (vectors > 3) _tile_zero(3);
  const int32_t rest = op.run_length % kTileQuads;
  for (int32_t run = 0; run < op.runs; ++run) {
    const uint8_t* from = input + op.offsets[run];
    for (int32_t quad = rest; quad < op.run_length; quad += kTileQuads) {
      BNNZOO_MULTIPLY_TILES(4, 5);
      from += kTileQuads * TileProducts::step;
      weights += kTileQuads * kPass;
    }
    if (rest > 0) {
      BNNZOO_MULTIPLY_TILES(6, 7);
      weights += rest * kPass;
    }
  }
  _tile_stored(0, values, kRowBytes);
  if constexpr (vectors > 1) _tile_stored(1, values + Vector::lanes, kRowBytes);
  if constexpr (vectors > 2) _tile_stored(2, values + 2 * Vector::lanes, kRowBytes);
  if constexpr (vectors > 3) _tile_stored(3, values + 3 * Vector::lanes, kRowBytes);
  for (int p = 0; p < kTile; ++p, values += kBlock) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      const Sums sum = load_sums(reinterpret_cast<const int32_t*>(values) + v * Vector::lanes);
      const int64_t lanes = channel + v * Vector::lanes;
      store(values + v * Vector::lanes, products.value(add(sum, products.first(lanes)), lanes));
    }
  }
}

#undef BNNZOO_MULTIPLY_TILES

BNNZOO_INLINE void multiply_block(const TileProducts& products, int count, const uint8_t* input,
                                  const int32_t* weights, const Place& at, float* values) {
  if (count < kTile) {
    multiply_block<Int8Products>(products, count, input, weights, at, values);
    return;
  }
  const int64_t channel = int64_t{at.block} * kBlock;
  switch ((at.channels + Vector::lanes - 1) / Vector::lanes) {
    case 1: multiply_tiles<1>(products, input, weights, channel, values); break;
    case 2: multiply_tiles<2>(products, input, weights, channel, values); break;
    case 3: multiply_tiles<3>(products, input, weights, channel, values); break;
    default: multiply_tiles<4>(products, input, weights, channel, values);
  }
}

void amx_int8_conv2d(const Int8Conv2d& op, const Range& range) {
  if (range.pixel_end - range.pixel_begin < kTile) {
    int8_conv2d(op, range);
    return;
  }
  shape_tiles(op.run_length);
  convolve<TileProducts>(op, range);
  _tile_release();
}
