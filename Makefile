# libofflinetok. `make help` lists the targets, `make V=1` shows the commands, `make BUILD=dir` builds elsewhere.
# Sources are found by their names: a new file in lib/, tests/, examples/ or man/ needs no line here.

BUILD = build
SHELL = /bin/bash

.PHONY: all
all: # the first target is the default; what it builds is said below
.DELETE_ON_ERROR:
.SUFFIXES:

# ---- Configuration ----
# ./configure leaves config.mk here; run in another directory, there, and that is BUILD then. make runs it when it must.
# In `make deps demo` the packages come first: hence the order-only prerequisite, and no config.mk for what needs none.

CONFIG       = $(firstword $(wildcard $(BUILD)/config.mk) config.mk)
UNCONFIGURED = help deps deps-dev clean distclean format layers

ifneq ($(filter-out $(UNCONFIGURED),$(or $(MAKECMDGOALS),all)),)
include $(CONFIG)
endif

$(CONFIG): configure config.mk.in $(wildcard pkgconfig/*.pc.in)
	$(call say,CONF,$@)
	$(Q)cd $(@D) && if test -x config.status; then ./config.status --recheck >config.out && ./config.status -q; \
	 else $(CURDIR)/configure -q; fi && rm -f config.out

configure: configure.ac | $(if $(filter deps deps-dev,$(MAKECMDGOALS)),packages)
	@command -v autoconf >/dev/null || { echo 'autoconf is missing: make deps'; exit 1; }
	$(call say,CONF,$@)
	$(Q)autoconf && rm -rf autom4te.cache

# ---- Flags ----
# CFLAGS, CPPFLAGS and LDFLAGS are the user's; ours come before them, so that the user has the last word.

WARNINGS     = -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes $(if $(filter 1,$(WERROR)),-Werror)
WARNINGS_LIB = -Wpedantic -Wconversion -Wmissing-prototypes

# The library fortifies itself when it is optimised, unless the packager already chose a level.
FORTIFY = $(if $(and $(HARDEN_CFLAGS),$(filter-out -O0,$(filter -O%,$(CFLAGS)))),$(if \
  $(findstring FORTIFY,$(CPPFLAGS) $(CFLAGS)),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2))

COMPILE = $(CC) -std=c11 $(DEFS) -Iinclude $(WARNINGS) $(HARDEN_CFLAGS) $(FORTIFY) \
          -fPIC -fvisibility=hidden -pthread $(CPPFLAGS) $(CFLAGS)
LINK    = $(CC) -pthread $(CFLAGS) $(HARDEN_LDFLAGS) $(LDFLAGS)
ALL_LIBS = $(CRYPTO_LIBS) $(CJSON_LIBS) $(LMDB_LIBS) $(LIBS)

LIB_FLAGS  = -Ilib -DOTOK_VERSION='"$(VERSION)"' $(if $(HAVE_LMDB),-DOTOK_HAVE_LMDB=1) \
             $(CRYPTO_CFLAGS) $(CJSON_CFLAGS) $(LMDB_CFLAGS)
TEST_FLAGS = $(LIB_FLAGS) -Itests $(shell $(PKG_CONFIG) --cflags check 2>/dev/null)
TEST_LIBS  = $(or $(shell $(PKG_CONFIG) --libs check 2>/dev/null),$(error Check is missing: make deps))

ifneq ($(V),1)
Q   = @
say = @printf '%-5s %s\n' $1 $2
endif

# ---- Library ----

LIB_SRC  := $(sort $(filter-out lib/postgres/%,$(wildcard lib/*/*.c)))
HEADERS  := $(sort $(filter-out %/postgres.h,$(wildcard include/offlinetok/*.h)))
OBJ       = $(BUILD)/obj
LIB_OBJ   = $(LIB_SRC:%.c=$(OBJ)/%.o)
SONAME    = libofflinetok.so.$(firstword $(subst ., ,$(VERSION)))
LIB_A     = $(BUILD)/libofflinetok.a
LIB_SO    = $(BUILD)/libofflinetok.so.$(VERSION)
MAP       = $(BUILD)/offlinetok.map

# libofflinetok-postgres is a user of that: of its public headers, and its shared library. Where there is libpq.
PG_SRC   := $(sort $(wildcard lib/postgres/*.c))
PG_HEADER = include/offlinetok/postgres.h
PG_OBJ    = $(PG_SRC:%.c=$(OBJ)/%.o)
PG_FLAGS  = -Ilib $(PQ_CFLAGS)
PG_SONAME = libofflinetok-postgres.so.$(firstword $(subst ., ,$(VERSION)))
PG_A      = $(BUILD)/libofflinetok-postgres.a
PG_SO     = $(BUILD)/libofflinetok-postgres.so.$(VERSION)
PG_MAP    = $(BUILD)/offlinetok-postgres.map

all: $(LIB_A) $(LIB_SO)

$(OBJ)/lib/%.o:      FLAGS = $(WARNINGS_LIB) $(LIB_FLAGS)
$(OBJ)/tests/%.o:    FLAGS = $(TEST_FLAGS)
$(OBJ)/examples/%.o: FLAGS = $(WARNINGS_LIB)

$(OBJ)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(COMPILE) $(FLAGS) -MMD -MP -c -o $@ $<

# Other flags, other objects: this file changes when the commands do.
$(BUILD)/flags: FORCE
	$(shell mkdir -p $(@D))$(file >$@.new,$(COMPILE) $(LIB_FLAGS) $(LINK) $(ALL_LIBS) $(PG_FLAGS) $(PQ_LIBS))
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

# Made anew each time, or the members of deleted sources would stay.
$(LIB_A): $(LIB_OBJ)
$(PG_A): $(PG_OBJ)
$(LIB_A) $(PG_A):
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# One list says what is exported, and since when. A version's node inherits from the one before.
$(BUILD)/%.map: lib/%.syms
	@mkdir -p $(@D)
	$(call say,GEN,$@)
	$(Q)grep -E '^otok_' $< | sort -k2,2V -k1,1 | awk ' \
	  $$2 != node { if (node) print "}" last ";"; last = node ? " " node : ""; node = $$2; print node " {\n  global:" } \
	              { print "    " $$1 ";" } \
	  END         { print node ? "  local: *;\n}" last ";" : "{ local: *; };" }' >$@

# nodelete: OpenSSL's handlers and our threads' callers may outlive a dlclose.
$(LIB_SO): $(LIB_OBJ) $(MAP)
	$(call say,LD,$@)
	$(Q)$(LINK) -shared -Wl,-soname,$(SONAME) -Wl,--version-script,$(MAP) -Wl,-z,nodelete -o $@ $(LIB_OBJ) $(ALL_LIBS)
	$(Q)ln -sf $(@F) $(BUILD)/$(SONAME) && ln -sf $(SONAME) $(BUILD)/libofflinetok.so

.PHONY: postgres
all: $(if $(HAVE_POSTGRES),postgres)
postgres: $(PG_A) $(PG_SO) ## libofflinetok-postgres; part of `make` where there is libpq

$(OBJ)/lib/postgres/%.o: FLAGS = $(WARNINGS_LIB) $(PG_FLAGS)

$(PG_SO): $(PG_OBJ) $(PG_MAP) $(LIB_SO)
	$(call say,LD,$@)
	$(Q)$(LINK) -shared -Wl,-soname,$(PG_SONAME) -Wl,--version-script,$(PG_MAP) -Wl,-z,nodelete -o $@ $(PG_OBJ) \
	  -L$(BUILD) -lofflinetok $(PQ_LIBS) $(LIBS)
	$(Q)ln -sf $(@F) $(BUILD)/$(PG_SONAME) && ln -sf $(PG_SONAME) $(BUILD)/libofflinetok-postgres.so

# ---- Examples ----
# Built as a user would: the public headers, the shared library, nothing else.

EXAMPLE_SRC := $(sort $(wildcard examples/*.c))
EXAMPLES     = $(EXAMPLE_SRC:%.c=$(BUILD)/%)
USER_LIBS    = -L$(BUILD) -lofflinetok -Wl,-rpath,$(abspath $(BUILD)) $(LDFLAGS)

$(EXAMPLES): $(BUILD)/%: $(OBJ)/%.o $(LIB_SO)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -pthread $(CFLAGS) -o $@ $< $(USER_LIBS)

.PHONY: demo
demo: $(BUILD)/examples/quickstart ## the story that examples/quickstart.c tells
	@$<

# The identity server: every file in its folder, and the style sheet as bytes in C, so that the program runs from anywhere.

SERVER_DIR  := examples/identity-server
SERVER_SRC  := $(sort $(wildcard $(SERVER_DIR)/*.c))
SERVER       = $(BUILD)/$(SERVER_DIR)/identity-server
SERVER_STYLE = $(OBJ)/$(SERVER_DIR)/style
SERVER_OBJ   = $(SERVER_SRC:%.c=$(OBJ)/%.o) $(SERVER_STYLE).o
SERVER_LIBS  = $(if $(HAVE_POSTGRES),-lofflinetok-postgres) -lmicrohttpd -lcurl $(CJSON_LIBS) $(CRYPTO_LIBS)

$(OBJ)/$(SERVER_DIR)/%.o: FLAGS = $(WARNINGS_LIB) $(SERVER_FLAGS)
SERVER_FLAGS = -I$(SERVER_DIR) $(CJSON_CFLAGS) $(CRYPTO_CFLAGS) -DDEMO_DIRECTORY='"$(abspath $(SERVER_DIR)/demo.json)"' \
               $(if $(HAVE_POSTGRES),-DHAVE_POSTGRES)

$(SERVER_STYLE).c: $(SERVER_DIR)/style.css
	@mkdir -p $(@D)
	$(call say,GEN,$@)
	$(Q){ echo '#include "server.h"'; echo 'const unsigned char style_css[] = {'; \
	  od -An -v -tu1 $< | sed 's/[0-9][0-9]*/&,/g'; echo '};'; echo 'const size_t style_css_len = sizeof style_css;'; } >$@

$(SERVER_STYLE).o: $(SERVER_STYLE).c $(BUILD)/flags
	$(Q)$(COMPILE) $(WARNINGS_LIB) $(SERVER_FLAGS) -MMD -MP -c -o $@ $<

$(SERVER): $(SERVER_OBJ) $(LIB_SO) $(if $(HAVE_POSTGRES),$(PG_SO))
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -pthread $(CFLAGS) -o $@ $(SERVER_OBJ) $(USER_LIBS) $(SERVER_LIBS)

.PHONY: identity-server demo-server
identity-server: $(SERVER) ## examples/identity-server: an OpenID provider, as a user of the library would write it

demo-server: $(SERVER) ## starts it, with a web application and a files API that use it: open http://localhost:8080/
	@$(SERVER_DIR)/demo.sh $<

# ---- The command ----
# Built as a user would, too. What is installed is linked anew: in BUILD it finds the library beside it, there where it is installed.

TOOL_SRC   := $(sort $(wildcard tools/offlinetok/*.c))
TOOL_OBJ    = $(TOOL_SRC:%.c=$(OBJ)/%.o)
TOOL        = $(BUILD)/offlinetok
TOOL_WORDS  = tools/offlinetok.bash
TOOL_FLAGS  = $(CJSON_CFLAGS)
TOOL_LINK   = $(CC) -pthread $(CFLAGS) $(HARDEN_LDFLAGS)
TOOL_RPATH  = $(if $(filter /usr/lib /usr/lib/% /lib /lib/%,$(libdir)),,-Wl$(comma)-rpath$(comma)$(libdir))
comma      := ,
completions = $(datadir)/bash-completion/completions

all: $(TOOL)
$(OBJ)/tools/%.o: FLAGS = $(WARNINGS_LIB) $(TOOL_FLAGS)

$(TOOL): $(TOOL_OBJ) $(LIB_SO)
	$(call say,LD,$@)
	$(Q)$(TOOL_LINK) -o $@ $(TOOL_OBJ) $(USER_LIBS) $(CJSON_LIBS)

# ---- Tests ----
# check_*.c are Check programs, fuzz_*.c define LLVMFuzzerTestOneInput, fault/crash_*.c take a number of kills; what else
# is in fault/ is a long run with a target of its own. All are linked with the static library, to reach what is hidden,
# and with tests/support. A program that needs more of the
# linker says so in a line of its own: /* link: -Wl,--wrap=malloc */
# metrics/ has a program that writes OpenMetrics text, and a script that reads it.
# tools/ has scripts that drive the command, and a host that issues meanwhile.
# bindings/ has scripts that use the shared library from Python, and write the C that tells how a compiler lays it out.

SUPPORT   := $(sort $(wildcard tests/support/*.c))
TEST_SRC  := $(sort $(filter-out tests/postgres/%,$(wildcard tests/check_*.c tests/*/check_*.c)))
CRASH_SRC := $(sort $(wildcard tests/fault/crash_*.c))
LONG_SRC  := $(sort $(filter-out $(TEST_SRC) $(CRASH_SRC),$(wildcard tests/fault/*.c)))
FUZZ_SRC  := $(sort $(wildcard tests/fuzz/fuzz_*.c))
TESTS      = $(TEST_SRC:%.c=$(BUILD)/%)
CRASHES    = $(CRASH_SRC:%.c=$(BUILD)/%)
LONG_RUNS  = $(LONG_SRC:%.c=$(BUILD)/%)
FUZZERS    = $(FUZZ_SRC:%.c=$(BUILD)/%)
METRICS    = $(BUILD)/tests/metrics/print_metrics
TOOL_HOST  = $(BUILD)/tests/tools/host
TEST_PARTS = $(SUPPORT:%.c=$(OBJ)/%.o) $(LIB_A)

# Python is not built with a sanitizer, and cannot load a library that is.
BINDINGS  := $(if $(findstring -fsanitize,$(CFLAGS)),,ctypes cffi)
LAYOUTS    = $(BINDINGS:%=$(BUILD)/tests/bindings/layout_%)
PLAIN      = $(BUILD)/tests/bindings/headers.i

# What runs an input through a fuzz target: ours, that replays files, or the engine that `make fuzz` names.
FUZZ_ENGINE = $(OBJ)/tests/fuzz/replay.o
$(FUZZERS): $(filter %.o,$(FUZZ_ENGINE))
$(FUZZERS): MAIN = $(FUZZ_ENGINE)

$(TESTS) $(CRASHES) $(LONG_RUNS) $(FUZZERS) $(METRICS) $(TOOL_HOST): $(BUILD)/%: $(OBJ)/%.o $(TEST_PARTS)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(LINK) -o $@ $< $(MAIN) $(TEST_PARTS) \
	  $(shell sed -n 's|^/\* link: \(.*\) \*/$$|\1|p' $*.c) $(TEST_LIBS) $(ALL_LIBS)

# What of the identity server needs no HTTP is tested like the library.
IDENTITY_TESTS = $(filter $(BUILD)/tests/check_identity_%,$(TESTS))
IDENTITY_PARTS = $(patsubst %,$(OBJ)/$(SERVER_DIR)/%.o,device_table directory directory_read password throttle html seal)
$(IDENTITY_TESTS): $(IDENTITY_PARTS)
$(IDENTITY_TESTS): MAIN = $(IDENTITY_PARTS)

# The public headers for those who have no preprocessor, and what they include left out.
$(PLAIN): $(HEADERS)
	@mkdir -p $(@D)
	$(call say,GEN,$@)
	$(Q)sed '/^#include/d' $(HEADERS) | $(CC) -E -P -x c - >$@

$(BUILD)/tests/bindings/layout_%.c: $(wildcard tests/bindings/*.py) $(PLAIN)
	$(call say,GEN,$@)
	$(Q)$(PYTHON) -B tests/bindings/check_$*.py $(PLAIN) >$@

$(LAYOUTS): %: %.c $(HEADERS) $(BUILD)/flags
	$(call say,CC,$<)
	$(Q)$(COMPILE) -o $@ $<

# The command lines for tests/run.sh. CK_DEFAULT_TIMEOUT: Check's own four seconds are too few for a busy machine.
define newline


endef
fuzz_corpus  = $(wildcard tests/fuzz/corpus/$(patsubst fuzz_%,%,$(notdir $1)))
list_tests   = $(foreach p,$1,suite $(p:$(BUILD)/%=%) $(WRAP) $p$(newline))
list_replays = $(foreach p,$(FUZZERS),exit $(p:$(BUILD)/%=%) $p $(call fuzz_corpus,$p)$(newline))
list_demos   = $(foreach p,$(EXAMPLES),exit $(p:$(BUILD)/%=%) cd "$$TMPDIR" && $(abspath $p)$(newline))
list_metrics = exit tests/metrics/check_metrics $(WRAP) $(METRICS) "$$TMPDIR" && $(PYTHON) \
               tests/metrics/check_metrics.py "$$TMPDIR"$(newline)
list_binding = suite tests/bindings/check_$1 $(BUILD)/tests/bindings/layout_$1 >"$$TMPDIR/layout" && $(PYTHON) -B \
               tests/bindings/check_$1.py $(PLAIN) $(abspath $(LIB_SO)) "$$TMPDIR/layout"$(newline)
list_bindings = $(foreach b,$(BINDINGS),$(call list_binding,$b))
TOOL_TESTS  := $(sort $(wildcard tests/tools/check_*.py))
list_tools   = $(foreach t,$(TOOL_TESTS),suite $(t:.py=) $(WRAP) $(PYTHON) -B $t $(TOOL) $(TOOL_HOST)$(newline))
RUN          = CK_DEFAULT_TIMEOUT=60 tests/run.sh

# The system's own, which the Debian package of the parser is for.
PYTHON = /usr/bin/python3

.PHONY: check check-list check-metrics check-bindings check-tools
check: all $(TESTS) $(FUZZERS) $(EXAMPLES) $(METRICS) $(TOOL_HOST) $(LAYOUTS) ## every test, example, fuzz corpus and documented example
	$(file >$(BUILD)/check.list,$(call list_tests,$(TESTS))$(list_replays)$(list_demos)$(list_metrics)$(list_bindings)$(list_tools))
	@CC='$(COMPILE)' LIBS='$(USER_LIBS)' tests/lint/examples.sh $(BUILD)/docs >>$(BUILD)/check.list
	@$(RUN) $(BUILD)/check.list

check-metrics: $(METRICS) ## the OpenMetrics text of real services, read by the parser of the Prometheus project
	$(file >$(BUILD)/metrics.list,$(list_metrics))
	@$(RUN) $(BUILD)/metrics.list

check-tools: $(TOOL) $(TOOL_HOST) ## the command offlinetok, driven as an administrator would
	$(file >$(BUILD)/tools.list,$(list_tools))
	@$(RUN) $(BUILD)/tools.list

check-bindings: all $(LAYOUTS) ## the shared library from Python: ctypes by hand, and cffi from the public headers
	$(file >$(BUILD)/bindings.list,$(list_bindings))
	@$(RUN) $(BUILD)/bindings.list

# A build of its own for each sanitizer. Hardening is off: fortified calls hide from them.
SUBMAKE = +$(Q)$(MAKE) --no-print-directory CONFIG=$(abspath $(CONFIG)) HARDEN_CFLAGS= HARDEN_LDFLAGS=
SANITIZE  = -g -O1 -fno-omit-frame-pointer -fno-sanitize-recover=all
ASAN      = $(SANITIZE) -fsanitize=address,undefined
TSAN      = $(SANITIZE) -fsanitize=thread
FUZZ      = $(SANITIZE) -fsanitize=fuzzer-no-link,address,undefined

.PHONY: check-asan check-tsan check-valgrind check-crash check-million check-stress check-linear cover fuzz fuzz-run
check-asan: ## the same under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer
	$(SUBMAKE) BUILD=$(BUILD)/asan CFLAGS='$(ASAN)' RUN='CK_TIMEOUT_MULTIPLIER=5 LIMIT=900 $(RUN)' check

# TSan cannot map its shadow where a kernel randomises addresses too widely; setarch -R turns that off, where it may.
# Of the tests those in which threads or processes meet: it has nothing to say of the others.
THREADED = $(shell grep -lE 'pthread|support/(crew|crash|engine|linear|stress)\.h' $(TEST_SRC))
check-tsan: ## those of threads and processes under ThreadSanitizer
	$(SUBMAKE) BUILD=$(BUILD)/tsan CFLAGS='$(TSAN)' TEST_SRC='$(THREADED)' WRAP="$$(setarch -R true 2>/dev/null && echo setarch -R)" \
	  RUN='TSAN_OPTIONS=halt_on_error=1 CK_TIMEOUT_MULTIPLIER=10 LIMIT=900 $(RUN)' check

# Not tests/fault: its kills, and its own allocators, are of no use under a tool that puts itself in between.
check-valgrind: all $(TESTS) ## the test programs under valgrind
	$(file >$(BUILD)/valgrind.list,$(call list_tests,$(filter-out $(BUILD)/tests/fault/%,$(TESTS))))
	@sed -i 's|^\(suite [^ ]*\)|\1 valgrind -q --leak-check=full --error-exitcode=99 --child-silent-after-fork=yes|' \
	  $(BUILD)/valgrind.list
	@CK_FORK=no LIMIT=1800 $(RUN) $(BUILD)/valgrind.list

CRASH_KILLS = 10000
check-crash: $(CRASHES) ## the long kill -9 loops (CRASH_KILLS=10000)
	@for p in $(CRASHES); do echo "$$p $(CRASH_KILLS)"; $$p $(CRASH_KILLS) || exit 1; done

check-million: $(BUILD)/tests/fault/million ## a million sessions on LMDB: issued, listed, refreshed, moved, checked, backed up, swept, memory watched
	@$<

STRESS_SECONDS = 10
STRESS_THREADS = 64
check-stress: $(BUILD)/tests/fault/stress_refresh ## threads refreshing one token: one generation an answer, nobody refused
	@$< $(STRESS_SECONDS) $(STRESS_THREADS)

LINEAR_HISTORIES = 10000
check-linear: $(BUILD)/tests/fault/linear ## random histories of 8 clients, on every store: each linearizable (LINEAR_HISTORIES=10000)
	@$< $(LINEAR_HISTORIES)

cover: ## line and branch coverage of each library file (COVER_STRICT=1: fail where 100% is promised)
	@find $(BUILD)/cover -name '*.gcda' -delete 2>/dev/null; true
	$(SUBMAKE) BUILD=$(BUILD)/cover CFLAGS='-g -O0 --coverage' check
	@tests/lint/cover.sh $(OBJ:$(BUILD)/%=$(BUILD)/cover/%) $(LIB_SRC)

FUZZ_SECONDS = 60
fuzz: ## every fuzzer for FUZZ_SECONDS=60, with clang; what it finds goes to BUILD/fuzz/findings
	@$(call need,clang)
	$(SUBMAKE) BUILD=$(BUILD)/fuzz CC=clang CFLAGS='$(FUZZ)' FUZZ_ENGINE=-fsanitize=fuzzer fuzz-run

# New inputs go to a corpus in BUILD; the one in the sources is only read.
fuzz-run: $(FUZZERS)
	@mkdir -p $(BUILD)/findings $(FUZZERS:%=%.corpus)
	$(file >$(BUILD)/fuzz.list,$(foreach p,$(FUZZERS),exit $(p:$(BUILD)/%=%) $p \
	  -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 \
	  -artifact_prefix=$(BUILD)/findings/$(notdir $p)- $p.corpus $(call fuzz_corpus,$p)$(newline)))
	@LIMIT=$$(($(FUZZ_SECONDS) + 120)) $(RUN) $(BUILD)/fuzz.list

# ---- End to end ----
# The identity server, driven by real clients and a real browser. The tests are copied to BUILD/e2e, beside the packages of
# npm and PyPI that they need: fetched once for each state of the lock files, and checked against their hashes.
# e2e/check_*.mjs run on Node, check_*.py on Python; CHROMIUM is the browser.

E2E        = $(abspath $(BUILD)/e2e)
E2E_SRC   := $(sort $(wildcard tests/e2e/* tests/e2e/support/*))
# The longest first.
E2E_TESTS := $(notdir $(filter tests/e2e/check_%.py,$(E2E_SRC)) $(filter tests/e2e/check_%.mjs,$(E2E_SRC)))
E2E_JOBS   = 3
CHROMIUM  ?= chromium

packages_first = $(if $(filter deps deps-dev,$(MAKECMDGOALS)),packages)

$(E2E)/node_modules/.up-to-date: tests/e2e/package.json tests/e2e/package-lock.json | $(packages_first)
	@command -v node >/dev/null && command -v npm >/dev/null || { echo 'Node and npm are missing: make deps check-e2e'; exit 1; }
	@mkdir -p $(E2E) && cp $^ $(E2E)
	$(call say,NPM,$(@D))
	$(Q)cd $(E2E) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >npm.log 2>&1 || { cat npm.log; exit 1; }
	@touch $@

$(E2E)/venv/.up-to-date: tests/e2e/requirements.txt | $(packages_first)
	@mkdir -p $(E2E) && rm -rf $(E2E)/venv
	$(call say,PIP,$(@D))
	$(Q)$(PYTHON) -m venv $(E2E)/venv && $(E2E)/venv/bin/pip install -q --disable-pip-version-check --require-hashes -r $<
	@touch $@

# The example programs also with the Authlib of the system, where it is installed: it is older.
list_e2e = suite tests/e2e/$(basename $1) cd $(E2E) && exec $(if $(filter %.py,$1),venv/bin/python -B,node) $1$(newline)
list_e2e_system = $(if $(shell $(PYTHON) -c 'import authlib, flask, requests; print(1)' 2>/dev/null),suite \
  tests/e2e/check_programs/system cd $(E2E) && OTOK_E2E_PYTHON=$(PYTHON) exec $(PYTHON) -B check_programs.py$(newline))

.PHONY: check-e2e screenshots
check-e2e: $(SERVER) $(E2E)/node_modules/.up-to-date $(E2E)/venv/.up-to-date ## the identity server with real clients and a real browser
	@command -v $(CHROMIUM) >/dev/null || { echo '$(CHROMIUM) is missing: make deps check-e2e'; exit 1; }
	@rm -rf $(E2E)/support $(E2E)/check_* $(E2E)/screenshots && cp -R $(filter-out %.txt %.json,$(wildcard tests/e2e/*)) $(E2E)
	$(file >$(BUILD)/e2e.list,$(list_e2e_system)$(foreach t,$(E2E_TESTS),$(call list_e2e,$t)))
	@OTOK_E2E_SERVER=$(abspath $(SERVER)) OTOK_E2E_SOURCE=$(CURDIR) OTOK_E2E_PYTHON=$(E2E)/venv/bin/python \
	  OTOK_E2E_NODE="$$(command -v node)" OTOK_E2E_SCREENSHOTS=$(E2E)/screenshots CHROMIUM="$$(command -v $(CHROMIUM))" \
	  JOBS=$(E2E_JOBS) LIMIT=170 tests/run.sh $(BUILD)/e2e.list

screenshots: check-e2e ## the same, and docs/screenshots made anew
	@mkdir -p docs/screenshots && cp $(E2E)/screenshots/*.png docs/screenshots/

# ---- PostgreSQL ----
# tests/postgres/check_*.c are Check programs, others with a main() long runs; the rest is linked with each of them. They find a
# server in OTOK_TEST_POSTGRES, and make more of them with tests/postgres/cluster.sh. Linked with instead_of_lmdb.c, the tests
# that stand on LMDB are run here once more, on PostgreSQL.

PG_TEST_SRC := $(sort $(wildcard tests/postgres/check_*.c))
PG_LONG_SRC := $(sort $(filter-out $(PG_TEST_SRC),$(shell grep -l '^int main' tests/postgres/*.c)))
PG_INSTEAD   = $(OBJ)/tests/postgres/instead_of_lmdb.o
PG_SLOW      = $(addprefix $(BUILD)/tests/postgres/check_,memory proxy failover plans)
PG_TESTS     = $(filter-out $(PG_SLOW),$(PG_TEST_SRC:%.c=$(BUILD)/%))
PG_LONG      = $(PG_LONG_SRC:%.c=$(BUILD)/%)
PG_PARTS     = $(PG_INSTEAD) $(filter-out $(patsubst %.c,$(OBJ)/%.o,$(PG_TEST_SRC) $(PG_LONG_SRC)) $(PG_INSTEAD),$(patsubst %.c,$(OBJ)/%.o,$(sort \
               $(wildcard tests/postgres/*.c)))) $(SUPPORT:%.c=$(OBJ)/%.o) $(PG_A) $(LIB_A)
PG_SAME_SRC  = $(addprefix check_,races revoke_races cap_races consent_races once_races adoption_races \
               adoption endpoint_token_trouble introspect_ends issue keys_live logout mistakes_nodes once_issue outbox outbox_full \
               refresh_rotation revoke_matching sweep sweep_meets tampering transfer transfer_sessions) \
               fault/check_linear
PG_SAME_SLOW = $(BUILD)/postgres/fault/check_crash
PG_CRASH     = $(BUILD)/postgres/fault/crash_engine
PG_KILLS     = 40
PG_SAME      = $(PG_SAME_SRC:%=$(BUILD)/postgres/%)
PG_LINK      = $(LINK) -o $@ $< $(filter %.o %.a,$(filter-out $<,$^)) $(shell sed -n 's|^/\* link: \(.*\) \*/$$|\1|p' \
               $(patsubst $(OBJ)/%.o,%.c,$<)) $(TEST_LIBS) $(PQ_LIBS) $(ALL_LIBS)
PG_RUN       = OTOK_BUILD=$(abspath $(BUILD)) tests/postgres/cluster.sh run

$(OBJ)/tests/postgres/%.o: FLAGS = $(TEST_FLAGS) $(PQ_CFLAGS)

$(PG_TESTS) $(PG_SLOW) $(PG_LONG): $(BUILD)/%: $(OBJ)/%.o $(PG_PARTS)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(PG_LINK)

$(BUILD)/postgres/%: $(OBJ)/tests/%.o $(PG_INSTEAD) $(SUPPORT:%.c=$(OBJ)/%.o) $(PG_A) $(LIB_A)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(PG_LINK) -Wl,--wrap=otok_store_open_lmdb

.PHONY: check-postgres check-postgres-slow check-failover bench-postgres
check-postgres: $(packages_first) $(PG_TESTS) $(PG_SAME) ## what PostgreSQL shares with the other stores, in a cluster of its own
	$(file >$(BUILD)/postgres.list,$(call list_tests,$(PG_TESTS) $(PG_SAME)))
	@$(PG_RUN) env $(RUN) $(BUILD)/postgres.list

check-postgres-slow: $(packages_first) $(PG_SLOW) $(PG_SAME_SLOW) $(PG_CRASH) ## on PostgreSQL: no memory, kills, failovers, messages cut off
	@$(PG_RUN) $(filter %/check_plans,$(PG_SLOW)) # alone: whoever reads holds a snapshot, which keeps rows from being updated in place
	$(file >$(BUILD)/postgres.list,$(call list_tests,$(filter-out %/check_plans,$(PG_SLOW)) $(PG_SAME_SLOW))exit $(PG_CRASH:$(BUILD)/%=%) $(PG_CRASH) $(PG_KILLS)$(newline))
	@$(PG_RUN) env $(RUN) $(BUILD)/postgres.list

ROUNDS = 100
check-failover: $(packages_first) $(BUILD)/tests/postgres/failover $(BUILD)/tests/postgres/proxy_run ## primaries killed under load, messages spoiled (ROUNDS=100)
	@$(PG_RUN) $(BUILD)/tests/postgres/failover $(ROUNDS)
	@$(PG_RUN) $(BUILD)/tests/postgres/proxy_run $(ROUNDS)

bench-postgres: $(packages_first) $(BUILD)/tests/postgres/bench ## refreshes a second on PostgreSQL, beside pgbench
	@$(PG_RUN) $<

# ---- Lint ----
# `make -k lint` goes on after a finding; each part can be run alone.

LINTS = lint-format lint-headers lint-syms lint-man lint-shell lint-cppcheck lint-tidy layers
.PHONY: lint format syms $(LINTS)
lint: $(LINTS) ## clang-format, headers, symbols, man pages, scripts, cppcheck, clang-tidy, layers

need    = command -v $1 >/dev/null || { echo '$1 is missing: make deps-dev'; exit 1; }
C_FILES = $(sort $(wildcard $(foreach d,include/* lib/* tests tests/* examples examples/* tools/*,$d/*.c $d/*.h)))
MAN     = $(sort $(wildcard man/*.[137]))

format: ## clang-format the tree
	@$(call need,clang-format)
	@clang-format -i $(C_FILES)

lint-format:
	@$(call need,clang-format)
	$(call say,LINT,clang-format)
	$(Q)clang-format --dry-run -Werror $(C_FILES)

# Every public header compiles alone, as C89 and as C++.
lint-headers:
	@$(call need,clang); $(call need,g++)
	$(call say,LINT,headers)
	$(Q)for h in $(patsubst include/%,%,$(HEADERS) $(PG_HEADER)); do for cc in 'gcc -x c -std=c89' 'clang -x c -std=c89' 'g++ -x c++'; do \
	  echo "#include <$$h>" | $$cc -Iinclude -Wall -Wextra -pedantic -Werror -fsyntax-only - || exit 1; done; done

lint-syms: all
	$(call say,LINT,symbols)
	$(Q)NM='$(NM)' VERSION='$(VERSION)' tests/lint/syms.sh check $(LIB_SO) \
	  $(if $(HAVE_POSTGRES),&& NM='$(NM)' VERSION='$(VERSION)' tests/lint/syms.sh check $(PG_SO) offlinetok-postgres)

lint-man:
	@$(call need,mandoc)
	$(call say,LINT,man)
	$(Q)test -z '$(MAN)' || mandoc -Tlint -Wwarning $(MAN)

lint-shell:
	@$(call need,shellcheck)
	$(call say,LINT,shellcheck)
	$(Q)grep -rlE --exclude-dir=corpus '^#!.*[/ ](ba)?sh( |$$)' .ci tests examples tools 2>/dev/null | xargs shellcheck $(TOOL_WORDS)

lint-cppcheck:
	@$(call need,cppcheck)
	$(call say,LINT,cppcheck)
	$(Q)cppcheck -q -j2 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 --std=c11 \
	  --suppress=missingIncludeSystem -Iinclude -Ilib $(DEFS) -DOTOK_HAVE_LMDB=1 lib examples tools

lint-tidy:
	@$(call need,clang-tidy)
	$(call say,LINT,clang-tidy)
	$(Q)printf '%s\n' $(LIB_SRC) $(EXAMPLE_SRC) | xargs -P2 -I{} clang-tidy --quiet {} -- -std=c11 $(DEFS) -Iinclude \
	  $(LIB_FLAGS) 2>/dev/null
	$(Q)printf '%s\n' $(if $(HAVE_POSTGRES),$(PG_SRC)) | xargs -r -P2 -I{} clang-tidy --quiet {} -- -std=c11 $(DEFS) \
	  -Iinclude $(PG_FLAGS) 2>/dev/null
	$(Q)printf '%s\n' $(TOOL_SRC) | xargs -P2 -I{} clang-tidy --quiet {} -- -std=c11 $(DEFS) -Iinclude \
	  $(TOOL_FLAGS) 2>/dev/null
	$(Q)printf '%s\n' $(SERVER_SRC) | xargs -P2 -I{} clang-tidy --quiet {} -- -std=c11 $(DEFS) -Iinclude \
	  $(SERVER_FLAGS) 2>/dev/null

layers: ## the #include directions between the folders of lib/
	@tests/lint/layers.sh

syms: ## public functions that lib/offlinetok.syms does not have yet; you choose their version
	@tests/lint/syms.sh new

# ---- Install ----

INSTALL  = install
DOC_PAGES = $(foreach m,$(MAN),$(m:man/%=%))
mandest   = $(DESTDIR)$(mandir)/man$(patsubst .%,%,$(suffix $1))

# The functions that a page names are pages too: "man otok_refresh_many" finds otok_refresh(3).
names_in  = $(addsuffix $(suffix $1),$(filter-out $(basename $(notdir $1)),$(shell \
  awk '/^\.Sh/ { in_name = /NAME/ } in_name && /^\.Nm/ { print $$2 }' $1)))

# prefix may have been given to make instead of configure.
define install_pc
sed -e 's|^prefix=.*|prefix=$(prefix)|' -e 's|^libdir=.*|libdir=$(libdir)|' \
  -e 's|^includedir=.*|includedir=$(includedir)|' $(dir $(CONFIG))pkgconfig/$1 >$(DESTDIR)$(libdir)/pkgconfig/$1
endef

define install_postgres
$(INSTALL) -m 644 $(PG_HEADER) $(DESTDIR)$(includedir)/offlinetok/
$(INSTALL) -m 644 $(PG_A) $(DESTDIR)$(libdir)/
$(INSTALL) -m 755 $(PG_SO) $(DESTDIR)$(libdir)/
ln -sf $(notdir $(PG_SO)) $(DESTDIR)$(libdir)/$(PG_SONAME)
ln -sf $(PG_SONAME) $(DESTDIR)$(libdir)/libofflinetok-postgres.so
$(call install_pc,offlinetok-postgres.pc)
endef

.PHONY: install uninstall dist
install: all ## to DESTDIR and prefix
	$(INSTALL) -d $(DESTDIR)$(libdir)/pkgconfig $(DESTDIR)$(includedir)/offlinetok $(DESTDIR)$(bindir) $(DESTDIR)$(completions)
	$(INSTALL) -m 644 $(HEADERS) $(DESTDIR)$(includedir)/offlinetok/
	$(INSTALL) -m 644 $(LIB_A) $(DESTDIR)$(libdir)/
	$(INSTALL) -m 755 $(LIB_SO) $(DESTDIR)$(libdir)/
	ln -sf $(notdir $(LIB_SO)) $(DESTDIR)$(libdir)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(libdir)/libofflinetok.so
	$(call install_pc,offlinetok.pc)
	$(if $(HAVE_POSTGRES),$(install_postgres))
	$(TOOL_LINK) -o $(DESTDIR)$(bindir)/offlinetok $(TOOL_OBJ) -L$(BUILD) -lofflinetok $(TOOL_RPATH) $(LDFLAGS) $(CJSON_LIBS)
	$(INSTALL) -m 644 $(TOOL_WORDS) $(DESTDIR)$(completions)/offlinetok
	$(foreach m,$(MAN),$(INSTALL) -d $(call mandest,$m) && $(INSTALL) -m 644 $m $(call mandest,$m)/$(newline)\
	$(foreach n,$(call names_in,$m),ln -sf $(notdir $m) $(call mandest,$m)/$n$(newline)))

uninstall: ## what install put there
	rm -f $(patsubst include/%,$(DESTDIR)$(includedir)/%,$(HEADERS) $(PG_HEADER)) \
	  $(addprefix $(DESTDIR)$(libdir)/,$(notdir $(LIB_A) $(LIB_SO) $(PG_A) $(PG_SO)) $(SONAME) libofflinetok.so \
	  $(PG_SONAME) libofflinetok-postgres.so pkgconfig/offlinetok.pc pkgconfig/offlinetok-postgres.pc) \
	  $(DESTDIR)$(bindir)/offlinetok $(DESTDIR)$(completions)/offlinetok \
	  $(foreach m,$(MAN),$(addprefix $(call mandest,$m)/,$(notdir $m) $(call names_in,$m)))
	-rmdir $(DESTDIR)$(includedir)/offlinetok

# The last commit, and configure, so that whoever unpacks it needs no autoconf.
dist: configure ## libofflinetok-VERSION.tar.gz from the last commit
	git archive --prefix=libofflinetok-$(VERSION)/ --add-file=configure -o libofflinetok-$(VERSION).tar.gz HEAD

# ---- Housekeeping ----

DEPS     = gcc make autoconf pkg-config libc6-dev libssl-dev libcjson-dev liblmdb-dev libpq-dev check libsubunit-dev \
           python3-prometheus-client python3-cffi
# Only for those goals that build or run the identity server.
DEPS_SERVER = libmicrohttpd-dev libcurl4-openssl-dev python3-flask python3-authlib python3-requests
# Node and a browser where there is none; npm comes with a Node that is not Debian's.
DEPS_E2E = fonts-dejavu-core python3-venv $(if $(shell command -v $(CHROMIUM)),,chromium) \
           $(if $(and $(shell command -v node),$(shell command -v npm)),,nodejs npm)
DEPS_POSTGRES = postgresql
DEPS_DEV = $(DEPS) $(DEPS_SERVER) g++ clang clang-tidy clang-format llvm libclang-rt-*-dev cppcheck shellcheck mandoc valgrind \
           libc6-dbg strace git

.PHONY: deps deps-dev packages clean distclean help FORCE
deps: packages ## install the system packages that build and tests need (apt-get)
	@true
deps-dev: packages ## the same, and those for lint, fuzz and valgrind
	@true
packages:
	@.ci/deps '$(if $(filter deps-dev,$(MAKECMDGOALS)),$(DEPS_DEV),$(DEPS)) $(if \
	  $(filter identity-server demo-server check-e2e screenshots,$(MAKECMDGOALS)),$(DEPS_SERVER)) $(if \
	  $(filter check-e2e screenshots,$(MAKECMDGOALS)),$(DEPS_E2E)) $(if \
	  $(filter check-postgres check-failover bench-postgres,$(MAKECMDGOALS)),$(DEPS_POSTGRES))'

clean: ## remove what was built
	rm -rf $(BUILD)/{obj,docs,tests,examples,e2e,asan,tsan,cover,fuzz,flags,*.list,*.map,libofflinetok*,offlinetok}
	-rmdir $(BUILD)

distclean: clean ## and what was configured
	rm -rf configure configure~ config.mk config.log config.status config.out autom4te.cache pkgconfig/*.pc

help: ## this list
	@awk -F ': .*## ' '/^[a-z0-9-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' Makefile

-include $(shell find $(OBJ) -name '*.d' 2>/dev/null)
