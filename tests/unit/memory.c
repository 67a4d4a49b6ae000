/* Offsets, views, and the passes schedule and memory, on hand-made kernels. */
#include "passes/memory.h"
#include "check.h"
#include "ir/parse.h"
#include "ir/verify.h"
#include "passes/offsets.h"
#include "passes/view.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <time.h>

static struct target host_target(void)
{
    struct target target = {.name = "host", .alignment = 64, .channels_last = true, .threads = 1};
    for (int i = 0; i < ELEMENT_COUNT; i++)
        target.storage[i] = (enum element)i;
    target.storage[ELEMENT_F16] = target.storage[ELEMENT_BF16] = ELEMENT_F32;
    return target;
}

/* ---- offsets ---- */

static uint32_t random_state = 7;

static int random_below(int limit)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (int)((random_state >> 8) % (uint32_t)limit);
}

static bool overlaps(const struct lifetime *a, const struct lifetime *b)
{
    bool in_time = a->first <= b->last && b->first <= a->last;
    return in_time && a->bytes && b->bytes && a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
}

static void check_random_offsets(int count, int times)
{
    struct lifetime *buffers = malloc(sizeof *buffers * (size_t)count);
    for (int i = 0; i < count; i++) {
        int first = random_below(times);
        buffers[i] = (struct lifetime){random_below(5000), first, first + random_below(times / 4 + 1), 0};
    }
    int64_t size = offsets_assign(buffers, count, 64), bound = offsets_bound(buffers, count, 64);
    bool good = size >= bound;
    for (int i = 0; i < count; i++) {
        good = good && buffers[i].offset % 64 == 0 && buffers[i].offset + buffers[i].bytes <= size;
        for (int j = 0; j < i; j++)
            good = good && !overlaps(&buffers[i], &buffers[j]);
    }
    CHECK(good);
    CHECK((double)size <= 1.3 * (double)bound); /* random lifetimes are harder than those of networks */
    free(buffers);
}

/* Activations live until the backward pass comes back to them: a stack, which must be packed without any gap. */
static void check_stack_offsets(int depth)
{
    struct lifetime *buffers = malloc(sizeof *buffers * (size_t)depth * 2);
    for (int i = 0; i < depth; i++) {
        buffers[2 * i] = (struct lifetime){1000 + 64 * (i % 7), i, 2 * depth - i, 0};
        buffers[2 * i + 1] = (struct lifetime){3000, 2 * depth - i, 2 * depth - i + 1, 0};
    }
    clock_t start = clock();
    int64_t size = offsets_assign(buffers, 2 * depth, 64), bound = offsets_bound(buffers, 2 * depth, 64);
    CHECK((double)size <= 1.05 * (double)bound);
    CHECK((double)(clock() - start) / CLOCKS_PER_SEC < 0.5);
    free(buffers);
}

/* ---- graphs ---- */

struct fixture {
    struct arena *arena;
    struct module *module;
    struct graph *graph;
    struct target target;
    struct pass_context context;
};

static struct fixture fixture_make(const char *text)
{
    struct fixture fixture = {.arena = arena_new(), .target = host_target(), .context = {.limit = -1}};
    struct diagnostics *diagnostics = diagnostics_new(fixture.arena);
    fixture.module = parse_module(fixture.arena, diagnostics, "memory.ir", text);
    diagnostics_print(diagnostics, stderr);
    if (!fixture.module)
        exit(1);
    fixture.graph = fixture.module->graphs[0];
    return fixture;
}

static void fixture_run(struct fixture *fixture)
{
    fixture->context.target = &fixture->target;
    pass_schedule(fixture->graph, &fixture->context);
    verify_or_bug(fixture->module, "after pass schedule");
    pass_memory(fixture->graph, &fixture->context);
    verify_or_bug(fixture->module, "after pass memory");
}

static void fixture_free(struct fixture *fixture)
{
    module_free(fixture->module);
    arena_free(fixture->arena);
}

static struct node *find(const struct fixture *fixture, const char *name)
{
    for (ptrdiff_t i = 0; i < arrlen(fixture->graph->nodes); i++)
        if (fixture->graph->nodes[i]->name && strcmp(fixture->graph->nodes[i]->name, name) == 0)
            return fixture->graph->nodes[i];
    fprintf(stderr, "no node %s\n", name);
    exit(1);
}

