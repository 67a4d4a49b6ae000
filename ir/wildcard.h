/* Patterns of names, in which `*` stands for any characters. */
#ifndef CASTOR_IR_WILDCARD_H
#define CASTOR_IR_WILDCARD_H

#include <stdbool.h>

/* Takes at most the length of one times that of the other steps. */
bool wildcard_matches(const char *pattern, const char *text);

#endif
