/* Decoders of what a warp or block does together: shuffles, votes, barriers, matrix products. */
#include "runtime/sim/decode.h"
#include "runtime/sim/execute.h"

#include <stdlib.h>
#include <string.h>

/* Whether all modifiers from `first` on are these. */
static bool modifiers_are(const struct decoder *decoder, int first, const char *const *words)
{
    int i = first;
    for (; *words && i < decoder->modifier_count; i++, words++)
        if (strcmp(decoder->modifiers[i], *words) != 0)
            return false;
    return !*words && i == decoder->modifier_count;
}

#define MODIFIERS_ARE(decoder, first, ...) modifiers_are(decoder, first, (const char *const[]){__VA_ARGS__, NULL})

/* shfl.sync.mode.b32 d|p, a, b, c, members */
bool decode_shfl(struct decoder *decoder)
{
    const char *mode = decoder->modifier_count > 2 ? decoder->modifiers[2] : "";
    static const char *const modes[] = {"up", "down", "bfly", "idx"};
    struct shuffle *shuffle = decode_detail(decoder, sizeof *shuffle);
    struct op op = {.kind = OP_RUN, .run = run_shuffle, .detail = shuffle};
    if (!shuffle)
        return false;
    shuffle->mode = -1;
    for (int i = 0; i < 4; i++)
        if (strcmp(modes[i], mode) == 0)
            shuffle->mode = i;
    if (shuffle->mode < 0 || !MODIFIERS_ARE(decoder, 1, "sync", mode, "b32"))
        return decode_unknown(decoder);
    shuffle->inside = PREDICATE_SINK;
    const struct ptx_operand *to = &decoder->instruction->operands[0];
    if (!decode_count(decoder, 5, 5) || !decode_source_at(decoder, 1, 32, &op.a) ||
        !decode_source_at(decoder, 2, 32, &op.b) || !decode_source_at(decoder, 3, 32, &op.c) ||
        !decode_source_at(decoder, 4, 32, &op.e) || !decode_destination_at(decoder, 0, 32, &op.d) ||
        (to->pair && !decode_predicate_written(decoder, &to->values[1], &shuffle->inside)))
        return false;
    decode_emit(decoder, op);
    return true;
}

/* vote.sync.all.pred p, q, members; vote.sync.ballot.b32 d, q, members */
bool decode_vote(struct decoder *decoder)
{
    const char *mode = decoder->modifier_count > 2 ? decoder->modifiers[2] : "";
    bool ballot = strcmp(mode, "ballot") == 0;
    struct op op = {.kind = OP_RUN, .run = run_vote};
    if (!(ballot && MODIFIERS_ARE(decoder, 1, "sync", mode, "b32")) &&
        !((strcmp(mode, "all") == 0 || strcmp(mode, "any") == 0 || strcmp(mode, "uni") == 0) &&
          MODIFIERS_ARE(decoder, 1, "sync", mode, "pred")))
        return decode_unknown(decoder);
    const struct ptx_operand *operands = decoder->instruction->operands;
    bool flip;
    if (!decode_count(decoder, 3, 3) || !decode_predicate(decoder, &operands[1].values[0], &op.a, &flip) ||
        !decode_source_at(decoder, 2, 32, &op.e))
        return false;
    op.immediate = (uint64_t)(ballot ? 'b' : mode[2]);
    op.target = flip;
    if (ballot ? !decode_destination_at(decoder, 0, 32, &op.d)
               : !decode_predicate_written(decoder, &operands[0].values[0], &op.d))
        return false;
    decode_emit(decoder, op);
    return true;
}

/* match.any.sync.b32 d, a, members; match.all.sync.b32 d|p, a, members */
bool decode_match(struct decoder *decoder)
{
    const char *mode = decoder->modifier_count > 1 ? decoder->modifiers[1] : "";
    bool all = strcmp(mode, "all") == 0;
    struct op op = {.kind = OP_RUN, .run = run_match, .immediate = all, .c = PREDICATE_SINK};
    op.wide = decode_has(decoder, "b64");
    if ((!all && strcmp(mode, "any") != 0) || !MODIFIERS_ARE(decoder, 1, mode, "sync", op.wide ? "b64" : "b32"))
        return decode_unknown(decoder);
    const struct ptx_operand *to = &decoder->instruction->operands[0];
    if (!decode_count(decoder, 3, 3) || !decode_source_at(decoder, 1, op.wide ? 64 : 32, &op.a) ||
        !decode_source_at(decoder, 2, 32, &op.e) || !decode_destination_at(decoder, 0, 32, &op.d) ||
        (to->pair && !decode_predicate_written(decoder, &to->values[1], &op.c)))
        return false;
    decode_emit(decoder, op);
    return true;
}