/* Kernel 2 of the text needs kernel 3's value; a and b die where c and d are stored. */
static void check_in_place(void)
{
    struct fixture f = fixture_make("graph g {\n"
                                    " %x = input(\"x\") : f32[32,16]\n"
                                    " %a = exp(%x) kernel 1\n"
                                    " %b = neg(%a) kernel 3\n"
                                    " %r = sum(%b, axes=[1]) kernel 2\n"
                                    " %s = broadcast(%r) : f32[32,16]\n"
                                    " %c = mul(%b, %s) kernel 4\n"
                                    " %o = output(%c, \"c\") kernel 5\n"
                                    "}\n");
    fixture_run(&f);
    CHECK(find(&f, "a")->kernel == 1 && find(&f, "b")->kernel == 2 && find(&f, "r")->kernel == 3);
    CHECK(find(&f, "b")->placement.offset == find(&f, "a")->placement.offset);
    CHECK(find(&f, "c")->placement.offset == find(&f, "b")->placement.offset);
    CHECK(find(&f, "r")->placement.offset != find(&f, "b")->placement.offset);
    struct memory_use use = memory_measure(f.graph, &f.target);
    CHECK(use.peak == 32 * 16 * 4 + 32 * 4);
    CHECK(use.bound == use.peak);
    fixture_free(&f);
}

/* A value of no elements takes no room, and gives none to what begins where it would. */
static void check_no_elements(void)
{
    struct fixture f = fixture_make("graph g {\n"
                                    " %x = input(\"x\") : f32[2,4]\n"
                                    " %e = slice(%x, low=[0,4], high=[2,4]) kernel 1\n"
                                    " %s = sum(%e, axes=[1]) kernel 2\n"
                                    " %o = output(%s, \"s\")\n"
                                    "}\n");
    fixture_run(&f);
    CHECK(find(&f, "s")->placement.offset == find(&f, "e")->placement.offset);
    struct memory_use use = memory_measure(f.graph, &f.target);
    CHECK(use.peak == 64 && use.bound == use.peak);
    fixture_free(&f);
}

/* A transposed reader keeps the old value from being overwritten. */
static void check_not_in_place(void)
{
    struct fixture f = fixture_make("graph g {\n"
                                    " %x = input(\"x\") : f32[16,16]\n"
                                    " %a = exp(%x) kernel 1\n"
                                    " %t = permute(%a, permutation=[1,0])\n"
                                    " %b = add(%a, %t) kernel 2\n"
                                    " %o = output(%b, \"b\") kernel 3\n"
                                    "}\n");
    fixture_run(&f);
    CHECK(find(&f, "a")->placement.offset != find(&f, "b")->placement.offset);
    fixture_free(&f);
}

/* Two stores of one loop may read a dying value; only one of them takes its place. Where the second one reads it in
 * a later loop, neither does. */
static void check_two_stores(void)
{
    struct fixture f = fixture_make("graph g {\n"
                                    " %x = input(\"x\") : f32[16,16]\n"
                                    " %a = exp(%x) kernel 1\n"
                                    " %b = neg(%a) kernel 2\n"
                                    " %c = abs(%a) kernel 2\n"
                                    " %d = add(%b, %c) kernel 3\n"
                                    " %o = output(%d, \"d\") kernel 4\n"
                                    "}\n");
    fixture_run(&f);
    CHECK(find(&f, "b")->placement.offset == find(&f, "a")->placement.offset);
    CHECK(find(&f, "c")->placement.offset != find(&f, "a")->placement.offset);
    CHECK(find(&f, "d")->placement.offset == find(&f, "b")->placement.offset ||
          find(&f, "d")->placement.offset == find(&f, "c")->placement.offset);
    fixture_free(&f);

    f = fixture_make("graph g {\n"
                     " %x = input(\"x\") : f32[16,16]\n"
                     " %a = exp(%x) kernel 1\n"
                     " %b = neg(%a) kernel 2\n"
                     " %s = slice(%a, low=[0,0], high=[8,8], step=[1,1])\n"
                     " %c = abs(%s) kernel 2\n"
                     " %o = output(%b, \"b\") kernel 3\n"
                     " %q = output(%c, \"c\") kernel 4\n"
                     "}\n");
    fixture_run(&f);
    CHECK(find(&f, "b")->placement.offset != find(&f, "a")->placement.offset);
    fixture_free(&f);
}

/* The update goes into the variables themselves once every reader has run: the schedule puts the reader first. */
static void check_writes(void)
{
    struct fixture f = fixture_make("variable \"p\" : f32[8,8] parameter\n"
                                    "variable \"m\" : f32[8,8] optimizer of \"p\"\n"
                                    "graph g {\n"
                                    " %x = input(\"x\") : f32[8,8]\n"
                                    " %p = read(\"p\")\n"
                                    " %m = read(\"m\")\n"
                                    " %n = add(%m, %x)\n"
                                    " %q = sub(%p, %n)\n"
                                    " %wm = write(%n, \"m\", gate=all) kernel 1\n"
                                    " %wp = write(%q, \"p\", gate=all) kernel 1\n"
                                    " %h = matmul(%x, %p) kernel 2\n"
                                    " %o = output(%h, \"h\")\n"
                                    "}\n");
    fixture_run(&f);
    CHECK(find(&f, "h")->kernel == 1 && find(&f, "wp")->kernel == 2);
    CHECK(find(&f, "wm")->placement.space == SPACE_STATE && find(&f, "wp")->placement.space == SPACE_STATE);
    CHECK(find(&f, "o")->placement.space == SPACE_SCRATCH);
    fixture_free(&f);
}

