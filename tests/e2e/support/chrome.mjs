// People at a browser: Chromium without a window, and without JavaScript in its pages, for the server's pages need
// none. Buttons, links and fields are found as people find them, by what stands on them.
// SPDX-License-Identifier: MIT

import './node.mjs';
import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import puppeteer from 'puppeteer-core';
import { passwordOf } from './stack.mjs';

const WIDTH = 1280,
    HEIGHT = 860,
    NARROW = 320;
const MOST_BYTES = 150 * 1024; // of a screenshot, since those in docs/ are in the repository
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export class Chrome {
    static async launch() {
        const chrome = new Chrome();
        chrome.browser = await puppeteer.launch({
            executablePath: process.env.CHROMIUM,
            pipe: true, // it ends when we do
            args: [
                '--no-sandbox',
                '--disable-gpu',
                '--disable-dev-shm-usage',
                '--lang=en',
                '--force-color-profile=srgb',
            ],
            env: { ...process.env, LANG: 'C.UTF-8', TZ: 'UTC' },
        });
        return chrome;
    }

    /** Somebody with a browser of his own: no cookies are shared. */
    async person({ userAgent } = {}) {
        const context = await this.browser.createBrowserContext();
        const page = await context.newPage();
        if (userAgent) await page.setUserAgent(userAgent);
        await page.setViewport({ width: WIDTH, height: HEIGHT });
        await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'light' }]);
        await page.setJavaScriptEnabled(false);
        page.setDefaultTimeout(15000);
        return new Person(page);
    }

    async close() {
        await this.browser?.close();
    }
}

export class Person {
    constructor(page) {
        this.page = page;
    }

    /** Goes to a URL: the status of the answer. */
    async goTo(url) {
        return (await this.page.goto(url)).status();
    }

    url() {
        return this.page.url();
    }

    /** What stands in the page's main part. */
    async text() {
        return this.page.$eval('main', (main) => main.innerText);
    }

    /** What the page says happened, or went wrong. */
    async notice() {
        return this.page.$eval('[role=status].notice, [role=alert]', (notice) => notice.innerText);
    }

    /** A button or link by its whole text, inside what `within` selects and has the text `near`. */
    async #find(name, within, near) {
        const handle = await this.page.evaluateHandle(
            (wanted, selector, text) => {
                const plain = (element) => element.textContent.replace(/\s+/g, ' ').trim();
                const places = [...document.querySelectorAll(selector)].filter((place) => plain(place).includes(text));
                return (
                    places
                        .flatMap((place) => [...place.querySelectorAll('button, a')])
                        .find((element) => plain(element) === wanted) ?? null
                );
            },
            name,
            within,
            near,
        );
        const element = handle.asElement();
        if (!element) throw new Error(`no "${name}" at ${this.url()}:\n${await this.text()}`);
        return element;
    }

    /** Presses a button or link, from the keyboard, and waits for the page that comes: the status of its answer. */
    async press(name, { within = 'body', near = '' } = {}) {
        const element = await this.#find(name, within, near);
        await element.focus();
        const [response] = await Promise.all([this.page.waitForNavigation(), this.page.keyboard.press('Enter')]);
        return response?.status();
    }

    /** Presses the first button of a form, found by its action. */
    async submit(action) {
        const button = await this.page.$(`form[action="${action}"] button`);
        assert.ok(button, `no form for ${action} at ${this.url()}`);
        await button.focus();
        const [response] = await Promise.all([this.page.waitForNavigation(), this.page.keyboard.press('Enter')]);
        return response?.status();
    }

    /** The actions of the forms whose action begins so. */
    async actions(beginning) {
        return this.page.$$eval(`form[action^="${beginning}"]`, (forms) =>
            forms.map((form) => form.getAttribute('action')),
        );
    }

    /** Whether there is such a button or link. */
    async has(name) {
        return this.#find(name, 'body', '').then(
            () => true,
            () => false,
        );
    }

    async #field(label) {
        const id = await this.page.$$eval(
            'label',
            (labels, wanted) => labels.find((element) => element.textContent.includes(wanted))?.htmlFor,
            label,
        );
        if (!id) throw new Error(`no field "${label}" at ${this.url()}:\n${await this.text()}`);
        return this.page.$(`#${id}`);
    }

    /** Types into the field with this label, in place of what stands there. */
    async fill(label, text) {
        const field = await this.#field(label);
        await field.focus();
        await this.page.keyboard.down('Control');
        await this.page.keyboard.press('a');
        await this.page.keyboard.up('Control');
        await this.page.keyboard.type(text);
    }

    async tick(label) {
        const box = await this.page.evaluateHandle(
            (wanted) =>
                [...document.querySelectorAll('label')].find((element) => element.textContent.includes(wanted))
                    ?.control,
            label,
        );
        await box.focus();
        await this.page.keyboard.press('Space');
        assert.equal(await box.evaluate((element) => element.checked), true, label);
    }

    /** At the login page. */
    async logIn(user, password = passwordOf(user)) {
        await this.fill('User name', user);
        await this.fill('Password', password);
        return this.press('Log in', { within: 'main' });
    }

    /** The names of the cells of a table's rows, by the table's headings. */
    async rows(within = 'body') {
        return this.page.$$eval(`${within} tbody tr`, (rows) =>
            rows.map((row) =>
                Object.fromEntries(
                    [...row.cells].map((cell, i) => [
                        row.closest('table').tHead.rows[0].cells[i].innerText,
                        cell.innerText.replace(/\s+/g, ' ').trim(),
                    ]),
                ),
            ),
        );
    }

    /**
     * Keeps a picture of the page, where it is given a name, and asserts that axe-core finds no serious violation in
     * it, and that it fits on a narrow screen. axe is JavaScript: it is let in for that.
     */
    async look(name, { dark = false } = {}) {
        await this.page.setJavaScriptEnabled(true);
        if (dark) await this.page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'dark' }]);
        if (name) await this.#picture(name);
        await this.page.evaluate(axe);
        const { passed, found } = await this.page.evaluate(async () => {
            const { passes, violations } = await globalThis.axe.run();
            return {
                passed: passes.length,
                found: violations.map(({ id, impact, help, nodes }) => ({
                    id,
                    impact,
                    help,
                    nodes: nodes.map((node) => node.html),
                })),
            };
        });
        await this.page.setViewport({ width: NARROW, height: HEIGHT });
        const overflow = await this.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        await this.page.setViewport({ width: WIDTH, height: HEIGHT });
        await this.page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'light' }]);
        await this.page.setJavaScriptEnabled(false);
        assert.ok(
            overflow <= 0,
            `${this.url()} is ${overflow} pixels wider than a screen of ${NARROW} (WCAG 2.2, 1.4.10)`,
        );
        assert.ok(passed > 10, 'axe-core has looked at the page');
        const serious = found.filter(({ impact }) => ['serious', 'critical'].includes(impact));
        assert.deepEqual(serious, [], `axe-core at ${this.url()}`);
    }

    async #picture(name) {
        const folder = process.env.OTOK_E2E_SCREENSHOTS;
        if (!folder) return;
        const picture = await this.page.screenshot({ type: 'png', optimizeForSpeed: false });
        await mkdir(folder, { recursive: true });
        await writeFile(path.join(folder, `${name}.png`), picture);
        assert.ok(picture.length < MOST_BYTES, `${name}.png has ${picture.length} bytes`);
    }
}
