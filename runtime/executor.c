/* Preparing and running the entries of a program.
 *
 * All entries share one scratch arena, as large as the largest needs. A call whose buffers lie in inputs has its
 * addresses patched when they change (`patch`); all other addresses are fixed for good.
 *
 * On a device with memory of its own, inputs have two places there, one for each slot of the device: run n + 1 is fed
 * into one while run n reads the other. Tickets take the slots in turn. */
#include "runtime/executor.h"
#include "runtime/tensor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A fence is as long as the largest alignment of a program, so that what lies between two is aligned. */
enum { FENCE_BYTES = 256, FENCE_STEP = 64, FENCE_VALUE = 0xa5, UNWRITTEN = 0xff };

_Static_assert((int)EXECUTOR_IN_FLIGHT == (int)DEVICE_SLOTS, "a ticket a slot");

/* A buffer address that is input `input` plus an offset. */
struct patch {
    char **address;
    uint32_t input;
    uint64_t offset;
};

struct entry {
    const struct program_entry *program;
    struct device_call *calls;
    int prepared; /* calls that the device has prepared */
    char **addresses;
    struct patch *patches;
    int patch_count;
    const void **inputs; /* as last patched */
    struct device_list lists[DEVICE_SLOTS];
    struct device_copy *copies[DEVICE_SLOTS]; /* to the inputs' places */
    struct device_result *results;            /* of scalar outputs, in their order */
    int result_count;
};

struct ticket {
    uint64_t number;
    double *values;
    struct entry *pending; /* whose results the device still has */
};

struct executor {
    struct device *device;
    const struct program *program;
    bool check;
    void *kernels;
    char *state, *scratch;             /* inside their fences */
    char *state_block, *scratch_block; /* as allocated */
    char *inputs[DEVICE_SLOTS];        /* where the device's memory is its own */
    uint64_t scratch_bytes;
    struct entry *entries;
    uint64_t launches;
    struct ticket tickets[EXECUTOR_IN_FLIGHT];
};

/* ---- memory ---- */

static uint64_t round_up(uint64_t bytes)
{
    return (bytes + FENCE_STEP - 1) / FENCE_STEP * FENCE_STEP;
}

/* What an input takes of its slot's places. */
static uint64_t input_bytes(const struct program_input *input)
{
    return (program_tensor_bytes(&input->tensor) + FENCE_BYTES - 1) / FENCE_BYTES * FENCE_BYTES;
}

/* An arena with a fence before and behind it. Both fences are there without `check` too: they keep neighbours apart. */
static char *allocate_arena(struct executor *executor, uint64_t bytes, char **block)
{
    char *memory = executor->device->allocate(executor->device, round_up(bytes) + 2 * FENCE_BYTES);
    if (!memory)
        return NULL;
    *block = memory;
    executor->device->fill(executor->device, memory, FENCE_VALUE, FENCE_BYTES);
    executor->device->fill(executor->device, memory + FENCE_BYTES + round_up(bytes), FENCE_VALUE, FENCE_BYTES);
    return memory + FENCE_BYTES;
}

static bool fences_hold(struct executor *executor, const char *arena, uint64_t bytes)
{
    unsigned char fence[2 * FENCE_BYTES];
    struct device *device = executor->device;
    device->download(device, fence, arena - FENCE_BYTES, FENCE_BYTES);
    device->download(device, fence + FENCE_BYTES, arena + round_up(bytes), FENCE_BYTES);
    for (size_t i = 0; i < sizeof fence; i++)
        if (fence[i] != FENCE_VALUE)
            return false;
    return true;
}

/* ---- preparing ---- */

static char *place_address(const struct executor *executor, const struct program_place *place)
{
    switch (place->space) {
    case PROGRAM_STATE:
        return executor->state + place->offset;
    case PROGRAM_SCRATCH:
        return executor->scratch + place->offset;
    default:
        return NULL; /* patched at each run */
    }
}

static void resolve_step(const struct executor *executor, struct entry *entry, struct device_call *call)
{
    const struct program_step *step = call->step;
    for (int i = 0; i < step->buffer_count; i++) {
        const struct program_place *place = &step->buffers[i];
        call->buffers[i] = place_address(executor, place);
        if (place->space == PROGRAM_INPUT)
            entry->patches[entry->patch_count++] = (struct patch){&call->buffers[i], place->input, place->offset};
    }
}

