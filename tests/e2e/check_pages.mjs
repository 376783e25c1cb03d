// A browser and its user: log in, allow or refuse, look at what acts for you, put an end to it. No page has JavaScript,
// axe-core finds nothing serious on any of them, and pictures of them are kept.
// SPDX-License-Identifier: MIT

import { scenario, runScenarios } from './support/scenario.mjs';
import { Chrome } from './support/chrome.mjs';
import { OAuthClient, introspect, post } from './support/clients.mjs';
import { NativeApp } from './support/native_app.mjs';
import { Robot } from './support/robot.mjs';
import { Stack } from './support/stack.mjs';
import assert from 'node:assert/strict';

const PHONE =
    'Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36';

let stack, chrome, app;

const invalidGrant = { error: 'invalid_grant' };

scenario('the start page, and a login that goes wrong, then right', async () => {
    const alice = await chrome.person();
    assert.equal(await alice.goTo(`${stack.issuer}/`), 200);
    await alice.look('home');
    await alice.press('Log in', { within: 'main' });
    assert.equal(await alice.logIn('alice', 'wrong'), 403);
    assert.match(await alice.notice(), /not right/);
    await alice.look();
    const told = await alice.notice();
    await alice.fill('User name', 'nobody');
    assert.equal(await alice.logIn('nobody', 'wrong'), 403);
    assert.equal(await alice.notice(), told, 'who there is, is not told');
    assert.equal(await alice.logIn('alice'), 200);
    assert.equal(new URL(alice.url()).pathname, '/account');
});

/** Something for Alice to see beside what a scenario is about: a phone, and a laptop with a command line. */
async function connectOthers() {
    const phone = await chrome.person({ userAgent: PHONE });
    await phone.goTo(await app.begin());
    await phone.logIn('alice');
    await phone.press('Allow');
    const { body } = await post(
        stack,
        '/device_authorization',
        { scope: 'openid offline_access notes.write' },
        { id: 'notes-cli', headers: { 'user-agent': 'laptop notes/1.2' } },
    );
    await new Robot().answer(body.verification_uri_complete);
    await post(
        stack,
        '/token',
        { grant_type: 'urn:ietf:params:oauth:grant-type:device_code', device_code: body.device_code },
        { id: 'notes-cli' },
    );
    await app.finish();
}

scenario('an offline session is born, used, listed, revoked by its user, and over (I1, Q1, Q2, V2, V5)', async () => {
    await connectOthers();
    const alice = await chrome.person();
    await alice.goTo(await app.begin());
    assert.match(await alice.text(), /Pocket Notes/);
    await alice.look('login');
    await alice.logIn('alice');
    const question = await alice.text();
    for (const part of [
        /Pocket Notes/,
        /Alice Archer/,
        /Act for you when you are not there/,
        /Read, write and change your notes/,
    ])
        assert.match(question, part);
    await alice.look('consent');
    assert.equal(await alice.press('Allow'), 200);
    await app.finish();
    await app.refresh();

    await alice.goTo(`${stack.issuer}/account`);
    await alice.look('account');
    const [row] = (await alice.rows()).filter(({ Device }) => Device === 'Chrome on Linux');
    assert.match(row.Started, /now|second|minute/);
    assert.match(row.From, /127\.0\.0\.1|::1/);
    const button = `Revoke Pocket Notes on ${row.Device}`;
    assert.equal(await alice.press(button), 200);
    assert.match(await alice.notice(), /session has ended/);
    assert.equal(await alice.has(button), false);
    await assert.rejects(app.refresh(), invalidGrant);
});

scenario('the same account page in the dark', async () => {
    const alice = await chrome.person();
    await alice.goTo(`${stack.issuer}/account`);
    await alice.logIn('alice');
    await alice.look('account-dark', { dark: true });
});

scenario('a user who refuses sends the client access_denied', async () => {
    const bob = await chrome.person();
    await bob.goTo(await app.begin());
    await bob.logIn('bob');
    await bob.press('Refuse');
    await assert.rejects(app.finish(), { error: 'access_denied' });
});

