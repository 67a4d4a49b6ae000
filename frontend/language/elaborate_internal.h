/* What the files of the elaborator share: values, frames, the elaborator itself.
 *
 * Evaluation never stops at an error: it reports, yields the value VALUE_ERROR, and everything made from that is
 * VALUE_ERROR too, in silence. So several errors of a file are reported in one run. */
#ifndef CASTOR_FRONTEND_LANGUAGE_ELABORATE_INTERNAL_H
#define CASTOR_FRONTEND_LANGUAGE_ELABORATE_INTERNAL_H

#include "frontend/language/ast.h"
#include "frontend/language/elaborate.h"

/* Limits that turn a mistake into a diagnostic instead of an endless compilation. */
enum { DEPTH_MAX = 2000, TURNS_MAX = 1000000, CALLS_MAX = 500000, NODES_MAX = 2000000 };
#define ELEMENTS_MAX ((int64_t)1 << 40)

/* Place of a key in a stb_ds hash, -1 when it is not there; an empty hash stays unallocated. */
#define FIND(map, key) ((map) ? hmgeti(map, key) : -1)

/* ---- values ---- */

/* A named dimension. Two axes are known to be one dimension when they point to the same one. */
struct dimension {
    const char *name;
    int64_t size;
};

/* What is known of an axis besides its size: its name, and what made it, for messages. */
struct axis {
    const struct dimension *dimension; /* NULL: unnamed */
    const char *from;                  /* "`param head`" */
    struct span span;
};

enum value_kind {
    VALUE_ERROR,
    VALUE_NUMBER,
    VALUE_BOOL,
    VALUE_STRING,
    VALUE_TYPE, /* f16, in cast(x, f16) */
    VALUE_LIST,
    VALUE_TUPLE, /* several results of one call */
    VALUE_RATIO, /* ratio(a, b): two tensors */
    VALUE_TENSOR
};

struct value {
    enum value_kind kind;
    bool integer;                      /* number: exact */
    bool derived;                      /* number: made from a dimension, so that division must be exact */
    const struct dimension *dimension; /* number: it is this dimension */
    double number;                     /* number; bool: 0 or 1; type: enum element */
    const char *text;                  /* string */
    const struct value *items;         /* list, tuple, ratio */
    int count;
    struct node *node;       /* tensor */
    const struct axis *axes; /* tensor: one an axis */
    int64_t classes;         /* tensor: class(n); 0: none */
};

/* ---- definitions (unit.c) ---- */

struct definition {
    const char *name;
    const struct ast_definition *ast;
    bool prelude; /* stands in the prelude */
};

struct definition_entry {
    const char *key; /* interned */
    struct definition *value;
};

struct option {
    const char *name;
    struct value value;
    struct span span;
};

/* A file that was read, under the one name that it has however imports spell it. */
struct unit_file {
    const char *real; /* interned */
    const struct ast_file *syntax;
};

/* Which of the files an `import` names. */
struct unit_import {
    const struct ast_definition *key;
    int value;
};

struct unit {
    struct arena *arena;
    struct diagnostics *diagnostics;
    const struct ast_file *file;
    struct unit_file *files;                    /* it, then its imports; stb_ds array */
    struct unit_import *imports;                /* stb_ds hash */
    struct definition_entry *own, *prelude;     /* stb_ds hashes by interned pointer */
    struct option *options;                     /* stb_ds array */
    const struct ast_definition *model, *train; /* NULL: none */
    const struct ast_statement **entries;       /* of the train block with the flags laid over it; stb_ds array */
    const struct ast_expression *rate;          /* --lr; NULL: not given */
    struct settings *settings;                  /* once read */
};

/* Calls in the prelude see the prelude alone; a file's definitions come first everywhere else. NULL: there is none. */
const struct definition *unit_find(const struct unit *unit, const char *name, bool from_prelude);
const struct option *unit_find_option(const struct unit *unit, const char *name);

