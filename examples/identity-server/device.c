/*
 * device.c - the device grant (RFC 8628): what a device asks for, the page on which its user agrees, and what it is told until then.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "device.h"

#define GRANT_TYPE "urn:ietf:params:oauth:grant-type:device_code"

enum { WRONG_CODES = 10 }; /* of one address in five minutes: codes are short (RFC 8628 section 5.1) */

/* "WDJB-MJHT", which is easier to read. */
enum { SHOWN_CODE = USER_CODE + 2 };

static void show_code(const char *user_code, char out[SHOWN_CODE])
{
    snprintf(out, SHOWN_CODE, "%.4s-%.4s", user_code, user_code + 4);
}

/* ---------------------------------------------------------------------------------------------------- the device asks */

/* RFC 8628 section 3.2. */
static void answer_codes(request *r, const char *device_code, const char *user_code)
{
    char shown[SHOWN_CODE];
    text page = {0}, complete = {0};
    show_code(user_code, shown);
    html(&page, "%h/device", r->server->issuer);
    html(&complete, "%h/device?user_code=%u", r->server->issuer, shown);
    cJSON *o = page.failed || complete.failed ? NULL : cJSON_CreateObject();
    bool good = o != NULL && cJSON_AddStringToObject(o, "device_code", device_code) != NULL &&
                cJSON_AddStringToObject(o, "user_code", shown) != NULL &&
                cJSON_AddStringToObject(o, "verification_uri", page.data) != NULL &&
                cJSON_AddStringToObject(o, "verification_uri_complete", complete.data) != NULL &&
                cJSON_AddNumberToObject(o, "expires_in", DEVICE_SECONDS) != NULL &&
                cJSON_AddNumberToObject(o, "interval", DEVICE_INTERVAL) != NULL;
    text_free(&page);
    text_free(&complete);
    if (!good) {
        cJSON_Delete(o);
        o = NULL;
    }
    answer_object(r, 200, o);
}

static void wait_for_user(request *r, const client *c, const char *scopes)
{
    char *device_code = NULL, user_code[USER_CODE + 1];
    device d = {.client = c};
    otok_error err = {0};
    (void)agent_name(request_header(r, "User-Agent"), d.label);
    snprintf(d.ip, sizeof d.ip, "%s", r->ip);
    snprintf(d.scope, sizeof d.scope, "%s", scopes);
    int rc = device_ask(r->server, &d, &device_code, user_code, &err);
    if (rc == OTOK_OK)
        answer_codes(r, device_code, user_code);
    else if (rc == OTOK_E_LIMIT)
        answer_refusal(r, OTOK_E_BUSY, "too many devices are waiting");
    else
        answer_endpoint(r, rc, NULL, &err);
    free(device_code);
}

void do_device_authorization(request *r)
{
    otok_http_request http;
    const char *dpop[2];
    text scopes = {0};
    const client *c = client_asks(r, "/device_authorization", &http, dpop);
    if (c == NULL)
        return;
    client_scopes(c, form_value(r, "scope"), &scopes);
    if (!client_may_use(c, GRANT_TYPE))
        answer_refusal(r, OTOK_E_UNAUTHORIZED_CLIENT, "the client is not registered for the device grant");
    else if (scopes.failed)
        answer_refusal(r, OTOK_E_NOMEM, NULL);
    else if (scopes.len == 0 || scopes.len >= DEVICE_SCOPE)
        answer_refusal(r, OTOK_E_SCOPE, "no scope is asked for that this client may have");
    else
        wait_for_user(r, c, scopes.data);
    text_free(&scopes);
}

/* ---------------------------------------------------------------------------------------------------- the device polls */

/* A response that is lost is harmless: the device code names the grant, and the same one gets the same tokens again. */
static void answer_allowed(request *r, const otok_http_request *http, const device *d, const char *device_code)
{
    const approval a = {
        .client = d->client,
        .user = d->user,
        .scope = d->scope,
        .sid = d->sid,
        .code = device_code,
        .auth_time_us = d->auth_time_us,
        .grant_type = OTOK_GRANT_DEVICE_CODE,
        .label = d->label[0] != '\0' ? d->label : NULL,
        .amr = "pwd",
    };
    answer_tokens(r, http, &a);
}

