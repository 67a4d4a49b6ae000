/* Helpers for tests of .net texts: elaborating a text, and evaluating what comes out with the reference evaluator. */
#ifndef CASTOR_TESTS_NET_CASE_H
#define CASTOR_TESTS_NET_CASE_H

#include "frontend/language/ast.h"
#include "frontend/language/elaborate.h"
#include "ir/evaluate.h"
#include "ir/verify.h"
#include "passes/pass.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

/* One text and all that was made of it. */
struct net_case {
    struct arena *arena;
    struct diagnostics *diagnostics;
    struct unit *unit;
    const struct settings *settings;
    struct module *module; /* NULL after errors */
};

/* Parses, loads and elaborates; fields of the request that are 0 get batch 4 in all graphs. `set` and `flag` may be
 * NULL. */
static inline struct net_case net_case_open(const char *text, struct elaborate_request request,
                                            const struct name_text *set, const struct name_text *flag)
{
    struct net_case net = {.arena = arena_new()};
    net.diagnostics = diagnostics_new(net.arena);
    const struct ast_file *file = parse_net(net.arena, net.diagnostics, "m.net", text);
    if (file)
        net.unit = unit_load(net.arena, net.diagnostics, file, set, set != NULL);
    if (net.unit)
        net.settings = settings_read(net.unit, flag, flag != NULL);
    if (!net.settings)
        return net;
    if (!request.batch && !request.eval)
        request.batch = request.eval = 4;
    if (!request.scale) {
        request.scale = net.settings->scale;
        request.scale_explicit = true;
    }
    net.module = elaborate(net.unit, &request);
    if (net.module && !verify_module(net.module, net.diagnostics)) {
        module_free(net.module);
        net.module = NULL;
    }
    return net;
}

static inline void net_case_close(struct net_case *net)
{
    module_free(net->module);
    unit_free(net->unit);
    arena_free(net->arena);
}

/* The diagnostics as text; malloced. */
static inline char *net_case_messages(const struct net_case *net)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    diagnostics_print(net->diagnostics, stream);
    fclose(stream);
    return text;
}

/* Host variables set as a run with this seed and length would have them, all others by graph init. */
static inline struct environment *net_case_initialise(struct net_case *net, double seed, double steps)
{
    struct environment *environment = environment_new();
    struct type whole = type_scalar(ELEMENT_I64), real = type_scalar(ELEMENT_F32);
    double zero = 0;
    environment_set_variable(environment, "train/seed", &whole, &seed);
    environment_set_variable(environment, "train/epoch", &real, &zero);
    environment_set_variable(environment, "train/steps", &real, &steps);
    struct evaluation *evaluation =
        evaluate_graph(module_find_graph(net->module, "init"), environment, EVALUATE_ROUNDED);
    evaluation_commit(evaluation, environment);
    evaluation_free(evaluation);
    return environment;
}

/* Expands the gradients of a graph, so that it can be evaluated. */
static inline void net_case_differentiate(struct net_case *net, const char *graph)
{
    struct pass_context context = {.limit = -1};
    pass_gradients(module_find_graph(net->module, graph), &context);
}

#endif
