/* Convolutions as matrix products whose operands are gathered while they are loaded (implicit GEMM).
 *
 *   kind      rows of the product      columns    summed over k          rows times columns
 *   FORWARD   places of y              o          (tap, c)               x times weight
 *   DATA      places of x, one class   c          (tap, o)               dy times weight
 *   WEIGHT    o                        (tap, c)   places of y            dy times x
 *
 * A tap is an element of the kernel window. In FORWARD and WEIGHT, place q of y meets at tap i the place
 * q * stride - pad + i * dilation of x. DATA runs this backwards: place p of x meets place (p + pad - i * dilation) /
 * stride of dy where that is whole. So the places of x fall into classes by their remainder of the stride; in one class
 * only every `period`th tap counts, and with these alone it is a convolution of stride 1 (`axis_of_class`): nothing is
 * multiplied by zeros that a stride put in between.
 *
 * A block computes a tile of M x N results. Tiles of both operands stream through STAGES buffers in shared memory, 64
 * bytes of k at a time. A tile lies there as lines of 16-byte chunks, exchanged within their line (`swizzle`) so that
 * neither the copies into it nor the reads from it meet in a bank. A line is a row (or column) of the product and runs
 * along k where the operand in memory does so too, else it is one k: `ldmatrix.trans` reads both alike. Where channels
 * come in multiples of a chunk, chunks are copied by cp.async (VECTOR); else they are gathered by elements.
 *
 * Half operands are multiplied by mma.m16n8k16 with sums in f32, f32 operands by fused multiply-adds. Results go
 * through shared memory once more, so that they are stored along their channels, rounded once. A tail is computed of
 * them there, element by element, and may have sums over rows (`no_tail`). Statistics are, for each channel, the sum of
 * what was stored and the sum of squared distances from its mean: each tile gives its own, the last blocks of a column
 * of tiles merge them in order (Chan et al. 1979). SPLIT divides k among several blocks; the last of them to finish
 * adds all their tiles in order. So no result depends on which block is faster. Blocks count themselves in `counters`,
 * which are zero before and after each launch.
 *
 * Outside of the image a product counts as 0 * weight. */
