/*
 * linear_run.c - histories, one after another, made by threads; what they had in them.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/crew.h"
#include "support/linear_parts.h"

/* So many realms lie in one store, then it is opened anew. */
enum { HISTORIES_A_STORE = 32 };

int64_t linear_clock_us(void)
{
    return otok_clock_monotonic_us();
}

bool linear_fail(linear_report *report, const char *what, const otok_error *err)
{
    report->violations++;
    (void)snprintf(report->story, sizeof report->story, "%s: %s\n", what, err != NULL ? err->message : "");
    return false;
}

/* ------------------------------------------------------------------------------------------------------------- threads */

typedef struct crew {
    linear_world *world;
    otok_service *service;
    linear_stepper *stepper;
} crew;

static linear_client client_of(const crew *c, unsigned index)
{
    linear_random random = {c->world->seed + index};
    return (linear_client){
        .world = c->world,
        .index = index,
        .random = {linear_next(&random, UINT64_MAX)},
        .service = c->service,
        .stepper = c->stepper,
    };
}

static void work(void *arg, size_t i)
{
    const crew *c = arg;
    linear_client client = client_of(c, (unsigned)i);
    linear_be(&client);
    if (c->stepper != NULL)
        linear_stepper_wait(c->stepper, client.index);
    linear_client_work(&client);
    if (c->stepper != NULL)
        linear_stepper_release(c->stepper, client.index);
    linear_be(NULL);
}

static void audit(const crew *c)
{
    crew alone = {c->world, c->service, NULL};
    linear_client client = client_of(&alone, LINEAR_AUDITOR);
    linear_be(&client);
    linear_client_audit(&client);
    linear_be(NULL);
}

static void run_history(crew *c, int form)
{
    linear_stepper stepper;
    if (form == LINEAR_STEPPED) {
        linear_stepper_init(&stepper, c->world->seed + LINEAR_LOGS);
        linear_stepper_go(&stepper);
        c->stepper = &stepper;
    }
    test_threads(LINEAR_CLIENTS, work, c);
    audit(c);
    if (form == LINEAR_STEPPED)
        linear_stepper_end(&stepper);
    c->stepper = NULL;
}

bool linear_run_threads(const linear_plan *plan, otok_keyring *keyring, linear_report *report)
{
    otok_store *store = NULL;
    otok_error err = {0};
    int rc = OTOK_OK;
    crew c = {.world = calloc(1, sizeof *c.world)};
    int64_t begun_us = linear_clock_us();
    for (uint64_t i = 0; rc == OTOK_OK && c.world != NULL && i < plan->histories; i++) {
        if (plan->most_seconds != 0 && linear_clock_us() - begun_us > plan->most_seconds * OTOK_US_PER_S)
            break;
        if (i % HISTORIES_A_STORE == 0) {
            otok_store_close(store);
            store = NULL;
            rc = linear_store_open(plan->store, &store, &err);
        }
        linear_world_begin(c.world, plan->seed, plan->first + i);
        if (rc == OTOK_OK)
            rc = linear_service_open(c.world, store, keyring, &c.service, &err);
        if (rc == OTOK_OK) {
            run_history(&c, plan->form);
            otok_service_close(c.service);
            linear_judge(c.world, report);
        }
    }
    otok_store_close(store);
    free(c.world);
    return rc == OTOK_OK ? report->violations == 0 : linear_fail(report, "opening", &err);
}

/* ------------------------------------------------------------------------------------------------------------ the run */

bool linear_run(const linear_plan *plan, linear_report *report)
{
    otok_keyring *keyring = NULL;
    otok_error err = {0};
    memset(report, 0, sizeof *report);
    int64_t begun_us = linear_clock_us();
    if (otok_keyring_generate(OTOK_ALG_ES256, &keyring, &err) != OTOK_OK)
        return linear_fail(report, "a keyring", &err);
    bool well = plan->form == LINEAR_PROCESSES ? linear_run_processes(plan, keyring, report)
                                               : linear_run_threads(plan, keyring, report);
    otok_keyring_free(keyring);
    report->seconds = (double)(linear_clock_us() - begun_us) / 1e6;
    return well && report->violations == 0;
}

const char *linear_too_thin(const linear_report *report)
{
    const struct {
        const char *what;
        uint64_t seen, least_percent;
    } shares[] = {
        {"rotations", report->with_rotation, 70},
        {"retries", report->with_retry, 30},
        {"reuse", report->with_reuse, 15},
        {"ends that meet a refresh of their session", report->with_races, 20},
    };
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        if (shares[i].seen * 100 < shares[i].least_percent * report->histories)
            return shares[i].what;
    }
    return report->histories == 0 ? "histories" : NULL;
}

void linear_add(linear_report *sum, const linear_report *report)
{
    sum->histories += report->histories;
    sum->calls += report->calls;
    sum->sessions += report->sessions;
    sum->unknown += report->unknown;
    sum->killed += report->killed;
    sum->with_rotation += report->with_rotation;
    sum->with_retry += report->with_retry;
    sum->with_reuse += report->with_reuse;
    sum->with_races += report->with_races;
    sum->violations += report->violations;
    sum->seconds += report->seconds;
    if (report->story[0] != '\0' && (sum->story[0] == '\0' || report->shortest < sum->shortest)) {
        sum->shortest = report->shortest;
        memcpy(sum->story, report->story, sizeof sum->story);
    }
}
