// What is asked of a server: refreshes for some seconds, and one token from several connections at once.
// SPDX-License-Identifier: MIT

import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { promisify } from 'node:util';
import { basic } from './servers.mjs';

/** wrk with refresh.lua, which fails where a refresh does, or does not rotate. */
export async function refreshes(server, build, folder, { connections, seconds, count }) {
    const file = path.join(folder, 'taken.txt');
    writeFileSync(file, server.take(count).join('\n') + '\n');
    const before = server.spent();
    const { stdout, stderr } = await promisify(execFile)('wrk', [
        ...['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '30s', '-s', path.join(build, 'refresh.lua')],
        ...[`${server.url}/token`, '--', file, basic],
    ]);
    const after = server.spent();
    const told = JSON.parse(stdout.trim().split('\n').at(-1));
    if (told.refused + told.unchanged + told.errors > 0 || told.answered < 1)
        throw new Error(`${server.name}: ${JSON.stringify(told)}\n${stderr}${server.program.log()}`);
    return {
        answered: told.answered,
        rate: (told.requests * 1e6) / told.us,
        p50_ms: told.p50 / 1000,
        p99_ms: told.p99 / 1000,
        max_ms: told.max / 1000,
        cpu_us: ((after - before) * 1e6) / told.answered,
    };
}

/** An answer to one refresh. */
async function refresh(server, token, agent) {
    const request = http.request(`${server.url}/token`, {
        agent,
        method: 'POST',
        headers: { Authorization: `Basic ${basic}`, 'Content-Type': 'application/x-www-form-urlencoded' },
    });
    request.end(`grant_type=refresh_token&refresh_token=${token}`);
    const [response] = await once(request, 'response');
    let text = '';
    for await (const piece of response.setEncoding('utf8')) text += piece;
    return { status: response.statusCode, token: JSON.parse(text).refresh_token };
}

/**
 * One token at once from several connections, which are there already, and then whatever token came of it once more:
 * how many other tokens it was answered with, how many were refused, and whether the session lives.
 */
async function meet(server, token, agents) {
    const answers = await Promise.all(agents.map((agent) => refresh(server, token, agent)));
    const good = answers.filter(({ status }) => status === 200);
    const successors = new Set(good.map((answer) => answer.token));
    successors.delete(token);
    const last = successors.size > 0 ? await refresh(server, [...successors].at(-1), agents[0]) : { status: 0 };
    return { successors: successors.size, refused: answers.length - good.length, lives: last.status === 200 };
}

export async function meetings(server, { connections, times }) {
    const agents = Array.from({ length: connections }, () => new http.Agent({ keepAlive: true, maxSockets: 1 }));
    const sum = { connections, times, one_successor: 0, several: 0, refused: 0, lives: 0 };
    for (const agent of agents) await refresh(server, server.take(1)[0], agent);
    for (const token of server.take(times)) {
        const { successors, refused, lives } = await meet(server, token, agents);
        sum.one_successor += successors === 1;
        sum.several += successors > 1;
        sum.refused += refused;
        sum.lives += lives;
    }
    for (const agent of agents) agent.destroy();
    return sum;
}
