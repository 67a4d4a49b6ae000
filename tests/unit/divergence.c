/* Several lines of the train block in the log, and the watch over what each of them skips. */
#include "runtime/divergence.h"
#include "runtime/log.h"
#include "tests/unit/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct program_output outputs[] = {
    {.name = "d_loss", .kind = PROGRAM_LOSS},        {.name = "g_loss", .kind = PROGRAM_LOSS},
    {.name = "scale/d_loss", .kind = PROGRAM_LOG},   {.name = "scale/g_loss", .kind = PROGRAM_LOG},
    {.name = "lr/d_loss", .kind = PROGRAM_LOG},      {.name = "grad_norm/d_loss", .kind = PROGRAM_LOG},
    {.name = "skipped/d_loss", .kind = PROGRAM_LOG}, {.name = "lr/g_loss", .kind = PROGRAM_LOG},
    {.name = "skipped/g_loss", .kind = PROGRAM_LOG},
};

enum { OUTPUTS = sizeof outputs / sizeof *outputs };

/* One step: scale and outcome (1 skipped, 0 taken, -1 no part in it) of both lines. */
static bool step(struct divergence *divergence, int64_t number, const double d[2], const double g[2], double loss,
                 struct error *error)
{
    const struct program_entry entry = {.name = "train", .output_count = OUTPUTS, .outputs = outputs};
    const double results[OUTPUTS] = {loss, 2, d[0], g[0], 0.1f, 3, d[1], 0.2f, g[1]};
    struct tally tally = {0};
    CHECK(tally_add(&tally, &entry, results, 1));
    bool ok = divergence_step(divergence, number, &tally, number > 90 ? "fc1 (m.net:3:5), matmul" : NULL, error);
    tally_free(&tally);
    return ok;
}

static void check_log(void)
{
    const struct program_entry entry = {.name = "train", .output_count = OUTPUTS, .outputs = outputs};
    const double results[OUTPUTS] = {1, 2, 1024, 32, 0.5, 3, 1, 0.25, 0};
    struct tally tally = {0};
    struct divergence divergence = {0};
    struct error error = {0};
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    struct log log;
    CHECK(tally_add(&tally, &entry, results, 1) && divergence_step(&divergence, 1, &tally, NULL, &error));
    CHECK(log_open(&log, NULL, stream, &error));
    log_step(&log, &(struct log_step){1, 1, 10, &tally, &divergence, &(struct program_origin){7, "fc1", true}});
    CHECK(log_close(&log, &error));
    fclose(stream);
    CHECK_TEXT(text, "{\"step\":1,\"epoch\":1,\"loss\":{\"d_loss\":1,\"g_loss\":2},"
                     "\"lr\":{\"d_loss\":0.5,\"g_loss\":0.25},\"scale\":{\"d_loss\":1024,\"g_loss\":32},"
                     "\"skipped\":{\"d_loss\":1,\"g_loss\":0},\"overflow\":\"fc1\",\"cause\":\"forward\",\"grad_norm\":"
                     "{\"d_loss\":3},\"examples_per_s\":10}\n");
    free(text);
    tally_free(&tally);
    divergence_free(&divergence);
}

/* One line may be stuck while the other trains; steps without it neither count nor break the row. */
static void check_stuck_line(void)
{
    struct divergence divergence = {0};
    struct error error = {0};
    bool ok = true;
    int64_t number = 0;
    for (int i = 0; i < DIVERGENCE_STEPS && ok; i++) {
        ok = step(&divergence, ++number, (double[]){512, 0}, (double[]){1, 1}, 1, &error);
        if (ok)
            ok = step(&divergence, ++number, (double[]){512, 0}, (double[]){1, -1}, 1, &error);
    }
    CHECK(!ok && error.code == ERROR_DIVERGED && number == 2 * DIVERGENCE_STEPS - 1);
    CHECK_TEXT(error.text, "training diverged: 50 steps on end overflowed at scale 1, which falls no further "
                           "(step 99, minimize g_loss), first at fc1 (m.net:3:5), matmul");
    CHECK(divergence.line_count == 2 && divergence.lines[0].skipped == 0 && divergence.lines[1].skipped == 50);
    CHECK(divergence.skipped == 50);
    divergence_free(&divergence);
}

/* A scale that falls is not stuck, nor is one whose row a clean step breaks. */
static void check_moving(void)
{
    struct divergence divergence = {0};
    struct error error = {0};
    for (int i = 0; i < 120; i++)
        CHECK(step(&divergence, i + 1, (double[]){ldexp(1, -i), 1}, (double[]){8, i % 40 == 39 ? 0 : 1}, NAN, &error));
    CHECK(divergence_end(&divergence, 120, &error)); /* losses of skipped steps may be anything */
    divergence_free(&divergence);
    for (int i = 0; i < DIVERGENCE_STEPS - 1; i++)
        CHECK(step(&divergence, i + 1, (double[]){1, 0}, (double[]){1, -1}, NAN, &error));
    CHECK(!divergence_end(&divergence, 49, &error));
    CHECK(!step(&divergence, 50, (double[]){1, 0}, (double[]){1, 0}, INFINITY, &error));
    divergence_free(&divergence);
}

/* When training ends, its last step alone decides. */
static void check_last_step(void)
{
    struct divergence divergence = {0};
    struct error error = {0};
    CHECK(step(&divergence, 1, (double[]){1, 0}, (double[]){1, 0}, NAN, &error));
    CHECK(!divergence_end(&divergence, 1, &error) && error.code == ERROR_DIVERGED);
    CHECK(step(&divergence, 2, (double[]){1, 0}, (double[]){1, 0}, 1, &error));
    CHECK(divergence_end(&divergence, 2, &error));
    divergence_free(&divergence);
}

int main(void)
{
    check_log();
    check_stuck_line();
    check_moving();
    check_last_step();
    return check_result();
}
