/* Compiles generated kernels into a shared object and runs them on buffers of their own. */
#include "tests/kernel_run.h"
#include "passes/strips.h"
#include "runtime/host/isa.h"

#include <dlfcn.h>
#include <math.h>
#include <stb/stb_ds.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { GUARD = 256, GUARD_BYTE = 0x5a, UNIT_KERNELS = 60 };

struct batch_graph {
    struct graph *graph;
    struct kernel_set set;
    struct strip_set strips;
    struct kernel *kernels;
};

struct memory {
    const struct node *key;
    struct {
        char *bytes; /* the guard lies before and behind */
        size_t size;
    } value;
};

struct kernel_batch {
    struct target target;
    struct arena *arena;
    struct batch_graph *graphs; /* stb_ds array */
    char *text;                 /* stb_ds array: C, or the unit of CUDA now being filled */
    char **units;               /* stb_ds array, CUDA: full units, in the arena */
    int unit_kernels;           /* in `text` */
    void *library;              /* C */
    struct kernel_cuda *cuda;
    struct memory *memory; /* stb_ds hash */
};

struct target kernel_run_target(void)
{
    struct target target = {.name = "host", .channels_last = true, .alignment = 64, .threads = 2, .strips = true};
    for (int i = 0; i < ELEMENT_COUNT; i++)
        target.storage[i] = (enum element)i;
    target.storage[ELEMENT_F16] = target.storage[ELEMENT_BF16] = ELEMENT_F32;
    return target;
}

static void add_text(struct kernel_batch *batch, const char *text)
{
    size_t length = strlen(text);
    memcpy(arraddnptr(batch->text, length), text, length);
}

struct kernel_batch *kernel_batch_new(const struct target *target)
{
    struct kernel_batch *batch = calloc(1, sizeof *batch);
    batch->target = *target;
    batch->arena = arena_new();
    if (target->language == LANGUAGE_C)
        add_text(batch, kernel_prelude(target, batch->arena));
    return batch;
}

static const char *symbol(const struct kernel_batch *batch, int graph, int kernel)
{
    return arena_printf(batch->arena, "k%d_%d", graph, kernel);
}

/* NVRTC takes longer than in proportion to what it is given, so CUDA comes in units. */
static void end_unit(struct kernel_batch *batch)
{
    if (batch->unit_kernels)
        arrput(batch->units, arena_printf(batch->arena, "%s%.*s", kernel_prelude(&batch->target, batch->arena),
                                          (int)arrlen(batch->text), batch->text));
    arrsetlen(batch->text, 0);
    batch->unit_kernels = 0;
}

static void add_kernel(struct kernel_batch *batch, const struct kernel *kernel, const char *name)
{
    add_text(batch, kernel_function(kernel, name, batch->arena));
    if (batch->target.language == LANGUAGE_CUDA && ++batch->unit_kernels == UNIT_KERNELS)
        end_unit(batch);
}

int kernel_batch_add(struct kernel_batch *batch, struct graph *graph)
{
    struct batch_graph added = {.graph = graph, .set = kernels_find(graph, batch->arena)};
    int number = (int)arrlen(batch->graphs);
    graph_number(graph);
    added.strips = strips_find(&added.set, &batch->target, batch->arena);
    added.kernels = ARENA_ARRAY(batch->arena, struct kernel, added.set.count);
    for (int i = 0; i < added.set.count; i++) {
        added.kernels[i] = kernel_generate(&added.set.kernels[i], &batch->target, batch->arena);
        add_kernel(batch, &added.kernels[i], symbol(batch, number, i));
    }
    arrput(batch->graphs, added);
    return number;
}

static const char *compiler_here(void)
{
    const char *compiler = getenv("CC");
    return compiler && compiler[0] ? compiler : "cc";
}

bool kernel_run_possible(void)
{
    char command[512];
    const char *compiler = compiler_here(); /* flags may follow it */
    snprintf(command, sizeof command, "command -v %.*s >/dev/null 2>&1", (int)strcspn(compiler, " "), compiler);
    return system(command) == 0;
}

