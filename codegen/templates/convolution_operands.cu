/* The operands of a convolution as products of matrices, and their tiles on the way into shared memory. */
namespace convolution
{

/* ---- operands ----
 *
 * Element (line, along) of an operand is found by what belongs to its line and what belongs to its place along the
 * line: one of the two stays the same while k goes on. Lines that go on with k are counted. */

/* A number in digits, the last of which counts fastest. */
template <int count> struct digits {
    int at[count];
};

/* Counts by V::K; `extent`: of the digits but the first, which has none. */
template <class V, int count> struct counter {
    digits<count> by;
    int extent[count];

    __device__ void hold_all()
    {
        for (int i = 0; i < count; i++)
            hold(by.at[i]);
        for (int i = 1; i < count; i++)
            hold(extent[i]);
    }

    __device__ void advance(digits<count> &number) const
    {
        int carry = 0;
#pragma unroll
        for (int i = count - 1; i > 0; i--) {
            number.at[i] += by.at[i] + carry;
            carry = number.at[i] >= extent[i];
            number.at[i] -= carry ? extent[i] : 0;
        }
        number.at[0] += by.at[0] + carry;
    }
};

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

        __device__ void hold_all()
        {
            hold(offset);
            for (int i = 0; i < V::axes; i++)
                hold(shift[i]);
        }
    };
    typedef digits<V::axes + 1> number; /* of a line: image, places */
    const work<V> &w;
    const element *source; /* of its group */
    long long channel_divider;
    int image, channel_stride, images, pitch[V::axes];
    counter<V, V::axes + 1> count;

    __device__ image_operand(const work<V> &work, const shape &s, const void *from)
        : w(work), channel_divider(s.channel_divider), image((int)(V::kind == DATA ? s.y_image : s.x_image)),
          channel_stride((int)(V::kind == DATA ? s.y_channel : s.x_channel)), images((int)s.images)
    {
        source = (const element *)from + (long long)w.group * w.channels * channel_stride;
        int size = (int)(V::kind == DATA ? s.y_place : s.x_place);
        for (int i = V::axes - 1; i >= 0; i--) {
            pitch[i] = size;
            size *= w.axes[i].limit;
            count.extent[i + 1] = w.axes[i].count;
        }
        count.by = number_of(V::K);
    }

    __device__ number number_of(int row) const
    {
        number n;
        for (int i = V::axes; i > 0; i--) {
            n.at[i] = row;
            row = divide(row, w.axes[i - 1].places_divider);
            n.at[i] -= row * w.axes[i - 1].count;
        }
        n.at[0] = row;
        return n;
    }

    __device__ line line_at(const number &n) const
    {
        line l;
        int inside = 0;
        for (int i = 0; i < V::axes; i++) {
            l.at[i] = n.at[i + 1] * w.axes[i].step + w.axes[i].base;
            inside += l.at[i] * pitch[i];
        }
        if (n.at[0] >= images)
            l.at[0] = FAR;
        l.origin = source + (long long)n.at[0] * image + inside;
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
    typedef digits<1> number; /* of a line */
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

        __device__ void hold_all()
        {
            hold(offset);
            hold(index);
        }
    };
    const work<V> &w;
    const shape &s;
    const element *source;
    int size, stride; /* along a line */

    __device__ number number_of(int line) const
    {
        return {{line}};
    }

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

    __device__ typename matrix_operand<V>::line line_at(const digits<1> &output) const
    {
        return {this->source + output.at[0] * this->s.weight_output, output.at[0] < this->s.outputs};
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
    typedef digits<V::axes + 1> number;
    counter<V, V::axes + 1> count;

    __device__ data_weight(const work<V> &w, const shape &s, const void *from)
        : matrix_operand<V>{w, s, (const typename V::element *)from + w.group * s.outputs * s.weight_output,
                            (int)s.inputs, (int)s.weight_input}
    {
        for (int i = 1; i < V::axes; i++)
            count.extent[i] = w.axes[i].taps;
        count.extent[V::axes] = w.channels;
        count.by = number_of(V::K);
    }

    __device__ number number_of(int k) const
    {
        number n;
        int rest = divide(k, this->s.channel_divider);
        n.at[V::axes] = k - rest * this->w.channels;
        for (int i = V::axes - 1; i > 0; i--) {
            n.at[i] = rest;
            rest = divide(rest, this->w.axes[i].taps_divider);
            n.at[i] -= rest * this->w.axes[i].taps;
        }
        n.at[0] = rest;
        return n;
    }

    __device__ typename matrix_operand<V>::line line_at(const number &n) const
    {
        int tap = 0, size = 1;
        for (int i = V::axes - 1; i >= 0; i--) {
            tap += (n.at[i] * this->w.axes[i].tap_step + this->w.axes[i].tap_first) * size;
            size *= (int)this->s.axis[3 - V::axes + i].kernel;
        }
        return {this->source + (long long)n.at[V::axes] * (int)this->s.weight_output + tap * (int)this->s.weight_tap,
                n.at[0] < this->w.axes[0].taps};
    }
};

