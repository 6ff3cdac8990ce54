// Whole journeys of a platform that uses WePay's official Node client, against a running sandbox: once without an API version, once
// with the newest, whose errors have two keys more.
//
// usage: node client_journey.js SANDBOX.json
'use strict';

const assert = require('assert').strict;

const { Browser, PASSWORD, Platform, REDIRECT, control, fault, seen } = require('./official_client');
const { everyKindOfError } = require('./client_refusals');

const VERSIONS = [null, '2019-04-03'];
const TEMPORARY_LIFE_S = 90 * 24 * 60 * 60;
const CODE_LIFE_S = 10 * 60;

const step = (platform, text) => console.log(`journey: ${platform.version || 'no version'}: ${text}`);

// A user who is registered by the platform, works at once, and confirms by mail.
async function register(platform, email) {
    step(platform, 'register, work with the temporary token, confirm by mail');
    platform.use(null);
    const issued = await platform.ok('/user/register', platform.registration(email, { redirect_uri: REDIRECT }));
    assert.match(seen.headers, /\r\ntransfer-encoding: chunked\r\n/i, 'the client never counts its body');
    assert.doesNotMatch(seen.headers, /\r\n(content-length|authorization):/i);
    assert.deepEqual([issued.token_type, issued.expires_in], ['BEARER', TEMPORARY_LIFE_S]);
    platform.use(issued.access_token);
    const user = await platform.ok('/user');
    assert.deepEqual([user.user_id, user.state, user.email], [issued.user_id, 'pending', email]);
    const account = await platform.ok('/account/create', { name: "Ann's Bread", description: 'bread & more' });
    assert.equal(account.state, 'pending');
    const here = { account_id: account.account_id };
    const pending = 'pending account cannot be updated; account owner must confirm WePay registration';
    await platform.refused('/account/get_update_uri', here, 'access_denied', 7002, pending);

    const wish = { email_subject: 'Confirm, please', email_message: 'Zum Bestätigen: ↓', email_button_text: 'Yes' };
    assert.equal((await platform.ok('/user/send_confirmation', wish)).state, 'pending');
    const { mails: [mail, ...more] } = await control('GET', `/mails?user_id=${issued.user_id}`);
    assert.deepEqual([mail.to, mail.subject, mail.message], [email, wish.email_subject, wish.email_message]);
    assert.equal(more.length, 0);
    const browser = new Browser();
    const page = await browser.go(mail.link);
    const left = await browser.submit(page, 'confirm', { password: PASSWORD, accept: 'yes', decision: 'grant' });
    assert.ok(left.url.startsWith(REDIRECT), left.text);

    assert.equal((await platform.ok('/user')).state, 'registered');
    assert.equal((await platform.ok('/account', here)).state, 'action_required');
    const approved = 'This access_token is already approved.';
    await platform.refused('/user/send_confirmation', {}, 'invalid_request', 7002, approved);
    await platform.refused('/user/resend_confirmation', {}, 'invalid_request', 7002, approved);
}

// A merchant who comes by the browser.
async function authorize(platform, email) {
    step(platform, 'authorize in a browser, exchange, and what an exchange does to the tokens before');
    const denied = await platform.consent(email, { decision: 'deny', isNew: true, state: 's/1 +&' });
    assert.deepEqual([denied.error, denied.state], ['access_denied', 's/1 +&']);
    const granted = await platform.consent(email, { state: 's/1 +&', user_name: 'Ann Baker', user_email: email });
    assert.deepEqual([granted.tab, granted.state], ['payments', 's/1 +&']);
    const first = await platform.ok('/oauth2/token', platform.exchange(granted.code, { callback_uri: 'https://platform.test/n' }));
    assert.equal(first.token_type, 'BEARER');
    assert.ok(!first.expires_in);
    platform.use(first.access_token);
    assert.equal((await platform.ok('/user')).user_id, first.user_id);

    const invalid = ['invalid_request', 1003, 'invalid code parameter'];
    await platform.refused('/oauth2/token', platform.exchange(granted.code), ...invalid);
    assert.equal((await platform.ok('/user')).user_id, first.user_id, 'a used code changes nothing');
    const second = await platform.ok('/oauth2/token', platform.exchange(await platform.code(email)));
    assert.equal(second.user_id, first.user_id);
    await platform.refused('/user', {}, 'access_denied', 1011);
    platform.client.set_access_token(second.access_token);
    assert.equal((await platform.ok('/user')).user_id, first.user_id);

    const code = await platform.code(email);
    const refused = (more, ...why) => platform.refused('/oauth2/token', platform.exchange(code, more), ...why);
    await refused({ redirect_uri: `${REDIRECT}&more=1` }, 'invalid_request', 1003);
    await refused({ client_secret: '0000000000' }, 'invalid_client', 1003);
    const other = await control('POST', '/apps', {});
    await refused({ client_id: other.client_id, client_secret: other.client_secret }, 'invalid_request', 1013);
    await refused({ code: code.slice(1) }, ...invalid);
    await control('POST', '/clock', { advance_s: CODE_LIFE_S });
    await refused({}, 'invalid_request', 1012, 'the code has expired');
    assert.equal((await platform.ok('/user')).user_id, first.user_id, 'no refusal of an exchange touches a token');
}

