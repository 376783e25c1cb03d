/*
 * policy.c - the identity server of the examples with one thing changed: it rotates the token of every client at every refresh.
 *
 * As it is, it leaves alone the token of a client that has a secret, and for some seconds that of any other.  The server beside which it
 * is measured rotates always, so here a retry is bounded by a number instead of a time, and nothing holds rotation back.
 *
 * Linked with -Wl,--wrap=otok_service_open.
 *
 * SPDX-License-Identifier: MIT
 */
#include <offlinetok/offlinetok.h>

enum { RETRIES = 100 };

int __real_otok_service_open(const otok_config *config, otok_store *store, otok_keyring *keyring, otok_service **out,
                             otok_error *err);
int __wrap_otok_service_open(const otok_config *config, otok_store *store, otok_keyring *keyring, otok_service **out,
                             otok_error *err);

int __wrap_otok_service_open(const otok_config *config, otok_store *store, otok_keyring *keyring, otok_service **out,
                             otok_error *err)
{
    otok_config changed = *config;
    otok_policy policy = *config->policy;
    policy.rotation = OTOK_ROTATION_ALWAYS;
    policy.retry_window_s = OTOK_UNLIMITED;
    policy.retry_limit = RETRIES;
    changed.policy = &policy;
    return __real_otok_service_open(&changed, store, keyring, out, err);
}
