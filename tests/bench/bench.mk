# ---- Benchmarks ----
# tests/bench/*.c are one program, but resident.c, which is linked as a user's would be. Nothing here is part of `make check`;
# bench-smoke runs all of it in a few seconds, and fails where a figure does not come.

BENCH_SESSIONS = 1000000
BENCH_SCALES   = 10000,100000,1000000,5000000
BENCH_FLAGS    =
BENCH_SRC     := $(sort $(filter-out tests/bench/resident.c,$(wildcard tests/bench/*.c)))
BENCH          = $(BUILD)/tests/bench/bench
BENCH_RESIDENT = $(BUILD)/tests/bench/resident
BENCH_STRIPPED = $(BUILD)/tests/bench/libofflinetok.so
BENCH_WRAPS    = -Wl,--wrap=mdb_env_open,--wrap=otok_malloc,--wrap=otok_calloc,--wrap=otok_realloc,--wrap=otok_strdup,--wrap=otok_strndup
BENCH_RUN      = $(BENCH) --shared $(BENCH_STRIPPED) --resident $(BENCH_RESIDENT)
BENCH_RECORDED = docs/performance
STRIP          = strip

$(BENCH): $(BENCH_SRC:%.c=$(OBJ)/%.o) $(TEST_PARTS)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(LINK) -o $@ $(filter %.o %.a,$^) $(BENCH_WRAPS) $(TEST_LIBS) $(ALL_LIBS)

$(BENCH_RESIDENT): $(BENCH_RESIDENT:$(BUILD)/%=$(OBJ)/%.o) $(LIB_SO)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -pthread $(CFLAGS) -o $@ $< $(USER_LIBS)

$(BENCH_STRIPPED): $(LIB_SO)
	@mkdir -p $(@D)
	$(Q)$(STRIP) -o $@ $<

.PHONY: bench bench-growth bench-smoke bench-plot
bench: $(BENCH) $(BENCH_RESIDENT) $(BENCH_STRIPPED) ## every figure beside the raw limit of this machine (BENCH_SESSIONS=1000000)
	@$(BENCH_RUN) --sessions $(BENCH_SESSIONS) --json $(BUILD)/tests/bench/bench.json $(BENCH_FLAGS)

bench-growth: $(BENCH) $(BENCH_RESIDENT) $(BENCH_STRIPPED) ## what things cost among ten thousand sessions and among millions
	@$(BENCH_RUN) --growth $(BENCH_SCALES) --rounds 3 --json $(BUILD)/tests/bench/growth.json $(BENCH_FLAGS)

bench-smoke: $(BENCH) $(BENCH_RESIDENT) $(BENCH_STRIPPED) ## whether every figure comes, in a few seconds
	@$(BENCH_RUN) --smoke --json $(BUILD)/tests/bench/smoke.json

# What was measured here last is kept beside the drawings of it; where nothing was, what was kept before is drawn.
bench-plot: | $(packages_first) ## draws what `make bench` and `make bench-growth` measured into docs/performance
	@command -v gnuplot >/dev/null || { echo 'gnuplot is missing: make deps bench-plot'; exit 1; }
	@mkdir -p $(BENCH_RECORDED) $(BUILD)/tests/bench
	@for f in bench growth; do ! test -e $(BUILD)/tests/bench/$$f.json || cp -u $(BUILD)/tests/bench/$$f.json $(BENCH_RECORDED); done
	@$(PYTHON) -B tests/bench/columns.py $(BENCH_RECORDED) $(BUILD)/tests/bench
	@cd tests/bench && for p in *.gp; do ! test -e $(abspath $(BUILD))/tests/bench/$${p%.gp}.dat || \
	  gnuplot -e "data='$(abspath $(BUILD))/tests/bench'; out='$(abspath $(BENCH_RECORDED))'" $$p || exit 1; done

.PHONY: bench-prefork
bench-prefork: $(PREFORK) ## refreshes a second of examples/prefork, in batches and one by one (PREFORK_FLAGS='--rounds 5')
	@command -v wrk >/dev/null || { echo 'wrk is missing: make deps bench-prefork'; exit 1; }
	@$(PYTHON) -B tests/bench/prefork.py $(PREFORK) $(BUILD)/tests/bench $(PREFORK_FLAGS)
