//! The authorize URL, and where the client may be pointed.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn every_authorize_url_asks_for_exactly_the_five_scopes(
        state in any::<String>(),
        query in proptest::option::of(any::<String>()),
        name in proptest::option::of(any::<String>()),
        email in proptest::option::of(any::<String>()),
        client_id in any::<String>(),
    ) {
        let page = Url::parse("https://www.wepay.com/v2/oauth2/authorize").unwrap();
        let mut redirect = Url::parse(REDIRECT).unwrap();
        redirect.set_query(query.as_deref());
        let request = AuthorizeRequest {
            redirect_uri: &redirect,
            state: &state,
            user_name: name.as_deref(),
            user_email: email.as_deref(),
        };
        let url = Url::parse(crate::provider::authorize::url(&page, &client_id, &request).as_str()).unwrap();
        prop_assert_eq!((url.host_str(), url.path()), (Some("www.wepay.com"), "/v2/oauth2/authorize"));
        prop_assert_eq!(url.fragment(), None);
        let mut found = url.query_pairs().into_owned().collect::<Vec<_>>();
        found.sort();
        let mut wanted = vec![
            ("client_id".to_owned(), client_id),
            ("redirect_uri".to_owned(), redirect.as_str().to_owned()),
            ("response_type".to_owned(), "code".to_owned()),
            ("scope".to_owned(), "manage_accounts,collect_payments,view_user,preapprove_payments,send_money".to_owned()),
            ("state".to_owned(), state),
        ];
        wanted.extend(name.map(|name| ("user_name".to_owned(), name)));
        wanted.extend(email.map(|email| ("user_email".to_owned(), email)));
        wanted.sort();
        prop_assert_eq!(found, wanted);
    }
}

#[test]
fn each_environment_has_its_own_hosts() {
    for (environment, api, ui) in [
        (Environment::Stage, "https://stage.wepayapi.com/v2", "https://stage.wepay.com/v2"),
        (Environment::Production, "https://wepayapi.com/v2", "https://www.wepay.com/v2"),
    ] {
        let endpoints = Endpoints::of(environment).unwrap();
        assert_eq!((endpoints.api.as_str(), endpoints.ui.as_str()), (api, ui));
        assert_eq!(below(&endpoints.api, "/oauth2/token").unwrap().as_str(), format!("{api}/oauth2/token"));
    }
}

#[test]
fn an_override_stays_on_this_host() {
    let try_both = |api: &str, ui: &str| Endpoints::overridden(Url::parse(api).unwrap(), Url::parse(ui).unwrap());
    let good = "http://127.0.0.1:8080/v2";
    for ok in [good, "http://127.8.8.8/v2/", "https://[::1]:8443/v2"] {
        assert!(try_both(ok, ok).is_ok(), "{ok}");
    }
    assert!(try_both(good, "http://localhost:8080/v2").is_ok());
    assert!(try_both("http://localhost:8080/v2", good).is_err(), "the API by address alone");
    for bad in [
        "http://10.0.0.1/v2",
        "http://[::ffff:10.0.0.1]/v2",
        "http://0.0.0.0/v2",
        "https://wepayapi.com/v2",
        "http://127.0.0.1.example/v2",
        "http://localhost.example/v2",
        "http://127.0.0.1/",
        "http://127.0.0.1/v3",
        "http://127.0.0.1/v2/more",
        "http://user@127.0.0.1/v2",
        "http://:pw@127.0.0.1/v2",
        "http://127.0.0.1/v2?x",
        "http://127.0.0.1/v2#x",
        "ftp://127.0.0.1/v2",
        "unix:/v2",
    ] {
        assert!(try_both(bad, good).is_err(), "{bad}");
        assert!(try_both(good, bad).is_err(), "{bad}");
    }
}

#[test]
fn a_client_refuses_plain_http_to_another_host() {
    let api = Url::parse("http://wepayapi.com/v2").unwrap();
    let endpoints = Endpoints { ui: api.clone(), api };
    let error = Client::new(endpoints, credentials(), &Timing::default()).unwrap_err();
    assert_eq!(error.to_string(), "provider endpoint api: must be https");
}
