/* A trainer that stands alone: the main function of what `castor build` links, around program, kernels and train block
 * that it puts beside it. It trains by the same loop as `castor train`, and needs neither castor nor a compiler. */
#include "runtime/cores.h"
#include "runtime/entries.h"
#include "runtime/file.h"
#include "runtime/shell.h"
#include "runtime/standalone/edition.h"
#include "runtime/standalone/payload.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_USAGE = 2 };

/* What the linker brings (frontend/embed.c writes it). */
extern const struct trainer_edition castor_editions[];
extern const char castor_payload[], castor_payload_end[];

enum flag {
#define FLAG(identifier, spelling, argument, help) FLAG_##identifier,
#include "runtime/standalone/flags.def"
#undef FLAG
    FLAG_COUNT
};

static const struct {
    const char *spelling, *argument, *help;
} flags[] = {
#define FLAG(identifier, spelling, argument, help) {spelling, argument, help},
#include "runtime/standalone/flags.def"
#undef FLAG
};

struct words {
    const char *name;              /* argv[0] */
    const char *given[FLAG_COUNT]; /* the argument, "" of a switch, NULL: not given */
};

/* ---- the command line ---- */

/* "host, cuda (sm_80), cuda (sm_90)" */
static void print_devices(void)
{
    const struct trainer_edition *edition = castor_editions;
    printf("  %-28s", "devices");
    for (int i = 0; edition[i].device; i++)
        printf("%s %s%s%s%s", i ? "," : "", edition[i].device, edition[i].architecture ? " (" : "",
               edition[i].architecture ? edition[i].architecture : "", edition[i].architecture ? ")" : "");
    printf("\n");
}

static void print_help(const struct payload *payload, const char *name)
{
    printf("Train %s, compiled from %s.\n\nusage: %s [flags]\n\n", payload->settings.name, payload->file, name);
    for (int i = 0; i < FLAG_COUNT; i++) {
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", flags[i].spelling, flags[i].argument ? "=" : "",
                 flags[i].argument ? flags[i].argument : "");
        printf("  %-28s %s\n", left, flags[i].help);
    }
    printf("\nDecided when it was built:\n\n");
    print_devices();
    printf("  %-28s %s\n", "policy", payload->settings.precision);
    if (payload->settings.optimizer)
        printf("  %-28s %s\n", "optimizer", payload->settings.optimizer);
    for (int i = 0; i < payload->option_count; i++)
        printf("  option %-21s %s\n", payload->options[i].name, payload->options[i].value);
}

static int usage(const struct words *words, const char *text, const char *word)
{
    fprintf(stderr, "%s: %s%s\ntry: %s --help\n", words->name, text, word, words->name);
    return EXIT_USAGE;
}

static int find_flag(const char *word)
{
    size_t length = strcspn(word, "=");
    for (int i = 0; i < FLAG_COUNT; i++)
        if (strlen(flags[i].spelling) == length && strncmp(flags[i].spelling, word, length) == 0)
            return i;
    return FLAG_COUNT;
}

/* 0, or an exit code after a message. */
static int read_words(struct words *words, int argc, char **argv)
{
    words->name = argv[0];
    for (int i = 1; i < argc; i++) {
        int flag = strncmp(argv[i], "--", 2) == 0 ? find_flag(argv[i] + 2) : FLAG_COUNT;
        const char *joined = strchr(argv[i], '=');
        if (flag == FLAG_COUNT)
            return usage(words,
                         "it takes no such word (what --help does not list was decided when it was built): ", argv[i]);
        if (!flags[flag].argument && joined)
            return usage(words, "no value goes with --", flags[flag].spelling);
        if (flags[flag].argument && !joined && i + 1 == argc)
            return usage(words, "a value is missing after ", argv[i]);
        words->given[flag] = !flags[flag].argument ? "" : joined ? joined + 1 : argv[++i];
    }
    static const enum flag others[] = {FLAG_out, FLAG_weights, FLAG_weights_partial};
    for (size_t i = 0; words->given[FLAG_resume] && i < sizeof others / sizeof *others; i++)
        if (words->given[others[i]])
            return usage(words, "--resume goes on with a run as it stands: it takes no --", flags[others[i]].spelling);
    return 0;
}

