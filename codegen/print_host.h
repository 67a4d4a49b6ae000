/* What the files of the host printer share. */
#ifndef CASTOR_CODEGEN_PRINT_HOST_H
#define CASTOR_CODEGEN_PRINT_HOST_H

#include "codegen/print.h"

/* The part of an index that is equal in all lanes, as a long. */
const char *print_uniform(struct printer *printer, const struct affine *index);
/* Random numbers that are made 64 at a time: `stock_NUMBER` keeps them, one for each block. */
bool print_is_stocked(const struct printer *printer, int number);
/* Statements. */
void print_value(struct printer *printer, int number);
void print_index(struct printer *printer, int number);
void print_store(struct printer *printer, const struct store *store);

/* What a row of the nest keeps from one phase for a later one; NULL: nothing. */
struct host_keep *host_keep_find(struct printer *printer);
void host_keep_declare(struct printer *printer);
/* The place in the kept array from which a value is taken, or into which it is put; NULL: neither. */
const char *host_keep_taken(const struct printer *printer, int number);
const char *host_keep_given(const struct printer *printer, int number);
/* Whether the value is needed no more, since what needed it is taken. */
bool host_keep_drops(const struct printer *printer, int number);

#endif
