/* What generated CUDA kernels move, by the counters of the simulated GPU: rows that are normalised are read once,
 * values that stay on the chip while a sum over all rows is taken are not loaded again, and pointwise kernels and
 * reductions use at least 95 % of each sector that they touch. All results have the host's bits. */
#include "check.h"
#include "ir/parse.h"
#include "passes/pass.h"
#include "tests/kernel_run.h"

#include <stb/stb_ds.h>

#define INPUT(name, type) " %" name " = input(\"" name "\") : " type "\n"
#define ROWS(of, reduced, type) " %" reduced "~2 = broadcast(%" reduced ") : " type "\n"

/* `elements`: that a run may move, as the ledger counts them: each value once. `asked`: that its threads may ask for;
 * a weight is asked for once a row. 0: not told. `coalesced`: the sectors count. */
static const struct {
    const char *what, *body;
    uint64_t elements, asked;
    bool coalesced;
} cases[] = {
    {"softmax",
     INPUT("x", "f32[10,10]") " %m = reduce_max(%x, axes=[1])\n" ROWS(
         "x", "m", "f32[10,10]") " %s = sub(%x, %m~2)\n %e = exp(%s)\n"
                                 " %t = sum(%e, axes=[1])\n" ROWS("x", "t", "f32[10,10]") " %y = div(%e, %t~2)\n"
                                                                                          " %o = output(%y, \"y\")\n",
     200, 200, false},
    {"layer norm",
     INPUT("x", "f32[10,10]") INPUT("w", "f32[1,10]") INPUT("b", "f32[1,10]") //
     " %a = sum(%x, axes=[1])\n" ROWS("x", "a", "f32[10,10]") " %q = m2(%x, axes=[1])\n %r = rsqrt(%q)\n" ROWS(
         "x", "r", "f32[10,10]") ROWS("x", "w", "f32[10,10]") ROWS("x", "b", "f32[10,10]") //
     " %c = sub(%x, %a~2)\n %d = mul(%c, %r~2)\n %e = mul(%d, %w~2)\n %y = add(%e, %b~2)\n %o = output(%y, \"y\")\n",
     220, 400, false},
    {"softmax backward",
     INPUT("y", "f32[10,10]") INPUT("d", "f32[10,10]") " %p = mul(%y, %d)\n %s = sum(%p, axes=[1])\n" ROWS(
         "y", "s", "f32[10,10]") " %c = sub(%d, %s~2)\n %x = mul(%y, %c)\n %o = output(%x, \"x\")\n",
     300, 300, false},
    {"a row of several steps", /* 100 elements are seven for a lane, the last of them for four lanes only */
     INPUT("x", "f32[10,100]") " %m = reduce_max(%x, axes=[1])\n" ROWS(
         "x", "m", "f32[10,100]") " %s = sub(%x, %m~2)\n %e = exp(%s)\n"
                                  " %t = sum(%e, axes=[1])\n" ROWS("x", "t", "f32[10,100]") " %y = div(%e, %t~2)\n"
                                                                                            " %o = output(%y, \"y\")\n",
     2000, 2000, false},
    {"pointwise, f32", INPUT("x", "f32[64,80]") INPUT("z", "f32[64,80]") " %y = mul(%x, %z)\n %o = output(%y, \"y\")\n",
     15360, 15360, true},
    {"pointwise, f16", INPUT("x", "f16[64,80]") INPUT("z", "f16[64,80]") " %y = mul(%x, %z)\n %o = output(%y, \"y\")\n",
     0, 0, true},
    {"a cast", INPUT("x", "f32[64,80]") " %y = cast(%x) : f16[64,80]\n %o = output(%y, \"y\")\n", 0, 0, true},
    {"along the channels",
     INPUT("x", "f16[8,32,6,6]{0,2,3,1}") INPUT("w", "f32[1,32,1,1]")
         ROWS("x", "w", "f32[8,32,6,6]{0,2,3,1}") " %y = mul(%x, %w~2) : f16[8,32,6,6]{0,2,3,1}\n"
                                                  " %o = output(%y, \"y\") : f16[8,32,6,6]{0,2,3,1}\n",
     0, 0, true},
    {"a sum over rows", INPUT("x", "f32[64,128]") " %y = sum(%x, axes=[1])\n %o = output(%y, \"y\")\n", 0, 0, true},
    {"a sum over columns", INPUT("x", "f32[640,64]") " %y = sum(%x, axes=[0])\n %o = output(%y, \"y\")\n", 0, 0, true},
    {"a sum of everything", INPUT("x", "f32[256,128]") " %y = sum(%x, axes=[0,1])\n %o = output(%y, \"y\")\n", 0, 0,
     true},
    {"sums for each channel",
     INPUT("x", "f16[8,32,6,6]{0,2,3,1}") " %c = cast(%x) : f32[8,32,6,6]{0,2,3,1}\n %y = sum(%c, axes=[0,2,3])\n"
                                          " %o = output(%y, \"y\")\n",
     0, 0, true},
    {"a pool",
     INPUT("x", "f16[8,32,6,6]{0,2,3,1}") " %r = reshape(%x) : f16[8,32,3,2,3,2]{0,2,3,4,5,1}\n"
                                          " %y = reduce_max(%r, axes=[3,5])\n"
                                          " %o = output(%y, \"y\") : f16[8,32,3,1,3,1]{0,2,3,4,5,1}\n",
     0, 0, true},
    /* 256 blocks of rows are merged by ways; what the sums were taken of stays in shared memory: three blocks of the
     * grid keep theirs, 3/5 of 20480 elements, the others load again */
    {"a normalisation over the batch",
     INPUT("x", "f32[64,5,8,8]{0,2,3,1}") " %s = sum(%x, axes=[0,2,3])\n %q = m2(%x, axes=[0,2,3])\n" ROWS(
         "x", "s", "f32[64,5,8,8]{0,2,3,1}") ROWS("x", "q", "f32[64,5,8,8]{0,2,3,1}") //
     " %c = sub(%x, %s~2)\n %y = mul(%c, %q~2)\n %o = output(%y, \"y\") : f32[64,5,8,8]{0,2,3,1}\n",
     40974, 62500, false},
};
enum { CASES = sizeof cases / sizeof *cases };

