/*
 * resident.c - the memory of a process that opens a store, in KiB: VmRSS before and after, RssAnon before and after.  Built as a
 * user would, with the shared library.
 *
 *     resident FOLDER
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <offlinetok/offlinetok.h>

static long memory_kib(const char *name)
{
    char line[256];
    long kib = -1;
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0)
            kib = strtol(line + strlen(name) + 1, NULL, 10);
    }
    if (status != NULL)
        (void)fclose(status);
    return kib;
}

int main(int argc, char **argv)
{
    otok_store *store = NULL;
    otok_keyring *keyring = NULL;
    otok_service *service = NULL;
    otok_config config;
    otok_error err;
    if (argc != 2)
        return EXIT_FAILURE;
    long rss = memory_kib("VmRSS"), anon = memory_kib("RssAnon");
    otok_config_init(&config, sizeof config);
    config.issuer = "https://id.example.org";
    int rc = otok_store_open_lmdb(argv[1], NULL, &store, &err);
    if (rc == OTOK_OK)
        rc = otok_keyring_generate(OTOK_ALG_ES256, &keyring, &err);
    if (rc == OTOK_OK)
        rc = otok_service_open(&config, store, keyring, &service, &err);
    if (rc == OTOK_OK)
        printf("%ld %ld %ld %ld\n", rss, memory_kib("VmRSS"), anon, memory_kib("RssAnon"));
    else
        (void)fprintf(stderr, "resident: %s\n", err.message);
    otok_service_close(service);
    otok_keyring_free(keyring);
    otok_store_close(store);
    return rc == OTOK_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
