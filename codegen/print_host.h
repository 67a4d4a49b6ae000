/* What the files of the host printer share. */
#ifndef CASTOR_CODEGEN_PRINT_HOST_H
#define CASTOR_CODEGEN_PRINT_HOST_H

#include "codegen/nest.h"
#include "codegen/text.h"

struct printer {
    const struct lowered *lowered;
    struct arena *arena;
    struct text text;
    const struct loop_nest *nest; /* now printed */
    int lanes;                    /* of the vector loop's body now printed: LANES, or what is left at its end */
};

/* C expressions (print_host_value.c); in the arena. */
const char *print_value_name(struct printer *printer, int value);
const char *print_buffer_name(struct printer *printer, int buffer);
/* The part of an index that is equal in all lanes, as a long, and the part that differs, as ints (NULL: none). */
const char *print_uniform(struct printer *printer, const struct affine *index);
const char *print_varying(struct printer *printer, const struct affine *index);
/* Random numbers that are made 64 at a time: `stock_NUMBER` keeps them, one for each block. */
bool print_is_stocked(const struct printer *printer, int number);
/* Statements. */
void print_value(struct printer *printer, int number);
void print_index(struct printer *printer, int number);
void print_store(struct printer *printer, const struct store *store);

/* "sum_float": the accumulator type of a reduction, prefix of its functions. */
const char *print_accumulator(struct printer *printer, const struct reduction *reduction);

#endif
