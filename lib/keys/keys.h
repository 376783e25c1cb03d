/*
 * keys/keys.h - the keyring as the rest of the library sees it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OTOK_KEYS_H
#define OTOK_KEYS_H

#include "format/format.h"

#include <stdatomic.h>

enum { OTOK_KID_CHARS = 43, OTOK_MAX_KEYRING_KEYS = 64, OTOK_MAX_DROPPED_IDS = 128 };

/* A key that signs access and ID tokens. */
typedef struct otok_signing_key {
    otok_pkey *pkey;
    bool external; /* its private half is elsewhere: `pkey` is public, and otok_callbacks.sign signs (K5) */
    int32_t state; /* OTOK_KEY_... */
    int64_t created_us;
    char kid[OTOK_KID_CHARS + 1]; /* RFC 7638 thumbprint */
} otok_signing_key;

/* A key that seals offline tokens; never used itself, only through otok_subkey(). */
typedef struct otok_token_key {
    uint8_t id; /* 1 to 255, in every token; never given out again while it is here */
    int32_t state;
    int64_t created_us;
    char kid[OTOK_KID_CHARS + 1]; /* RFC 7638 thumbprint */
    uint8_t key[OTOK_KEY_SIZE];
} otok_token_key;

/* What a file was when it was read: when one of these is another, so may be what is in it. */
typedef struct otok_file_stamp {
    uint64_t device, inode;
    int64_t size;
    int64_t modified_ns, changed_ns;
} otok_file_stamp;

/* Where a keyring came from: absolute, so that chdir() changes nothing. */
typedef struct otok_keyring_files {
    char *path; /* NULL: from no file */
    char *token_keys_path;
    otok_file_stamp stamp, token_keys_stamp;
} otok_keyring_files;

/* Immutable once it is made; exactly one active key of each sort. */
struct otok_keyring {
    atomic_int references;
    otok_signing_key signing[OTOK_MAX_KEYRING_KEYS];
    size_t nsigning;
    otok_token_key token[OTOK_MAX_KEYRING_KEYS];
    size_t ntoken;
    uint8_t
        dropped[OTOK_MAX_DROPPED_IDS]; /* ids of MAC keys that were dropped, the oldest first: not given out again */
    size_t ndropped;
    otok_keyring_files files;
};

otok_keyring *otok_keyring_ref(otok_keyring *keyring);

/* Whether both hold the same keys in the same states, read from the same files as they were then. */
bool otok_keyring_same(const otok_keyring *a, const otok_keyring *b);
bool otok_keyring_same_files(const otok_keyring *a, const otok_keyring *b);

/* Reads the files again.  *out is NULL when they are as they were read.  OTOK_E_UNSUPPORTED when it came from none. */
int otok_keyring_reload(const otok_keyring *keyring, otok_keyring **out, otok_error *err);

/*
 * The directory default (otok_config.directory): loads `path`, or makes it with a key of `algorithm` when it is not
 * there; of two processes that do so at once, one makes it and both get the same.
 */
int otok_keyring_open(const char *path, int32_t algorithm, otok_keyring **out, otok_error *err);

const otok_signing_key *otok_keyring_signing(const otok_keyring *keyring);                 /* the active one */
const otok_signing_key *otok_keyring_by_kid(const otok_keyring *keyring, const char *kid); /* NULL when gone */
const otok_token_key *otok_keyring_token(const otok_keyring *keyring);                     /* the active one */

/* A change of any version, as one of ours; OTOK_E_INVALID. */
int otok_key_change_read(const otok_key_change *in, otok_key_change *out, otok_error *err);

/* Makes one more key and adds it: there must be room for it.  A MAC key gets an id that none has here (K3). */
int otok_keyring_add_signing(otok_keyring *keyring, int32_t algorithm, int32_t state, otok_error *err);
int otok_keyring_add_token(otok_keyring *keyring, int32_t state, otok_error *err);

