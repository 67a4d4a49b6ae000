/* What the grammar of `.policy` files and its actions share: the state of reading one file. */
#ifndef CASTOR_PASSES_POLICIES_READER_H
#define CASTOR_PASSES_POLICIES_READER_H

#include "passes/policies/policy.h"

/* Where a token stands; `begin` and `end` are offsets into the text. */
struct policy_location {
    int line, column, end_line, end_column;
    size_t begin, end;
};

struct policy_reader {
    struct policy *policy;             /* being filled */
    const struct policy_reader *outer; /* the reader of the file that extends this one */
    enum element asked;                /* half type that overrides the text's, or ELEMENT_NONE */
    bool built_in;
    struct policy_location next; /* where the lexer stands */
    int depth;                   /* of open parentheses */
    bool name_next;              /* the last token begins or goes on with a list of names */
    bool line_may_end;           /* the last token can end a statement */
};

/* A list of names under construction; `last` so that appending keeps the order. */
struct policy_names {
    struct policy_name *first, *last;
};

/* The parts of a rule that follow its class. */
struct policy_parts {
    struct policy_names ops, scopes, regions;
    const struct policy_condition *where;
    bool has_where; /* even where the condition is wrong */
};

struct span policy_span(const struct policy_reader *reader, const struct policy_location *location);
const char *policy_slice(const struct policy_reader *reader, const struct policy_location *location);
struct policy_names policy_name_append(struct policy_reader *reader, struct policy_names names,
                                       const struct policy_location *location);

/* One statement each. */
void policy_add_rule(struct policy_reader *reader, enum precision_class class, const struct policy_parts *parts,
                     const struct policy_location *location);
void policy_add_keep(struct policy_reader *reader, const struct policy_names *names, enum precision_class class,
                     const struct policy_location *location);
void policy_set_default(struct policy_reader *reader, enum precision_class class,
                        const struct policy_location *location);
void policy_set(struct policy_reader *reader, const struct policy_location *name, const struct policy_location *value);
void policy_unknown_class(struct policy_reader *reader, const struct policy_location *location);

/* The head: `policy NAME [extends BASE [(HALF)]]`. Reads the base; locations of absent parts have line 0. */
void policy_begin(struct policy_reader *reader, const struct policy_location *name, const struct policy_location *base,
                  const struct policy_location *half);

/* Conditions. NULL operands (after an error) give NULL. */
const struct policy_condition *policy_number(struct policy_reader *reader, const struct policy_location *location);
const struct policy_condition *policy_quantity(struct policy_reader *reader, const struct policy_location *location);
const struct policy_condition *policy_dimension(struct policy_reader *reader, const struct policy_location *name,
                                                const struct policy_location *axis);
const struct policy_condition *policy_operation(struct policy_reader *reader, enum policy_operator operator,
                                                const struct policy_condition * left,
                                                const struct policy_condition *right,
                                                const struct policy_location *location);
/* `condition` itself when it is a truth value, else NULL after a diagnostic. */
const struct policy_condition *policy_truth(struct policy_reader *reader, const struct policy_condition *condition,
                                            const struct policy_location *location);

#endif
