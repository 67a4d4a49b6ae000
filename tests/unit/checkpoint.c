/* A checkpoint is taken up; one whose position in the loop is no position is refused. */
#include "check.h"
#include "tests/checkpoint_file.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Takes up the file with these steps; they stand 9 there, as checkpoint_file has them. */
static bool take_with(unsigned char *bytes, size_t size, int64_t steps)
{
    uint64_t header;
    int64_t nine = 9;
    memcpy(&header, bytes, sizeof header);
    unsigned char *at = memmem(bytes + 8 + header, size - 8 - header, &nine, sizeof nine);
    CHECK(at);
    if (!at)
        return false;
    memcpy(at, &steps, sizeof steps);
    FILE *file = fopen("checkpoint.safetensors", "wb");
    bool taken =
        file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0 && checkpoint_take("checkpoint.safetensors");
    memcpy(at, &nine, sizeof nine);
    unlink("checkpoint.safetensors");
    return taken;
}

int main(void)
{
    size_t size;
    unsigned char *bytes = checkpoint_file(&size);
    CHECK(take_with(bytes, size, 9));
    CHECK(!take_with(bytes, size, -1));
    CHECK(!take_with(bytes, size, INT64_MAX));
    free(bytes);
    return check_result();
}
