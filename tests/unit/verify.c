/* The verifier: a good module has no breach, and each invariant, broken, is found and named. */
#include "ir/verify.h"
#include "check.h"
#include "ir/parse.h"

#include <stb/stb_ds.h>
#include <stdlib.h>

static const char good[] = "variable \"w\" : f32[3,4] parameter\n"
                           "variable \"seed\" : i64[] host\n"
                           "minimize \"loss\"\n"
                           "function rule {\n %1 = argument(0) : bool[]\n %2 = output(%1, \"scale\")\n}\n"
                           "graph train {\n"
                           " %x = input(\"x\") : f32[2,3]\n"
                           " %w = read(\"w\")\n"
                           " %h = matmul(%x, %w)\n"
                           " %r = neg(%h) : f16[2,4]\n"
                           " %s = sum(%r, axes=[0,1]) : f32[1,1]\n"
                           " %l = reshape(%s) : f32[]\n"
                           " %o = output(%l, \"loss\", kind=loss)\n"
                           " %n = neg(%w)\n"
                           " %u = write(%n, \"w\", gate=1)\n"
                           " %seed = read(\"seed\")\n"
                           " %d = random(%seed, %seed, key=0x1) : f32[2]\n"
                           " %e = output(%d, \"draw\")\n"
                           " %i = argmax(%h, axes=[1]) : u8[2,1]\n"
                           " %j = output(%i, \"best\")\n"
                           "}\n";

enum { X, W, H, R, S, L, OUTPUT, N, WRITE, SEED, DRAW, DRAWN };

static const char looped[] = "graph g {\n"
                             " %x = input(\"x\") : f32[2,3]\n"
                             " %s = input(\"s\") : f32[4,2,3]\n"
                             " %l = loop(%x, %s, \"turn\", turns=4, carries=1, sequences=1)\n"
                             " %r = result(%l, 0) : f32[2,3]\n"
                             " %o = output(%r, \"o\")\n"
                             "}\n"
                             "body turn {\n"
                             " %h = input(\"0\") : f32[2,3]\n"
                             " %p = input(\"1\") : f32[2,3]\n"
                             " %y = mul(%h, %p)\n"
                             " %n = output(%y, \"0\")\n"
                             "}\n";

enum { LOOPED_S = 1, RESULT = 3, PLACE = 1, PUT_OUT = 3 };

typedef void breaker(struct module *module, struct node **nodes);

/* Breaks a good module and looks for the report. */
static void finds(const char *text, breaker *break_it, const char *part)
{
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics = diagnostics_new(arena);
    struct module *module = parse_module(arena, diagnostics, "verify.ir", text);
    diagnostics_print(diagnostics, stderr);
    CHECK(module);
    if (break_it)
        break_it(module, module->graphs[0]->nodes);
    CHECK(verify_module(module, diagnostics) == (part == NULL));
    char *report;
    size_t size;
    FILE *out = open_memstream(&report, &size);
    diagnostics_print(diagnostics, out);
    fclose(out);
    if (!part)
        CHECK_TEXT(report, "");
    else if (!strstr(report, part))
        CHECK_TEXT(report, part);
    free(report);
    module_free(module);
    arena_free(arena);
}

static struct attributes *own_attributes(struct module *module, struct node *node)
{
    struct attributes *copy = arena_copy(module->arena, node->attributes, sizeof *copy);
    node->attributes = copy;
    return copy;
}

static void swap_nodes(struct module *module, struct node **nodes)
{
    (void)module;
    struct node *held = nodes[R];
    nodes[R] = nodes[S];
    nodes[S] = held;
    nodes[R]->id = R;
    nodes[S]->id = S;
}

static void stale_id(struct module *module, struct node **nodes)
{
    (void)module;
    nodes[S]->id = 0;
}

static void lose_operand(struct module *module, struct node **nodes)
{
    (void)module;
    nodes[H]->operand_count = 1;
}

static void wrong_shape(struct module *module, struct node **nodes)
{
    (void)module;
    nodes[R]->type.shape.dimension[0] = 7;
}