static struct graph *fused(size_t number, const struct target *target, struct arena *arena)
{
    struct diagnostics *diagnostics = diagnostics_new(arena);
    const char *text = arena_printf(arena, "graph g {\n%s}\n", cases[number].body);
    struct module *module = parse_module(arena, diagnostics, cases[number].what, text);
    diagnostics_print(diagnostics, stderr);
    if (!module)
        return NULL;
    struct pass_context context = {.target = target, .limit = -1};
    pass_fuse(module->graphs[0], &context);
    return module->graphs[0];
}

static struct environment *inputs_of(const struct graph *graph)
{
    struct environment *environment = environment_new();
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        const struct node *node = graph->nodes[i];
        double *values = NULL;
        if (node->op != OP_input)
            continue;
        for (int64_t k = 0; k < shape_elements(&node->type.shape); k++)
            arrput(values, (double)(k * 7 % 23) / 8 - 1);
        environment_set_input(environment, node->attributes->symbol, &node->type, values);
        arrfree(values);
    }
    return environment;
}

static const struct node *output_of(const struct graph *graph)
{
    return arrlast(graph->nodes);
}

static void check_case(struct kernel_batch *batch, int number, const struct graph *graph, struct kernel_batch *host,
                       const struct graph *on_host)
{
    struct environment *environment = inputs_of(graph);
    CHECK(kernel_batch_run(batch, number, environment));
    CHECK(kernel_batch_run(host, number, environment));
    CHECK(kernel_batch_different(batch, output_of(graph), host, output_of(on_host)) == 0);
    environment_free(environment);
    struct kernel_cuda_traffic traffic = kernel_batch_traffic(batch, number);
    uint64_t counted = kernel_batch_bytes(batch, number);
    printf("%-24s asked for %6llu bytes, touched %6llu, counted %6llu\n", cases[number].what,
           (unsigned long long)traffic.bytes, (unsigned long long)traffic.sectors * 32, (unsigned long long)counted);
    if (cases[number].elements)
        CHECK(counted <= 4 * cases[number].elements);
    if (cases[number].asked)
        CHECK(traffic.bytes <= 4 * cases[number].asked);
    CHECK(traffic.bytes > 0);
    if (cases[number].coalesced)
        CHECK((double)traffic.bytes >= 0.95 * 32 * (double)traffic.sectors);
}

int main(void)
{
    if (!kernel_cuda_possible())
        return 77;
    struct arena *arena = arena_new();
    struct target target = kernel_cuda_target(), host_target = kernel_run_target();
    target.cache_bytes = 1 << 20; /* so that what needs a sum over the rows goes behind it */
    struct kernel_batch *batch = kernel_batch_new(&target), *host = kernel_batch_new(&host_target);
    struct graph *graphs[CASES], *on_host[CASES];
    for (size_t i = 0; i < CASES; i++) {
        graphs[i] = fused(i, &target, arena);
        on_host[i] = fused(i, &host_target, arena);
        CHECK(graphs[i] && on_host[i]);
        if (!graphs[i] || !on_host[i])
            return check_result();
        kernel_batch_add(batch, graphs[i]);
        kernel_batch_add(host, on_host[i]);
    }
    bool compiled = kernel_batch_compile(batch, "") && kernel_batch_compile(host, "-O1");
    CHECK(compiled);
    for (int i = 0; i < CASES && compiled; i++)
        check_case(batch, i, graphs[i], host, on_host[i]);
    kernel_batch_free(batch);
    kernel_batch_free(host);
    for (size_t i = 0; i < CASES; i++) {
        module_free(graphs[i]->module);
        module_free(on_host[i]->module);
    }
    arena_free(arena);
    return check_result();
}
