/* What the files of the host printer share. */
#ifndef CASTOR_CODEGEN_PRINT_HOST_H
#define CASTOR_CODEGEN_PRINT_HOST_H

#include "codegen/print.h"

/* The part of an index that is equal in all lanes, as a long, and the part that differs, as ints (NULL: none). */
const char *print_uniform(struct printer *printer, const struct affine *index);
const char *print_varying(struct printer *printer, const struct affine *index);
/* Random numbers that are made 64 at a time: `stock_NUMBER` keeps them, one for each block. */
bool print_is_stocked(const struct printer *printer, int number);
/* Statements. */
void print_value(struct printer *printer, int number);
void print_index(struct printer *printer, int number);
void print_store(struct printer *printer, const struct store *store);

#endif
