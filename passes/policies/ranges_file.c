/* Recordings: histograms by node, written and read as JSON. */
#include "passes/policies/ranges.h"

#include <jansson.h>
#include <math.h>
#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

struct record {
    const char *graph, *op, *name; /* name "" where the node has none */
    int place;
    enum region region;
    struct range range;
};

struct record_entry {
    const char *key;
    struct record *value;
};

struct ranges {
    struct arena *arena;
    struct record **list;                    /* stb_ds array */
    struct record_entry *by_place, *by_name; /* stb_ds hashes */
};

/* ---- histograms ---- */

void range_add(struct range *range, const double *values, int64_t count)
{
    range->count += count;
    for (int64_t i = 0; i < count; i++) {
        double magnitude = fabs(values[i]);
        if (!isfinite(magnitude)) {
            range->infinite++;
            continue;
        }
        range->largest = magnitude > range->largest ? magnitude : range->largest;
        if (magnitude == 0) {
            range->zeros++;
            continue;
        }
        int exponent = ilogb(magnitude);
        exponent = exponent < RANGE_LOW ? RANGE_LOW : exponent > RANGE_HIGH ? RANGE_HIGH : exponent;
        range->bins[exponent - RANGE_LOW]++;
    }
}

/* The share of elements whose exponent, after scaling, lies in [low, high). */
static double share(const struct range *range, double scale, int low, int high)
{
    int shift = ilogb(scale);
    int64_t found = 0;
    for (int i = 0; i < RANGE_BINS; i++)
        if (i + RANGE_LOW + shift >= low && i + RANGE_LOW + shift < high)
            found += range->bins[i];
    return range->count ? (double)found / (double)range->count : 0;
}

double range_lost(const struct range *range, double scale)
{
    return share(range, scale, 4 * RANGE_LOW, -24);
}

double range_subnormal(const struct range *range, double scale)
{
    return share(range, scale, -24, -14);
}

/* ---- nodes ---- */

static const char *place_key(struct arena *arena, const char *graph, int place, const char *op)
{
    return arena_internf(arena, "%s/%d/%s", graph, place, op);
}

static const char *name_key(struct arena *arena, const char *name, const char *op)
{
    return arena_internf(arena, "%s/%s", name, op);
}

/* Sets node->mark where an output or the optimizer needs the node: what only moves a state on is not in every graph of
 * the model. */
static void mark_needed(struct graph *graph)
{
    for (ptrdiff_t i = arrlen(graph->nodes) - 1; i >= 0; i--)
        graph->nodes[i]->mark = 0;
    for (ptrdiff_t i = arrlen(graph->nodes) - 1; i >= 0; i--) {
        const struct node *node = graph->nodes[i];
        bool updates = node->region == REGION_UPDATE && !op_is(node->op, CLASS_EFFECT);
        if (node->mark || node->op == OP_output || updates)
            for (int k = 0; k < node->operand_count; k++)
                node->operands[k]->mark = 1;
    }
}

void ranges_number(struct graph *graph)
{
    enum { NEEDED, OTHERS, COUNTS };
    int next[COUNTS] = {[OTHERS] = 1 << 30};
    mark_needed(graph);
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        struct node *node = graph->nodes[i];
        bool computed = !op_is(node->op, CLASS_LEAF) && !op_is(node->op, CLASS_EFFECT);
        int kind = node->mark && node->region != REGION_UPDATE ? NEEDED : OTHERS;
        node->mark = computed ? next[kind]++ : -1;
    }
}

/* What a node is known by beside its place, which a leaf has not; "" where nothing names it. */
static const char *name_of(struct arena *arena, const struct node *node)
{
    if (node->name)
        return arena_intern(arena, node->name);
    switch (node->op) {
    case OP_read:
    case OP_input:
        return arena_intern(arena, node->attributes->symbol);
    case OP_random:
        return arena_internf(arena, "draw %016llx", (unsigned long long)node->attributes->key);
    default:
        return node->mark < 0 ? op_info(node->op)->name : "";
    }
}

/* An empty hash is not looked into, which would make one. */
static struct record *find_by_place(const struct ranges *ranges, const struct graph *graph, const struct node *node)
{
    struct record_entry *places = ranges->by_place;
    const char *key = place_key(ranges->arena, graph->name, (int)node->mark, op_info(node->op)->name);
    ptrdiff_t at = node->mark >= 0 && places ? shgeti(places, key) : -1;
    return at >= 0 ? places[at].value : NULL;
}

static struct record *find_by_name(const struct ranges *ranges, const struct node *node)
{
    struct record_entry *names = ranges->by_name;
    const char *name = name_of(ranges->arena, node);
    ptrdiff_t at = *name && names ? shgeti(names, name_key(ranges->arena, name, op_info(node->op)->name)) : -1;
    return at >= 0 ? names[at].value : NULL;
}

struct ranges *ranges_new(struct arena *arena)
{
    struct ranges *ranges = ARENA_NEW(arena, struct ranges);
    ranges->arena = arena;
    return ranges;
}

void ranges_free(struct ranges *ranges)
{
    if (!ranges)
        return;
    arrfree(ranges->list);
    shfree(ranges->by_place);
    shfree(ranges->by_name);
}

