// A browser without JavaScript, as small as can be: cookies, redirects and forms. It does what a person does at the
// pages of the server: logs in, allows, refuses.
// SPDX-License-Identifier: MIT

import './node.mjs';
import { passwordOf } from './stack.mjs';

const ENTITIES = { amp: '&', lt: '<', gt: '>', quot: '"' };

function unescapeHtml(text) {
    return text.replace(/&(?:#(\d+)|#x([0-9a-f]+)|(\w+));/gi, (whole, decimal, hex, name) => {
        if (name) return ENTITIES[name] ?? whole;
        return String.fromCodePoint(decimal ? Number(decimal) : parseInt(hex, 16));
    });
}

function attributes(text) {
    const found = {};
    for (const [, name, value] of text.matchAll(/([\w-]+)(?:="([^"]*)")?/g)) found[name] = unescapeHtml(value ?? '');
    return found;
}

const plain = (html) =>
    unescapeHtml(html.replace(/<[^>]*>/g, ' '))
        .replace(/\s+/g, ' ')
        .trim();

function readForms(html) {
    return [...html.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/g)].map(([, head, inside]) => ({
        ...attributes(head),
        inputs: [...inside.matchAll(/<input\b([^>]*)>/g)].map(([, text]) => attributes(text)),
        buttons: [...inside.matchAll(/<button\b([^>]*)>([\s\S]*?)<\/button>/g)].map(([, text, label]) => ({
            ...attributes(text),
            label: plain(label),
        })),
    }));
}

const hasPassword = ({ inputs }) => inputs.some(({ type }) => type === 'password');
const hasButton = ({ buttons }, label) => buttons.some((button) => button.label === label);

export class Robot {
    cookies = new Map(); // browsers share those of a host over its ports

    constructor(userAgent = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0') {
        this.userAgent = userAgent;
    }

    async #fetch(url, init = {}) {
        const headers = { 'user-agent': this.userAgent, ...init.headers };
        if (this.cookies.size) headers.cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
        const response = await fetch(url, { ...init, headers, redirect: 'manual' });
        for (const line of response.headers.getSetCookie()) {
            const [, name, value] = line.match(/^([^=]+)=([^;]*)/);
            if (value === '' || /;\s*max-age=0/i.test(line)) this.cookies.delete(name);
            else this.cookies.set(name, value);
        }
        return response;
    }

    /**
     * Follows redirects until there is a page, {url, status, headers, html, text, forms}, or, when `leaves` says so,
     * until the browser is sent there: {left: URL}.
     */
    async open(url, init, leaves = () => false) {
        for (let hops = 0; hops < 20; hops++) {
            const response = await this.#fetch(url, init);
            const location = response.headers.get('location');
            if (!location) {
                const html = await response.text();
                return {
                    url: String(url),
                    status: response.status,
                    headers: response.headers,
                    html,
                    text: plain(html.replace(/^[\s\S]*<main\b/, '<main')),
                    forms: readForms(html),
                };
            }
            await response.arrayBuffer();
            url = new URL(location, url);
            init = undefined;
            if (leaves(url)) return { left: url };
        }
        throw new Error('too many redirects');
    }

    /** Presses the button with this label. */
    async press(page, label, values = {}, leaves) {
        const form = page.forms.find((candidate) => hasButton(candidate, label));
        if (!form) throw new Error(`no button ${label} at ${page.url} (${page.status}): ${page.text}`);
        const pressed = form.buttons.find((button) => button.label === label);
        const fields = new URLSearchParams();
        for (const { name, value, type, checked } of form.inputs)
            if (name !== undefined && (type !== 'checkbox' || checked !== undefined)) fields.append(name, value ?? '');
        if (pressed.name !== undefined) fields.append(pressed.name, pressed.value ?? '');
        for (const [name, value] of Object.entries(values)) fields.set(name, value);
        const target = new URL(form.action ?? '', page.url);
        if ((form.method ?? 'get').toLowerCase() === 'get') {
            target.search = fields;
            return this.open(target, undefined, leaves);
        }
        const headers = { origin: new URL(page.url).origin };
        return this.open(target, { method: 'POST', body: fields, headers }, leaves);
    }

    /** Fills in the login page. */
    async logIn(page, user, leaves) {
        const form = page.forms.find(hasPassword);
        const name = form.inputs.find(({ autocomplete }) => autocomplete === 'username').name;
        const password = form.inputs.find(({ type }) => type === 'password').name;
        return this.press(page, form.buttons[0].label, { [name]: user, [password]: passwordOf(user) }, leaves);
    }

    /**
     * Does what the server's pages ask for, until they are done: logs in as `user`, continues where a code stands in
     * its field already, and presses `answer` where it may choose. What comes then: a page, or where the browser is
     * sent.
     */
    async answer(url, { user = 'alice', answer = 'Allow', leaves } = {}) {
        let page = await this.open(url, undefined, leaves);
        while (page.status === 200 && page.forms.length > 0) {
            const button = [answer, 'Continue'].find((label) => page.forms.some((form) => hasButton(form, label)));
            if (page.forms.some(hasPassword)) page = await this.logIn(page, user, leaves);
            else if (button) page = await this.press(page, button, {}, leaves);
            else break;
        }
        return page;
    }

    /** An authorization request, answered: the URL of the redirect to the client. */
    async authorize(url, options = {}) {
        const redirect = new URL(url).searchParams.get('redirect_uri');
        const page = await this.answer(url, { leaves: (to) => to.href.startsWith(redirect), ...options });
        if (!page.left) throw new Error(`not sent back, but at ${page.url} (${page.status}): ${page.text}`);
        return page.left;
    }
}
