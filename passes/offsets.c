/* Greedy offset assignment (best fit), in several orders. */
#include "passes/offsets.h"
#include "ir/arena.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

enum { TRIED_MAX = 2048 }; /* buffers up to which all orders are tried */

/* Zeros for so many elements and one more. */
static void *room(int count, size_t size)
{
    void *elements = calloc((size_t)count + 1, size);
    if (!elements)
        arena_exhausted();
    return elements;
}

static int64_t aligned(int64_t bytes, int64_t alignment)
{
    return (bytes + alignment - 1) / alignment * alignment;
}

/* What a buffer is sorted by; ties go by time and then by number, so that the result is always the same. */
struct rank {
    int64_t key;
    int first, buffer;
};

static int compare_ranks(const void *a, const void *b)
{
    const struct rank *x = a, *y = b;
    if (x->key != y->key)
        return x->key > y->key ? -1 : 1;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return (x->buffer > y->buffer) - (x->buffer < y->buffer);
}

/* ---- placing in a given order ---- */

/* The smallest hole that fits among the placed buffers of the same time, else the end of the highest of them. */
static int64_t find_hole(const struct lifetime *buffers, const int *placed, int count, const struct lifetime *buffer,
                         int64_t alignment)
{
    int64_t bytes = aligned(buffer->bytes, alignment), end = 0, best = -1, best_size = INT64_MAX;
    for (int i = 0; i < count; i++) {
        const struct lifetime *other = &buffers[placed[i]];
        if (other->last < buffer->first || other->first > buffer->last)
            continue;
        int64_t size = other->offset - end;
        if (size >= bytes && size < best_size) {
            best = end;
            best_size = size;
        }
        int64_t other_end = other->offset + aligned(other->bytes, alignment);
        end = other_end > end ? other_end : end;
    }
    return best >= 0 ? best : end;
}

static void insert_by_offset(const struct lifetime *buffers, int *placed, int count, int buffer)
{
    int i = count;
    for (; i > 0 && buffers[placed[i - 1]].offset > buffers[buffer].offset; i--)
        placed[i] = placed[i - 1];
    placed[i] = buffer;
}

static int64_t place_in_order(struct lifetime *buffers, const struct rank *ranks, int count, int64_t alignment)
{
    int *placed = room(count, sizeof *placed), placed_count = 0;
    int64_t size = 0;
    for (int i = 0; i < count; i++) {
        struct lifetime *buffer = &buffers[ranks[i].buffer];
        buffer->offset = 0;
        if (buffer->bytes == 0)
            continue;
        buffer->offset = find_hole(buffers, placed, placed_count, buffer, alignment);
        insert_by_offset(buffers, placed, placed_count++, ranks[i].buffer);
        int64_t end = buffer->offset + aligned(buffer->bytes, alignment);
        size = end > size ? end : size;
    }
    free(placed);
    return size;
}

/* ---- walking through time ---- */

struct block {
    int64_t offset, bytes;
};

static int64_t take_block(struct block **free_blocks, int64_t bytes, int64_t *size)
{
    ptrdiff_t best = -1;
    for (ptrdiff_t i = 0; i < arrlen(*free_blocks); i++)
        if ((*free_blocks)[i].bytes >= bytes && (best < 0 || (*free_blocks)[i].bytes < (*free_blocks)[best].bytes))
            best = i;
    if (best >= 0) {
        struct block *block = &(*free_blocks)[best];
        int64_t offset = block->offset;
        block->offset += bytes;
        block->bytes -= bytes;
        if (block->bytes == 0)
            arrdel(*free_blocks, best);
        return offset;
    }
    /* The arena grows; a free block at its end becomes the beginning of the new buffer. */
    int64_t offset = *size;
    if (arrlen(*free_blocks) && arrlast(*free_blocks).offset + arrlast(*free_blocks).bytes == *size)
        offset = arrpop(*free_blocks).offset;
    *size = offset + bytes;
    return offset;
}

