/* CSV: a header line with the columns' names, then a line an example. Cells are separated by commas; a cell in double
 * quotes may hold commas, line ends and "" for a quote. A column of whole numbers becomes i32, one of other numbers
 * f64, one of words classes, numbered in the words' alphabetical order.
 *
 * The text is read twice: first lines and cells are counted and every line is held against the header, then memory is
 * allocated and the cells are read. */
#include "runtime/data/array.h"
#include "runtime/file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS_MAX = 4096, NUMBER_MAX = 1024, WORD_SHOWN = 40 };

struct cell {
    const char *text; /* inside the file's text */
    size_t length;
    bool quoted; /* "" stands for a quote in it */
};

struct reader {
    const char *path, *at, *end;
    int64_t line;
    struct error *error;
};

static bool fail(const struct reader *reader, const char *what)
{
    return error_set(reader->error, "%s:%lld: %s", reader->path, (long long)reader->line, what);
}

/* The next cell; *last: a line end or the file's end follows it. */
static bool next_cell(struct reader *reader, struct cell *cell, bool *last)
{
    bool quoted = reader->at < reader->end && *reader->at == '"';
    const char *begin = reader->at += quoted, *behind;
    int64_t lines = 0;
    if (quoted) {
        for (;; reader->at++) {
            if (reader->at == reader->end)
                return fail(reader, "a cell in quotes does not end");
            lines += *reader->at == '\n';
            if (*reader->at == '"' && (reader->at + 1 == reader->end || reader->at[1] != '"'))
                break;
            reader->at += *reader->at == '"';
        }
        behind = reader->at++;
    } else {
        while (reader->at < reader->end && *reader->at != ',' && *reader->at != '\n' && *reader->at != '\r')
            reader->at++;
        behind = reader->at;
        while (begin < behind && (*begin == ' ' || *begin == '\t'))
            begin++;
        while (behind > begin && (behind[-1] == ' ' || behind[-1] == '\t'))
            behind--;
    }
    *cell = (struct cell){begin, (size_t)(behind - begin), quoted};
    if (reader->at < reader->end && *reader->at == '\r')
        reader->at++;
    *last = reader->at == reader->end || *reader->at == '\n';
    if (!*last && *reader->at != ',')
        return fail(reader, quoted ? "something stands behind a cell in quotes" : "a carriage return within a line");
    reader->line += lines;
    reader->at += reader->at < reader->end;
    return true;
}

/* Steps over empty lines; false at the end of the file. */
static bool more_lines(struct reader *reader)
{
    while (reader->at < reader->end && (*reader->at == '\n' || *reader->at == '\r')) {
        reader->line += *reader->at == '\n';
        reader->at++;
    }
    return reader->at < reader->end;
}

/* One line of exactly as many cells; 0: as many as there are, at most COLUMNS_MAX. How many, or -1. */
static int read_line(struct reader *reader, struct cell *cells, int wanted)
{
    bool last = false;
    int count = 0;
    while (!last) {
        struct cell cell;
        if (!next_cell(reader, &cell, &last))
            return -1;
        if (count == (wanted ? wanted : COLUMNS_MAX)) {
            fail(reader, wanted ? "the line has more cells than the first one" : "the line has too many columns");
            return -1;
        }
        if (cells)
            cells[count] = cell;
        count++;
    }
    if (wanted && count < wanted) {
        error_set(reader->error, "%s:%lld: the line has %d cell%s, the first one has %d", reader->path,
                  (long long)reader->line, count, count == 1 ? "" : "s", wanted);
        return -1;
    }
    reader->line++;
    return count;
}

/* Decimal ones: strtod would read `0x10`, too. */
static bool cell_number(const struct cell *cell, double *value)
{
    char text[NUMBER_MAX], *end;
    if (!cell->length || cell->length >= sizeof text || memchr(cell->text, 'x', cell->length) ||
        memchr(cell->text, 'X', cell->length))
        return false;
    memcpy(text, cell->text, cell->length);
    text[cell->length] = 0;
    *value = strtod(text, &end);
    return end == text + cell->length;
}

static char *cell_text(const struct cell *cell)
{
    char *text = malloc(cell->length + 1), *out = text;
    for (size_t i = 0; text && i < cell->length; i++) {
        *out++ = cell->text[i];
        i += cell->quoted && cell->text[i] == '"';
    }
    if (text)
        *out = 0;
    return text;
}

/* ---- columns ---- */

enum column_kind { WHOLE, REAL, WORDS };

/* What a pass over the lines behind the header finds. */
struct survey {
    int64_t rows;
    enum column_kind *kinds;
    struct cell *cells;  /* of one line */
    struct cell **words; /* of each column of words, its cells */
};

