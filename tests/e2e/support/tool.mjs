// The command offlinetok, as an administrator runs it.
// SPDX-License-Identifier: MIT

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
const command = process.env.OTOK_E2E_TOOL;

/** What it prints for machines; throws where it fails. */
export async function offlinetok(store, ...words) {
    const { stdout } = await run(command, ['--store', store, ...words, '--json']);
    return stdout ? JSON.parse(stdout) : undefined;
}

/** One pass of a move: what the import says of it. */
export async function copyRecords(from, to, ...options) {
    const pipe = '"$0" --store "$1" export | "$0" --store "$2" import - --json "${@:3}"';
    const { stdout } = await run('bash', ['-o', 'pipefail', '-c', pipe, command, from, to, ...options]);
    return JSON.parse(stdout);
}
