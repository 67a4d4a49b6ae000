/* Attention in one kernel each way, without a matrix of scores in memory (Dao et al. 2022, Dao 2023).
 *
 * A block has 64 rows of queries (the gradients of key and value: 64 keys) of one head of one example, four warps with
 * 16 rows each, and goes through the keys (the queries) by tiles in shared memory. Products are mma.m16n8k16 with sums
 * in f32. What one product gives lies in the lanes as the next one takes its left operand, so that it need not leave
 * the registers. Forward, a row's maximum and total grow along with the tiles, and what was summed before is scaled to
 * the new maximum; both are stored for the gradients, which compute each score again.
 *
 * Two kinds of blocks make the gradients, so that every sum has one owner and one order: those of a tile of queries sum
 * over the keys (d_query), those of a tile of keys over the queries (d_key, d_value).
 *
 * Operands get their bias, and queries are multiplied by `query_scale`, when they are loaded; scores are rounded to the
 * type that they have in the graph, weights and the gradients of scores to the operands' type. Tiles above the diagonal
 * are left out where `causal`. Dropped weights are drawn as every other kernel draws them: by (seed, attempt, key) and
 * the element. */
namespace attention
{

using namespace tensor_cores;

enum { ROWS = 64, WARP_ROWS = 16, THREADS = 128 };

/* The integers of the kernel. Strides are of batch, head and row, in elements. */
struct shape {
    long long blocks, pairs, tiles, key_tiles, heads, queries, keys; /* pairs: of an example and a head */
    long long query[3], key[3], value[3], result[3], d_result[3], d_query[3], d_key[3], d_value[3];
    long long random_key, query_scale, keep, scale, joined_scale; /* all but the first: bits of floats */
};

struct buffers {
    const void *query, *key, *value, *d_result;
    const float *query_bias, *key_bias, *value_bias; /* a head's lie side by side; NULL: none */
    void *result, *d_query, *d_key, *d_value;
    float *maximum, *total; /* [batch, head, row] */
    const long long *seed, *attempt;
};

/* What is stored: the element itself or float. The last three are the gradients'. */
template <class result_, class d_query_ = void, class d_key_ = void, class d_value_ = void> struct stored {
    typedef result_ result;
    typedef d_query_ d_query;
    typedef d_key_ d_key;
    typedef d_value_ d_value;
};

template <class element_, class score_, class stored_, int width_, bool causal_, bool drops_, bool scales_,
          bool biased_>
struct variant {
    typedef element_ element;
    typedef score_ score;
    typedef stored_ kept;
    static constexpr int WIDTH = width_, LINE = 2 * width_, CHUNKS = width_ / 8;
    static constexpr bool causal = causal_, drops = drops_, scales = scales_, biased = biased_;
    static constexpr int STEP = width_ <= 64 ? 64 : 16; /* of the tiles that the gradients go by */
};

/* ---- where a block is ---- */

struct place {
    int tile, batch, head;
};

/* The longest come first: `causal` makes them the last tiles of queries, and the first ones of keys. */
__device__ inline place place_of(int block, const shape &s, bool queries)
{
    int tile = block / (int)s.pairs, rest = block % (int)s.pairs;
    return {queries ? (int)s.tiles - 1 - tile : tile, rest / (int)s.heads, rest % (int)s.heads};
}

template <class type> __device__ inline type *of_head(type *base, const long long (&stride)[3], const place &at)
{
    return base + at.batch * stride[0] + at.head * stride[1];
}

/* ---- tiles ---- */

/* Rows first … first + rows - 1 of a head, zeros behind its last. */
template <class V>
__device__ inline void load_tile(unsigned char *to, const typename V::element *from, long long stride, int rows,
                                 int first, int limit)
{
    unsigned address = shared_address(to);
    for (int i = (int)threadIdx.x; i < rows * V::CHUNKS; i += THREADS) {
        int row = i / V::CHUNKS, chunk = i % V::CHUNKS;
        bool valid = first + row < limit;
        copy_chunk(address + swizzle<V::LINE>(row, chunk), from + (valid ? (first + row) * stride : 0) + chunk * 8,
                   valid);
    }
}

__device__ inline void unpack(unsigned both, float &low, float &high, f16)
{
    low = widen(f16{(unsigned short)both});
    high = widen(f16{(unsigned short)(both >> 16)});
}

__device__ inline void unpack(unsigned both, float &low, float &high, bf16)
{
    low = widen(bf16{(unsigned short)both});
    high = widen(bf16{(unsigned short)(both >> 16)});
}

template <class element> __device__ inline unsigned pack_pair(float low, float high)
{
    element a, b;
    round_to(a, low);
    round_to(b, high);
    return a.bits | (unsigned)b.bits << 16;
}

/* What becomes of a tile as the thread itself loaded it: with its bias, rounded, times a scale, rounded. */
template <class V> __device__ inline void finish_tile(unsigned char *tile, int rows, const float *bias, float scale)
{
    typedef typename V::element element;
    for (int i = (int)threadIdx.x; i < rows * V::CHUNKS; i += THREADS) {
        int chunk = i % V::CHUNKS;
        uint4 *at = (uint4 *)(tile + swizzle<V::LINE>(i / V::CHUNKS, chunk));
        unsigned words[4] = {at->x, at->y, at->z, at->w};
        for (int k = 0; k < 4; k++) {
            float low, high;
            unpack(words[k], low, high, element());
            if (V::biased && bias)
                unpack(pack_pair<element>(low + bias[chunk * 8 + 2 * k], high + bias[chunk * 8 + 2 * k + 1]), low, high,
                       element());
            words[k] = pack_pair<element>(low * scale, high * scale);
        }
        *at = {words[0], words[1], words[2], words[3]};
    }
}

template <class V>
__device__ inline void finish_queries(unsigned char *tile, int rows, const buffers &b, const shape &s, const place &at)
{
    if constexpr (V::scales || V::biased)
        finish_tile<V>(tile, rows, b.query_bias ? b.query_bias + at.head * s.query[1] : nullptr,
                       __int_as_float((int)s.query_scale));
}

template <class V>
__device__ inline void finish_keys(unsigned char *tile, int rows, const buffers &b, const shape &s, const place &at)
{
    if constexpr (V::biased)
        if (b.key_bias)
            finish_tile<V>(tile, rows, b.key_bias + at.head * s.key[1], 1);
}

template <class V>
__device__ inline void finish_values(unsigned char *tile, int rows, const buffers &b, const shape &s, const place &at)
{
    if constexpr (V::biased)
        if (b.value_bias)
            finish_tile<V>(tile, rows, b.value_bias + at.head * s.value[1], 1);
}

/* ---- products of a warp's 16 rows ----
 *
 * Sums of 8 columns lie in four registers: columns 2 (lane % 4) and the next one of row lane / 4, then of the row 8
 * below. */

__device__ inline int lane_row(int element)
{
    return (int)threadIdx.x % 32 / 4 + element / 2 * 8;
}

__device__ inline int lane_column(int element)
{
    return (int)threadIdx.x % 4 * 2 + element % 2;
}

/* sums[16, columns] += left[16, WIDTH] right[columns, WIDTH]', both tiles */
template <class V, int columns>
__device__ inline void multiply_lines(float (&sums)[columns / 8][4], const unsigned char *left, int row,
                                      const unsigned char *right)
{
    const int lane = threadIdx.x % 32;
    const unsigned rows = shared_address(left), lines = shared_address(right);
#pragma unroll
    for (int k = 0; k < V::WIDTH / 16; k++) {
        unsigned a[4], b[4];
        load_matrices<false>(a, rows + swizzle<V::LINE>(row + lane % 16, k * 2 + lane / 16));
#pragma unroll
        for (int j = 0; j < columns / 16; j++) {
            load_matrices<false>(b, lines + swizzle<V::LINE>(j * 16 + lane / 16 * 8 + lane % 8, k * 2 + lane / 8 % 2));
            multiply(sums[2 * j], a, b[0], b[1], typename V::element());
            multiply(sums[2 * j + 1], a, b[2], b[3], typename V::element());
        }
    }
}

/* sums[16, WIDTH] += left[16, depth] right[depth, WIDTH], the left one rounded sums of another product */
template <class V, int depth>
__device__ inline void multiply_columns(float (&sums)[V::WIDTH / 8][4], const float (&left)[depth / 8][4],
                                        const unsigned char *right)
{
    typedef typename V::element element;
    const int lane = threadIdx.x % 32;
    const unsigned lines = shared_address(right);
#pragma unroll
    for (int k = 0; k < depth / 16; k++) {
        const float(&low)[4] = left[2 * k], (&high)[4] = left[2 * k + 1];
        unsigned a[4] = {pack_pair<element>(low[0], low[1]), pack_pair<element>(low[2], low[3]),
                         pack_pair<element>(high[0], high[1]), pack_pair<element>(high[2], high[3])};
        unsigned b[4];
#pragma unroll
        for (int j = 0; j < V::WIDTH / 16; j++) {
            load_matrices<true>(b, lines + swizzle<V::LINE>(k * 16 + lane / 8 % 2 * 8 + lane % 8, j * 2 + lane / 16));
            multiply(sums[2 * j], a, b[0], b[1], element());
            multiply(sums[2 * j + 1], a, b[2], b[3], element());
        }
    }
}

/* Halves go through the warp's own rows of a tile, so that rows are stored in chunks. */
template <class V>
__device__ inline void store_rows(const float (&sums)[V::WIDTH / 8][4], unsigned char *tile, int row,
                                  typename V::element *to, long long stride, int first, int limit)
{
    const int lane = threadIdx.x % 32;
    __syncwarp();
#pragma unroll
    for (int j = 0; j < V::WIDTH / 8; j++)
        for (int half = 0; half < 2; half++)
            *(unsigned *)(tile + swizzle<V::LINE>(row + lane_row(2 * half), j) + lane % 4 * 4) =
                pack_pair<typename V::element>(sums[j][2 * half], sums[j][2 * half + 1]);
    __syncwarp();
    for (int i = lane; i < WARP_ROWS * V::CHUNKS; i += 32) {
        int below = i / V::CHUNKS, chunk = i % V::CHUNKS;
        if (first + row + below < limit)
            *(uint4 *)(to + (first + row + below) * stride + chunk * 8) =
                *(const uint4 *)(tile + swizzle<V::LINE>(row + below, chunk));
    }
}

template <class V>
__device__ inline void store_rows(const float (&sums)[V::WIDTH / 8][4], unsigned char *, int row, float *to,
                                  long long stride, int first, int limit)
{
    for (int half = 0; half < 2; half++) {
        int at = first + row + lane_row(2 * half);
#pragma unroll
        for (int j = 0; j < V::WIDTH / 8; j++)
            if (at < limit)
                *(float2 *)(to + at * stride + j * 8 + lane_column(0)) = {sums[j][2 * half], sums[j][2 * half + 1]};
    }
}

/* ---- what every score goes through ---- */

template <class V> __device__ inline float rounded_score(float score)
{
    typename V::score rounded;
    round_to(rounded, score);
    return widen(rounded);
}

/* e^x to the last few bits, by the GPU's own instruction: what it is used for is rounded to halves. */
__device__ inline float exponential(float x)
{
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x * 1.44269504f));
    return power;
}

