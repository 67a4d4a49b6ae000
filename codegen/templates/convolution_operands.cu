/* The operands of a convolution as products of matrices, and their tiles on the way into shared memory. */
namespace convolution
{

/* ---- operands ----
 *
 * Element (line, along) of an operand is found by what belongs to its line and what belongs to its place along the
 * line: one of the two stays the same while k goes on. */

/* Added to a coordinate it leaves every image. */
constexpr int FAR = -(1 << 30);

/* The images that are gathered from: a line is a place of the other image, along it runs (tap, channel). */
template <class V> struct image_operand {
    typedef typename V::element element;
    struct line {
        const element *origin;
        int at[V::axes];

        __device__ void hold_all()
        {
            hold(origin);
            for (int i = 0; i < V::axes; i++)
                hold(at[i]);
        }
    };
    struct along {
        int offset, channel, tap[V::axes], shift[V::axes];
    };
    const work<V> &w;
    const element *source; /* of its group */
    long long image, channel_divider;
    int channel_stride, pitch[V::axes];

    __device__ image_operand(const work<V> &work, const shape &s, const void *from)
        : w(work), image(V::kind == DATA ? s.y_image : s.x_image), channel_divider(s.channel_divider),
          channel_stride((int)(V::kind == DATA ? s.y_channel : s.x_channel))
    {
        source = (const element *)from + (long long)w.group * w.channels * channel_stride;
        int size = (int)(V::kind == DATA ? s.y_place : s.x_place);
        for (int i = V::axes - 1; i >= 0; i--) {
            pitch[i] = size;
            size *= w.axes[i].limit;
        }
    }

    __device__ line line_at(int row) const
    {
        line l;
        int rest = row, inside = 0;
        for (int i = V::axes - 1; i >= 0; i--) {
            int next = divide(rest, w.axes[i].places_divider);
            l.at[i] = (rest - next * w.axes[i].count) * w.axes[i].step + w.axes[i].base;
            inside += l.at[i] * pitch[i];
            rest = next;
        }
        if (row >= w.rows)
            l.at[0] = FAR;
        l.origin = source + rest * image + inside;
        return l;
    }

    __device__ void set_offset(along &a) const
    {
        a.offset = a.channel * channel_stride;
        for (int i = 0; i < V::axes; i++)
            a.offset += a.shift[i] * pitch[i];
    }

    __device__ along along_at(int k) const
    {
        along a;
        int rest = divide(k, channel_divider);
        a.channel = k - rest * w.channels;
        for (int i = V::axes - 1; i >= 0; i--) {
            int next = i ? divide(rest, w.axes[i].taps_divider) : 0;
            a.tap[i] = rest - next * w.axes[i].taps;
            a.shift[i] = a.tap[i] * w.axes[i].delta;
            rest = next;
        }
        set_offset(a);
        if (k >= w.depth)
            a.shift[0] = FAR;
        return a;
    }

    /* To the next (tap, channel). */
    __device__ void advance(along &a) const
    {
        a.offset += channel_stride;
        if (++a.channel < w.channels)
            return;
        a.channel = 0;
        bool carry = true;
        for (int i = V::axes - 1; i > 0; i--) {
            a.tap[i] += carry;
            carry = a.tap[i] == w.axes[i].taps;
            a.tap[i] = carry ? 0 : a.tap[i];
            a.shift[i] = a.tap[i] * w.axes[i].delta;
        }
        a.tap[0] += carry;
        a.shift[0] = a.tap[0] >= w.axes[0].taps ? FAR : a.tap[0] * w.axes[0].delta;
        set_offset(a);
    }

    __device__ const element *find(const line &l, const along &a, bool &valid) const
    {
        valid = true;
        for (int i = 0; i < V::axes; i++)
            valid = valid && (unsigned)(l.at[i] + a.shift[i]) < (unsigned)w.axes[i].limit;
        return l.origin + a.offset;
    }
};

/* What the operands that are plain matrices have in common. */
template <class V> struct matrix_operand {
    typedef typename V::element element;
    struct line {
        const element *origin;
        int valid;

        __device__ void hold_all()
        {
            hold(origin);
            hold(valid);
        }
    };
    struct along {
        int offset, index;
    };
    const work<V> &w;
    const shape &s;
    const element *source;
    int size, stride; /* along a line */

    __device__ along along_at(int index) const
    {
        return {index * stride, index};
    }

    __device__ void advance(along &a) const
    {
        a.offset += stride;
        a.index++;
    }

    __device__ const element *find(const line &l, const along &a, bool &valid) const
    {
        valid = l.valid != 0 && a.index < size;
        return l.origin + a.offset;
    }
};

/* FORWARD: a line is an output channel, along it runs (tap, c). */
template <class V> struct forward_weight : matrix_operand<V> {
    typedef typename matrix_operand<V>::along along;

    __device__ forward_weight(const work<V> &w, const shape &s, const void *from)
        : matrix_operand<V>{w, s, (const typename V::element *)from + w.group * s.outputs * s.weight_output, w.depth,
                            (int)s.weight_input}
    {
    }

    __device__ typename matrix_operand<V>::line line_at(int output) const
    {
        return {this->source + output * this->s.weight_output, output < this->s.outputs};
    }

    __device__ along along_at(int k) const
    {
        int tap = divide(k, this->s.channel_divider);
        return {tap * (int)this->s.weight_tap + (k - tap * this->w.channels) * this->stride, k};
    }

    __device__ void advance(along &a) const
    {
        a = along_at(a.index + 1);
    }
};

/* DATA: a line is one (tap, o) of the class, along it runs c. */
template <class V> struct data_weight : matrix_operand<V> {
    __device__ data_weight(const work<V> &w, const shape &s, const void *from)
        : matrix_operand<V>{w, s, (const typename V::element *)from + w.group * s.outputs * s.weight_output,
                            (int)s.inputs, (int)s.weight_input}
    {
    }

    __device__ typename matrix_operand<V>::line line_at(int k) const
    {
        int rest = divide(k, this->s.channel_divider), output = k - rest * this->w.channels, tap = 0, size = 1;
        for (int i = V::axes - 1; i >= 0; i--) {
            const axis &own = this->w.axes[i];
            int next = i ? divide(rest, own.taps_divider) : 0;
            tap += ((rest - next * own.taps) * own.tap_step + own.tap_first) * size;
            size *= (int)this->s.axis[3 - V::axes + i].kernel;
            rest = next;
        }
        return {this->source + output * this->s.weight_output + tap * this->s.weight_tap, k < this->w.depth};
    }
};

/* WEIGHT: a line is a place of y, along it runs o. */
template <class V> struct output_gradient : matrix_operand<V> {
    __device__ output_gradient(const work<V> &w, const shape &s, const void *from)
        : matrix_operand<V>{w, s, (const typename V::element *)from + w.group * s.outputs * s.y_channel, (int)s.outputs,
                            (int)s.y_channel}
    {
    }

    __device__ typename matrix_operand<V>::line line_at(int row) const
    {
        int image = divide(row, this->s.y_places_divider);
        int inside = row - image * (int)this->s.y_places;
        return {this->source + image * this->s.y_image + inside * this->s.y_place, row < this->w.rows};
    }
};

/* ---- loading tiles ---- */

/* One operand's tile, `rows` rows or columns of the product by V::K of k. Vectors: the threads of a warp take the
 * chunks of a line, which lie side by side in memory. Gathered: they take the lines, so that what belongs to a place
 * along them is the same for the whole warp. */
template <class V, class operand, int rows, bool by_k, bool vector> struct loader {
    typedef typename V::element element;
    static constexpr int BYTES = by_k ? 64 : rows * (int)sizeof(element);
    static constexpr int LINES = by_k ? rows : V::K, CHUNKS = BYTES / 16;
    static constexpr int PIECES = (LINES * CHUNKS + V::THREADS - 1) / V::THREADS;
    static constexpr bool ALL = LINES * CHUNKS % V::THREADS == 0;
    static constexpr int SPAN = vector ? CHUNKS : LINES; /* threads side by side */
    static_assert(V::THREADS % SPAN == 0, "a thread keeps its chunk or its line");

    const operand from;
    const int first, side, step; /* row of the product; this thread among SPAN; first piece of the other sort */
    typename operand::line lines[by_k && vector ? PIECES : 1];
    typename operand::along along;

    __device__ loader(const operand &operand_, int first_row)
        : from(operand_), first(first_row), side((int)threadIdx.x % SPAN), step((int)threadIdx.x / SPAN)
    {
        if constexpr (by_k && vector)
            for (int i = 0; i < PIECES; i++) {
                lines[i] = from.line_at(first + other(i));
                lines[i].hold_all();
            }
        else if constexpr (by_k)
            lines[0] = from.line_at(first + side);
        else if constexpr (vector)
            along = from.along_at(first + side * V::CHUNK);
    }

    /* The line (vector) or chunk (gathered) of piece i. */
    __device__ int other(int i) const
    {
        return step + i * (V::THREADS / SPAN);
    }

    /* The tile, and its address in shared memory. */
    __device__ void load(unsigned char *tile, unsigned address, int k)
    {
        if constexpr (vector)
            load_vectors(address, k);
        else
            gather(tile, k);
    }

    __device__ void load_vectors(unsigned to, int k)
    {
        if constexpr (by_k)
            along = from.along_at(k + side * V::CHUNK);
#pragma unroll
        for (int i = 0; i < PIECES; i++) {
            int line = other(i);
            if (!ALL && line >= LINES)
                break;
            if constexpr (!by_k)
                lines[0] = from.line_at(k + line);
            bool valid;
            const element *at = from.find(lines[by_k ? i : 0], along, valid);
            copy_chunk(to + swizzle<BYTES>(line, side), at, valid);
        }
    }

    __device__ void gather(unsigned char *tile, int k)
    {
        if constexpr (!by_k)
            lines[0] = from.line_at(k + side);
#pragma unroll 1
        for (int i = 0; i < PIECES; i++) {
            int chunk = other(i);
            if (!ALL && chunk >= CHUNKS)
                break;
            /* What no round of products will read is left out. */
            if (by_k && k + chunk * V::CHUNK / V::STEP_K * V::STEP_K >= from.w.k_end)
                break;
            typename operand::along a = from.along_at((by_k ? k : first) + chunk * V::CHUNK);
            pack<element, V::CHUNK> elements;
#pragma unroll
            for (int j = 0; j < V::CHUNK; j++) {
                bool valid;
                const element *at = from.find(lines[0], a, valid);
                elements.at[j] = element();
                if (valid)
                    elements.at[j] = *at;
                from.advance(a);
            }
            *(pack<element, V::CHUNK> *)(tile + swizzle<BYTES>(side, chunk)) = elements;
        }
    }
};

} // namespace convolution
