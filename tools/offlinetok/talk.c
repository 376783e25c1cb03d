/*
 * talk.c - progress, questions, complaints: what goes to standard error.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tool.h"

#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------------------------------- complaints */

/* Formats, and escapes: names of files and records are in it. */
static void say(const char *format, va_list args)
{
    char text[2048];
    (void)vsnprintf(text, sizeof text, format, args);
    (void)fputs("offlinetok: ", stderr);
    print_text(stderr, text);
    (void)fputc('\n', stderr);
}

int complain_usage(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (format != NULL)
        say(format, args);
    va_end(args);
    (void)fputs("Try: offlinetok help, or offlinetok help COMMAND\n", stderr);
    return EXIT_USAGE;
}

int complain_trouble(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
    return EXIT_TROUBLE;
}

int complain_memory(void)
{
    return complain_trouble("out of memory");
}

int complain_interrupted(void)
{
    (void)fputs("offlinetok: interrupted\n", stderr);
    return EXIT_INTERRUPTED;
}

static const struct {
    int code;
    const char *advice;
} advices[] = {
    {OTOK_E_PERMISSION,
     "Run this as the user that the server runs as: files of others, or that others can read, are refused."},
    {OTOK_E_BUSY, "The store was busy for too long: try again."},
    {OTOK_E_CONFLICT, "Something else was written at the same time: try again."},
    {OTOK_E_UNCERTAIN, "Whether that was done is not known: try again, it does no harm."},
    {OTOK_E_FULL, "There is no room left on the disk."},
    {OTOK_E_POLICY, "The policy is at fault: see --policy."},
    {OTOK_E_TAMPERED, "Somebody has changed that record by hand: offlinetok check tells what else."},
};

int complain(const char *doing, const otok_error *err)
{
    if (err->code == OTOK_E_CALLBACK && was_interrupted())
        return complain_interrupted();
    (void)complain_trouble("%s: %s", doing, err->message);
    for (size_t i = 0; i < sizeof advices / sizeof advices[0]; i++) {
        if (advices[i].code == err->code)
            (void)fprintf(stderr, "%s\n", advices[i].advice);
    }
    if (err->code == OTOK_E_INVALID)
        return EXIT_USAGE;
    return err->code == OTOK_E_NOT_FOUND ? EXIT_NONE : EXIT_TROUBLE;
}

void note(const options *o, const char *format, ...)
{
    char text[1024];
    va_list args;
    if (o->quiet)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    print_text(stderr, text);
    (void)fputc('\n', stderr);
}

/* ------------------------------------------------------------------------------------------------------- progress */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

bool was_interrupted(void)
{
    return interrupted != 0;
}

void progress_begin(progress *p, const options *o, const char *what)
{
    /* The second one ends the process, should a call take long to notice the first. */
    const struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    *p = (progress){.what = what, .wanted = !o->quiet && isatty(STDERR_FILENO) != 0, .begun_us = time_now()};
    p->next_us = p->begun_us + 300000; /* short work says nothing */
    p->watching = sigaction(SIGINT, &action, NULL) == 0;
}

static void show(progress *p, uint64_t done, uint64_t total)
{
    char number[NUMBER_ROOM], percent[16] = "";
    if (total != 0 && done <= total)
        (void)snprintf(percent, sizeof percent, "  %d%%", (int)((double)done / (double)total * 100));
    (void)fprintf(stderr, "\r%s  %s%s  %d s\033[K", p->what, number_words(done, number), percent,
                  (int)((time_now() - p->begun_us) / 1000000));
    (void)fflush(stderr);
    p->shown = true;
}

int progress_step(void *arg, uint64_t done, uint64_t total)
{
    progress *p = arg;
    int64_t now_us = time_now();
    if (p->wanted && now_us >= p->next_us) {
        show(p, done, total != 0 ? total : p->total);
        p->next_us = now_us + 100000;
    }
    return was_interrupted();
}

/* What the call has written by then stays, as if it had been killed. */
void progress_event(progress *p)
{
    if (p->watching) {
        (void)signal(SIGINT, SIG_DFL);
        p->watching = false;
        if (was_interrupted())
            (void)raise(SIGINT);
    }
    (void)progress_step(p, ++p->events, 0);
}

void progress_hide(const progress *p)
{
    if (p->shown)
        (void)fputs("\r\033[K", stderr);
}

void progress_end(progress *p)
{
    progress_hide(p);
    if (p->watching)
        (void)signal(SIGINT, SIG_DFL);
    p->shown = p->watching = false;
}

/* ------------------------------------------------------------------------------------------------------- questions */

/* On the terminal, whatever standard input and output are. */
static bool ask(const char *question)
{
    char answer[16] = "";
    FILE *terminal = fopen("/dev/tty", "r+e");
    if (terminal == NULL) {
        (void)fputs("There is no terminal to ask on: --yes says yes.\n", stderr);
        return false;
    }
    print_text(terminal, question);
    (void)fputs(" [y/N] ", terminal);
    (void)fflush(terminal);
    bool yes = fgets(answer, sizeof answer, terminal) != NULL;
    answer[strcspn(answer, "\n")] = '\0';
    (void)fclose(terminal);
    return yes && (strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0);
}

bool confirm(const options *o, const char *format, ...)
{
    char question[2048];
    va_list args;
    if (o->yes)
        return true;
    va_start(args, format);
    (void)vsnprintf(question, sizeof question, format, args);
    va_end(args);
    bool yes = ask(question);
    if (!yes)
        (void)fputs("offlinetok: nothing was done\n", stderr);
    return yes;
}