scenario(
    'to revoke an application asks first when it has several sessions, then ends them and the consent (V4, C1)',
    async () => {
        const bob = await chrome.person();
        const tokens = [];
        for (let i = 0; i < 2; i++) {
            await bob.goTo(await app.begin());
            if (i === 0) await bob.logIn('bob');
            await bob.press('Allow');
            await app.finish();
            tokens.push(app.tokens.refresh_token);
        }
        await bob.goTo(`${stack.issuer}/account`);
        await bob.press('Revoke everything for Pocket Notes');
        assert.match(await bob.text(), /2 devices/);
        await bob.look();
        await bob.press('Leave it as it is');
        assert.equal((await app.refresh()).refresh_token, tokens[1]);
        await bob.press('Revoke everything for Pocket Notes');
        await bob.press('Revoke everything for Pocket Notes');
        assert.match(await bob.notice(), /lost its permissions/);
        for (const refresh_token of tokens) {
            app.tokens = { refresh_token };
            await assert.rejects(app.refresh(), invalidGrant);
        }
        // The consent is gone, too: without prompt=consent there is no offline access.
        await bob.goTo(withoutPrompt(await app.begin()));
        if (await bob.has('Allow')) await bob.press('Allow');
        await app.finish();
        assert.ok(!app.tokens.scope.split(' ').includes('offline_access'));
    },
);

function withoutPrompt(href) {
    const url = new URL(href);
    url.searchParams.delete('prompt');
    return url.href;
}

scenario('a device: its code, who asks, and the answer (RFC 8628)', async () => {
    const bob = await chrome.person();
    const cli = await OAuthClient.discover(stack, 'notes-cli');
    const started = await cli.startDevice('openid offline_access notes.write');
    await bob.goTo(started.verification_uri);
    await bob.logIn('bob');
    await bob.look('device');
    await bob.fill('Code', 'BCDF-GHJK');
    await bob.press('Continue');
    assert.match(await bob.notice(), /no device with this code/);
    await bob.look();
    await bob.fill('Code', started.user_code.toLowerCase().replace('-', ' '));
    await bob.press('Continue');
    assert.match(await bob.text(), /Is this you\?/);
    assert.match(await bob.text(), new RegExp(started.user_code));
    await bob.look('device-consent');
    await bob.press('Allow');
    assert.match(await bob.notice(), /may now act for you/);
    await bob.look();
    const tokens = await cli.askDevice(started.device_code);
    assert.equal((await cli.refresh(tokens.refresh_token)).token_type, 'bearer');
    await bob.goTo(`${stack.issuer}/account`);
    assert.match(await bob.text(), /Notes on the command line/);
});

scenario('somebody else at the same browser logs in as himself, and is asked himself', async () => {
    const alice = await chrome.person();
    await alice.goTo(await app.begin());
    await alice.logIn('alice');
    await alice.press('Log in as somebody else');
    await alice.look();
    await alice.logIn('bob');
    assert.match(await alice.text(), /Bob Baker \(bob\)/);
    await alice.press('Allow');
    await app.finish();
    assert.equal(app.tokens.claims().sub, 'bob');
});

scenario('a form without its token, with that of another browser, or from elsewhere, does nothing', async () => {
    const alice = await chrome.person(),
        mallory = await chrome.person();
    for (const [person, user] of [
        [alice, 'alice'],
        [mallory, 'bob'],
    ]) {
        await person.goTo(await app.begin());
        await person.logIn(user);
        await person.press('Allow');
        await app.finish();
        person.token = app.tokens.refresh_token;
        await person.goTo(`${stack.issuer}/account`);
    }
    const theirs = await mallory.page.$eval('input[name=csrf]', (input) => input.value);
    const spoil = (change) =>
        alice.page.$$eval(
            'input[name=csrf]',
            (inputs, value) => inputs.forEach((input) => (value === null ? input.remove() : (input.value = value))),
            change,
        );
    for (const change of [null, '', 'guessed', theirs]) {
        await alice.goTo(`${stack.issuer}/account`);
        await spoil(change);
        assert.equal(await alice.press('Revoke everything for Pocket Notes'), 403);
    }
    await alice.look();
    assert.match(await alice.notice(), /Nothing was done/);

    // All but the token is right, and the browser says that the form is from another site.
    await alice.goTo(`${stack.issuer}/account`);
    const form = new URLSearchParams({ csrf: await alice.page.$eval('input[name=csrf]', (input) => input.value) });
    const cookies = (await alice.page.browserContext().cookies())
        .map(({ name, value }) => `${name}=${value}`)
        .join('; ');
    for (const headers of [
        { origin: 'https://evil.example' },
        { 'sec-fetch-site': 'cross-site' },
        { 'sec-fetch-site': 'same-site' },
    ]) {
        const { status } = await fetch(`${stack.issuer}/account/applications/pocket-notes`, {
            method: 'POST',
            body: form,
            headers: { cookie: cookies, ...headers },
            redirect: 'manual',
        });
        assert.equal(status, 403, JSON.stringify(headers));
    }
    app.tokens = { refresh_token: alice.token };
    assert.ok((await app.refresh()).access_token);
});

