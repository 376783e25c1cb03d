// The administrator: sees every session, page by page, revokes one, and ends those of a client, of a user, and of
// everybody.
// SPDX-License-Identifier: MIT

import { scenario, runScenarios } from './support/scenario.mjs';
import { Chrome } from './support/chrome.mjs';
import { byPassword, refresh } from './support/clients.mjs';
import { NativeApp } from './support/native_app.mjs';
import { Stack } from './support/stack.mjs';
import assert from 'node:assert/strict';
import * as jose from 'jose';

const USERS = ['alice', 'guest1', 'guest2'];
const EACH = 20; // as many as the server lets a user have with one client
const PAGE = 50;
const MACHINES = ['attic', 'studio', 'office', 'cabin'];

let stack, chrome, app, root;
let backups; // token responses of the nightly backup

const sessionOf = ({ access_token }) => jose.decodeJwt(access_token).jti.split('.')[0];
const isRefused = async ({ refresh_token }, id = 'nightly-backup') =>
    (await refresh(stack, id, refresh_token)).body.error === 'invalid_grant';

async function connectApp(user) {
    const person = await chrome.person();
    await person.goTo(await app.begin());
    await person.logIn(user);
    await person.press('Allow');
    await app.finish();
    return person;
}

scenario('the start: counters, a plot, events, applications and users', async () => {
    await connectApp('alice');
    await app.refresh();
    root = await chrome.person();
    await root.goTo(`${stack.issuer}/admin`);
    await root.logIn('root');
    const page = await root.text();
    for (const part of [/Nightly Backup/, /Photo Album/, /Alice Archer/, /Refresh/i]) assert.match(page, part);
    assert.ok(await root.page.$('.plot svg'), 'a plot');
    await root.look();
    const live = await root.page.goto(`${stack.issuer}/admin?live=1`);
    assert.equal(live.headers().refresh, '5');
    assert.equal(
        (await root.page.goto(`${stack.issuer}/admin`)).headers().refresh,
        undefined,
        'only when it is asked to',
    );
    await root.fill('Name, e-mail', 'BOB');
    await root.press('Search');
    assert.match(await root.text(), /Bob Baker/);
    assert.doesNotMatch(await root.text(), /Carol Carter/);
});

scenario('all sessions of a client, page by page, each once (Q1, Q2)', async () => {
    await root.goTo(`${stack.issuer}/admin`);
    await root.press('Nightly Backup');
    await root.look('admin-client');
    const first = await root.actions('/admin/sessions/');
    assert.equal(first.length, PAGE);
    await root.press('Next page');
    const second = await root.actions('/admin/sessions/');
    assert.equal(second.length, backups.length - PAGE);
    assert.equal(await root.has('Next page'), false);
    assert.deepEqual(
        [...first, ...second].sort(),
        backups.map((tokens) => `/admin/sessions/${sessionOf(tokens)}`).sort(),
    );
    await root.press('Show the oldest first');
    assert.equal((await root.actions('/admin/sessions/'))[0], second.at(-1));
});

scenario('a cursor that is no cursor gives the first page, and a notice (Q1)', async () => {
    assert.equal(await root.goTo(`${stack.issuer}/admin/clients/nightly-backup?cursor=nonsense`), 200);
    assert.match(await root.notice(), /first/);
    assert.equal((await root.actions('/admin/sessions/')).length, PAGE);
    await root.look();
});

scenario('revokes one session, and no other (V2)', async () => {
    await root.goTo(`${stack.issuer}/admin/clients/nightly-backup`);
    const last = backups.pop();
    await root.submit(`/admin/sessions/${sessionOf(last)}`);
    assert.match(await root.notice(), /session has ended/);
    assert.ok(await isRefused(last));
    assert.ok(!(await isRefused(backups.at(-1))));
});

scenario('a user: consents and sessions; one consent withdrawn, all that is held exported (V4, V7, C1)', async () => {
    await root.goTo(`${stack.issuer}/admin/users/alice`);
    await root.look('admin-user');
    const [consent] = await root.rows();
    assert.match(consent.Application, /Pocket Notes/);
    assert.match(consent.May, /Act for you when you are not there/);

    const cookies = (await root.page.browserContext().cookies())
        .map(({ name, value }) => `${name}=${value}`)
        .join('; ');
    const answer = await fetch(`${stack.issuer}/admin/users/alice?export=1`, { headers: { cookie: cookies } });
    assert.match(answer.headers.get('content-disposition'), /attachment/);
    const text = await answer.text();
    assert.ok(JSON.stringify(JSON.parse(text)).includes('pocket-notes'));
    for (const { refresh_token } of [...backups, app.tokens]) assert.ok(!text.includes(refresh_token), 'no token');

    await root.submit('/admin/consents');
    assert.match(await root.notice(), /consent is withdrawn/);
    assert.ok(await isRefused(app.tokens, 'pocket-notes'));
    assert.ok(!(await isRefused(backups[0])));
});