/* redux.sync.add.s32 d, a, members */
bool decode_redux(struct decoder *decoder)
{
    static const struct {
        const char *name, *type;
        enum redux_operation operation;
    } rows[] = {{"add", "u32", REDUX_ADD},     {"add", "s32", REDUX_ADD},     {"min", "u32", REDUX_MIN_U32},
                {"min", "s32", REDUX_MIN_S32}, {"max", "u32", REDUX_MAX_U32}, {"max", "s32", REDUX_MAX_S32},
                {"and", "b32", REDUX_AND},     {"or", "b32", REDUX_OR},       {"xor", "b32", REDUX_XOR}};
    struct op op = {.kind = OP_RUN, .run = run_redux, .immediate = REDUX_COUNT};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (MODIFIERS_ARE(decoder, 1, "sync", rows[i].name, rows[i].type))
            op.immediate = rows[i].operation;
    if (op.immediate == REDUX_COUNT)
        return decode_unknown(decoder);
    if (!decode_count(decoder, 3, 3) || !decode_source_at(decoder, 1, 32, &op.a) ||
        !decode_source_at(decoder, 2, 32, &op.e) || !decode_destination_at(decoder, 0, 32, &op.d))
        return false;
    decode_emit(decoder, op);
    return true;
}

bool decode_activemask(struct decoder *decoder)
{
    struct op op = {.kind = OP_RUN, .run = run_active_mask};
    if (!MODIFIERS_ARE(decoder, 1, "b32"))
        return decode_unknown(decoder);
    if (!decode_count(decoder, 1, 1) || !decode_destination_at(decoder, 0, 32, &op.d))
        return false;
    decode_emit(decoder, op);
    return true;
}

/* ---- barriers ---- */

static bool decode_sync_warp(struct decoder *decoder)
{
    struct op op = {.kind = OP_RUN, .run = run_sync_warp};
    if (!MODIFIERS_ARE(decoder, 1, "warp", "sync"))
        return decode_unknown(decoder);
    if (!decode_count(decoder, 1, 1) || !decode_source_at(decoder, 0, 32, &op.e))
        return false;
    decode_emit(decoder, op);
    return true;
}

/* bar.sync a {, threads}: where the kernel names a barrier by a register, its lanes must agree. */
static bool decode_bar_sync(struct decoder *decoder)
{
    struct barrier_op *barrier = decode_detail(decoder, sizeof *barrier);
    struct op op = {.kind = OP_BARRIER, .detail = barrier};
    if (!barrier || !decode_count(decoder, 1, 2) || !decode_source_at(decoder, 0, 32, &op.a))
        return false;
    barrier->counted = decoder->instruction->operand_count == 2;
    if (barrier->counted && !decode_source_at(decoder, 1, 32, &op.b))
        return false;
    decode_emit(decoder, op);
    return true;
}

/* bar.red.popc.u32 d, a {, threads}, p; bar.red.and.pred p, a {, threads}, p */
static bool decode_bar_reduce(struct decoder *decoder, char operation)
{
    struct barrier_op *barrier = decode_detail(decoder, sizeof *barrier);
    struct op op = {.kind = OP_BARRIER, .detail = barrier};
    const struct ptx_operand *operands = decoder->instruction->operands;
    if (!barrier || !decode_count(decoder, 3, 4) || !decode_source_at(decoder, 1, 32, &op.a))
        return false;
    int last = decoder->instruction->operand_count - 1;
    barrier->operation = operation;
    barrier->counted = last == 3;
    if ((barrier->counted && !decode_source_at(decoder, 2, 32, &op.b)) ||
        !decode_predicate(decoder, &operands[last].values[0], &op.c, &barrier->flip))
        return false;
    bool good = operation == 'p' ? decode_destination_at(decoder, 0, 32, &op.d)
                                 : decode_predicate_written(decoder, &operands[0].values[0], &op.d);
    if (good)
        decode_emit(decoder, op);
    return good;
}

