/* Printing graphs for graphviz.
 *
 * Nodes are sorted into a tree of clusters, one for each scope (within forward, backward and update, which would
 * otherwise lie on top of each other), and the tree is printed before the edges. A picture is to be understood at a
 * glance, so what says nothing about precision is left out: constants stand in the labels of their users, edges run
 * through reshape and broadcast, and where a graph has a forward pass its update is one box, but for the casts in it.
 * The IR text has everything. */
#include "ir/dot.h"
#include "ir/print.h"
#include "ir/scope.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

struct cluster {
    const char *label;
    struct cluster **children; /* stb_ds arrays */
    const struct node **nodes;
};

struct cluster_entry {
    const char *key; /* region and scope */
    struct cluster *value;
};

struct picture {
    const struct graph *graph;
    struct arena *arena;
    FILE *out;
    struct cluster root;
    struct cluster_entry *clusters; /* stb_ds hash */
    int printed;                    /* clusters so far */
    bool *outside;                  /* by id: nodes of the update that others use (the scale): not in its box */
    bool folded;                    /* the update is one box */
    const struct node *update;      /* … which this node stands for; NULL while there is none */
    int update_nodes;               /* how many nodes are in it */
    const char *update_title;       /* the functions that they come from: "adam, dynamic" */
};

/* ---- colours and shapes ---- */

static const struct {
    const char *fill, *line;
} colours[ELEMENT_COUNT] = {
    [ELEMENT_NONE] = {"#ffffff", "#555555"}, [ELEMENT_F16] = {"#ffd8a8", "#d9480f"},
    [ELEMENT_BF16] = {"#d8f5a2", "#5c940d"}, [ELEMENT_F32] = {"#d0ebff", "#1864ab"},
    [ELEMENT_F64] = {"#e5dbff", "#5f3dc4"},  [ELEMENT_I32] = {"#e9ecef", "#495057"},
    [ELEMENT_I64] = {"#e9ecef", "#495057"},  [ELEMENT_U8] = {"#e9ecef", "#495057"},
    [ELEMENT_BOOL] = {"#f8f9fa", "#868e96"},
};

/* A parameter's half copy on its way out of the update. */
static bool is_half_copy(const struct node *node)
{
    if (node->op == OP_write)
        node = node->operands[0];
    return node->op == OP_cast && element_is_half(node->type.element);
}

/* What the picture has in the node's place: the node itself, what it moves, or the box of the update; NULL for
 * constants. */
static const struct node *shown(const struct picture *picture, const struct node *node)
{
    while (node->op == OP_reshape || node->op == OP_broadcast)
        node = node->operands[0];
    if (node->op == OP_constant)
        return NULL;
    bool inside = picture->folded && node->region == REGION_UPDATE;
    return inside && !is_half_copy(node) && !picture->outside[node->id] ? picture->update : node;
}

/* The element type of a contraction's operands where it is not that of its result, else ELEMENT_NONE. */
static enum element product_element(const struct node *node)
{
    if (!op_is(node->op, CLASS_CONTRACTION) || node->operands[0]->type.element == node->type.element)
        return ELEMENT_NONE;
    return node->operands[0]->type.element;
}

static const char *node_shape(const struct node *node)
{
    switch (node->op) {
    case OP_cast:
        return "hexagon";
    case OP_input:
        return "invhouse";
    case OP_output:
        return "house";
    case OP_read:
    case OP_write:
        return "cylinder";
    default:
        return op_is(node->op, CLASS_CONTRACTION) ? "box3d" : "box";
    }
}

/* ---- labels ---- */

/* The constant that a node is, seen through reshape and broadcast; NULL when it is none. */
static const struct node *constant_of(const struct node *node)
{
    while (node->op == OP_reshape || node->op == OP_broadcast)
        node = node->operands[0];
    return node->op == OP_constant ? node : NULL;
}

static void print_escaped(const char *text, FILE *out)
{
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', out);
        if (*text == '\n')
            fputs("\\n", out);
        else
            fputc(*text, out);
    }
}

enum { TITLE_LENGTH = 16 };

/* The name; of a long one the end, since the clusters around the node say the rest. */
static const char *node_title(const struct picture *picture, const struct node *node)
{
    if (node->attributes->symbol || !node->name || !*node->scope)
        return node->attributes->symbol ? node->attributes->symbol : node->name;
    const char *dot = strrchr(node->name, '.');
    if (!dot || strlen(node->name) <= TITLE_LENGTH)
        return node->name;
    bool gradient = strncmp(node->name, "d_", 2) == 0;
    return gradient ? arena_printf(picture->arena, "d_%s", dot + 1) : dot + 1;
}