bool kernel_batch_compile(struct kernel_batch *batch, const char *flags)
{
    char folder[] = "/tmp/castor-kernels-XXXXXX", path[64], command[512];
    const char *name = getenv("CASTOR_ISA");
    if (batch->target.language == LANGUAGE_CUDA) {
        end_unit(batch);
        batch->cuda = kernel_cuda_new((const char *const *)batch->units, (int)arrlen(batch->units));
        return batch->cuda;
    }
    const struct isa *isa = isa_find(name && name[0] ? name : "native");
    if (!isa)
        return false;
    if (!mkdtemp(folder))
        return false;
    snprintf(path, sizeof path, "%s/kernels.c", folder);
    FILE *file = fopen(path, "w");
    if (!file)
        return false;
    fwrite(batch->text, 1, arrlenu(batch->text), file);
    fclose(file);
    snprintf(command, sizeof command,
             "%s -std=gnu17 %s %s -fopenmp -ffp-contract=off -fno-math-errno -fno-trapping-math -Wno-psabi -fPIC "
             "-shared %s -o %s/kernels.so -lm",
             compiler_here(), flags, isa->flags ? isa->flags : "", path, folder);
    bool built = system(command) == 0;
    snprintf(path, sizeof path, "%s/kernels.so", folder);
    batch->library = built ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!getenv("CASTOR_KEEP")) {
        snprintf(command, sizeof command, "rm -r %s", folder);
        built &= system(command) == 0;
    } else {
        fprintf(stderr, "kept %s\n", folder);
    }
    return built && batch->library;
}

/* ---- values in memory ---- */

/* An f16 value as its bits, and back. */
static uint16_t half_bits(double value)
{
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    double size = fabs(value);
    if (isnan(value))
        return 0x7fff;
    if (isinf(size))
        return sign | 0x7c00;
    int exponent = size == 0 ? -14 : ilogb(size) < -14 ? -14 : ilogb(size);
    int mantissa = (int)ldexp(size, 10 - exponent); /* 1024 and more for normal numbers */
    return (uint16_t)(sign | (mantissa + ((exponent + 14) << 10)));
}

static double half_value(uint16_t bits)
{
    int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    double size = exponent == 31  ? (mantissa ? (double)NAN : (double)INFINITY)
                  : exponent == 0 ? ldexp(mantissa, -24)
                                  : ldexp(mantissa + 1024, exponent - 25);
    return bits & 0x8000 ? -size : size;
}

static void store_element(char *at, enum element storage, double value)
{
    switch (storage) {
    case ELEMENT_F32:
        *(float *)at = (float)value;
        break;
    case ELEMENT_F16:
        *(uint16_t *)at = half_bits(value);
        break;
    case ELEMENT_BF16: {
        float wide = (float)value;
        memcpy(at, (char *)&wide + 2, 2);
        break;
    }
    case ELEMENT_I32:
        *(int32_t *)at = (int32_t)value;
        break;
    case ELEMENT_I64:
        *(int64_t *)at = (int64_t)value;
        break;
    default:
        *(unsigned char *)at = (unsigned char)value;
        break;
    }
}

static double load_element(const char *at, enum element storage)
{
    switch (storage) {
    case ELEMENT_F32:
        return (double)*(const float *)at;
    case ELEMENT_F16:
        return half_value(*(const uint16_t *)at);
    case ELEMENT_BF16: {
        float wide = 0;
        memcpy((char *)&wide + 2, at, 2);
        return (double)wide;
    }
    case ELEMENT_I32:
        return *(const int32_t *)at;
    case ELEMENT_I64:
        return (double)*(const int64_t *)at;
    default:
        return *(const unsigned char *)at;
    }
}

/* Place in memory of the element of a row-major number. */
static int64_t place_of(const struct type *type, int64_t number)
{
    int64_t strides[RANK_MAX], place = 0;
    type_strides(type, strides);
    for (int i = type->shape.rank - 1; i >= 0; i--) {
        place += number % type->shape.dimension[i] * strides[i];
        number /= type->shape.dimension[i];
    }
    return place;
}

static char *memory_of(struct kernel_batch *batch, const struct node *node)
{
    ptrdiff_t found = hmgeti(batch->memory, node);
    if (found >= 0)
        return batch->memory[found].value.bytes;
    size_t size = (size_t)shape_elements(&node->type.shape) * element_bytes(batch->target.storage[node->type.element]);
    struct memory entry = {.key = node};
    char *whole = aligned_alloc(GUARD, (size + 2 * GUARD + GUARD - 1) / GUARD * GUARD);
    memset(whole, GUARD_BYTE, size + 2 * GUARD);
    entry.value.bytes = whole + GUARD;
    entry.value.size = size;
    hmputs(batch->memory, entry);
    return entry.value.bytes;
}

