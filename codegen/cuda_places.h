/* Which element of a buffer a nest's access meets in a row and column, in a form that can be compared with that of an
 * access in another nest over as many rows and columns.
 *
 * The row's number is split into digits, as fine as the loops of both nests and the quotients and remainders of their
 * indices split it: 28 * 28 places with windows of 2 * 2 have digits of 14, 2, 14 and 2 places. Then an index is a sum
 * of digits and the column, each with a factor. */
#ifndef CASTOR_CODEGEN_CUDA_PLACES_H
#define CASTOR_CODEGEN_CUDA_PLACES_H

#include "codegen/nest.h"

enum { DIGITS_MAX = 16 };

/* The digits of two nests' rows, innermost first, and then the column. */
struct places {
    int count;
    int64_t stride[DIGITS_MAX + 1]; /* in rows */
    int64_t extent[DIGITS_MAX + 1];
};
struct place_form {
    int64_t constant, factor[DIGITS_MAX + 1];
};

/* False where the rows have no common digits. Neither nest has inner loops. */
bool places_find(const struct lowered *lowered, const struct loop_nest *a, const struct loop_nest *b,
                 struct places *places);
/* False where the index is no such sum. */
bool place_form(const struct lowered *lowered, const struct loop_nest *nest, const struct places *places,
                const struct affine *index, struct place_form *form);
bool place_form_equal(const struct places *places, const struct place_form *a, const struct place_form *b);
/* Does it meet others from row to row? */
bool place_form_has_rows(const struct places *places, const struct place_form *form);
/* How many elements it meets, where no two places meet one. */
int64_t place_form_elements(const struct places *places, const struct place_form *form);

#endif