/* RFC 8628 section 3.5. */
void do_device_token(request *r, const client *c, const otok_http_request *http)
{
    enum { BAD_REQUEST = 400 };
    const char *device_code = form_value(r, "device_code");
    device d = {.state = DEVICE_UNKNOWN};
    otok_error err = {0};
    int rc = device_code != NULL ? device_poll(r->server, device_code, c, &d, &err) : OTOK_OK;
    if (device_code == NULL)
        answer_refusal(r, OTOK_E_INVALID, "device_code is required");
    else if (rc != OTOK_OK)
        answer_endpoint(r, rc, NULL, &err);
    else if (d.state == DEVICE_PENDING)
        answer_oauth_error(r, BAD_REQUEST, "authorization_pending", "the user has not answered yet");
    else if (d.state == DEVICE_TOO_FAST)
        answer_oauth_error(r, BAD_REQUEST, "slow_down", "wait five seconds more between requests");
    else if (d.state == DEVICE_EXPIRED)
        answer_oauth_error(r, BAD_REQUEST, "expired_token", "the user has not answered in time");
    else if (d.state == DEVICE_DENIED)
        answer_oauth_error(r, BAD_REQUEST, d.error, "the user did not allow it, or may not");
    else if (d.state == DEVICE_ALLOWED)
        answer_allowed(r, http, &d, device_code);
    else
        answer_refusal(r, OTOK_E_DENIED, "no such device code, or not of this client");
}

/* ---------------------------------------------------------------------------------------------------- the page */

static void ask_for_code(request *r, int status, const char *typed, const char *problem)
{
    text page = {0};
    html(&page, "<div class=\"narrow\">");
    if (problem != NULL)
        html(&page, "<p class=\"notice notice-bad\" role=\"alert\" id=\"problem\">%s</p>", problem);
    html(&page,
         "<form method=\"get\" action=\"/device\" class=\"card\">"
         "<div class=\"field\"><label for=\"user_code\">Code</label>"
         "<input id=\"user_code\" name=\"user_code\" value=\"%s\" required maxlength=\"20\" autocomplete=\"off\" "
         "autocapitalize=\"characters\" spellcheck=\"false\" aria-describedby=\"hint%h\"%h>"
         "<p class=\"hint\" id=\"hint\">Eight letters that your device shows, such as BCDF-GHJK. Type them only if you "
         "started this yourself.</p></div>"
         "<input type=\"hidden\" name=\"check\" value=\"1\">"
         "<div class=\"actions\"><button class=\"button\">Continue</button></div></form></div>",
         typed, problem != NULL ? " problem" : "", problem != NULL ? " aria-invalid=\"true\"" : "");
    answer_page(r, status, "Connect a device", &page);
}

/* What the user is asked to agree to, with enough about the device to tell a stranger's from his own (RFC 8628 section 5.4). */
static void ask_for_consent(request *r, const char *user_code, const device *d)
{
    char shown[SHOWN_CODE];
    text page = {0};
    show_code(user_code, shown);
    html(&page,
         "<div class=\"card narrow\"><p class=\"lead\"><strong>%s</strong> on another device asks <strong>%s</strong> "
         "(%s) for these permissions:</p>",
         d->client->name, r->login->user->name, r->login->user->id);
    html_permissions(r, d->client, d->scope, &page);
    html(&page, "<dl class=\"facts\"><dt>Code</dt><dd><span class=\"code\">%s</span></dd>", shown);
    if (d->label[0] != '\0')
        html(&page, "<dt>Device</dt><dd>%s</dd>", d->label);
    html(&page, "<dt>Asked from</dt><dd>%s%h</dd><dt>Asked</dt><dd>", d->ip,
         strcmp(d->ip, r->ip) == 0 ? " (the address that you have, too)" : "");
    html_time(&page, d->asked_us, now_us());
    html(&page, "</dd></dl><p class=\"notice notice-warn\">Allow it only if the code is the one that your own "
                "device shows, and nobody sent it to you.</p>"
                "<form method=\"post\" action=\"/device\">");
    html_csrf(r, &page);
    html(&page, "<input type=\"hidden\" name=\"user_code\" value=\"%s\">", user_code);
    html(&page, "<div class=\"actions\">"
                "<button class=\"button\" name=\"answer\" value=\"allow\">Allow</button>"
                "<button class=\"button button-quiet\" name=\"answer\" value=\"refuse\">Refuse</button>"
                "</div></form></div>");
    answer_page(r, 200, "Is this you?", &page);
}