async function users(platform) {
    step(platform, 'look at the user and change it; risk headers stay once they were given');
    const user = await platform.ok('/user');
    assert.deepEqual(await platform.ok('/user', {}, 'a1b2c3', '203.0.113.7'), user);
    assert.deepEqual(await platform.ok('/user'), user);
    assert.match(seen.headers, /\r\nwepay-risk-token: a1b2c3\r\n/i);
    assert.match(seen.headers, /\r\nclient-ip: 203\.0\.113\.7\r\n/i);
    const uri = 'https://platform.test/notices?of=a%20b&c';
    assert.equal((await platform.ok('/user/modify', { callback_uri: uri })).callback_uri, uri);
    assert.equal((await platform.ok('/user')).callback_uri, uri);
    const properties = { phone: '650-555-1234' };
    const rbits = [{ type: 'phone', receive_time: 1700000000, source: 'user', properties }];
    assert.equal((await platform.ok('/user/modify', { rbits })).callback_uri, uri);
}

async function accounts(platform) {
    step(platform, 'accounts: create, look up, find, change, doubled reference, pages, delete');
    const ids = async (filter) => (await platform.ok('/account/find', filter)).map((account) => account.account_id);
    const wish = { name: "Zoë's Räder / Söhne", description: 'Fahrräder, “gebraucht”', reference_id: 'order/1' };
    const made = await platform.ok('/account/create', { ...wish, type: 'business', gaq_domains: ['UA-1-1'] });
    const here = { account_id: made.account_id };
    assert.deepEqual([made.name, made.description, made.reference_id], Object.values(wish));
    assert.deepEqual([made.type, made.state, made.currencies], ['business', 'action_required', ['USD']]);
    assert.deepEqual(await platform.ok('/account', here), made);
    assert.deepEqual(await platform.ok('/account', { account_id: String(made.account_id) }), made);
    assert.deepEqual(await ids({ reference_id: 'order/1' }), [made.account_id]);
    assert.deepEqual(await ids({ name: wish.name }), [made.account_id]);
    await platform.refused('/account/create', wish, 'invalid_request', 1003);
    const other = await platform.ok('/account/create', { ...wish, reference_id: 'order/2' });
    await platform.refused('/account/modify', { ...here, reference_id: 'order/2' }, 'invalid_request', 1003);
    const found = await ids();
    assert.deepEqual(found.slice(0, 2), [other.account_id, made.account_id], 'the newest first');
    assert.deepEqual(await ids({ sort_order: 'ASC' }), found.reverse());

    const changed = await platform.ok('/account/modify', { ...here, name: 'Räder', callback_uri: 'https://platform.test/n' });
    assert.deepEqual([changed.name, changed.callback_uri, changed.description], ['Räder', 'https://platform.test/n', wish.description]);
    assert.deepEqual(await platform.ok('/account', here), changed);

    const reserve = await platform.ok('/account/get_reserve_details', here);
    assert.deepEqual([reserve.account_id, reserve.currency, reserve.reserved_amount], [made.account_id, 'USD', 0]);
    assert.deepEqual(reserve.withdrawals_schedule, []);
    const update = await platform.ok('/account/get_update_uri', { ...here, redirect_uri: REDIRECT });
    assert.equal(update.account_id, made.account_id);
    const page = await new Browser().go(update.uri);
    assert.ok(page.status === 200 && page.text.includes('sandbox'), page.text);
    const framed = await platform.ok('/account/get_update_uri', { ...here, mode: 'iframe' });
    assert.equal(new URL(framed.uri).searchParams.get('iframe'), '1');

    const gone = { account_id: other.account_id };
    assert.deepEqual(await platform.ok('/account/delete', { ...gone, reason: 'closed' }), { ...gone, state: 'deleted' });
    assert.ok(!(await ids()).includes(other.account_id));
    assert.equal((await platform.ok('/account', gone)).state, 'deleted');
    await platform.refused('/account/modify', { ...gone, name: 'Back' }, 'invalid_request', 3003);
    const again = await platform.ok('/account/create', { ...wish, reference_id: 'order/2' });
    assert.notEqual(again.account_id, other.account_id, "a deleted account's reference is free");
    return made.account_id;
}

