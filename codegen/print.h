/* What the printers share: the state of printing one kernel, and expressions that are written alike for host and GPU
 * because both preludes have the same functions. */
#ifndef CASTOR_CODEGEN_PRINT_H
#define CASTOR_CODEGEN_PRINT_H

#include "codegen/nest.h"
#include "codegen/text.h"

struct printer {
    const struct lowered *lowered;
    struct arena *arena;
    struct text text;
    const struct loop_nest *nest; /* now printed */
    bool scalar;                  /* a value is that of one lane (CUDA), not a vector of them (host) */
    int lanes;                    /* host: of the vector loop's body now printed: LANES, or what is left at its end */
    const struct host_keep *keep; /* host: what a row keeps (print_host_keep.c); NULL: nothing */
    const struct cuda_task *task; /* CUDA: now printed */
    const struct cuda_plan *plan;
    const struct cuda_pick *picks;   /* CUDA: what is not the same for all tasks that are printed as one now */
    int phase;                       /* CUDA: of the nest, now printed */
    bool *fixed_value, *fixed_index; /* CUDA: by number: stands before the loop over the rows now printed */
    bool structural;                 /* names tell operations, not nodes: what computes alike has one text */
    bool packed;                     /* CUDA: the vector variable stands for the first of several neighbours */
};

/* C expressions (print_value.c); in the arena. */
const char *print_value_name(struct printer *printer, int value);
const char *print_buffer_name(struct printer *printer, int buffer);
const char *print_lane_type(const struct printer *printer, enum lane_kind lane);
/* An integer of the kernel's step. */
const char *print_integer(struct printer *printer, int integer);
/* "sum_float": the accumulator type of a reduction, prefix of its functions. */
const char *print_accumulator(struct printer *printer, const struct reduction *reduction);
/* sum + factor * factor_of, and sum + constant; "" is an empty sum. */
const char *print_add_term(struct printer *printer, const char *sum, int64_t factor, const char *factor_of);
const char *print_add_constant(struct printer *printer, const char *sum, int64_t constant);
/* Lanes lie next to each other in memory. */
bool print_is_contiguous(const struct lowered *lowered, const struct affine *index);
/* A value that needs neither memory nor indices; NULL for one that does. */
const char *print_computed(struct printer *printer, const struct value *value);
/* The third argument of a reduction's step, with its comma: position, or one over the count; "" where there is none.
 * `count`: how many values the accumulator `place` has seen with this one, NULL where it counts itself. */
const char *print_step_more(struct printer *printer, const struct reduction *reduction, const char *place,
                            const char *count);
/* A look at where an overflow began: the test, which opens a block, and what it tells, which ends the block. */
void print_watch_open(struct printer *printer, int number);
void print_watch_close(struct printer *printer, int number);
/* Place of an element of the inner loops, the vector's excluded, among all: "0 + 3 * i4 + …"; `stride` for one step. */
const char *print_inner_place(struct printer *printer, const char *start, int64_t stride);
int64_t print_extent(const struct printer *printer, int variable);

#endif
