// What attackers try at the pages and endpoints of the server, and what comes of it.
// SPDX-License-Identifier: MIT

import { scenario, runScenarios } from './support/scenario.mjs';
import { authorize, discover, logIn, openid, redirectOf, refresh } from './support/clients.mjs';
import { Robot } from './support/robot.mjs';
import { Stack } from './support/stack.mjs';
import { once } from 'node:events';
import { connect } from 'node:net';
import assert from 'node:assert/strict';

let stack;

async function requestOf(id, parameters) {
    return openid.buildAuthorizationUrl(await discover(stack, id), {
        redirect_uri: redirectOf(stack, id),
        scope: 'openid',
        code_challenge: 'x'.repeat(43),
        code_challenge_method: 'S256',
        ...parameters,
    });
}

/** Where a request ends: at a page, or sent to the client. */
const open = async (robot, url) => robot.open(url, undefined, (to) => to.origin !== stack.issuer);

async function atAccount(user) {
    const robot = new Robot();
    const page = await robot.logIn(await robot.open(`${stack.issuer}/account`), user);
    assert.equal(page.status, 200);
    return robot;
}

scenario('nobody passes for a public client without a click, whatever was allowed before (RFC 8252 section 8.6)', async () => {
    const robot = new Robot();
    await logIn(stack, 'pocket-notes', { robot, scope: 'openid notes.write', user: 'guest1' });
    const { url } = await authorize(stack, 'pocket-notes', { robot, scope: 'openid notes.write', prompt: 'none' });
    assert.equal(url.searchParams.get('error'), 'consent_required');
    const page = await open(robot, await requestOf('pocket-notes', { scope: 'openid notes.write' }));
    assert.match(page.text, /Pocket Notes asks/);
});

scenario('prompt=login is not satisfied by a time that was sealed for another request', async () => {
    const stranger = new Robot();
    const page = await stranger.open(await requestOf('photo-album', { state: 'early', prompt: 'login' }));
    const back = page.forms[0].inputs.find(({ name }) => name === 'return').value;
    const asked = new URL(back, stack.issuer).searchParams.get('asked');
    assert.ok(asked);
    const robot = await atAccount('guest2');
    await robot.authorize(await requestOf('photo-album'), { user: 'guest2' });
    const url = await requestOf('photo-album', { state: 'late', prompt: 'login' });
    url.searchParams.set('asked', asked);
    assert.match((await open(robot, url)).text ?? 'sent on', /Password/);
});

scenario('an ID token ends no login that lives in another browser', async () => {
    const robot = new Robot();
    const { tokens } = await logIn(stack, 'photo-album', { robot, scope: 'openid', user: 'guest3' });
    const url = `${stack.issuer}/logout?id_token_hint=${tokens.id_token}`;
    assert.equal((await new Robot().open(url)).status, 200);
    assert.equal((await robot.open(`${stack.issuer}/account`)).url, `${stack.issuer}/account`);
    assert.equal((await refresh(stack, 'photo-album', tokens.refresh_token)).status, 200);
});

scenario('to log out a browser from another one ends what clients had by that login (V2)', async () => {
    const lost = new Robot('Mozilla/5.0 (Windows NT 10.0) Firefox/140.0');
    const { tokens } = await logIn(stack, 'photo-album', { robot: lost, scope: 'openid', user: 'guest4' });
    assert.equal((await refresh(stack, 'photo-album', tokens.refresh_token)).status, 200);
    const robot = await atAccount('guest4');
    const page = await robot.open(`${stack.issuer}/account`);
    const there = page.forms.find(({ buttons }) => buttons.some(({ label }) => /^Log out Firefox on Windows/.test(label)));
    await robot.press({ ...page, forms: [there] }, there.buttons[0].label);
    assert.match((await lost.open(`${stack.issuer}/account`)).url, /\/login/);
    assert.equal((await refresh(stack, 'photo-album', tokens.refresh_token)).body.error, 'invalid_grant');
});

scenario('strangers who guess lock nobody out of a browser in which he has logged in', async () => {
    const robot = await atAccount('guest5');
    await robot.press(await robot.open(`${stack.issuer}/logout`), 'Log out');
    const tryOnce = async (who, password) => {
        const page = await who.open(`${stack.issuer}/login`);
        return (await who.press(page, 'Log in', { username: 'guest5', password })).status;
    };
    for (let i = 0; i < 5; i++) assert.equal(await tryOnce(new Robot(), 'wrong'), 403);
    assert.equal(await tryOnce(new Robot(), 'alice-demo'), 403, 'elsewhere');
    assert.equal(await tryOnce(robot, 'alice-demo'), 200);
});

scenario('a request of which two could see two ends is refused, and nothing behind it is read (RFC 9112)', async () => {
    const form = 'POST /token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n';
    const hidden = 'GET /jwks HTTP/1.1\r\nHost: a\r\n\r\n';
    for (const request of [
        `${form}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${hidden}`,
        `${form}Content-Length: 0\r\nContent-Length: 4\r\n\r\na=bc${hidden}`,
        `${form}Content-Length : 4\r\n\r\na=bc${hidden}`,
        `${form}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${hidden}`,
        `${form}Authorization: Basic YTpi\r\nAuthorization: Basic YTpi\r\nContent-Length: 4\r\n\r\na=bc${hidden}`,
    ]) {
        const socket = connect(new URL(stack.issuer).port, '127.0.0.1');
        let answer = '';
        socket.setEncoding('utf8').on('data', (text) => (answer += text));
        socket.write(request);
        await once(socket, 'close');
        assert.match(answer, /^HTTP\/1\.1 400 /, request);
        assert.equal(answer.split('HTTP/1.1 ').length, 2, request);
    }
});

runScenarios(async () => (stack = await Stack.start({ guests: 6 })));
