/* The kernel that gathers; compiled kernels to bytes and back: a header, the units' headers, what each kernel takes,
 * then PTX and cubin of each unit. */
#include "runtime/cuda/code.h"
#include "runtime/units.h"

#include <stdlib.h>
#include <string.h>

/* Scalar results lie anywhere in the arena: this brings them together, so that one copy takes them to the host. */
static const char gather_source[] =
    "struct castor_results { const unsigned char *from[64]; unsigned char *to; long long bytes[64], count; };\n"
    "extern \"C\" __global__ void " CUDA_GATHER "(castor_results results)\n"
    "{\n"
    "    for (int i = threadIdx.x; i < results.count; i += blockDim.x)\n"
    "        for (int j = 0; j < 8; j++)\n"
    "            results.to[8 * i + j] = j < results.bytes[i] ? results.from[i][j] : 0;\n"
    "}\n";

struct cuda_code *cuda_code_compile(const struct cuda_compile_settings *settings, const struct program *program,
                                    struct error *error)
{
    struct program longer = *program;
    size_t count = (size_t)program->kernel_count;
    longer.kernels = calloc(count + 1, sizeof *longer.kernels);
    if (!longer.kernels) {
        error_set(error, "out of memory");
        return NULL;
    }
    if (count)
        memcpy(longer.kernels, program->kernels, count * sizeof *longer.kernels);
    longer.kernels[count] = (struct program_kernel){.name = CUDA_GATHER, .source = gather_source};
    longer.kernel_count++;
    struct cuda_code *code = cuda_compile(settings, &longer, error);
    free(longer.kernels);
    return code;
}

/* ---- bytes ---- */

struct header {
    uint64_t units, kernels;
};

struct unit_header {
    int64_t first, last;
    uint64_t ptx, cubin; /* bytes */
};

bool cuda_code_write(const struct cuda_code *code, const struct program *program, void **bytes, size_t *size)
{
    const struct header header = {(uint64_t)code->unit_count, (uint64_t)program->kernel_count + 1};
    char *text = NULL;
    FILE *out = open_memstream(&text, size);
    if (!out)
        return false;
    fwrite(&header, sizeof header, 1, out);
    for (int i = 0; i < code->unit_count; i++) {
        const struct cuda_unit *unit = &code->units[i];
        const struct unit_header own = {unit->first, unit->last, unit->ptx_size, unit->cubin_size};
        fwrite(&own, sizeof own, 1, out);
    }
    fwrite(code->resources, sizeof *code->resources, (size_t)header.kernels, out);
    for (int i = 0; i < code->unit_count; i++) {
        fwrite(code->units[i].ptx, 1, code->units[i].ptx_size, out);
        fwrite(code->units[i].cubin, 1, code->units[i].cubin_size, out);
    }
    bool ok = !ferror(out);
    ok = fclose(out) == 0 && ok;
    *bytes = text;
    return ok;
}

/* The next bytes of so many; NULL where there are not so many left. */
static const char *take(const char **at, const char *end, uint64_t size)
{
    const char *taken = *at;
    if (size > (uint64_t)(end - taken))
        return NULL;
    *at += size;
    return taken;
}

/* A copy with a zero behind it; NULL for none. */
static char *copy_part(const char *part, uint64_t size)
{
    char *copy = part ? malloc((size_t)size + 1) : NULL;
    if (!copy)
        return NULL;
    memcpy(copy, part, (size_t)size);
    copy[size] = '\0';
    return copy;
}

static bool read_unit(struct cuda_unit *unit, const struct unit_header *header, const char **at, const char *end,
                      int kernels)
{
    if (header->first < 0 || header->first > header->last || header->last > kernels)
        return false;
    *unit = (struct cuda_unit){.first = (int)header->first, .last = (int)header->last};
    unit->ptx = copy_part(take(at, end, header->ptx), header->ptx);
    unit->cubin = unit->ptx ? copy_part(take(at, end, header->cubin), header->cubin) : NULL;
    unit->ptx_size = (size_t)header->ptx;
    unit->cubin_size = (size_t)header->cubin;
    return unit->cubin;
}

static bool read_code(struct cuda_code *code, const char *at, const char *end, int kernels)
{
    struct header header;
    struct unit_header units[UNITS_MAX];
    const char *start = take(&at, end, sizeof header);
    if (!start)
        return false;
    memcpy(&header, start, sizeof header);
    if (header.units > UNITS_MAX || header.kernels != (uint64_t)kernels)
        return false;
    const char *unit_bytes = take(&at, end, header.units * sizeof *units);
    const char *resources = unit_bytes ? take(&at, end, header.kernels * sizeof *code->resources) : NULL;
    if (!resources)
        return false;
    memcpy(units, unit_bytes, (size_t)header.units * sizeof *units);
    memcpy(code->resources, resources, (size_t)kernels * sizeof *code->resources);
    for (uint64_t i = 0; i < header.units; i++, code->unit_count++)
        if (!read_unit(&code->units[i], &units[i], &at, end, kernels)) {
            code->unit_count++; /* what it got is released with the rest */
            return false;
        }
    return at == end;
}

struct cuda_code *cuda_code_read(const void *bytes, size_t size, const struct program *program, struct error *error)
{
    struct cuda_code *code = calloc(1, sizeof *code);
    int kernels = program->kernel_count + 1;
    if (code) {
        code->units = calloc(UNITS_MAX, sizeof *code->units);
        code->resources = calloc((size_t)kernels, sizeof *code->resources);
    }
    if (!code || !code->units || !code->resources)
        error_set(error, "out of memory");
    else if (read_code(code, bytes, (const char *)bytes + size, kernels))
        return code;
    else
        error_set(error, "compiled kernels are damaged");
    cuda_code_free(code);
    return NULL;
}
