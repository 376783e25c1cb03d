// Logout, with the photo album of examples/clients in the browser and the files API behind it: what ends, and what
// stays.
// SPDX-License-Identifier: MIT

import { scenario, runScenarios } from './support/scenario.mjs';
import { Chrome } from './support/chrome.mjs';
import { NativeApp } from './support/native_app.mjs';
import { poll } from './support/process.mjs';
import { Stack } from './support/stack.mjs';
import assert from 'node:assert/strict';

const OFFLINE = 'Also end what acts for me when I am not there';

let stack, chrome, app;

/** Logged in at the photo album, which may import at night. */
async function atAlbum(user) {
    const person = await chrome.person();
    await person.goTo(`${stack.web}/`);
    await person.press('Log in');
    await person.logIn(user);
    if (await person.has('Allow')) await person.press('Allow');
    assert.match(await person.page.$eval('body', (body) => body.innerText), /Logged in as/);
    return person;
}

async function allowImport(person) {
    await person.press('Import my photos at night');
    await person.press('Allow');
    assert.match(await person.notice(), /imported at night from now on/);
}

async function importNow(person) {
    await person.press('Act while I am away');
    return person.notice();
}

/** Until the album, told by the server, knows. */
async function untilLoggedOut(person) {
    await poll('the back-channel logout', async () => {
        await person.goTo(`${stack.web}/`);
        return person.has('Log in');
    });
}

scenario(
    'the album asks for offline access when it needs it, and acts for a user who has logged out (I1, I6, I7)',
    async () => {
        const alice = await atAlbum('alice');
        assert.equal(await alice.has('Act while I am away'), false);
        await allowImport(alice);
        await alice.look('photo-album');
        assert.match(await importNow(alice), /Imported 3 photos/);
        await alice.press('Log out');
        assert.ok(alice.url().startsWith(stack.web), 'back at the album');
        assert.ok(await alice.has('Log in'));
        await alice.goTo(`${stack.issuer}/account`);
        assert.equal(new URL(alice.url()).pathname, '/login', 'logged out at the server, too');
        await alice.goTo(`${stack.web}/`);
        assert.match(await importNow(alice), /Imported 3 photos/);
    },
);

scenario('logout at the server reaches the album through the back channel; offline access stays (I7)', async () => {
    const alice = await atAlbum('alice');
    await alice.goTo(`${stack.issuer}/account`);
    await alice.press('Log out', { within: 'header' });
    assert.match(await alice.text(), /Log out\?|Alice Archer/);
    await alice.look('logout');
    await alice.press('Stay logged in');
    assert.equal(new URL(alice.url()).pathname, '/account');
    await alice.goTo(await app.begin({ scope: 'openid notes.write', prompt: 'login' }));
    await alice.logIn('alice');
    if (await alice.has('Allow')) await alice.press('Allow');
    await app.finish();
    assert.ok((await app.refresh()).refresh_token, 'of the login, which it will end with');
    await alice.goTo(`${stack.issuer}/logout`);
    await alice.press('Log out', { within: 'main' });
    assert.match(await alice.notice(), /logged out/);
    await assert.rejects(app.refresh(), { error: 'invalid_grant' });
    await alice.look();
    await untilLoggedOut(alice);
    assert.match(await importNow(alice), /Imported 3 photos/);
});

scenario(
    'logout with "also end what acts for me": every offline session of the user is over, the album forgets (I7)',
    async () => {
        const alice = await atAlbum('alice'),
            bob = await atAlbum('bob');
        await allowImport(bob);
        await alice.goTo(await app.begin());
        await alice.press('Allow');
        await app.finish();
        await app.refresh();
        await alice.goTo(`${stack.issuer}/logout`);
        await alice.tick(OFFLINE);
        await alice.press('Log out', { within: 'main' });
        await assert.rejects(app.refresh(), { error: 'invalid_grant' });
        await untilLoggedOut(alice);
        await poll('the album to forget the token', async () => {
            await alice.goTo(`${stack.web}/`);
            return !(await alice.has('Act while I am away'));
        });
        await bob.goTo(`${stack.web}/`);
        assert.match(await importNow(bob), /Imported 3 photos/);
    },
);

scenario('what the user revokes at the server, the album notices at its next refresh (V2)', async () => {
    const bob = await atAlbum('bob');
    assert.match(await importNow(bob), /Imported 3 photos/);
    await bob.goTo(`${stack.issuer}/account`);
    await bob.press('Revoke everything for Photo Album');
    if (await bob.has('Leave it as it is')) await bob.press('Revoke everything for Photo Album');
    await bob.goTo(`${stack.web}/`);
    assert.match(await importNow(bob), /ended|revoked/);
});

scenario('the album gives a permission back, and it is gone at the server (V1)', async () => {
    const root = await atAlbum('root');
    await allowImport(root);
    await root.press('Stop importing at night');
    assert.match(await root.notice(), /has ended/);
    await root.goTo(`${stack.issuer}/account`);
    assert.equal((await root.actions('/account/sessions/')).length, (await root.rows()).length);
    assert.doesNotMatch(await root.text(), /also when you are not there/);
});

scenario('carol, who may not be offline, logs in, and cannot let the album import (I1)', async () => {
    const carol = await atAlbum('carol');
    await carol.press('Import my photos at night');
    if (await carol.has('Allow')) await carol.press('Allow');
    assert.ok(carol.url().startsWith(stack.web));
    assert.equal(await carol.has('Act while I am away'), false);
});

scenario(
    'a logout never goes on to an address that is not registered, nor by an ID token that is not ours',
    async () => {
        const alice = await atAlbum('alice');
        for (const query of [
            { post_logout_redirect_uri: 'https://evil.example/', client_id: 'photo-album' },
            { post_logout_redirect_uri: `${stack.web}/` },
            { id_token_hint: 'e30.e30.e30' },
            { post_logout_redirect_uri: `${stack.web}/`, client_id: 'pocket-notes' },
        ]) {
            assert.equal(
                await alice.goTo(`${stack.issuer}/logout?${new URLSearchParams(query)}`),
                400,
                JSON.stringify(query),
            );
            assert.equal(new URL(alice.url()).origin, stack.issuer);
        }
        assert.equal(await alice.goTo(`${stack.issuer}/account`), 200);
        assert.equal(new URL(alice.url()).pathname, '/account', 'still logged in');
    },
);

scenario('a logout token that the server has not signed is refused by the album', async () => {
    const parts = ['{"alg":"none","typ":"logout+jwt"}', '{}', ''];
    const forged = parts.map((part) => Buffer.from(part).toString('base64url')).join('.');
    for (const logout_token of ['', 'nonsense', forged]) {
        const { status } = await fetch(`${stack.web}/backchannel-logout`, {
            method: 'POST',
            body: new URLSearchParams({ logout_token }),
        });
        assert.equal(status, 400, logout_token);
    }
});

runScenarios(
    async () => {
        stack = await Stack.start({ web: true, files: true });
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
