// A file of tests is a program: it runs its scenarios with the test runner of Node, and ends with the summary of Check,
// which tests/run.sh counts.
// SPDX-License-Identifier: MIT

import './node.mjs';
import { test } from 'node:test';

const scenarios = [];

/** A test, named after what it shows, as a sentence, with the promises that it is about. */
export function scenario(name, body) {
    scenarios.push({ name, body });
}

/** Runs `body`; what it fails with is printed with the log of the programs. */
async function run(body, stack, counts) {
    try {
        await body();
        counts.passed++;
    } catch (error) {
        console.log(error);
        console.log(stack.log());
        throw error;
    }
}

/**
 * Runs the scenarios of this file, one after another or all at once, between `start` and `stop`. `start` returns what
 * has log() and stop(), such as a Stack.
 */
export function runScenarios(start, { atOnce = false, seconds = 60, stop = () => {} } = {}) {
    const counts = { passed: 0, errors: 1 }; // an error, until it has stopped well
    process.on('exit', () => {
        const checks = scenarios.length + counts.errors,
            failures = scenarios.length - counts.passed;
        const percent = Math.floor((100 * counts.passed) / Math.max(checks, 1));
        console.log(`${percent}%: Checks: ${checks}, Failures: ${failures}, Errors: ${counts.errors}`);
    });
    test('scenarios', { concurrency: atOnce || 1 }, async (t) => {
        const stack = await start().catch((error) => {
            console.log(error);
            process.exit(1); // some of it may be running, and would keep us
        });
        const one = ({ name, body }) => t.test(name, { timeout: seconds * 1000 }, () => run(body, stack, counts));
        if (atOnce) await Promise.all(scenarios.map(one));
        else for (const each of scenarios) await one(each);
        try {
            await stop();
        } finally {
            await stack.stop();
        }
        counts.errors = 0;
    });
}