namespace convolution
{

using namespace tensor_cores;

enum kind { FORWARD, DATA, WEIGHT };
enum epilogue { SUM = 8, M2 = 16, STATISTICS = SUM | M2 }; /* as the program's */

/* ---- arguments ---- */

/* Division of numbers below 2^31 by a number that is known beforehand: the low half of `divider` is a multiplier, the
 * high half a shift (Granlund and Montgomery 1994). */
__device__ inline int divide(int value, long long divider)
{
    return (int)((unsigned long long)(unsigned)value * (unsigned)divider >> (int)(divider >> 32));
}

/* One spatial axis; those that are missing stand in front with size 1. */
struct axis_shape {
    long long x, y, kernel, stride, dilation, pad;
    long long period; /* DATA: stride / gcd(stride, dilation) */
    /* DATA: for all classes but the first few, and for those, which have one place or one tap more. FORWARD and WEIGHT:
     * the first of the two alone. */
    long long places_divider[2], taps_divider[2];
};

struct shape {
    long long blocks, row_tiles, column_tiles, groups, splits;
    long long merged;                      /* records of statistics that are merged at a time */
    long long images, inputs, outputs;     /* channels are those of one group */
    long long x_image, x_place, x_channel; /* strides in elements */
    long long y_image, y_place, y_channel;
    long long weight_output, weight_input, weight_tap; /* strides too */
    long long y_places, y_places_divider;
    long long channel_divider; /* of inputs, DATA: outputs */
    axis_shape axis[3];
};

struct buffers {
    const void *a, *b; /* a is x or dy, b is the weight, for WEIGHT x */
    void *result;
    float *sum, *m2, *total[4]; /* of each channel */
    unsigned char *check;       /* whether something holds for all results */
    float *workspace;
    unsigned *counters;
};

/* ---- variants ---- */

template <int kind_, class element_, class of_, class result_, int epilogue_, int totals, bool check, int axes_, int m,
          int n, int warps_m, int warps_n, bool vector_a, bool vector_b, bool together_, bool split_>
struct variant {
    typedef element_ element;
    typedef of_ of; /* what a tail starts from; the result without one */
    typedef result_ result;
    static constexpr int kind = kind_, epilogue = epilogue_, axes = axes_, M = m, N = n;
    static constexpr int TOTALS = totals, KEPT = totals + ((epilogue & STATISTICS) != 0); /* sums over rows */
    static constexpr bool CHECK = check, RECORDS = KEPT > 0 || check;
    static constexpr bool VECTOR_A = vector_a, VECTOR_B = vector_b, split = split_;
    /* Not WEIGHT: four neighbouring columns are one aligned pack of the result. */
    static constexpr bool together = together_;
    static constexpr int WARPS_N = warps_n, THREADS = 32 * warps_m * warps_n, STAGES = 3;
    static constexpr int WARP_M = m / warps_m, WARP_N = n / warps_n;
    static constexpr int CHUNK = 16 / sizeof(element), K = 64 / sizeof(element);
    static constexpr int STEP_K = sizeof(element) == 2 ? 16 : 4; /* k of one round of products */
    /* A line of the tile is a row or column and runs along k; else it is one k. */
    static constexpr bool A_BY_K = kind != WEIGHT, B_BY_K = kind == FORWARD;
    static constexpr int A_BYTES = m * 64, B_BYTES = n * 64;
    static constexpr int PITCH = n + (sizeof(element) == 2 ? 8 : 4); /* floats of a row of staged results */
    static constexpr int TILES = STAGES * (A_BYTES + B_BYTES), STAGED = m * PITCH * 4;
    static constexpr int SHARED = TILES > STAGED ? TILES : STAGED;
    static constexpr int SUMS = WARP_M * WARP_N / 32; /* of one thread */
};

template <class V> struct shared_memory {
    alignas(128) unsigned char bytes[V::SHARED];
    long long row_offset[V::M];
    float sums[4 * V::THREADS];
    bool last;
};

/* ---- geometry ---- */

/* One axis as a block sees it: row q meets at its tap i the place q * step + base + i * delta, below `limit`, of what
 * is gathered; it stands for place q * place_step + place_first of the result, its tap i is tap_first + i * tap_step.
 */
struct axis {
    int count, taps, step, base, delta, limit, place_first, place_step, tap_first, tap_step;
    long long places_divider, taps_divider;
};

__device__ inline axis axis_forward(const axis_shape &s)
{
    return {(int)s.y, (int)s.kernel,       (int)s.stride,    -(int)s.pad, (int)s.dilation, (int)s.x, 0, 1, 0,
            1,        s.places_divider[0], s.taps_divider[0]};
}

/* The places first, first + stride, ... of x. */
__device__ inline axis axis_of_class(const axis_shape &s, int first)
{
    int stride = (int)s.stride, dilation = (int)s.dilation, period = (int)s.period, tap = 0;
    while (tap < period && (first + (int)s.pad - tap * dilation) % stride != 0)
        tap++;
    bool more_places = first < (int)s.x % stride, more_taps = tap < (int)s.kernel % period;
    int taps = tap == period ? 0 : (int)s.kernel / period + more_taps;
    return {(int)s.x / stride + more_places,
            taps,
            1,
            (first + (int)s.pad - tap * dilation) / stride,
            -period * dilation / stride,
            (int)s.y,
            first,
            stride,
            tap,
            period,
            s.places_divider[more_places],
            s.taps_divider[more_taps]};
}

/* What one block works at. Axes are those from 3 - V::axes on, kept from 0 on. */
template <class V> struct work {
    int row_tile, column_tile, group, split;
    int part, tile; /* class; number among the tiles with results of their own */
    axis axes[V::axes];
    int rows;           /* in all: of the product, WEIGHT: of the places it sums over */
    int channels;       /* of the gathered operand, in one group */
    int depth;          /* taps times channels */
    int k_begin, k_end; /* of this block */
};

template <class V> __device__ inline work<V> work_of(int block, const shape &s)
{
    work<V> w;
    w.tile = block;
    w.column_tile = block % (int)s.column_tiles;
    block /= (int)s.column_tiles;
    w.row_tile = block % (int)s.row_tiles;
    block /= (int)s.row_tiles;
    w.group = block % (int)s.groups;
    block /= (int)s.groups;
    w.split = V::split ? block % (int)s.splits : 0;
    int part = w.part = V::split ? block / (int)s.splits : block;
    if (V::split) {
        int tiles = (int)(s.column_tiles * s.row_tiles * s.groups);
        w.tile = w.tile % tiles + part * tiles;
    }
    int taps = 1;
    w.rows = (int)s.images;
    for (int i = V::axes - 1; i >= 0; i--) {
        const axis_shape &own = s.axis[3 - V::axes + i];
        w.axes[i] = V::kind == DATA ? axis_of_class(own, part % (int)own.stride) : axis_forward(own);
        if (V::kind == DATA)
            part /= (int)own.stride;
        taps *= w.axes[i].taps;
        w.rows *= w.axes[i].count;
    }
    w.channels = V::kind == DATA ? (int)s.outputs : (int)s.inputs;
    w.depth = taps * w.channels;
    int end = V::kind == WEIGHT ? w.rows : w.depth;
    w.k_begin = 0;
    w.k_end = end;
    if (V::split) {
        int steps = (end + V::K - 1) / V::K, each = (steps + (int)s.splits - 1) / (int)s.splits;
        w.k_begin = min(w.split * each * V::K, end);
        w.k_end = min(w.k_begin + each * V::K, end);
    }
    return w;
}

} // namespace convolution
