/* Units of compilation: a program's kernels, cut into sources that are compiled side by side and kept under their
 * hash. */
#ifndef CASTOR_RUNTIME_UNITS_H
#define CASTOR_RUNTIME_UNITS_H

#include "runtime/program.h"

enum { UNITS_MAX = 64, UNIT_NAME = 33 };

/* Cuts the kernels into units of about equal length, `unit_bytes` or, where that is 0, what compiles fast when it is
 * optimised: ends[i] is the first kernel behind unit i. How many units. It depends on the text alone, so that the same
 * program always finds the same entries of the cache. */
int units_split(const struct program *program, size_t unit_bytes, int ends[UNITS_MAX]);

/* The source of kernels first … last - 1, the program's common source before them; malloced. */
char *unit_text(const struct program *program, int first, int last);

/* The hash of a text and of all else that changes what the compiler makes of it, in hexadecimal. */
void unit_name(const char *text, const char *identity, char name[UNIT_NAME]);

#endif
