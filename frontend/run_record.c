/* Writing and reading run.json. */
#include "frontend/run_record.h"
#include "runtime/file.h"

#include <jansson.h>
#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- writing ---- */

/* The policy's file, where one was asked for by its path; NULL for a policy that is built in or a plugin's. */
static const char *policy_file(const struct compilation *compilation)
{
    const char *asked = flag_text(compilation->invocation, FLAG_policy), *file = compilation->policy->file;
    if (!asked)
        asked = compilation->settings->policy;
    return asked && strncmp(asked, file, strlen(file)) == 0 ? file : NULL;
}

/* Flags that say something of the run, and not only where things are kept and what is shown. */
static bool tells(enum flag flag)
{
    static const enum flag left_out[] = {FLAG_out,  FLAG_output,      FLAG_resume,      FLAG_cache,       FLAG_quiet,
                                         FLAG_json, FLAG_print_after, FLAG_verify_each, FLAG_time_passes, FLAG_dump_to};
    for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
        if (flag == left_out[i])
            return false;
    return true;
}

static json_t *flags_json(const struct invocation *invocation)
{
    json_t *flags = json_array();
    for (int flag = 0; flag < FLAG_COUNT; flag++)
        for (int i = 0; tells((enum flag)flag) && i < flag_count(invocation, (enum flag)flag); i++)
            json_array_append_new(flags,
                                  json_pack("[s, s]", flag_spelling((enum flag)flag), invocation->given[flag][i]));
    return flags;
}

const char *run_record_text(const struct compilation *compilation)
{
    const char *file = policy_file(compilation);
    json_t *record =
        json_pack("{s:s, s:s*, s:s, s:s, s:s, s:o}", "model", compilation->module->name, "file", compilation->file,
                  "policy", compilation_policy_text(compilation), "half", element_name(compilation->policy->half),
                  "device", device_name(compilation->choice.kind), "flags", flags_json(compilation->invocation));
    if (file)
        json_object_set_new(record, "policy_file", json_string(file));
    char *text = json_dumps(record, JSON_INDENT(1) | JSON_ENSURE_ASCII);
    const char *kept = text ? arena_printf(compilation->arena, "%s\n", text) : "{}\n";
    json_decref(record);
    free(text);
    return kept;
}

const char *run_record_policy(const struct compilation *compilation)
{
    return policy_file(compilation) ? compilation->policy->text : NULL;
}

/* ---- reading ---- */

/* Of the flags those that say what is compiled. */
static void take_flag(struct invocation *invocation, const char *spelling, const char *value)
{
    const enum flag_group compiles = GROUP_LANGUAGE | GROUP_COMPILE | GROUP_BLOCK;
    for (int flag = 0; flag < FLAG_COUNT; flag++)
        if (strcmp(flag_spelling((enum flag)flag), spelling) == 0 && flag_in((enum flag)flag, compiles))
            arrput(invocation->given[flag], value);
}

static void take_flags(struct run_record *record, const char *run)
{
    json_t *flags = json_object_get(record->facts, "flags"), *pair;
    size_t i;
    json_array_foreach(flags, i, pair)
    {
        take_flag(&record->invocation, json_string_value(json_array_get(pair, 0)),
                  json_string_value(json_array_get(pair, 1)));
    }
    if (!flag_given(&record->invocation, FLAG_device))
        arrput(record->invocation.given[FLAG_device], json_string_value(json_object_get(record->facts, "device")));
    if (json_object_get(record->facts, "policy_file")) {
        record->policy = file_text("%s/run.policy(%s)", run, json_string_value(json_object_get(record->facts, "half")));
        arrput(record->invocation.given[FLAG_policy], record->policy);
    }
    if (flag_given(&record->invocation, FLAG_policy)) /* which says the same, and is refused beside it */
        arrfree(record->invocation.given[FLAG_precision]);
}

static bool is_record(json_t *facts)
{
    const char *model, *file, *policy, *half, *device, *spelling, *value;
    json_t *flags, *pair;
    size_t i;
    bool good = json_unpack(facts, "{s:s, s?s, s:s, s:s, s:s, s:o}", "model", &model, "file", &file, "policy", &policy,
                            "half", &half, "device", &device, "flags", &flags) == 0 &&
                json_is_array(flags);
    for (i = 0; good && (pair = json_array_get(flags, i)); i++)
        good = json_unpack(pair, "[s, s]", &spelling, &value) == 0;
    return good;
}

bool run_record_open(struct run_record *record, const char *run, struct error *error)
{
    static const struct command command = {.name = "report", .groups = GROUP_LANGUAGE | GROUP_COMPILE | GROUP_BLOCK};
    *record = (struct run_record){.invocation = {.command = &command, .word_count = 1}};
    record->model = file_text("%s/model.net", run);
    record->invocation.words[0] = record->model;
    char *path = file_text("%s/run.json", run);
    json_error_t problem;
    bool there = access(path, F_OK) == 0;
    record->facts = there ? json_load_file(path, 0, &problem) : NULL;
    if (there && !record->facts)
        error_set(error, "%s:%d: %s", path, problem.line, problem.text);
    else if (there && !is_record(record->facts))
        error_set(error, "%s: it does not tell how a run was begun", path);
    else if (there)
        take_flags(record, run);
    free(path);
    if (error->code) {
        json_decref(record->facts);
        record->facts = NULL;
    }
    return !error->code;
}

void run_record_close(struct run_record *record)
{
    json_decref(record->facts);
    invocation_free(&record->invocation);
    free(record->model);
    free(record->policy);
}
