// Tokens bound to a key of the client (RFC 9449), by the DPoP of openid-client and oauth4webapi (P3).
// SPDX-License-Identifier: MIT

import { scenario, runScenarios } from './support/scenario.mjs';
import { OAuthClient, authorize, discover, logIn, oauth, openid, post, redirectOf, refresh } from './support/clients.mjs';
import { Stack } from './support/stack.mjs';
import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import * as jose from 'jose';

let stack;

const invalidGrant = (error) => error.error === 'invalid_grant';

/** A proof by hand, whatever is wrong with it. */
async function proof(keys, claims = {}, header = {}) {
    const jwk = await jose.exportJWK(keys.publicKey);
    return new jose.SignJWT({
        htm: 'POST',
        htu: `${stack.issuer}/token`,
        jti: randomUUID(),
        iat: Math.floor(Date.now() / 1000),
        ...claims,
    })
        .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk, ...header })
        .sign(keys.privateKey);
}

const proven = (token, dpop, more) => refresh(stack, 'pocket-notes', token, more, { headers: dpop ? { dpop } : {} });

async function boundSession() {
    const config = await discover(stack, 'pocket-notes');
    const keys = await openid.randomDPoPKeyPair('ES256', { extractable: true });
    const { tokens } = await logIn(stack, 'pocket-notes', { config, DPoP: openid.getDPoPHandle(config, keys) });
    return { config, keys, tokens };
}

scenario(
    'openid-client: code exchange, refresh and UserInfo with DPoP; another key is refused, nothing consumed (P3, R2)',
    async () => {
        const { config, keys, tokens } = await boundSession();
        assert.equal(tokens.token_type, 'dpop');
        const jkt = await jose.calculateJwkThumbprint(await jose.exportJWK(keys.publicKey));
        assert.equal(jose.decodeJwt(tokens.access_token).cnf.jkt, jkt);
        const stranger = openid.getDPoPHandle(config, await openid.randomDPoPKeyPair());
        await assert.rejects(
            openid.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP: stranger }),
            invalidGrant,
        );
        await assert.rejects(openid.refreshTokenGrant(config, tokens.refresh_token), {
            error: /invalid_grant|invalid_dpop_proof/,
        });
        const mine = openid.getDPoPHandle(config, keys);
        const next = await openid.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP: mine });
        assert.equal(next.token_type, 'dpop');
        assert.equal(
            next.refresh_token ?? tokens.refresh_token,
            tokens.refresh_token,
            'bound to a key, so it need not rotate (T1)',
        );
        const info = await openid.fetchUserInfo(config, next.access_token, 'alice', { DPoP: mine });
        assert.equal(info.sub, 'alice');
        await assert.rejects(openid.fetchUserInfo(config, next.access_token, 'alice', { DPoP: stranger }));
    },
);

scenario('oauth4webapi: code exchange, refresh and UserInfo with DPoP (P3)', async () => {
    const client = await OAuthClient.discover(stack, 'pocket-notes');
    const DPoP = oauth.DPoP(client.client, await oauth.generateKeyPair('ES256'));
    const tokens = await client.logIn({ DPoP });
    assert.equal(tokens.token_type, 'dpop');
    const next = await client.refresh(tokens.refresh_token, { DPoP });
    assert.equal((await client.userInfo(next, { DPoP, subject: 'alice' })).sub, 'alice');
    const stranger = oauth.DPoP(client.client, await oauth.generateKeyPair('ES256'));
    await assert.rejects(client.refresh(tokens.refresh_token, { DPoP: stranger }), invalidGrant);
    assert.ok((await client.refresh(tokens.refresh_token, { DPoP })).access_token);
});

scenario(
    'a confidential client: its access token is bound, its offline token is not (P3, RFC 9449 section 5)',
    async () => {
        const config = await discover(stack, 'photo-album');
        const first = openid.getDPoPHandle(config, await openid.randomDPoPKeyPair());
        const second = openid.getDPoPHandle(config, await openid.randomDPoPKeyPair());
        const { tokens } = await logIn(stack, 'photo-album', { config, DPoP: first });
        const next = await openid.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP: second });
        assert.notEqual(jose.decodeJwt(next.access_token).cnf.jkt, jose.decodeJwt(tokens.access_token).cnf.jkt);
    },
);