static bool allocate_entry(struct entry *entry, const struct program_entry *program)
{
    size_t buffers = 0, patches = 0;
    for (int i = 0; i < program->step_count; i++) {
        buffers += (size_t)program->steps[i].buffer_count;
        for (int j = 0; j < program->steps[i].buffer_count; j++)
            patches += program->steps[i].buffers[j].space == PROGRAM_INPUT;
    }
    entry->program = program;
    entry->calls = calloc((size_t)program->step_count + 1, sizeof *entry->calls);
    entry->addresses = calloc(buffers + 1, sizeof *entry->addresses);
    entry->patches = calloc(patches + 1, sizeof *entry->patches);
    entry->inputs = calloc((size_t)program->input_count + 1, sizeof *entry->inputs);
    entry->results = calloc((size_t)program->output_count + 1, sizeof *entry->results);
    bool good = entry->calls && entry->addresses && entry->patches && entry->inputs && entry->results;
    for (int i = 0; i < DEVICE_SLOTS; i++)
        good &= (entry->copies[i] = calloc((size_t)program->input_count + 1, sizeof *entry->copies[i])) != NULL;
    return good;
}

/* What a device with memory of its own is to do around the calls, in each of its slots. */
static void make_lists(struct executor *executor, struct entry *entry)
{
    const struct program_entry *program = entry->program;
    for (int i = 0; i < program->output_count; i++) {
        const struct program_output *output = &program->outputs[i];
        if (program_tensor_elements(&output->tensor) == 1 && output->place.space != PROGRAM_INPUT)
            entry->results[entry->result_count++] = (struct device_result){
                place_address(executor, &output->place), program_element_bytes(output->tensor.storage)};
    }
    for (int slot = 0; slot < DEVICE_SLOTS; slot++) {
        char *place = executor->inputs[slot];
        entry->lists[slot] = (struct device_list){.calls = entry->calls,
                                                  .count = program->step_count,
                                                  .results = entry->results,
                                                  .result_count = entry->result_count,
                                                  .slot = slot};
        for (int i = 0; i < program->input_count; i++) {
            size_t bytes = program_tensor_bytes(&program->inputs[i].tensor);
            entry->copies[slot][i] = (struct device_copy){.to = place, .bytes = bytes};
            place += input_bytes(&program->inputs[i]);
        }
    }
}

static bool prepare_entry(struct executor *executor, struct entry *entry, const struct program_entry *program,
                          struct error *error)
{
    if (!allocate_entry(entry, program))
        return error_set(error, "out of memory");
    if (!executor->device->host_memory)
        make_lists(executor, entry);
    char **buffers = entry->addresses;
    for (int i = 0; i < program->step_count; i++) {
        struct device_call *call = &entry->calls[i];
        *call = (struct device_call){
            .step = &program->steps[i], .buffers = buffers, .strip = program_find_strip(program, i)};
        buffers += program->steps[i].buffer_count;
        resolve_step(executor, entry, call);
        entry->prepared = i + 1;
        if (!executor->device->prepare(executor->device, executor->kernels, call, error))
            return false;
    }
    return true;
}

static bool allocate_results(struct executor *executor)
{
    int most = 0;
    for (int i = 0; i < executor->program->entry_count; i++)
        if (executor->program->entries[i].output_count > most)
            most = executor->program->entries[i].output_count;
    for (int i = 0; i < EXECUTOR_IN_FLIGHT; i++)
        if (!(executor->tickets[i].values = calloc((size_t)most + 1, sizeof(double))))
            return false;
    return true;
}

/* Places for the inputs of the entry that has most of them. */
static bool allocate_inputs(struct executor *executor)
{
    uint64_t most = 0;
    for (int i = 0; i < executor->program->entry_count; i++) {
        const struct program_entry *entry = &executor->program->entries[i];
        uint64_t bytes = 0;
        for (int j = 0; j < entry->input_count; j++)
            bytes += input_bytes(&entry->inputs[j]);
        most = bytes > most ? bytes : most;
    }
    for (int slot = 0; slot < DEVICE_SLOTS; slot++)
        if (!(executor->inputs[slot] = executor->device->allocate(executor->device, most)))
            return false;
    return true;
}

static bool allocate_arenas(struct executor *executor)
{
    const struct program *program = executor->program;
    for (int i = 0; i < program->entry_count; i++)
        if (program->entries[i].scratch_bytes > executor->scratch_bytes)
            executor->scratch_bytes = program->entries[i].scratch_bytes;
    uint64_t memory = executor->device->facts.memory_bytes;
    if (memory && (executor->scratch_bytes > memory || program->state_bytes > memory - executor->scratch_bytes))
        return false;
    executor->state = allocate_arena(executor, program->state_bytes, &executor->state_block);
    executor->scratch = allocate_arena(executor, executor->scratch_bytes, &executor->scratch_block);
    if (executor->state)
        executor->device->fill(executor->device, executor->state, 0, program->state_bytes);
    executor->entries = calloc((size_t)program->entry_count + 1, sizeof *executor->entries);
    return executor->state && executor->scratch && executor->entries && allocate_results(executor) &&
           (executor->device->host_memory || allocate_inputs(executor));
}

