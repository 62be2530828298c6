/* @window */
/* A window that slides over an image; pairs are (down, right). */
typedef struct {
    int32_t image[2];    /* rows and columns */
    int32_t result[2];   /* places of the window */
    int32_t taps[2];     /* of the window */
    int32_t strides[2];  /* from one place to the next */
    int32_t dilation[2]; /* from one tap to the next */
    int32_t before[2];   /* padding above and on the left */
} window;

/* The pixel at a tap (u, v) of the window at (i, j), -1 outside the image. */
static int32_t pixel_at(const window *s, int32_t i, int32_t j, int32_t u, int32_t v)
{
    const int32_t row = i * s->strides[0] + u * s->dilation[0] - s->before[0];
    const int32_t column = j * s->strides[1] + v * s->dilation[1] - s->before[1];

    if (row < 0 || row >= s->image[0] || column < 0 || column >= s->image[1])
        return -1;
    return row * s->image[1] + column;
}

/* @bconv2d needs window words popcount copy_bits set_bits */
/* A binary kernel over signs or levels. */
typedef struct {
    window at;
    int32_t groups;
    int32_t channels;         /* per group */
    int32_t filters;          /* per group */
    int32_t planes;           /* of levels, 0 for signs */
    int32_t pad;              /* -1, 0 or +1 around signs; +1, bits of 0, around levels */
    const uint32_t *kernel;   /* bits in the order row, column, channel; a filter begins a word */
    const int32_t *threshold; /* a sum below is -1; NULL if the sums are the result */
} binary_conv;

/* Gathers the bits below the window for one group; `outside` marks the taps without a pixel.
   Returns how many these are. */
static int32_t gather_bits(const binary_conv *s, const cell *x, int32_t i, int32_t j, int32_t group,
                           cell *patch, cell *outside)
{
    const int32_t planes = s->planes ? s->planes : 1;
    const int32_t size = words(s->at.taps[0] * s->at.taps[1] * s->channels);
    const int32_t row = words(s->groups * s->channels);
    int32_t u, v, plane, to = 0, missing = 0;

    memset(patch, 0, (size_t)((planes + 1) * size) * sizeof(cell));
    for (u = 0; u < s->at.taps[0]; u++)
        for (v = 0; v < s->at.taps[1]; v++, to += s->channels) {
            const int32_t pixel = pixel_at(&s->at, i, j, u, v);

            if (pixel < 0) {
                missing++;
                set_bits(s->pad < 0 ? patch : outside, to, s->pad > 0 ? 0 : s->channels);
                continue;
            }
            for (plane = 0; plane < planes; plane++)
                copy_bits(x + (pixel * planes + plane) * row, group * s->channels,
                          patch + plane * size, to, s->channels);
        }
    return s->pad ? 0 : missing;
}

/* The sum over products of signs: where bits differ it is -1. */
static int32_t sum_of_signs(const cell *patch, const cell *outside, const uint32_t *kernel,
                            int32_t size, int32_t n)
{
    int32_t k, differ = 0;

    if (outside)
        for (k = 0; k < size; k++)
            differ += popcount((patch[k].word ^ kernel[k]) & ~outside[k].word);
    else
        for (k = 0; k < size; k++)
            differ += popcount(patch[k].word ^ kernel[k]);
    return n - 2 * differ;
}

/* The sum over products of signs and levels, plane by plane. */
static int32_t sum_of_levels(const cell *patch, const uint32_t *kernel, int32_t size,
                             int32_t planes)
{
    int32_t k, plane, sum = 0;

    for (plane = 0; plane < planes; plane++)
        for (k = 0; k < size; k++) {
            const uint32_t word = patch[plane * size + k].word;

            sum += (popcount(word) - 2 * popcount(word & kernel[k])) * ((int32_t)1 << plane);
        }
    return sum;
}

static void bconv2d(const call *c)
{
    const binary_conv *s = c->settings;
    const int32_t planes = s->planes ? s->planes : 1, all = s->groups * s->filters;
    const int32_t n = s->at.taps[0] * s->at.taps[1] * s->channels, size = words(n);
    const float highest = s->planes ? (float)(((int32_t)1 << s->planes) - 1) : 1.0f;
    cell *y = c->y, *outside = c->z + planes * size;
    int32_t i, j, group, o;

    for (i = 0; i < s->at.result[0]; i++)
        for (j = 0; j < s->at.result[1]; j++) {
            if (s->threshold)
                memset(y, 0, (size_t)words(all) * sizeof(cell));
            for (group = 0; group < s->groups; group++) {
                const int32_t missing = gather_bits(s, c->x, i, j, group, c->z, outside);

                for (o = group * s->filters; o < (group + 1) * s->filters; o++) {
                    const uint32_t *kernel = s->kernel + o * size;
                    const int32_t sum =
                        s->planes ? sum_of_levels(c->z, kernel, size, s->planes)
                                  : sum_of_signs(c->z, missing ? outside : NULL, kernel, size,
                                                 n - missing * s->channels);

                    if (!s->threshold)
                        y[o].real = (float)sum / highest;
                    else if (sum < s->threshold[o])
                        y[o / 32].word |= (uint32_t)1 << o % 32;
                }
            }
            y += s->threshold ? words(all) : all;
        }
}

