/*
 * device_request.c - the devices that wait for their user, kept as browsers' logins are: by sessions of this server's own.
 *
 * A request is one session, and its user's answer another; both have the user code as their sid, and are found by it.  So they are known
 * to every server of the store, and end by themselves.  What must not happen twice has a once_key: that a user code is drawn, and that a
 * request is answered.  How often a device polls is in the notes of its request.
 *
 * SPDX-License-Identifier: MIT
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <openssl/rand.h>

#include "device.h"

#define PURPOSE "device code"
#define ALLOWED "allowed "

/* A device code is known, as one whose time is over, for as long again; its user code is not drawn again for a day (once_keep_s). */
enum { MOST_DEVICES = 1000, MOST_OF_ONE_NETWORK = 100, KNOWN_SECONDS = 2 * DEVICE_SECONDS };
static const int64_t SECOND_US = 1000000;

/* No vowels, which make words, and no Y (RFC 8628 section 6.1). */
static const char LETTERS[] = "BCDFGHJKLMNPQRSTVWXZ";
enum { NLETTERS = sizeof LETTERS - 1 };

/* "device:" and a client's id, a network, or a user code. */
enum { NAME_ROOM = 300, PREFIX = sizeof DEVICE_CLIENT - 1 };

static const char *name_of(const char *what, char out[NAME_ROOM])
{
    snprintf(out, NAME_ROOM, DEVICE_CLIENT "%s", what);
    return out;
}

void device_policy(otok_policy *policy)
{
    policy->access_token = OTOK_OFF;
    policy->max_lifetime_s = DEVICE_SECONDS;
    policy->session_limit = MOST_OF_ONE_NETWORK; /* the subject of a request is where it came from */
    policy->at_session_limit = OTOK_AT_LIMIT_REFUSE;
    policy->once_reuse = OTOK_REUSE_REJECT; /* the first who answered has answered */
    policy->sweep_grace_s = 60;
}

static int no_crypto(otok_error *err)
{
    *err = (otok_error){.code = OTOK_E_CRYPTO, .message = "libcrypto failed"};
    return OTOK_E_CRYPTO;
}

/* Issues a session of this server for the request of that code, good for once: OTOK_E_ONCE also for who comes second at once. */
static int issue_once(server *s, const otok_grant *grant, const client *c, const char *user_code, const char *once,
                      otok_error *err)
{
    char client_id[NAME_ROOM], sid[NAME_ROOM], source[NAME_ROOM];
    otok_tokens *tokens = NULL;
    char *once_key = sha256_name(name_of(once, source));
    if (once_key == NULL)
        return no_crypto(err);
    otok_grant once_only = *grant;
    once_only.client_id = name_of(c->id, client_id);
    once_only.kind = OTOK_SESSION_LOGIN;
    once_only.sid = name_of(user_code, sid);
    once_only.once_key = once_key;
    int rc = otok_issue(s->service, &once_only, &tokens, err);
    if (rc == OTOK_OK && tokens->outcome == OTOK_OUTCOME_RETRIED)
        rc = OTOK_E_ONCE;
    otok_tokens_free(tokens);
    free(once_key);
    return rc;
}

/* ---------------------------------------------------------------------------------------------------- what is kept */

struct reading {
    server *server;
    device *out;
};

/* {"interval_s":10,"next_ms":1700000000000} */
static void read_polls(const char *notes, device *out)
{
    cJSON *o = notes != NULL ? cJSON_Parse(notes) : NULL;
    const cJSON *interval = cJSON_GetObjectItemCaseSensitive(o, "interval_s");
    const cJSON *next = cJSON_GetObjectItemCaseSensitive(o, "next_ms");
    if (cJSON_IsNumber(interval) && cJSON_IsNumber(next)) {
        out->interval_s = (int64_t)interval->valuedouble;
        out->next_poll_us = (int64_t)next->valuedouble * 1000;
    }
    cJSON_Delete(o);
}

static void read_request(const otok_session *session, device *out)
{
    out->state = DEVICE_PENDING;
    out->asked_us = session->started_us;
    snprintf(out->label, sizeof out->label, "%s", session->label != NULL ? session->label : "");
    snprintf(out->ip, sizeof out->ip, "%s", session->start_ip != NULL ? session->start_ip : "");
    snprintf(out->session_id, sizeof out->session_id, "%s", session->session_id);
    read_polls(session->notes, out);
}

