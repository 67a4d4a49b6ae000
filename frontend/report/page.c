/* The page is a template of its own files (page.html, page.css, *.js) with the runs' data as JSON between them. */
#include "frontend/report/page.h"
#include "frontend/report/graph.h"
#include "frontend/report/log.h"
#include "frontend/report_files.h"
#include "runtime/file.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct run {
    const char *folder;
    struct report_log log;
    struct run_record record;
    bool broken; /* there is a run.json, but it cannot be used */
    struct report_graph graph;
    json_t *data;
};

/* ---- a run ---- */

static const char *name_of(const char *folder, size_t *length)
{
    size_t end = strlen(folder);
    while (end > 1 && folder[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin > 0 && folder[begin - 1] != '/')
        begin--;
    *length = end - begin;
    return folder + begin;
}

static void add_warning(struct run *run, const char *warning)
{
    json_array_append_new(json_object_get(run->data, "warnings"), json_string(warning));
}

/* Whether the page's scripts can make something of a value's range. */
static bool is_range(json_t *value)
{
    const char *graph, *op, *name, *region, *exponent;
    json_int_t count, infinite;
    double largest;
    json_t *exponents, *bin;
    bool numbers = true;
    if (json_unpack(value, "{s:s, s:s, s:s, s:s, s:I, s:I, s:F, s:o}", "graph", &graph, "op", &op, "name", &name,
                    "region", &region, "count", &count, "infinite", &infinite, "largest", &largest, "exponents",
                    &exponents) != 0)
        return false;
    json_object_foreach(exponents, exponent, bin)
    {
        numbers &= json_is_integer(bin);
    }
    return numbers && json_is_object(exponents);
}

static bool are_ranges(json_t *values)
{
    size_t i;
    json_t *value;
    bool good = json_is_array(values);
    json_array_foreach(values, i, value)
    {
        good &= is_range(value);
    }
    return good;
}

/* What --histogram left in the folder. */
static void add_ranges(struct run *run)
{
    char *path = file_text("%s/histogram.json", run->folder);
    json_error_t problem;
    bool there = access(path, F_OK) == 0;
    json_t *file = there ? json_load_file(path, 0, &problem) : NULL, *values = json_object_get(file, "values");
    if (are_ranges(values)) {
        json_object_set(run->data, "ranges", values);
    } else if (there) {
        char *warning = file_text("%s: %s; it is left out", path, file ? "no recording of ranges" : problem.text);
        add_warning(run, warning);
        free(warning);
    }
    json_decref(file);
    free(path);
}

static void add_text(json_t *object, const char *key, const char *text)
{
    if (text)
        json_object_set_new(object, key, json_string(text));
}

static void add_graph(struct run *run)
{
    report_graph_make(&run->graph, &run->record);
    if (!run->record.facts && !run->broken)
        add_warning(run,
                    "the folder has no run.json: graph and ledger are of model.net as it stands, without the flags "
                    "that the run may have had");
    add_text(run->data, "graph_note", run->graph.note);
    json_object_set(run->data, "ledger", run->graph.ledger ? run->graph.ledger : json_null());
}

static void print_warnings(const struct run *run)
{
    size_t i;
    json_t *warning;
    json_array_foreach(json_object_get(run->data, "warnings"), i, warning)
    {
        fprintf(stderr, "castor: warning: %s\n", json_string_value(warning));
    }
    if (run->graph.note)
        fprintf(stderr, "castor: warning: %s: the page has no graph: %s\n", run->folder, run->graph.note);
}

static bool read_run(struct run *run, struct error *error)
{
    char *path = file_text("%s/log.jsonl", run->folder);
    if (access(run->folder, F_OK) != 0)
        error_set_system(error, run->folder, "no such run");
    else
        report_log_read(&run->log, path, error);
    free(path);
    if (error->code)
        return false;
    struct error problem = {0};
    run->broken = !run_record_open(&run->record, run->folder, &problem);
    size_t length;
    const char *name = name_of(run->folder, &length);
    run->data = report_log_json(&run->log);
    json_t *text = json_stringn(name, length);
    json_object_set_new(run->data, "name", text ? text : json_string("run")); /* a name may be no UTF-8 */
    add_text(run->data, "folder", run->folder);
    json_object_set(run->data, "record", run->record.facts ? run->record.facts : json_null());
    if (run->broken) {
        char *warning = file_text("%s: graph and ledger are of model.net as it stands", problem.text);
        add_warning(run, warning);
        free(warning);
    }
    add_ranges(run);
    add_graph(run);
    print_warnings(run);
    return true;
}

static void free_run(struct run *run)
{
    report_log_free(&run->log);
    if (run->record.model)
        run_record_close(&run->record);
    report_graph_free(&run->graph);
    json_decref(run->data);
}

/* ---- the page ---- */

static const char *page_text(const char *name)
{
    for (int i = 0; report_files[i].name; i++)
        if (strcmp(report_files[i].name, name) == 0)
            return report_files[i].text;
    castor_bug("the report has no file %s", name);
}

static void put_html(FILE *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '<' || text[i] == '&')
            fputs(text[i] == '<' ? "&lt;" : "&amp;", out);
        else
            fputc(text[i], out);
    }
}