/* @conv needs window */
/* A kernel over real numbers. */
typedef struct conv {
    window at;
    int32_t groups;
    int32_t channels; /* per group */
    int32_t filters;  /* per group */
    float (*product)(const struct conv *s, const cell *patch, int32_t n, int32_t o);
    const void *kernel;     /* in the order filter, row, column, channel */
    const float *scale;     /* of filters, where the kernel is in 8 bits */
    const float *threshold; /* a sum below is -1; NULL if the sums are the result */
} conv;

/* Gathers the numbers below the window for one group, 0 outside the image. */
static void gather(const conv *s, const cell *x, int32_t i, int32_t j, int32_t group, cell *patch)
{
    int32_t u, v, k;

    for (u = 0; u < s->at.taps[0]; u++)
        for (v = 0; v < s->at.taps[1]; v++, patch += s->channels) {
            const int32_t pixel = pixel_at(&s->at, i, j, u, v);

            if (pixel >= 0)
                memcpy(patch, x + (pixel * s->groups + group) * s->channels,
                       (size_t)s->channels * sizeof(cell));
            else
                for (k = 0; k < s->channels; k++)
                    patch[k].real = 0;
        }
}

/* Stores the sums of a pixel's group, as numbers or as signs. */
static void store(const conv *s, const cell *patch, int32_t n, int32_t group, float unit, cell *y)
{
    int32_t o;

    for (o = group * s->filters; o < (group + 1) * s->filters; o++) {
        const float sum = unit * s->product(s, patch, n, o);

        if (!s->threshold)
            y[o].real = sum;
        else if (sum < s->threshold[o])
            y[o / 32].word |= (uint32_t)1 << o % 32;
    }
}

/* @product_real needs conv */
static float product_real(const conv *s, const cell *patch, int32_t n, int32_t o)
{
    const float *kernel = (const float *)s->kernel + o * n;
    float sum = 0;
    int32_t k;

    for (k = 0; k < n; k++)
        sum += kernel[k] * patch[k].real;
    return sum;
}

/* @product_signs needs conv words */
static float product_signs(const conv *s, const cell *patch, int32_t n, int32_t o)
{
    const uint32_t *kernel = (const uint32_t *)s->kernel + o * words(n);
    float sum = 0;
    int32_t k;

    for (k = 0; k < n; k++)
        sum += kernel[k / 32] >> k % 32 & 1 ? -patch[k].real : patch[k].real;
    return sum;
}

/* @product_int8 needs conv */
static float product_int8(const conv *s, const cell *patch, int32_t n, int32_t o)
{
    const int8_t *kernel = (const int8_t *)s->kernel + o * n;
    float sum = 0;
    int32_t k;

    for (k = 0; k < n; k++)
        sum += (float)kernel[k] * patch[k].real;
    return s->scale[o] * sum;
}

/* @conv2d needs conv words */
static void conv2d(const call *c)
{
    const conv *s = c->settings;
    const int32_t n = s->at.taps[0] * s->at.taps[1] * s->channels, all = s->groups * s->filters;
    const int32_t step = s->threshold ? words(all) : all;
    cell *y = c->y;
    int32_t i, j, group;

    for (i = 0; i < s->at.result[0]; i++)
        for (j = 0; j < s->at.result[1]; j++, y += step) {
            if (s->threshold)
                memset(y, 0, (size_t)step * sizeof(cell));
            for (group = 0; group < s->groups; group++) {
                gather(s, c->x, i, j, group, c->z);
                store(s, c->z, n, group, 1.0f, y);
            }
        }
}

/* @conv2d_int8 needs conv words */
/* The sum over products of levels is exact. */
static float product_levels(const conv *s, const cell *patch, int32_t n, int32_t o)
{
    const int8_t *kernel = (const int8_t *)s->kernel + o * n;
    int32_t k, sum = 0;

    for (k = 0; k < n; k++)
        sum += kernel[k] * patch[k].level;
    return s->scale[o] * (float)sum;
}

/* The largest magnitude of an image, NAN if it has numbers that are not finite. */
static float largest_of(const cell *x, int32_t count)
{
    float largest = 0;
    int32_t i;

    for (i = 0; i < count; i++) {
        const float size = fabsf(x[i].real);

        if (!isfinite(size))
            return NAN;
        largest = size > largest ? size : largest;
    }
    return largest;
}

