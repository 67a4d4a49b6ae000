/* A checkpoint of a small run that was never trained, and taking one up again: for the fuzzer of readers. */
#ifndef CASTOR_TESTS_CHECKPOINT_FILE_H
#define CASTOR_TESTS_CHECKPOINT_FILE_H

#include <stdbool.h>
#include <stddef.h>

/* The bytes of a sound one, malloced. It tells no checksum, as if another program had written it: damage to it is found
 * by what is read alone. */
unsigned char *checkpoint_file(size_t *size);

/* Whether a run takes up this file: read, known as a checkpoint, its values put into executor and loop. */
bool checkpoint_take(const char *path);

#endif
