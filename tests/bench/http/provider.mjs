// node-oidc-provider as it is meant to be used, over a plain map that forgets nothing, with sessions given to it by its
// own models, as a login of each would have. One process; nothing is durable.
//
//     provider.mjs ISSUER CLIENT SECRET COUNT USERS FILE
//
// Writes a refresh token to each line of FILE, then "listening on URL"; there, /metrics tells how many it has rotated.
//
// SPDX-License-Identifier: MIT

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import http from 'node:http';
import { Provider } from 'oidc-provider';

const [issuer, clientId, secret, count, users, file] = process.argv.slice(2);
const resource = 'urn:files-api';
const scope = 'files.read';
const month = 30 * 86400;

/** The adapter's contract (example/my_adapter.js of oidc-provider) over a map. Its own adapter keeps 1,000 entries. */
class MapAdapter {
    static entries = new Map();
    static grants = new Map();

    constructor(model) {
        this.model = model;
    }

    #key(id) {
        return `${this.model}:${id}`;
    }

    async upsert(id, payload) {
        const key = this.#key(id);
        MapAdapter.entries.set(key, payload);
        if (!payload.grantId) return;
        const keys = MapAdapter.grants.get(payload.grantId);
        if (keys) keys.push(key);
        else MapAdapter.grants.set(payload.grantId, [key]);
    }

    async find(id) {
        return MapAdapter.entries.get(this.#key(id));
    }

    async consume(id) {
        MapAdapter.entries.get(this.#key(id)).consumed = Math.floor(Date.now() / 1000);
    }

    async destroy(id) {
        MapAdapter.entries.delete(this.#key(id));
    }

    async revokeByGrantId(grantId) {
        for (const key of MapAdapter.grants.get(grantId) ?? []) MapAdapter.entries.delete(key);
        MapAdapter.grants.delete(grantId);
    }
}

function makeProvider() {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    return new Provider(issuer, {
        adapter: MapAdapter,
        clients: [
            {
                client_id: clientId,
                client_secret: secret,
                token_endpoint_auth_method: 'client_secret_basic',
                grant_types: ['authorization_code', 'refresh_token'],
                redirect_uris: ['http://127.0.0.1/callback'],
                id_token_signed_response_alg: 'ES256',
                scope: `offline_access ${scope}`,
            },
        ],
        clientDefaults: { id_token_signed_response_alg: 'ES256' },
        cookies: { keys: [randomBytes(32).toString('base64url')] },
        jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'ES256', kid: 'k1' }] },
        scopes: ['offline_access', scope],
        findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
        rotateRefreshToken: true,
        ttl: { AccessToken: 300, RefreshToken: month, Grant: month },
        features: {
            devInteractions: { enabled: false },
            resourceIndicators: {
                enabled: true,
                defaultResource: () => resource,
                useGrantedResource: () => true,
                getResourceServerInfo: () => ({
                    scope,
                    audience: 'files-api',
                    accessTokenFormat: 'jwt',
                    accessTokenTTL: 300,
                    jwt: { sign: { alg: 'ES256' } },
                }),
            },
        },
    });
}

async function issue(provider, client, accountId) {
    const grant = new provider.Grant({ accountId, clientId });
    grant.addOIDCScope('offline_access');
    grant.addResourceScope(resource, scope);
    const grantId = await grant.save();
    const token = new provider.RefreshToken({
        accountId,
        client,
        grantId,
        gty: 'authorization_code',
        authTime: Math.floor(Date.now() / 1000),
        resource,
        scope: `offline_access ${scope}`,
    });
    return token.save();
}

const provider = makeProvider();
const client = await provider.Client.find(clientId);
const tokens = [];
for (let n = 0; n < Number(count); n++) tokens.push(await issue(provider, client, `guest${1 + (n % Number(users))}`));
writeFileSync(file, `${tokens.join('\n')}\n`);
tokens.length = 0;

let rotations = 0;
provider.on('refresh_token.consumed', () => rotations++);
const answer = provider.callback();
const server = http.createServer((request, response) => {
    if (request.url === '/metrics') response.end(`refreshes_rotated_total ${rotations}\n`);
    else answer(request, response);
});
await once(server.listen(0, '127.0.0.1'), 'listening');
console.log(`listening on http://127.0.0.1:${server.address().port}`);
process.on('SIGTERM', () => process.exit(0));
