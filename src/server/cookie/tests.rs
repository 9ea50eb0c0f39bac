use super::*;

fn plain() -> CookieName {
    CookieName::of(false, Some("localhost:8080"), 1)
}

fn secure() -> CookieName {
    CookieName::of(true, Some("agent.example"), 8080)
}

fn fields(name: &HeaderName, values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn texts(headers: &HeaderMap, name: HeaderName) -> Vec<String> {
    headers
        .get_all(name)
        .into_iter()
        .map(|value| value.to_str().unwrap().to_owned())
        .collect()
}

const ID: &str = "00112233445566778899aabbccddeeff";

#[test]
fn the_name_follows_the_port_and_security() {
    assert_eq!(plain().0, "sessmux-8080");
    assert_eq!(CookieName::of(false, Some("[::1]:9090"), 1).0, "sessmux-9090");
    assert_eq!(CookieName::of(false, Some("[::1]"), 8080).0, "sessmux-8080");
    assert_eq!(CookieName::of(false, Some("localhost"), 8080).0, "sessmux-8080");
    assert_eq!(CookieName::of(false, None, 8080).0, "sessmux-8080");
    assert_eq!(secure().0, "__Host-sessmux");
}

#[test]
fn what_is_set_is_read_back() {
    let id = BrowserId::mint();
    assert_ne!(id, BrowserId::mint());
    for name in [plain(), secure()] {
        let set = name.set(id);
        let pair = set.to_str().unwrap().split(';').next().unwrap();
        let headers = fields(&header::COOKIE, &["a=1; b=2", &format!("c=3; {pair}; d=4")]);
        assert_eq!(name.read(&headers), Ok(Some(id)));
    }
}

#[test]
fn the_attributes_keep_it_from_scripts_and_other_sites() {
    let set = plain().set(BrowserId::mint());
    let attributes: Vec<&str> = set.to_str().unwrap().split("; ").skip(1).collect();
    assert_eq!(attributes, ["Max-Age=34560000", "Path=/", "HttpOnly", "SameSite=Lax"]);
    assert!(secure().set(BrowserId::mint()).to_str().unwrap().ends_with("; Secure"));
}

#[test]
fn only_well_formed_values_are_read() {
    let read = |value: &str| {
        plain()
            .read(&fields(&header::COOKIE, &[&format!("sessmux-8080={value}")]))
            .unwrap()
    };
    assert!(read(ID).is_some());
    for value in [
        "",
        "00",
        &ID[1..],
        &format!("{ID}0"),
        &ID.to_uppercase(),
        &format!("\"{ID}\""),
        &ID.replace('0', "g"),
    ] {
        assert_eq!(read(value), None, "{value}");
    }
    let headers = fields(&header::COOKIE, &[&format!("sessmux-8080=x; sessmux-8080={ID}")]);
    assert!(
        plain().read(&headers).unwrap().is_some(),
        "a broken value in front hides none"
    );
    let headers = fields(&header::COOKIE, &[&format!("xsessmux-8080={ID}; sessmux-80801={ID}")]);
    assert_eq!(plain().read(&headers), Ok(None));
}

#[test]
fn ours_are_stripped_and_all_else_keeps_its_bytes() {
    let strip = |values: &[&str]| {
        let mut headers = fields(&header::COOKIE, values);
        strip(&mut headers);
        texts(&headers, header::COOKIE)
    };
    assert_eq!(strip(&["a=1; sessmux-8080=x; b=2"]), ["a=1; b=2"]);
    assert_eq!(strip(&["sessmux-8080=x; a=1"]), ["a=1"]);
    assert_eq!(strip(&["a=1; sessmux-8080=x"]), ["a=1"]);
    assert_eq!(strip(&["sessmux-8080=x", "a=1"]), ["a=1"]);
    assert_eq!(strip(&["sessmux-8080=x"]), [""; 0]);
    assert_eq!(strip(&["sessmux-9=x; __Host-sessmux=y; a=1"]), ["a=1"]);
    assert_eq!(
        strip(&["a=\"1;2\" ;;b = c=d;  sessmux-8080=x;e"]),
        ["a=\"1;2\" ;;b = c=d;e"]
    );
    let untouched = [" a=1;sessmux=2; sessmux-=3; sessmux-x=4; Sessmux-1=5;", "b=2"];
    assert_eq!(strip(&untouched), untouched);
}

#[test]
fn stripping_leaves_opaque_bytes() {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::COOKIE,
        HeaderValue::from_bytes(b"a=\xff\xfe; sessmux-1=x").unwrap(),
    );
    strip(&mut headers);
    assert_eq!(headers[header::COOKIE].as_bytes(), b"a=\xff\xfe");
}

#[test]
fn an_upstream_cannot_set_ours() {
    let mut headers = fields(
        &header::SET_COOKIE,
        &[
            "a=1; Path=/",
            "sessmux-8080=evil; Path=/x",
            " sessmux-8080 =evil",
            "=sessmux-8080=evil",
            "__Host-sessmux=evil",
            "b=sessmux-8080=2",
        ],
    );
    drop_foreign(&mut headers);
    assert_eq!(texts(&headers, header::SET_COOKIE), ["a=1; Path=/", "b=sessmux-8080=2"]);
}

#[test]
fn answers_with_the_cookie_stay_out_of_shared_caches() {
    let give = |values: &[&str]| {
        let mut headers = fields(&header::CACHE_CONTROL, values);
        headers.insert(header::SET_COOKIE, HeaderValue::from_static("a=1"));
        give(&mut headers, &plain(), BrowserId::mint());
        assert_eq!(texts(&headers, header::SET_COOKIE).len(), 2);
        let mut controls = texts(&headers, header::CACHE_CONTROL);
        assert_eq!(controls.len(), 1);
        controls.remove(0)
    };
    assert_eq!(give(&[]), "private, no-cache=\"Set-Cookie\"");
    assert_eq!(
        give(&["public, max-age=60", "S-MaxAge=9"]),
        "private, no-cache=\"Set-Cookie\", max-age=60"
    );
    assert_eq!(give(&["no-store"]), "no-store");
    assert_eq!(give(&["public, no-store"]), "no-store");
    let open = "private, no-cache=\"Set-Cookie\"";
    assert_eq!(give(&["public\", max-age=9"]), open, "whatever its quote holds");
    assert_eq!(give(&["No-Cache"]), "private, No-Cache");
    assert_eq!(
        give(&["private, max-age=0"]),
        "no-cache=\"Set-Cookie\", private, max-age=0"
    );
    assert_eq!(
        give(&["private=\"X-A, public\", no-cache=\"X-B\""]),
        "private, no-cache=\"Set-Cookie\", private=\"X-A, public\", no-cache=\"X-B\""
    );
    assert_eq!(give(&["x=\"a, b"]), "private, no-cache=\"Set-Cookie\", x=\"a, b");
    assert_eq!(
        give(&["max-age=60, \u{e9}"]),
        "no-store",
        "what is not ASCII is no directive"
    );
}

#[test]
fn debug_shows_no_secret() {
    let headers = fields(&header::COOKIE, &[&format!("sessmux-8080={ID}")]);
    assert_eq!(
        format!("{:?}", plain().read(&headers).unwrap().unwrap()),
        "BrowserId(..)"
    );
}
