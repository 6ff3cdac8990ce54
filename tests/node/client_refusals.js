// Every kind of error that the calls of a merchant's onboarding have, as WePay's official Node client hands it out.
'use strict';

const assert = require('assert').strict;

const { control, fault, seen } = require('./official_client');

const invalid = ['invalid_request', 1003];

async function invalidRequests(platform, here) {
    const refused = (...all) => platform.refused(...all);
    const unknown = ['invalid_request', 1001, 'that is not a recognized WePay API call'];
    for (const call of ['/null', '/user/nothing', '/accounts', '/batch']) await refused(call, {}, ...unknown);
    await platform.refusedWith('junk', '/null', {}, ...unknown); // the route comes before the token
    for (const params of [['x'], 'x', 1]) await refused('/account', params, 'invalid_request', 1005);
    const full = platform.registration('new@bread.test');
    for (const name of Object.keys(full)) {
        const missing = { ...full, [name]: undefined };
        await refused('/user/register', missing, 'invalid_request', 1004, `${name} parameter is required`);
    }
    for (const [call, params, name] of [
        ['/oauth2/token', platform.app, 'code'],
        ['/app', {}, 'client_id'],
        ['/account', {}, 'account_id'],
        ['/account/create', { description: 'x' }, 'name'],
        ['/batch/create', platform.app, 'calls'],
    ]) await refused(call, params, 'invalid_request', 1004, `${name} parameter is required`);

    for (const [name, value, text] of [
        ['email', 'nobody'],
        ['original_ip', '2001:db8::1', 'invalid original_ip'],
        ['redirect_uri', '/connected', 'redirect_uri must be a full uri (ex https://www.wepay.com )'],
        ['first_name', 'x'.repeat(128)],
        ['tos_acceptance_time', 'yesterday', "Parameter 'tos_acceptance_time' expected integer"],
        ['cvv', '123', 'cvv parameter is unexpected'],
    ]) await refused('/user/register', { ...full, [name]: value }, ...invalid, text);
    await refused('/account', { account_id: '12x' }, ...invalid, "Parameter 'account_id' expected integer");
    await refused('/account/modify', { ...here, name: 'My WePay shop' }, ...invalid);
    await refused('/account/modify', { ...here, name: 'Bread \u{1f956}' }, ...invalid);
    await refused('/account/modify', { ...here, country: 'US' }, ...invalid, 'country parameter is unexpected');
    await refused('/account/find', { sort_order: 'up' }, ...invalid);
    await refused('/user/modify', { callback_uri: 'https://stage.wepay.com/n' }, ...invalid);
    const code = { ...platform.app, code: '0'.repeat(50), redirect_uri: 'https://platform.test/' };
    await refused('/oauth2/token', code, ...invalid, 'invalid code parameter');
    platform.client.set_api_version('2018-09-09');
    const answer = await platform.call('/app', platform.app);
    assert.deepEqual([seen.status, answer.error, answer.error_code], [400, 'invalid_request', 1015]);
    platform.use(platform.client.get_access_token());
    const { users } = await control('GET', '/state');
    assert.ok(users.every((user) => user.email !== 'new@bread.test'));
}

async function denials(platform, here) {
    const none = 'could not parse authorization header, a valid access_token is required';
    await platform.refusedWith(null, '/user', {}, 'access_denied', 1002, none);
    await platform.refusedWith(`STAGE_${'0'.repeat(64)}`, '/user', {}, 'access_denied', 1006);
    const elsewhere = 'You are trying to use an access_token from production on stage';
    await platform.refusedWith(`PRODUCTION_${'0'.repeat(64)}`, '/user', {}, 'access_denied', 1006, elsewhere);
    const foreign = 'invalid account_id, account does not exist or does not belong to user';
    await platform.refused('/account', { account_id: 1 }, 'access_denied', 3002, foreign);

    const [narrowId, narrow] = await platform.connected(`narrow-${platform.version}@narrow.test`, { scope: 'manage_accounts' });
    const text = 'access token does not have the necessary permissions for this action. Permission required: view_user';
    await platform.refusedWith(narrow, '/user', {}, 'access_denied', 1010, text);
    await platform.refusedWith(narrow, '/account', here, 'access_denied', 3002);
    const canada = { name: 'Maple', description: 'x', country: 'CA', currencies: ['CAD'] };
    await platform.refused('/account/create', canada, 'access_denied', 1010);
    await control('POST', `/users/${narrowId}/revoke`);
    await platform.refusedWith(narrow, '/account/find', {}, 'access_denied', 1011, 'this access_token has been revoked');

    const [doomedId, doomed] = await platform.connected(`doomed-${platform.version}@doomed.test`);
    await control('POST', `/users/${doomedId}/delete`);
    await platform.refusedWith(doomed, '/user', {}, 'access_denied', 7003);
}

async function others(platform) {
    const full = platform.registration('new@bread.test');
    for (const scope of ['manage_accounts,view_user', 'everything', `${full.scope},everything`]) {
        await platform.refused('/user/register', { ...full, scope }, 'invalid_scope', 1003);
    }
    for (const change of [{ client_secret: '0000000000' }, { client_id: 1 }]) {
        for (const [call, params] of [['/app', platform.app], ['/app/modify', platform.app], ['/user/register', full]]) {
            await platform.refused(call, { ...params, ...change }, 'invalid_client', 1003);
        }
    }
    const app = `/apps/${platform.app.client_id}`;
    await control('POST', app, { state: 'disabled' });
    await platform.refused('/app', platform.app, 'invalid_client', 1003);
    await platform.refused('/user/register', full, 'invalid_client', 1003);
    await control('POST', app, { state: 'active' });
    assert.equal((await platform.ok('/app', platform.app)).state, 'active');

    await fault('/user', 'status', { status: 500, error_code: 1008 });
    const text = 'there was an unknown error - please contact api@wepay.com for support';
    await platform.refused('/user', {}, 'processing_error', 1008, text);
    assert.equal((await platform.ok('/user')).state, 'registered');
}

// Three calls in an hour, so that the test's own slowness can never matter.
async function throttled(platform, window) {
    const [limit, hour] = [3, 3600];
    await control('POST', '/settings', { throttle: window, throttle_calls: limit, throttle_window_s: hour });
    const text = 'Your app has been throttled for making too many calls. Please retry this call later';
    for (let round = 0; round < 2; round += 1) {
        await control('POST', '/clock', { advance_s: hour });
        for (let call = 0; call < limit; call += 1) await platform.ok('/user');
        await platform.refused('/user', {}, 'throttle_exceeded', 1007, text);
        await platform.refused('/app', platform.app, 'throttle_exceeded', 1007);
        await platform.refused('/null', {}, 'invalid_request', 1001);
    }
    await control('POST', '/settings', { throttle: 'off', throttle_calls: 30, throttle_window_s: 10 });
}

// Needs a platform whose client has a token, and an account of that token's user.
async function everyKindOfError(platform, accountId, step) {
    const here = { account_id: accountId };
    step(platform, 'invalid_request');
    await invalidRequests(platform, here);
    step(platform, 'access_denied');
    await denials(platform, here);
    step(platform, 'invalid_scope, invalid_client, processing_error');
    await others(platform);
    step(platform, 'throttle_exceeded, by both kinds of window');
    for (const window of ['sliding', 'fixed']) await throttled(platform, window);
}

module.exports = { everyKindOfError };