static bool prepare(struct executor *executor, struct error *error)
{
    const struct program *program = executor->program;
    char problem[512];
    if (!program_check(program, problem, sizeof problem))
        return error_set(error, "the program is not sound: %s", problem);
    executor->kernels = executor->device->load(executor->device, program, error);
    if (!executor->kernels)
        return false;
    if (!allocate_arenas(executor))
        return !executor->device->failed(executor->device, error) &&
               error_set(error, "out of memory: the program needs %llu bytes of state and %llu of scratch",
                         (unsigned long long)program->state_bytes, (unsigned long long)executor->scratch_bytes);
    for (int i = 0; i < program->entry_count; i++)
        if (!prepare_entry(executor, &executor->entries[i], &program->entries[i], error))
            return false;
    return !executor->device->failed(executor->device, error);
}

struct executor *executor_new(struct device *device, const struct program *program, bool check, struct error *error)
{
    struct executor *executor = calloc(1, sizeof *executor);
    if (!executor) {
        error_set(error, "out of memory");
        return NULL;
    }
    executor->device = device;
    executor->program = program;
    executor->check = check;
    if (prepare(executor, error))
        return executor;
    executor_free(executor);
    return NULL;
}

static void release_entry(struct device *device, struct entry *entry)
{
    for (int slot = 0; slot < DEVICE_SLOTS; slot++) {
        if (entry->lists[slot].prepared)
            device->forget(device, &entry->lists[slot]);
        free(entry->copies[slot]);
    }
    for (int i = 0; i < entry->prepared; i++)
        device->discard(device, &entry->calls[i]);
    free(entry->calls);
    free(entry->addresses);
    free(entry->patches);
    free(entry->inputs);
    free(entry->results);
}

void executor_free(struct executor *executor)
{
    if (!executor)
        return;
    struct device *device = executor->device;
    device->finish(device);
    for (int i = 0; executor->entries && i < executor->program->entry_count; i++)
        release_entry(device, &executor->entries[i]);
    free(executor->entries);
    for (int i = 0; i < DEVICE_SLOTS; i++)
        device->release(device, executor->inputs[i]);
    for (int i = 0; i < EXECUTOR_IN_FLIGHT; i++)
        free(executor->tickets[i].values);
    device->release(device, executor->state_block);
    device->release(device, executor->scratch_block);
    if (executor->kernels)
        device->unload(device, executor->kernels);
    free(executor);
}

/* ---- running ---- */

/* Puts the inputs where the calls read them: where they lie, or in the slot's places on the device. */
static bool take_inputs(struct executor *executor, struct entry *entry, int slot, const void *const *inputs)
{
    bool moved = false, in_place = executor->device->host_memory;
    for (int i = 0; i < entry->program->input_count; i++) {
        if (!inputs || !inputs[i])
            return false;
        struct device_copy *copy = &entry->copies[slot][i];
        copy->from = inputs[i];
        const void *place = in_place ? inputs[i] : copy->to;
        moved |= entry->inputs[i] != place;
        entry->inputs[i] = place;
    }
    for (int i = 0; moved && i < entry->patch_count; i++) {
        const struct patch *patch = &entry->patches[i];
        *patch->address = (char *)entry->inputs[patch->input] + patch->offset;
    }
    return true;
}

void executor_spoil(struct executor *executor)
{
    executor->device->fill(executor->device, executor->scratch, UNWRITTEN, executor->scratch_bytes);
}

bool executor_is_fenced(struct executor *executor)
{
    return fences_hold(executor, executor->state, executor->program->state_bytes) &&
           fences_hold(executor, executor->scratch, executor->scratch_bytes);
}

/* One call at a time, with the fences looked at after each, so that the culprit is named. */
static bool run_checked(struct executor *executor, struct entry *entry, struct error *error)
{
    executor_spoil(executor);
    for (int i = 0; i < entry->program->step_count; i++) {
        const struct program_step *step = &entry->program->steps[i];
        if (!executor->device->run(executor->device, &entry->calls[i], 1, error))
            return false;
        if (!executor_is_fenced(executor))
            return error_set(error, "step %s of %s (%s:%d) wrote outside its memory", step->name, entry->program->name,
                             step->file ? step->file : "?", step->line);
    }
    return true;
}