static void fill(struct kernel_batch *batch, const struct node *node, const struct tensor *tensor)
{
    enum element storage = batch->target.storage[node->type.element];
    char *bytes = memory_of(batch, node);
    for (int64_t i = 0; i < shape_elements(&node->type.shape); i++)
        store_element(bytes + (size_t)place_of(&node->type, i) * element_bytes(storage), storage, tensor->values[i]);
}

static bool guards_hold(const struct kernel_batch *batch)
{
    for (ptrdiff_t i = 0; i < hmlen(batch->memory); i++)
        for (int k = 0; k < GUARD; k++)
            if (batch->memory[i].value.bytes[-1 - k] != GUARD_BYTE ||
                batch->memory[i].value.bytes[(ptrdiff_t)batch->memory[i].value.size + k] != GUARD_BYTE)
                return false;
    return true;
}

static void forget(struct kernel_batch *batch)
{
    for (ptrdiff_t i = 0; i < hmlen(batch->memory); i++)
        free(batch->memory[i].value.bytes - GUARD);
    hmfree(batch->memory);
}

double *kernel_batch_value(const struct kernel_batch *batch, const struct node *node)
{
    struct kernel_batch *mutable = (struct kernel_batch *)(uintptr_t)batch;
    ptrdiff_t found = hmgeti(mutable->memory, node);
    if (found < 0)
        return NULL;
    enum element storage = batch->target.storage[node->type.element];
    int64_t count = shape_elements(&node->type.shape);
    double *values = calloc((size_t)count + 1, sizeof *values);
    for (int64_t i = 0; i < count; i++)
        values[i] = load_element(
            batch->memory[found].value.bytes + (size_t)place_of(&node->type, i) * element_bytes(storage), storage);
    return values;
}

int64_t kernel_batch_different(const struct kernel_batch *a, const struct node *node, const struct kernel_batch *b,
                               const struct node *same)
{
    double *x = kernel_batch_value(a, node), *y = kernel_batch_value(b, same);
    int64_t count = shape_elements(&node->type.shape), different = x && y ? 0 : count;
    for (int64_t i = 0; x && y && i < count; i++)
        different += !(x[i] == y[i] && !signbit(x[i]) == !signbit(y[i])) && !(isnan(x[i]) && isnan(y[i]));
    free(x);
    free(y);
    return different;
}

/* ---- what moves ---- */

struct kernel_cuda_traffic kernel_batch_traffic(const struct kernel_batch *batch, int number)
{
    struct kernel_cuda_traffic sum = {0};
    for (int i = 0; i < batch->graphs[number].set.count; i++) {
        struct kernel_cuda_traffic own = kernel_cuda_traffic(batch->cuda, symbol(batch, number, i));
        sum.bytes += own.bytes;
        sum.sectors += own.sectors;
    }
    return sum;
}

uint64_t kernel_batch_bytes(const struct kernel_batch *batch, int number)
{
    uint64_t bytes = 0;
    for (int i = 0; i < batch->graphs[number].set.count; i++)
        bytes += batch->graphs[number].kernels[i].bytes_read + batch->graphs[number].kernels[i].bytes_written;
    return bytes;
}

/* ---- running ---- */

static bool run_on_gpu(struct kernel_batch *batch, int graph, int number)
{
    const struct kernel *kernel = &batch->graphs[graph].kernels[number];
    struct kernel_cuda_buffer *buffers = NULL;
    for (int i = 0; i < kernel->buffer_count; i++) {
        memory_of(batch, kernel->buffers[i]);
        struct kernel_cuda_buffer buffer = {hmget(batch->memory, kernel->buffers[i]).bytes,
                                            hmget(batch->memory, kernel->buffers[i]).size};
        arrput(buffers, buffer);
    }
    struct kernel_cuda_buffer workspace = {NULL, kernel->workspace_bytes};
    arrput(buffers, workspace);
    bool ran = kernel_cuda_run(batch->cuda, symbol(batch, graph, number), kernel, buffers);
    arrfree(buffers);
    return ran;
}