static void print_label(const struct picture *picture, const struct node *node)
{
    char type[TYPE_TEXT], number[DOUBLE_TEXT];
    FILE *out = picture->out;
    if (node == picture->update) {
        fprintf(out, "update: %s\\n%d operations", picture->update_title, picture->update_nodes);
        return;
    }
    fputs(op_info(node->op)->name, out);
    for (int i = 0; i < node->operand_count; i++) {
        const struct node *constant = constant_of(node->operands[i]);
        if (constant)
            fprintf(out, " %s", format_double(constant->attributes->value, number));
    }
    const char *title = node_title(picture, node);
    if (title) {
        fputs("\\n", out);
        print_escaped(title, out);
    }
    fputs("\\n", out);
    if (product_element(node))
        fprintf(out, "%s products, ", element_name(product_element(node)));
    print_escaped(type_format(&node->type, type, sizeof type), out);
}

static void print_tooltip(const struct picture *picture, const struct node *node)
{
    char *text;
    size_t size;
    FILE *memory = arena_stream(&text, &size);
    print_node(node, memory);
    arena_stream_close(memory);
    text[strcspn(text, "\n")] = '\0';
    print_escaped(text, picture->out);
    free(text);
}

static void print_picture_node(const struct picture *picture, const struct node *node)
{
    FILE *out = picture->out;
    bool cast = node->op == OP_cast;
    const char *product = product_element(node) ? colours[product_element(node)].fill : "";
    fprintf(out, "n%d [shape=%s, fillcolor=\"%s%s%s\", color=\"%s\"", node->id,
            node == picture->update ? "folder" : node_shape(node), product, *product ? ":" : "",
            colours[node->type.element].fill, cast ? "#e03131" : colours[node->type.element].line);
    if (cast || op_is(node->op, CLASS_CONTRACTION))
        fputs(", penwidth=2", out);
    fputs(", label=\"", out);
    print_label(picture, node);
    fputs("\", tooltip=\"", out);
    print_tooltip(picture, node);
    fputs("\"];\n", out);
}

/* ---- clusters ---- */

static struct cluster *child(struct picture *picture, struct cluster *parent, const char *key, const char *label)
{
    ptrdiff_t found = shgeti(picture->clusters, key);
    if (found >= 0)
        return picture->clusters[found].value;
    struct cluster *cluster = ARENA_NEW(picture->arena, struct cluster);
    cluster->label = label;
    arrput(parent->children, cluster);
    shput(picture->clusters, key, cluster);
    return cluster;
}

static struct cluster *cluster_of(struct picture *picture, const struct node *node)
{
    const char *key = region_name(node->region);
    struct cluster *cluster = &picture->root;
    if (node->region == REGION_UPDATE && picture->folded)
        return cluster;
    if (node->region != REGION_FORWARD)
        cluster = child(picture, cluster, key, key);
    const char *rest = node->scope;
    struct scope_segment segment;
    while (scope_next(&rest, &segment)) {
        const char *label = arena_printf(picture->arena, "%.*s%s%.*s", (int)segment.label_length, segment.label,
                                         segment.label_length ? ": " : "", (int)segment.callee_length, segment.callee);
        key = arena_printf(picture->arena, "%s/%s", key, label);
        cluster = child(picture, cluster, key, label);
    }
    return cluster;
}

static void print_cluster(struct picture *picture, const struct cluster *cluster)
{
    for (ptrdiff_t i = 0; i < arrlen(cluster->nodes); i++)
        print_picture_node(picture, cluster->nodes[i]);
    for (ptrdiff_t i = 0; i < arrlen(cluster->children); i++) {
        fprintf(picture->out, "subgraph cluster_%d {\nlabel=\"", picture->printed++);
        print_escaped(cluster->children[i]->label, picture->out);
        fputs("\"; style=rounded; color=\"#adb5bd\"; fontcolor=\"#495057\";\n", picture->out);
        print_cluster(picture, cluster->children[i]);
        fputs("}\n", picture->out);
    }
}

static void free_cluster(struct cluster *cluster)
{
    arrfree(cluster->children);
    arrfree(cluster->nodes);
}

/* ---- the picture ---- */

struct edge {
    uint64_t key; /* both ids */
};

/* Once for each pair: the box of the update has many edges of a kind. */
static void print_edge(const struct picture *picture, struct edge **edges, const struct node *from,
                       const struct node *to)
{
    if (!from || from == to)
        return;
    uint64_t key = (uint64_t)from->id << 32 | (uint32_t)to->id;
    if (hmgeti(*edges, key) >= 0)
        return;
    hmputs(*edges, (struct edge){key});
    fprintf(picture->out, "n%d -> n%d [color=\"%s\"];\n", from->id, to->id, colours[from->type.element].line);
}

static void print_edges(const struct picture *picture)
{
    struct edge *edges = NULL;
    for (ptrdiff_t i = 0; i < arrlen(picture->graph->nodes); i++) {
        const struct node *node = picture->graph->nodes[i], *to = shown(picture, node);
        bool moves = node->op == OP_reshape || node->op == OP_broadcast;
        for (int k = 0; to && !moves && k < node->operand_count; k++)
            print_edge(picture, &edges, shown(picture, node->operands[k]), to);
    }
    hmfree(edges);
}

