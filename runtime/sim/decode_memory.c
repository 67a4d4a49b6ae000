/* Decoders of loads, stores, atomics, asynchronous copies and ldmatrix. */
#include "runtime/sim/decode.h"
#include "runtime/sim/execute.h"

#include <stdlib.h>
#include <string.h>

static bool one_of(const char *word, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(word, *words) == 0)
            return true;
    return false;
}

/* Modifiers of memory instructions that say nothing to a memory in order: scopes, caching, hints. */
static bool means_nothing(const char *modifier)
{
    static const char *const words[] = {"weak", "cta", "cluster", "gpu", "sys", "nc",      "ca", "cg",
                                        "cs",   "lu",  "cv",      "wb",  "wt",  "aligned", NULL};
    return one_of(modifier, words) || strncmp(modifier, "L1::", 4) == 0 || strncmp(modifier, "L2::", 4) == 0;
}

static bool read_space(const char *modifier, enum ptx_space *space)
{
    static const struct {
        const char *name;
        enum ptx_space space;
    } rows[] = {{"global", PTX_GLOBAL}, {"shared", PTX_SHARED}, {"shared::cta", PTX_SHARED}, {"local", PTX_LOCAL},
                {"const", PTX_CONST},   {"param", PTX_PARAM},   {"param::entry", PTX_PARAM}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].name, modifier) == 0) {
            *space = rows[i].space;
            return true;
        }
    return false;
}

/* The modifiers of ld and st. */
static bool read_modifiers(struct decoder *decoder, struct access *access)
{
    static const char *const ordered[] = {"volatile", "relaxed", "acquire", "release", "mmio", NULL};
    access->count = 1;
    for (int i = 1; i < decoder->modifier_count; i++) {
        const char *modifier = decoder->modifiers[i];
        struct decoded_type type = decode_type(modifier);
        if (i == decoder->modifier_count - 1 && type.width >= 8 && !type.pair) {
            access->bytes = type.width / 8;
            access->is_signed = type.kind == 's';
        } else if (one_of(modifier, ordered)) {
            access->ordered = true;
        } else if (modifier[0] == 'v' && modifier[1] && strchr("248", modifier[1]) && !modifier[2]) {
            access->count = modifier[1] - '0';
        } else if (!read_space(modifier, &access->space) && !means_nothing(modifier)) {
            return decode_unknown(decoder);
        }
    }
    /* 32 bytes a lane: of sm_100, for global memory alone. */
    int bytes = access->bytes * access->count;
    bool global = access->space == PTX_GLOBAL || access->space == PTX_GENERIC;
    bool known = bytes && (bytes <= 16 || (bytes == 32 && global && decoder->module->ptx->target >= 100));
    return known || decode_unknown(decoder);
}

/* The registers of a load or store: as wide as the element or wider, and all alike. */
static bool read_registers(struct decoder *decoder, int operand, struct access *access)
{
    const struct ptx_operand *data = &decoder->instruction->operands[operand];
    if (data->address || data->count != access->count || data->pair)
        return decode_fail(decoder, "'%s' takes %d registers", decoder->instruction->opcode, access->count);
    int least = access->bytes == 8 ? 64 : access->bytes == 4 ? 32 : 16;
    access->register_bits = least;
    for (int i = 0; i < data->count; i++) {
        const struct ptx_register *named = decode_register(decoder, &data->values[i]);
        if (named && named->type.bits > access->register_bits)
            access->register_bits = named->type.bits;
    }
    for (int i = 0; i < data->count; i++) {
        bool good = access->load
                        ? decode_destination(decoder, &data->values[i], access->register_bits, &access->registers[i])
                        : decode_source(decoder, &data->values[i], access->register_bits, false, &access->registers[i]);
        if (!good)
            return false;
    }
    return true;
}

/* Puts the address into the op, and corrects the space of a parameter's name. */
static bool read_address(struct decoder *decoder, int operand, struct access *access, struct op *op)
{
    struct decoded_address address;
    if (!decode_address(decoder, operand, &address))
        return false;
    op->a = address.base;
    op->immediate = address.offset;
    access->wide_address = address.wide;
    if (address.parameter && access->space != PTX_PARAM)
        return decode_fail(decoder, "a parameter is read by ld.param");
    return true;
}

/* Whether a load names a place among the parameters, with no register, and keeps within them. */
static bool known_parameter(const struct decoder *decoder, int operand, const struct access *access, uint64_t offset)
{
    uint64_t bytes = (uint64_t)access->bytes * (uint64_t)access->count,
             all = (uint64_t)decoder->kernel->parameter_bytes;
    return access->load && access->space == PTX_PARAM && offset % bytes == 0 && offset < all && bytes <= all - offset &&
           decoder->instruction->operands[operand].values[0].kind == PTX_VARIABLE;
}

