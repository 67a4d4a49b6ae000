/* Running a launch: blocks over the CPU's threads.
 *
 * Blocks of an ordinary launch are taken in order and run one at a time by each worker, so what a block leaves behind
 * is the next one's memory. Those of a cooperative launch all exist at once: a worker goes round its share, each block
 * having its turn, so that one block may wait for another. After a fault no later block starts. */
#include "runtime/sim/execute.h"

#include <sched.h>
#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

static size_t aligned(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static void block_free(struct block *block)
{
    if (!block)
        return;
    for (int w = 0; w < WARPS_MAX; w++) {
        arrfree(block->warps[w].splits);
        arrfree(block->warps[w].copies);
        arrfree(block->warps[w].commits);
    }
    free(block->memory);
    free(block->shared.bytes);
    free(block->shared.writer);
    free(block->shared.reader);
    free(block->shared.mixed);
    free(block);
}

static bool shared_new(struct shared *shared, size_t bytes)
{
    size_t room = aligned(bytes ? bytes : 1);
    shared->capacity = room;
    shared->bytes = aligned_alloc(64, room);
    shared->writer = calloc(room / 4, sizeof *shared->writer);
    shared->reader = calloc(room / 4, sizeof *shared->reader);
    shared->mixed = malloc(room / 4 * sizeof *shared->mixed);
    return shared->bytes && shared->writer && shared->reader && shared->mixed;
}

/* Memory for the warps of one block: registers, predicates, local memory with its shadow. */
static struct block *block_new(struct launch *launch, struct worker *worker)
{
    const struct sim_kernel *kernel = launch->kernel;
    struct block *block = calloc(1, sizeof *block);
    if (!block)
        return NULL;
    block->launch = launch;
    block->worker = worker;
    block->warp_count = (launch->thread_count + LANES - 1) / LANES;
    size_t registers = aligned(kernel->register_bytes), predicates = aligned(kernel->predicate_count * 4);
    size_t local = kernel->local_stride * LANES, shadow = aligned(shadow_words(local) * sizeof(uint64_t));
    size_t each = registers + predicates + local + shadow;
    block->memory = aligned_alloc(64, each * block->warp_count);
    if (!block->memory || !shared_new(&block->shared, launch->shared_bytes)) {
        block_free(block);
        return NULL;
    }
    for (uint32_t w = 0; w < block->warp_count; w++) {
        struct warp *warp = &block->warps[w];
        uint8_t *memory = block->memory + w * each;
        memcpy(memory, kernel->image, kernel->register_bytes);
        memset(memory + registers, 0, each - registers);
        warp->registers = memory;
        warp->predicates = (uint32_t *)(void *)(memory + registers);
        warp->local = memory + registers + predicates;
        warp->local_written = (uint64_t *)(void *)(warp->local + local);
        warp->block = block;
        warp->number = w;
        warp->isa = launch->isa;
        warp->counters = &worker->counters;
        warp_set_specials(warp, false);
    }
    return block;
}

static void block_start(struct block *block, uint64_t index)
{
    const struct launch *launch = block->launch;
    block->index = index;
    block->x = (uint32_t)(index % launch->grid[0]);
    block->y = (uint32_t)(index / launch->grid[0] % launch->grid[1]);
    block->z = (uint32_t)(index / launch->grid[0] / launch->grid[1]);
    block->done = 0;
    shared_reset(&block->shared, launch->shared_bytes);
    memset(block->barriers, 0, sizeof block->barriers);
    for (uint32_t w = 0; w < block->warp_count; w++) {
        if (launch->kernel->local_bytes)
            memset(block->warps[w].local_written, 0,
                   shadow_words(launch->kernel->local_stride * LANES) * sizeof(uint64_t));
        warp_start(&block->warps[w]);
    }
}

/* Gives every warp of the block a turn; false after a fault. */
static bool block_turn(struct block *block)
{
    for (uint32_t w = 0; w < block->warp_count; w++) {
        struct warp *warp = &block->warps[w];
        if (warp->state != WARP_READY)
            continue;
        if (!warp_run(warp) && warp->state != WARP_DONE)
            return false;
        if (warp->state == WARP_DONE)
            block->done++;
    }
    return block->done == block->warp_count || barrier_settle(block);
}

static bool failed_before(const struct launch *launch, uint64_t block)
{
    return __atomic_load_n(&launch->fault_block, __ATOMIC_SEQ_CST) < block;
}

static void run_ordinary(struct worker *worker)
{
    struct launch *launch = worker->launch;
    struct block *block = worker->blocks[0];
    for (;;) {
        uint64_t index = __atomic_fetch_add(&launch->next, 1, __ATOMIC_SEQ_CST);
        if (index >= launch->block_count || failed_before(launch, index))
            return;
        block_start(block, index);
        while (block->done < block->warp_count)
            if (!block_turn(block))
                return;
    }
}

/* A fault in any block ends all: those that wait for the block would wait for ever. */
static void run_cooperative(struct worker *worker)
{
    struct launch *launch = worker->launch;
    ptrdiff_t count = arrlen(worker->blocks), done = 0;
    while (done < count) {
        done = 0;
        for (ptrdiff_t i = 0; i < count; i++) {
            struct block *block = worker->blocks[i];
            if (__atomic_load_n(&launch->fault_block, __ATOMIC_SEQ_CST) != UINT64_MAX)
                return;
            if (block->done < block->warp_count && !block_turn(block))
                return;
            done += block->done == block->warp_count;
        }
        if (done < count)
            sched_yield();
    }
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    if (worker->launch->cooperative)
        run_cooperative(worker);
    else
        run_ordinary(worker);
    return NULL;
}

static bool worker_new(struct launch *launch, struct worker *worker, int number)
{
    worker->launch = launch;
    worker->hints = calloc(arrlenu(launch->kernel->ops) + 1, sizeof *worker->hints);
    worker->visits = calloc(arrlenu(launch->kernel->ops) + 1, sizeof *worker->visits);
    if (!worker->hints || !worker->visits)
        return false;
    uint64_t step = launch->cooperative ? (uint64_t)launch->worker_count : launch->block_count;
    for (uint64_t index = (uint64_t)number; index < launch->block_count || !arrlen(worker->blocks); index += step) {
        struct block *block = block_new(launch, worker);
        if (!block)
            return false;
        arrput(worker->blocks, block);
        if (launch->cooperative)
            block_start(block, index);
    }
    return true;
}

static void worker_free(struct worker *worker)
{
    for (ptrdiff_t i = 0; i < arrlen(worker->blocks); i++)
        block_free(worker->blocks[i]);
    arrfree(worker->blocks);
    free(worker->hints);
    free(worker->visits);
}

/* A worker notes where stretches of ops begin and end; here they become counts of instructions. */
static void worker_count(struct worker *worker)
{
    const struct op *ops = worker->launch->kernel->ops;
    uint64_t times = 0;
    for (ptrdiff_t i = 0; i < arrlen(ops); i++) {
        times += worker->visits[i];
        if (ops[i].class != CLASS_NONE)
            worker->counters.instructions[ops[i].class] += times;
    }
}

/* The calling thread is the first worker. Threads that cannot be had are done without, where blocks do not wait for
 * each other. */
static bool run_workers(struct launch *launch, struct worker *workers)
{
    bool good = true;
    for (int i = 1; i < launch->worker_count; i++) {
        workers[i].running = pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]) == 0;
        good = good && (workers[i].running || !launch->cooperative);
    }
    if (good)
        worker_main(&workers[0]);
    else
        __atomic_store_n(&launch->fault_block, 0, __ATOMIC_SEQ_CST);
    for (int i = 1; i < launch->worker_count; i++)
        if (workers[i].running)
            pthread_join(workers[i].thread, NULL);
    return good;
}