/* Which weights stay, and what they are multiplied by. */
template <class V> struct dropout {
    long long seed, attempt, key, row_elements, head;
    float keep, scale;
    bool by_four; /* rows begin with a block of random words: each has four neighbours of one row */

    __device__ dropout(const buffers &b, const shape &s, const place &at)
    {
        if constexpr (V::drops) {
            seed = *b.seed;
            attempt = *b.attempt;
            key = s.random_key;
            row_elements = s.keys;
            by_four = s.keys % 4 == 0;
            head = (at.batch * s.heads + at.head) * s.queries * s.keys;
            keep = __int_as_float((int)s.keep);
            scale = __int_as_float((int)s.scale);
        }
    }
    __device__ bool one(int query, int column) const
    {
        return uniform_bits(seed, attempt, key, head + query * row_elements, column) < keep;
    }
    /* Of two neighbours in a row, the first of which is even: one block of random words has both, unless the row's
     * first element is odd. Bits 0 and 1. */
    __device__ unsigned two(int query, int column) const
    {
        long long element = head + query * row_elements + column;
        if (element & 1)
            return (unsigned)one(query, column) | (unsigned)one(query, column + 1) << 1;
        blocks made = random_blocks(seed, attempt, key, element >> 2);
        bool high = element & 2;
        return (unsigned)(bits_to_uniform(high ? made.word[2] : made.word[0]) < keep) |
               (unsigned)(bits_to_uniform(high ? made.word[3] : made.word[1]) < keep) << 1;
    }
    /* Of the four from a multiple of 4 on. */
    __device__ unsigned four(int query, int column) const
    {
        blocks made = random_blocks(seed, attempt, key, (head + query * row_elements + column) >> 2);
        unsigned stay = 0;
#pragma unroll
        for (int i = 0; i < 4; i++)
            stay |= (unsigned)(bits_to_uniform(made.word[i]) < keep) << i;
        return stay;
    }
    /* Of the lane's part of `tiles` products side by side, bit 4 j + e of element e of product j; rows are queries, or
     * columns are. Lanes that need parts of the same blocks of random words make one each and tell each other: two
     * lanes side by side those of their two rows, four lanes below each other those of their four elements. In loops
     * that stay loops: thirty times the random words' code would be most of the kernel. */
    template <int tiles> __device__ unsigned of_rows(int query, int column) const
    {
        const int odd = (int)threadIdx.x % 2;
        unsigned stay = 0;
#pragma unroll 1
        for (int i = 0; i < tiles; i++) {
            unsigned upper, lower;
            if (by_four) {
                unsigned own = four(query + lane_row(2 * odd), column + i * 8 + lane_column(0) / 4 * 4);
                unsigned other = __shfl_xor_sync(~0u, own, 1);
                upper = odd ? other >> 2 : own & 3;
                lower = odd ? own >> 2 : other & 3;
            } else {
                upper = two(query + lane_row(0), column + i * 8 + lane_column(0));
                lower = two(query + lane_row(2), column + i * 8 + lane_column(0));
            }
            stay |= (upper | lower << 2) << 4 * i;
        }
        __syncwarp();
        return stay;
    }
    template <int tiles> __device__ unsigned of_columns(int query, int column) const
    {
        const int lane = (int)threadIdx.x % 32, turn = lane / 4 % 4;
        unsigned stay = 0;
#pragma unroll 1
        for (int i = 0; i < tiles; i++) {
            unsigned own = 0;
            if (by_four)
                own = four(query + i * 8 + lane_column(turn), column + lane_row(turn) / 4 * 4);
#pragma unroll 1
            for (int e = 0; e < 4; e++) {
                unsigned stays = by_four ? __shfl_sync(~0u, own, (lane & ~12) | e << 2) >> turn & 1
                                         : one(query + i * 8 + lane_column(e), column + lane_row(e));
                stay |= stays << (4 * i + e);
            }
        }
        __syncwarp();
        return stay;
    }
    __device__ float factor(unsigned stay, int bit) const
    {
        return stay >> bit & 1 ? scale : 0;
    }
};