/* The command that goes on with this run, but for its --resume; malloced. */
static char *command_again(const struct words *words)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    shell_put_word(out, words->name);
    for (int i = 0; i < FLAG_COUNT; i++) {
        if (!words->given[i] || i == FLAG_out || i == FLAG_resume || i == FLAG_weights || i == FLAG_weights_partial)
            continue;
        fprintf(out, " --%s", flags[i].spelling);
        if (flags[i].argument) {
            fputc(' ', out);
            shell_put_word(out, words->given[i]);
        }
    }
    return fclose(out) == 0 ? text : NULL;
}

/* ---- settings ---- */

enum { COUNT_MAX = 1000000000 }; /* of epochs and in intervals */
static const int64_t seed_max = (int64_t)1 << 53;

/* The limits are those of `castor train`. */
static bool take_number(const struct words *words, enum flag flag, int64_t least, int64_t most, int64_t *value)
{
    const char *text = words->given[flag];
    char *end, needed[128];
    if (!text)
        return true;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (!*text || *end || errno || number < least || number > most) {
        snprintf(needed, sizeof needed, "--%s needs a whole number from %lld to %lld, not ", flags[flag].spelling,
                 (long long)least, (long long)most);
        usage(words, needed, *text ? text : "''");
        return false;
    }
    *value = number;
    return true;
}

/* "1 epoch", "500 steps", with or without "every". */
static bool take_interval(const struct words *words, enum flag flag, int64_t *steps, int64_t *epochs)
{
    const char *text = words->given[flag];
    char *unit, needed[128];
    if (!text)
        return true;
    if (strncmp(text, "every ", 6) == 0)
        text += 6;
    errno = 0;
    long long count = strtoll(text, &unit, 10);
    bool of_steps = strcmp(unit, " step") == 0 || strcmp(unit, " steps") == 0;
    if (errno || count < 1 || count > COUNT_MAX ||
        (!of_steps && strcmp(unit, " epoch") != 0 && strcmp(unit, " epochs") != 0)) {
        snprintf(needed, sizeof needed, "--%s needs a whole number and its unit, '1 epoch' or '500 steps', not ",
                 flags[flag].spelling);
        usage(words, needed, *text ? text : "''");
        return false;
    }
    *steps = of_steps ? count : 0;
    *epochs = of_steps ? 0 : count;
    return true;
}

/* What is said when a run is resumed with other flags; malloced. */
static char *entries_with_flags(const struct words *words, const char *entries)
{
    static const struct {
        enum flag flag;
        const char *entry;
    } said[] = {
        {FLAG_eval_every, "evaluate every "}, {FLAG_checkpoint_every, "checkpoint every "}, {FLAG_data, "--data "}};
    char *text = file_text("%s", entries ? entries : "");
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        const char *value = words->given[said[i].flag];
        if (!value)
            continue;
        char *line = file_text("%s%s", said[i].entry, strncmp(value, "every ", 6) == 0 ? value + 6 : value);
        char *next = entries_replace(text, line);
        free(line);
        free(text);
        text = next;
    }
    return text;
}

static bool take_settings(const struct words *words, struct payload *payload, int64_t *threads)
{
    struct train_settings *settings = &payload->settings;
    int64_t seed = (int64_t)settings->seed;
    if (words->given[FLAG_epochs] && words->given[FLAG_steps]) {
        usage(words, "it takes --epochs or --steps, not both", "");
        return false;
    }
    if (words->given[FLAG_epochs])
        settings->steps = 0;
    if (words->given[FLAG_data] && !payload_set_path(payload, words->given[FLAG_data])) {
        usage(words,
              "--data puts a path in place of that of the one source that has one; here none has, or several have", "");
        return false;
    }
    settings->weights = words->given[FLAG_weights];
    settings->weights_partial = words->given[FLAG_weights_partial];
    settings->out = words->given[FLAG_out];
    settings->resume = words->given[FLAG_resume];
    settings->quiet = words->given[FLAG_quiet];
    settings->json = words->given[FLAG_json];
    settings->check = words->given[FLAG_check];
    bool ok = take_number(words, FLAG_epochs, 1, COUNT_MAX, &settings->epochs) &&
              take_number(words, FLAG_steps, 1, INT32_MAX, &settings->steps) &&
              take_number(words, FLAG_seed, 0, seed_max, &seed) &&
              take_number(words, FLAG_threads, 1, HOST_THREADS_MAX, threads) &&
              take_interval(words, FLAG_eval_every, &settings->evaluate_steps, &settings->evaluate_epochs) &&
              take_interval(words, FLAG_checkpoint_every, &settings->checkpoint_steps, &settings->checkpoint_epochs);
    settings->seed = (uint64_t)seed;
    return ok;
}