static struct record *add_record(struct ranges *ranges, const struct record *record)
{
    struct record *kept = arena_copy(ranges->arena, record, sizeof *record);
    const char *place = place_key(ranges->arena, record->graph, record->place, record->op);
    arrput(ranges->list, kept);
    if (record->place >= 0)
        shput(ranges->by_place, place, kept);
    if (*record->name) {
        const char *name = name_key(ranges->arena, record->name, record->op);
        shput(ranges->by_name, name, kept);
    }
    return kept;
}

struct range *ranges_of(struct ranges *ranges, const struct graph *graph, const struct node *node)
{
    struct record *known = node->mark >= 0 ? find_by_place(ranges, graph, node) : find_by_name(ranges, node);
    if (known)
        return &known->range;
    struct record record = {.graph = arena_intern(ranges->arena, graph->name),
                            .op = op_info(node->op)->name,
                            .name = name_of(ranges->arena, node),
                            .place = (int)node->mark,
                            .region = node->region};
    return &add_record(ranges, &record)->range;
}

const struct range *ranges_find(const struct ranges *ranges, const struct graph *graph, const struct node *node)
{
    struct record *known = find_by_place(ranges, graph, node);
    known = known ? known : find_by_name(ranges, node);
    return known ? &known->range : NULL;
}

double ranges_largest_gradient(const struct ranges *ranges)
{
    double largest = 0;
    for (ptrdiff_t i = 0; i < arrlen(ranges->list); i++)
        if (ranges->list[i]->region == REGION_BACKWARD && ranges->list[i]->range.largest > largest)
            largest = ranges->list[i]->range.largest;
    return largest;
}

/* ---- the file ---- */

static json_t *record_json(const struct record *record)
{
    const struct range *range = &record->range;
    json_t *exponents = json_object();
    char exponent[16];
    for (int i = 0; i < RANGE_BINS; i++) {
        if (!range->bins[i])
            continue;
        snprintf(exponent, sizeof exponent, "%d", i + RANGE_LOW);
        json_object_set_new(exponents, exponent, json_integer((json_int_t)range->bins[i]));
    }
    return json_pack("{s:s, s:i, s:s, s:s, s:s, s:I, s:I, s:I, s:f, s:f, s:f, s:o}", "graph", record->graph, "place",
                     record->place, "op", record->op, "name", record->name, "region", region_name(record->region),
                     "count", (json_int_t)range->count, "zeros", (json_int_t)range->zeros, "infinite",
                     (json_int_t)range->infinite, "largest", range->largest, "lost_in_f16", range_lost(range, 1),
                     "subnormal_in_f16", range_subnormal(range, 1), "exponents", exponents);
}

bool ranges_print(const struct ranges *ranges, FILE *out)
{
    json_t *values = json_array();
    for (ptrdiff_t i = 0; i < arrlen(ranges->list); i++)
        json_array_append_new(values, record_json(ranges->list[i]));
    json_t *file = json_pack("{s:o}", "values", values);
    bool written = json_dumpf(file, out, JSON_INDENT(1)) == 0;
    json_decref(file);
    return fputc('\n', out) != EOF && written;
}

static bool read_record(struct ranges *ranges, json_t *value)
{
    const char *graph, *op, *name, *region;
    json_int_t count, zeros, infinite;
    json_t *exponents, *bin;
    struct record record = {0};
    const char *exponent;
    if (json_unpack(value, "{s:s, s:i, s:s, s:s, s:s, s:I, s:I, s:I, s:F, s:o}", "graph", &graph, "place",
                    &record.place, "op", &op, "name", &name, "region", &region, "count", &count, "zeros", &zeros,
                    "infinite", &infinite, "largest", &record.range.largest, "exponents", &exponents) != 0)
        return false;
    record.graph = arena_intern(ranges->arena, graph);
    record.op = arena_intern(ranges->arena, op);
    record.name = arena_intern(ranges->arena, name);
    while (record.region < REGION_UPDATE && strcmp(region_name(record.region), region) != 0)
        record.region++;
    record.range.count = count;
    record.range.zeros = zeros;
    record.range.infinite = infinite;
    json_object_foreach(exponents, exponent, bin)
    {
        int at = atoi(exponent) - RANGE_LOW;
        if (at < 0 || at >= RANGE_BINS || !json_is_integer(bin))
            return false;
        record.range.bins[at] = json_integer_value(bin);
    }
    add_record(ranges, &record);
    return true;
}

struct ranges *ranges_read(struct arena *arena, struct diagnostics *diagnostics, const char *path, struct span where)
{
    json_error_t problem;
    json_t *file = json_load_file(path, 0, &problem), *values = json_object_get(file, "values"), *value;
    struct ranges *ranges = ranges_new(arena);
    bool good = json_is_array(values);
    size_t i;
    json_array_foreach(values, i, value) good = good && read_record(ranges, value);
    json_decref(file);
    if (good)
        return ranges;
    ranges_free(ranges);
    diagnostics_error(diagnostics, E0613, where, NULL, "%s holds no recorded ranges: %s", path,
                      file ? "it was not written by --record-ranges" : problem.text);
    return NULL;
}