static bool decode_plain(struct decoder *decoder, bool load)
{
    struct access *access = decode_detail(decoder, sizeof *access);
    struct op op = {.kind = OP_RUN, .run = run_access, .detail = access};
    if (!access || !read_modifiers(decoder, access))
        return false;
    access->load = load;
    access->store = !load;
    if (!decode_count(decoder, 2, 3) || !read_registers(decoder, load ? 0 : 1, access) ||
        !read_address(decoder, load ? 1 : 0, access, &op))
        return false;
    if (!load && (access->space == PTX_PARAM || access->space == PTX_CONST))
        return decode_unknown(decoder);
    op.wide = access->register_bits == 64;
    access->regular =
        !access->ordered && (access->space == PTX_GLOBAL || access->space == PTX_CONST || access->space == PTX_SHARED);
    if (known_parameter(decoder, load ? 1 : 0, access, op.immediate))
        op.run = run_parameter;
    decode_emit(decoder, op);
    return true;
}

bool decode_load(struct decoder *decoder)
{
    return decode_plain(decoder, true);
}

bool decode_store(struct decoder *decoder)
{
    return decode_plain(decoder, false);
}

/* ---- atomics ---- */

static bool atomic_operation(const char *modifier, struct access *access)
{
    static const char *const names[] = {
#define ATOMIC(name, text) text,
        ATOMICS
#undef ATOMIC
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], modifier) == 0) {
            access->operation = (uint8_t)(i + 1);
            return true;
        }
    return false;
}

/* Which types an operation has; everything else would be a guess. */
static bool atomic_type(const struct access *access)
{
    bool real = access->type == 'f' || access->type == 'h' || access->type == 'g';
    switch (access->operation) {
    case ATOMIC_ADD:
        return true;
    case ATOMIC_MIN:
    case ATOMIC_MAX:
        return access->type == 'u' || access->type == 's';
    case ATOMIC_EXCH:
    case ATOMIC_CAS:
        return access->type == 'b' || access->type == 'u' || access->type == 's';
    case ATOMIC_INC:
    case ATOMIC_DEC:
        return access->type == 'u' && access->bytes == 4;
    default:
        return !real;
    }
}

static bool atomic_modifiers(struct decoder *decoder, struct access *access)
{
    static const char *const order[] = {"relaxed", "acquire", "release", "acq_rel", "noftz", NULL};
    access->count = 1;
    for (int i = 1; i < decoder->modifier_count; i++) {
        const char *modifier = decoder->modifiers[i];
        struct decoded_type type = decode_type(modifier);
        if (i == decoder->modifier_count - 1 && type.width >= 16) {
            access->bytes = type.width / 8 * (type.pair ? 2 : 1);
            access->type = type.kind;
            access->pair = type.pair;
        } else if (!one_of(modifier, order) && !read_space(modifier, &access->space) && !means_nothing(modifier) &&
                   !atomic_operation(modifier, access)) {
            return decode_unknown(decoder);
        }
    }
    bool halves = access->type == 'h' || access->type == 'g';
    if (!access->bytes || !access->operation || !atomic_type(access) || halves != decode_has(decoder, "noftz") ||
        access->space == PTX_CONST || access->space == PTX_PARAM || access->space == PTX_LOCAL)
        return decode_unknown(decoder);
    return true;
}

/* atom d, [a], b {, c} and red [a], b. */
bool decode_atomic(struct decoder *decoder)
{
    struct access *access = decode_detail(decoder, sizeof *access);
    struct op op = {.kind = OP_RUN, .run = run_access, .detail = access};
    if (!access || !atomic_modifiers(decoder, access))
        return false;
    bool returns = strcmp(decoder->modifiers[0], "atom") == 0;
    int first = returns ? 1 : 0, width = access->bytes * 8, sources = access->operation == ATOMIC_CAS ? 2 : 1;
    access->load = access->store = true;
    access->register_bits = width;
    op.wide = width == 64;
    if (!decode_count(decoder, first + 1 + sources, first + 1 + sources) ||
        !read_address(decoder, first, access, &op) || !decode_source_at(decoder, first + 1, width, &op.b) ||
        (sources == 2 && !decode_source_at(decoder, first + 2, width, &access->second)))
        return false;
    op.d = returns ? 0 : decode_scratch(decoder, width);
    if (returns && !decode_destination_at(decoder, 0, width, &op.d))
        return false;
    access->registers[0] = op.d;
    decode_emit(decoder, op);
    return true;
}

/* ---- asynchronous copies ---- */