/* Blocks are kept by offset and joined with their neighbours. */
static void give_block(struct block **free_blocks, struct block block)
{
    ptrdiff_t low = 0, high = arrlen(*free_blocks);
    while (low < high) {
        ptrdiff_t middle = (low + high) / 2;
        if ((*free_blocks)[middle].offset < block.offset)
            low = middle + 1;
        else
            high = middle;
    }
    arrins(*free_blocks, low, block);
    if (low + 1 < arrlen(*free_blocks) && block.offset + block.bytes == (*free_blocks)[low + 1].offset) {
        (*free_blocks)[low].bytes += (*free_blocks)[low + 1].bytes;
        arrdel(*free_blocks, low + 1);
    }
    if (low > 0 && (*free_blocks)[low - 1].offset + (*free_blocks)[low - 1].bytes == block.offset) {
        (*free_blocks)[low - 1].bytes += (*free_blocks)[low].bytes;
        arrdel(*free_blocks, low);
    }
}

static int64_t place_through_time(struct lifetime *buffers, int count, int64_t alignment)
{
    struct rank *starts = room(count, sizeof *starts);
    struct rank *ends = room(count, sizeof *ends);
    for (int i = 0; i < count; i++) {
        starts[i] = (struct rank){-(int64_t)buffers[i].first, buffers[i].first, i};
        ends[i] = (struct rank){-(int64_t)buffers[i].last, buffers[i].first, i};
    }
    qsort(starts, (size_t)count, sizeof *starts, compare_ranks);
    qsort(ends, (size_t)count, sizeof *ends, compare_ranks);
    struct block *free_blocks = NULL;
    int64_t size = 0;
    for (int i = 0, ended = 0; i < count; i++) {
        struct lifetime *buffer = &buffers[starts[i].buffer];
        for (; buffers[ends[ended].buffer].last < buffer->first; ended++) {
            const struct lifetime *dead = &buffers[ends[ended].buffer];
            if (dead->bytes)
                give_block(&free_blocks, (struct block){dead->offset, aligned(dead->bytes, alignment)});
        }
        buffer->offset = buffer->bytes ? take_block(&free_blocks, aligned(buffer->bytes, alignment), &size) : 0;
    }
    arrfree(free_blocks);
    free(starts);
    free(ends);
    return size;
}

/* ---- choosing ---- */

enum order { BY_SIZE, BY_AREA, BY_LENGTH, ORDER_COUNT };

static int64_t order_key(enum order order, const struct lifetime *buffer)
{
    int64_t length = buffer->last - buffer->first + 1;
    switch (order) {
    case BY_SIZE:
        return buffer->bytes;
    case BY_AREA:
        return buffer->bytes / 64 * length;
    default:
        return length;
    }
}

static int64_t place_by(enum order order, struct lifetime *buffers, int count, int64_t alignment)
{
    struct rank *ranks = room(count, sizeof *ranks);
    for (int i = 0; i < count; i++)
        ranks[i] = (struct rank){order_key(order, &buffers[i]), buffers[i].first, i};
    qsort(ranks, (size_t)count, sizeof *ranks, compare_ranks);
    int64_t size = place_in_order(buffers, ranks, count, alignment);
    free(ranks);
    return size;
}

int64_t offsets_assign(struct lifetime *buffers, int count, int64_t alignment)
{
    int64_t best = place_through_time(buffers, count, alignment);
    int64_t bound = offsets_bound(buffers, count, alignment);
    struct lifetime *tried = room(count, sizeof *tried);
    for (int order = 0; order < ORDER_COUNT && best > bound && count <= TRIED_MAX; order++) {
        memcpy(tried, buffers, sizeof *tried * (size_t)count);
        int64_t size = place_by(order, tried, count, alignment);
        if (size >= best)
            continue;
        best = size;
        memcpy(buffers, tried, sizeof *tried * (size_t)count);
    }
    free(tried);
    return best;
}

int64_t offsets_bound(const struct lifetime *buffers, int count, int64_t alignment)
{
    int end = 0;
    for (int i = 0; i < count; i++)
        end = buffers[i].last > end ? buffers[i].last : end;
    int64_t *change = room(end + 1, sizeof *change), live = 0, most = 0;
    for (int i = 0; i < count; i++) {
        change[buffers[i].first] += aligned(buffers[i].bytes, alignment);
        change[buffers[i].last + 1] -= aligned(buffers[i].bytes, alignment);
    }
    for (int i = 0; i <= end; i++) {
        live += change[i];
        most = live > most ? live : most;
    }
    free(change);
    return most;
}
