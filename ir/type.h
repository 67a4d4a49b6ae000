/* Types of tensors: element type, shape and memory layout. */
#ifndef CASTOR_IR_TYPE_H
#define CASTOR_IR_TYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RANK_MAX = 8 };

/* The order matters: runtime/program.h numbers element types the same way. */
enum element {
    ELEMENT_NONE,
    ELEMENT_F16,
    ELEMENT_BF16,
    ELEMENT_F32,
    ELEMENT_F64,
    ELEMENT_I32,
    ELEMENT_I64,
    ELEMENT_U8,
    ELEMENT_BOOL,
    ELEMENT_COUNT
};

/* dimension[0] is the outermost axis. Rank 0 is a scalar of one element. */
struct shape {
    int rank;
    int64_t dimension[RANK_MAX];
};

/* order[i] is the logical axis stored at physical position i, outermost first; row-major is 0, 1, 2, …  A
 * channels-last activation [n, c, h, w] has order 0, 2, 3, 1. */
struct type {
    enum element element;
    struct shape shape;
    unsigned char order[RANK_MAX];
};

/* A row-major type. */
struct type type_make(enum element element, struct shape shape);
struct type type_scalar(enum element element);
struct shape shape_make(int rank, const int64_t *dimensions);

bool shape_equal(const struct shape *a, const struct shape *b);
bool type_equal(const struct type *a, const struct type *b); /* layout included */
bool type_row_major(const struct type *type);
int64_t shape_elements(const struct shape *shape);

/* NumPy's broadcasting of two shapes; false when they do not agree. */
bool shape_broadcast(const struct shape *a, const struct shape *b, struct shape *result);

/* Physical stride of each logical axis, in elements. */
void type_strides(const struct type *type, int64_t strides[RANK_MAX]);

size_t element_bytes(enum element element);     /* bool is one byte */
bool element_is_float(enum element element);    /* f16 bf16 f32 f64 */
bool element_is_half(enum element element);     /* f16 bf16 */
const char *element_name(enum element element); /* "f16" … */
enum element element_find(const char *name);    /* ELEMENT_NONE when there is none */

/* The nearest value of the element type to `value` (round half to even; overflow to infinity for floats, integers
 * saturate, bool is value != 0), as a double. The conversion goes straight from f64, with one rounding. */
double element_round(enum element element, double value);

/* "f32[128,10]", with "{0,2,3,1}" behind it when not row-major. Writes at most `size` bytes, returns `buffer`. */
char *type_format(const struct type *type, char *buffer, size_t size);
char *shape_format(const struct shape *shape, char *buffer, size_t size);
enum { TYPE_TEXT = 160 };

#endif
