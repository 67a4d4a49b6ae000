/* Streams of the simulated GPU that do their work late: what is not waited for is not done. And what a captured stream
 * must not be asked. */
#include "check.h"

#if CASTOR_CUDA
#include "runtime/sim/sim.h"

enum { BYTES = 64 };

struct machine {
    struct driver *driver;
    CUstream first, second;
    CUevent event;
    CUdeviceptr memory;
    unsigned char *pinned;
};

static struct machine machine_new(unsigned late)
{
    struct error error = {0};
    struct machine machine = {.driver = sim_driver_new(&(struct sim_settings){.threads = 1, .late = late}, &error)};
    struct driver *driver = machine.driver;
    CHECK(driver->StreamCreate(driver, &machine.first, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
    CHECK(driver->StreamCreate(driver, &machine.second, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
    CHECK(driver->EventCreate(driver, &machine.event, 0) == CUDA_SUCCESS);
    CHECK(driver->MemAlloc(driver, &machine.memory, BYTES) == CUDA_SUCCESS);
    CHECK(driver->MemHostAlloc(driver, (void **)&machine.pinned, 2 * BYTES, 0) == CUDA_SUCCESS);
    memset(machine.pinned, 0, 2 * BYTES);
    return machine;
}

static void machine_free(const struct machine *machine)
{
    struct driver *driver = machine->driver;
    CHECK(driver->EventDestroy(driver, machine->event) == CUDA_SUCCESS);
    CHECK(driver->StreamDestroy(driver, machine->second) == CUDA_SUCCESS);
    CHECK(driver->StreamDestroy(driver, machine->first) == CUDA_SUCCESS);
    CHECK(driver->MemFree(driver, machine->memory) == CUDA_SUCCESS);
    CHECK(driver->MemFreeHost(driver, machine->pinned) == CUDA_SUCCESS);
    driver->free(driver);
}

static void fill(const struct machine *machine, unsigned char value, CUstream stream)
{
    struct driver *driver = machine->driver;
    CHECK(driver->MemsetD8Async(driver, machine->memory, value, BYTES, stream) == CUDA_SUCCESS);
}

static void fetch(const struct machine *machine, unsigned char *to, CUstream stream)
{
    struct driver *driver = machine->driver;
    CHECK(driver->MemcpyDtoHAsync(driver, to, machine->memory, BYTES, stream) == CUDA_SUCCESS);
}

/* Page-locked memory is used when the stream comes to it, other memory before the call returns. */
static void check_host_memory(void)
{
    struct machine machine = machine_new(1);
    struct driver *driver = machine.driver;
    unsigned char plain[BYTES];
    machine.pinned[0] = 1;
    CHECK(driver->MemcpyHtoDAsync(driver, machine.memory, machine.pinned, BYTES, machine.first) == CUDA_SUCCESS);
    machine.pinned[0] = 2; /* too early */
    fetch(&machine, machine.pinned + BYTES, machine.first);
    CHECK(machine.pinned[BYTES] == 0);
    CHECK(driver->StreamSynchronize(driver, machine.first) == CUDA_SUCCESS);
    CHECK(machine.pinned[BYTES] == 2);
    memset(plain, 3, sizeof plain);
    CHECK(driver->MemcpyHtoDAsync(driver, machine.memory, plain, BYTES, machine.first) == CUDA_SUCCESS);
    memset(plain, 4, sizeof plain);
    fetch(&machine, plain, machine.first);
    CHECK(plain[0] == 3);
    machine_free(&machine);
}

/* The second stream takes what the first one has written, with or without waiting for that. */
static void check_streams(unsigned late, bool waits, unsigned char seen)
{
    struct machine machine = machine_new(late);
    struct driver *driver = machine.driver;
    fill(&machine, 5, NULL);
    fill(&machine, 6, machine.first);
    CHECK(driver->EventRecord(driver, machine.event, machine.first) == CUDA_SUCCESS);
    CHECK(driver->EventQuery(driver, machine.event) == (late & 1 ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS));
    if (waits)
        CHECK(driver->StreamWaitEvent(driver, machine.second, machine.event, 0) == CUDA_SUCCESS);
    fill(&machine, 7, machine.first); /* behind the record: nobody waits for it */
    fetch(&machine, machine.pinned, machine.second);
    CHECK(machine.pinned[0] == (late & 2 ? 0 : seen));
    CHECK(driver->StreamSynchronize(driver, machine.second) == CUDA_SUCCESS);
    CHECK(machine.pinned[0] == seen);
    machine_free(&machine);
}

/* A graph reads what is there when its stream comes to it, and the event behind it tells that it has. */
static void check_graph(void)
{
    struct machine machine = machine_new(1);
    struct driver *driver = machine.driver;
    CUgraph graph = NULL;
    CUgraphExec executable = NULL;
    fill(&machine, 1, machine.first);
    CHECK(driver->StreamBeginCapture(driver, machine.first, CU_STREAM_CAPTURE_MODE_RELAXED) == CUDA_SUCCESS);
    fetch(&machine, machine.pinned, machine.first);
    CHECK(driver->StreamEndCapture(driver, machine.first, &graph) == CUDA_SUCCESS);
    CHECK(driver->GraphInstantiate(driver, &executable, graph, 0) == CUDA_SUCCESS);
    CHECK(driver->GraphDestroy(driver, graph) == CUDA_SUCCESS);
    fill(&machine, 8, machine.first);
    CHECK(driver->GraphLaunch(driver, executable, machine.first) == CUDA_SUCCESS);
    CHECK(driver->EventRecord(driver, machine.event, machine.first) == CUDA_SUCCESS);
    fill(&machine, 9, machine.first);
    CHECK(driver->GraphExecDestroy(driver, executable) == CUDA_SUCCESS);
    CHECK(machine.pinned[0] == 0);
    CHECK(driver->EventSynchronize(driver, machine.event) == CUDA_SUCCESS && machine.pinned[0] == 8);
    machine_free(&machine);
}

static void check_capture(void)
{
    struct machine machine = machine_new(0);
    struct driver *driver = machine.driver;
    CUgraph graph = NULL;
    CHECK(driver->EventRecord(driver, machine.event, machine.second) == CUDA_SUCCESS);
    CHECK(driver->StreamBeginCapture(driver, machine.first, CU_STREAM_CAPTURE_MODE_RELAXED) == CUDA_SUCCESS);
    CHECK(driver->StreamWaitEvent(driver, machine.first, machine.event, 0) == CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
    CHECK(driver->StreamSynchronize(driver, machine.first) == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    CHECK(driver->EventRecord(driver, machine.event, machine.first) == CUDA_SUCCESS);
    CHECK(driver->StreamWaitEvent(driver, machine.first, machine.event, 0) == CUDA_SUCCESS);
    CHECK(driver->EventSynchronize(driver, machine.event) == CUDA_ERROR_CAPTURED_EVENT);
    CHECK(driver->EventQuery(driver, machine.event) == CUDA_ERROR_CAPTURED_EVENT);
    CHECK(driver->StreamWaitEvent(driver, machine.second, machine.event, 0) == CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
    CHECK(driver->StreamEndCapture(driver, machine.first, &graph) == CUDA_SUCCESS);
    CHECK(driver->GraphDestroy(driver, graph) == CUDA_SUCCESS);
    CHECK(driver->EventRecord(driver, machine.event, machine.first) == CUDA_SUCCESS);
    CHECK(driver->EventSynchronize(driver, machine.event) == CUDA_SUCCESS);
    machine_free(&machine);
}

int main(void)
{
    check_host_memory();
    check_streams(0, false, 7);
    for (unsigned late = 1; late < 4; late++)
        check_streams(late, true, late & 1 ? 6 : 7);
    check_streams(1, false, 5); /* who does not wait sees what was before */
    check_streams(3, false, 5);
    check_graph();
    check_capture();
    return check_result();
}
#else
int main(void)
{
    return 77;
}
#endif