static bool allocate(struct data_array *array, enum program_element element, const char *path, int64_t rows,
                     int64_t width)
{
    *array = (struct data_array){.element = element, .rank = width ? 2 : 1, .dimension = {rows, width}};
    array->memory = array->bytes =
        calloc((size_t)rows * (size_t)(width ? width : 1) + 1, program_element_bytes(element));
    array->file = file_text("%s", path);
    return array->memory;
}

static int compare_cells(const void *a, const void *b)
{
    const struct cell *x = *(const struct cell *const *)a, *y = *(const struct cell *const *)b;
    int order = memcmp(x->text, y->text, x->length < y->length ? x->length : y->length);
    return order ? order : (x->length > y->length) - (x->length < y->length);
}

/* Numbers the words of a column by their order. */
static bool number_words(const struct cell *cells, int64_t rows, int32_t *classes)
{
    const struct cell **sorted = calloc((size_t)rows + 1, sizeof *sorted);
    int32_t number = 0;
    if (!sorted)
        return false;
    for (int64_t i = 0; i < rows; i++)
        sorted[i] = &cells[i];
    qsort(sorted, (size_t)rows, sizeof *sorted, compare_cells);
    for (int64_t i = 0; i < rows; i++) {
        number += i && compare_cells(&sorted[i - 1], &sorted[i]) != 0;
        classes[sorted[i] - cells] = number;
    }
    free(sorted);
    return true;
}

static bool check_filled(const struct reader *reader, const struct cell *cells, const struct csv *csv)
{
    for (int i = 0; i < csv->count; i++)
        if (!cells[i].length)
            return error_set(reader->error, "%s:%lld: the cell of column `%s` is empty", reader->path,
                             (long long)reader->line - 1, csv->columns[i].name);
    return true;
}

/* The column's first cell that is no number, for messages. */
static bool note_word(const struct reader *reader, struct csv_column *column, const struct cell *cell)
{
    char *text = cell_text(cell);
    if (!text)
        return error_set(reader->error, "out of memory");
    column->word = file_text("%s:%lld: column `%s` holds `%.*s%s`", reader->path, (long long)reader->line - 1,
                             column->name, WORD_SHOWN, text, strlen(text) > WORD_SHOWN ? "…" : "");
    free(text);
    return true;
}

/* Counts the lines, each of which must fit the header, and finds what each column holds. */
static bool survey_lines(struct reader reader, struct csv *csv, struct survey *survey)
{
    for (; more_lines(&reader); survey->rows++) {
        if (read_line(&reader, survey->cells, csv->count) < 0 || !check_filled(&reader, survey->cells, csv))
            return false;
        for (int i = 0; i < csv->count; i++) {
            double value;
            if (survey->kinds[i] == WORDS)
                continue;
            if (!cell_number(&survey->cells[i], &value)) {
                survey->kinds[i] = WORDS;
                if (!note_word(&reader, &csv->columns[i], &survey->cells[i]))
                    return false;
            } else if (value != floor(value) || fabs(value) > INT32_MAX)
                survey->kinds[i] = REAL;
        }
    }
    return survey->rows || error_set(reader.error, "%s: no examples", csv->path);
}

static bool make_columns(struct csv *csv, struct survey *survey)
{
    for (int i = 0; i < csv->count; i++) {
        struct csv_column *column = &csv->columns[i];
        if (!allocate(&column->array, survey->kinds[i] == REAL ? PROGRAM_F64 : PROGRAM_I32, csv->path, survey->rows, 0))
            return false;
        if (!column->word)
            continue;
        column->array.words = strdup(column->word);
        survey->words[i] = calloc((size_t)survey->rows + 1, sizeof *survey->words[i]);
        if (!column->array.words || !survey->words[i])
            return false;
    }
    return true;
}

static void fill_columns(struct reader reader, struct csv *csv, struct survey *survey)
{
    for (int64_t row = 0; row < survey->rows && more_lines(&reader); row++) {
        read_line(&reader, survey->cells, csv->count);
        for (int i = 0; i < csv->count; i++) {
            double value = 0;
            if (survey->kinds[i] == WORDS) {
                survey->words[i][row] = survey->cells[i];
                continue;
            }
            cell_number(&survey->cells[i], &value);
            if (survey->kinds[i] == REAL)
                ((double *)csv->columns[i].array.bytes)[row] = value;
            else
                ((int32_t *)csv->columns[i].array.bytes)[row] = (int32_t)value;
        }
    }
}