/* Inputs count in 8 bits: level = x * (127 / largest), rounded; below 2^-100 all is 0. */
static void conv2d_int8(const call *c)
{
    const conv *s = c->settings;
    const int32_t n = s->at.taps[0] * s->at.taps[1] * s->channels, all = s->groups * s->filters;
    const int32_t step = s->threshold ? words(all) : all;
    const float largest =
        largest_of(c->x, s->at.image[0] * s->at.image[1] * s->groups * s->channels);
    const int some = largest >= 7.8886090522101181e-31f;
    const float scale = some ? 127.0f / largest : 0.0f;
    const float unit = some ? largest / 127.0f : largest == largest ? 0.0f : largest;
    cell *y = c->y;
    int32_t i, j, group, k;

    for (i = 0; i < s->at.result[0]; i++)
        for (j = 0; j < s->at.result[1]; j++, y += step) {
            if (s->threshold)
                memset(y, 0, (size_t)step * sizeof(cell));
            for (group = 0; group < s->groups; group++) {
                gather(s, c->x, i, j, group, c->z);
                for (k = 0; k < n; k++)
                    c->z[k].level = some ? (int32_t)rintf(c->z[k].real * scale) : 0;
                store(s, c->z, n, group, unit, y);
            }
        }
}

/* @pooling needs window */
typedef struct {
    window at;
    int32_t channels;
    const uint32_t *least; /* bits of 1: channels of which the least sign is taken, or NULL */
} pooling;

/* @max_pool2d needs pooling */
static void max_pool2d(const call *c)
{
    const pooling *s = c->settings;
    cell *y = c->y;
    int32_t i, j, k, u, v;

    for (i = 0; i < s->at.result[0]; i++)
        for (j = 0; j < s->at.result[1]; j++, y += s->channels)
            for (k = 0; k < s->channels; k++) {
                y[k].real = -INFINITY;
                for (u = 0; u < s->at.taps[0]; u++)
                    for (v = 0; v < s->at.taps[1]; v++) {
                        const int32_t pixel = pixel_at(&s->at, i, j, u, v);

                        if (pixel >= 0 && c->x[pixel * s->channels + k].real > y[k].real)
                            y[k] = c->x[pixel * s->channels + k];
                    }
            }
}

/* @avg_pool2d needs pooling */
/* The mean of the numbers inside the image. */
static void avg_pool2d(const call *c)
{
    const pooling *s = c->settings;
    cell *y = c->y;
    int32_t i, j, k, u, v;

    for (i = 0; i < s->at.result[0]; i++)
        for (j = 0; j < s->at.result[1]; j++, y += s->channels)
            for (k = 0; k < s->channels; k++) {
                float sum = 0;
                int32_t inside = 0;

                for (u = 0; u < s->at.taps[0]; u++)
                    for (v = 0; v < s->at.taps[1]; v++) {
                        const int32_t pixel = pixel_at(&s->at, i, j, u, v);

                        if (pixel >= 0) {
                            sum += c->x[pixel * s->channels + k].real;
                            inside++;
                        }
                    }
                y[k].real = sum / (float)inside;
            }
}

/* @bmax_pool2d needs pooling words */
/* The largest sign is +1, a bit of 0, unless all are -1: an AND; the least is an OR. */
static void bmax_pool2d(const call *c)
{
    const pooling *s = c->settings;
    const int32_t size = words(s->channels);
    cell *y = c->y;
    int32_t i, j, k, u, v;

    for (i = 0; i < s->at.result[0]; i++)
        for (j = 0; j < s->at.result[1]; j++, y += size)
            for (k = 0; k < size; k++) {
                uint32_t every = 0xffffffff, any = 0;

                for (u = 0; u < s->at.taps[0]; u++)
                    for (v = 0; v < s->at.taps[1]; v++) {
                        const int32_t pixel = pixel_at(&s->at, i, j, u, v);

                        if (pixel >= 0) {
                            every &= c->x[pixel * size + k].word;
                            any |= c->x[pixel * size + k].word;
                        }
                    }
                y[k].word = s->least ? (every & ~s->least[k]) | (any & s->least[k]) : every;
            }
}

/* @global_avg_pool2d needs elements */
static void global_avg_pool2d(const call *c)
{
    const elements *s = c->settings;
    int32_t i, k;

    for (k = 0; k < s->channels; k++) {
        float sum = 0;

        for (i = k; i < s->count; i += s->channels)
            sum += c->x[i].real;
        c->y[k].real = sum / (float)(s->count / s->channels);
    }
}

/* @global_max_pool2d needs elements */
static void global_max_pool2d(const call *c)
{
    const elements *s = c->settings;
    int32_t i, k;

    for (k = 0; k < s->channels; k++) {
        c->y[k] = c->x[k];
        for (i = k; i < s->count; i += s->channels)
            if (c->x[i].real > c->y[k].real)
                c->y[k] = c->x[i];
    }
}
