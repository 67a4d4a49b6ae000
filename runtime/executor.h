/* The executor: a program on a device, with its state arena and one scratch arena that its entries share.
 *
 * Everything is prepared in executor_new: kernels compiled, library plans made, addresses resolved. A run then only
 * patches the addresses of inputs that moved and hands the list to the device, so it costs far less than a
 * microsecond a step.
 *
 * Results come one run late if the device wants it so: executor_launch gives a ticket, and executor_results waits for
 * that ticket. A caller that launches run n + 1 before it asks for the results of run n never stops the device. At
 * most EXECUTOR_IN_FLIGHT tickets may be outstanding. */
#ifndef CASTOR_RUNTIME_EXECUTOR_H
#define CASTOR_RUNTIME_EXECUTOR_H

#include "runtime/device.h"

enum { EXECUTOR_IN_FLIGHT = 2 };

struct executor;

/* Takes neither program nor device: both must outlive it. With `check`, arenas are fenced by sentinels that are looked
 * at after every step, and scratch is filled with NaN before every run, so a read of what nothing wrote shows. State is
 * zero until the entry `init` ran. NULL with an error set on failure. */
struct executor *executor_new(struct device *device, const struct program *program, bool check, struct error *error);
void executor_free(struct executor *executor);

/* What `check` does, for runs as they are without it, kernels in strips: fills scratch with NaN; tells whether what
 * lies around the arenas is as it was. Nothing may be running. */
void executor_spoil(struct executor *executor);
bool executor_is_fenced(struct executor *executor);

const struct program *executor_program(const struct executor *executor);
struct device *executor_device(const struct executor *executor);

/* The number of the entry of this name, -1 when the program has none. */
int executor_entry(const struct executor *executor, const char *name);

/* Runs entry `number` (see executor_entry). inputs[i] is the address of entry->inputs[i], in the host's memory, aligned
 * to 64 bytes, and must stay unchanged until the results are there. Returns a ticket from 1 up, 0 with an error set on
 * failure. */
uint64_t executor_launch(struct executor *executor, int number, const void *const *inputs, struct error *error);
/* The scalar outputs of that run, in the order of entry->outputs (NaN for outputs that are no scalars). Valid until
 * EXECUTOR_IN_FLIGHT further launches. NULL with an error set when the device failed since. */
const double *executor_results(struct executor *executor, uint64_t ticket, struct error *error);

/* Launches an entry without inputs (init, refresh, update) if the program has it, and waits. True when it has none. */
bool executor_run(struct executor *executor, const char *name, struct error *error);

/* Sets the error and gives true when the device failed in what cannot say so itself: executor_read, _write, _set, _get
 * and _output, whose results then mean nothing. To be asked before such results are used. */
bool executor_failed(struct executor *executor, struct error *error);

/* Bytes of a variable as it is stored (see tensor.h for conversions). */
void executor_read(struct executor *executor, const struct program_variable *variable, void *to);
void executor_write(struct executor *executor, const struct program_variable *variable, const void *from);
/* Sets a scalar variable by name, rounded to its type; without effect when the program has none of this name. */
void executor_set(struct executor *executor, const char *name, double value);
void executor_set_integer(struct executor *executor, const char *name, int64_t value);
/* NaN when there is none of this name or it is no scalar. */
double executor_get(struct executor *executor, const char *name);

/* Bytes of output number `output` of the entry as they lie after its last run, as stored. */
void executor_output(struct executor *executor, int entry, int output, void *to);

/* What a step costs: the median time of its runs, what does it ("kernel", or as the device says), and what the device
 * counts. */
struct executor_cost {
    double seconds;
    const char *by;
    int count;
    struct device_count counts[DEVICE_COUNTS];
};

/* Runs entry `number` so many times, step by step, and writes into costs[step] what each costs. The state moves on as
 * in any run. Steps of a strip run together: what they cost is told of the first, the others cost nothing. */
bool executor_profile(struct executor *executor, int number, const void *const *inputs, int runs,
                      struct executor_cost *costs, struct error *error);

/* Bytes that this executor allocated: state and scratch. */
uint64_t executor_state_bytes(const struct executor *executor);
uint64_t executor_scratch_bytes(const struct executor *executor);

#endif