/* ---- forward ---- */

template <class V> struct forward_memory {
    alignas(128) unsigned char query[ROWS * V::LINE], key[ROWS * V::LINE], value[ROWS * V::LINE];
};

/* The two rows of a lane. */
struct running {
    float maximum[2], total[2];
};

/* Scores become weights by the row's maximum so far; sums of earlier tiles are scaled to it. */
template <class V>
__device__ inline void soften(float (&scores)[ROWS / 8][4], float (&sums)[V::WIDTH / 8][4], running &run, int query,
                              int key, int keys)
{
    float highest[2] = {run.maximum[0], run.maximum[1]};
#pragma unroll
    for (int j = 0; j < ROWS / 8; j++)
        for (int e = 0; e < 4; e++) {
            int column = key + j * 8 + lane_column(e);
            bool outside = column >= keys || (V::causal && column > query + lane_row(e));
            scores[j][e] = outside ? -INFINITE : rounded_score<V>(scores[j][e]);
            highest[e / 2] = fmaxf(highest[e / 2], scores[j][e]);
        }
    float before[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        highest[half] = fmaxf(highest[half], __shfl_xor_sync(~0u, highest[half], 1));
        highest[half] = fmaxf(highest[half], __shfl_xor_sync(~0u, highest[half], 2));
        before[half] = exponential(run.maximum[half] - highest[half]);
        run.maximum[half] = highest[half];
        run.total[half] *= before[half];
    }
#pragma unroll
    for (int j = 0; j < V::WIDTH / 8; j++)
        for (int e = 0; e < 4; e++)
            sums[j][e] *= before[e / 2];
#pragma unroll
    for (int j = 0; j < ROWS / 8; j++)
        for (int e = 0; e < 4; e++) {
            scores[j][e] = exponential(scores[j][e] - highest[e / 2]);
            run.total[e / 2] += scores[j][e];
        }
}