static bool read_lines(const struct reader *reader, struct csv *csv, struct survey *survey)
{
    if (!csv->columns || !survey->kinds || !survey->cells || !survey->words)
        return error_set(reader->error, "out of memory");
    if (!survey_lines(*reader, csv, survey))
        return false;
    if (!make_columns(csv, survey))
        return error_set(reader->error, "out of memory");
    fill_columns(*reader, csv, survey);
    for (int i = 0; i < csv->count; i++)
        if (survey->words[i] && !number_words(survey->words[i], survey->rows, csv->columns[i].array.bytes))
            return error_set(reader->error, "out of memory");
    return true;
}

/* ---- the header ---- */

static bool check_header(const struct reader *reader, const struct csv *csv, const struct cell *first)
{
    double value;
    if (cell_number(first, &value)) {
        error_set(reader->error, "%s:1: the first line must name the columns; it begins with a number", reader->path);
        error_hint(reader->error, "a line such as `length,width,kind` above the others does it");
        return false;
    }
    for (int i = 0; i < csv->count; i++)
        for (int k = 0; k < i; k++)
            if (strcmp(csv->columns[k].name, csv->columns[i].name) == 0)
                return error_set(reader->error, "%s:1: two columns are called `%s`", reader->path,
                                 csv->columns[i].name);
    return true;
}

static bool read_header(struct reader *reader, struct csv *csv)
{
    struct reader begin = *reader;
    if (!more_lines(reader))
        return error_set(reader->error, "%s: holds no line", reader->path);
    int count = read_line(reader, NULL, 0);
    struct cell *cells = count > 0 ? calloc((size_t)count, sizeof *cells) : NULL;
    csv->columns = count > 0 ? calloc((size_t)count, sizeof *csv->columns) : NULL;
    if (!cells || !csv->columns) {
        free(cells);
        return error_set(reader->error, "out of memory");
    }
    more_lines(&begin);
    read_line(&begin, cells, count);
    bool ok = true;
    for (int i = 0; i < count && ok; i++)
        ok = (csv->columns[csv->count++].name = cell_text(&cells[i])) || error_set(reader->error, "out of memory");
    ok = ok && check_header(reader, csv, &cells[0]);
    free(cells);
    return ok;
}

static bool read_text(struct csv *csv, const char *text, size_t size, struct error *error)
{
    struct reader reader = {csv->path, text, text + size, 1, error};
    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) /* a byte order mark */
        reader.at += 3;
    if (!read_header(&reader, csv))
        return false;
    size_t columns = (size_t)csv->count;
    struct survey survey = {0, calloc(columns, sizeof *survey.kinds), calloc(columns, sizeof *survey.cells),
                            calloc(columns, sizeof *survey.words)};
    bool ok = read_lines(&reader, csv, &survey);
    for (size_t i = 0; survey.words && i < columns; i++)
        free(survey.words[i]);
    free(survey.kinds);
    free(survey.cells);
    free(survey.words);
    return ok;
}

bool csv_parse(struct csv *csv, const char *path, const char *text, size_t size, struct error *error)
{
    *csv = (struct csv){.path = file_text("%s", path)};
    return read_text(csv, text, size, error);
}

bool csv_read(struct csv *csv, const char *path, struct error *error)
{
    size_t size = 0;
    *csv = (struct csv){0};
    char *text = file_read(path, &size, error);
    bool ok = text && csv_parse(csv, path, text, size, error);
    free(text);
    return ok;
}

void csv_free(struct csv *csv)
{
    for (int i = 0; i < csv->count; i++) {
        data_array_free(&csv->columns[i].array);
        free(csv->columns[i].name);
        free(csv->columns[i].word);
    }
    free(csv->columns);
    free(csv->path);
    *csv = (struct csv){0};
}

bool csv_features(const struct csv *csv, const char *label, struct data_array *array, struct error *error)
{
    int width = 0, at = 0;
    for (int i = 0; i < csv->count; i++) {
        const struct csv_column *column = &csv->columns[i];
        if (label && strcmp(column->name, label) == 0)
            continue;
        if (column->word) {
            error_set(error, "%s: words cannot stand among the features", column->word);
            error_hint(error, "a model may take columns one by one, each by its name, in place of `features`");
            return false;
        }
        width++;
    }
    if (!width)
        return error_set(error, "%s: no column is left for features", csv->path);
    int64_t rows = data_array_examples(&csv->columns[0].array);
    if (!allocate(array, PROGRAM_F32, csv->path, rows, width))
        return error_set(error, "out of memory");
    for (int i = 0; i < csv->count; i++) {
        const struct csv_column *column = &csv->columns[i];
        if (label && strcmp(column->name, label) == 0)
            continue;
        bool whole = column->array.element == PROGRAM_I32;
        float *out = (float *)array->bytes + at++;
        for (int64_t k = 0; k < rows; k++)
            out[k * width] =
                whole ? (float)((int32_t *)column->array.bytes)[k] : (float)((double *)column->array.bytes)[k];
    }
    return true;
}
