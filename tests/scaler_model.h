/* What dynamic loss scaling must do, in plain C, to test the prelude's rule and programs compiled from it. */
#ifndef CASTOR_TESTS_SCALER_MODEL_H
#define CASTOR_TESTS_SCALER_MODEL_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { SETTING_TEXT = 256 };

/* In f32, as the graph keeps them. */
struct setting {
    float init, growth, backoff, interval, min, max, hysteresis;
};

struct model {
    float scale, clean, left;
};

/* What the scale must do: with hysteresis 1, min 0 and no max this is PyTorch's GradScaler. */
static inline void model_step(struct model *model, const struct setting *setting, bool found_inf)
{
    if (found_inf) {
        model->clean = 0;
        model->left = model->left > 0 ? model->left - 1 : 0;
        if (model->left == 0 && model->scale > setting->min)
            model->scale = fmaxf(model->scale * setting->backoff, setting->min);
        return;
    }
    model->left = setting->hysteresis;
    if (++model->clean < setting->interval)
        return;
    model->clean = 0;
    float larger = model->scale * setting->growth;
    if (larger <= setting->max && isfinite(larger))
        model->scale = larger;
}

/* As the train block has it, in `text`. */
static inline const char *setting_text(const struct setting *s, char *text, size_t size)
{
    snprintf(text, size,
             "dynamic(init = %.9g, growth = %.9g, backoff = %.9g, interval = %.9g, min = %.9g, max = %.9g, "
             "hysteresis = %.9g)",
             s->init, s->growth, s->backoff, s->interval, s->min, s->max, s->hysteresis);
    return text;
}

/* Usual ones, and such as begin near the ends of what f32 holds. */
static const struct setting scaler_settings[] = {
    {65536, 2, 0.5, 4, 1, 16777216, 1},    {65536, 2, 0.5, 7, 1, 16777216, 3}, {1024, 1.5, 0.75, 3, 0.001, 3e38, 2},
    {8e37, 2, 0.5, 1, 1e-30, INFINITY, 1}, {1, 4, 0.25, 2, 1, 64, 1},          {1e-37, 2, 0.5, 2, 1.2e-38, 1, 1},
    {0.25, 2, 0.5, 3, 1, 64, 1},           {1e9, 2, 0.5, 3, 1, 64, 2},
};

/* Even in [0, 1). */
static inline double draw(uint64_t *random)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (double)(*random >> 11) * 0x1p-53;
}

#endif