static void put_title(FILE *out, const struct run *runs, int count)
{
    for (int i = 0; i < count; i++) {
        size_t length;
        const char *name = name_of(runs[i].folder, &length);
        fputs(i ? ", " : "", out);
        put_html(out, name, length);
    }
}

/* Inside <script> a browser looks for "</script" and "<!--" even in strings: there is no `<` in what is put. */
static void put_data(FILE *out, const struct run *runs, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append(list, runs[i].data);
    char *text = json_dumps(list, JSON_COMPACT | JSON_REAL_PRECISION(7));
    for (const char *at = text; at && *at; at++) {
        if (*at == '<')
            fputs("\\u003c", out);
        else
            fputc(*at, out);
    }
    free(text);
    json_decref(list);
}

static void put_graphs(FILE *out, const struct run *runs, int count)
{
    for (int i = 0; i < count; i++)
        if (runs[i].graph.svg)
            fprintf(out, "<div class=\"drawing\" data-run=\"%d\" hidden>\n%s</div>\n", i, runs[i].graph.svg);
}

static void put_scripts(FILE *out)
{
    static const char *const names[] = {"tools.js", "chart.js", "curves.js", "ranges.js", "graph.js", "page.js"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        fputs(page_text(names[i]), out);
}

/* The template, with what stands in for {{title}}, {{style}}, {{data}}, {{graphs}} and {{script}}. */
static void put_page(FILE *out, const struct run *runs, int count)
{
    const char *at = page_text("page.html");
    for (const char *mark; (mark = strstr(at, "{{")); at = strstr(mark, "}}") + 2) {
        fwrite(at, 1, (size_t)(mark - at), out);
        if (strncmp(mark, "{{title", 7) == 0)
            put_title(out, runs, count);
        else if (strncmp(mark, "{{style", 7) == 0)
            fputs(page_text("page.css"), out);
        else if (strncmp(mark, "{{data", 6) == 0)
            put_data(out, runs, count);
        else if (strncmp(mark, "{{graphs", 8) == 0)
            put_graphs(out, runs, count);
        else
            put_scripts(out);
    }
    fputs(at, out);
}

bool report_write(const char *const *folders, int count, const char *path, struct error *error)
{
    struct file_writer writer;
    struct run *runs = calloc((size_t)count, sizeof *runs);
    bool ok = true;
    if (!runs)
        return error_set(error, "out of memory");
    for (int i = 0; i < count && ok; i++) {
        runs[i].folder = folders[i];
        ok = read_run(&runs[i], error);
    }
    ok = ok && file_begin(&writer, path, error);
    if (ok) {
        put_page(writer.stream, runs, count);
        ok = file_commit(&writer, error);
    }
    for (int i = 0; i < count; i++)
        free_run(&runs[i]);
    free(runs);
    return ok;
}
