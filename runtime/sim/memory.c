/* Allocations of the simulated GPU, kept in the order of their addresses. */
#include "runtime/sim/memory.h"

#include "runtime/sim/shadow.h"

#include <stb/stb_ds.h>
#include <stdlib.h>

enum { ALIGNMENT = 256 };

/* The first allocation that begins beyond the address. */
static size_t upper_bound(const struct sim_memory *memory, uint64_t address)
{
    size_t low = 0, high = arrlenu(memory->allocations);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (memory->allocations[middle].begin <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint64_t sim_memory_new(struct sim_memory *memory, size_t bytes, const char *name)
{
    if (bytes == 0 || bytes > memory->limit - memory->used)
        return 0;
    size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    uint8_t *block = aligned_alloc(ALIGNMENT, rounded);
    uint64_t *shadow = calloc(shadow_words(bytes), sizeof *shadow);
    if (!block || !shadow) {
        free(block);
        free(shadow);
        return 0;
    }
    struct sim_allocation made = {.begin = (uint64_t)(uintptr_t)block, .written = shadow, .name = name};
    made.end = made.begin + bytes;
    made.number = ++memory->made;
    size_t at = upper_bound(memory, made.begin); /* the macro reads it more than once */
    arrins(memory->allocations, at, made);
    memory->used += bytes;
    return made.begin;
}

static struct sim_allocation *exact(struct sim_memory *memory, uint64_t address)
{
    size_t at = upper_bound(memory, address);
    return at && memory->allocations[at - 1].begin == address ? &memory->allocations[at - 1] : NULL;
}

static void release(const struct sim_allocation *allocation)
{
    free((void *)(uintptr_t)allocation->begin);
    free(allocation->written);
}

bool sim_memory_delete(struct sim_memory *memory, uint64_t address)
{
    struct sim_allocation *allocation = exact(memory, address);
    if (!allocation)
        return false;
    memory->used -= allocation->end - allocation->begin;
    release(allocation);
    arrdel(memory->allocations, allocation - memory->allocations);
    return true;
}

void sim_memory_protect(struct sim_memory *memory, uint64_t address)
{
    struct sim_allocation *allocation = exact(memory, address);
    if (allocation)
        allocation->read_only = true;
}

void sim_memory_free(struct sim_memory *memory)
{
    for (ptrdiff_t i = 0; i < arrlen(memory->allocations); i++)
        release(&memory->allocations[i]);
    arrfree(memory->allocations);
}

const struct sim_allocation *sim_memory_below(const struct sim_memory *memory, uint64_t address)
{
    size_t at = upper_bound(memory, address);
    return at ? &memory->allocations[at - 1] : NULL;
}

const struct sim_allocation *sim_memory_find(const struct sim_memory *memory, uint64_t address)
{
    const struct sim_allocation *below = sim_memory_below(memory, address);
    return below && address < below->end ? below : NULL;
}
