/* Sums and weights by name and kind. */
#include "runtime/tally.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Numerator and denominator are two sides of one metric. */
static enum program_output_kind item_kind(enum program_output_kind kind)
{
    return kind == PROGRAM_NUMERATOR || kind == PROGRAM_DENOMINATOR ? PROGRAM_METRIC : kind;
}

/* The item of this name and kind, made when it is new. Executions come with the same outputs in the same order, so the
 * search nearly always ends at `guess`. NULL when out of memory. */
static struct tally_item *find_or_add(struct tally *tally, const char *name, enum program_output_kind kind, int guess)
{
    for (int i = 0; i < tally->count; i++) {
        struct tally_item *item = &tally->items[(guess + i) % tally->count];
        if (item->kind == kind && strcmp(item->name, name) == 0)
            return item;
    }
    if (tally->count == tally->room) {
        int room = tally->room ? 2 * tally->room : 16;
        struct tally_item *grown = realloc(tally->items, sizeof *grown * (size_t)room);
        if (!grown)
            return NULL;
        tally->items = grown;
        tally->room = room;
    }
    tally->items[tally->count] = (struct tally_item){.name = name, .kind = kind};
    return &tally->items[tally->count++];
}

bool tally_expect(struct tally *tally, const char *name)
{
    return find_or_add(tally, name, PROGRAM_METRIC, 0);
}

static void add_value(struct tally_item *item, enum program_output_kind kind, double value, double examples)
{
    switch (kind) {
    case PROGRAM_NUMERATOR:
        item->sum += value;
        break;
    case PROGRAM_DENOMINATOR:
        item->weight += value;
        break;
    case PROGRAM_LOG:
        item->sum = value;
        item->weight = 1;
        break;
    default:
        item->sum += value * examples;
        item->weight += examples;
    }
}

bool tally_add(struct tally *tally, const struct program_entry *entry, const double *results, int64_t examples)
{
    for (int i = 0, guess = 0; i < entry->output_count; i++) {
        const struct program_output *output = &entry->outputs[i];
        if (output->kind == PROGRAM_VALUE || output->kind == PROGRAM_TOTAL)
            continue;
        struct tally_item *item = find_or_add(tally, output->name, item_kind(output->kind), guess);
        if (!item)
            return false;
        guess = (int)(item - tally->items) + 1;
        add_value(item, output->kind, results[i], (double)examples);
    }
    return true;
}

bool tally_merge(struct tally *tally, const struct tally *other)
{
    for (int i = 0; i < other->count; i++) {
        const struct tally_item *from = &other->items[i];
        struct tally_item *item = find_or_add(tally, from->name, from->kind, i);
        if (!item)
            return false;
        bool replace = from->kind == PROGRAM_LOG;
        item->sum = replace ? from->sum : item->sum + from->sum;
        item->weight = replace ? from->weight : item->weight + from->weight;
    }
    return true;
}

void tally_reset(struct tally *tally)
{
    for (int i = 0; i < tally->count; i++)
        tally->items[i].sum = tally->items[i].weight = 0;
}

void tally_free(struct tally *tally)
{
    free(tally->items);
    *tally = (struct tally){0};
}

double tally_value(const struct tally_item *item)
{
    return item->weight != 0 ? item->sum / item->weight : NAN;
}

const struct tally_item *tally_find(const struct tally *tally, const char *name, enum program_output_kind kind)
{
    for (int i = 0; i < tally->count; i++)
        if (tally->items[i].kind == kind && strcmp(tally->items[i].name, name) == 0)
            return &tally->items[i];
    return NULL;
}

/* ---- scores ---- */

bool scores_add(struct scores *scores, const char *name, double value, bool loss)
{
    if (scores->count == scores->room) {
        int room = scores->room ? 2 * scores->room : 8;
        struct score *grown = realloc(scores->list, sizeof *grown * (size_t)room);
        if (!grown)
            return false;
        scores->list = grown;
        scores->room = room;
    }
    char *own = strdup(name);
    if (own)
        scores->list[scores->count++] = (struct score){own, isnan(value) ? NAN : value, loss}; /* no "-nan" */
    return own;
}

void scores_free(struct scores *scores)
{
    for (int i = 0; i < scores->count; i++)
        free(scores->list[i].name);
    free(scores->list);
    *scores = (struct scores){0};
}

bool scores_copy(struct scores *to, const struct scores *from)
{
    bool ok = true;
    scores_free(to);
    for (int i = 0; i < from->count && ok; i++)
        ok = scores_add(to, from->list[i].name, from->list[i].value, from->list[i].loss);
    return ok;
}

static bool add_scores(const struct tally *tally, enum program_output_kind kind, struct scores *scores)
{
    bool ok = true;
    for (int i = 0; i < tally->count && ok; i++) {
        const struct tally_item *item = &tally->items[i];
        if (item->kind == kind)
            ok = scores_add(scores, item->name, tally_value(item), kind == PROGRAM_LOSS);
    }
    return ok;
}

bool tally_scores(const struct tally *tally, struct scores *scores)
{
    scores_free(scores);
    return add_scores(tally, PROGRAM_LOSS, scores) && add_scores(tally, PROGRAM_METRIC, scores);
}