/* The label of an answer: "allowed", when and in which login its user had logged in; or the error. */
static void read_answer(const server *s, const otok_session *session, device *out)
{
    const char *said = session->label != NULL ? session->label : "access_denied";
    char *sid = NULL;
    out->user = directory_user(s->directory, session->subject);
    if (strncmp(said, ALLOWED, sizeof ALLOWED - 1) == 0 && out->user != NULL) {
        out->state = DEVICE_ALLOWED;
        out->auth_time_us = strtoimax(said + sizeof ALLOWED - 1, &sid, 10);
        snprintf(out->sid, sizeof out->sid, "%s", *sid == ' ' ? sid + 1 : "");
    } else {
        out->state = DEVICE_DENIED;
        snprintf(out->error, sizeof out->error, "%s", out->user != NULL ? said : "access_denied");
    }
}

/* An answer may look older than its request, where the clocks of two servers differ. */
static bool read_session(void *arg, const otok_session *session)
{
    const struct reading *in = arg;
    device *out = in->out;
    bool is_request = strncmp(session->subject, DEVICE_CLIENT, PREFIX) == 0;
    if (strncmp(session->client_id, DEVICE_CLIENT, PREFIX) != 0 || (is_request && out->state != DEVICE_UNKNOWN))
        return true;
    out->client = directory_client(in->server->directory, session->client_id + PREFIX);
    snprintf(out->scope, sizeof out->scope, "%s", session->scope);
    if (is_request)
        read_request(session, out);
    else
        read_answer(in->server, session, out);
    return true;
}

int device_find(server *s, const char *user_code, device *out, otok_error *err)
{
    struct reading in = {s, out};
    char sid[NAME_ROOM];
    otok_filter filter;
    otok_filter_init(&filter, sizeof filter);
    filter.sid = name_of(user_code, sid);
    *out = (device){.state = DEVICE_UNKNOWN};
    int rc = sessions_each(s, &filter, read_session, &in, err);
    if (out->client == NULL) /* it is not there any more */
        out->state = DEVICE_UNKNOWN;
    return rc;
}

/* ---------------------------------------------------------------------------------------------------- the two codes */

/* Eight letters, each as likely as the others.  False: libcrypto failed. */
static bool draw_letters(char out[USER_CODE + 1])
{
    size_t n = 0;
    while (n < USER_CODE) {
        unsigned char random;
        if (RAND_bytes(&random, 1) != 1)
            return false;
        if (random < 256 / NLETTERS * NLETTERS)
            out[n++] = LETTERS[random % NLETTERS];
    }
    out[n] = '\0';
    return true;
}

bool user_code_read(const char *typed, char user_code[USER_CODE + 1])
{
    size_t n = 0;
    for (; *typed != '\0'; typed++) {
        char c = *typed >= 'a' && *typed <= 'z' ? (char)(*typed - 'a' + 'A') : *typed;
        if (c == '-' || c == ' ')
            continue;
        if (n == USER_CODE || strchr(LETTERS, c) == NULL)
            return false;
        user_code[n++] = c;
    }
    user_code[n] = '\0';
    return n == USER_CODE;
}

/* A device code is the user code, the device's label and the client, sealed. */
static char *seal_code(const server *s, const device *d, const char *user_code)
{
    text plain = {0};
    char *sealed = NULL;
    html(&plain, "%h\n%h\n%h", user_code, d->label, d->client->id);
    if (!plain.failed)
        sealed = seal_text(s->seal, PURPOSE, plain.data, now_us() + KNOWN_SECONDS * SECOND_US);
    text_free(&plain);
    return sealed;
}

/* False: it is none, or another client's. */
static bool open_code(const server *s, const char *device_code, const client *c, char user_code[USER_CODE + 1],
                      char label[AGENT_NAME])
{
    char *plain = unseal_text(s->seal, PURPOSE, device_code, now_us()), *rest = NULL;
    const char *code = plain != NULL ? strtok_r(plain, "\n", &rest) : NULL;
    char *end = code != NULL ? strchr(rest, '\n') : NULL;
    bool good = end != NULL && strcmp(end + 1, c->id) == 0;
    if (good) {
        *end = '\0';
        snprintf(user_code, USER_CODE + 1, "%s", code);
        snprintf(label, AGENT_NAME, "%s", rest);
    }
    free(plain);
    return good;
}

/* ---------------------------------------------------------------------------------------------------- asked, answered */

/* Those that the sweeper has not come to yet count, too. */
static int count_waiting(server *s, const client *c, otok_error *err)
{
    char client_id[NAME_ROOM];
    uint64_t n = 0;
    otok_filter filter;
    otok_filter_init(&filter, sizeof filter);
    filter.client_id = name_of(c->id, client_id);
    int rc = otok_count(s->service, &filter, &n, err);
    return rc == OTOK_OK && n >= MOST_DEVICES ? OTOK_E_LIMIT : rc;
}