/* An update that fusion left in pieces, each computing from old values: copy before p, p before m and v. */
static void check_write_order(void)
{
    struct fixture f = fixture_make("variable \"p\" : f32[8,8] parameter\n"
                                    "variable \"h\" : f16[8,8] copy of \"p\"\n"
                                    "variable \"m\" : f32[8,8] optimizer of \"p\"\n"
                                    "variable \"v\" : f32[8,8] optimizer of \"p\"\n"
                                    "graph g {\n"
                                    " %x = input(\"x\") : f32[8,8]\n"
                                    " %p = read(\"p\")\n"
                                    " %m = read(\"m\")\n"
                                    " %v = read(\"v\")\n"
                                    " %n = add(%m, %x)\n"
                                    " %u = add(%v, %x)\n"
                                    " %d = div(%n, %u)\n"
                                    " %q = sub(%p, %d)\n"
                                    " %c = cast(%q) : f16[8,8]\n"
                                    " %wm = write(%n, \"m\", gate=all) kernel 1\n"
                                    " %wv = write(%u, \"v\", gate=all) kernel 2\n"
                                    " %wp = write(%q, \"p\", gate=all) kernel 3\n"
                                    " %wh = write(%c, \"h\", gate=all) kernel 4\n"
                                    "}\n");
    fixture_run(&f);
    CHECK(find(&f, "wh")->kernel == 1 && find(&f, "wp")->kernel == 2);
    static const char *const writes[] = {"wm", "wv", "wp", "wh"};
    for (int i = 0; i < 4; i++)
        CHECK(find(&f, writes[i])->placement.space == SPACE_STATE);
    fixture_free(&f);
}

/* What is read after the write, or read transposed by it, is written to scratch first. */
static void check_late_reader(void)
{
    struct fixture f = fixture_make("variable \"p\" : f32[8,8] parameter\n"
                                    "variable \"q\" : f32[8,8] parameter\n"
                                    "graph g {\n"
                                    " %p = read(\"p\")\n"
                                    " %t = permute(%p, permutation=[1,0])\n"
                                    " %wp = write(%t, \"p\", gate=all) kernel 1\n"
                                    " %q = read(\"q\")\n"
                                    " %n = neg(%q) kernel 2\n"
                                    " %wq = write(%n, \"q\", gate=all) kernel 2\n"
                                    " %h = matmul(%n, %q) kernel 3\n"
                                    " %o = output(%h, \"h\")\n"
                                    "}\n");
    fixture_run(&f);
    CHECK(find(&f, "wp")->placement.space == SPACE_SCRATCH);
    CHECK(find(&f, "wq")->placement.space == SPACE_SCRATCH);
    fixture_free(&f);
}

static void check_views(void)
{
    struct fixture f = fixture_make("graph g {\n"
                                    " %x = input(\"x\") : f32[4,6,8]\n"
                                    " %p = permute(%x, permutation=[1,0,2])\n"
                                    " %s = slice(%p, low=[1,0,2], high=[5,4,8], step=[2,1,1])\n"
                                    " %r = reshape(%x) : f32[24,2,4]\n"
                                    " %t = permute(%r, permutation=[0,2,1])\n"
                                    " %c = reshape(%t) : f32[24,8]\n"
                                    " %v = reshape(%p) : f32[24,8]\n"
                                    " %f = flip(%x, axes=[0])\n"
                                    "}\n");
    struct view view;
    CHECK(view_find(find(&f, "s"), &view) && view.base == find(&f, "x"));
    CHECK(view.offset == 10 && view.stride[0] == 16 && view.stride[1] == 48);
    CHECK(view_find(find(&f, "r"), &view) && view_is_alias(&view));
    CHECK(view_find(find(&f, "t"), &view) && !view_is_alias(&view) && view.stride[1] == 1 && view.stride[2] == 4);
    CHECK(!view_find(find(&f, "c"), &view));
    CHECK(!view_find(find(&f, "v"), &view));
    CHECK(view_find(find(&f, "f"), &view) && view.base == find(&f, "f"));
    fixture_free(&f);
}

int main(void)
{
    for (int i = 0; i < 20; i++)
        check_random_offsets(10 + 8 * i, 40);
    check_stack_offsets(100);
    check_stack_offsets(20000);
    check_in_place();
    check_no_elements();
    check_not_in_place();
    check_two_stores();
    check_writes();
    check_write_order();
    check_late_reader();
    check_views();
    return check_result();
}