/* The request of a code that somebody typed; false: there is none, and the page says so. */
static bool find_request(request *r, const char *typed, char user_code[USER_CODE + 1], device *out)
{
    otok_error err = {0};
    guesser *from = throttle_enter("device code", r->ip, WRONG_CODES);
    if (from == NULL) {
        ask_for_code(r, 429, NULL,
                     "Too many wrong codes came from here. Wait five minutes, and start again on your device.");
        return false;
    }
    bool is_code = typed != NULL && user_code_read(typed, user_code);
    int rc = is_code ? device_find(r->server, user_code, out, &err) : OTOK_OK;
    bool is_there = rc == OTOK_OK && is_code && out->state == DEVICE_PENDING;
    throttle_leave(from, rc == OTOK_OK && !is_there ? GUESS_FAILED : GUESS_PASSED);
    if (rc != OTOK_OK)
        answer_failure(r, &err);
    else if (!is_there)
        ask_for_code(r, 400, typed, "There is no device with this code, or its time is over. Look at the code again.");
    return is_there;
}

void show_device(request *r)
{
    const char *typed = query_value(r, "user_code");
    char user_code[USER_CODE + 1];
    device d = {.state = DEVICE_UNKNOWN};
    if (typed == NULL || query_value(r, "check") == NULL)
        ask_for_code(r, 200, typed, NULL);
    else if (find_request(r, typed, user_code, &d))
        ask_for_consent(r, user_code, &d);
}

/* ---------------------------------------------------------------------------------------------------- the user's answer */

static void allow(const request *r, device *d, const char *granted)
{
    d->state = DEVICE_ALLOWED;
    d->auth_time_us = r->login->auth_time_us;
    snprintf(d->sid, sizeof d->sid, "%s", r->login->sid);
    snprintf(d->scope, sizeof d->scope, "%s", granted);
}

static void deny(const request *r, device *d, const char *error)
{
    d->state = DEVICE_DENIED;
    d->user = r->login->user;
    snprintf(d->error, sizeof d->error, "%s", error);
}

/* Writes the user's answer to `d`: who may not allow it has not. */
static int decide(const request *r, bool allowed, device *d, otok_error *err)
{
    char *granted = NULL;
    deny(r, d, "access_denied");
    if (!allowed)
        return OTOK_OK;
    int rc = scope_granted(d->client, r->login->user, d->scope, OTOK_GRANT_DEVICE_CODE, &granted, err);
    if (rc == OTOK_OK && d->client->must_consent)
        rc = consent_add(r->server, r->login->user->id, d->client, granted, err);
    if (rc == OTOK_OK)
        allow(r, d, granted);
    free(granted);
    if (rc != OTOK_E_SCOPE)
        return rc;
    deny(r, d, otok_error_oauth(rc));
    return OTOK_OK;
}

static void answer_decided(request *r, bool allowed, const device *d)
{
    if (d->state == DEVICE_ALLOWED) {
        text page = {0};
        html(
            &page,
            "<div class=\"narrow\"><p class=\"notice notice-good\" role=\"status\">%s may now act for you.</p>"
            "<p>Go back to your device; it goes on by itself within a few seconds. What you have allowed is listed "
            "under <a href=\"/account\">your applications and devices</a>, where you can end it at any time.</p></div>",
            d->client->name);
        answer_page(r, 200, "Your device is connected", &page);
    } else if (allowed) {
        answer_problem(r, 403, "Not allowed", "Your account does not have the permission that the device asks for.");
    } else {
        answer_problem(r, 200, "Refused", "The device was told that you refused. Nothing else has happened.");
    }
}

void do_device(request *r)
{
    const char *answer = form_value(r, "answer");
    bool allowed = answer != NULL && strcmp(answer, "allow") == 0;
    char user_code[USER_CODE + 1];
    otok_error err = {0};
    device d = {.state = DEVICE_UNKNOWN};
    if (!find_request(r, form_value(r, "user_code"), user_code, &d))
        return;
    int rc = decide(r, allowed, &d, &err);
    if (rc == OTOK_OK)
        rc = device_answer(r->server, user_code, &d, &err);
    if (rc == OTOK_OK)
        answer_decided(r, allowed, &d);
    else if (rc == OTOK_E_ONCE)
        ask_for_code(r, 400, NULL, "This code was used a moment ago.");
    else
        answer_failure(r, &err);
}
