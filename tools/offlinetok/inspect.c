/*
 * inspect.c - what an offline token says of itself, and what became of its session.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tool.h"

#include <cjson/cJSON.h>
#include <string.h>
#include <strings.h>

enum { MOST_TOKEN = 4096 };

/* Where a token stands among those of its session. */
static const char *word_of_place(const otok_token_info *info, const otok_session *session)
{
    if (session == NULL)
        return NULL;
    if (info->generation == session->generation)
        return "current";
    return info->generation < session->generation ? "superseded" : "ahead";
}

static int print_json(const place *p, const otok_token_info *info, const otok_session *session)
{
    cJSON *json = cJSON_CreateObject();
    json_add_bool(json, "genuine", info->genuine != 0);
    json_add_text(json, "realm", p->realm);
    json_add_text(json, "key_state", word_of_key_state(info->key_state));
    json_add_number(json, "token_id", info->token_id);
    json_add_number(json, "generation", info->generation);
    json_add_number(json, "issued_us", info->issued_us);
    json_add_text(json, "session_id", info->session_id);
    json_add_text(json, "position", word_of_place(info, session));
    if (session == NULL)
        json_add_text(json, "session", NULL);
    else
        json_add(json, "session", json_of_session(session));
    return json_print(json);
}

static int print_words(const place *p, const otok_token_info *info, const otok_session *session)
{
    char generation[16], issued[TIME_ROOM], key[48];
    time_absolute(info->issued_us, issued);
    (void)snprintf(generation, sizeof generation, "%u", (unsigned)info->generation);
    (void)snprintf(key, sizeof key, "%u, %s", (unsigned)info->token_id, word_of_key_state(info->key_state));
    const char *unknown = info->key_state == 0 ? "cannot be told: its key is not in the keyring"
                                               : "no: it is forged, damaged, or of another realm";
    bool genuine = info->genuine != 0;
    const fact facts[] = {
        {"genuine", genuine ? "yes" : unknown},
        {"realm", p->realm},
        {"MAC key", key},
        {"session", genuine ? info->session_id : NULL},
        {"session issued", genuine ? issued : NULL},
        {"generation", genuine ? generation : NULL},
        {"the token is", word_of_place(info, session)},
        {"the session is", !genuine          ? NULL
                           : session != NULL ? word_of_state(session->state)
                                             : "gone"},
        {"subject", session != NULL ? session->subject : NULL},
        {"client", session != NULL ? session->client_id : NULL},
    };
    facts_print(facts, sizeof facts / sizeof facts[0]);
    return EXIT_DONE;
}

static int inspect(const options *o, const place *p, const char *token)
{
    otok_session *session = NULL;
    otok_token_info info;
    otok_error err;
    otok_token_info_init(&info, sizeof info);
    int code = otok_token_inspect(p->service, token, &info, &err);
    if (code == OTOK_E_TOKEN_INVALID) {
        (void)complain_trouble("%s", err.message);
        return EXIT_NONE;
    }
    if (code == OTOK_OK && info.genuine != 0)
        code = otok_session_get(p->service, info.session_id, &session, &err);
    if (code != OTOK_OK && code != OTOK_E_NOT_FOUND)
        return complain("inspect", &err);
    int rc = o->json ? print_json(p, &info, session) : print_words(p, &info, session);
    if (rc == EXIT_DONE && session == NULL)
        rc = EXIT_NONE;
    otok_session_free(session);
    return rc;
}

static bool read_token(char room[MOST_TOKEN])
{
    bool there = fgets(room, MOST_TOKEN, stdin) != NULL;
    if (there)
        room[strcspn(room, " \r\n")] = '\0';
    return there && *room != '\0';
}

int command_inspect(const options *o)
{
    char room[MOST_TOKEN] = "";
    bool is_stdin = strcmp(o->arguments[0], "-") == 0;
    place p;
    if (is_stdin && (setvbuf(stdin, NULL, _IONBF, 0) != 0 || !read_token(room))) /* no copy in a buffer of stdio's */
        return complain_usage("there is no token on standard input");
    int rc = place_open(o, OPEN_SERVICE, true, &p);
    if (rc == EXIT_DONE) {
        rc = inspect(o, &p, is_stdin ? room : o->arguments[0]);
        place_close(&p);
    }
    explicit_bzero(room, sizeof room);
    return rc;
}