/* WEIGHT: a line is a place of y, along it runs o. */
template <class V> struct output_gradient : matrix_operand<V> {
    counter<V, 1> count = {{{V::K}}};

    __device__ output_gradient(const work<V> &w, const shape &s, const void *from)
        : matrix_operand<V>{w, s, (const typename V::element *)from + w.group * s.outputs * s.y_channel, (int)s.outputs,
                            (int)s.y_channel}
    {
    }

    /* Where channels lie side by side, so do the images. */
    __device__ typename matrix_operand<V>::line line_at(const digits<1> &line) const
    {
        int row = line.at[0], image = V::VECTOR_A ? 0 : divide(row, this->s.y_places_divider);
        int inside = row - image * (int)this->s.y_places;
        return {this->source + (long long)image * (int)this->s.y_image + (long long)inside * (int)this->s.y_place,
                row < this->w.rows};
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

    static constexpr bool COUNTS = vector && !by_k;
    operand from;
    const int first, side, step; /* row of the product; this thread among SPAN; first piece of the other sort */
    typename operand::line lines[by_k && vector ? PIECES : 1];
    typename operand::number numbers[COUNTS ? PIECES : 1]; /* of the next lines */
    typename operand::along along;
    unsigned place; /* of its first chunk in the tile */

    __device__ loader(const operand &operand_, int first_row, int k)
        : from(operand_), first(first_row), side((int)threadIdx.x % SPAN), step((int)threadIdx.x / SPAN),
          place(swizzle<BYTES>(step, side))
    {
        hold(place);
        if constexpr (by_k && vector)
            for (int i = 0; i < PIECES; i++) {
                lines[i] = from.line_at(from.number_of(first + other(i)));
                lines[i].hold_all();
            }
        else if constexpr (by_k)
            lines[0] = from.line_at(from.number_of(first + side));
        else if constexpr (vector) {
            along = from.along_at(first + side * V::CHUNK);
            along.hold_all();
            from.count.hold_all();
            for (int i = 0; i < PIECES; i++)
                numbers[i] = from.number_of(k + other(i));
        }
    }

    static constexpr int APART = V::THREADS / SPAN;
    static_assert(!vector || APART % 8 == 0 || (8 % APART == 0 && CHUNKS >= 8), "lines are apart by no carry");

    /* The line (vector) or chunk (gathered) of piece i. */
    __device__ int other(int i) const
    {
        return step + i * APART;
    }

    /* Vectors: where it lies in the tile, as `swizzle` says. */
    __device__ unsigned place_of(int i) const
    {
        return (place ^ i * APART % 8 * 16) + i * APART * BYTES;
    }

    /* The tile, and its address in shared memory; from time to time k grows by V::K. */
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
            if constexpr (COUNTS) {
                lines[0] = from.line_at(numbers[i]);
                from.count.advance(numbers[i]);
            }
            bool valid;
            const element *at = from.find(lines[by_k ? i : 0], along, valid);
            copy_chunk(to + place_of(i), at, valid);
        }
    }

    __device__ void gather(unsigned char *tile, int k)
    {
        if constexpr (!by_k)
            lines[0] = from.line_at(from.number_of(k + side));
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