static void wrong_element(struct module *module, struct node **nodes)
{
    (void)module;
    nodes[R]->type.element = ELEMENT_I32;
}

static void wrong_layout(struct module *module, struct node **nodes)
{
    (void)module;
    nodes[R]->type.order[0] = 1;
}

static void same_origin(struct module *module, struct node **nodes)
{
    (void)module;
    nodes[R]->origin = nodes[H]->origin;
}

static void high_origin(struct module *module, struct node **nodes)
{
    nodes[R]->origin = module->next_origin;
}

static void own_forward(struct module *module, struct node **nodes)
{
    (void)module;
    nodes[R]->forward = nodes[R]->origin;
}

static void use_effect(struct module *module, struct node **nodes)
{
    (void)module;
    nodes[DRAWN]->operands[0] = nodes[WRITE];
}

static void unknown_variable(struct module *module, struct node **nodes)
{
    own_attributes(module, nodes[W])->symbol = "nothing";
}

static void read_type(struct module *module, struct node **nodes)
{
    (void)nodes;
    module_find_variable(module, "w")->type.element = ELEMENT_F16;
}

static void write_shape(struct module *module, struct node **nodes)
{
    nodes[WRITE]->operands[0] = nodes[R];
    nodes[WRITE]->type = nodes[R]->type;
    (void)module;
}

static void write_gate(struct module *module, struct node **nodes)
{
    own_attributes(module, nodes[WRITE])->index = 2;
}

static void write_twice(struct module *module, struct node **nodes)
{
    nodes[DRAWN]->op = OP_write;
    nodes[DRAWN]->attributes = nodes[WRITE]->attributes;
    (void)module;
}

static void loss_shape(struct module *module, struct node **nodes)
{
    own_attributes(module, nodes[DRAWN])->output = OUTPUT_METRIC;
}

static void same_output(struct module *module, struct node **nodes)
{
    own_attributes(module, nodes[OUTPUT])->symbol = "draw";
    own_attributes(module, nodes[OUTPUT])->output = OUTPUT_VALUE;
}

static void random_seed(struct module *module, struct node **nodes)
{
    (void)module;
    nodes[DRAW]->operands[0] = nodes[X];
}

static void argument_outside(struct module *module, struct node **nodes)
{
    (void)module;
    nodes[X]->op = OP_argument;
}

static void rule_outside(struct module *module, struct node **nodes)
{
    (void)nodes;
    module->scaling.present = true;
    arrput(module->scaling.rules, module->graphs[0]);
}

static void unknown_source(struct module *module, struct node **nodes)
{
    (void)nodes;
    module_find_variable(module, "w")->source = "nothing";
}

static void inline_contraction(struct module *module, struct node **nodes)
{
    (void)module;
    nodes[R]->kernel = 1;
}

static void uncast_operand(struct module *module, struct node **nodes)
{
    (void)module;
    nodes[H]->kernel = 1;
    nodes[X]->type.element = ELEMENT_F16;
}

static void uncast_write(struct module *module, struct node **nodes)
{
    (void)module;
    nodes[H]->kernel = 1;
    nodes[N]->type.element = ELEMENT_F16;
}

static void torn_kernel(struct module *module, struct node **nodes)
{
    (void)module;
    nodes[H]->kernel = nodes[S]->kernel = 1;
    nodes[R]->kernel = 2;
    for (int i = H; i <= S; i++)
        nodes[i]->placement.space = SPACE_SCRATCH;
}

static void no_place(struct module *module, struct node **nodes)
{
    (void)module;
    nodes[H]->kernel = 1;
    nodes[R]->kernel = 2;
    nodes[H]->placement.space = SPACE_SCRATCH;
}

/* Two nodes appended to a contraction: only the last is stored. */
static void appended(struct module *module, struct node **nodes)
{
    (void)module;
    nodes[H]->kernel = nodes[R]->kernel = 1;
    nodes[R]->placement.space = SPACE_SCRATCH;
}

