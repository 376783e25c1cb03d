# The identity server under load beside node-oidc-provider, over HTTP. Included by the Makefile; what it makes is in BUILD/bench-http.

HTTP_BENCH      = $(abspath $(BUILD)/bench-http)
HTTP_BENCH_OBJ  = $(OBJ)/tests/bench/http
HTTP_BENCH_ARGS =

$(HTTP_BENCH)/node_modules/.up-to-date: tests/bench/http/package.json tests/bench/http/package-lock.json | $(packages_first)
	@command -v node >/dev/null && command -v npm >/dev/null || { echo 'Node and npm are missing: make deps bench-http'; exit 1; }
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || { echo 'oidc-provider needs Node 20, or newer'; exit 1; }
	@mkdir -p $(HTTP_BENCH) && cp $^ $(HTTP_BENCH)
	$(call say,NPM,$(@D))
	$(Q)cd $(HTTP_BENCH) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >npm.log 2>&1 || { cat npm.log; exit 1; }
	@touch $@

# As the example is, but for its policy of rotation: policy.c says why.
$(HTTP_BENCH)/identity-server: $(SERVER_OBJ) $(HTTP_BENCH_OBJ)/policy.o $(LIB_SO) $(if $(HAVE_POSTGRES),$(PG_SO))
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -pthread $(CFLAGS) -o $@ $(filter %.o,$^) -Wl,--wrap=otok_service_open $(USER_LIBS) $(SERVER_LIBS)

$(HTTP_BENCH)/mint: $(HTTP_BENCH_OBJ)/mint.o $(LIB_SO)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -pthread $(CFLAGS) -o $@ $< $(USER_LIBS)

$(HTTP_BENCH)/versions: $(HTTP_BENCH_OBJ)/versions.o
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) -o $@ $< -lmicrohttpd $(LMDB_LIBS) $(CRYPTO_LIBS)

.PHONY: bench-http
bench-http: $(addprefix $(HTTP_BENCH)/,identity-server mint versions node_modules/.up-to-date) ## refreshes a second over HTTP, beside node-oidc-provider
	@command -v wrk >/dev/null || { echo 'wrk is missing: make deps bench-http'; exit 1; }
	@cp $(addprefix tests/bench/http/,provider.mjs refresh.lua) $(HTTP_BENCH)
	@node tests/bench/http/run.mjs $(HTTP_BENCH) $(HTTP_BENCH_ARGS)