static const void *output_address(const struct executor *executor, const struct entry *entry,
                                  const struct program_output *output)
{
    if (output->place.space == PROGRAM_INPUT)
        return (const char *)entry->inputs[output->place.input] + output->place.offset;
    return place_address(executor, &output->place);
}

static void collect(struct executor *executor, const struct entry *entry, double *values)
{
    for (int i = 0; i < entry->program->output_count; i++) {
        const struct program_output *output = &entry->program->outputs[i];
        char bytes[16];
        values[i] = NAN;
        if (program_tensor_elements(&output->tensor) != 1)
            continue;
        executor->device->download(executor->device, bytes, output_address(executor, entry, output),
                                   program_element_bytes(output->tensor.storage));
        values[i] = tensor_get(output->tensor.storage, bytes);
    }
}

/* For runs call by call: brings the inputs and waits for it. */
static void upload_inputs(struct executor *executor, struct entry *entry, int slot)
{
    struct device *device = executor->device;
    for (int i = 0; !device->host_memory && i < entry->program->input_count; i++)
        device->upload(device, entry->copies[slot][i].to, entry->copies[slot][i].from, entry->copies[slot][i].bytes);
}

static bool run_entry(struct executor *executor, struct entry *entry, struct ticket *ticket, int slot,
                      struct error *error)
{
    struct device *device = executor->device;
    if (!device->host_memory && !executor->check) {
        ticket->pending = entry;
        return device->submit(device, &entry->lists[slot], entry->copies[slot], entry->program->input_count, error);
    }
    upload_inputs(executor, entry, slot);
    bool ok = executor->check ? run_checked(executor, entry, error)
                              : device->run(device, entry->calls, entry->program->step_count, error);
    if (ok)
        collect(executor, entry, ticket->values);
    return ok && !device->failed(device, error);
}

uint64_t executor_launch(struct executor *executor, int number, const void *const *inputs, struct error *error)
{
    struct entry *entry = &executor->entries[number];
    uint64_t ticket = executor->launches + 1;
    int slot = (int)(ticket % EXECUTOR_IN_FLIGHT);
    struct ticket *kept = &executor->tickets[slot];
    if (!take_inputs(executor, entry, slot, inputs)) {
        error_set(error, "an input of %s is missing", entry->program->name);
        return 0;
    }
    *kept = (struct ticket){.values = kept->values};
    if (!run_entry(executor, entry, kept, slot, error))
        return 0;
    executor->launches = kept->number = ticket;
    return ticket;
}

/* Takes the results of a run from the device. */
static bool receive(struct executor *executor, struct ticket *ticket, int slot, struct error *error)
{
    struct entry *entry = ticket->pending;
    struct device *device = executor->device;
    const char *bytes = device->results(device, &entry->lists[slot], error);
    for (int i = 0, result = 0; bytes && i < entry->program->output_count; i++) {
        const struct program_output *output = &entry->program->outputs[i];
        ticket->values[i] = NAN;
        if (program_tensor_elements(&output->tensor) == 1 && output->place.space != PROGRAM_INPUT)
            ticket->values[i] = tensor_get(output->tensor.storage, bytes + (size_t)result++ * DEVICE_RESULT_BYTES);
    }
    ticket->pending = NULL;
    return bytes;
}

const double *executor_results(struct executor *executor, uint64_t ticket, struct error *error)
{
    int slot = (int)(ticket % EXECUTOR_IN_FLIGHT);
    struct ticket *kept = &executor->tickets[slot];
    if (kept->number != ticket) {
        error_set(error, "the results of run %llu are gone", (unsigned long long)ticket);
        return NULL;
    }
    return !kept->pending || receive(executor, kept, slot, error) ? kept->values : NULL;
}

bool executor_failed(struct executor *executor, struct error *error)
{
    return executor->device->failed(executor->device, error);
}

