/* @elements */
/* Numbers of an image in sequence, and parameters per channel, or NULL. */
typedef struct {
    int32_t count;
    int32_t channels;
    const float *a, *b;
} elements;

/* @affine needs elements */
/* a * x + b */
static void affine(const call *c)
{
    const elements *s = c->settings;
    int32_t i, k;

    for (i = 0; i < s->count; i += s->channels)
        for (k = 0; k < s->channels; k++) {
            float number = c->x[i + k].real;

            if (s->a)
                number *= s->a[k];
            if (s->b)
                number += s->b[k];
            c->y[i + k].real = number;
        }
}

/* @prelu needs elements */
/* x where x >= 0, a * x elsewhere */
static void prelu(const call *c)
{
    const elements *s = c->settings;
    int32_t i, k;

    for (i = 0; i < s->count; i += s->channels)
        for (k = 0; k < s->channels; k++) {
            const float number = c->x[i + k].real;

            c->y[i + k].real = number >= 0 ? number : s->a[k] * number;
        }
}

/* @clip */
typedef struct {
    int32_t count;
    float low, high;
} clipping;

static void clip(const call *c)
{
    const clipping *s = c->settings;
    int32_t i;

    for (i = 0; i < s->count; i++) {
        float number = c->x[i].real;

        number = number < s->low ? s->low : number;
        c->y[i].real = number > s->high ? s->high : number;
    }
}

/* @sigmoid needs elements */
static void sigmoid(const call *c)
{
    const elements *s = c->settings;
    int32_t i;

    for (i = 0; i < s->count; i++)
        c->y[i].real = 0.5f + 0.5f * tanhf(0.5f * c->x[i].real);
}

/* @hyperbolic_tangent needs elements */
static void hyperbolic_tangent(const call *c)
{
    const elements *s = c->settings;
    int32_t i;

    for (i = 0; i < s->count; i++)
        c->y[i].real = tanhf(c->x[i].real);
}

/* @softmax needs elements */
/* exp(x - max) / sum, over the channels of each pixel */
static void softmax(const call *c)
{
    const elements *s = c->settings;
    int32_t i, k;

    for (i = 0; i < s->count; i += s->channels) {
        float largest = c->x[i].real, sum = 0;

        for (k = 1; k < s->channels; k++)
            if (c->x[i + k].real > largest)
                largest = c->x[i + k].real;
        for (k = 0; k < s->channels; k++) {
            const float power = expf(c->x[i + k].real - largest);

            c->y[i + k].real = power;
            sum += power;
        }
        for (k = 0; k < s->channels; k++)
            c->y[i + k].real /= sum;
    }
}

/* @sign needs elements words */
/* -1, a bit of 1, where b * x < a, or where x < 0; b is -1 or +1. */
static void sign(const call *c)
{
    const elements *s = c->settings;
    cell *y = c->y;
    int32_t i, k;

    for (i = 0; i < s->count; i += s->channels) {
        memset(y, 0, (size_t)words(s->channels) * sizeof(cell));
        for (k = 0; k < s->channels; k++) {
            const float number = c->x[i + k].real;

            if (s->a ? s->b[k] * number < s->a[k] : number < 0)
                y[k / 32].word |= (uint32_t)1 << k % 32;
        }
        y += words(s->channels);
    }
}

/* @levels */
/* Levels 0 .. 2^planes - 1 are stored per pixel in planes, one per bit; signs have `planes` 0. */
typedef struct {
    int32_t count;
    int32_t channels;
    int32_t planes;
} levels;

/* @quantize needs levels words */
/* Double, in which the product is exact: a level must not depend on its rounding. */
static void quantize(const call *c)
{
    const levels *s = c->settings;
    const double highest = (double)(((int32_t)1 << s->planes) - 1);
    cell *y = c->y;
    int32_t i, k, plane;

    for (i = 0; i < s->count; i += s->channels) {
        memset(y, 0, (size_t)(s->planes * words(s->channels)) * sizeof(cell));
        for (k = 0; k < s->channels; k++) {
            const float number = c->x[i + k].real;
            const double clipped = !(number > 0) ? 0 : number > 1 ? 1 : number;
            const uint32_t level = (uint32_t)rint(clipped * highest);

            for (plane = 0; plane < s->planes; plane++)
                y[plane * words(s->channels) + k / 32].word |= (level >> plane & 1) << k % 32;
        }
        y += s->planes * words(s->channels);
    }
}

/* @dequantize needs levels words */
static void dequantize(const call *c)
{
    const levels *s = c->settings;
    const float highest = (float)(((int32_t)1 << s->planes) - 1);
    const int32_t planes = s->planes ? s->planes : 1;
    const cell *x = c->x;
    int32_t i, k, plane;

    for (i = 0; i < s->count; i += s->channels) {
        for (k = 0; k < s->channels; k++) {
            uint32_t level = 0;

            for (plane = 0; plane < planes; plane++)
                level |= (x[plane * words(s->channels) + k / 32].word >> k % 32 & 1) << plane;
            c->y[i + k].real = s->planes ? (float)level / highest : level ? -1.0f : 1.0f;
        }
        x += planes * words(s->channels);
    }
}