static bool decode_wait(struct decoder *decoder, bool all)
{
    int64_t left = 0;
    if (!decode_count(decoder, all ? 0 : 1, all ? 0 : 1) || (!all && !decode_whole(decoder, 0, &left)))
        return false;
    if (left < 0)
        return decode_fail(decoder, "there are not %lld groups", (long long)left);
    decode_emit(decoder, (struct op){.kind = OP_RUN, .run = run_wait, .immediate = (uint64_t)left, .wide = all});
    return true;
}

/* cp.async.cg.shared.global [to], [from], 16 {, source bytes}: what is not read is filled with zeros. */
static bool decode_transfer(struct decoder *decoder)
{
    struct transfer *transfer = decode_detail(decoder, sizeof *transfer);
    struct op op = {.kind = OP_RUN, .run = run_copy, .detail = transfer};
    struct decoded_address to, from;
    int64_t bytes;
    if (!transfer)
        return false;
    for (int i = 2; i < decoder->modifier_count; i++) {
        static const char *const known[] = {"ca", "cg", "shared", "shared::cta", "global", NULL};
        if (!one_of(decoder->modifiers[i], known) && strcmp(decoder->modifiers[i], "L2::cache_hint") != 0 &&
            strncmp(decoder->modifiers[i], "L2::", 4) != 0)
            return decode_unknown(decoder);
    }
    bool hint = decode_has(decoder, "L2::cache_hint");
    if (!decode_has(decoder, "global") || !decode_count(decoder, 3 + hint, 4 + hint) ||
        !decode_address(decoder, 0, &to) || !decode_address(decoder, 1, &from) || !decode_whole(decoder, 2, &bytes))
        return false;
    if (bytes != 4 && bytes != 8 && bytes != 16)
        return decode_fail(decoder, "cp.async copies 4, 8 or 16 bytes, not %lld", (long long)bytes);
    if (decode_has(decoder, "cg") && bytes != 16)
        return decode_fail(decoder, "cp.async.cg copies 16 bytes, not %lld", (long long)bytes);
    *transfer = (struct transfer){to.offset, from.offset, to.wide, from.wide, false, (int)bytes};
    op.a = to.base;
    op.b = from.base;
    if (decoder->instruction->operand_count == 4 + hint) {
        if (decode_register(decoder, &decoder->instruction->operands[3].values[0]) &&
            decode_register(decoder, &decoder->instruction->operands[3].values[0])->type.kind == 'p')
            return decode_unknown(decoder);
        transfer->sized = true;
        if (!decode_source_at(decoder, 3, 32, &op.c))
            return false;
    }
    decode_emit(decoder, op);
    return true;
}

bool decode_copy(struct decoder *decoder)
{
    if (decoder->modifier_count < 3 || strcmp(decoder->modifiers[1], "async") != 0)
        return decode_unknown(decoder);
    const char *what = decoder->modifiers[2];
    if (strcmp(what, "commit_group") == 0) {
        decode_emit(decoder, (struct op){.kind = OP_RUN, .run = run_commit});
        return decode_count(decoder, 0, 0);
    }
    if (strcmp(what, "wait_group") == 0 || strcmp(what, "wait_all") == 0)
        return decode_wait(decoder, strcmp(what, "wait_all") == 0);
    return decode_transfer(decoder);
}

/* ---- ldmatrix ---- */

bool decode_ldmatrix(struct decoder *decoder)
{
    struct matrix_load *load = decode_detail(decoder, sizeof *load);
    struct op op = {.kind = OP_RUN, .run = run_ldmatrix, .detail = load};
    struct decoded_address from;
    if (!load)
        return false;
    for (int i = 1; i < decoder->modifier_count; i++) {
        static const char *const known[] = {"sync", "aligned", "m8n8", "shared", "shared::cta", "b16", NULL};
        const char *modifier = decoder->modifiers[i];
        if (modifier[0] == 'x' && modifier[1] && strchr("124", modifier[1]) && !modifier[2])
            load->count = modifier[1] - '0';
        else if (strcmp(modifier, "trans") == 0)
            load->transposed = true;
        else if (!one_of(modifier, known))
            return decode_unknown(decoder);
    }
    const struct ptx_operand *to = &decoder->instruction->operands[0];
    if (!load->count || !decode_has(decoder, "m8n8"))
        return decode_unknown(decoder);
    if (!decode_count(decoder, 2, 2) || !decode_address(decoder, 1, &from))
        return false;
    if (to->address || to->count != load->count)
        return decode_fail(decoder, "'%s' takes %d registers", decoder->instruction->opcode, load->count);
    for (int i = 0; i < load->count; i++)
        if (!decode_destination(decoder, &to->values[i], 32, &load->registers[i]))
            return false;
    load->shared = decode_has(decoder, "shared") || decode_has(decoder, "shared::cta");
    load->wide_address = from.wide;
    op.a = from.base;
    op.immediate = from.offset;
    decode_emit(decoder, op);
    return true;
}
