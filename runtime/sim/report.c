/* What a fault says: kernel, place in the source or PTX, block, thread, and what was wrong. */
#include "runtime/sim/execute.h"

#include <string.h>

static void put(char *text, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void put(char *text, size_t size, const char *format, ...)
{
    size_t used = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + used, size - used, format, arguments);
    va_end(arguments);
}

static void put_place(const struct warp *warp, const struct op *op, char *text, size_t size)
{
    const struct sim_kernel *kernel = warp->block->launch->kernel;
    if (op->instruction >= (uint32_t)kernel->instruction_count)
        return;
    const struct ptx_instruction *instruction = &kernel->ptx->code[op->instruction];
    const char *file = instruction->place.line ? ptx_file_name(kernel->module->ptx, instruction->place.file) : NULL;
    if (file)
        put(text, size, ", %s:%d", file, instruction->place.line);
    put(text, size, ", PTX line %d (%s)", instruction->line, instruction->opcode);
}

static void put_thread(const struct warp *warp, int lane, char *text, size_t size)
{
    const struct block *block = warp->block;
    const uint32_t *threads = block->launch->threads;
    put(text, size, ", block (%u,%u,%u)", block->x, block->y, block->z);
    uint32_t thread = warp->number * LANES + (uint32_t)(lane < 0 ? 0 : lane);
    if (lane < 0)
        put(text, size, ", warp %u", warp->number);
    else
        put(text, size, ", thread (%u,%u,%u)", thread % threads[0], thread / threads[0] % threads[1],
            thread / threads[0] / threads[1]);
}

/* The fault of the first block counts, whatever the order in which threads come to them. */
static void record(struct launch *launch, uint64_t block, const char *text)
{
    pthread_mutex_lock(&launch->lock);
    if (block < launch->fault_block) {
        __atomic_store_n(&launch->fault_block, block, __ATOMIC_SEQ_CST);
        snprintf(launch->fault, sizeof launch->fault, "%s", text);
    }
    pthread_mutex_unlock(&launch->lock);
}

bool warp_fault(struct warp *warp, const struct op *op, int lane, const char *format, ...)
{
    char text[ERROR_TEXT] = "kernel ", what[ERROR_TEXT / 2];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    put(text, sizeof text, "%s", warp->block->launch->kernel->name);
    put_place(warp, op, text, sizeof text);
    put_thread(warp, lane, text, sizeof text);
    put(text, sizeof text, ": %s", what);
    record(warp->block->launch, warp->block->index, text);
    return false;
}

/* Where an address lies beside the nearest allocation. */
bool warp_fault_address(struct warp *warp, const struct op *op, int lane, const char *did, uint64_t address, int bytes)
{
    const struct sim_memory *memory = warp->block->launch->memory;
    const struct sim_allocation *near = sim_memory_below(memory, address);
    unsigned long long at = address;
    if (!near)
        return warp_fault(warp, op, lane, "%s %d bytes at 0x%llx, where no allocation is", did, bytes, at);
    unsigned long long size = near->end - near->begin, offset = address - near->begin;
    char name[128];
    if (near->name)
        snprintf(name, sizeof name, "variable %s", near->name);
    else
        snprintf(name, sizeof name, "allocation %d", near->number);
    if (offset < size && (uint64_t)bytes <= size - offset)
        return warp_fault(warp, op, lane, "%s %d bytes at 0x%llx, byte %llu of %s (%llu bytes)", did, bytes, at, offset,
                          name, size);
    return warp_fault(warp, op, lane, "%s %d bytes at 0x%llx, byte %llu of %s, which has %llu bytes", did, bytes, at,
                      offset, name, size);
}