typedef void (*kernel_code)(char *const *buffers, const long long *integers, const long *strip);

/* A kernel about to run. */
struct prepared {
    char **buffers;      /* stb_ds array; the workspace last */
    long long *integers; /* stb_ds array */
    kernel_code code;
};

static struct prepared prepare(struct kernel_batch *batch, int graph, int number)
{
    const struct kernel *kernel = &batch->graphs[graph].kernels[number];
    struct prepared prepared = {0};
    for (int i = 0; i < kernel->buffer_count; i++)
        arrput(prepared.buffers, memory_of(batch, kernel->buffers[i]));
    for (int i = 0; i < kernel->integer_count; i++)
        arrput(prepared.integers, kernel->integers[i]);
    char *workspace = aligned_alloc(64, (kernel->workspace_bytes + 127) / 64 * 64);
    memset(workspace, GUARD_BYTE, kernel->workspace_bytes + 64);
    arrput(prepared.buffers, workspace);
    void *found = dlsym(batch->library, symbol(batch, graph, number));
    memcpy(&prepared.code, &found, sizeof found);
    if (!prepared.code)
        castor_bug("kernel %d of graph %d is missing", number, graph);
    return prepared;
}

static void finish(struct kernel_batch *batch, int graph, int number, struct prepared *prepared)
{
    uint64_t bytes = batch->graphs[graph].kernels[number].workspace_bytes;
    char *workspace = arrlast(prepared->buffers);
    for (uint64_t i = 0; i < 64; i++)
        if (workspace[bytes + i] != GUARD_BYTE)
            castor_bug("kernel %d of graph %d writes behind its workspace", number, graph);
    free(workspace);
    arrfree(prepared->buffers);
    arrfree(prepared->integers);
}

/* `count` kernels from `first` on. Strips run from the last to the first, since any order must do. */
static void run_on_host(struct kernel_batch *batch, int graph, int first, int count, const struct strip *strip)
{
    struct prepared *prepared = NULL;
    for (int i = 0; i < count; i++)
        arrput(prepared, prepare(batch, graph, first + i));
    const long items = strip ? (long)strip->items : 0, size = strip ? (long)strip->size : 1;
    for (long item = items; item > 0; item -= size) {
        const long slice[] = {item - size, item};
        for (int i = 0; i < count; i++)
            prepared[i].code(prepared[i].buffers, prepared[i].integers, slice);
    }
    const long behind[] = {items, items};
    for (int i = 0; i < count; i++) {
        prepared[i].code(prepared[i].buffers, prepared[i].integers, strip ? behind : NULL);
        finish(batch, graph, first + i, &prepared[i]);
    }
    arrfree(prepared);
}

bool kernel_batch_run(struct kernel_batch *batch, int number, const struct environment *environment)
{
    const struct batch_graph *from = &batch->graphs[number];
    forget(batch);
    for (ptrdiff_t i = 0; i < arrlen(from->graph->nodes); i++) {
        const struct node *node = from->graph->nodes[i];
        if (node->op == OP_input)
            fill(batch, node, environment_input(environment, node->attributes->symbol));
        if (node->op == OP_read)
            fill(batch, node, environment_variable(environment, node->attributes->symbol));
    }
    for (int i = 0, count; i < from->set.count; i += count) {
        const struct strip *strip = from->strips.of[i] < 0 ? NULL : &from->strips.strips[from->strips.of[i]];
        count = strip ? strip->count : 1;
        if (!batch->cuda)
            run_on_host(batch, number, i, count, strip);
        else if (!run_on_gpu(batch, number, i))
            return false;
    }
    return guards_hold(batch);
}

const char *kernel_batch_text(const struct kernel_batch *batch)
{
    return arena_printf(batch->arena, "%.*s", (int)arrlen(batch->text), batch->text);
}

void kernel_batch_free(struct kernel_batch *batch)
{
    forget(batch);
    if (batch->library)
        dlclose(batch->library);
    if (batch->cuda)
        kernel_cuda_free(batch->cuda);
    arrfree(batch->units);
    arrfree(batch->graphs);
    arrfree(batch->text);
    arena_free(batch->arena);
    free(batch);
}
