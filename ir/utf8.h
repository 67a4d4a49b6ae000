/* Characters of UTF-8. */
#ifndef CASTOR_IR_UTF8_H
#define CASTOR_IR_UTF8_H

#include <stddef.h>

/* The bytes of the character at `text`, of which `left` may be read (1 at least); 0 where it is NUL or none (RFC 3629:
 * overlong forms and surrogates are none). */
int utf8_length(const char *text, size_t left);

#endif
