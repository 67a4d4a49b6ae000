/* Dynamic loss scaling in compiled programs: a step's overflow is fed, and after each step the scale and its counters
 * must be those of the model, on the host and on the simulated GPU, with equal bits in every variable; a step that is
 * skipped leaves parameter, optimizer state and step counter as they were.
 *
 *   usage: test_scaler_devices [SEQUENCES [host|sim]] */
#include "check.h"
#include "frontend/compile.h"
#include "runtime/executor.h"
#include "runtime/tensor.h"
#include "scaler_model.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <unistd.h>

enum { BATCH = 4, WIDTH = 4, STEPS = 40, ELEMENTS = 16, VARIABLES = 32 };

/* One program on one device. */
struct machine {
    struct invocation invocation;
    struct compilation compilation;
    struct executor *executor;
    int train;
};

/* The values of all variables, by their number; a device stores them as it likes. */
struct state {
    double values[VARIABLES][ELEMENTS];
};

static void fail(const struct error *error)
{
    error_print(error, stderr);
    exit(1);
}

static void give(struct invocation *invocation, enum flag flag, const char *text)
{
    arrput(invocation->given[flag], text);
}

/* False where the device is not there. */
static bool open_machine(struct machine *machine, const char *path, const char *device)
{
    static const struct command command = {.name = "test", .groups = GROUP_BLOCK | GROUP_COMPILE};
    struct error error = {0};
    *machine = (struct machine){.invocation = {.command = &command, .words = {path}, .word_count = 1}};
    give(&machine->invocation, FLAG_device, device);
    give(&machine->invocation, FLAG_policy, "autocast(bf16)"); /* whose range is that of f32 */
    give(&machine->invocation, FLAG_threads, "1");
    struct compilation *compilation = &machine->compilation;
    int code = compilation_open(compilation, &machine->invocation);
    if (code == EXIT_DEVICE) {
        compilation_close(compilation, code);
        return false;
    }
    if (code || compilation_module(compilation, &(struct compile_request){.batch = BATCH}) ||
        compilation_program(compilation) || compilation_device(compilation))
        exit(1);
    machine->executor = executor_new(compilation->device, compilation->program, false, &error);
    if (!machine->executor)
        fail(&error);
    machine->train = executor_entry(machine->executor, "train");
    return true;
}

static void close_machine(struct machine *machine)
{
    executor_free(machine->executor);
    compilation_close(&machine->compilation, 0);
    for (int i = 0; i < FLAG_COUNT; i++)
        arrfree(machine->invocation.given[i]);
}

static void begin(struct machine *machine)
{
    struct error error = {0};
    if (!executor_run(machine->executor, "init", &error) || !executor_run(machine->executor, "refresh", &error))
        fail(&error);
}

static void step(struct machine *machine, bool overflows)
{
    static _Alignas(64) float input[BATCH * WIDTH];
    const void *inputs[] = {input};
    struct error error = {0};
    for (int i = 0; i < BATCH * WIDTH; i++)
        input[i] = overflows && i == 5 ? INFINITY : 1;
    uint64_t ticket = executor_launch(machine->executor, machine->train, inputs, &error);
    if (!ticket || !executor_results(machine->executor, ticket, &error))
        fail(&error);
}

static void read_state(struct machine *machine, struct state *state)
{
    const struct program *program = machine->compilation.program;
    memset(state, 0, sizeof *state);
    for (int i = 0; i < program->variable_count; i++) {
        _Alignas(64) unsigned char stored[ELEMENTS * sizeof(double)];
        executor_read(machine->executor, &program->variables[i], stored);
        tensor_load(&program->variables[i].tensor, stored, PROGRAM_F64, state->values[i]);
    }
}

/* What the loss scaler itself keeps, and what the host sets: a place in the graph, which is another for each device,
 * among them. */
static bool moves_with_overflow(const struct program_variable *variable)
{
    static const char *const names[] = {"train/scale", "train/clean", "train/left", "train/attempt"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(variable->name, names[i]) == 0)
            return true;
    return variable->kind == PROGRAM_HOST;
}

/* Bit for bit: NaN is the same as itself, and zeros differ by their sign. */
static bool same_bits(const void *a, const void *b, size_t bytes)
{
    return memcmp(a, b, bytes) == 0;
}

