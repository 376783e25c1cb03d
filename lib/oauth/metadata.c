/*
 * metadata.c - what clients read about the endpoints before they use them: keys (RFC 7517) and metadata (RFC 8414) (P1).
 *
 * In the metadata are only members that this library alone can answer for, so that the host adds its own to them without comparing.
 * grant_types_supported, scopes_supported and how clients authenticate are the host's: it has other grants and scopes beside.
 *
 * SPDX-License-Identifier: MIT
 */
#include "oauth/oauth.h"

enum { URI_BOUND = 2048 };

int otok_endpoint_jwks(otok_service *service, char **out, otok_error *err)
{
    if (service == NULL || out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", service == NULL ? "service" : "out");
    return otok_keyring_jwks(otok_service_now_keys(service)->keyring, out, err);
}

void otok_metadata_init(otok_metadata *metadata, size_t size)
{
    otok_struct_init(metadata, size);
}

static int read_metadata(const otok_metadata *in, otok_metadata *out, otok_error *err)
{
    int rc = otok_struct_read(out, sizeof *out, in, sizeof(size_t), "otok_metadata", err);
    if (rc != OTOK_OK)
        return rc;
    const otok_text_rule texts[] = {
        {out->token_endpoint, "metadata.token_endpoint", URI_BOUND, out->token_endpoint != NULL},
        {out->revocation_endpoint, "metadata.revocation_endpoint", URI_BOUND, out->revocation_endpoint != NULL},
        {out->introspection_endpoint, "metadata.introspection_endpoint", URI_BOUND,
         out->introspection_endpoint != NULL},
        {out->jwks_uri, "metadata.jwks_uri", URI_BOUND, out->jwks_uri != NULL},
    };
    return otok_texts_check(texts, sizeof texts / sizeof texts[0], err);
}

static void add_uri(otok_buf *json, const char *name, const char *uri)
{
    if (uri != NULL)
        otok_json_add_text(json, name, uri);
}

/* What ID tokens are signed with, and soon will be; each once. */
static void add_id_token_algorithms(otok_buf *json, const otok_keyring *keyring)
{
    otok_str names[OTOK_ALG_PS256];
    size_t n = 0;
    for (int32_t algorithm = OTOK_ALG_ES256; algorithm <= OTOK_ALG_PS256; algorithm++) {
        bool found = false;
        for (size_t i = 0; i < keyring->nsigning; i++) {
            const otok_signing_key *key = &keyring->signing[i];
            found = found || (key->state != OTOK_KEY_RETIRED && otok_pkey_algorithm(key->pkey) == algorithm);
        }
        if (found)
            names[n++] = otok_str_of(otok_algorithm_name(algorithm));
    }
    otok_json_add_string_array(json, "id_token_signing_alg_values_supported", names, n);
}

/* RFC 9449 section 5.1, RFC 8705 section 3.3: proofs under any algorithm of ours, and tokens that are bound to certificates. */
static void add_constraints(otok_buf *json)
{
    otok_str names[OTOK_ALG_PS256];
    for (int32_t algorithm = OTOK_ALG_ES256; algorithm <= OTOK_ALG_PS256; algorithm++)
        names[algorithm - OTOK_ALG_ES256] = otok_str_of(otok_algorithm_name(algorithm));
    otok_json_add_string_array(json, "dpop_signing_alg_values_supported", names, OTOK_ALG_PS256);
    otok_json_add_raw(json, "tls_client_certificate_bound_access_tokens", otok_str_of("true"));
}

int otok_endpoint_metadata(otok_service *service, const otok_metadata *metadata, char **out, otok_error *err)
{
    otok_metadata own;
    otok_buf json;
    if (service == NULL || metadata == NULL || out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "service, metadata and out are required");
    *out = NULL;
    int rc = read_metadata(metadata, &own, err);
    if (rc != OTOK_OK)
        return rc;
    otok_buf_init(&json, NULL, 0);
    otok_json_begin(&json);
    otok_json_add_text(&json, "issuer", service->issuer);
    add_uri(&json, "token_endpoint", own.token_endpoint);
    add_uri(&json, "revocation_endpoint", own.revocation_endpoint);
    add_uri(&json, "introspection_endpoint", own.introspection_endpoint);
    add_uri(&json, "jwks_uri", own.jwks_uri);
    add_id_token_algorithms(&json, otok_service_now_keys(service)->keyring);
    if (own.token_endpoint != NULL)
        add_constraints(&json);
    otok_json_end(&json);
    *out = json.failed ? NULL : otok_strndup(json.data, json.len);
    otok_buf_free(&json);
    return *out != NULL ? OTOK_OK : otok_fail(err, OTOK_E_NOMEM, "out of memory");
}