scenario("nobody revokes what is another's", async () => {
    const bob = await chrome.person();
    await bob.goTo(`${stack.issuer}/account`);
    await bob.logIn('bob');
    const alices = app.tokens.refresh_token; // of the scenario before
    const { jti } = JSON.parse(Buffer.from((await app.refresh()).access_token.split('.')[1], 'base64url'));
    const id = jti.split('.')[0];
    await bob.page.$$eval(
        'form[action^="/account/sessions/"]',
        (forms, session) => forms.forEach((form) => form.setAttribute('action', `/account/sessions/${session}`)),
        id,
    );
    await bob.submit(`/account/sessions/${id}`);
    assert.match(await bob.notice(), /had ended already/);
    app.tokens = { refresh_token: alices };
    assert.ok((await app.refresh()).access_token);
    assert.equal(await bob.goTo(`${stack.issuer}/admin`), 403);
    await bob.look();
});

scenario('every page forbids scripts, frames and caches; cookies are for this server only', async () => {
    for (const path of ['/', '/login', '/authorize', '/nowhere']) {
        const { headers } = await fetch(stack.issuer + path);
        const policy = headers.get('content-security-policy');
        assert.match(policy, /default-src 'none'/, path);
        assert.match(policy, /frame-ancestors 'none'/, path);
        assert.doesNotMatch(policy, /unsafe|script-src/, path);
        assert.equal(headers.get('x-content-type-options'), 'nosniff', path);
        assert.match(headers.get('cache-control'), /no-store/, path);
    }
    const alice = await chrome.person();
    await alice.goTo(`${stack.issuer}/account`);
    await alice.logIn('alice');
    const cookies = await alice.page.browserContext().cookies();
    assert.ok(cookies.length > 0);
    for (const cookie of cookies) {
        assert.match(cookie.name, /^__Host-/);
        assert.ok(cookie.secure && cookie.httpOnly, cookie.name);
        assert.match(cookie.sameSite, /Lax|Strict/, cookie.name);
    }
});

scenario('a path to return to is a path of this server', async () => {
    for (const evil of [
        '//evil.example/',
        'https://evil.example/',
        '/\\evil.example/',
        '/%09/evil.example',
        'javascript:alert(1)',
    ]) {
        const alice = await chrome.person();
        await alice.goTo(`${stack.issuer}/login?return=${evil.includes('%') ? evil : encodeURIComponent(evil)}`);
        await alice.logIn('alice');
        assert.equal(new URL(alice.url()).origin, stack.issuer, evil);
    }
});

scenario('an access token of a session that its user revoked is worth nothing at once (V6)', async () => {
    const alice = await chrome.person();
    await alice.goTo(await app.begin());
    await alice.logIn('alice');
    await alice.press('Allow');
    await app.finish();
    assert.equal((await introspect(stack, app.tokens.access_token, 'files-api')).active, true);
    await alice.goTo(`${stack.issuer}/account`);
    await alice.press('Revoke everything for Pocket Notes');
    if (await alice.has('Leave it as it is')) await alice.press('Revoke everything for Pocket Notes');
    assert.equal((await introspect(stack, app.tokens.access_token, 'files-api')).active, false);
});

runScenarios(
    async () => {
        stack = await Stack.start();
        chrome = await Chrome.launch();
        app = await NativeApp.start(stack);
        return stack;
    },
    {
        stop: async () => {
            app.stop();
            await chrome.close();
        },
    },
);