/* ---- frames: one a scope (model, module instance, function, optimizer, scaler, train block) ---- */

struct binding {
    const char *key; /* interned */
    struct value value;
    struct variable *variable; /* of a param, a state or an optimizer's p: `<-` may set it; NULL: a plain value */
};

struct instance {
    const char *key;  /* label, with the prefix of the repeat around it; interned */
    const void *site; /* the call that made it */
    const struct definition *definition;
    const struct value *arguments; /* of the first call, one a parameter: VALUE_ERROR, or what later calls leave out */
    struct span span;
};

struct counter {
    const char *key; /* interned */
    int value;
};

/* What `collect NAME = e` gathered in the turns of a repeat. */
struct collected {
    const char *name;
    struct value *items; /* stb_ds array */
    struct span span;
};

struct frame {
    struct frame *caller;
    const struct definition *definition; /* NULL: the model or the train block */
    bool prelude;                        /* its text is the prelude's */
    bool owns;                           /* may have params, states and instances: the model and modules */
    const char *path;                    /* of the instance, "" for the model; parameters live under it */
    const char *owner;                   /* the labels on the way here, "/layer1.0/conv1": no two instances have one */
    const char *value_path;              /* names of bound values live under it: the path, and calls of functions */
    const char *scope;                   /* ir/scope.h */
    const char *prefix;                  /* "layer1.0." in a labelled repeat, else "" */
    bool single;                         /* in a labelled repeat whose body has one unlabelled module call */
    const char *state_prefix;            /* optimizers and scalers: `state` NAME is the variable PREFIX + NAME */
    const struct variable *parameter;    /* optimizers: what they update; else NULL */
    int gate;                            /* of the writes made here */
    struct binding *bindings;            /* stb_ds hash by interned pointer */
    struct instance *instances;          /* likewise */
    struct counter *counters;            /* likewise, of unlabelled calls */
    struct counter *declared;            /* likewise, paths of params and states declared here */
    struct collected **collected;        /* of the innermost repeat, NULL outside of any */
    struct value result;
    bool returned;
    const char *callee; /* what the user called, for messages: "`flatten`" */
};

/* ---- the elaborator ---- */

struct read_entry {
    const struct variable *key;
    struct value value;
};

struct update_entry {
    const struct variable *variable;
    struct node *node;
    int gate;
    struct span span;
};

struct named_entry {
    const char *key; /* interned */
    struct value value;
};

struct declared_output {
    const char *name;
    enum ast_declaration what;
    struct value value;
    struct span span;
};

/* What comes into the body of a rolled repeat: its input, and the value outside that it stands for. */
struct rolled_operand {
    struct node *input, *operand;
    const char *name;          /* of what is carried, interned; NULL: a sequence */
    struct value initial;      /* of what is carried */
    struct variable *variable; /* that the name was before; NULL: none */
    const struct node *from;   /* of a sequence: the tensor that its places are of, along `axis`; */
    int axis;                  /* the first turn takes place `first`, each further one that `step` behind */
    int64_t first, step;
};

/* A rolled repeat whose body is being elaborated (elaborate_rolled.c). */
struct rolled {
    struct rolled *outer;
    struct graph *parent, *body; /* where the loop will stand; what it runs */
    struct node *turn;           /* the body's input, i32 [] */
    const char *variable;        /* what the user calls it */
    int64_t low, turns;
    struct rolled_operand *carries, *sequences; /* stb_ds arrays */
    struct rolled_operand *unchanged;           /* likewise: what a turn leaves as it was */
    struct named_entry *fixed;                  /* stb_ds array: what must stay, since no input can stand for it */
};

/* Which instance a param or state belongs to: paths alone would let `a.b` in one scope meet `b` in `a`. */
struct owner_entry {
    const char *key;   /* path, interned */
    const char *value; /* the owner's labels, interned */
};