scenario('a cutoff for a client ends all its sessions at once, and those of no other (V2, V3, V5)', async () => {
    await connectApp('bob');
    await root.goTo(`${stack.issuer}/admin/clients/nightly-backup`);
    await root.press('End all sessions of Nightly Backup…');
    await root.look();
    assert.ok(!(await isRefused(backups[0])), 'it asks first');
    await root.press('End all sessions');
    assert.match(await root.notice(), /All sessions of this application have ended/);
    for (const tokens of backups) assert.ok(await isRefused(tokens));
    assert.deepEqual(await root.actions('/admin/sessions/'), [], 'and none is shown as live (Q4)');
    await app.refresh();
    assert.ok(!(await isRefused(await byPassword(stack, 'bob'))), 'what is issued later is later than the cutoff');
});

scenario('a cutoff for a user ends what acts for him, and logs out his browsers (V3)', async () => {
    const alice = await connectApp('alice');
    const ofAlice = app.tokens,
        ofBob = await byPassword(stack, 'bob');
    await root.goTo(`${stack.issuer}/admin/users/alice`);
    await root.press('End all sessions of Alice Archer…');
    await root.press('End all sessions');
    assert.ok(await isRefused(ofAlice, 'pocket-notes'));
    assert.ok(!(await isRefused(ofBob)));
    await alice.goTo(`${stack.issuer}/account`);
    assert.equal(new URL(alice.url()).pathname, '/login');
});

scenario(
    'a cutoff for the realm needs a word to be typed, and then every client and every browser is out (V3, V5)',
    async () => {
        const bob = await connectApp('bob');
        const tokens = await Promise.all(['alice', 'bob', 'guest1'].map((user) => byPassword(stack, user)));
        await root.goTo(`${stack.issuer}/admin`);
        await root.press('End all sessions…');
        await root.look('admin-end');
        await root.fill('Type END to confirm', 'end');
        await root.press('End all sessions');
        assert.match(await root.notice(), /Nothing was done/);
        for (const each of tokens) assert.ok(!(await isRefused(each)));

        await root.fill('Type END to confirm', 'END');
        await root.press('End all sessions');
        for (const each of tokens) assert.ok(await isRefused(each));
        await assert.rejects(app.refresh(), { error: 'invalid_grant' });
        for (const person of [bob, root]) {
            await person.goTo(`${stack.issuer}/account`);
            assert.equal(new URL(person.url()).pathname, '/login');
        }
        await root.logIn('root');
        assert.equal(await root.goTo(`${stack.issuer}/admin`), 200);
        await root.look('admin');
        assert.ok(!(await isRefused(await byPassword(stack, 'alice'))));
    },
);

scenario('what is not there is a page that says so, and metrics are OpenMetrics (E3)', async () => {
    for (const path of ['/admin/clients/nobody', '/admin/users/nobody']) {
        assert.equal(await root.goTo(stack.issuer + path), 404);
        await root.look();
    }
    const metrics = await fetch(`${stack.issuer}/metrics`);
    assert.match(metrics.headers.get('content-type'), /^application\/openmetrics-text/);
    const text = await metrics.text();
    assert.match(text, /refreshes_answered_total\{[^}]*\} [1-9]/);
    assert.match(text, /# EOF\n$/);
    const proxied = await fetch(`${stack.issuer}/metrics`, { headers: { 'x-forwarded-for': '192.0.2.1' } });
    assert.equal(proxied.status, 403);
});

/** Sessions to look at, and some use of them. */
async function seed() {
    const tokens = [];
    for (let i = 0; i < EACH; i++)
        tokens.push(
            ...(await Promise.all(
                USERS.map((user) =>
                    byPassword(stack, user, undefined, {
                        'user-agent': `${MACHINES[i % MACHINES.length]} nightly-backup/1.4`,
                    }),
                ),
            )),
        );
    for (let i = 0; i < 2 * tokens.length; i += EACH)
        // the plot has something to show; a few connections at a time
        await Promise.all(
            tokens
                .slice(i % tokens.length, (i % tokens.length) + EACH)
                .map(({ refresh_token }) => refresh(stack, 'nightly-backup', refresh_token)),
        );
    return tokens;
}

runScenarios(
    async () => {
        stack = await Stack.start({ guests: 2 });
        chrome = await Chrome.launch();
        app = await NativeApp.start(stack);
        backups = await seed();
        return stack;
    },
    {
        stop: async () => {
            app.stop();
            await chrome.close();
        },
    },
);
