/* From the sums of a block to the result: splits, epilogue, statistics; and the whole of a block's work. */
namespace convolution
{

/* ---- what several blocks finish together ---- */

/* Whether this is the last of `count` blocks to come here; it sees all that they wrote to memory. */
template <class V> __device__ inline bool is_last(shared_memory<V> &shared, unsigned *counter, int count)
{
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        shared.last = atomicInc(counter, (unsigned)count - 1) == (unsigned)count - 1;
        __threadfence();
    }
    __syncthreads();
    return shared.last;
}

/* Each column of tiles has sums over rows, one record for each of its tiles: KEPT sums of N columns, with statistics
 * m2 of them; then the number of rows, and whether the check holds. The last block of every `merged` tiles merges
 * their records into that of their first, the last of these blocks merges what they made: an image can have so many
 * places that one block would read for longer than all blocks multiply.
 *
 * The workspace of records, and counters, for each column one for every `merged` and one for these, then one for all
 * columns, stand before those of splits. */
template <class V> struct statistics {
    static constexpr int SUMS = V::KEPT > 0 ? V::KEPT : 1; /* of which the last is the statistic */
    static constexpr int VALUES = 2 * V::KEPT - V::TOTALS; /* of a record, in packs */
    const int columns, tiles, merged, parts;               /* of tiles; in each; of them at a time; so many times */
    const int packs, record; /* packs of four: of the columns that there are; of a record */

    __device__ statistics(const shape &s)
        : columns((int)(s.groups * s.column_tiles)), tiles((int)s.row_tiles * classes(s)), merged((int)s.merged),
          parts((tiles + merged - 1) / merged),
          packs(min(V::N / 4, ((int)(V::kind == DATA ? s.inputs : s.outputs) + 3) / 4)), record(VALUES * packs + 1)
    {
    }
    __device__ static int classes(const shape &s)
    {
        return V::kind == DATA ? (int)(s.axis[0].stride * s.axis[1].stride * s.axis[2].stride) : 1;
    }
    __device__ static int tile(const work<V> &w, const shape &s)
    {
        return w.part * (int)s.row_tiles + w.row_tile;
    }
    __device__ static int column(const work<V> &w, const shape &s)
    {
        return w.group * (int)s.column_tiles + w.column_tile;
    }
    __device__ float4 *records(const work<V> &w, const buffers &b, const shape &s) const
    {
        return (float4 *)b.workspace + (long long)column(w, s) * tiles * record;
    }
    __device__ int counters() const
    {
        return columns * (parts + 1) + 1;
    }
};

/* Adds the tiles of all splits in order; false in all blocks but the last. */
template <class V>
__device__ inline bool add_splits(const work<V> &w, const buffers &b, const shape &s, shared_memory<V> &shared,
                                  float (&sums)[V::SUMS / 4][4])
{
    int splits = (int)s.splits;
    float4 *all = (float4 *)b.workspace;
    unsigned *counters = b.counters;
    if (V::RECORDS) {
        statistics<V> own(s);
        all += (long long)own.columns * own.tiles * own.record;
        counters += own.counters();
    }
    all += (long long)w.tile * splits * (V::SUMS / 4 * V::THREADS) + threadIdx.x;
#pragma unroll
    for (int i = 0; i < V::SUMS / 4; i++)
        all[(w.split * (V::SUMS / 4) + i) * V::THREADS] = {sums[i][0], sums[i][1], sums[i][2], sums[i][3]};
    if (!is_last(shared, counters + w.tile, splits))
        return false;
#pragma unroll
    for (int i = 0; i < V::SUMS / 4; i++)
        for (int j = 0; j < 4; j++)
            sums[i][j] = 0;
    constexpr int ahead = V::SUMS < 64 ? 64 / V::SUMS : 1; /* enough loads under way at a time */
#pragma unroll(ahead)
    for (int split = 0; split < splits; split++)
#pragma unroll
        for (int i = 0; i < V::SUMS / 4; i++) {
            float4 part = __ldcg(&all[(split * (V::SUMS / 4) + i) * V::THREADS]);
            sums[i][0] += part.x;
            sums[i][1] += part.y;
            sums[i][2] += part.z;
            sums[i][3] += part.w;
        }
    return true;
}

/* ---- results ---- */

/* The threads of a block over a staged tile: each has four columns, and every ROWSth row. */
template <class V> struct quads {
    static constexpr int COLUMNS = V::N / 4, ROWS = V::THREADS / COLUMNS;
    const int column = (int)threadIdx.x % COLUMNS * 4, row = (int)threadIdx.x / COLUMNS;
};

