/* Values of CSV files, against what was written: whole numbers, others, words by their order, quotes, features. */
#include "check.h"
#include "runtime/data/array.h"

#include <stdint.h>

static const char text[] = "\xef\xbb\xbfid, size ,\"kind, of\",y\r\n"
                           "7,0.5,\"b \"\"x\"\"\",1\r\n"
                           "\r\n"
                           "-2,1e3,a,0\n"
                           "2147483647,\"-0.25\",\"two\nlines\",2";

static bool equal_floats(const struct data_array *array, const float *wanted, int count)
{
    bool equal = true;
    for (int i = 0; i < count; i++)
        equal &= ((const float *)array->bytes)[i] == wanted[i];
    return equal;
}

static void check_columns(const struct csv *csv)
{
    static const char *const names[] = {"id", "size", "kind, of", "y"};
    static const int32_t ids[] = {7, -2, 2147483647}, kinds[] = {1, 0, 2}, classes[] = {1, 0, 2};
    static const double sizes[] = {0.5, 1000, -0.25};
    const void *const values[] = {ids, sizes, kinds, classes};
    for (int i = 0; i < 4; i++) {
        const struct data_array *array = &csv->columns[i].array;
        CHECK_TEXT(csv->columns[i].name, names[i]);
        CHECK(!csv->columns[i].word == (i != 2) && array->element == (i == 1 ? PROGRAM_F64 : PROGRAM_I32));
        CHECK(array->rank == 1 && array->dimension[0] == 3);
        CHECK(memcmp(array->bytes, values[i], 3 * program_element_bytes(array->element)) == 0);
    }
}

static void check_features(void)
{
    static const char numbers[] = "a,y,b\n1,5,2.5\n-3,6,4\n";
    static const float without_y[] = {1, 2.5f, -3, 4}, all[] = {1, 5, 2.5f, -3, 6, 4};
    struct csv csv;
    struct data_array array = {0};
    struct error error = {0};
    CHECK(csv_parse(&csv, "f.csv", numbers, sizeof numbers - 1, &error));
    CHECK(csv_features(&csv, "y", &array, &error) && array.rank == 2 && array.dimension[0] == 2);
    CHECK(array.dimension[1] == 2 && equal_floats(&array, without_y, 4));
    data_array_free(&array);
    CHECK(csv_features(&csv, NULL, &array, &error) && array.dimension[1] == 3);
    CHECK(equal_floats(&array, all, 6));
    data_array_free(&array);
    csv_free(&csv);
}

int main(void)
{
    struct csv csv;
    struct data_array array = {0};
    struct error error = {0};
    CHECK(csv_parse(&csv, "f.csv", text, sizeof text - 1, &error) && csv.count == 4);
    CHECK_TEXT(error.text, "");
    if (csv.count == 4)
        check_columns(&csv);
    CHECK(!csv_features(&csv, "y", &array, &error));
    CHECK_TEXT(error.text, "f.csv:2: column `kind, of` holds `b \"x\"`: words cannot stand among the features");
    csv_free(&csv);
    error = (struct error){0};
    static const char late[] = "a,b\n1,2\n\n3,\"4\n5\"\n6\n"; /* lines are counted as an editor does */
    CHECK(!csv_parse(&csv, "f.csv", late, sizeof late - 1, &error));
    CHECK_TEXT(error.text, "f.csv:6: the line has 1 cell, the first one has 2");
    csv_free(&csv);
    check_features();
    return check_result();
}