static bool has_element(const struct picture *picture, enum element element)
{
    for (ptrdiff_t i = 0; i < arrlen(picture->graph->nodes); i++)
        if (picture->graph->nodes[i]->type.element == element)
            return true;
    return false;
}

static void print_legend_product(const struct picture *picture)
{
    for (ptrdiff_t i = 0; i < arrlen(picture->graph->nodes); i++) {
        const struct node *node = picture->graph->nodes[i];
        enum element product = product_element(node);
        if (!product)
            continue;
        fprintf(picture->out,
                "legend_product [shape=box3d, penwidth=2, label=\"%s products,\\nsummed in %s\", "
                "fillcolor=\"%s:%s\", color=\"%s\"];\n",
                element_name(product), element_name(node->type.element), colours[product].fill,
                colours[node->type.element].fill, colours[node->type.element].line);
        return;
    }
}

static void print_legend(const struct picture *picture)
{
    static const struct {
        enum element element;
        const char *text;
    } rows[] = {{ELEMENT_F16, "f16"}, {ELEMENT_BF16, "bf16"}, {ELEMENT_F32, "f32"}, {ELEMENT_I32, "integer"}};
    fputs("subgraph cluster_legend {\nlabel=\"rounded to\"; style=rounded; color=\"#adb5bd\";\n", picture->out);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (has_element(picture, rows[i].element))
            fprintf(picture->out, "legend%zu [label=\"%s\", fillcolor=\"%s\", color=\"%s\"];\n", i, rows[i].text,
                    colours[rows[i].element].fill, colours[rows[i].element].line);
    print_legend_product(picture);
    fputs("legend_variable [label=\"parameter\\nor state\", shape=cylinder, fillcolor=\"#ffffff\"];\n"
          "legend_cast [label=\"cast\", shape=hexagon, fillcolor=\"#ffffff\", color=\"#e03131\", penwidth=2];\n}\n",
          picture->out);
}

static void note_outside(struct picture *picture, const struct node *node)
{
    for (int k = 0; node->region != REGION_UPDATE && k < node->operand_count; k++)
        if (node->operands[k]->region == REGION_UPDATE)
            picture->outside[node->operands[k]->id] = true;
}

/* Takes note of what the box of the update stands for. */
static void fold_update(struct picture *picture)
{
    const struct node *last = NULL;
    picture->outside = ARENA_ARRAY(picture->arena, bool, arrlen(picture->graph->nodes) + 1);
    picture->folded = false;
    picture->update_title = "";
    for (ptrdiff_t i = 0; i < arrlen(picture->graph->nodes); i++) {
        const struct node *node = picture->graph->nodes[i];
        struct scope_segment segment;
        const char *rest = node->scope;
        picture->folded |= op_is(node->op, CLASS_CONTRACTION) && node->region == REGION_FORWARD;
        note_outside(picture, node);
        if (node->region != REGION_UPDATE || node->op == OP_constant)
            continue;
        if (!is_half_copy(node) && node->op == OP_write)
            last = node;
        picture->update_nodes += node->op != OP_reshape && node->op != OP_broadcast;
        if (!scope_next(&rest, &segment))
            continue;
        const char *name = arena_intern_length(picture->arena, segment.callee, segment.callee_length);
        if (!strstr(picture->update_title, name))
            picture->update_title =
                arena_printf(picture->arena, "%s%s%s", picture->update_title, *picture->update_title ? ", " : "", name);
    }
    picture->update = last;
    picture->folded &= last != NULL;
    if (!picture->folded)
        picture->update = NULL;
}

void dot_graph(const struct graph *graph, FILE *out)
{
    struct arena *arena = arena_new();
    struct picture picture = {.graph = graph, .arena = arena, .out = out};
    fold_update(&picture);
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        if (shown(&picture, graph->nodes[i]) == graph->nodes[i]) {
            struct cluster *cluster = cluster_of(&picture, graph->nodes[i]);
            arrput(cluster->nodes, graph->nodes[i]);
        }
    fputs("digraph \"", out);
    print_escaped(graph->name, out);
    fputs("\" {\nnode [style=filled, shape=box, fontname=\"Helvetica\", fontsize=10];\n"
          "graph [fontname=\"Helvetica\", fontsize=11, rankdir=TB];\nedge [arrowsize=0.6];\n",
          out);
    print_legend(&picture);
    print_cluster(&picture, &picture.root);
    print_edges(&picture);
    fputs("}\n", out);
    free_cluster(&picture.root);
    for (ptrdiff_t i = 0; i < shlen(picture.clusters); i++)
        free_cluster(picture.clusters[i].value);
    shfree(picture.clusters);
    arena_free(arena);
}