template <class V> __device__ inline void stage(float *staged, const float (&sums)[V::SUMS / 4][4])
{
    typedef lane_tile<V> lanes;
    if constexpr (sizeof(typename V::element) == 2) {
        int lane = threadIdx.x % 32, columns = V::WARP_N / 8;
#pragma unroll
        for (int i = 0; i < V::SUMS / 4; i++) {
            int row = lanes::warp_row() + i / columns * 16 + lane / 4;
            int column = lanes::warp_column() + i % columns * 8 + lane % 4 * 2;
            *(pack<float, 2> *)(staged + row * V::PITCH + column) = {{sums[i][0], sums[i][1]}};
            *(pack<float, 2> *)(staged + (row + 8) * V::PITCH + column) = {{sums[i][2], sums[i][3]}};
        }
    } else {
        constexpr int size = lanes::COLUMN_PACK;
#pragma unroll
        for (int i = 0; i < V::SUMS; i += size) {
            pack<float, size> own;
#pragma unroll
            for (int j = 0; j < size; j++)
                own.at[j] = sums[(i + j) / 4][(i + j) % 4];
            int row = lanes::row(i / lanes::COLUMNS), column = lanes::column(i % lanes::COLUMNS);
            *(pack<float, size> *)(staged + row * V::PITCH + column) = own;
        }
    }
}

/* Where row `row` of the product begins in the result; -1 behind the last. */
template <class V> __device__ inline long long row_place(const work<V> &w, const shape &s, int row)
{
    if constexpr (V::kind == WEIGHT)
        return row < s.outputs ? (w.group * s.outputs + row) * s.weight_output : -1;
    if (row >= w.rows)
        return -1;
    if constexpr (V::kind == FORWARD) {
        int image = divide(row, s.y_places_divider);
        return image * s.y_image + (row - image * (int)s.y_places) * s.y_place;
    }
    long long offset = 0, pitch = s.x_place;
    for (int i = V::axes - 1; i >= 0; i--) {
        const axis &own = w.axes[i];
        int next = divide(row, own.places_divider);
        offset += ((row - next * own.count) * own.place_step + own.place_first) * pitch;
        pitch *= s.axis[3 - V::axes + i].x;
        row = next;
    }
    return offset + row * s.x_image;
}

/* The four columns of one thread in the result. */
struct columns {
    long long offset[4];
    int count;     /* that exist */
    bool together; /* they are one aligned pack in every row */
};

template <class V> __device__ inline int columns_left(const work<V> &w, const shape &s)
{
    int total = (int)(V::kind == FORWARD ? s.outputs : V::kind == DATA ? s.inputs : w.depth);
    return max(0, min(4, total - w.column_tile * V::N - quads<V>().column));
}

template <class V> __device__ inline columns columns_of(const work<V> &w, const shape &s)
{
    columns c;
    int column = w.column_tile * V::N + quads<V>().column;
    c.count = columns_left(w, s);
    for (int i = 0; i < 4; i++) {
        int own = column + i;
        if constexpr (V::kind == FORWARD)
            c.offset[i] = (w.group * s.outputs + own) * s.y_channel;
        else if constexpr (V::kind == DATA)
            c.offset[i] = (w.group * s.inputs + own) * s.x_channel;
        else {
            int tap = divide(own, s.channel_divider);
            c.offset[i] = tap * s.weight_tap + (own - tap * (int)s.inputs) * s.weight_input;
        }
    }
    long long steps = s.inputs | s.weight_tap | s.weight_output;
    c.together = V::kind == WEIGHT ? (steps & 3) == 0 && c.offset[1] == c.offset[0] + 1 && c.count == 4 : V::together;
    return c;
}

/* Rounds the values, which are then as they were stored. */
template <class V> __device__ inline void store_four(float (&values)[4], void *result, const columns &c, long long row)
{
    typedef typename V::result element;
    element *to = (element *)result + row;
    pack<element, 4> all;
    for (int i = 0; i < 4; i++)
        round_to(all.at[i], values[i]);
    if (c.together)
        *(pack<element, 4> *)(to + c.offset[0]) = all;
    else
        for (int i = 0; i < 4; i++)
            if (i < c.count)
                to[c.offset[i]] = all.at[i];
    for (int i = 0; i < 4; i++)
        values[i] = widen(all.at[i]);
}

