/* Losses, metrics and log values of an entry's outputs, averaged over executions: losses, metrics and watches weighted
 * by examples, ratio metrics as sum of numerators over sum of denominators, log values as they were last. */
#ifndef CASTOR_RUNTIME_TALLY_H
#define CASTOR_RUNTIME_TALLY_H

#include "runtime/program.h"
#include "runtime/train.h"

struct tally_item {
    const char *name;              /* the program's */
    enum program_output_kind kind; /* loss, metric (ratios too), watch or log */
    double sum, weight;
};

struct tally {
    struct tally_item *items; /* in the order of their first appearance */
    int count, room;
};

/* Makes room for a metric: scores come in the order in which their names came. False when out of memory. */
bool tally_expect(struct tally *tally, const char *name);
/* Adds the scalar results of one execution over so many examples. False when out of memory. */
bool tally_add(struct tally *tally, const struct program_entry *entry, const double *results, int64_t examples);
/* Adds what another tally holds. */
bool tally_merge(struct tally *tally, const struct tally *other);
/* Forgets the values, keeps the names. */
void tally_reset(struct tally *tally);
void tally_free(struct tally *tally);

double tally_value(const struct tally_item *item);
/* The item of this name and kind, or NULL. */
const struct tally_item *tally_find(const struct tally *tally, const char *name, enum program_output_kind kind);
/* Puts losses, then metrics in the place of what `scores` holds. False when out of memory. */
bool tally_scores(const struct tally *tally, struct scores *scores);

#endif