scenario('a client that needs a nonce is given one with the refusal; code and token are as before (P3, R2)', async () => {
    const keys = await openid.randomDPoPKeyPair('ES256', { extractable: true });
    const { expected, url } = await authorize(stack, 'photo-album');
    const exchange = async (nonce) =>
        post(
            stack,
            '/token',
            {
                grant_type: 'authorization_code',
                code: url.searchParams.get('code'),
                redirect_uri: redirectOf(stack, 'photo-album'),
                code_verifier: expected.pkceCodeVerifier,
            },
            { id: 'photo-album', headers: { dpop: await proof(keys, nonce ? { nonce } : {}) } },
        );
    const refused = await exchange();
    assert.deepEqual([refused.status, refused.body.error], [400, 'use_dpop_nonce']);
    const granted = await exchange(refused.headers.get('dpop-nonce'));
    assert.equal(granted.status, 200);
    const renew = async (nonce) =>
        refresh(stack, 'photo-album', granted.body.refresh_token, {}, { headers: { dpop: await proof(keys, { nonce }) } });
    const stale = await renew('A'.repeat(32));
    assert.deepEqual([stale.status, stale.body.error], [400, 'use_dpop_nonce']);
    assert.equal((await renew(stale.headers.get('dpop-nonce'))).status, 200);
});

scenario(
    'a proof that is old, replayed, for another URL or method, or badly signed is refused, and consumes nothing (P3)',
    async () => {
        const {
            keys,
            tokens: { refresh_token },
        } = await boundSession();
        const other = await jose.generateKeyPair('ES256', { extractable: true });
        const used = await proof(keys);
        assert.equal((await proven(refresh_token, used)).status, 200);
        const now = Math.floor(Date.now() / 1000);
        const bad = {
            replayed: used,
            old: await proof(keys, { iat: now - 3600 }),
            early: await proof(keys, { iat: now + 3600 }),
            'another method': await proof(keys, { htm: 'GET' }),
            'another URL': await proof(keys, { htu: `${stack.issuer}/revoke` }),
            'another type': await proof(keys, {}, { typ: 'JWT' }),
            'another key in the header': await proof(keys, {}, { jwk: await jose.exportJWK(other.publicKey) }),
            'the private key in the header': await proof(keys, {}, { jwk: await jose.exportJWK(keys.privateKey) }),
            'not a JWT': 'x.y.z',
        };
        for (const [what, dpop] of Object.entries(bad)) {
            const { status, body } = await proven(refresh_token, dpop);
            assert.equal(status, 400, what);
            assert.equal(body.error, 'invalid_dpop_proof', what);
        }
        assert.equal((await proven(refresh_token, await proof(other))).body.error, 'invalid_grant');
        assert.equal(
            (
                await proven(
                    refresh_token,
                    await proof(keys, { htu: `${stack.issuer.toUpperCase().replace('HTTP', 'http')}/token?x=1` }),
                )
            ).status,
            200,
            'a URL that differs in what does not count (RFC 9449 section 4.3)',
        );
    },
);

scenario('UserInfo refuses a bound token as Bearer, and a proof for another access token (P3)', async () => {
    const { keys, tokens } = await boundSession();
    const ask = (scheme, dpop) =>
        fetch(`${stack.issuer}/userinfo`, {
            headers: { authorization: `${scheme} ${tokens.access_token}`, ...(dpop ? { dpop } : {}) },
        });
    const claims = { htm: 'GET', htu: `${stack.issuer}/userinfo` };
    const ath = (token) => createHash('sha256').update(token).digest('base64url');
    const bearer = await ask('Bearer');
    assert.equal(bearer.status, 401);
    assert.match(bearer.headers.get('www-authenticate'), /invalid_token/);
    const wrong = await ask('DPoP', await proof(keys, { ...claims, ath: ath('another') }));
    assert.equal(wrong.status, 401);
    assert.match(wrong.headers.get('www-authenticate'), /DPoP.*invalid_dpop_proof/);
    assert.equal((await ask('DPoP', await proof(keys, { ...claims, ath: ath(tokens.access_token) }))).status, 200);
});

runScenarios(async () => (stack = await Stack.start()));