/* Adds what the ROWS threads of a column have, in order; every thread gets the sums of its columns. */
template <class V> __device__ inline void add_rows(float (&values)[4], shared_memory<V> &shared)
{
    quads<V> own;
    pack<float, 4> *all = (pack<float, 4> *)shared.sums;
    all[threadIdx.x] = {{values[0], values[1], values[2], values[3]}};
    __syncthreads();
    for (int i = 0; i < 4; i++)
        values[i] = 0;
#pragma unroll 1
    for (int row = 0; row < own.ROWS; row++) {
        pack<float, 4> part = all[row * own.COLUMNS + own.column / 4];
        for (int i = 0; i < 4; i++)
            values[i] += part.at[i];
    }
    __syncthreads();
}

/* The block's own record, of the results as staged; `sums` over this thread's rows come in. */
template <class V>
__device__ inline void record_statistics(float (&sums)[statistics<V>::SUMS][4], bool holds, const work<V> &w,
                                         const buffers &b, const shape &s, shared_memory<V> &shared)
{
    quads<V> own;
    const float *staged = (const float *)shared.bytes;
    int rows = max(0, min(V::M, w.rows - w.row_tile * V::M));
    statistics<V> all(s);
    float4 *record = all.records(w, b, s) + all.tile(w, s) * all.record + own.column / 4;
    bool writes = own.row == 0 && own.column / 4 < all.packs;
#pragma unroll
    for (int j = 0; j < V::KEPT; j++) {
        add_rows(sums[j], shared);
        if (writes)
            record[j * all.packs] = {sums[j][0], sums[j][1], sums[j][2], sums[j][3]};
    }
    if constexpr (V::epilogue & STATISTICS) {
        float m2[4] = {0, 0, 0, 0};
#pragma unroll 1
        for (int row = own.row; row < rows; row += own.ROWS)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float distance = staged[row * V::PITCH + own.column + i] - sums[V::TOTALS][i] / (float)rows;
                m2[i] += distance * distance;
            }
        add_rows(m2, shared);
        if (writes)
            record[V::KEPT * all.packs] = {m2[0], m2[1], m2[2], m2[3]};
    }
    if constexpr (V::CHECK)
        holds = __syncthreads_and(holds);
    if (own.row == 0 && own.column == 0)
        record[all.record - 1] = {(float)rows, holds ? 1.0f : 0.0f, 0, 0};
}

/* The first of the thread's channels. */
template <class V> __device__ inline int channel_of(const work<V> &w, const shape &s)
{
    return w.group * (int)(V::kind == DATA ? s.inputs : s.outputs) + w.column_tile * V::N + quads<V>().column;
}

/* Records that are merged: every `step`th, `count` of them. */
struct record_list {
    float4 *first;
    int step, count, packs; /* packs of four: from one to the next; of a value */

    __device__ float4 at(int number, int value, int pack) const
    {
        return __ldcg(first + (long long)number * step + value * packs + pack);
    }
};

/* One value of all records, for the thread's channels. */
template <class V>
__device__ inline void merge_sum(float (&sums)[4], const record_list &from, int value, shared_memory<V> &shared)
{
    quads<V> own;
    int pack = own.column / 4;
    for (int i = 0; i < 4; i++)
        sums[i] = 0;
    for (int number = own.row; number < from.count && pack < from.packs; number += own.ROWS) {
        float4 sum = from.at(number, value, pack);
        sums[0] += sum.x;
        sums[1] += sum.y;
        sums[2] += sum.z;
        sums[3] += sum.w;
    }
    add_rows(sums, shared);
}

/* m2 of all: the sum of m2 + rows (own mean - mean)^2 */
template <class V>
__device__ inline void merge_m2(float (&m2)[4], const float (&sums)[4], float count, const record_list &from,
                                shared_memory<V> &shared)
{
    quads<V> own;
    int pack = own.column / 4;
    for (int i = 0; i < 4; i++)
        m2[i] = 0;
    for (int number = own.row; number < from.count && pack < from.packs; number += own.ROWS) {
        float4 sum = from.at(number, V::TOTALS, pack), square = from.at(number, V::KEPT, pack);
        float rows = from.at(number, statistics<V>::VALUES, 0).x, each[4] = {sum.x, sum.y, sum.z, sum.w};
        float squares[4] = {square.x, square.y, square.z, square.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float distance = rows > 0 ? each[i] / rows - sums[i] / count : 0;
            m2[i] += squares[i] + rows * distance * distance;
        }
    }
    add_rows(m2, shared);
}