/* ---------------------------------------------------------------------------------------------------- jwk.c */

/* RFC 7638 thumbprint of a public key, or of a MAC key: base64url. */
int otok_pkey_thumbprint(const otok_pkey *key, char out[OTOK_KID_CHARS + 1], otok_error *err);
int otok_oct_thumbprint(const uint8_t key[OTOK_KEY_SIZE], char out[OTOK_KID_CHARS + 1], otok_error *err);

/* The id of a MAC key, 1 to 255, follows from its thumbprint: so a file in which it is damaged is refused, where another id would
 * have logged everyone out. */
uint8_t otok_oct_id(const char kid[OTOK_KID_CHARS + 1]);

/* Adds the members of a JWK that say what the key is: kty, crv, x, y, n, e, k, and the private ones when asked for. */
int otok_jwk_add_pkey(otok_buf *out, const otok_pkey *key, bool with_private, otok_error *err);
void otok_jwk_add_oct(otok_buf *out, const uint8_t key[OTOK_KEY_SIZE]);

/*
 * Reads them; `alg` must be there and fit.  `with_private`: all private members must be there, else they are not
 * looked at. OTOK_E_KEY names the member.
 */
int otok_jwk_read_pkey(const otok_json *jwk, bool with_private, otok_pkey **out, otok_error *err);

/* The public half of a key whose private half is elsewhere (K5): a private member is OTOK_E_KEY. */
int otok_jwk_read_external(const otok_json *jwk, otok_pkey **out, otok_error *err);
int otok_jwk_read_oct(const otok_json *jwk, uint8_t out[OTOK_KEY_SIZE], otok_error *err);

/* --------------------------------------------------------------------------------------------------- keyring_json.c */

enum { OTOK_KEYRING_FILE_MAX = 1 << 20 };

/* What a JWKS holds: private signing keys, MAC keys, or public keys alone (not together with the others). */
enum { OTOK_JWKS_SIGNING = 1, OTOK_JWKS_TOKEN = 2, OTOK_JWKS_PUBLIC = 4 };

otok_keyring *otok_keyring_new(otok_error *err); /* empty: not for use before it has its active keys */

/* Adds the keys of a private JWKS, in which `which` are expected; `what` names the file.  OTOK_E_FORMAT, OTOK_E_KEY. */
int otok_keyring_parse(const char *text, size_t len, unsigned which, const char *what, otok_keyring *keyring,
                       otok_error *err);
int otok_keyring_print(const otok_keyring *keyring, unsigned which, otok_buf *out, otok_error *err);

/* --------------------------------------------------------------------------------------------------- private_file.c */

/*
 * Appends a file of at most `most` bytes; `stamp` is what it was when the reading began.  OTOK_E_PERMISSION when it is not ours
 * alone; symbolic links are not followed.
 */
int otok_private_file_read(const char *path, size_t most, otok_buf *out, otok_file_stamp *stamp, otok_error *err);

/* Whether it could be read: what otok_private_file_read() would say before it reads. */
int otok_private_file_check(const char *path, otok_error *err);

/* Whether the file of that name is still what it was. */
bool otok_private_file_is(const char *path, const otok_file_stamp *stamp);

/*
 * Writes a file, mode 0600, whole and durably; OTOK_E_CONFLICT when it is there and `replace` is false.  `stamp` (may be NULL)
 * is what it is now, for one that replaces.
 */
int otok_private_file_write(const char *path, otok_str text, bool replace, otok_file_stamp *stamp, otok_error *err);

/*
 * Waits for the lock on `path`, over threads and processes, and keeps it until it is given back or the process ends: on the
 * file `path`.lock, which stays there, for `path` itself is another file after each write.
 */
int otok_private_file_lock(const char *path, int *lock, otok_error *err);
void otok_private_file_unlock(int lock);

/* Syncs the folder that `path` is in. */
int otok_folder_sync(const char *path, otok_error *err);

#endif
