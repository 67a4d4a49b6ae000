/* The progress line and the log lines as text. */
#include "runtime/progress.h"
#include "check.h"
#include "runtime/log.h"

#include <math.h>
#include <pty.h>
#include <stdlib.h>
#include <unistd.h>

static const struct program_tensor scalar = {.element = PROGRAM_F32, .storage = PROGRAM_F32};

static struct program_output outputs[] = {
    {.name = "d_loss", .kind = PROGRAM_LOSS},      {.name = "g_loss", .kind = PROGRAM_LOSS},
    {.name = "accuracy", .kind = PROGRAM_METRIC},  {.name = "hits", .kind = PROGRAM_NUMERATOR},
    {.name = "hits", .kind = PROGRAM_DENOMINATOR}, {.name = "norm of \"h\"", .kind = PROGRAM_WATCH},
    {.name = "lr", .kind = PROGRAM_LOG},           {.name = "scale", .kind = PROGRAM_LOG},
    {.name = "skipped", .kind = PROGRAM_LOG},      {.name = "grad_norm", .kind = PROGRAM_LOG},
    {.name = "logits", .kind = PROGRAM_VALUE},
};

enum { OUTPUTS = sizeof outputs / sizeof *outputs };

static struct tally make_tally(void)
{
    const struct program_entry entry = {.name = "train", .output_count = OUTPUTS, .outputs = outputs};
    const double first[OUTPUTS] = {1, NAN, 0.5, 3, 4, 2.5, 0.001, 65536, 1, 1.9f, NAN};
    const double second[OUTPUTS] = {2, 1, 1, 1, 4, 2.5, 0.002, 32768, 0, INFINITY, NAN};
    struct tally tally = {0};
    for (int i = 0; i < OUTPUTS; i++)
        outputs[i].tensor = scalar;
    CHECK(tally_add(&tally, &entry, first, 3) && tally_add(&tally, &entry, second, 1));
    return tally;
}

static void check_tally(const struct tally *tally)
{
    CHECK(tally->count == 9);
    CHECK(tally_value(tally_find(tally, "d_loss", PROGRAM_LOSS)) == (3 * 1 + 2) / 4.0);
    CHECK(tally_value(tally_find(tally, "accuracy", PROGRAM_METRIC)) == (3 * 0.5 + 1) / 4.0);
    CHECK(tally_value(tally_find(tally, "hits", PROGRAM_METRIC)) == 4 / 8.0);
    CHECK(tally_value(tally_find(tally, "scale", PROGRAM_LOG)) == 32768);
    CHECK(!tally_find(tally, "logits", PROGRAM_VALUE));
    struct scores scores = {0};
    CHECK(tally_scores(tally, &scores) && scores.count == 4 && scores.list[1].loss && !scores.list[2].loss);
    CHECK_TEXT(scores.list[3].name, "hits");
    scores_free(&scores);
}

static void check_log(const struct tally *tally)
{
    struct error error = {0};
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    struct log log;
    CHECK(log_open(&log, NULL, stream, &error));
    log_step(&log, &(struct log_step){120, 1, 81230.4, tally, &(struct divergence){.skipped = 7}, NULL});
    struct score list[] = {{"loss", 0.39f, true}, {"accuracy", 0.861f, false}};
    const struct evaluation evaluation = {{list, 2, 2}, 10, 1};
    log_evaluation(&log, 468, 1, &evaluation, NULL, "test", "test");
    CHECK(log_close(&log, &error));
    fclose(stream);
    CHECK_TEXT(text, "{\"step\":120,\"epoch\":1,\"loss\":{\"d_loss\":1.25,\"g_loss\":null},"
                     "\"metrics\":{\"accuracy\":0.625,\"hits\":0.5},\"watch\":{\"norm of \\\"h\\\"\":2.5},"
                     "\"lr\":0.002,\"scale\":32768,\"skipped\":7,\"grad_norm\":null,\"examples_per_s\":81230}\n"
                     "{\"epoch\":1,\"eval\":{\"loss\":0.39,\"accuracy\":0.861},\"step\":468,\"set\":\"test\","
                     "\"best_on\":\"test\"}\n");
    free(text);
    CHECK(log_open(&log, "/dev/full", NULL, &error));
    log_evaluation(&log, 1, 1, &evaluation, NULL, "test", "test");
    CHECK(!log_close(&log, &error) && strstr(error.text, "/dev/full"));
}

