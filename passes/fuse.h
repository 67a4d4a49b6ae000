/* What the files of pass fuse share.
 *
 * A group becomes a kernel. Every group has a level: one more than the highest level of the groups that it needs. Nodes
 * join a group only when all that they need has a lower level or is made by that very group, so groups can never depend
 * on each other in a circle, and the pass is one linear walk. */
#ifndef CASTOR_PASSES_FUSE_H
#define CASTOR_PASSES_FUSE_H

#include "passes/attention.h"
#include "passes/nests.h"
#include "passes/pass.h"

enum {
    GROUP_NONE = -1,
    GROUP_MANY = -2,
    LEVEL_NONE = 1 << 30, /* of what needs a group: nothing does */
    FACT_LOADS = 8,
    NESTS_MAX = 64 /* of a group that is no update */
};

/* What is known of a node once the walk has passed it. */
struct fact {
    struct alignment alignment;           /* in the nests of `group` */
    int level, group;                     /* the highest level that it needs, and the one group there that it needs */
    const struct node *loads[FACT_LOADS]; /* the largest values in memory that it is computed from */
    int64_t cost;                         /* rough operations an element when it is computed once more */
    int own_group, own_nest;              /* of anchors: where they were placed; else GROUP_NONE */
    int users;
    bool required;            /* must lie in memory */
    bool joins;               /* a concat whose parts are stored within it */
    bool offered;             /* worth a place of its own: stored if some other kernel needs it */
    bool chained;             /* appended to a contraction, or the contraction itself, not the last */
    struct node *contraction; /* the last of a chain: what it is appended to */
    bool has_sum, has_m2;     /* of the last of a chain: its contraction takes these statistics of it */
    bool summed, used_wide;   /* by users: reductions, or what only those need; other pointwise ones */
    struct node *tail_of;     /* of a neck: the convolution, of the highest level of those that end in it */
    struct node *neck;        /* of a convolution: what it can store in place of its result (fuse_tail.c) */
    bool stored;
    bool put_out;            /* a contraction's result in the body of a loop that is an output as it is stored */
    bool inside;             /* of a pattern: computed by its kernel and by no other */
    struct pattern *pattern; /* what gives this node */
};

/* What becomes one kernel of the library kind as a whole: attention, one way; a product with its gelu. */
struct pattern {
    struct node *operands[7], *results[3]; /* what it reads, but for seeds, and what it stores */
    int operand_count, result_count;
    int group;
};

struct group {
    int level, nests;
    bool library;
    bool floating;            /* only reductions of everything to one value: may run later, with others */
    bool sums;                /* only reductions that are no sums over rows, and stores nothing else */
    struct node *convolution; /* that goes on with its result (fuse_tail.c); NULL: none */
    int places, finish;       /* nests: what it computes at each place, and of each channel at the end; -1: none */
    int finished;             /* values of the latter */
    int totals;               /* sums in that nest */
    bool checked;             /* a check of all its values is in it */
    int merged;               /* the group that took this one in, else GROUP_NONE */
    int consumer;             /* the lowest level of a group that needs this one */
    int consumer_nest;        /* of that group, the nest that does; -1: several groups of that level do */
    int next;                 /* the lowest level of another group that does */
    int64_t bytes;            /* that its nests move, at most */
};

struct fuser {
    struct graph *graph;
    struct pass_context *context;
    struct fact *facts;   /* by node id */
    struct nest *nests;   /* stb_ds array */
    int *nest_group;      /* stb_ds array */
    struct group *groups; /* stb_ds array */
    struct fuse_nest {
        struct nest_key key;
        int value;
    } * latest;            /* stb_ds hash: the last nest of each key */
    struct node **effects; /* stb_ds array: writes and outputs that wait for the end */
    struct arena *arena;   /* of this pass */
};

/* Values that must be stored, epilogues (fuse_require.c). */
void fuse_require(struct fuser *fuser);

/* ---- patterns that are one kernel (fuse_patterns.c) ---- */

/* Finds them, in the arena, and what of them is required. */
void fuse_find_patterns(struct fuser *fuser);
/* Places the kernel of a result, with the first of its results that is met. */
void fuse_place_pattern(struct fuser *fuser, struct node *node);
int fuse_new_group(struct fuser *fuser, int level, bool library);

/* ---- tails of convolutions (fuse_tail.c) ---- */

/* Sets `summed` and `used_wide` of each value. */
void fuse_note_uses(struct fuser *fuser);
/* Sets the convolution's neck, where it can have a tail. `user`: the last user of each value, by node id. */
void fuse_find_neck(struct fuser *fuser, struct node *const *user, struct node *contraction);
/* The group that a neck with a `tail_of` joins. */
int fuse_tail_group(struct fuser *fuser, const struct node *neck);
/* Does a sum or check that is being placed belong to the tail in the group that it needs? */
bool fuse_joins_tail(const struct fuser *fuser, const struct node *node);
/* Is another value computed, for each channel, from that tail's sums? */
bool fuse_joins_finish(const struct fuser *fuser, const struct node *node);
/* Gives convolutions the kernel numbers of their necks. */
void fuse_number_tails(struct fuser *fuser);

/* ---- the walk (fuse_place.c) ---- */

/* Places one node, operands before users. */
void fuse_place(struct fuser *fuser, struct node *node);
/* Places the effects that waited. */
void fuse_place_effects(struct fuser *fuser);

/* ---- groups that share a launch though they share no values (fuse_merge.c) ---- */

/* What is made from nothing goes to where it is needed first. */
void fuse_made(struct fuser *fuser);
/* Sums of everything run as late as their users allow. */
void fuse_float(struct fuser *fuser);
/* Sums that nothing needs before a later kernel has run join that kernel. */
void fuse_later(struct fuser *fuser);
/* Small groups join others of their level. */
void fuse_beside(struct fuser *fuser);

/* Lies in memory before any kernel runs. */
static inline bool fuse_is_leaf(const struct node *node)
{
    return node->op == OP_read || node->op == OP_input;
}

#endif
