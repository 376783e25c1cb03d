/*
 * Runs a fuzz target over inputs without a fuzzing engine: over no bytes at all, then over every file named, and every
 * file of every directory named. A finding is a crash; a file that cannot be read is exit status 1.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path, size_t size)
{
    /* Exactly as large as the input, so that a sanitizer sees a read beyond it. */
    uint8_t *data = malloc(size > 0 ? size : 1);
    FILE *f = fopen(path, "rb");
    int rc = -1;

    if (data != NULL && f != NULL && fread(data, 1, size, f) == size) {
        LLVMFuzzerTestOneInput(data, size);
        rc = 0;
    } else {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
    }
    if (f != NULL)
        fclose(f);
    free(data);
    return rc;
}

static int replay(const char *path);

static int replay_directory(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    int rc = 0;

    if (dir == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    while ((entry = readdir(dir)) != NULL) {
        char child[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(child, sizeof child, "%s/%s", path, entry->d_name);
        rc |= replay(child);
    }
    closedir(dir);
    return rc;
}

static int replay(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    return S_ISDIR(st.st_mode) ? replay_directory(path) : replay_file(path, (size_t)st.st_size);
}

int main(int argc, char **argv)
{
    uint8_t *nothing = calloc(1, 1);
    int rc = 0;

    LLVMFuzzerTestOneInput(nothing, 0);
    free(nothing);
    for (int i = 1; i < argc; i++)
        rc |= replay(argv[i]);
    return rc == 0 ? 0 : 1;
}
