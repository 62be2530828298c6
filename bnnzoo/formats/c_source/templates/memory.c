/* @call */
/* A cell of memory: a real number, 32 bits of signs or levels, or a number in 8 bits. */
typedef union {
    float real;
    uint32_t word;
    int32_t level;
} cell;

/* One call, y = op(x, z). z is a second input or room to work in. */
typedef struct call {
    void (*op)(const struct call *c);
    const void *settings;
    cell *y;
    const cell *x;
    cell *z;
} call;

/* @popcount */
/* How many bits of a word are 1. */
#if defined(__GNUC__) && !defined(BNN_POPCOUNT_TABLE)
static int32_t popcount(uint32_t word)
{
    return sizeof(unsigned) >= 4 ? __builtin_popcount((unsigned)word) : __builtin_popcountl(word);
}
#else
#define P1(n) (n), (n) + 1, (n) + 1, (n) + 2
#define P2(n) P1(n), P1((n) + 1), P1((n) + 1), P1((n) + 2)
#define P3(n) P2(n), P2((n) + 1), P2((n) + 1), P2((n) + 2)
static const uint8_t ones[256] = {P3(0), P3(1), P3(1), P3(2)};

static int32_t popcount(uint32_t word)
{
    return ones[word & 255] + ones[word >> 8 & 255] + ones[word >> 16 & 255] + ones[word >> 24];
}
#endif

/* @words */
/* Number of words for the channels of a pixel; bits after the last channel are 0. */
static int32_t words(int32_t channels)
{
    return (channels + 31) / 32;
}

/* @copy_bits */
/* Copies n bits of x, from bit `from` on, to bit `to` of y, where bits are 0. */
static void copy_bits(const cell *x, int32_t from, cell *y, int32_t to, int32_t n)
{
    while (n > 0) {
        const int32_t right = from % 32, left = to % 32;
        const int32_t room = 32 - (right > left ? right : left);
        const int32_t count = n < room ? n : room;
        const uint32_t kept = (uint32_t)0xffffffff >> (32 - count);

        y[to / 32].word |= (x[from / 32].word >> right & kept) << left;
        from += count;
        to += count;
        n -= count;
    }
}

/* @set_bits */
/* Sets n bits of y, from bit `to` on. */
static void set_bits(cell *y, int32_t to, int32_t n)
{
    for (; n > 0; to++, n--)
        y[to / 32].word |= (uint32_t)1 << to % 32;
}

/* @walk */
/* A walk over an array of some axes; a step is the distance of neighbours along an axis. */
typedef struct {
    int32_t axes;
    int32_t size[8], step_x[8], step_z[8], step_y[8];
} walk;

/* Goes to the next row, along the last axis, of a walk; returns 0 after the last row. */
static int next_row(const walk *s, int32_t *place, int32_t *x, int32_t *z, int32_t *y)
{
    int32_t axis;

    for (axis = s->axes - 2; axis >= 0; axis--) {
        *x += s->step_x[axis];
        *z += s->step_z[axis];
        *y += s->step_y[axis];
        if (++place[axis] < s->size[axis])
            return 1;
        place[axis] = 0;
        *x -= s->size[axis] * s->step_x[axis];
        *z -= s->size[axis] * s->step_z[axis];
        *y -= s->size[axis] * s->step_y[axis];
    }
    return 0;
}

/* @copy needs walk */
static void copy(const call *c)
{
    const walk *s = c->settings;
    const int32_t last = s->axes - 1;
    int32_t place[8] = {0}, x = 0, z = 0, y = 0, k;

    do {
        for (k = 0; k < s->size[last]; k++)
            c->y[y + k * s->step_y[last]] = c->x[x + k * s->step_x[last]];
    } while (next_row(s, place, &x, &z, &y));
}

/* @combine needs walk */
/* y = function(x, z), number by number. */
typedef struct {
    walk over;
    float (*function)(float x, float z);
} combination;

static void combine(const call *c)
{
    const combination *s = c->settings;
    const int32_t last = s->over.axes - 1;
    const int32_t step_x = s->over.step_x[last], step_z = s->over.step_z[last];
    int32_t place[8] = {0}, x = 0, z = 0, y = 0, k;

    do {
        for (k = 0; k < s->over.size[last]; k++)
            c->y[y + k * s->over.step_y[last]].real =
                s->function(c->x[x + k * step_x].real, c->z[z + k * step_z].real);
    } while (next_row(&s->over, place, &x, &z, &y));
}

/* @sum needs combine */
static float sum(float x, float z)
{
    return x + z;
}

/* @difference needs combine */
static float difference(float x, float z)
{
    return x - z;
}

/* @product needs combine */
static float product(float x, float z)
{
    return x * z;
}

/* @resize2d */
/* Another size of an image: a pixel is between two old rows and two old columns. */
typedef struct {
    int32_t result[2];
    int32_t width; /* of the old image */
    int32_t channels;
    const int32_t *rows, *next_rows, *columns, *next_columns;
    const float *down, *right; /* how far it is from the first to the next, 0 to 1 */
} resizing;

static void resize2d(const call *c)
{
    const resizing *s = c->settings;
    cell *y = c->y;
    int32_t i, j, k;

    for (i = 0; i < s->result[0]; i++)
        for (j = 0; j < s->result[1]; j++) {
            const cell *above = c->x + s->rows[i] * s->width * s->channels;
            const cell *below = c->x + s->next_rows[i] * s->width * s->channels;
            const int32_t a = s->columns[j] * s->channels, b = s->next_columns[j] * s->channels;
            const float down = s->down[i], right = s->right[j];

            for (k = 0; k < s->channels; k++, y++) {
                float top = above[a + k].real, bottom = below[a + k].real;

                if (right != 0.0f) {
                    top += right * (above[b + k].real - top);
                    bottom += right * (below[b + k].real - bottom);
                }
                y->real = down != 0.0f ? top + down * (bottom - top) : top;
            }
        }
}

/* @fill */
typedef struct {
    int32_t count;
    float value;
} filling;

static void fill(const call *c)
{
    const filling *s = c->settings;
    int32_t i;

    for (i = 0; i < s->count; i++)
        c->y[i].real = s->value;
}

/* @reshape_bits needs words copy_bits */
/* Signs or levels for which another number of channels means other words. */
typedef struct {
    int32_t count;
    int32_t channels_x, channels_y;
    int32_t planes; /* 1 for signs, one per bit of levels */
} reshaping;

static void reshape_bits(const call *c)
{
    const reshaping *s = c->settings;
    const int32_t words_x = words(s->channels_x), words_y = words(s->channels_y);
    int32_t done, n, plane;

    memset(c->y, 0, (size_t)(s->count / s->channels_y * s->planes * words_y) * sizeof(cell));
    for (done = 0; done < s->count; done += n) {
        const int32_t from = done % s->channels_x, to = done % s->channels_y;
        const int32_t left_x = s->channels_x - from, left_y = s->channels_y - to;

        n = left_x < left_y ? left_x : left_y;
        for (plane = 0; plane < s->planes; plane++)
            copy_bits(c->x + (done / s->channels_x * s->planes + plane) * words_x, from,
                      c->y + (done / s->channels_y * s->planes + plane) * words_y, to, n);
    }
}
