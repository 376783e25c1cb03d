/*
 * host.c
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/host.h"

#include <stdio.h>
#include <string.h>

static test_host *installed;

static void keep(char *room, size_t size, const char *text)
{
    (void)snprintf(room, size, "%s", text != NULL ? text : "");
}

static void note(test_host *host, const otok_use *use, bool for_claims)
{
    ck_assert_uint_lt(host->nuses, TEST_MAX_USES);
    test_use *kept = &host->uses[host->nuses++];
    ck_assert_uint_eq(use->size, sizeof *use);
    ck_assert_uint_eq(use->peer->size, sizeof *use->peer);
    ck_assert_uint_le(use->audience_count, TEST_MAX_SHOWN);
    kept->for_claims = for_claims;
    kept->purpose = use->purpose;
    kept->attempt = use->attempt;
    kept->audience_count = use->audience_count;
    kept->generation = use->session->generation;
    kept->kind = use->session->kind;
    kept->state = use->session->state;
    keep(kept->scope, sizeof kept->scope, use->scope);
    keep(kept->ip, sizeof kept->ip, use->peer->ip);
    keep(kept->session_id, sizeof kept->session_id, use->session->session_id);
    keep(kept->subject, sizeof kept->subject, use->session->subject);
    keep(kept->client_id, sizeof kept->client_id, use->session->client_id);
    keep(kept->sub, sizeof kept->sub, use->session->sub);
    keep(kept->sid, sizeof kept->sid, use->session->sid);
    keep(kept->session_scope, sizeof kept->session_scope, use->session->scope);
    for (size_t i = 0; i < use->audience_count; i++)
        keep(kept->audience[i], sizeof kept->audience[i], use->audience[i]);
}

static void said(test_host *host, int rc)
{
    if (rc != OTOK_OK)
        host->last_failure = rc;
}

static bool is_silent(const test_host *host, const otok_use *use)
{
    return host->only != 0 && use->purpose != host->only;
}

static int authorize(void *user, const otok_use *use, otok_answer *answer)
{
    test_host *host = installed;
    (void)user;
    if (host->authorize != NULL)
        return host->authorize(host, use, answer);
    note(host, use, false);
    if (is_silent(host, use))
        return 0;
    if (host->scope != NULL)
        said(host, otok_answer_set_scope(answer, host->scope));
    if (host->audience != NULL)
        said(host, otok_answer_set_audience(answer, host->audience, host->audience_count));
    if (host->refusal != 0)
        said(host, otok_answer_refuse(answer, host->refusal, host->description));
    if (host->ends_session)
        said(host, otok_answer_end_session(answer));
    return host->returns;
}

static int claims(void *user, const otok_use *use, otok_answer *answer)
{
    test_host *host = installed;
    (void)user;
    note(host, use, true);
    if (is_silent(host, use))
        return 0;
    if (host->claims_scope != NULL)
        said(host, otok_answer_set_scope(answer, host->claims_scope));
    if (host->access_claims != NULL)
        said(host, otok_answer_set_access_claims(answer, host->access_claims));
    if (host->id_claims != NULL)
        said(host, otok_answer_set_id_claims(answer, host->id_claims));
    return host->claims_return;
}

void test_install_host(test_fixture *f, test_host *host)
{
    memset(host, 0, sizeof *host);
    installed = host;
    f->callbacks.authorize = authorize;
    f->callbacks.claims = claims;
    test_reopen_service(f);
}

const test_use *test_last_use(const test_host *host)
{
    ck_assert_msg(host->nuses != 0, "the host was not asked");
    return &host->uses[host->nuses - 1];
}