async function apps(platform) {
    step(platform, 'the app');
    const app = await platform.ok('/app', platform.app);
    assert.deepEqual([app.client_id, app.state], [platform.app.client_id, 'active']);
    const theme = { name: 'Bread', primary_color: 'FFFFFF', secondary_color: '000000' };
    Object.assign(theme, { background_color: 'FFFFFF', button_color: 'FF0000' });
    const changed = await platform.ok('/app/modify', { ...platform.app, theme_object: theme, gaq_domains: ['UA-2-2'] });
    assert.deepEqual({ ...changed.theme_object, ...theme }, changed.theme_object);
    assert.deepEqual(changed.gaq_domains, ['UA-2-2']);
    assert.deepEqual(await platform.ok('/app', platform.app), changed);
}

async function batches(platform, accountId) {
    step(platform, 'a batch, with errors inside');
    const authorization = platform.client.get_access_token();
    const calls = [
        { call: '/user', authorization, reference_id: 'a' },
        { call: '/account', authorization, reference_id: 'b', parameters: { account_id: 1 } },
        { call: '/account', authorization, parameters: { account_id: accountId } },
        { call: '/account/find', reference_id: 'd' },
        { call: '/nothing', authorization, reference_id: 'e' },
        { call: '/account/create', authorization, reference_id: 'f', parameters: { name: 'No more' } },
    ];
    const { calls: answers } = await platform.ok('/batch/create', { ...platform.app, calls });
    assert.deepEqual(answers.map((answer) => answer.call), calls.map((call) => call.call));
    assert.deepEqual(answers.map((answer) => answer.reference_id ?? null), ['a', 'b', null, 'd', 'e', 'f']);
    assert.deepEqual(answers.map((answer) => answer.response.error_code), [undefined, 3002, undefined, 1002, 1001, 1004]);
    assert.deepEqual(answers[2].response, await platform.ok('/account', { account_id: accountId }));
    await platform.refused('/batch/create', { ...platform.app, calls: 'all' }, 'invalid_request', 1003);
    await platform.refused('/batch/create', { ...platform.app, client_secret: '0', calls: [] }, 'invalid_client', 1003);
}

async function lostAnswers(platform, email) {
    step(platform, 'answers that are lost or not JSON, as the client shows them');
    const order = { name: 'Lost and Found', description: 'x', reference_id: 'lost' };
    await fault('/account/create', 'lose_after');
    assert.match((await platform.breaks('/account/create', order)).message, /socket hang up|ECONNRESET/);
    const [found, ...more] = await platform.ok('/account/find', { reference_id: 'lost' });
    assert.deepEqual([found.name, more.length], ['Lost and Found', 0]);
    for (const [kind, options] of [['status', { status: 502 }], ['malformed', {}]]) {
        await fault('/account', kind, options);
        assert.ok(await platform.breaks('/account', { account_id: found.account_id }) instanceof SyntaxError);
    }
    const exchange = platform.exchange(await platform.code(email));
    await fault('/oauth2/token', 'lose_after');
    await platform.breaks('/oauth2/token', exchange);
    await platform.refused('/user', {}, 'access_denied', 1011);
    await platform.refused('/oauth2/token', exchange, 'invalid_request', 1003, 'invalid code parameter');
}

async function main() {
    for (const [number, version] of VERSIONS.entries()) {
        const platform = new Platform(version);
        await control('POST', '/settings', { throttle: 'off', registered_domain: 'platform.test' });
        await register(platform, `ann${number}@bread.test`);
        await users(platform);
        const email = `zoe${number}@wheels.test`;
        await authorize(platform, email);
        await users(platform);
        const accountId = await accounts(platform);
        await apps(platform);
        await batches(platform, accountId);
        await everyKindOfError(platform, accountId, step);
        await lostAnswers(platform, email);
    }
    console.log('journey: done');
}

main().catch((error) => {
    console.error(error);
    process.exitCode = 1;
});
