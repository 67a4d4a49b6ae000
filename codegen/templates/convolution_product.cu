/* The product of two tiles, and of the streams of tiles of a block. */
namespace convolution
{

/* ---- products ----
 *
 * How the results of a warp's tile lie in its lanes. Halves: as mma says. f32: 8 x 4 lanes, a lane has every eighth row
 * (fourth column) of an operand by k, else packs side by side. */

template <class V> struct lane_tile {
    static constexpr int ROWS = V::WARP_M / 8, COLUMNS = V::WARP_N / 4; /* of a lane; f32 only */
    static constexpr int ROW_PACK = V::A_BY_K ? 1 : ROWS < 4 ? ROWS : 4;
    static constexpr int COLUMN_PACK = V::B_BY_K ? 1 : COLUMNS < 4 ? COLUMNS : 4;

    __device__ static int row(int i)
    {
        int lane = threadIdx.x % 32 % 8;
        return warp_row() + i / ROW_PACK * (8 * ROW_PACK) + lane * ROW_PACK + i % ROW_PACK;
    }
    __device__ static int column(int j)
    {
        int lane = threadIdx.x % 32 / 8;
        return warp_column() + j / COLUMN_PACK * (4 * COLUMN_PACK) + lane * COLUMN_PACK + j % COLUMN_PACK;
    }
    __device__ static int warp_row()
    {
        return (int)threadIdx.x / 32 / V::WARPS_N * V::WARP_M;
    }
    __device__ static int warp_column()
    {
        return (int)threadIdx.x / 32 % V::WARPS_N * V::WARP_N;
    }
};

/* Where a lane finds its rows of the 16 x 16 matrices of one operand: those of one k, or of one row (column), are
 * apart by so many bytes. `pattern` and `half`: its line and chunk in the first matrix. */
template <class V, int count, int line_bytes, bool by_k> struct fragments {
    static constexpr int KINDS = by_k ? V::K / 16 : count;
    unsigned at[KINDS];

    __device__ fragments(int first, int pattern, int half)
    {
#pragma unroll
        for (int i = 0; i < KINDS; i++) {
            at[i] = by_k ? swizzle<line_bytes>(first + pattern, i * 2 + half)
                         : swizzle<line_bytes>(pattern, first / 8 + i * 2 + half);
            hold(at[i]);
        }
    }

    __device__ void load(unsigned (&to)[count][4], unsigned tile, int k) const
    {
#pragma unroll
        for (int i = 0; i < count; i++)
            load_matrices<!by_k>(to[i], tile + at[by_k ? k : i] + (by_k ? i : k) * (16 * line_bytes));
    }
};

template <class V> struct half_products {
    static constexpr int ROWS = V::WARP_M / 16, COLUMNS = V::WARP_N / 16;
    fragments<V, ROWS, V::A_BY_K ? 64 : V::M * 2, V::A_BY_K> a;
    fragments<V, COLUMNS, V::B_BY_K ? 64 : V::N * 2, V::B_BY_K> b;

    /* Two patterns of lanes for the four matrices of 8 x 8: `low` and `high` for one pair side by side, `mixed` and
     * `middle` for the other. */
    __device__ half_products(int low, int high, int mixed, int middle)
        : a(lane_tile<V>::warp_row(), V::A_BY_K ? low : mixed, V::A_BY_K ? high : middle),
          b(lane_tile<V>::warp_column(), V::B_BY_K ? mixed : low, V::B_BY_K ? middle : high)
    {
    }
    __device__ half_products(int lane) : half_products(lane % 16, lane / 16, lane % 8 + lane / 16 * 8, lane / 8 % 2)
    {
    }

    __device__ void add(const unsigned char *, unsigned tile, int k_left, float (&sums)[V::SUMS / 4][4]) const
    {
#pragma unroll
        for (int k = 0; k < V::K / 16; k++) {
            if (k > 0 && k * 16 >= k_left)
                break;
            unsigned left[ROWS][4], right[COLUMNS][4];
            a.load(left, tile, k);
            b.load(right, tile + V::A_BYTES, k);
#pragma unroll
            for (int i = 0; i < ROWS; i++)
#pragma unroll
                for (int j = 0; j < V::WARP_N / 8; j++)
                    multiply(sums[i * (V::WARP_N / 8) + j], left[i], right[j / 2][j % 2 * 2],
                             right[j / 2][j % 2 * 2 + 1], typename V::element());
        }
    }
};

/* Rows of one operand for four k, from lines by k or from four lines of one k each. */
template <int count, int line_bytes, bool by_k, int size, class position>
__device__ inline void load_floats(float (&to)[count][4], const unsigned char *tile, int k, position at)
{
    if constexpr (by_k) {
#pragma unroll
        for (int i = 0; i < count; i++) {
            pack<float, 4> own = *(const pack<float, 4> *)(tile + swizzle<64>(at(i), k / 4));
#pragma unroll
            for (int j = 0; j < 4; j++)
                to[i][j] = own.at[j];
        }
    } else {
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int i = 0; i < count; i += size) {
                int place = swizzle<line_bytes>(k + j, at(i) / 4) + at(i) % 4 * 4;
                pack<float, size> own = *(const pack<float, size> *)(tile + place);
#pragma unroll
                for (int l = 0; l < size; l++)
                    to[i + l][j] = own.at[l];
            }
    }
}

