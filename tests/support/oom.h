/*
 * oom.h - memory runs short, at every allocation of a call, once and for good: what such tests stand on.
 *
 * A scenario is a call and what must be the case after it.  It is made with its first allocation failing, then its
 * second, and so on, until it has no more; each time alone, then with all the later ones.  A call that fails must be
 * honest about it, must hand out nothing, must leak nothing, and must leave the store as it was; one that succeeds all
 * the same must be whole.
 *
 * The allocators are in oom_allocators.h, which the program itself includes.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_OOM_H
#define TEST_OOM_H

#include "support/ask.h"
#include "support/records.h"

/* ----------------------------------------------------------------------------------------------------- the shortage */

typedef struct oom_shortage {
    bool armed;
    bool for_good; /* from the k-th on, else the k-th alone */
    uint64_t k, count;
    int64_t living;     /* allocations that were not freed */
    int64_t longest_us; /* that a call took */
    const char *what;
} oom_shortage;

extern oom_shortage test_shortage;

/* Asked by every allocator: whether this one is to fail. */
bool oom_is_refused(void);

/* For a host's callback that is to have the memory that it needs: gives what oom_resume() takes. */
bool oom_suspend(void);
void oom_resume(bool armed);

/* Which failure it was, for messages. */
const char *oom_where(void);

/* ------------------------------------------------------------------------------------------------------- the change */

/*
 * What a store says of a commit whose answer could not be kept is OTOK_E_UNCERTAIN: only one that is asked over a connection does.
 * Then the call was done, or was not, and which of the two is seen by what became of the records.
 */
enum { OOM_MOST_RECORDS = 4096 };

typedef struct oom_versions {
    size_t n;
    otok_id ids[OOM_MOST_RECORDS]; /* in their order */
    uint64_t versions[OOM_MOST_RECORDS];
} oom_versions;

/* How many records; `spoiled`: they are at another version than that before, or the next. */
typedef struct oom_change {
    size_t inserted, raised, deleted, spoiled;
} oom_change;

void oom_versions_of(otok_store *store, oom_versions *out);
oom_change oom_change_between(const oom_versions *old, const oom_versions *now);
bool oom_change_is(oom_change change, oom_change expected);

/* Where LMDB is stood in for by a server: waits until that has done all that it was sent on connections that are closed now. */
void oom_settle(void) __attribute__((__weak__));

/* -------------------------------------------------------------------------------------------------------- the stage */

typedef struct oom_stage {
    test_fixture *f;
    test_held held;      /* the session that the call is about */
    test_held bystander; /* one that it is not about */
    char old[OTOK_TOKEN_CHARS + 1];
    char path[4200], name[64];
    int number;
    /* What calls hand out: freed, and NULL or 0 after one that failed. */
    otok_tokens *tokens;
    otok_page *page;
    otok_session *session;
    otok_service *service;
    otok_keyring *keyring;
    otok_store *store;
    otok_introspection *introspection;
    otok_consent *consent;
    otok_consent_page *consents;
    otok_key_list *keys;
    otok_outbox_batch *batch;
    otok_offline_decision *decision;
    char *text;
    uint64_t count;
    int64_t time_us;
    int32_t live;
    otok_error err;
    /* What calls are given, or are compared with: the scenario's own. */
    test_held second;
    otok_outbox_batch *given_batch;
    otok_keyring *given_keyring;
    char *expected;
    /* The store before a call, and what a call that is done makes of it. */
    oom_versions before;
    oom_change done;
} oom_stage;

typedef struct oom_scenario {
    const char *name;
    void (*prepare)(oom_stage *s); /* before the first call, and again whenever one was done */
    int (*call)(oom_stage *s);
    void (*is_whole)(oom_stage *s); /* after one that was done */
    int done;                       /* the code of such a one */
    bool in_steps;                  /* several commits: one that fails may have done some of it */
    void (*open)(oom_stage *s);     /* once, before everything else; may be NULL */
    void (*is_sound)(oom_stage *s); /* after one that failed; may be NULL */
    bool in_callback;               /* allocates inside a callback of the host, whose failure is OTOK_E_CALLBACK */
} oom_scenario;

/* Over TEST_MEMORY or TEST_LMDB: aborts the test when something is wrong. */
void oom_run(const oom_scenario *scenario, int engine);

/* A test for each of them, over memory, over LMDB or both; a program has OOM_MOST_PARTS such calls at the most. */
enum { OOM_MEMORY = 1, OOM_LMDB = 2, OOM_MOST_PARTS = 2 };
void oom_add(TCase *tc, int engines, const oom_scenario *scenarios, size_t n);

/* main() of such a program: says where it was when it crashes.  `every_allocation`: EVERY_ALLOCATION. */
int oom_main(const char *name, void (*add)(TCase *tc), bool every_allocation);

/* ----------------------------------------------------------------------------------------------- parts of scenarios */

void oom_prepare_nothing(oom_stage *s);
otok_peer oom_peer_at(const char *ip);

/* `held` is a new session of "alice" with "phone"; the one before is gone. */
void oom_hold_fresh(oom_stage *s);
void oom_hold_for_a_minute(oom_stage *s);
void oom_rotate_once(oom_stage *s); /* `old` is its superseded token */

/* The code of a refresh of the bystander, as a confidential client: not rotated. */
int oom_refresh_bystander(oom_stage *s);

/* A refresh as the public client "phone". */
int oom_refresh_from(oom_stage *s, const char *token, const char *ip);

/* A response with access token and ID token, every part of it in response_json. */
void oom_tokens_are_whole(const otok_tokens *tokens, const char *scope);

/* `path` is a new folder, a new keyring file in one, and one that the fixture's keyring is in. */
void oom_new_directory(oom_stage *s);
void oom_new_keyring_file(oom_stage *s);
void oom_save_keyring(oom_stage *s);
void oom_remove_keyring(oom_stage *s);

#endif