struct elaborator {
    struct arena *arena;
    struct diagnostics *diagnostics;
    struct unit *unit;
    const struct elaborate_request *request; /* NULL while options and settings are evaluated */
    struct module *module;                   /* likewise */
    struct builder builder;                  /* of the graph now being made; its span is the user's line */
    struct graph *init;
    struct frame *frame;
    struct span here; /* of the text now being evaluated, which may be the prelude's */
    bool training;
    int depth, calls;
    int64_t turns;
    const struct shape *implicit;    /* shape of the parameter being initialised, else NULL */
    const char *draw_path;           /* path of the draws of an initialiser, else NULL */
    struct read_entry *reads;        /* stb_ds hash: current value of each variable in this graph */
    struct owner_entry *owners;      /* stb_ds hash: of all graphs */
    struct read_entry *initial;      /* stb_ds hash: first value of each variable, in graph init */
    struct update_entry *updates;    /* stb_ds array: writes still to be made in this graph */
    struct counter *update_index;    /* stb_ds hash: name of a variable to its place in updates */
    struct named_entry *named;       /* stb_ds hash: values of this graph by path */
    struct counter *draws;           /* stb_ds hash: random draws by path */
    struct declared_output *outputs; /* stb_ds array */
    struct node **totals;      /* stb_ds array: of this graph, values that metrics take summed over the data set */
    struct span loss_span;     /* of the name in the model's last `loss = …` */
    struct value model_loss;   /* of this graph */
    struct variable **trained; /* stb_ds array: parameters that lines of earlier phases train */
    bool again;                /* the model is elaborated for a later phase: it writes nothing */
    bool averaged;             /* parameters are read as their averages */
    struct rolled *rolled;     /* the innermost rolled repeat that is being elaborated; NULL: none */
    const struct ast_expression **wrong_predicates; /* stb_ds array: patterns that are in error, which was reported */
};

/* ---- elaborate_value.c: making values, words for messages ---- */

struct value value_number(double number);
struct value value_integer(int64_t number);
struct value value_dimension(const struct dimension *dimension);
struct value value_bool(bool truth);
struct value value_list(struct elaborator *e, const struct value *items, int count);
/* A tensor all of whose axes come from what is being called now; and one with known axes (NULL: the same). */
struct value value_tensor(struct elaborator *e, struct node *node);
struct value value_tensor_axes(struct elaborator *e, struct node *node, const struct axis *axes);
struct axis axis_here(const struct elaborator *e);

