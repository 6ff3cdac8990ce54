// WePay's official Node client, as released, with nothing changed but where its requests go, and what a platform's developer has
// beside it: a browser for the merchant, and the sandbox's control API for what happens at the provider.
'use strict';

const assert = require('assert').strict;
const fs = require('fs');
const http = require('http');
const https = require('https');

const sandbox = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const base = new URL(sandbox.api);
// What the client sent last, and what came: it shows the body alone.
const seen = { headers: '', status: 0, type: '' };

// The client knows WePay's two addresses only, always over TLS: its requests go to the sandbox instead.
https.request = (options, answered) => {
    assert.equal(options.host, 'stage.wepayapi.com');
    const here = { ...options, host: base.hostname, port: base.port, protocol: 'http:', agent: undefined };
    const request = http.request(here, (response) => {
        seen.status = response.statusCode;
        seen.type = response.headers['content-type'];
        answered(response);
    });
    request.once('finish', () => { seen.headers = request._header; });
    return request;
};

const { WEPAY } = require('wepay');

const PLATFORM = 'https://platform.test/';
const REDIRECT = PLATFORM + 'connected?tab=payments';
const SCOPES = 'manage_accounts,collect_payments,view_user,preapprove_payments,send_money';
const PASSWORD = 'correct horse battery staple';

// HTTP status of each kind of error; 1001 is the exception that was recorded.
const STATUS = {
    invalid_request: 400,
    access_denied: 401,
    invalid_scope: 400,
    invalid_client: 401,
    processing_error: 500,
    throttle_exceeded: 429,
};
const KEYS = ['error', 'error_code', 'error_description'];
const KEYS_SINCE_2018_08_29 = ['details', 'documentation_url', ...KEYS];

// One request of anything but the client; its status, headers and text.
function send(method, url, body, headers) {
    return new Promise((resolve, reject) => {
        const request = http.request(url, { method, headers, agent: false }, (response) => {
            let text = '';
            response.setEncoding('utf8');
            response.on('data', (part) => { text += part; });
            response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, text }));
        });
        request.on('error', reject);
        request.end(body);
    });
}

async function control(method, path, body) {
    const headers = { 'Content-Type': 'application/json' };
    const answer = await send(method, sandbox.control + path, body && JSON.stringify(body), headers);
    assert.equal(answer.status, 200, `${method} ${path}: ${answer.text}`);
    return JSON.parse(answer.text);
}

const fault = (path, kind, more) => control('POST', '/faults', { path, kind, ...more });

const unescaped = (text) => text.replace(/&#x?([0-9a-f]+);|&(amp|lt|gt|quot);/gi, (all, number, name) => (
    name ? { amp: '&', lt: '<', gt: '>', quot: '"' }[name.toLowerCase()]
        : String.fromCodePoint(all[2] === 'x' ? parseInt(number, 16) : parseInt(number, 10))));

// A person's browser: cookies, forms, redirects; stops before it leaves for the platform.
class Browser {
    constructor() {
        this.cookies = {};
    }

    async go(address, fields) {
        let url = address;
        let body = fields && new URLSearchParams(fields).toString();
        for (let hops = 0; hops < 20; hops += 1) {
            if (url.startsWith(PLATFORM)) return { url, status: 0, text: '' };
            const headers = { Cookie: Object.entries(this.cookies).map((pair) => pair.join('=')).join('; ') };
            if (body) headers['Content-Type'] = 'application/x-www-form-urlencoded';
            const answer = await send(body ? 'POST' : 'GET', url, body, headers);
            body = undefined;
            for (const cookie of answer.headers['set-cookie'] || []) {
                const [name, value] = cookie.split(';')[0].split('=');
                this.cookies[name] = value;
            }
            if (!answer.headers.location) return { url, status: answer.status, text: answer.text };
            url = new URL(answer.headers.location, url).href;
        }
        throw new Error('too many redirects');
    }

    // Fills in and sends the form of this name on the page.
    async submit(page, name, filled) {
        for (const [, action, inside] of page.text.matchAll(/<form[^>]*?action="([^"]*)"[^>]*>(.*?)<\/form>/gs)) {
            const fields = {};
            for (const [input] of inside.matchAll(/<input[^>]*>/g)) {
                const attribute = (wanted) => (input.match(new RegExp(`\\s${wanted}="([^"]*)"`)) || [])[1];
                const isOpen = /type="(checkbox|radio)"/.test(input) && !/\schecked/.test(input);
                if (attribute('name') && !isOpen) fields[attribute('name')] = unescaped(attribute('value') || '');
            }
            if (fields.form === name) {
                return this.go(new URL(unescaped(action), page.url).href, { ...fields, ...filled });
            }
        }
        throw new Error(`no form ${name} at ${page.url}: ${page.text}`);
    }
}

