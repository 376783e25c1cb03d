/*
 * versions.c - what the identity server is linked with, as JSON.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <stdlib.h>

#include <lmdb.h>
#include <microhttpd.h>
#include <openssl/crypto.h>

int main(void)
{
    int written = printf("{\"openssl\":\"%s\",\"libmicrohttpd\":\"%s\",\"lmdb\":\"%s\"}\n",
                         OpenSSL_version(OPENSSL_VERSION_STRING), MHD_get_version(), mdb_version(NULL, NULL, NULL));
    return written > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
