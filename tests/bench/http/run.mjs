// Refreshes with rotation over HTTP, of the identity server of the examples and of node-oidc-provider: in turn, so that
// whatever else the machine does is done to both.
//
//     run.mjs BUILD [--rounds 3] [--seconds 5] [--sessions 100000] [--server=OPTIONS]
//
// OPTIONS are more of the identity server's. Writes a table, and BUILD/http.json; fails where any refresh did.
// SPDX-License-Identifier: MIT

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { meetings, refreshes } from './load.mjs';
import { startOurs, startTheirs } from './servers.mjs';

const connectionCounts = [1, 8, 32];
const warmUp = { connections: 8, seconds: 5 };
const meeting = { connections: 8, times: 50 };
const measures = ['rate', 'p50_ms', 'p99_ms', 'cpu_us'];

function readOptions() {
    const text = (value) => ({ type: 'string', default: value });
    const { values, positionals } = parseArgs({
        allowPositionals: true,
        options: { rounds: text('3'), seconds: text('5'), sessions: text('100000'), server: text('') },
    });
    return {
        build: path.resolve(positionals[0]),
        rounds: Number(values.rounds),
        seconds: Number(values.seconds),
        sessions: Number(values.sessions),
        server: values.server.split(' ').filter((word) => word !== ''),
    };
}

function versions(build) {
    const own = JSON.parse(execFileSync(path.join(build, 'versions'), { encoding: 'utf8' }));
    const peer = readFileSync(path.join(build, 'node_modules/oidc-provider/package.json'), 'utf8');
    const machine = `${os.cpus().length} x ${os.cpus()[0].model}, ${os.type()} ${os.release()}`;
    return {
        machine,
        'identity-server': own,
        'oidc-provider': {
            'oidc-provider': JSON.parse(peer).version,
            node: process.versions.node,
            openssl: process.versions.openssl,
        },
    };
}

function summary(values) {
    const sorted = values.toSorted((a, b) => a - b);
    const half = sorted.length >> 1;
    const median = sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
    return { median, least: sorted[0], most: sorted.at(-1) };
}

/** It rotated as often as it answered, or once more for each connection that was closed before its last answer. */
async function checkRotations(server, loads) {
    const answered = loads.reduce((sum, { answered }) => sum + answered, 0);
    const closed = loads.reduce((sum, { load }) => sum + load.connections, 0);
    const rotated = await server.rotations();
    if (rotated < answered || rotated > answered + closed)
        throw new Error(`${server.name}: ${answered} refreshes were answered, and ${rotated} tokens rotated`);
}

/** Loads of all servers in turn: so many rounds for each number of connections. */
async function measure(servers, folder, { build, sessions, rounds, seconds }) {
    const schedule = [warmUp];
    for (const connections of connectionCounts)
        for (let round = 0; round < rounds; round++) schedule.push({ connections, seconds });
    const count = Math.floor((sessions - meeting.connections - meeting.times) / schedule.length);
    const loads = servers.map(() => []);
    for (const load of schedule)
        for (const [n, server] of servers.entries())
            loads[n].push({ load, ...(await refreshes(server, build, folder, { ...load, count })) });
    for (const [n, server] of servers.entries()) await checkRotations(server, loads[n]);
    return loads.map((all) => all.filter(({ load }) => load !== warmUp));
}

function figuresOf(servers, loads) {
    return connectionCounts.flatMap((connections) =>
        servers.map(({ name }, n) => {
            const rounds = loads[n].filter(({ load }) => load.connections === connections);
            const sums = measures.map((what) => [what, summary(rounds.map((round) => round[what]))]);
            return { server: name, connections, ...Object.fromEntries(sums), rounds };
        }),
    );
}

// ---- The table ----

const cell = (text, width) => `${text}`.padStart(width);

function printFigures(figures) {
    console.log('connections  server           refreshes/s (least - most)     p50 ms   p99 ms   CPU us');
    for (const { server, connections, rate, p50_ms, p99_ms, cpu_us } of figures) {
        const spread = `(${rate.least.toFixed(0)} - ${rate.most.toFixed(0)})`;
        console.log(
            `${cell(connections, 11)}  ${server.padEnd(15)} ${cell(rate.median.toFixed(0), 12)} ${spread.padEnd(16)}` +
                `${cell(p50_ms.median.toFixed(2), 9)}${cell(p99_ms.median.toFixed(2), 9)}` +
                `${cell(cpu_us.median.toFixed(0), 9)}`,
        );
    }
}

function printMeeting({ server, connections, times, one_successor, several, refused, lives }) {
    console.log(
        `${server}: ${connections} connections with one token at once, ${times} times: one successor ` +
            `${one_successor} times, several ${several} times; ${refused} of ${connections * times} refused; ` +
            `${lives} sessions live on`,
    );
}

function print(result) {
    const list = (object) => Object.entries(object).map(([name, version]) => `${name} ${version}`);
    console.log(
        `${result.versions.machine}; ${result.settings.sessions} sessions each, ES256, ` +
            `a new refresh token every time`,
    );
    for (const { server, durability, memory } of result.servers) {
        const mib = (kib) => `${(kib / 1024).toFixed(0)} MiB`;
        console.log(
            `${server}: ${list(result.versions[server]).join(', ')}; durability: ${durability}; resident at the end ` +
                `${mib(memory.rss)}, ${mib(memory.anonymous)} of it anonymous`,
        );
    }
    printFigures(result.figures);
    result.meetings.forEach(printMeeting);
}

// ---- The run ----

async function run(options, folder) {
    const { build, ...settings } = options;
    const servers = [await startOurs(build, folder, options), await startTheirs(build, folder, options)];
    const result = { settings, versions: versions(build) };
    result.figures = figuresOf(servers, await measure(servers, folder, options));
    result.meetings = [];
    for (const server of servers) result.meetings.push({ server: server.name, ...(await meetings(server, meeting)) });
    result.servers = servers.map((server) => ({
        server: server.name,
        durability: server.durability,
        memory: server.memory(),
    }));
    for (const server of servers) await server.stop();
    return result;
}

const options = readOptions();
const folder = mkdtempSync(path.join(options.build, 'run-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const result = await run(options, folder);
print(result);
writeFileSync(path.join(options.build, 'http.json'), `${JSON.stringify(result, null, 1)}\n`);