int device_ask(server *s, const device *d, char **device_code, char user_code[USER_CODE + 1], otok_error *err)
{
    char network[NETWORK_ROOM], subject[NAME_ROOM];
    otok_grant grant;
    otok_peer peer;
    otok_peer_init(&peer, sizeof peer);
    peer.ip = d->ip;
    otok_grant_init(&grant, sizeof grant);
    grant.subject = name_of(network_of(d->ip, network) ? network : d->ip, subject);
    grant.scope = d->scope;
    grant.label = d->label[0] != '\0' ? d->label : NULL;
    grant.peer = &peer;
    *device_code = NULL;
    int rc = count_waiting(s, d->client, err);
    if (rc != OTOK_OK)
        return rc;
    do /* again, where somebody has that code */
        rc = draw_letters(user_code) ? issue_once(s, &grant, d->client, user_code, user_code, err) : no_crypto(err);
    while (rc == OTOK_E_ONCE);
    if (rc == OTOK_OK && (*device_code = seal_code(s, d, user_code)) == NULL)
        rc = no_crypto(err);
    return rc;
}

/* Who agreed in the last second is to be heard: an answer lives as long as its request would, and for two polls at least. */
static int64_t seconds_to_be_heard(const device *d)
{
    int64_t left_us = d->asked_us + DEVICE_SECONDS * SECOND_US - now_us();
    int64_t left_s = (left_us + SECOND_US - 1) / SECOND_US, least_s = INT64_C(2) * DEVICE_INTERVAL;
    return left_s > least_s ? left_s : least_s;
}

int device_answer(server *s, const char *user_code, const device *d, otok_error *err)
{
    char label[sizeof ALLOWED + 24 + sizeof d->sid];
    otok_grant grant;
    otok_grant_init(&grant, sizeof grant);
    if (d->state == DEVICE_ALLOWED)
        snprintf(label, sizeof label, ALLOWED "%" PRId64 " %s", d->auth_time_us, d->sid);
    else
        snprintf(label, sizeof label, "%s", d->error);
    grant.subject = d->user->id;
    grant.scope = d->scope;
    grant.label = label;
    grant.max_lifetime_s = seconds_to_be_heard(d);
    return issue_once(s, &grant, d->client, user_code, d->session_id, err);
}

/* ---------------------------------------------------------------------------------------------------- polled */

/* RFC 8628 section 3.5: who is told to slow down waits five seconds more from then on; so does who asks twice in one moment. */
static int count_poll(server *s, device *d, otok_error *err)
{
    const int64_t now = now_us();
    bool too_fast = now < d->next_poll_us;
    char notes[80];
    otok_session_change change;
    int64_t interval_s = (d->interval_s != 0 ? d->interval_s : DEVICE_INTERVAL) + (too_fast ? DEVICE_INTERVAL : 0);
    int64_t next_us = now + interval_s * SECOND_US - SECOND_US / 2; /* clocks and networks are not exact */
    snprintf(notes, sizeof notes, "{\"interval_s\":%" PRId64 ",\"next_ms\":%" PRId64 "}", interval_s, next_us / 1000);
    otok_session_change_init(&change, sizeof change);
    change.session_id = d->session_id;
    change.notes = notes;
    int rc = otok_session_update(s->service, &change, err);
    if (too_fast || rc == OTOK_E_CONFLICT)
        d->state = DEVICE_TOO_FAST;
    else if (rc == OTOK_E_NOT_FOUND) /* ended a moment ago */
        d->state = DEVICE_EXPIRED;
    return rc == OTOK_E_CONFLICT || rc == OTOK_E_NOT_FOUND ? OTOK_OK : rc;
}

int device_poll(server *s, const char *device_code, const client *c, device *out, otok_error *err)
{
    char user_code[USER_CODE + 1], label[AGENT_NAME];
    *out = (device){.state = DEVICE_UNKNOWN};
    if (!open_code(s, device_code, c, user_code, label))
        return OTOK_OK;
    int rc = device_find(s, user_code, out, err);
    if (rc == OTOK_OK && out->state == DEVICE_PENDING)
        return count_poll(s, out, err);
    if (out->state == DEVICE_UNKNOWN)
        out->state = DEVICE_EXPIRED;
    memcpy(out->label, label, sizeof label);
    return rc;
}
