/* Printing graphs for graphviz.
 *
 * Nodes are sorted into a tree of clusters, one for each scope (within forward, backward and update, which would
 * otherwise lie on top of each other), and the tree is printed before the edges. */
#include "ir/dot.h"
#include "ir/print.h"
#include "ir/scope.h"

#include <errno.h>
#include <spawn.h>
#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

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

static void print_label(const struct picture *picture, const struct node *node)
{
    char type[TYPE_TEXT], number[DOUBLE_TEXT];
    FILE *out = picture->out;
    fputs(op_info(node->op)->name, out);
    for (int i = 0; i < node->operand_count; i++) {
        const struct node *constant = constant_of(node->operands[i]);
        if (constant)
            fprintf(out, " %s", format_double(constant->attributes->value, number));
    }
    const char *title = node->attributes->symbol ? node->attributes->symbol : node->name;
    if (title) {
        fputs("\\n", out);
        print_escaped(title, out);
    }
    fputs("\\n", out);
    print_escaped(type_format(&node->type, type, sizeof type), out);
}

static void print_tooltip(const struct picture *picture, const struct node *node)
{
    char *text;
    size_t size;
    FILE *memory = open_memstream(&text, &size);
    print_node(node, memory);
    fclose(memory);
    text[strcspn(text, "\n")] = '\0';
    print_escaped(text, picture->out);
    free(text);
}

static void print_picture_node(const struct picture *picture, const struct node *node)
{
    FILE *out = picture->out;
    bool cast = node->op == OP_cast;
    fprintf(out, "n%d [shape=%s, fillcolor=\"%s\", color=\"%s\"", node->id, node_shape(node),
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

static void print_edges(const struct picture *picture)
{
    for (ptrdiff_t i = 0; i < arrlen(picture->graph->nodes); i++) {
        const struct node *node = picture->graph->nodes[i];
        if (constant_of(node))
            continue;
        for (int k = 0; k < node->operand_count; k++)
            if (!constant_of(node->operands[k]))
                fprintf(picture->out, "n%d -> n%d [color=\"%s\"];\n", node->operands[k]->id, node->id,
                        colours[node->operands[k]->type.element].line);
    }
}

static void print_legend(const struct picture *picture)
{
    static const enum element shown[] = {ELEMENT_F16, ELEMENT_BF16, ELEMENT_F32, ELEMENT_I32};
    fputs("subgraph cluster_legend {\nlabel=\"precision\"; style=rounded; color=\"#adb5bd\";\n", picture->out);
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        fprintf(picture->out, "legend%zu [label=\"%s\", fillcolor=\"%s\", color=\"%s\"];\n", i,
                shown[i] == ELEMENT_I32 ? "integer" : element_name(shown[i]), colours[shown[i]].fill,
                colours[shown[i]].line);
    fputs("legend_cast [label=\"cast\", shape=hexagon, fillcolor=\"#ffffff\", color=\"#e03131\", penwidth=2];\n}\n",
          picture->out);
}

void dot_graph(const struct graph *graph, FILE *out)
{
    struct arena *arena = arena_new();
    struct picture picture = {.graph = graph, .arena = arena, .out = out};
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        if (!constant_of(graph->nodes[i])) {
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

/* ---- graphviz ---- */

extern char **environ;

/* Runs `dot -Tsvg` from one file to another. */
static const char *run_graphviz(FILE *from, FILE *to)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fileno(from), STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, fileno(to), STDOUT_FILENO);
    char *const arguments[] = {"dot", "-Tsvg", NULL};
    pid_t child;
    int problem = posix_spawnp(&child, "dot", &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (problem)
        return "graphviz's program `dot` is needed for SVG and cannot be started (on Debian: apt install graphviz)";
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return "the program `dot` was lost";
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return "graphviz's program `dot` is needed for SVG and cannot be started (on Debian: apt install graphviz)";
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? NULL : "the program `dot` failed";
}

static bool copy_file(FILE *from, FILE *to)
{
    char buffer[1 << 14];
    size_t bytes;
    rewind(from);
    while ((bytes = fread(buffer, 1, sizeof buffer, from)) > 0)
        if (fwrite(buffer, 1, bytes, to) != bytes)
            return false;
    return !ferror(from) && fflush(to) == 0;
}

const char *dot_svg(const struct graph *graph, FILE *out)
{
    FILE *source = tmpfile(), *picture = tmpfile();
    const char *problem = source && picture ? NULL : "no temporary file can be made for graphviz";
    if (!problem) {
        dot_graph(graph, source);
        rewind(source);
        problem = run_graphviz(source, picture);
    }
    if (!problem && !copy_file(picture, out))
        problem = "the picture cannot be written";
    if (source)
        fclose(source);
    if (picture)
        fclose(picture);
    return problem;
}
