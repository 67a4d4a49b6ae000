/* Arrays as the files hold them: the first axis counts examples. They lie in memory; where a file holds more than
 * ARRAY_MEMORY, or its values must be decoded, their examples are read one by one. */
#ifndef CASTOR_RUNTIME_DATA_ARRAY_H
#define CASTOR_RUNTIME_DATA_ARRAY_H

#include "runtime/error.h"
#include "runtime/program.h"

enum { ARRAY_MEMORY = 1 << 28 };

/* Gives examples one by one, to any thread. The first member of what a reader keeps beside it. */
struct data_rows {
    /* Writes example `row`. False with an error set. */
    bool (*read)(const struct data_rows *rows, int64_t row, void *out, struct error *error);
    void (*free)(struct data_rows *rows);
};

struct data_array {
    enum program_element element;
    int rank;
    int64_t dimension[PROGRAM_RANK];
    void *bytes; /* row-major, aligned to 16; inside `memory`; NULL where `rows` gives the examples */
    void *memory;
    size_t stride; /* bytes from one example to the next; 0: they lie side by side */
    struct data_rows *rows;
    int64_t below; /* all values are known to be whole numbers from 0 to below - 1; 0: nothing is known */
    char *file;    /* for messages */
    char *words;   /* the values number words, of which the first one stands so: "d.csv:3: column `a` holds `n/a`" */
};

/* Elements, or -1 when they are more than fit into memory. */
int64_t data_array_elements(const struct data_array *array);
int64_t data_array_examples(const struct data_array *array);
/* Bytes of one example. */
size_t data_array_row(const struct data_array *array);
/* Example `row`, in the array's memory or read into the buffer of data_array_row bytes. NULL with an error set. */
const void *data_array_example(const struct data_array *array, int64_t row, void *buffer, struct error *error);
void data_array_free(struct data_array *array);
/* Memory of `bytes` for a file that says it has so many: false with an error set where there is not so much. */
bool data_array_allocate(struct data_array *array, size_t bytes, struct error *error);
/* "[28, 28]" for messages; the text lives as long as the buffer. */
enum { SHAPE_TEXT = 160 };
const char *data_shape_text(const int64_t *dimension, int rank, char buffer[SHAPE_TEXT]);

/* ---- disk.c ---- */

/* Narrow integers on disk, which are i32 in memory. */
enum data_narrow { NARROW_NONE, NARROW_I8, NARROW_I16, NARROW_U16 };

size_t narrow_bytes(enum data_narrow narrow);
/* `from` may lie at the end of the memory that `to` is. */
void narrow_widen(enum data_narrow narrow, const void *from, int32_t *to, size_t count);

/* Where an array's values lie in a file. */
struct disk_place {
    const char *path;
    uint64_t begin;
    uint64_t stride; /* bytes from one example to the next */
    enum data_narrow narrow;
};

/* Leaves the array, whose element and dimensions are set, on disk. */
bool data_array_on_disk(struct data_array *array, const struct disk_place *place, struct error *error);

/* An IDX file, gzipped or not, that must have `rank` axes of bytes. */
bool idx_read(const char *path, int rank, struct data_array *array, struct error *error);

/* An array in NPY form; takes over `memory` (malloced) also when it fails. `where` is what messages call it. */
bool npy_parse(const char *where, void *memory, size_t size, struct data_array *array, struct error *error);
bool npy_read(const char *path, struct data_array *array, struct error *error);

/* A CSV file. `columns` have i32, f64, or the numbers of words as classes. */
struct csv_column {
    char *name;
    char *word; /* what data_array calls `words`; NULL: all cells are numbers */
    struct data_array array;
};

struct csv {
    char *path;
    int count;
    struct csv_column *columns;
};

/* csv_free releases it, whether these succeed or not. */
bool csv_read(struct csv *csv, const char *path, struct error *error);
bool csv_parse(struct csv *csv, const char *path, const char *text, size_t size, struct error *error);
void csv_free(struct csv *csv);
/* All columns but one (NULL: all) side by side as f32. False with an error set when one of them holds words. */
bool csv_features(const struct csv *csv, const char *label, struct data_array *array, struct error *error);

/* A zip archive's entries. */
struct zip_entry {
    char *name;
    unsigned method;
    uint32_t crc;
    uint64_t offset, compressed, size;
};

struct zip {
    char *path;
    void *file; /* FILE */
    uint64_t bytes;
    int count;
    struct zip_entry *entries;
};

bool zip_open(struct zip *zip, const char *path, struct error *error);
/* The entry's bytes, decompressed and checked against its sum, malloced; NULL with an error set. */
void *zip_read(const struct zip *zip, const struct zip_entry *entry, struct error *error);
void zip_close(struct zip *zip);

#endif