template <class V>
__device__ inline void drop(float (&weights)[ROWS / 8][4], const dropout<V> &drops, int query, int key)
{
    const unsigned stay = drops.template of_rows<ROWS / 8>(query, key);
#pragma unroll
    for (int j = 0; j < ROWS / 8; j++)
        for (int e = 0; e < 4; e++) {
            float factor = drops.factor(stay, 4 * j + e);
            weights[j][e] = factor > 0 ? weights[j][e] * factor : 0;
        }
}

template <class V>
__device__ inline void finish_forward(float (&sums)[V::WIDTH / 8][4], running &run, const buffers &b, const shape &s,
                                      const place &at, int row, unsigned char *tile)
{
    const int first = at.tile * ROWS;
    float *maximum = b.maximum + (at.batch * s.heads + at.head) * s.queries;
    float *total = b.total + (at.batch * s.heads + at.head) * s.queries, share[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        run.total[half] += __shfl_xor_sync(~0u, run.total[half], 1);
        run.total[half] += __shfl_xor_sync(~0u, run.total[half], 2);
        share[half] = 1 / run.total[half];
        int query = first + row + lane_row(2 * half);
        if (threadIdx.x % 4 == 0 && query < s.queries) {
            maximum[query] = run.maximum[half];
            total[query] = run.total[half];
        }
    }
#pragma unroll
    for (int j = 0; j < V::WIDTH / 8; j++)
        for (int e = 0; e < 4; e++)
            sums[j][e] *= share[e / 2];
    typename V::kept::result *to = of_head((typename V::kept::result *)b.result, s.result, at);
    store_rows<V>(sums, tile, row, to, s.result[2], first, (int)s.queries);
}

