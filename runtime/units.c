/* Cutting, joining and hashing of kernel source. */
#include "runtime/units.h"
#include "runtime/file.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

enum { UNIT_BYTES = 24 * 1024 };

int units_split(const struct program *program, size_t unit_bytes, int ends[UNITS_MAX])
{
    size_t total = 0, done = 0;
    int units = 0;
    for (int i = 0; i < program->kernel_count; i++)
        total += strlen(program->kernels[i].source);
    size_t count = total / (unit_bytes ? unit_bytes : UNIT_BYTES) + 1;
    count = count < UNITS_MAX ? count : UNITS_MAX;
    for (int i = 0; i < program->kernel_count; units++) {
        size_t number = (size_t)units + 1, end = total * number / count;
        do
            done += strlen(program->kernels[i++].source);
        while (i < program->kernel_count && (done < end || number == count));
        ends[units] = i;
    }
    return units;
}

char *unit_text(const struct program *program, int first, int last)
{
    size_t size = 0;
    char *text = NULL;
    FILE *stream = open_memstream(&text, &size);
    if (!stream)
        error_exhausted();
    fputs(program->source, stream);
    for (int i = first; i < last; i++)
        fprintf(stream, "\n%s", program->kernels[i].source);
    if (ferror(stream) || fclose(stream) != 0)
        error_exhausted();
    return text;
}

void unit_name(const char *text, const char *identity, char name[UNIT_NAME])
{
    XXH3_state_t *state = XXH3_createState();
    XXH3_128bits_reset(state);
    XXH3_128bits_update(state, identity, strlen(identity) + 1);
    XXH3_128bits_update(state, text, strlen(text));
    XXH128_hash_t hash = XXH3_128bits_digest(state);
    XXH3_freeState(state);
    snprintf(name, UNIT_NAME, "%016llx%016llx", (unsigned long long)hash.high64, (unsigned long long)hash.low64);
}