template <class V> struct float_products {
    typedef lane_tile<V> lanes;

    __device__ float_products(int)
    {
    }

    __device__ void add(const unsigned char *tile, unsigned, int k_left, float (&sums)[V::SUMS / 4][4]) const
    {
#pragma unroll 1
        for (int k = 0; k < min(V::K, k_left); k += 4) {
            float left[lanes::ROWS][4], right[lanes::COLUMNS][4];
            load_floats<lanes::ROWS, V::M * 4, V::A_BY_K, lanes::ROW_PACK>(left, tile, k, lanes::row);
            load_floats<lanes::COLUMNS, V::N * 4, V::B_BY_K, lanes::COLUMN_PACK>(right, tile + V::A_BYTES, k,
                                                                                 lanes::column);
#pragma unroll
            for (int l = 0; l < 4; l++)
#pragma unroll
                for (int i = 0; i < lanes::ROWS; i++)
#pragma unroll
                    for (int j = 0; j < lanes::COLUMNS; j++) {
                        constexpr int columns = lanes::COLUMNS;
                        float &sum = sums[(i * columns + j) / 4][(i * columns + j) % 4];
                        sum = __fmaf_rn(left[i][l], right[j][l], sum);
                    }
        }
    }
};

template <class V, int element_bytes = sizeof(typename V::element)> struct products : float_products<V> {
    using float_products<V>::float_products;
};
template <class V> struct products<V, 2> : half_products<V> {
    using half_products<V>::half_products;
};

/* The block's tile of the product. */
template <class V, class operand_a, class operand_b>
__device__ inline void multiply_operands(const work<V> &w, const operand_a &a, const operand_b &b,
                                         unsigned char *memory, float (&sums)[V::SUMS / 4][4])
{
    loader<V, operand_a, V::M, V::A_BY_K, V::VECTOR_A> load_a(a, w.row_tile * V::M, w.k_begin);
    loader<V, operand_b, V::N, V::B_BY_K, V::VECTOR_B> load_b(b, w.column_tile * V::N, w.k_begin);
    constexpr int bytes = V::A_BYTES + V::B_BYTES;
    unsigned first = shared_address(memory);
    hold(first);
    const products<V> own(threadIdx.x % 32);
    int steps = (w.k_end - w.k_begin + V::K - 1) / V::K, fill = 0, read = 0;
    for (int step = 1 - V::STAGES; step < steps; step++) {
        if (step >= 0) {
            copies_wait<V::STAGES - 2>();
            __syncthreads();
        }
        int k = w.k_begin + (step + V::STAGES - 1) * V::K;
        if (k < w.k_end) {
            load_a.load(memory + fill * bytes, first + fill * bytes, k);
            load_b.load(memory + fill * bytes + V::A_BYTES, first + fill * bytes + V::A_BYTES, k);
        }
        copies_commit();
        fill = fill == V::STAGES - 1 ? 0 : fill + 1;
        if (step < 0)
            continue;
        own.add(memory + read * bytes, first + read * bytes, w.k_end - w.k_begin - step * V::K, sums);
        read = read == V::STAGES - 1 ? 0 : read + 1;
    }
    copies_wait<0>();
    __syncthreads();
}

template <class V>
__device__ inline void multiply_all(const work<V> &w, const buffers &b, const shape &s, unsigned char *memory,
                                    float (&sums)[V::SUMS / 4][4])
{
    if constexpr (V::kind == FORWARD)
        multiply_operands<V>(w, image_operand<V>(w, s, b.a), forward_weight<V>(w, s, b.b), memory, sums);
    else if constexpr (V::kind == DATA)
        multiply_operands<V>(w, image_operand<V>(w, s, b.a), data_weight<V>(w, s, b.b), memory, sums);
    else
        multiply_operands<V>(w, output_gradient<V>(w, s, b.a), image_operand<V>(w, s, b.b), memory, sums);
}

} // namespace convolution