/* How many variables differ between devices that must not. */
static int differing(const struct program *program, const struct state *a, const struct state *b)
{
    int count = 0;
    for (int i = 0; i < program->variable_count; i++)
        if (program->variables[i].kind != PROGRAM_HOST && !same_bits(a->values[i], b->values[i], sizeof a->values[i])) {
            fprintf(stderr, "%s differs\n", program->variables[i].name);
            count++;
        }
    return count;
}

/* How many variables that a skipped step must leave alone it did not. */
static int moved(const struct program *program, const struct state *before, const struct state *after)
{
    int count = 0;
    for (int i = 0; i < program->variable_count; i++)
        count += !moves_with_overflow(&program->variables[i]) &&
                 !same_bits(before->values[i], after->values[i], sizeof before->values[i]);
    return count;
}

static int wrong_scale(struct machine *machine, const struct model *model)
{
    struct executor *executor = machine->executor;
    return (float)executor_get(executor, "train/scale") != model->scale ||
           (float)executor_get(executor, "train/clean") != model->clean ||
           (float)executor_get(executor, "train/left") != model->left || !(model->scale > 0) || !isfinite(model->scale);
}

/* One sequence on all devices; gives how many steps were wrong. */
static int run_sequence(struct machine *machines, int count, const struct setting *setting, double rarity,
                        uint64_t *random)
{
    static struct state states[2], before;
    struct model model = {setting->init, 0, setting->hysteresis};
    int wrong = 0;
    for (int i = 0; i < count; i++)
        begin(&machines[i]);
    for (int i = 0; i < STEPS; i++) {
        bool overflows = draw(random) < rarity;
        before = states[0];
        model_step(&model, setting, overflows);
        for (int k = 0; k < count; k++) {
            step(&machines[k], overflows);
            wrong += wrong_scale(&machines[k], &model);
            read_state(&machines[k], &states[k]);
        }
        const struct program *program = machines[0].compilation.program;
        if (i > 0)
            wrong += overflows ? moved(program, &before, &states[0]) != 0 : moved(program, &before, &states[0]) == 0;
        wrong += count == 2 && differing(program, &states[0], &states[1]) != 0;
    }
    return wrong;
}

static void write_net(const char *path, const struct setting *setting)
{
    char scale[SETTING_TEXT];
    FILE *file = fopen(path, "w");
    if (!file)
        exit(1);
    fprintf(file,
            "model (x: f32[batch, %d]) { loss = mean(linear(x, 1)) }\n"
            "train { batch %d; steps 1; minimize loss with adam(lr = 1e-3)\nscale %s }\n",
            WIDTH, BATCH, setting_text(setting, scale, sizeof scale));
    fclose(file);
}

/* So many sequences under one setting; false where a device is not there. */
static bool compare(const struct setting *setting, const char *const *devices, int count, int sequences,
                    uint64_t *random)
{
    static const double rarities[] = {0, 0.01, 0.1, 0.3, 0.6, 0.95, 1};
    struct machine machines[2];
    char folder[] = "/tmp/castor-scaler-XXXXXX", path[64], scale[SETTING_TEXT];
    int wrong = 0, opened = 0;
    if (!mkdtemp(folder))
        exit(1);
    snprintf(path, sizeof path, "%s/scaler.net", folder);
    write_net(path, setting);
    while (opened < count && open_machine(&machines[opened], path, devices[opened]))
        opened++;
    bool present = opened == count;
    for (int i = 0; i < sequences && present; i++)
        wrong += run_sequence(machines, count, setting, rarities[i % 7], random);
    while (opened > 0)
        close_machine(&machines[--opened]);
    unlink(path);
    rmdir(folder);
    if (wrong)
        fprintf(stderr, "%s: %d wrong steps\n", setting_text(setting, scale, sizeof scale), wrong);
    CHECK(wrong == 0);
    return present;
}

int main(int argc, char **argv)
{
    static const char *const devices[] = {"host", "sim"};
    enum { SETTINGS = sizeof scaler_settings / sizeof *scaler_settings };
    int sequences = argc > 1 ? atoi(argv[1]) : 10 * SETTINGS, count = argc > 2 && strcmp(argv[2], "host") == 0 ? 1 : 2;
    uint64_t random = 11;
    setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE", 1); /* a CPU's instructions for bf16 take denormals for 0 */
    for (int i = 0; i < SETTINGS; i++)
        if (scaler_settings[i].init < 0x1p40 && /* operands beyond 2^50 count as overflow (passes/finite.h) */
            !compare(&scaler_settings[i], devices, count, sequences / SETTINGS, &random))
            return 77;
    return check_result();
}