/* Reports an error at `span`. In prelude code the user's line is shown, and the place in the prelude as a note. */
struct value report(struct elaborator *e, enum code code, struct span span, const char *label, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

bool value_is_integer(const struct value *value);
/* A tensor, or several values with one among them: what the network computes. */
bool value_is_computed(const struct value *value);
const char *value_describe(struct elaborator *e, const struct value *value); /* "a number", "f32 [128, 10]" */
const char *shape_text(struct elaborator *e, const struct shape *shape);     /* "[128, 10]" */
const char *number_text(struct elaborator *e, double number);

/* Checked conversions: report and give false when the value is something else (silently for VALUE_ERROR). `what` is
 * how the message calls it. */
bool want_number(struct elaborator *e, const struct value *value, struct span span, const char *what, double *number);
bool want_integer(struct elaborator *e, const struct value *value, struct span span, const char *what, int64_t *number);
/* Sizes of an axis: an integer from 0 up to ELEMENTS_MAX. */
bool want_size(struct elaborator *e, const struct value *value, struct span span, const char *what, int64_t *size);
bool want_bool(struct elaborator *e, const struct value *value, struct span span, const char *what, bool *truth);
bool want_tensor(struct elaborator *e, const struct value *value, struct span span, const char *what);
/* A shape from a list of sizes; axes gets the dimensions named in it. Refuses shapes that are too large. */
bool want_shape(struct elaborator *e, const struct value *value, struct span span, struct shape *shape,
                struct axis axes[RANK_MAX]);
bool shape_fits(struct elaborator *e, const struct shape *shape, struct span span);

/* ---- elaborate_tensor.c, elaborate_matmul.c: operations on values, compile-time or not ---- */

/* Number and bool constants become scalars; `like` is the element type that a number adapts to (ELEMENT_NONE: f32). */
struct node *tensor_node(struct elaborator *e, const struct value *value, enum element like);
struct value tensor_build(struct elaborator *e, enum op op, struct node *const *operands, int count,
                          const struct attributes *attributes, const struct shape *shape, struct span span,
                          const struct axis *axes);
struct value tensor_unary(struct elaborator *e, enum op op, const struct value *x, struct span span);
struct value tensor_binary(struct elaborator *e, enum op op, const struct value *a, const struct value *b,
                           struct span span);
struct value tensor_where(struct elaborator *e, const struct value *condition, const struct value *a,
                          const struct value *b, struct span span);
struct value tensor_cast(struct elaborator *e, const struct value *x, enum element element, bool explicit);
struct value tensor_matmul(struct elaborator *e, const struct value *a, const struct value *b, bool transpose_a,
                           bool transpose_b, struct span span);
struct value tensor_transpose(struct elaborator *e, const struct value *x, struct span span);
/* The axes of the mask stay with size 1; `all` drops every axis instead. */
struct value tensor_reduce(struct elaborator *e, enum op op, const struct value *x, uint32_t axes, bool all,
                           struct span span);
struct value tensor_reshape(struct elaborator *e, const struct value *x, const struct shape *shape,
                            const struct axis *axes, struct span span);
/* Repeats axes of size 1 and adds leading ones; VALUE_ERROR (reported) when the shapes don't fit. */
struct value tensor_broadcast(struct elaborator *e, const struct value *x, const struct shape *shape, struct span span);
struct value tensor_permute(struct elaborator *e, const struct value *x, const unsigned char *permutation);
/* The number is an index of class(classes). */
bool number_is_class(const struct value *number, int64_t classes);
bool refuse_classes(struct elaborator *e, const struct value *x, const char *what, struct span span);

/* ---- elaborate_number.c: operators and functions on compile-time values ---- */

struct value number_binary(struct elaborator *e, enum ast_operator operator, const struct value * a,
                           const struct value *b, struct span span);
/* Whether two values of a kind are the same; tensors are only where one node is both. */
bool value_same(const struct value *a, const struct value *b);
/* False: the op is not known for numbers. */
bool number_unary(enum op op, double x, double *result);

/* ---- elaborate_expression.c ---- */

struct value evaluate_expression(struct elaborator *e, const struct ast_expression *expression);
/* The same; a bare name of a function is a call of it (initialisers, optimizers, scalers). */
struct value evaluate_initialiser(struct elaborator *e, const struct ast_expression *expression);
bool lookup(struct elaborator *e, const char *name, struct value *value);

/* ---- elaborate_total.c ---- */

/* Emits the metric where it is made of totals: false where it is not. */
bool emit_totals(struct elaborator *e, const struct declared_output *output, struct node *metric);

/* ---- elaborate_call.c ---- */

struct argument_value {
    const char *name; /* NULL: positional */
    struct span span;
    struct value value;
};

struct value evaluate_call(struct elaborator *e, const struct ast_expression *expression);
/* Calls of optimizers and scalers: the first `given` parameters get the values of `first`, the others are bound from
 * `call` (NULL: no arguments), evaluated in the present frame. The frame tells where states live. */
struct value call_rule(struct elaborator *e, const struct definition *definition, const struct value *first, int given,
                       struct variable *parameter, const struct argument_value *arguments, int argument_count,
                       struct frame *frame, struct span span);
void frame_free(struct frame *frame);

/* ---- elaborate_builtins.c ---- */

struct builtin_call;

struct builtin {
    const char *name;
    const char *parameters; /* "x axis?": ? optional; a first one "x.." takes all positional arguments */
    struct value (*function)(struct builtin_call *call);
    int argument; /* enum op, or what else the function wants */
};

enum { BUILTIN_PARAMETERS = 8 };

struct builtin_call {
    struct elaborator *e;
    const struct builtin *builtin;
    struct span span;
    struct value values[BUILTIN_PARAMETERS];
    struct span spans[BUILTIN_PARAMETERS];
    bool given[BUILTIN_PARAMETERS];
    const struct value *rest; /* of "x.." */
    int rest_count;
};

const struct builtin *builtin_find(const char *name);
const struct builtin *builtin_at(int index); /* NULL past the last */
/* Made of several ops: leaves its name on them. */
bool builtin_has_scope(const struct builtin *builtin);
struct value builtin_invoke(struct elaborator *e, const struct builtin *builtin, const struct argument_value *arguments,
                            int count, struct span span);
/* Axis argument `index` as a mask; absent or [] gives all axes and *all. */
bool argument_axes(struct builtin_call *call, int index, const struct value *x, uint32_t *mask, bool *all);
/* One axis, counted from the end when negative, below `rank`. */
bool argument_axis(struct builtin_call *call, int index, int rank, int fallback, int *axis);
/* The pair of argument `index`: a number n gives n, n; absent gives `fallback`. */
bool argument_pair(struct builtin_call *call, int index, int64_t fallback, int64_t pair[2]);

#define BUILTIN(name) struct value builtin_##name(struct builtin_call *call)
BUILTIN(unary);
BUILTIN(minmax);
BUILTIN(reduce);
BUILTIN(mean);
BUILTIN(var);
BUILTIN(arg);
BUILTIN(cumsum);
BUILTIN(suppressed);
BUILTIN(reshape);
BUILTIN(flatten);
BUILTIN(permute);
BUILTIN(squeeze);
BUILTIN(unsqueeze);
BUILTIN(concat);
BUILTIN(stack);
BUILTIN(split);
BUILTIN(pad);
BUILTIN(flip);
BUILTIN(tile);
BUILTIN(along);
BUILTIN(range);
BUILTIN(full);
BUILTIN(full_like);
BUILTIN(tri);
BUILTIN(gather);
BUILTIN(scatter_add);
BUILTIN(one_hot);
BUILTIN(where);
BUILTIN(window);
BUILTIN(convolve);
BUILTIN(convolve_transposed);
BUILTIN(cast);
BUILTIN(grad);
BUILTIN(uniform);
BUILTIN(normal);
BUILTIN(bernoulli);
BUILTIN(shape);
BUILTIN(size);
BUILTIN(rank);
BUILTIN(axes);
BUILTIN(count);
BUILTIN(pair);
BUILTIN(whole);
BUILTIN(fan);
BUILTIN(require);
BUILTIN(ratio);
BUILTIN(total);

/* ---- elaborate_statement.c, elaborate_repeat.c, elaborate_variable.c, elaborate_type.c ---- */

void execute(struct elaborator *e, const struct ast_block *block);
void execute_repeat(struct elaborator *e, const struct ast_statement *statement);
void collect(struct elaborator *e, const struct ast_statement *statement);
/* How many unlabelled calls of modules stand in the block; two is as good as many. */
int repeat_calls(const struct elaborator *e, const struct ast_block *block);
/* One loop in the graph instead of a copy of the body for each turn. */
void execute_rolled(struct elaborator *e, const struct ast_statement *statement, int64_t low, int64_t high);
/* The graph in which what lasts for all turns stands: reads, draws. */
struct graph *rolled_root(const struct elaborator *e);
/* The graph in which a node stands. */
struct graph *rolled_home(const struct elaborator *e, const struct node *node);
/* x along the axis at an index that is known when it runs, i32 []; the axis goes. */
struct value rolled_index(struct elaborator *e, const struct value *x, int axis, struct node *index, struct span span);
/* The place of each turn of a tensor [turns, ..] that stands outside of the body. */
struct node *rolled_sequence(struct elaborator *e, struct rolled *rolled, struct node *tensor);
/* Binds a name in the present frame, and makes the value known by its path. */
void bind(struct elaborator *e, const char *name, struct value value, struct variable *variable);
void declare_param(struct elaborator *e, const struct ast_statement *statement);
void declare_state(struct elaborator *e, const struct ast_statement *statement);
void update_variable(struct elaborator *e, const struct ast_statement *statement);
/* The variable's value now: as read, or as updated before in this graph. */
struct value variable_value(struct elaborator *e, const struct variable *variable);
/* Is it the name of an input? Paths within instances have a dot. */
bool is_model_input(const struct elaborator *e, const char *path);
/* Training keeps a variable of this path, an interned one. False after a diagnostic: an optimizer's or a scale rule's
 * state is it. */
bool variable_is_implied(struct elaborator *e, const char *path);
/* So are those that draws and later passes make. */
void reserve_paths(struct elaborator *e);
/* A variable that no text declares (train/step …); made, with its first value, when it is not there yet. */
struct variable *variable_implied(struct elaborator *e, const char *name, enum element element, enum variable_kind kind,
                                  double first);
void variable_update(struct elaborator *e, const struct variable *variable, struct node *node, int gate);
/* Emits the collected writes into the present graph. */
void emit_updates(struct elaborator *e);
/* Checks a parameter's value against its type, which binds the names of dimensions that are not bound yet. */
bool match_type(struct elaborator *e, const struct ast_type *type, const char *what, struct value *value);
/* The shape that a param's type says; every name in it must have a value. */
bool type_shape(struct elaborator *e, const struct ast_type *type, struct shape *shape, struct axis axes[RANK_MAX]);

/* ---- elaborate_model.c ---- */

/* The model once more in the present graph, in a fresh frame, at the parameters as they are now. States are those that
 * the step began with. */
void elaborate_again(struct elaborator *e);

/* ---- elaborate_pattern.c ---- */

/* Whether a parameter fits one of the predicates (strings with *, rank comparisons, not). */
bool override_matches(struct elaborator *e, const struct ast_expressions *predicates, const struct variable *variable);

/* Reports each predicate that fits no parameter; `word` is what they belong to. */
void report_unmatched(struct elaborator *e, const struct ast_expressions *predicates, const char *word);

/* Notes, for the error before, that several patterns in one string are one pattern. */
void note_commas(struct elaborator *e, const struct ast_expressions *predicates);

/* ---- elaborate_train.c ---- */

/* The update of the training step: gradients, clipping, optimizers, counters. */
void elaborate_update(struct elaborator *e);
/* Whether only lines of later phases minimise the loss: the log shows it as it is there. */
bool loss_is_later(const struct elaborator *e, const char *name);
/* The name of a parameter's average. */
const char *average_of(struct elaborator *e, const struct variable *parameter);

/* ---- elaborate_rule.c ---- */

/* The optimizer or scale rule that an expression (a name or a call) means. NULL after a diagnostic that says `word`. */
const struct definition *find_rule(struct elaborator *e, const struct ast_expression *expression,
                                   enum ast_definition_kind kind, const char *word);
/* Evaluates the arguments of a rule's call; positional ones get the names of the parameters from `first` on. */
bool rule_arguments(struct elaborator *e, const struct definition *definition, const struct ast_expression *expression,
                    int first, struct argument_value **arguments, int *count);
/* The function graphs of the request's scale rule, one a minimised loss or one for all. */
void elaborate_scaler(struct elaborator *e);

/* ---- settings.c, settings_data.c ---- */

/* Calls the functions of the data lines on the inputs, which are bound (elaborate_data.c). */
void elaborate_data(struct elaborator *e);
/* Evaluates a data line; false after diagnostics. */
bool settings_data(struct elaborator *e, const struct ast_expression *expression, struct data_line *line);
/* The entries of the train block that hold bindings, executed in the present frame. */
void bind_train_values(struct elaborator *e);

#endif