bool decode_bar(struct decoder *decoder)
{
    int first = decode_has(decoder, "cta") ? 2 : 1;
    if (decode_has(decoder, "warp"))
        return decode_sync_warp(decoder);
    if (MODIFIERS_ARE(decoder, first, "sync") || MODIFIERS_ARE(decoder, first, "sync", "aligned"))
        return decode_bar_sync(decoder);
    if (MODIFIERS_ARE(decoder, first, "red", "popc", "u32") ||
        MODIFIERS_ARE(decoder, first, "red", "popc", "aligned", "u32"))
        return decode_bar_reduce(decoder, 'p');
    if (MODIFIERS_ARE(decoder, first, "red", "and", "pred") ||
        MODIFIERS_ARE(decoder, first, "red", "and", "aligned", "pred"))
        return decode_bar_reduce(decoder, '&');
    if (MODIFIERS_ARE(decoder, first, "red", "or", "pred") ||
        MODIFIERS_ARE(decoder, first, "red", "or", "aligned", "pred"))
        return decode_bar_reduce(decoder, '|');
    return decode_unknown(decoder);
}

/* ---- matrix products ---- */

/* m16n8k16 and so on, by the types of D, A, B and C. */
static bool matrix_shape(const struct decoder *decoder, struct matrix_shape *shape)
{
    static const struct {
        const char *name, *input;
        struct matrix_shape shape;
    } rows[] = {{"m16n8k16", "f16", {16, 'h', 'f'}},  {"m16n8k8", "f16", {8, 'h', 'f'}},
                {"m16n8k16", "bf16", {16, 'b', 'f'}}, {"m16n8k8", "bf16", {8, 'b', 'f'}},
                {"m16n8k8", "tf32", {8, 't', 'f'}},   {"m16n8k4", "tf32", {4, 't', 'f'}}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *input = rows[i].input;
        *shape = rows[i].shape;
        if (MODIFIERS_ARE(decoder, 1, "sync", "aligned", rows[i].name, "row", "col", "f32", input, input, "f32"))
            return true;
        shape->result = 'h';
        if (shape->input == 'h' &&
            MODIFIERS_ARE(decoder, 1, "sync", "aligned", rows[i].name, "row", "col", "f16", input, input, "f16"))
            return true;
    }
    return false;
}

static bool fragment(struct decoder *decoder, int operand, int count, bool written, uint32_t *registers)
{
    const struct ptx_operand *from = &decoder->instruction->operands[operand];
    if (from->address || from->count != count)
        return decode_fail(decoder, "operand %d of '%s' takes %d registers", operand + 1, decoder->instruction->opcode,
                           count);
    for (int i = 0; i < count; i++)
        if (written ? !decode_destination(decoder, &from->values[i], 32, &registers[i])
                    : !decode_source(decoder, &from->values[i], 32, false, &registers[i]))
            return false;
    return true;
}

bool decode_mma(struct decoder *decoder)
{
    struct matrix_product *product = decode_detail(decoder, sizeof *product);
    if (!product)
        return false;
    if (!matrix_shape(decoder, &product->shape))
        return decode_unknown(decoder);
    int cell = product->shape.input == 't' ? 1 : 2, sums = product->shape.result == 'f' ? 4 : 2;
    product->a_count = 16 * product->shape.k / LANES / cell;
    product->b_count = 8 * product->shape.k / LANES / cell;
    product->sums = sums;
    if (!decode_count(decoder, 4, 4) || !fragment(decoder, 0, sums, true, product->d) ||
        !fragment(decoder, 1, product->a_count, false, product->a) ||
        !fragment(decoder, 2, product->b_count, false, product->b) || !fragment(decoder, 3, sums, false, product->c))
        return false;
    decode_emit(decoder, (struct op){.kind = OP_RUN, .run = run_matrix, .detail = product});
    return true;
}
