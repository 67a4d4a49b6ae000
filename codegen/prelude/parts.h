/* Vectors of 16 lanes in the parts that registers hold, where GCC needs it: a vector wider than a register goes round a
 * loop and through a shuffle in memory, and is selected from with three instructions for one. Parts do not. All has the
 * bits of the general form, which compilers that know better and wider registers take.
 *
 * Part of host.h, which defines the vectors before it. */
#ifndef CASTOR_PARTS
#define CASTOR_PARTS

#if defined __AVX2__ && !defined __AVX512F__ && !defined __clang__
#define IN_PARTS

typedef float float_part __attribute__((vector_size(32)));
typedef int int_part __attribute__((vector_size(32)));
typedef union {
    floats all;
    ints bits;
    float_part part[2];
} float_pair;

/* A vector as a variable of a loop keeps it. */
#define PARTS(vector) vector##_parts
#define SPLIT(vector, x) vector##_split(x)
#define WHOLE(vector, a) vector##_whole(a)
typedef struct {
    float_part low, high;
} floats_parts, ints_parts;
typedef longs longs_parts;

INLINE floats_parts floats_split(floats x)
{
    const float_pair pair = {x};
    const floats_parts made = {pair.part[0], pair.part[1]};
    return made;
}
INLINE floats floats_whole(floats_parts a)
{
    float_pair pair;
    pair.part[0] = a.low;
    pair.part[1] = a.high;
    return pair.all;
}
INLINE ints_parts ints_split(ints x)
{
    return floats_split((floats)x);
}
INLINE ints ints_whole(ints_parts a)
{
    return (ints)floats_whole(a);
}
INLINE longs longs_split(longs x)
{
    return x;
}
INLINE longs longs_whole(longs a)
{
    return a;
}

INLINE floats choose(ints mask, floats a, floats b)
{
    const float_pair which = {.bits = mask}, x = {a}, y = {b};
    float_pair result;
    for (int i = 0; i < 2; i++)
        result.part[i] = __builtin_ia32_blendvps256(y.part[i], x.part[i], which.part[i]);
    return result.all;
}
INLINE ints choose_int(ints mask, ints a, ints b)
{
    return (ints)choose(mask, (floats)a, (floats)b);
}

/* The instructions for the larger and the smaller give their second operand where one is NaN, and of two zeros. */
INLINE floats float_within(floats x, float low, float high)
{
    const float_pair least = {splat(low)}, most = {splat(high)};
    float_pair pair = {x};
    for (int i = 0; i < 2; i++)
        pair.part[i] = __builtin_ia32_maxps256(least.part[i], __builtin_ia32_minps256(most.part[i], pair.part[i]));
    return pair.all;
}
#define EXTREME(name, instruction)                                                                                     \
    INLINE floats name(floats a, floats b)                                                                             \
    {                                                                                                                  \
        const float_pair x = {a}, y = {b};                                                                             \
        float_pair result;                                                                                             \
        for (int i = 0; i < 2; i++)                                                                                    \
            result.part[i] = __builtin_ia32_blendvps256(instruction(x.part[i], y.part[i]), x.part[i],                  \
                                                        (float_part)(x.part[i] != x.part[i]));                         \
        return result.all;                                                                                             \
    }
EXTREME(float_max, __builtin_ia32_maxps256)
EXTREME(float_min, __builtin_ia32_minps256)

/* Lane i gets lane i ^ distance. */
INLINE floats floats_rotate(floats x, int distance)
{
    const float_pair from = {x};
    float_pair to;
    for (int i = 0; i < 2; i++) {
        const float_part part = from.part[i ^ (distance / 8)];
        to.part[i] = distance == 4   ? __builtin_shuffle(part, (int_part){4, 5, 6, 7, 0, 1, 2, 3})
                     : distance == 2 ? __builtin_shuffle(part, (int_part){2, 3, 0, 1, 6, 7, 4, 5})
                     : distance == 1 ? __builtin_shuffle(part, (int_part){1, 0, 3, 2, 5, 4, 7, 6})
                                     : part;
    }
    return to.all;
}
INLINE ints ints_rotate(ints x, int distance)
{
    return (ints)floats_rotate((floats)x, distance);
}
INLINE longs longs_rotate(longs x, int distance)
{
    longs to = {0};
    for (int i = 0; i < 16; i++)
        to[i] = x[i ^ distance];
    return to;
}
#define ROTATE(x, distance) _Generic((x), floats : floats_rotate, ints : ints_rotate, longs : longs_rotate)(x, distance)

#else

#define PARTS(vector) vector
#define SPLIT(vector, x) (x)
#define WHOLE(vector, a) (a)

/* a where the mask's lane is -1, b where it is 0. */
INLINE floats choose(ints mask, floats a, floats b)
{
    return (floats)(((ints)a & mask) | ((ints)b & ~mask));
}
INLINE ints choose_int(ints mask, ints a, ints b)
{
    return (a & mask) | (b & ~mask);
}
#define ROTATE(x, distance)                                                                                            \
    __builtin_shufflevector(x, x, 0 ^ (distance), 1 ^ (distance), 2 ^ (distance), 3 ^ (distance), 4 ^ (distance),      \
                            5 ^ (distance), 6 ^ (distance), 7 ^ (distance), 8 ^ (distance), 9 ^ (distance),            \
                            10 ^ (distance), 11 ^ (distance), 12 ^ (distance), 13 ^ (distance), 14 ^ (distance),       \
                            15 ^ (distance))

#endif
#endif
