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
USER_LIBS    = -L$(BUILD) -lofflinetok -Wl,-rpath,'$(abspath $(BUILD))' $(LDFLAGS)

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

# Processes of one thread on libuv, whose refreshes share commits: part of `make check` where libuv and http_parser are.

PREFORK_DIR  := examples/prefork
PREFORK_SRC  := $(sort $(wildcard $(PREFORK_DIR)/*.c))
PREFORK       = $(BUILD)/$(PREFORK_DIR)/prefork
PREFORK_BUILT = $(if $(shell $(CC) $(CPPFLAGS) -E -include uv.h -include http_parser.h -x c /dev/null >/dev/null 2>&1 && echo 1),$(PREFORK))

$(PREFORK): $(PREFORK_SRC:%.c=$(OBJ)/%.o) $(LIB_SO)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -pthread $(CFLAGS) -o $@ $(filter %.o,$^) $(USER_LIBS) -luv -lhttp_parser

.PHONY: prefork
prefork: $(PREFORK) ## examples/prefork: a token endpoint in processes of one thread, with refreshes in batches

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
IDENTITY_PARTS = $(patsubst %,$(OBJ)/$(SERVER_DIR)/%.o,device_request directory directory_read password session_walk throttle html seal)
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
# CK_MAX_MSG_SIZE: a story of 4096 is too long for Check's own limit, and the test would end without it.
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
list_prefork = $(if $(PREFORK_BUILT),suite tests/examples/check_prefork $(WRAP) $(PYTHON) -B tests/examples/check_prefork.py \
               $(PREFORK)$(newline))
list_tools   = $(foreach t,$(TOOL_TESTS),suite $(t:.py=) $(WRAP) $(PYTHON) -B $t $(TOOL) $(TOOL_HOST)$(newline))
RUN          = CK_DEFAULT_TIMEOUT=60 CK_MAX_MSG_SIZE=65536 tests/run.sh

# The system's own, which the Debian package of the parser is for.
PYTHON = /usr/bin/python3

.PHONY: check check-list check-metrics check-bindings check-tools
check: all $(TESTS) $(FUZZERS) $(EXAMPLES) $(METRICS) $(TOOL_HOST) $(LAYOUTS) $(PREFORK_BUILT) ## every test, example, fuzz corpus and documented example
	$(file >$(BUILD)/check.list,$(call list_tests,$(TESTS))$(list_replays)$(list_demos)$(list_prefork)$(list_metrics)$(list_bindings)$(list_tools))
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
ASAN_RUN  = CK_TIMEOUT_MULTIPLIER=5 LIMIT=900
TSAN_RUN  = TSAN_OPTIONS=halt_on_error=1 CK_TIMEOUT_MULTIPLIER=10 LIMIT=900
FUZZ      = $(SANITIZE) -fsanitize=fuzzer-no-link,address,undefined

# Of PostgreSQL what libofflinetok-postgres does itself.
PG_PART = $(if $(HAVE_POSTGRES),$(SUBMAKE) BUILD=$(BUILD)/$1 CFLAGS='$2' PG_TESTS='$(patsubst %,$(BUILD)/$1/tests/postgres/check_%,$3)' \
  PG_SAME_SRC='$4' RUN='$5 $(RUN)' WRAP="$6" check-postgres)

.PHONY: check-asan check-tsan check-valgrind check-crash check-million check-stress check-linear cover fuzz fuzz-run
check-asan: ## the same under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer
	$(SUBMAKE) BUILD=$(BUILD)/asan CFLAGS='$(ASAN)' RUN='$(ASAN_RUN) $(RUN)' check
	$(call PG_PART,asan,$(ASAN),open trouble memory,check_races,$(ASAN_RUN))

# TSan cannot map its shadow where a kernel randomises addresses too widely; setarch -R turns that off, where it may.
# Of the tests those in which threads or processes meet: it has nothing to say of the others.
PLAIN_ADDRESSES = $$(setarch -R true 2>/dev/null && echo setarch -R)
THREADED = $(shell grep -lE 'pthread|support/(crew|crash|engine|linear|stress)\.h' $(TEST_SRC))
check-tsan: ## those of threads and processes under ThreadSanitizer
	$(SUBMAKE) BUILD=$(BUILD)/tsan CFLAGS='$(TSAN)' TEST_SRC='$(THREADED)' WRAP="$(PLAIN_ADDRESSES)" RUN='$(TSAN_RUN) $(RUN)' check
	$(call PG_PART,tsan,$(TSAN),open trouble,check_races check_cap_races,$(TSAN_RUN),$(PLAIN_ADDRESSES))

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

# ---- Tests of a kind of their own, and benchmarks ----

include tests/e2e/e2e.mk tests/postgres/postgres.mk tests/bench/bench.mk tests/bench/http/http.mk

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
	$(Q)printf '%s\n' $(LIB_SRC) $(EXAMPLE_SRC) $(if $(PREFORK_BUILT),$(PREFORK_SRC)) | xargs -P2 -I{} clang-tidy --quiet {} -- -std=c11 $(DEFS) -Iinclude \
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
chmod 644 $(DESTDIR)$(libdir)/pkgconfig/$1
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
	chmod 755 $(DESTDIR)$(bindir)/offlinetok
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
DEPS_NODE = $(if $(and $(shell command -v node),$(shell command -v npm)),,nodejs npm)
DEPS_E2E = fonts-dejavu-core python3-venv $(if $(shell command -v $(CHROMIUM)),,chromium) $(DEPS_NODE)
DEPS_POSTGRES = postgresql
DEPS_PREFORK = libuv1-dev libhttp-parser-dev
DEPS_DEV = $(DEPS) $(DEPS_SERVER) $(DEPS_PREFORK) g++ clang clang-tidy clang-format llvm libclang-rt-*-dev cppcheck shellcheck mandoc valgrind \
           libc6-dbg strace git

needed_for = $(if $(filter $1,$(MAKECMDGOALS)),$2)
PACKAGES = $(if $(filter deps-dev,$(MAKECMDGOALS)),$(DEPS_DEV),$(DEPS)) \
           $(call needed_for,identity-server demo-server check-e2e screenshots bench-http,$(DEPS_SERVER)) \
           $(call needed_for,check-e2e screenshots,$(DEPS_E2E)) \
           $(call needed_for,check-e2e screenshots check-postgres check-failover bench-postgres,$(DEPS_POSTGRES)) \
           $(call needed_for,prefork bench-prefork,$(DEPS_PREFORK)) \
           $(call needed_for,bench-http bench-prefork,wrk) \
           $(call needed_for,bench-http,$(DEPS_NODE)) \
           $(call needed_for,bench-plot,gnuplot-nox)

.PHONY: deps deps-dev packages clean distclean help FORCE
deps: packages ## install the system packages that build and tests need (apt-get)
	@true
deps-dev: packages ## the same, and those for lint, fuzz and valgrind
	@true
packages:
	@.ci/deps '$(strip $(PACKAGES))'

clean: ## remove what was built
	rm -rf $(BUILD)/{obj,docs,tests,examples,e2e,bench-http,asan,tsan,cover,fuzz,flags,*.list,*.map,libofflinetok*,offlinetok}
	-rmdir $(BUILD)

distclean: clean ## and what was configured
	rm -rf configure configure~ config.mk config.log config.status config.out autom4te.cache pkgconfig/*.pc

help: ## this list
	@awk -F ': .*## ' '/^[a-z0-9-]+:.*## / { printf "  %-19s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

-include $(shell find $(OBJ) -name '*.d' 2>/dev/null)
