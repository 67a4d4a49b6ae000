/* Between batches and an entry: which field goes into which input. */
#ifndef CASTOR_RUNTIME_FEEDER_H
#define CASTOR_RUNTIME_FEEDER_H

#include "runtime/train.h"

struct feeder {
    const struct batches *batches;
    int entry; /* number of the entry in the program */
    const struct program_entry *program;
    int *field;          /* by input: number of the field */
    const void **fields; /* of the present batch */
    const void **inputs; /* of the present batch, in the order of the entry's inputs */
};

/* False with an error set when the program has no such entry or the data has not the fields that it asks for. */
bool feeder_open(struct feeder *feeder, const struct executor *executor, const char *entry,
                 const struct batches *batches, struct error *error);
void feeder_close(struct feeder *feeder);

/* Fetches the next batch; *count: its examples, 0 at the end of the pass. */
bool feeder_next(struct feeder *feeder, enum split split, int64_t *count, struct error *error);
/* Puts the batch that another feeder fetched into the order of this one's inputs. */
void feeder_take(struct feeder *feeder, const struct feeder *from);

#endif
