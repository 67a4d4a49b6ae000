/* Groups that share a launch though they share no values: one level of groups needs nothing of each other. */
#include "passes/fuse.h"

#include <stb/stb_ds.h>
#include <string.h>

enum { LATER_MAX = 3 }; /* levels by which sums may wait */

/* A group by level: the last one that others may still join. */
struct at_level {
    int key, value;
};

/* `consumer`: the lowest level of a group, but for `into`, that needs what `group` makes. */
static bool try_merge(struct fuser *fuser, int group, int into, int consumer)
{
    struct group *from = &fuser->groups[group], *to = &fuser->groups[into];
    if (to->nests + from->nests > NESTS_MAX || !pass_may_rewrite(fuser->context))
        return false;
    to->nests += from->nests;
    to->bytes += from->bytes;
    to->consumer = consumer < to->consumer ? consumer : to->consumer;
    from->merged = into;
    return true;
}

/* Its one member, where that is computed from single values alone (random draws: masks of dropout); else NULL. */
static struct node *made_from_nothing(const struct fuser *fuser, int number)
{
    const struct group *group = &fuser->groups[number];
    if (group->library || group->nests != 1 || group->level != 0)
        return NULL;
    for (ptrdiff_t i = 0; i < arrlen(fuser->nests); i++)
        if (fuser->nest_group[i] == number) {
            struct node *node = arrlen(fuser->nests[i].members) == 1 ? fuser->nests[i].members[0].node : NULL;
            bool made = node && !reduction_kind(node) && !fuser->facts[node->id].loads[0];
            return made && !op_is(node->op, CLASS_EFFECT) ? node : NULL;
        }
    return NULL;
}

/* A mask goes into the loop that is the first to need it, and is stored there for those that need it later. */
void fuse_made(struct fuser *fuser)
{
    for (int i = 0; i < arrlen(fuser->groups); i++) {
        int nest = fuser->groups[i].consumer_nest;
        struct node *node = nest >= 0 ? made_from_nothing(fuser, i) : NULL;
        struct alignment alignment = alignment_none();
        if (node && !fuser->groups[fuser->nest_group[nest]].library && nest_join(&fuser->nests[nest], node, &alignment))
            try_merge(fuser, i, fuser->nest_group[nest], fuser->groups[i].next);
    }
}

/* Sums of everything that nothing else computes along with (norms, checks of gradients) run as late as their users
 * allow, all of one level in one kernel. */
void fuse_float(struct fuser *fuser)
{
    struct at_level *latest = NULL;
    for (int i = 0; i < arrlen(fuser->groups); i++) {
        struct group *group = &fuser->groups[i];
        if (!group->floating || group->consumer == LEVEL_NONE)
            continue;
        group->level = group->consumer - 1;
        ptrdiff_t found = hmgeti(latest, group->level);
        if (found < 0 || !try_merge(fuser, i, latest[found].value, group->consumer))
            hmput(latest, group->level, i);
    }
    hmfree(latest);
}

/* Sums that nothing needs before a later kernel has run (of a bias's gradient, beside products) join that kernel. What
 * they are of stays in memory until then, so not where that is short. */
void fuse_later(struct fuser *fuser)
{
    struct at_level *first = NULL;
    if (fuser->context->target->language != LANGUAGE_CUDA ||
        memory_budget_bounds(&fuser->context->budget, fuser->graph))
        return;
    for (int i = 0; i < arrlen(fuser->groups); i++) {
        const struct group *group = &fuser->groups[i];
        if (!group->library && group->merged == GROUP_NONE && !group->sums && hmgeti(first, group->level) < 0)
            hmput(first, group->level, i);
    }
    for (int i = 0; i < arrlen(fuser->groups); i++) {
        const struct group *group = &fuser->groups[i];
        for (int level = group->level; group->sums && level <= group->level + LATER_MAX && level < group->consumer;
             level++) {
            ptrdiff_t found = hmgeti(first, level);
            if (found >= 0 && group->merged == GROUP_NONE && try_merge(fuser, i, first[found].value, group->consumer))
                break;
        }
    }
    hmfree(first);
}

/* Does it move its bytes in less than half the time of a launch? */
static bool is_brief(const struct fuser *fuser, const struct group *group)
{
    const struct target *target = fuser->context->target;
    return (double)group->bytes < target->launch_seconds * target->bandwidth / 2;
}

/* A GPU's small kernels join any other kernel of their level: there its blocks run beside the other's. A target that
 * runs kernels by strips gains nothing: they would run one after the other, and what is no strip would stop one. Nor
 * does init, which runs once: kernels of one initialisation are alike while they are alone, and are compiled once. */
void fuse_beside(struct fuser *fuser)
{
    struct at_level *latest = NULL;
    bool once = strcmp(fuser->graph->name, "init") == 0;
    if (fuser->context->target->language != LANGUAGE_CUDA || once)
        return;
    for (int i = 0; i < arrlen(fuser->groups); i++) {
        const struct group *group = &fuser->groups[i];
        if (group->library || group->merged != GROUP_NONE)
            continue;
        ptrdiff_t found = hmgeti(latest, group->level);
        int into = found < 0 ? GROUP_NONE : latest[found].value;
        bool brief = into != GROUP_NONE && (is_brief(fuser, group) || is_brief(fuser, &fuser->groups[into]));
        if (!brief || !try_merge(fuser, i, into, group->consumer))
            hmput(latest, group->level, i);
    }
    hmfree(latest);
}