bool executor_run(struct executor *executor, const char *name, struct error *error)
{
    int entry = executor_entry(executor, name);
    if (entry < 0)
        return true;
    uint64_t ticket = executor_launch(executor, entry, NULL, error);
    return ticket && executor_results(executor, ticket, error);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Runs the step, or all steps of the strip that it begins, and adds to `times`, `runs` apart, what each took. Returns
 * how many they were; 0 on failure. */
static int time_step(struct device *device, struct device_call *calls, double *times, int runs, double *now,
                     struct error *error)
{
    int count = calls->strip ? calls->strip->count : 1;
    for (int i = 0; i < count && calls->strip; i++)
        calls[i].seconds = &times[i * runs];
    bool ok = device->run(device, calls, count, error);
    double before = *now;
    *now = device->finish(device);
    if (!calls->strip)
        *times = device->host_memory ? *now - before : device->run_seconds;
    for (int i = 0; i < count; i++)
        calls[i].seconds = NULL;
    return ok ? count : 0;
}

static const char *done_by(struct device *device, const struct device_call *call)
{
    bool contraction = call->step->kind == PROGRAM_MATMUL_STEP || call->step->kind == PROGRAM_CONV_STEP;
    return contraction ? device->contracts_by(device, call) : "kernel";
}

bool executor_profile(struct executor *executor, int number, const void *const *inputs, int runs,
                      struct executor_cost *costs, struct error *error)
{
    struct entry *entry = &executor->entries[number];
    struct device *device = executor->device;
    int steps = entry->program->step_count;
    if (!take_inputs(executor, entry, 0, inputs))
        return error_set(error, "an input of %s is missing", entry->program->name);
    upload_inputs(executor, entry, 0);
    double *times = calloc((size_t)runs * (size_t)steps + 1, sizeof *times);
    if (!times)
        return error_set(error, "out of memory");
    bool ok = true;
    for (int run = 0; run < runs && ok; run++) {
        double now = device->finish(device);
        for (int i = 0, count; i < steps && ok; i += count) {
            count = time_step(device, &entry->calls[i], &times[i * runs + run], runs, &now, error);
            ok = count > 0;
        }
    }
    ok = ok && !device->failed(device, error);
    for (int i = 0; i < steps && ok; i++) {
        qsort(&times[i * runs], (size_t)runs, sizeof *times, compare_doubles);
        costs[i] =
            (struct executor_cost){.seconds = times[i * runs + runs / 2], .by = done_by(device, &entry->calls[i])};
        if (device->counts)
            costs[i].count = device->counts(device, &entry->calls[i], costs[i].counts);
    }
    free(times);
    return ok;
}

/* ---- state ---- */

const struct program *executor_program(const struct executor *executor)
{
    return executor->program;
}

struct device *executor_device(const struct executor *executor)
{
    return executor->device;
}

int executor_entry(const struct executor *executor, const char *name)
{
    const struct program_entry *entry = program_find_entry(executor->program, name);
    return entry ? (int)(entry - executor->program->entries) : -1;
}

void executor_read(struct executor *executor, const struct program_variable *variable, void *to)
{
    executor->device->download(executor->device, to, executor->state + variable->offset,
                               program_tensor_bytes(&variable->tensor));
}

void executor_write(struct executor *executor, const struct program_variable *variable, const void *from)
{
    executor->device->upload(executor->device, executor->state + variable->offset, from,
                             program_tensor_bytes(&variable->tensor));
}

/* The scalar variable of this name, or NULL. */
static const struct program_variable *find_scalar(const struct executor *executor, const char *name)
{
    const struct program_variable *variable = program_find_variable(executor->program, name);
    return variable && program_tensor_elements(&variable->tensor) == 1 ? variable : NULL;
}

void executor_set(struct executor *executor, const char *name, double value)
{
    const struct program_variable *variable = find_scalar(executor, name);
    char bytes[16] = {0};
    if (!variable)
        return;
    tensor_put(variable->tensor.storage, bytes, tensor_round(variable->tensor.element, value));
    executor_write(executor, variable, bytes);
}

void executor_set_integer(struct executor *executor, const char *name, int64_t value)
{
    const struct program_variable *variable = find_scalar(executor, name);
    if (variable && variable->tensor.storage == PROGRAM_I64)
        executor_write(executor, variable, &value);
    else
        executor_set(executor, name, (double)value);
}

double executor_get(struct executor *executor, const char *name)
{
    const struct program_variable *variable = find_scalar(executor, name);
    char bytes[16];
    if (!variable)
        return NAN;
    executor_read(executor, variable, bytes);
    return tensor_get(variable->tensor.storage, bytes);
}

void executor_output(struct executor *executor, int entry, int output, void *to)
{
    const struct program_output *description = &executor->entries[entry].program->outputs[output];
    executor->device->download(executor->device, to, output_address(executor, &executor->entries[entry], description),
                               program_tensor_bytes(&description->tensor));
}

uint64_t executor_state_bytes(const struct executor *executor)
{
    return executor->program->state_bytes;
}

uint64_t executor_scratch_bytes(const struct executor *executor)
{
    return executor->scratch_bytes;
}
