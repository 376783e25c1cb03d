# ---- PostgreSQL ----
# tests/postgres/check_*.c are Check programs, others with a main() long runs; the rest is linked with each of them. They find a
# server in OTOK_TEST_POSTGRES, and make more of them with tests/postgres/cluster.sh. Linked with instead_of_lmdb.c, the tests
# that stand on LMDB are run here once more, on PostgreSQL.

PG_TEST_SRC := $(sort $(wildcard tests/postgres/check_*.c))
PG_LONG_SRC := $(sort $(filter-out $(PG_TEST_SRC),$(shell grep -l '^int main' tests/postgres/*.c)))
PG_INSTEAD   = $(OBJ)/tests/postgres/instead_of_lmdb.o
PG_SLOW      = $(addprefix $(BUILD)/tests/postgres/check_,failover plans)
PG_TESTS     = $(filter-out $(PG_SLOW),$(PG_TEST_SRC:%.c=$(BUILD)/%))
PG_LONG      = $(PG_LONG_SRC:%.c=$(BUILD)/%)
PG_PARTS     = $(PG_INSTEAD) $(filter-out $(patsubst %.c,$(OBJ)/%.o,$(PG_TEST_SRC) $(PG_LONG_SRC)) $(PG_INSTEAD),$(patsubst %.c,$(OBJ)/%.o,$(sort \
               $(wildcard tests/postgres/*.c)))) $(SUPPORT:%.c=$(OBJ)/%.o) $(PG_A) $(LIB_A)
# All that asks more than the memory store, but: tests/store, check_store_check, check_backup, check_hygiene, check_crash_transfer,
# check_oom_transfer, check_full_disk and check_io look into LMDB's files, its repair, its backup, or its system calls;
# store/check_conform is tests/postgres/check_contract, and check_crash_engine the long run of that name.
PG_SAME_SRC  = $(addprefix check_,races revoke_races cap_races consent_races once_races adoption_races \
               adoption authorize_apart clock consent consent_list cutoff endpoint_token_trouble erase export inputs inspect \
               introspect_ends issue issue_access issue_access_guard keys_live limit list list_pages logout mistakes \
               mistakes_nodes once_issue once_replay outbox outbox_full presets realm refresh_many refresh_many_meets \
               refresh_many_races refresh_rotation replaces revoke revoke_matching service service_check service_files sweep \
               sweep_meets tampering transfer transfer_sessions unread update) fault/check_linear
PG_SAME_SLOW = $(addprefix $(BUILD)/postgres/,fault/check_crash fault/check_oom fault/check_oom_around fault/check_oom_issue \
               check_store_check_live)
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

check-postgres-slow: $(packages_first) $(PG_SLOW) $(PG_SAME_SLOW) $(PG_CRASH) ## on PostgreSQL: no memory in any call, kills, failovers, messages cut off
	@$(PG_RUN) $(filter %/check_plans,$(PG_SLOW)) # alone: whoever reads holds a snapshot, which keeps rows from being updated in place
	$(file >$(BUILD)/postgres.list,$(call list_tests,$(filter-out %/check_plans,$(PG_SLOW)) $(PG_SAME_SLOW))exit $(PG_CRASH:$(BUILD)/%=%) $(PG_CRASH) $(PG_KILLS)$(newline))
	@$(PG_RUN) env $(RUN) $(BUILD)/postgres.list

ROUNDS = 100
check-failover: $(packages_first) $(BUILD)/tests/postgres/failover $(BUILD)/tests/postgres/proxy_run ## primaries killed under load, messages spoiled (ROUNDS=100)
	@$(PG_RUN) $(BUILD)/tests/postgres/failover $(ROUNDS)
	@$(PG_RUN) $(BUILD)/tests/postgres/proxy_run $(ROUNDS)

bench-postgres: $(packages_first) $(BUILD)/tests/postgres/bench ## refreshes a second on PostgreSQL, beside pgbench
	@$(PG_RUN) $<
