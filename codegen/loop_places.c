/* Places of loops: loop_places.h. */
#include "codegen/loop_places.h"
#include "passes/memory.h"

#include <stb/stb_ds.h>

enum { ACCESS_BYTES = 16 }; /* of the widest access of generated code */

static uint64_t up_to(uint64_t bytes, uint64_t alignment)
{
    return (bytes + alignment - 1) / alignment * alignment;
}

/* Can a place that lies a multiple of `bytes` from an aligned one be accessed? Single values can. */
static bool keeps_alignment(const struct type *type, uint64_t bytes, const struct target *target)
{
    return target->language != LANGUAGE_CUDA || bytes % ACCESS_BYTES == 0 || shape_elements(&type->shape) == 1;
}

static int turn_of(const struct node *loop, int run)
{
    return loop->attributes->reverse ? loop->attributes->loop.turns - 1 - run : run;
}

/* Which slots there are: two of what is carried, one of what is copied or nobody takes. */
static int slot_count(const struct loop_places *places, const struct loop_value *value)
{
    int carries = places->loop->attributes->loop.carries;
    bool output = value >= places->outputs && value < places->outputs + places->output_count;
    if (output && value - places->outputs < carries)
        return 2;
    return value->copied || (output && !value->there);
}

static uint64_t lay_slots(const struct loop_places *places, struct loop_value *values, int count, uint64_t alignment,
                          uint64_t end)
{
    for (int i = 0; i < count; i++) {
        int slots = slot_count(places, &values[i]);
        values[i].slot = end;
        values[i].slot_bytes = slots ? up_to(values[i].bytes, alignment) : 0;
        end += (uint64_t)slots * values[i].slot_bytes;
    }
    return end;
}

struct loop_places loop_places_make(const struct node *loop, const struct graph *body, const bool *taken,
                                    const struct target *target, uint64_t scratch, uint64_t *end, struct arena *arena)
{
    struct loop_places places = {.loop = loop, .operand_count = loop->operand_count};
    places.output_count = loop_outputs(body);
    places.operands = ARENA_ARRAY(arena, struct loop_value, places.operand_count + 1);
    places.outputs = ARENA_ARRAY(arena, struct loop_value, places.output_count + 1);
    for (ptrdiff_t i = 0; i < arrlen(body->nodes); i++) {
        const struct node *node = body->nodes[i];
        if (node->op != OP_input && node->op != OP_output)
            continue;
        int number = loop_number(node);
        bool output = node->op == OP_output;
        struct loop_value *value = output ? &places.outputs[number] : &places.operands[number];
        enum loop_role role = output ? LOOP_CAPTURED : loop_role(loop, number);
        bool moves = output ? number >= loop->attributes->loop.carries : role == LOOP_SEQUENCE || role == LOOP_PREVIOUS;
        value->bytes = (uint64_t)memory_bytes(&node->type, target);
        value->there = output ? taken[number] : true;
        value->copied = moves && value->there && !keeps_alignment(&node->type, value->bytes, target);
    }
    uint64_t alignment = target->alignment > 0 ? (uint64_t)target->alignment : 64;
    *end = lay_slots(&places, places.operands, places.operand_count, alignment, up_to(scratch, alignment));
    *end = lay_slots(&places, places.outputs, places.output_count, alignment, *end);
    return places;
}

static struct program_place slot_of(const struct loop_value *value, int which)
{
    return (struct program_place){PROGRAM_SCRATCH, 0, value->slot + (uint64_t)which * value->slot_bytes};
}

static struct program_place shifted(struct program_place place, uint64_t bytes)
{
    place.offset += bytes;
    return place;
}

/* Where the run finds what operand `number` is of in its turn, slots for copies aside. */
static struct program_place taken_from(const struct loop_places *places, int number, int run)
{
    const struct loop_value *value = &places->operands[number];
    const struct loop_counts *counts = &places->loop->attributes->loop;
    uint64_t turn = (uint64_t)turn_of(places->loop, run);
    switch (loop_role(places->loop, number)) {
    case LOOP_CARRY:
        return run ? slot_of(&places->outputs[number], (run - 1) & 1) : value->place;
    case LOOP_SEQUENCE:
        return shifted(value->place, turn * value->bytes);
    case LOOP_PREVIOUS:
        return turn ? shifted(places->operands[number + counts->previous].place, (turn - 1) * value->bytes)
                    : value->place;
    default:
        return value->place;
    }
}

/* Where the run is to leave output `number`, slots for copies aside. */
static struct program_place left_at(const struct loop_places *places, int number, int run)
{
    const struct loop_value *value = &places->outputs[number];
    const struct loop_counts *counts = &places->loop->attributes->loop;
    if (number < counts->carries)
        return run == counts->turns - 1 && value->there ? value->place : slot_of(value, run & 1);
    return value->there ? shifted(value->place, (uint64_t)turn_of(places->loop, run) * value->bytes)
                        : slot_of(value, 0);
}

struct program_place loop_place(const struct loop_places *places, struct program_place place, int run)
{
    int space = (int)place.space, number = (int)place.input;
    if (space != PLACE_OPERAND && space != PLACE_OUTPUT)
        return place;
    const struct loop_value *value = space == PLACE_OPERAND ? &places->operands[number] : &places->outputs[number];
    struct program_place at = value->copied            ? slot_of(value, 0)
                              : space == PLACE_OPERAND ? taken_from(places, number, run)
                                                       : left_at(places, number, run);
    return shifted(at, place.offset);
}

bool loop_copy_in(const struct loop_places *places, int number, int run, struct program_place *from,
                  struct program_place *to)
{
    const struct loop_value *value = &places->operands[number];
    if (!value->copied)
        return false;
    *from = taken_from(places, number, run);
    *to = slot_of(value, 0);
    return true;
}

bool loop_copy_out(const struct loop_places *places, int number, int run, struct program_place *from,
                   struct program_place *to)
{
    const struct loop_value *value = &places->outputs[number];
    if (!value->copied)
        return false;
    *from = slot_of(value, 0);
    *to = left_at(places, number, run);
    return true;
}