static void two_contractions(struct module *module, struct node **nodes)
{
    nodes[N]->op = OP_matmul;
    nodes[N]->operands = nodes[H]->operands;
    nodes[N]->operand_count = 2;
    nodes[N]->type = nodes[H]->type;
    nodes[H]->kernel = nodes[N]->kernel = 1;
    nodes[WRITE]->op = OP_output;
    nodes[WRITE]->type = nodes[H]->type;
    (void)module;
}

static void place_outside(struct module *module, struct node **nodes)
{
    (void)module;
    nodes[H]->kernel = 1;
    nodes[H]->placement = (struct placement){SPACE_STATE, -64, "nothing"};
}

/* ---- the edges of loops ---- */

static void swap_axes(struct node *node, int first)
{
    node->type.order[first] = (unsigned char)(first + 1);
    node->type.order[first + 1] = (unsigned char)first;
}

static void operand_by_columns(struct module *module, struct node **nodes)
{
    (void)module;
    swap_axes(nodes[LOOPED_S], 1);
}

static void result_by_columns(struct module *module, struct node **nodes)
{
    (void)module;
    swap_axes(nodes[RESULT], 0);
}

static void input_by_columns(struct module *module, struct node **nodes)
{
    (void)nodes;
    swap_axes(module->graphs[1]->nodes[PLACE], 0);
}

static void output_by_columns(struct module *module, struct node **nodes)
{
    (void)nodes;
    swap_axes(module->graphs[1]->nodes[PUT_OUT], 0);
}

/* No kernel stores the output, so it can only lie where its operand does. */
static void put_out_by_columns(struct module *module, struct node **nodes)
{
    (void)nodes;
    module->graphs[1]->nodes[2]->kernel = 1;
    swap_axes(module->graphs[1]->nodes[2], 0);
}

int main(void)
{
    finds(looped, NULL, NULL);
    finds(looped, operand_by_columns, "operand 1 is not row-major");
    finds(looped, result_by_columns, "it is not row-major");
    finds(looped, input_by_columns, "its body's input \"1\" is not row-major");
    finds(looped, output_by_columns, "its body's output \"0\" is not row-major");
    finds(looped, put_out_by_columns, "a f32[2,3]{1,0} is put out as f32[2,3]");
    finds(good, NULL, NULL);
    finds("", NULL, NULL);
    finds(good, swap_nodes, "does not stand before it");
    finds(good, stale_id, "its id is 0, its position 4");
    finds(good, lose_operand, "takes 2 operands");
    finds(good, wrong_shape, "its type is f16[7,4], the op gives f32[2,4]");
    finds(good, wrong_element, "its type is i32[2,4]");
    finds(good, wrong_layout, "layout");
    finds(good, same_origin, "another node has this origin");
    finds(good, high_origin, "its origin is not between");
    finds(good, own_forward, "differentiates itself");
    finds(good, use_effect, "is the result of write");
    finds(good, unknown_variable, "no variable \"nothing\"");
    finds(good, read_type, "the variable's f16[3,4]");
    finds(good, write_shape, "its type is f16[2,4], the variable's f32[3,4]");
    finds(good, write_gate, "no minimize line 2");
    finds(good, write_twice, "writes \"w\" twice");
    finds(good, loss_shape, "a metric is one number, not f32[2]");
    finds(good, same_output, "the output value draw twice");
    finds(good, random_seed, "seed and attempt are integer scalars, not f32[2,3]");
    finds(good, argument_outside, "arguments belong to functions");
    finds(good, rule_outside, "the scale rule is no function");
    finds(good, unknown_source, "belongs to \"nothing\"");
    finds(good, inline_contraction, "computes a contraction inside, yet stores none");
    finds(good, uncast_operand, "its operands are f16[2,3] and f32[3,4]");
    finds(good, uncast_write, "a f16[3,4] is written to a variable of f32[3,4]");
    finds(good, torn_kernel, "kernel 1 is not in one piece");
    finds(good, no_place, "stores it nowhere");
    finds(good, appended, NULL);
    finds(good, two_contractions, "kernel 1 has another contraction");
    finds(good, place_outside, "it lies in no variable");
    finds(good, place_outside, "at offset -64");
    return check_result();
}