template <class V>
__device__ inline void forward_block(int block, const buffers &b, const shape &s, forward_memory<V> &shared)
{
    typedef typename V::element element;
    const place at = place_of(block, s, true);
    const element *key = of_head((const element *)b.key, s.key, at);
    const element *value = of_head((const element *)b.value, s.value, at);
    const int first = at.tile * ROWS, row = (int)threadIdx.x / 32 * WARP_ROWS, keys = (int)s.keys;
    const int tiles = V::causal ? at.tile + 1 : (int)s.key_tiles;
    load_tile<V>(shared.query, of_head((const element *)b.query, s.query, at), s.query[2], ROWS, first, (int)s.queries);
    copies_commit();
    load_tile<V>(shared.key, key, s.key[2], ROWS, 0, keys);
    copies_commit();
    load_tile<V>(shared.value, value, s.value[2], ROWS, 0, keys);
    copies_commit();
    copies_wait<2>();
    finish_queries<V>(shared.query, ROWS, b, s, at);

    const dropout<V> drops(b, s, at);
    running run = {{-INFINITE, -INFINITE}, {0, 0}};
    float sums[V::WIDTH / 8][4] = {};
    for (int tile = 0; tile < tiles; tile++) {
        float scores[ROWS / 8][4] = {};
        copies_wait<1>();
        finish_keys<V>(shared.key, ROWS, b, s, at);
        __syncthreads();
        multiply_lines<V, ROWS>(scores, shared.query, row, shared.key);
        __syncthreads();
        if (tile + 1 < tiles)
            load_tile<V>(shared.key, key, s.key[2], ROWS, (tile + 1) * ROWS, keys);
        copies_commit();
        soften<V>(scores, sums, run, first + row, tile * ROWS, keys);
        if constexpr (V::drops)
            drop<V>(scores, drops, first + row, tile * ROWS);
        copies_wait<1>();
        finish_values<V>(shared.value, ROWS, b, s, at);
        __syncthreads();
        multiply_columns<V, ROWS>(sums, scores, shared.value);
        __syncthreads();
        if (tile + 1 < tiles)
            load_tile<V>(shared.value, value, s.value[2], ROWS, (tile + 1) * ROWS, keys);
        copies_commit();
    }
    copies_wait<0>();
    finish_forward<V>(sums, run, b, s, at, row, shared.query);
}

template <class V> __device__ inline void forward(const buffers &b, const shape &s)
{
    __shared__ forward_memory<V> shared;
    for (int block = (int)blockIdx.x; block < s.blocks; block += (int)gridDim.x) {
        forward_block<V>(block, b, s, shared);
        __syncthreads();
    }
}

} // namespace attention