/* ---- training ---- */

/* `inputs` are what is wanted of the payload's data lines. */
static bool train_on(struct device *device, const struct payload *payload, const struct program *program,
                     const struct program_input *inputs, int count, struct error *error)
{
    const char **names = calloc((size_t)count + 1, sizeof *names);
    struct train_result *result = calloc(1, sizeof *result);
    struct data_description data = payload->data;
    data.wanted = names;
    data.wanted_count = count;
    for (int i = 0; names && i < count; i++)
        names[i] = inputs[i].name;
    bool ok = (names && result) || error_set(error, "out of memory");
    struct dataset *dataset = ok ? data_open(&data, error) : NULL;
    struct loader *loader = dataset ? loader_open(dataset, inputs, count, payload->settings.seed, 0, error) : NULL;
    ok = loader;
    if (ok) {
        struct batches batches = loader_batches(loader);
        ok = train(device, program, &batches, &payload->settings, result, error);
    }
    if (result)
        scores_free(&result->scores);
    free(result);
    loader_close(loader);
    data_close(dataset);
    free(names);
    return ok;
}

static bool train_edition(const struct trainer_edition *edition, struct device *device, const struct payload *payload,
                          struct error *error)
{
    char problem[256];
    struct program *program =
        program_read(edition->program, (size_t)(edition->program_end - edition->program), problem, sizeof problem);
    int count = 0;
    if (!program)
        return error_set(error, "this trainer is damaged: %s", problem);
    struct program_input *inputs = program_data_inputs(program, &count);
    bool ok = inputs ? train_on(device, payload, program, inputs, count, error) : error_set(error, "out of memory");
    free(inputs);
    program_free(program);
    return ok;
}

/* Or not given at all. */
static bool is_among(const char *word, const char *one, const char *two, const char *three)
{
    return !word || strcmp(word, one) == 0 || strcmp(word, two) == 0 || strcmp(word, three) == 0;
}

static int run(const struct words *words, struct payload *payload)
{
    struct error error = {0};
    struct trainer_wish wish = {words->given[FLAG_device], words->given[FLAG_isa], 0};
    struct device *device = NULL;
    int64_t threads = 0;
    if (!is_among(wish.device, "host", "cuda", "sim"))
        return usage(words, "--device takes host, cuda or sim, not ", wish.device);
    if (!is_among(wish.isa, "avx512", "avx2", "baseline"))
        return usage(words, "--isa takes avx512, avx2 or baseline, not ", wish.isa);
    if (!take_settings(words, payload, &threads))
        return EXIT_USAGE;
    wish.threads = (int)threads;
    char *again = command_again(words), *entries = entries_with_flags(words, payload->settings.entries);
    const struct trainer_edition *edition = trainer_choose(castor_editions, &wish, &device, &error);
    payload->settings.command = again;
    payload->settings.entries = entries;
    if (edition)
        payload_set_file(payload, "run.json", edition->record);
    bool ok = edition && train_edition(edition, device, payload, &error);
    if (device)
        device->free(device);
    if (!ok)
        error_print(&error, stderr);
    free(again);
    free(entries);
    return ok ? 0 : error.code ? error.code : ERROR_RUNTIME;
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    struct words words = {0};
    struct payload payload;
    struct error error = {0};
    cores_sleep_while_waiting(argv);
    file_hold_standard();
    signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes shows as a failed write */
    int code = 0;
    if (!payload_read(&payload, castor_payload, (size_t)(castor_payload_end - castor_payload), &error)) {
        error_print(&error, stderr);
        code = error.code;
    } else if (asks_for_help(argc, argv)) {
        print_help(&payload, argv[0]);
    } else {
        code = read_words(&words, argc, argv);
        code = code ? code : run(&words, &payload);
    }
    payload_free(&payload);
    return fflush(stdout) == 0 || code ? code : ERROR_RUNTIME;
}
