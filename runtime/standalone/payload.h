/* What `castor build` puts into a trainer beside program and kernels: the train block, the data line and the options of
 * the file, as JSON text. One side writes it, the other reads it; both are here. */
#ifndef CASTOR_RUNTIME_STANDALONE_PAYLOAD_H
#define CASTOR_RUNTIME_STANDALONE_PAYLOAD_H

#include "runtime/data/data.h"
#include "runtime/train.h"

/* An option of the file, with the value that it was built with, as text. */
struct payload_option {
    const char *name, *value;
};

struct payload {
    const char *file; /* the .net file, by the name that it was built from */
    struct train_settings settings;
    struct data_description data;
    int option_count;
    const struct payload_option *options;
    void *memory; /* of payload_read */
};

/* Malloced text. NULL when out of memory. */
char *payload_text(const struct payload *payload);

/* False with an error set when the text is not what payload_text makes. payload_free releases it either way. */
bool payload_read(struct payload *payload, const char *text, size_t size, struct error *error);
void payload_free(struct payload *payload);

/* Puts a path in place of that of the data source that has one. False when none has, or several have. */
bool payload_set_path(struct payload *payload, const char *path);

/* Puts a text, which stays the caller's, in place of that of the run's file of this name. */
void payload_set_file(struct payload *payload, const char *name, const char *replacement);

#endif