// One platform with the client. `version` is the API version it asks for, or null.
class Platform {
    constructor(version) {
        this.version = version;
        this.app = { client_id: Number(sandbox.client_id), client_secret: sandbox.client_secret };
        this.use(null);
    }

    // A client of its own for this token: the class has no per-call token.
    use(token) {
        this.client = new WEPAY({ ...this.app, access_token: token, api_version: this.version }).use_staging();
    }

    // One call, by the client's callback.
    call(path, params = {}, ...risk) {
        return new Promise((resolve) => { this.client.call(path, params, resolve, ...risk); });
    }

    async ok(path, params, ...risk) {
        const answer = await this.call(path, params, ...risk);
        assert.equal(seen.status, 200, `${path}: ${JSON.stringify(answer)}`);
        assert.equal(answer.error, undefined, path);
        return answer;
    }

    async refused(path, params, error, code, text) {
        const answer = await this.call(path, params);
        const shown = `${path}: ${JSON.stringify(answer)}`;
        assert.deepEqual([answer.error, answer.error_code], [error, code], shown);
        if (text !== undefined) assert.equal(answer.error_description, text);
        assert.ok(answer.error_description, shown);
        const keys = this.version && this.version >= '2018-08-29' ? KEYS_SINCE_2018_08_29 : KEYS;
        assert.deepEqual(Object.keys(answer).sort(), [...keys].sort(), shown);
        assert.equal(seen.status, code === 1001 ? 501 : STATUS[error], shown);
        assert.equal(seen.type, 'application/json', shown);
    }

    // A call with another token.
    async refusedWith(token, ...rest) {
        const before = this.client.get_access_token();
        this.use(token);
        await this.refused(...rest);
        this.use(before);
    }

    // A call after which the client throws where nobody can catch it: it does so for a broken connection, and for an answer that
    // is not JSON.
    breaks(path, params) {
        return new Promise((resolve, reject) => {
            process.once('uncaughtException', resolve);
            this.client.call(path, params || {}, (answer) => reject(new Error(JSON.stringify(answer))));
        });
    }

    registration(email, more) {
        return {
            ...this.app,
            email,
            scope: SCOPES,
            first_name: 'Ann',
            last_name: 'Baker',
            original_ip: '203.0.113.7',
            original_device: 'Mozilla/5.0 (X11; Linux x86_64)',
            tos_acceptance_time: 1700000000,
            ...more,
        };
    }

    // The merchant's part; the client has no method that makes the address. The query that comes back.
    async consent(email, { scope = SCOPES, decision = 'grant', isNew = false, ...more } = {}) {
        const asked = { client_id: this.app.client_id, redirect_uri: REDIRECT, scope, ...more };
        const browser = new Browser();
        let page = await browser.go(`${sandbox.ui}/oauth2/authorize?${new URLSearchParams(asked)}`);
        assert.equal(page.status, 200, page.text);
        const person = { email, password: PASSWORD, ...(isNew ? { first_name: 'Ann', last_name: 'Baker' } : {}) };
        page = await browser.submit(page, isNew ? 'register' : 'login', person);
        page = await browser.submit(page, 'consent', { decision });
        assert.ok(page.url.startsWith(REDIRECT), `${page.url} ${page.text}`);
        return Object.fromEntries(new URL(page.url).searchParams);
    }

    async code(email, options) {
        return (await this.consent(email, options)).code;
    }

    exchange(code, more) {
        return { ...this.app, code, redirect_uri: REDIRECT, ...more };
    }

    // A registered user and a token that works.
    async connected(email, options) {
        const person = { email, password: PASSWORD, first_name: 'Ann', last_name: 'Baker' };
        const { user_id: userId } = await control('POST', '/users', person);
        const issued = await this.ok('/oauth2/token', this.exchange(await this.code(email, options)));
        return [userId, issued.access_token];
    }
}

module.exports = { Browser, PASSWORD, Platform, REDIRECT, control, fault, seen, send };
