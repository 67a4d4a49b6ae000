/* The gradients of attention. With w = exp(score - maximum) / total, every one of them comes from
 *
 *     d_score = w (d_weight - sum over the row of d_weight w),  that sum being the one of d_result result. */
namespace attention
{

template <class V> struct gradient_memory {
    alignas(128) unsigned char own[2][ROWS * V::LINE], other[2][V::STEP * V::LINE];
    float maximum[V::STEP], share[V::STEP], sum[V::STEP]; /* of the rows of `other` */
};

/* ---- rows ---- */

/* Eight numbers side by side. */
template <class element> __device__ inline void load_chunk(float (&to)[8], const element *from)
{
    uint4 four = *(const uint4 *)from;
    unsigned words[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
    for (int k = 0; k < 4; k++)
        unpack(words[k], to[2 * k], to[2 * k + 1], element());
}

__device__ inline void load_chunk(float (&to)[8], const float *from)
{
#pragma unroll
    for (int k = 0; k < 8; k += 4) {
        float4 four = *(const float4 *)(from + k);
        to[k] = four.x, to[k + 1] = four.y, to[k + 2] = four.z, to[k + 3] = four.w;
    }
}

/* The part of sum d_result * result that is in every `step`th chunk from `chunk` on. */
template <class V>
__device__ inline float part_of_sum(const unsigned char *d_result, int row, const typename V::kept::result *result,
                                    int chunk, int step)
{
    float sum = 0;
    for (; chunk < V::CHUNKS; chunk += step) {
        float a[8], b[8];
        load_chunk(a, (const typename V::element *)(d_result + swizzle<V::LINE>(row, chunk)));
        load_chunk(b, result + chunk * 8);
#pragma unroll
        for (int k = 0; k < 8; k++)
            sum += a[k] * b[k];
    }
    return sum;
}

/* What the score's row must know; rows behind the last count as if nothing came of them. */
struct row_facts {
    float maximum, share, sum; /* share: one over the total */
};

template <class V, int threads>
__device__ inline row_facts facts_of(const unsigned char *d_result, int row, int query, int part, const buffers &b,
                                     const shape &s, const place &at)
{
    bool valid = query < s.queries;
    long long index = (at.batch * s.heads + at.head) * s.queries + query;
    const typename V::kept::result *result = of_head((const typename V::kept::result *)b.result, s.result, at);
    row_facts facts = {valid ? b.maximum[index] : 0, valid ? 1 / b.total[index] : 1, 0};
    facts.sum = valid ? part_of_sum<V>(d_result, row, result + query * s.result[2], part, threads) : 0;
#pragma unroll
    for (int distance = 1; distance < threads; distance *= 2)
        facts.sum += __shfl_xor_sync(~0u, facts.sum, distance);
    return facts;
}

/* From a score and the gradient of its dropped weight: the weight as the value meets it, and the score's gradient. */
template <class V>
__device__ inline void differentiate(float &score, float &d_dropped, const row_facts &row, float factor, bool outside)
{
    float weight = exponential(rounded_score<V>(score) - row.maximum) * row.share;
    float d_weight = factor > 0 ? d_dropped * factor : 0;
    score = outside || !(factor > 0) ? 0 : weight * factor;
    d_dropped = outside ? 0 : weight * (d_weight - row.sum);
}

/* ---- d_query: a tile of queries goes through the keys ---- */

template <class V>
__device__ inline void differentiate_rows(float (&scores)[V::STEP / 8][4], float (&d_weights)[V::STEP / 8][4],
                                          const row_facts (&rows)[2], const dropout<V> &drops, int query, int key,
                                          int keys)
{
    unsigned stay = 0;
    if constexpr (V::drops)
        stay = drops.template of_rows<V::STEP / 8>(query, key);
#pragma unroll
    for (int j = 0; j < V::STEP / 8; j++)
        for (int e = 0; e < 4; e++) {
            int below = query + lane_row(e), column = key + j * 8 + lane_column(e);
            bool outside = column >= keys || (V::causal && column > below);
            float factor = V::drops ? drops.factor(stay, 4 * j + e) : 1;
            differentiate<V>(scores[j][e], d_weights[j][e], rows[e / 2], factor, outside);
        }
}

/* Where the gradients are stored side by side, that of the scaled query becomes that of the query: rounded before. */
template <class V> __device__ inline void scale_rows(float (&sums)[V::WIDTH / 8][4], float scale)
{
    if (scale == 1)
        return;
#pragma unroll
    for (int j = 0; j < V::WIDTH / 8; j++)
        for (int e = 0; e < 4; e++) {
            typename V::element rounded;
            round_to(rounded, sums[j][e]);
            sums[j][e] = widen(rounded) * scale;
        }
}

template <class V>
__device__ inline void query_block(int block, const buffers &b, const shape &s, gradient_memory<V> &shared)
{
    typedef typename V::element element;
    constexpr int STEP = V::STEP;
    const place at = place_of(block, s, true);
    const element *key = of_head((const element *)b.key, s.key, at);
    const element *value = of_head((const element *)b.value, s.value, at);
    const int first = at.tile * ROWS, row = (int)threadIdx.x / 32 * WARP_ROWS, keys = (int)s.keys;
    const int end = V::causal && first + ROWS < keys ? first + ROWS : keys;
    load_tile<V>(shared.own[0], of_head((const element *)b.query, s.query, at), s.query[2], ROWS, first,
                 (int)s.queries);
    load_tile<V>(shared.own[1], of_head((const element *)b.d_result, s.d_result, at), s.d_result[2], ROWS, first,
                 (int)s.queries);
    copies_commit();
    copies_wait<0>();
    finish_queries<V>(shared.own[0], ROWS, b, s, at);
    __syncthreads();

    const dropout<V> drops(b, s, at);
    row_facts rows[2];
    for (int half = 0; half < 2; half++)
        rows[half] = facts_of<V, 4>(shared.own[1], row + lane_row(2 * half), first + row + lane_row(2 * half),
                                    (int)threadIdx.x % 4, b, s, at);
    float sums[V::WIDTH / 8][4] = {};
    for (int from = 0; from < end; from += STEP) {
        load_tile<V>(shared.other[0], key, s.key[2], STEP, from, keys);
        load_tile<V>(shared.other[1], value, s.value[2], STEP, from, keys);
        copies_commit();
        copies_wait<0>();
        finish_keys<V>(shared.other[0], STEP, b, s, at);
        finish_values<V>(shared.other[1], STEP, b, s, at);
        __syncthreads();
        float scores[STEP / 8][4] = {}, d_weights[STEP / 8][4] = {};
        multiply_lines<V, STEP>(scores, shared.own[0], row, shared.other[0]);
        multiply_lines<V, STEP>(d_weights, shared.own[1], row, shared.other[1]);
        differentiate_rows<V>(scores, d_weights, rows, drops, first + row, from, keys);
        multiply_columns<V, STEP>(sums, d_weights, shared.other[0]);
        __syncthreads();
    }
    scale_rows<V>(sums, __int_as_float((int)s.joined_scale));
    store_rows<V>(sums, shared.own[0], row, of_head((typename V::kept::d_query *)b.d_query, s.d_query, at), s.d_query[2], first,
                  (int)s.queries);
}

/* ---- d_key and d_value: a tile of keys goes through the queries; rows of products are keys ---- */

template <class V>
__device__ inline void differentiate_columns(float (&scores)[V::STEP / 8][4], float (&d_weights)[V::STEP / 8][4],
                                             const gradient_memory<V> &shared, const dropout<V> &drops, int key,
                                             int query, int queries)
{
    unsigned stay = 0;
    if constexpr (V::drops)
        stay = drops.template of_columns<V::STEP / 8>(query, key);
#pragma unroll
    for (int j = 0; j < V::STEP / 8; j++)
        for (int e = 0; e < 4; e++) {
            int column = j * 8 + lane_column(e), own = key + lane_row(e);
            bool outside = query + column >= queries || (V::causal && own > query + column);
            float factor = V::drops ? drops.factor(stay, 4 * j + e) : 1;
            row_facts row = {shared.maximum[column], shared.share[column], shared.sum[column]};
            differentiate<V>(scores[j][e], d_weights[j][e], row, factor, outside);
        }
}

template <class V>
__device__ inline void load_queries(const buffers &b, const shape &s, const place &at, int from,
                                    gradient_memory<V> &shared)
{
    typedef typename V::element element;
    load_tile<V>(shared.other[0], of_head((const element *)b.query, s.query, at), s.query[2], V::STEP, from,
                 (int)s.queries);
    load_tile<V>(shared.other[1], of_head((const element *)b.d_result, s.d_result, at), s.d_result[2], V::STEP, from,
                 (int)s.queries);
    copies_commit();
    copies_wait<0>();
    finish_queries<V>(shared.other[0], V::STEP, b, s, at);
    __syncthreads();
    constexpr int threads = THREADS / V::STEP;
    int row = (int)threadIdx.x / threads, part = (int)threadIdx.x % threads;
    row_facts facts = facts_of<V, threads>(shared.other[1], row, from + row, part, b, s, at);
    if (part == 0) {
        shared.maximum[row] = facts.maximum;
        shared.share[row] = facts.share;
        shared.sum[row] = facts.sum;
    }
    __syncthreads();
}

template <class V>
__device__ inline void key_block(int block, const buffers &b, const shape &s, gradient_memory<V> &shared)
{
    typedef typename V::element element;
    constexpr int STEP = V::STEP;
    const place at = place_of(block, s, false);
    const int first = at.tile * ROWS, row = (int)threadIdx.x / 32 * WARP_ROWS, keys = (int)s.keys;
    load_tile<V>(shared.own[0], of_head((const element *)b.key, s.key, at), s.key[2], ROWS, first, keys);
    load_tile<V>(shared.own[1], of_head((const element *)b.value, s.value, at), s.value[2], ROWS, first, keys);
    copies_commit();
    copies_wait<0>();
    finish_keys<V>(shared.own[0], ROWS, b, s, at);
    finish_values<V>(shared.own[1], ROWS, b, s, at);

    const dropout<V> drops(b, s, at);
    float d_key[V::WIDTH / 8][4] = {}, d_value[V::WIDTH / 8][4] = {};
    for (int from = V::causal ? first : 0; from < s.queries; from += STEP) {
        load_queries<V>(b, s, at, from, shared);
        float scores[STEP / 8][4] = {}, d_weights[STEP / 8][4] = {};
        multiply_lines<V, STEP>(scores, shared.own[0], row, shared.other[0]);
        multiply_lines<V, STEP>(d_weights, shared.own[1], row, shared.other[1]);
        differentiate_columns<V>(scores, d_weights, shared, drops, first + row, from, (int)s.queries);
        multiply_columns<V, STEP>(d_value, scores, shared.other[1]);
        multiply_columns<V, STEP>(d_key, d_weights, shared.other[0]);
        __syncthreads();
    }
    copies_wait<0>();
    store_rows<V>(d_key, shared.own[0], row, of_head((typename V::kept::d_key *)b.d_key, s.d_key, at), s.d_key[2], first, keys);
    store_rows<V>(d_value, shared.own[1], row, of_head((typename V::kept::d_value *)b.d_value, s.d_value, at), s.d_value[2], first, keys);
}

/* Blocks of queries, then blocks of keys. */
template <class V> __device__ inline void gradient(const buffers &b, const shape &s)
{
    __shared__ gradient_memory<V> shared;
    const int query_blocks = (int)(s.pairs * s.tiles);
    for (int block = (int)blockIdx.x; block < s.blocks; block += (int)gridDim.x) {
        if (block < query_blocks)
            query_block<V>(block, b, s, shared);
        else
            key_block<V>(block - query_blocks, b, s, shared);
        __syncthreads();
    }
}

} // namespace attention
