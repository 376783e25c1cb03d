/*
 * agent.c - a name for a device that its user recognises: "Firefox on Linux", by what its programs say of themselves.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <string.h>

#include "server.h"

struct sign {
    const char *mark, *name;
};

/* Each browser claims to be those below it as well, and each system the ones that it descends from: the first mark counts. */
static const struct sign browsers[] = {
    {"Edg/", "Edge"},        {"EdgA/", "Edge"},     {"OPR/", "Opera"},         {"SamsungBrowser/", "Samsung Internet"},
    {"Firefox/", "Firefox"}, {"FxiOS/", "Firefox"}, {"Chromium/", "Chromium"}, {"CriOS/", "Chrome"},
    {"Chrome/", "Chrome"},   {"Safari/", "Safari"},
};
static const struct sign systems[] = {
    {"Android", "Android"}, {"iPhone", "iPhone"},  {"iPad", "iPad"},   {"CrOS", "ChromeOS"},
    {"Windows", "Windows"}, {"Mac OS X", "macOS"}, {"Linux", "Linux"},
};

static const char *find(const struct sign *signs, size_t n, const char *user_agent)
{
    for (size_t i = 0; i < n; i++) {
        if (strstr(user_agent, signs[i].mark) != NULL)
            return signs[i].name;
    }
    return NULL;
}

/* Other programs begin with their name: "curl/8.5", "python-requests/2.31". */
static void first_word(const char *user_agent, char *out, size_t room)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
    size_t len = strspn(user_agent, letters);
    len = len < room ? len : room - 1;
    memcpy(out, user_agent, len);
    out[len] = '\0';
}

const char *agent_name(const char *user_agent, char out[AGENT_NAME])
{
    out[0] = '\0';
    if (user_agent == NULL)
        return NULL;
    const char *browser = find(browsers, sizeof browsers / sizeof browsers[0], user_agent);
    const char *system = find(systems, sizeof systems / sizeof systems[0], user_agent);
    if (browser != NULL && system != NULL)
        snprintf(out, AGENT_NAME, "%s on %s", browser, system);
    else if (browser != NULL)
        snprintf(out, AGENT_NAME, "%s", browser);
    else
        first_word(user_agent, out, AGENT_NAME);
    return out[0] != '\0' ? out : NULL;
}