static void check_line(const struct tally *tally)
{
    struct progress progress = progress_begin(NULL, 936, 468);
    struct progress_state state = {
        .step = 585, .epoch = 2, .skipped = 3, .examples_per_second = 81230, .seconds_left = 65, .values = tally};
    char text[256], narrow[32];
    CHECK(!progress.terminal && progress.epochs == 2);
    progress_text(&progress, &state, text, sizeof text);
    CHECK_TEXT(text, "epoch 2/2  step 585  d_loss 1.25  g_loss nan  accuracy 0.625  hits 0.5  lr 0.002  scale 32768"
                     "  skipped 3  81230 examples/s");
    progress.terminal = true;
    progress_text(&progress, &state, text, sizeof text);
    CHECK_TEXT(text, "epoch 2/2 [=====>              ] 117/468  d_loss 1.25  g_loss nan  accuracy 0.625  hits 0.5"
                     "  lr 0.002  scale 32768  skipped 3  81230 examples/s  1:05 left");
    progress_text(&progress, &state, narrow, sizeof narrow);
    CHECK_TEXT(narrow, "2/2 117/468  d_loss 1.25  g_los");
    progress_text(&progress, &state, text, 115);
    CHECK_TEXT(text, "epoch 2/2 117/468  d_loss 1.25  g_loss nan  accuracy 0.625  hits 0.5  lr 0.002  scale 32768"
                     "  skipped 3  1:05 left");
    progress_text(&progress, &state, text, 80);
    CHECK_TEXT(text, "2/2 117/468  d_loss 1.25  g_loss nan  scale 32768  skipped 3  1:05 left");
    state.step = 936;
    progress_text(&progress, &state, text, sizeof text);
    CHECK(strstr(text, "[====================] 468/468"));
}

/* What a terminal of 40 columns is sent for one step and the end of the epoch. */
static void check_terminal(const struct tally *tally, bool color)
{
    int master = -1, slave = -1;
    struct winsize window = {.ws_row = 24, .ws_col = 40};
    char got[1024] = "";
    bool opened = openpty(&master, &slave, NULL, NULL, &window) == 0;
    CHECK(opened);
    if (!opened) /* /dev/pts is not mounted */
        return;
    setenv("TERM", "xterm", 1);
    if (color)
        unsetenv("NO_COLOR");
    else
        setenv("NO_COLOR", "1", 1);
    FILE *out = fdopen(slave, "w");
    struct progress progress = progress_begin(out, 936, 468);
    struct progress_state state = {.step = 585, .epoch = 2, .examples_per_second = 81230, .values = tally};
    CHECK(progress.terminal && progress.width == 40);
    progress_step(&progress, &state);
    progress_step(&progress, &state); /* too soon: nothing is drawn */
    progress_epoch(&progress, &state, NULL, NULL);
    fclose(out);
    for (size_t used = 0; used < sizeof got - 1;) {
        ssize_t length = read(master, got + used, sizeof got - 1 - used);
        if (length <= 0)
            break;
        used += (size_t)length;
    }
    const char *line = "2/2 117/468  d_loss 1.25  g_loss nan";
    const char *rest = "\033[K\r\033[Kepoch 2/2  step 585  d_loss 1.25";
    char *wanted = NULL;
    CHECK(asprintf(&wanted, color ? "\r\033[36m%s\033[0m%s" : "\r%s%s", line, rest) > 0);
    got[strlen(wanted)] = '\0';
    CHECK_TEXT(got, wanted);
    free(wanted);
    close(master);
}

/* Off a terminal the line is whole however many metrics there are. */
static void check_many_metrics(void)
{
    enum { COUNT = 40, NAME = 32 };
    char names[COUNT][NAME];
    struct program_output many[COUNT];
    double values[COUNT];
    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i], NAME, "accuracy_of_the_class_%d", i);
        many[i] = (struct program_output){.name = names[i], .kind = PROGRAM_METRIC, .tensor = scalar};
        values[i] = 0.125;
    }
    const struct program_entry entry = {.name = "train", .output_count = COUNT, .outputs = many};
    struct tally tally = {0};
    CHECK(tally_add(&tally, &entry, values, 1));
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    struct progress progress = progress_begin(out, 8, 8);
    progress_epoch(&progress,
                   &(struct progress_state){.step = 8, .epoch = 1, .examples_per_second = 9, .values = &tally}, NULL,
                   NULL);
    fclose(out);
    CHECK(strstr(text, "  accuracy_of_the_class_39 0.125  9 examples/s\n"));
    free(text);
    tally_free(&tally);
}

int main(void)
{
    struct tally tally = make_tally();
    check_many_metrics();
    check_tally(&tally);
    check_log(&tally);
    check_line(&tally);
    check_terminal(&tally, true);
    check_terminal(&tally, false);
    tally_free(&tally);
    return check_result();
}