/* Into the first of them. */
template <class V> __device__ inline void merge_records(const record_list &from, shared_memory<V> &shared)
{
    quads<V> own;
    bool writes = own.row == 0 && own.column / 4 < from.packs, holds = true;
    float4 *to = from.first + own.column / 4;
    float rows[4] = {0, 0, 0, 0};
    for (int number = own.row; number < from.count; number += own.ROWS) {
        float4 part = from.at(number, statistics<V>::VALUES, 0);
        rows[0] += part.x;
        holds = holds && part.y != 0;
    }
    add_rows(rows, shared);
    holds = __syncthreads_and(holds);
#pragma unroll 1
    for (int value = 0; value < V::KEPT; value++) {
        float sums[4], m2[4];
        merge_sum(sums, from, value, shared);
        if constexpr (V::epilogue & STATISTICS)
            if (value == V::TOTALS) {
                merge_m2(m2, sums, rows[0], from, shared);
                if (writes)
                    to[V::KEPT * from.packs] = {m2[0], m2[1], m2[2], m2[3]};
            }
        if (writes)
            to[value * from.packs] = {sums[0], sums[1], sums[2], sums[3]};
    }
    if (threadIdx.x == 0)
        from.first[statistics<V>::VALUES * from.packs] = {rows[0], holds ? 1.0f : 0.0f, 0, 0};
}

/* One vector of the channels, from a value of a record of theirs. */
template <class V>
__device__ inline void store_channels(float *to, const record_list &from, int value, const work<V> &w, const shape &s)
{
    int count = columns_left(w, s), column = quads<V>().column;
    const float *at = (const float *)(from.first + value * from.packs) + column;
    to += channel_of<V>(w, s);
#pragma unroll
    for (int i = 0; i < 4; i++)
        if (i < count)
            to[i] = at[i];
}

/* Whether the check holds in all columns of tiles: the last of them tells it. */
template <class V> __device__ inline void merge_check(const buffers &b, const shape &s, shared_memory<V> &shared)
{
    statistics<V> all(s);
    if (!is_last(shared, b.counters + all.counters() - 1, all.columns))
        return;
    const float4 *record = (const float4 *)b.workspace + all.record - 1;
    bool holds = true;
    for (int column = (int)threadIdx.x; column < all.columns; column += V::THREADS)
        holds = holds && __ldcg(record + (long long)column * all.tiles * all.record).y != 0;
    holds = __syncthreads_and(holds);
    if (threadIdx.x == 0)
        *b.check = holds;
}

/* What the last block of a column of tiles has: the sums of its channels, and what the tail computes of them. */
template <class V, class T, class G>
__device__ inline void merge_statistics(const work<V> &w, const buffers &b, const shape &s, shared_memory<V> &shared,
                                        const G &given)
{
    statistics<V> all(s);
    int part = all.tile(w, s) / all.merged, tile = part * all.merged;
    float4 *own = all.records(w, b, s);
    record_list from = {own + (long long)tile * all.record, all.record, min(all.merged, all.tiles - tile), all.packs};
    unsigned *counters = b.counters + all.column(w, s) * (all.parts + 1), *counter = counters + part;
#pragma unroll 1
    for (int left = all.parts;; left = 1) {
        if (!is_last(shared, counter, from.count))
            return;
        merge_records(from, shared);
        if (left == 1)
            break;
        from = {own, all.record * all.merged, all.parts, all.packs};
        counter = counters + all.parts;
    }
    if (quads<V>().row == 0) { /* it has merged them, too */
#pragma unroll
        for (int value = 0; value < V::TOTALS; value++)
            store_channels<V>(b.total[value], from, value, w, s);
        if constexpr (V::epilogue & SUM)
            store_channels<V>(b.sum, from, V::TOTALS, w, s);
        if constexpr (V::epilogue & M2)
            store_channels<V>(b.m2, from, V::KEPT, w, s);
        T::finish(given, channel_of<V>(w, s), columns_left(w, s));
    }
    if constexpr (V::CHECK)
        merge_check(b, s, shared);
}

/* What is computed behind a convolution without a tail: nothing. A tail is made from the kernel's arguments, for the
 * first of a thread's four channels and for how many of them there are. It loads what belongs to a place, and changes
 * four results to what is stored, with the thread's totals and whether its check holds; true where something is not
 * finite. `tell` then finds out what. `finish` is called for channels whose sums are stored. */
struct no_tail {
    struct loads {
    };
    enum { ROWS = 1 }; /* places whose loads are under way at a time */
    template <class G> __device__ no_tail(const G &, int, int)
    {
    }
    __device__ void load(loads &, long long) const
    {
    }
    __device__ bool operator()(float (&)[4], const loads &, float (*)[4], int &) const
    {
        return false;
    }
    __device__ void tell(const float *, int, long long) const
    {
    }
    template <class G> __device__ static void finish(const G &, int, int)
    {
    }
};