bool launch_run(struct launch *launch, struct error *error)
{
    if ((uint64_t)launch->worker_count > launch->block_count)
        launch->worker_count = (int)launch->block_count;
    const int count = launch->worker_count;
    if (count < 1)
        return error_set(error, "kernel %s is launched without blocks", launch->kernel->name);
    struct worker *workers = calloc((size_t)count, sizeof *workers);
    bool good = workers != NULL;
    launch->fault_block = UINT64_MAX;
    launch->next = 0;
    pthread_mutex_init(&launch->lock, NULL);
    for (int i = 0; good && i < count; i++)
        good = worker_new(launch, &workers[i], i);
    if (!good)
        error_set(error, "no memory for the blocks of kernel %s", launch->kernel->name);
    else if (!run_workers(launch, workers))
        error_set(error, "no threads for the blocks of kernel %s", launch->kernel->name);
    for (int i = 0; workers && i < count; i++) {
        if (workers[i].visits)
            worker_count(&workers[i]);
        sim_counters_add(&launch->kernel->counters, &workers[i].counters);
        worker_free(&workers[i]);
    }
    launch->kernel->counters.launches++;
    free(workers);
    pthread_mutex_destroy(&launch->lock);
    if (launch->fault[0])
        error_set(error, "%s", launch->fault);
    return !error->code;
}