/* To what a tail starts from; the result's type without one. */
template <class V> __device__ inline void round_four(float (&values)[4])
{
    for (int i = 0; i < 4; i++) {
        typename V::of rounded;
        round_to(rounded, values[i]);
        values[i] = widen(rounded);
    }
}

/* Of the places that a thread has at a time, from the sums as they are staged. */
template <class V, class T>
__device__ inline void tell_odd(const T &tail, pack<float, 4> *at, int first, int channel, long long place,
                                const shared_memory<V> &shared)
{
    constexpr int rows = quads<V>::ROWS;
#pragma unroll 1
    for (int row = first; row < min(first + T::ROWS * rows, (int)V::M); row += rows) {
        if (shared.row_offset[row] < 0)
            break;
        round_four<V>(at->at);
        tail.tell(at->at, channel, shared.row_offset[row] + place);
        at += rows * V::PITCH / 4;
    }
}

template <class V, class T, class G>
__device__ inline void store_results(const work<V> &w, const buffers &b, const shape &s, shared_memory<V> &shared,
                                     const float (&sums)[V::SUMS / 4][4], const G &given)
{
    float *staged = (float *)shared.bytes;
    stage<V>(staged, sums);
    for (int row = (int)threadIdx.x; row < V::M; row += V::THREADS)
        shared.row_offset[row] = row_place(w, s, w.row_tile * V::M + row);
    __syncthreads();
    quads<V> own;
    columns c = columns_of(w, s);
    float totals[statistics<V>::SUMS][4] = {};
    int holds = 1;
    int channel = c.count > 0 ? channel_of<V>(w, s) : 0;
    const T tail(given, channel, c.count);
    for (int first = own.row; first < V::M && c.count > 0; first += T::ROWS * own.ROWS) {
        long long offset[T::ROWS];
        typename T::loads loads[T::ROWS];
        pack<float, 4> results[T::ROWS], *const at = (pack<float, 4> *)(staged + first * V::PITCH + own.column);
        constexpr int pitch = own.ROWS * V::PITCH / 4;
        bool odd = false;
#pragma unroll
        for (int j = 0; j < T::ROWS; j++) {
            offset[j] = first + j * own.ROWS < V::M ? shared.row_offset[first + j * own.ROWS] : -1;
            if (offset[j] >= 0)
                tail.load(loads[j], offset[j] + c.offset[0]);
        }
#pragma unroll
        for (int j = 0; j < T::ROWS; j++) {
            if (offset[j] < 0)
                break;
            results[j] = at[j * pitch];
            round_four<V>(results[j].at);
            odd |= tail(results[j].at, loads[j], totals, holds);
        }
        if (odd) /* before anything is stored over what was loaded */
            tell_odd<V>(tail, at, first, channel, c.offset[0], shared);
#pragma unroll
        for (int j = 0; j < T::ROWS; j++) {
            if (offset[j] < 0)
                break;
            store_four<V>(results[j].at, b.result, c, offset[j]);
            for (int i = 0; i < 4 && (V::epilogue & STATISTICS); i++)
                totals[V::TOTALS][i] += results[j].at[i];
            if constexpr (V::epilogue & M2)
                at[j * pitch] = results[j];
        }
    }
    if constexpr (V::RECORDS) {
        record_statistics(totals, holds, w, b, s, shared);
        merge_statistics<V, T>(w, b, s, shared, given);
    }
}

template <class V, class T, class G>
__device__ inline void run_block(const work<V> &w, const buffers &b, const shape &s, shared_memory<V> &shared,
                                 const G &given)
{
    if (V::kind == DATA && !V::RECORDS && w.row_tile * V::M >= w.rows)
        return; /* a class of fewer places than the largest has */
    float sums[V::SUMS / 4][4] = {};
    multiply_all(w, b, s, shared.bytes, sums);
    if constexpr (V::split)
        if (!add_splits(w, b, s, shared, sums))
            return;
    store_results<V, T>(w, b, s, shared, sums, given);
}

/* T: the tail; `given`: the kernel's arguments. */
template <class V, class T, class G> __device__ inline void run(const buffers &b, const shape &s, const G &given)
{
    __shared__ shared_memory<V> shared;
    for (int block = (int)blockIdx.x; block < s.blocks; block += (int)gridDim.x) {
        run_block<V, T>(work_of<V>(block, s), b, s, shared, given);
        __syncthreads();
    }
}

} // namespace convolution
